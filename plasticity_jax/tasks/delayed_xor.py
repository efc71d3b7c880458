"""The delayed XOR task: after a go cue, report whether two past stimuli differed.

Source: Lansdell, Prakash & Kording (2019), section 4.3; the authors' code has p = 0.05, (d, d') = (1, 2), r = 1. There
the stimuli lie within three steps of the answer, and a network can learn the task without credit through time, because
its random recurrent weights remember enough. With longer delays they do not.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.ops import prng
from plasticity_jax.ops.checks import check_counts, whole
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key, Scalar


class DelayedXORState(NamedTuple):
    """Attributes: key: of cues and stimuli, never advanced. step: shape (), int32, steps taken."""

    key: Key
    step: Array


class DelayedXORBounds(NamedTuple):
    """Bounds on what can be reached.

    Attributes:
      accuracy: largest share of right signs at response times.
      loss: least half squared error, per step.
      silent: half squared error, per step, of an output that is always 0.
    """

    accuracy: float
    loss: float
    silent: float


def delayed_xor(stimuli: tuple[int, int] = (1, 2), answer: int = 1, cue_rate: Scalar = 0.05, batch: int = 1) -> Stream:
    """The delayed XOR task as a stream; `windows` cuts it into the windows that a windowed rule takes.

        c_g ~ Bernoulli(p)                                   a go cue at step g, on channel 0
        s_g, s'_g = +-1, fair                                its stimuli, on channel 1 at g - d and g - d', d < d'
        y_{g + r} = +1 if s_g and s'_g differ, else -1       the answer; y = 0 at all other steps

    Where the stimuli of two cues fall on the same step, that of the later cue is shown. This happens where a second cue
    follows the first by d' - d steps: the first cue's stimulus is lost, and its answer is a guess.

    Step t is a function of the key and of the steps near t alone, so a stream can be cut anywhere. Cues before the
    first step exist, and their answers may be due in the first `answer` steps.

    Args:
      stimuli: (d, d'), the steps from each stimulus to its cue; d < d', d at least 0.
      answer: r, the steps from the cue to the answer, at least 0.
      cue_rate: p, probability of a cue at a step; may be a tracer.
      batch: independent streams, B.

    Returns:
      A `Stream` of `Example` with x (steps, B, 2), cue and stimulus, and y (steps, B, 1), which is nonzero at response
      times only.

    Raises:
      ValueError: if the delays are out of order, negative or not whole, or batch is below 1.

    Example:
      >>> import jax
      >>> stream = delayed_xor(stimuli=(4, 7), answer=2, batch=20)
      >>> _, example = stream.take(stream.init(jax.random.key(0)), 100)
      >>> example.x.shape, example.y.shape
      ((100, 20, 2), (100, 20, 1))

    Reference:
      Lansdell, Prakash & Kording, "Learning to solve the credit assignment problem", arXiv:1906.00889.
    """
    check_delays(stimuli, answer)
    check_counts(batch=batch)
    near, far = stimuli

    def init(key: Key) -> DelayedXORState:
        return DelayedXORState(key, jnp.zeros((), jnp.int32))

    def take(state: DelayedXORState, steps: int) -> tuple[DelayedXORState, Example]:
        dtype = jnp.zeros(()).dtype
        g = state.step + jnp.arange(-answer, steps + far)  # the cues that affect these steps
        words = jax.vmap(lambda t: prng.bits(prng.fold_in(state.key, t), batch))(g)
        cue = (words >> 8).astype(dtype) < jnp.asarray(cue_rate, dtype) * 2**24
        sign, other = (1 - 2 * ((words >> bit) & 1).astype(dtype) for bit in (0, 1))

        def shifted(array: Array, shift: int) -> Array:
            return array[answer + shift : answer + shift + steps]

        stimulus = jnp.where(shifted(cue, near), shifted(sign, near), 0)
        stimulus = jnp.where(shifted(cue, far), shifted(other, far), stimulus)
        y = jnp.where(cue, -sign * other, 0)[:steps]
        x = jnp.stack([shifted(cue, 0).astype(dtype), stimulus], -1)
        return DelayedXORState(state.key, state.step + steps), Example(x, y[..., None])

    return Stream(init, take)


def delayed_xor_bounds(stimuli: tuple[int, int] = (1, 2), answer: int = 1, cue_rate: float = 0.05) -> DelayedXORBounds:
    """Bounds for a reader of all inputs up to the present, in closed form.

    An answer is a guess if a second cue comes d' - d steps after the first, with probability p, and half of the guesses
    are right: accuracy 1 - p/2. The best output is 0 for a guess and +-1 otherwise: loss p^2/2 per step. It is reached
    if the second cue comes no later than the answer, r >= d' - d; otherwise the bound is slightly too low.

    Args:
      stimuli: (d, d').
      answer: r.
      cue_rate: p.

    Returns:
      A `DelayedXORBounds`.

    Raises:
      ValueError: if the delays are out of order or negative.

    Example:
      >>> bounds = delayed_xor_bounds()
      >>> round(bounds.accuracy, 4), round(bounds.loss / bounds.silent, 4)
      (0.975, 0.05)
    """
    check_delays(stimuli, answer)
    return DelayedXORBounds(1 - cue_rate / 2, cue_rate**2 / 2, cue_rate / 2)


def check_delays(stimuli: tuple[int, int], answer: int) -> None:
    """Refuses delays that do not define a task.

    Raises:
      ValueError: if not 0 <= d < d' and 0 <= r, or they are not whole.
    """
    for name, value in (("stimuli", stimuli[0]), ("stimuli", stimuli[1]), ("answer", answer)):
        if value >= 0:
            whole(name, value, 0, "steps")
    if not 0 <= stimuli[0] < stimuli[1] or answer < 0:
        raise ValueError(
            f"stimuli={tuple(stimuli)}, answer={answer}: the stimuli come d < d' steps before the cue, d at least 0, "
            "and the answer 0 or more steps after it"
        )


def responses(output: Array, y: Array) -> tuple[Array, Array]:
    """Number of answers due, and number of those with the right sign; the ratio of their sums is the accuracy.

    Args:
      output: of the network, any shape.
      y: targets, the same shape.

    Returns:
      ``(right, due)``, shape () each, in the dtype of y.
    """
    due = y != 0
    return jnp.sum(due & (output * y > 0), dtype=y.dtype), jnp.sum(due, dtype=y.dtype)
