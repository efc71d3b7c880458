"""Moving digits: the paper's recursion as a loop, draws, cuts, statistics of real digits, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from plasticity_jax.tasks.moving_mnist import Scene, moving_mnist, render
from tests.laws.common import compiled
from tests.real_data import real

KEY = jax.random.key(0)
QUICK = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}


@functools.cache
def program(steps, **options):
    task = moving_mnist(**options)
    return compiled(lambda state: task.take(state, steps))


def stream(steps, key=KEY, **options):
    state, scene = program(steps, **options)(moving_mnist(**options).init(key))
    return state, jax.tree.map(np.asarray, scene)


def one(scene, step=0):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf[step]), scene)


def loop(digits, scene, size, frames, speed):
    """Frames, labels and the number of bounces, one digit, frame and axis at a time."""
    batch, count = scene.digit.shape
    x, y = np.zeros((batch, frames, size, size, 1)), np.zeros((batch, frames, count, 2), int)
    bounces = 0
    for b, k in np.ndindex(batch, count):
        digit = digits[scene.digit[b, k]]
        place, v = list(scene.start[b, k]), [np.sin(scene.heading[b, k]), np.cos(scene.heading[b, k])]
        for t in range(frames):
            for axis in range(2):
                place[axis] += v[axis] * speed
                if place[axis] <= 0:
                    place[axis], v[axis], bounces = 0.0, -v[axis], bounces + 1
                if place[axis] >= 1:
                    place[axis], v[axis], bounces = 1.0, -v[axis], bounces + 1
                y[b, t, k, axis] = int((size - digit.shape[axis]) * place[axis])
            r, c = y[b, t, k]
            patch = x[b, t, r : r + digit.shape[0], c : c + digit.shape[1], 0]
            np.maximum(patch, digit, out=patch)
    return x, y, bounces


@pytest.mark.parametrize(
    ("sides", "size", "count", "frames", "speed"),
    [((28, 28), 64, 2, 20, 0.1), ((14, 14), 32, 3, 25, 0.1), ((5, 9), 11, 1, 40, 0.7), ((6, 6), 6, 2, 9, 0.1)],
)
def test_frames_equal_the_loops(sides, size, count, frames, speed):
    """Places agree exactly, as positions are in float64, and pixels to the rounding of a division by 255.

    Some start on an edge; the last canvas leaves no room to move.
    """
    digits = np.random.default_rng(0).integers(0, 256, (7, *sides), np.uint8)
    scene = one(stream(1, bank=7, count=count, batch=4)[1])
    scene = scene._replace(start=scene.start.at[0, 0].set(jnp.array([0.0, 1.0])))
    x, y, bounces = loop(digits / 255, jax.tree.map(np.asarray, scene), size, frames, speed)
    video = compiled(lambda digits, scene: render(digits, scene, size=size, frames=frames, speed=speed))(digits, scene)
    assert bounces > 5
    assert video.x.dtype == scene.start.dtype
    assert video.y.dtype == jnp.int32
    np.testing.assert_array_equal(video.y, y)
    np.testing.assert_allclose(video.x, x, rtol=1e-15)
    assert video.x.max() == 1


def test_floating_digits_equal_bytes_over_255():
    """The frames have the scene's precision."""
    digits = np.random.default_rng(1).integers(0, 256, (7, 8, 8), np.uint8)
    scene = one(stream(1, bank=7, count=2, batch=3)[1])
    scene = Scene(scene.digit, scene.start.astype(jnp.float32), scene.heading.astype(jnp.float32))
    whole, floating = (render(jnp.asarray(bank), scene, size=16) for bank in (digits, np.float32(digits) / 255))
    assert whole.x.dtype == jnp.float32
    assert whole.x.max() > 0.5
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=3e-7), whole, floating)


def test_draws_are_uniform():
    """Tests are chi-squared for digits and Kolmogorov-Smirnov for starts and headings: false alarm 4e-6 in all."""
    _, scene = stream(500, bank=10, count=2, batch=4)
    assert scene.digit.dtype == np.int32
    assert stats.chisquare(np.bincount(scene.digit.ravel(), minlength=10)).pvalue > 1e-6
    for values, length in ((scene.start[..., 0], 1), (scene.start[..., 1], 1), (scene.heading, 2 * np.pi)):
        assert len(np.unique(values)) == 4000
        assert stats.kstest(values.ravel() / length, "uniform").pvalue > 1e-6
    rows = np.concatenate(
        [scene.start.reshape(2000, 4), scene.heading.reshape(2000, 2), scene.digit.reshape(2000, 2)], 1
    )
    apart = np.corrcoef(rows.T)[np.triu_indices(8, 1)]
    assert np.abs(apart).max() < 6 / 2000**0.5  # 28 z-tests at six sigma: false alarm 6e-8


def test_a_cut_stream_equals_the_whole():
    task = moving_mnist(11, batch=2)
    start = task.init(KEY)
    _, whole = program(5, bank=11, batch=2)(start)
    state, first = program(2, bank=11, batch=2)(start)
    state, second = program(3, bank=11, batch=2)(state)
    jax.tree.map(lambda w, *parts: np.testing.assert_array_equal(np.concatenate(parts), w), whole, first, second)
    assert int(state.step) == 5
    assert len(np.unique(whole.start)) == whole.start.size


def test_a_vmap_over_seeds_equals_single_seeds():
    digits = jnp.asarray(np.random.default_rng(2).integers(0, 256, (7, 5, 5), np.uint8))
    task = moving_mnist(7, batch=2)

    def life(key):
        return render(digits, one(task.take(task.init(key), 1)[1]), size=12, frames=6)

    keys = jax.random.split(KEY, 3)
    videos = compiled(jax.vmap(life))(keys)
    apart = [compiled(life)(key) for key in keys]
    jax.tree.map(lambda v, *parts: np.testing.assert_array_equal(v, np.stack(parts)), videos, *apart)


def test_videos_of_mnist_have_the_measured_statistics():
    """1,000 videos are within four standard errors of references that were measured once over four seeds.

    The mean of the references is itself uncertain by half a standard error, so the bounds are 3.6 sigma of the
    difference: false alarm 1e-3, for other draws than these, which are fixed.
    """
    digits = jnp.asarray(real("mnist")["image"][..., 0])
    task = moving_mnist(len(digits), batch=50)

    def measure(scene):
        scene = Scene(scene.digit, scene.start.astype(jnp.float32), scene.heading.astype(jnp.float32))
        x = render(digits, scene).x
        energy = jnp.sum(x**2, (2, 3, 4))
        return jnp.mean(x, (1, 2, 3, 4)), jnp.mean(energy[:, 10:], 1), jnp.sum((x[:, 10] - x[:, 9]) ** 2, (1, 2, 3))

    scenes = compiled(lambda key: task.take(task.init(key), 20)[1])(KEY)
    ink, blank, copied = jax.jit(lambda scenes: jax.lax.map(measure, scenes), compiler_options=QUICK)(scenes)
    for values, reference in ((ink, 0.04905), (blank, 173.5), (copied, 203.0)):
        values = np.asarray(values).ravel()
        assert values.shape == (1000,)
        assert abs(values.mean() - reference) < 4 * values.std() / 1000**0.5, reference


SCENE = Scene(jnp.zeros((1, 2), jnp.int32), jnp.zeros((1, 2, 2)), jnp.zeros((1, 2)))


@pytest.mark.parametrize(
    ("digits", "options", "match"),
    [
        (np.zeros((3, 28, 28, 1), np.uint8), {}, r"shape \(3, 28, 28, 1\), but must be \(N, h, w\)"),
        (np.zeros((0, 28, 28), np.uint8), {}, r"shape \(0, 28, 28\)"),
        (np.zeros((3, 28, 65), np.uint8), {}, "28 x 65 do not fit on a canvas of size=64"),
        (np.zeros((3, 28, 28)), {"size": 27}, "do not fit on a canvas of size=27"),
        (np.zeros((3, 28, 28), np.int32), {}, "digits are int32, but must be uint8, or floating"),
        (np.full((3, 28, 28), 255.0), {}, r"lie in \[255.0, 255.0\], but floating ones must be in \[0, 1\]"),
        (np.full((3, 28, 28), -0.5), {}, "divide by 255"),
        (np.full((3, 28, 28), np.nan), {}, "floating ones must be in"),
        (np.zeros((3, 28, 28)), {"frames": 0}, "frames=0 must be at least 1"),
    ],
)
def test_bad_digits_are_refused(digits, options, match):
    with pytest.raises(ValueError, match=match) as error:
        render(jnp.asarray(digits), SCENE, **options)
    assert "\n" not in str(error.value)


def test_bad_counts_and_scenes_are_refused():
    for name in ("bank", "count", "batch"):
        with pytest.raises(ValueError, match=f"{name}=0 must be at least 1"):
            moving_mnist(**{"bank": 5, name: 0})
    with pytest.raises(AssertionError, match=r"digit and heading are \(B, count\)"):
        render(jnp.zeros((3, 5, 5)), jax.tree.map(lambda leaf: leaf[0], SCENE))
