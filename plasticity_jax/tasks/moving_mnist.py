"""Moving digits: videos of images that glide over a canvas at constant speed and bounce off its edges.

Frames are large and scenes are not, so the stream holds scenes, which a step renders from digits on the device, as
`plasticity_jax.data.minibatches` does with indices. A batch of 32 videos is 10 MB, its scenes 1 KB:

    digits = jnp.asarray(data["image"][..., 0])                       # (N, 28, 28) uint8
    learn = looking_up(pj.learner(rule, tx), lambda scene: render(digits, scene))
    program = online_training(lambda lane: (learn, moving_mnist(len(digits), batch=32)), ...)

Source: Srivastava et al. (2015), whose code also moves a digit before its first frame; Benjamin & Kording (2021),
A.1.5. Departure: digits are drawn with replacement; the authors shuffle the set and go through it.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from plasticity_jax.ops.checks import check_counts
from plasticity_jax.tasks.episodes import episode_stream
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key, Scalar


class Scene(NamedTuple):
    """Objects and paths from which a batch of videos is rendered.

    Attributes:
      digit: (B, count) int32, indices of the digits.
      start: (B, count, 2), row and column before the first step, as shares of the room on the canvas.
      heading: (B, count), radians.
    """

    digit: Array
    start: Array
    heading: Array


def moving_mnist(bank: int, count: int = 2, batch: int = 32) -> Stream:
    """Scenes of moving digits as a stream; a scene is a function of the key and its step alone.

    For every digit, from a start p_0 uniform in the unit square and a heading a uniform in [0, 2 pi), rows before
    columns:

        p <- p_{t-1} + speed v_{t-1},   v_0 = (sin a, cos a)
        v_t = -v_{t-1} where p <= 0 or p >= 1, else v_{t-1}
        p_t = clip(p, 0, 1)

    for each axis. The first frame shows p_1, not p_0. The top left corner is at pixel floor((size - side) p_t), and
    where digits overlap the brighter pixel is shown.

    Args:
      bank: digits to draw from, uniformly and with replacement.
      count: digits in a video.
      batch: B, videos.

    Returns:
      A `Stream` of `Scene`, whose leaves have the leading axes (steps, B, count); `render` makes the videos.

    Raises:
      ValueError: if a number is below 1 or not whole.

    Example:
      >>> import jax
      >>> stream = moving_mnist(60_000, batch=32)
      >>> _, scene = stream.take(stream.init(jax.random.key(0)), 5)
      >>> scene.digit.shape, scene.start.shape, scene.heading.shape
      ((5, 32, 2), (5, 32, 2, 2), (5, 32, 2))

    Reference:
      Srivastava, Mansimov & Salakhutdinov, "Unsupervised learning of video representations using LSTMs", ICML 2015.
    """
    check_counts(bank=bank, count=count, batch=batch)

    def draw(_: Key, key: Key) -> Scene:
        key_digit, key_start, key_heading = jax.random.split(key, 3)
        return Scene(
            jax.random.randint(key_digit, (count,), 0, bank, jnp.int32),
            jax.random.uniform(key_start, (count, 2)),
            2 * jnp.pi * jax.random.uniform(key_heading, (count,)),
        )

    return episode_stream(draw, batch)  # pyright: ignore[reportArgumentType] # a scene stands for its example


def render(digits: Array, scene: Scene, *, size: int = 64, frames: int = 20, speed: Scalar = 0.1) -> Example:
    """The videos of scenes.

    Args:
      digits: (N, h, w), uint8, or floating in [0, 1].
      scene: a batch of scenes, B; their digits are below N.
      size: side of the square canvas.
      frames: frames of a video.
      speed: distance of a step, where 1 crosses the canvas; may be a tracer.

    Returns:
      An `Example` with x (B, frames, size, size, 1) in [0, 1], of the scene's dtype, and y (B, frames, count, 2) int32,
      row and column of each digit's top left corner.

    Raises:
      ValueError: if the digits are of the wrong shape, type or range, do not fit on the canvas, or there is no frame.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> stream = moving_mnist(10, batch=3)
      >>> _, scene = stream.take(stream.init(jax.random.key(0)), 1)
      >>> video = render(jnp.ones((10, 28, 28)), jax.tree.map(lambda leaf: leaf[0], scene))
      >>> video.x.shape, video.y.shape
      ((3, 20, 64, 64, 1), (3, 20, 2, 2))
    """
    check_counts(size=size, frames=frames)
    _check_digits(digits, size)
    chex.assert_rank(scene, [2, 3, 2], custom_message="a scene's digit and heading are (B, count), start (B, count, 2)")
    n, count = scene.digit.shape
    dtype = scene.start.dtype
    sides = digits.shape[1:]
    room = jnp.array([size - side for side in sides], dtype)
    corner = jnp.floor(room * _positions(scene, frames, speed)).astype(jnp.int32)

    ink = jnp.asarray(digits)[scene.digit]
    ink = ink.astype(dtype) / 255 if ink.dtype == jnp.uint8 else ink.astype(dtype)
    ink = jnp.pad(ink, ((0, 0), (0, 0), (1, 1), (1, 1)))  # a black edge, which all pixels outside of the digit read
    grid = jnp.arange(size)
    row, column = (jnp.clip(grid - corner[..., axis, None] + 1, 0, sides[axis] + 1) for axis in (0, 1))
    canvas = jnp.zeros((n, frames, size, size), dtype)
    for k in range(count):
        pixels = (jnp.arange(n)[:, None, None, None], k, row[:, :, k, :, None], column[:, :, k, None, :])
        canvas = jnp.maximum(canvas, ink.at[pixels].get(mode="promise_in_bounds"))
    # The barrier makes the frames once: fused with a sum over them, the look-ups are twenty times slower on a CPU.
    return Example(jax.lax.optimization_barrier(canvas[..., None]), corner)


def _positions(scene: Scene, frames: int, speed: Scalar) -> Array:
    """p_1 to p_frames: (B, frames, count, 2)."""

    def move(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        place, step = carry
        place = place + step
        step = jnp.where((place <= 0) | (place >= 1), -step, step)
        place = jnp.clip(place, 0, 1)
        return (place, step), place

    step = jnp.asarray(speed, scene.start.dtype) * jnp.stack([jnp.sin(scene.heading), jnp.cos(scene.heading)], -1)
    return jnp.moveaxis(jax.lax.scan(move, (scene.start, step), length=frames)[1], 0, 1)


def _check_digits(digits: Array, size: int) -> None:
    if digits.ndim != 3 or 0 in digits.shape:
        raise ValueError(f"digits have shape {digits.shape}, but must be (N, h, w): leave out an axis of channels")
    if max(digits.shape[1:]) > size:
        raise ValueError(f"digits of {digits.shape[1]} x {digits.shape[2]} do not fit on a canvas of size={size}")
    if digits.dtype == jnp.uint8:
        return
    if not jnp.issubdtype(digits.dtype, jnp.floating):
        raise ValueError(f"digits are {digits.dtype}, but must be uint8, or floating in [0, 1]")
    if not isinstance(digits, Tracer):
        least, most = np.min(digits), np.max(digits)
        if not (least >= 0 and most <= 1):
            raise ValueError(f"digits lie in [{least}, {most}], but floating ones must be in [0, 1]: divide by 255")
