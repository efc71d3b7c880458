"""Spoken digits as an endless stream of spectrogram frames: the recordings, shuffled once, one after another.

Source: Bredenberg et al. (2021), Figure 4 and the authors' code; the Free Spoken Digit Dataset, Jackson et al. (2018).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.ops.checks import whole
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Key


class SpokenDigitsState(NamedTuple):
    """The stream's state.

    Attributes:
      ends: (files,), int32, where each recording of the shuffled sequence ends, in frames.
      shifts: (files,), int32, the index of a frame minus its place in that sequence.
      step: shape (), int32, steps taken.
    """

    ends: Array
    shifts: Array
    step: Array


def spoken_digits(starts: np.ndarray, lengths: np.ndarray, batch: int = 1) -> Stream:
    """Indices of frames, recording after recording in the key's order, the same in every epoch.

    Nothing marks where a recording ends, and every epoch has the same order, as in the authors' code. The frames are on
    the device; the stream holds their indices, which `plasticity_jax.data.looking_up` looks up inside the step:

        digits = load_spoken_digits("train")
        frames = jnp.asarray(digits.frames)
        learn = looking_up(pj.learner(rule, tx), lambda index: Example(frames[index], index))
        program = online_training(lambda lane: (learn, spoken_digits(digits.starts, digits.lengths)), ...)

    Args:
      starts: (files,), integers, the index of each recording's first frame.
      lengths: (files,), integers, the number of its frames, at least 1.
      batch: B, streams of the same sequence, with evenly spaced starts.

    Returns:
      A `Stream` whose examples are (steps, B) int32 indices.

    Raises:
      ValueError: if starts and lengths do not fit, a recording is empty, or batch is below 1 or above the frames.

    Example:
      >>> import jax
      >>> stream = spoken_digits([0, 2], [2, 3])
      >>> _, index = stream.take(stream.init(jax.random.key(0)), 10)
      >>> index[:, 0].tolist()
      [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]
    """
    starts, lengths = np.asarray(starts, np.int32), np.asarray(lengths, np.int32)
    if starts.ndim != 1 or starts.shape != lengths.shape:
        raise ValueError(f"starts {starts.shape} and lengths {lengths.shape} must both be (files,)")
    if not lengths.size or lengths.min() < 1 or starts.min() < 0:
        raise ValueError("there must be one recording or more, each of one frame or more from a start of 0 or more")
    total = int(lengths.sum())
    whole("batch", batch, 0, "streams")
    if not 1 <= batch <= total:
        raise ValueError(f"batch={batch} must be at least 1 and at most the {total} frames")
    offsets = np.arange(batch) * total // batch

    def init(key: Key) -> SpokenDigitsState:
        order = jax.random.permutation(key, len(starts))
        length = jnp.asarray(lengths)[order]
        ends = jnp.cumsum(length, dtype=jnp.int32)
        return SpokenDigitsState(ends, jnp.asarray(starts)[order] - (ends - length), jnp.zeros((), jnp.int32))

    def take(state: SpokenDigitsState, steps: int) -> tuple[SpokenDigitsState, Array]:
        t = state.step + jnp.arange(steps, dtype=jnp.int32)
        place = (t[:, None] + jnp.asarray(offsets, jnp.int32)) % total
        index = place + state.shifts[jnp.searchsorted(state.ends, place, side="right")]
        return state._replace(step=state.step + steps), index

    return Stream(init, take)  # pyright: ignore[reportArgumentType] # an index stands for its frame
