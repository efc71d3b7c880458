"""The evidence accumulation task: after a delay, report whether more cues came from the left or from the right.

Source: Bellec et al. (2020), Figure 3, after Morcos & Harvey (2016) and Engelhard et al. (2019). Sizes are those of the
authors' code, in steps of 1 ms.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.ops import prng
from plasticity_jax.ops.checks import check_counts, in_range, whole
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key, Scalar

NOISE = 0.25
"""Rate of the channels that always fire, relative to that of the others."""


class EvidenceState(NamedTuple):
    """Attributes: key: of cues and spikes, never advanced. step: shape (), int32, steps taken."""

    key: Key
    step: Array


def evidence_accumulation(
    cues: int = 7,
    *,
    cue: int = 100,
    gap: int = 50,
    delay: int = 1050,
    recall: int = 150,
    channels: int = 10,
    rate: Scalar = 0.04,
    bias: Scalar = 0.7,
    batch: int = 1,
) -> Stream:
    """The evidence accumulation task as a stream.

        q = p or 1 - p, with equal odds, for the trial;   c_1, ..., c_K = right with probability q, else left
        y = 1 if most of the c_k are right, else 0

    A trial is K pairs of a gap and a cue, a delay, and the time in which the answer is due. There are four groups of
    input channels: left and right, which fire during their cues, a third that fires while the answer is due, and a
    fourth that fires at a quarter of the rate all the time. The answer counts while it is due: `weight` is 0 at all
    other steps. `start` marks the first step of a trial.

    A trial's cues are a function of the key and the trial alone, and a step's spikes of the key and the step, so a
    stream can be cut anywhere.

    Args:
      cues: K, an odd number.
      cue: steps for which a cue is shown.
      gap: steps before each cue.
      delay: steps from the last cue to the time of the answer.
      recall: steps in which the answer is due.
      channels: of each of the four groups.
      rate: spikes of an active channel in a step; may be a tracer.
      bias: p, probability of a cue on the trial's side; may be a tracer.
      batch: independent streams, B.

    Returns:
      A `Stream` of `Example` with x (steps, B, 4 channels), labels y (steps, B), start and weight (steps, B).

    Raises:
      ValueError: if the number of cues is even, a count is too small, or a probability is outside [0, 1].

    Example:
      >>> import jax
      >>> lengths = {"cue": 10, "gap": 5, "delay": 100, "recall": 15}
      >>> stream = evidence_accumulation(5, **lengths, channels=5, rate=0.4, batch=8)
      >>> _, example = stream.take(stream.init(jax.random.key(0)), evidence_steps(5, **lengths))
      >>> example.x.shape, example.y.shape, example.weight[:, 0].sum().item()
      ((190, 8, 20), (190, 8), 15.0)

    Reference:
      Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons", Nature
      Communications 2020.
    """
    length = evidence_steps(cues, cue=cue, gap=gap, delay=delay, recall=recall)
    check_counts(channels=channels, batch=batch)
    in_range("rate", rate, 0, 1, why="the spikes of an active channel in a step")
    in_range("bias", bias, 0, 1, why="the probability of a cue on the trial's side")

    def init(key: Key) -> EvidenceState:
        return EvidenceState(key, jnp.zeros((), jnp.int32))

    def take(state: EvidenceState, steps: int) -> tuple[EvidenceState, Example]:
        dtype = jnp.zeros(()).dtype
        key_cues, key_spikes = jax.random.split(state.key)
        t = state.step + jnp.arange(steps)
        first = state.step // length
        trials = first + jnp.arange((steps + length - 2) // length + 1)
        trial, place = t // length - first, t % length

        drawn = jax.vmap(lambda trial: prng.uniform(prng.fold_in(key_cues, trial), batch * (cues + 1)))(trials)
        drawn = drawn.reshape(-1, batch, cues + 1).astype(dtype)
        likely = jnp.asarray(bias, dtype)
        q = jnp.where(drawn[..., :1] < 0.5, likely, 1 - likely)
        right = drawn[..., 1:] < q  # (trials, B, cues)
        label = (2 * jnp.sum(right, -1) > cues).astype(jnp.int32)

        number = jnp.minimum(place // (gap + cue), cues - 1)
        in_cue = ((place < cues * (gap + cue)) & (place % (gap + cue) >= gap))[:, None]
        side = right[trial, :, number]
        due = jnp.broadcast_to((place >= length - recall)[:, None], side.shape)
        active = jnp.stack([in_cue & ~side, in_cue & side, due], -1).astype(dtype)
        active = jnp.concatenate([active, jnp.full_like(active[..., :1], NOISE)], -1)
        noise = jax.vmap(lambda t: prng.uniform(prng.fold_in(key_spikes, t), batch * 4 * channels))(t)
        noise = noise.reshape(steps, batch, 4, channels).astype(dtype)
        x = (noise < (jnp.asarray(rate, dtype) * active)[..., None]).astype(dtype).reshape(steps, batch, 4 * channels)
        start = jnp.broadcast_to((place == 0)[:, None], (steps, batch))
        return state._replace(step=state.step + steps), Example(x, label[trial], start, due.astype(dtype))

    return Stream(init, take)


def evidence_steps(cues: int = 7, *, cue: int = 100, gap: int = 50, delay: int = 1050, recall: int = 150) -> int:
    """Steps of a trial of `evidence_accumulation`, from the same arguments.

    Raises:
      ValueError: if the number of cues is even, or a count is too small: below 0 for gap and delay, 1 for the others.

    Example:
      >>> evidence_steps()
      2250
    """
    check_counts(cues=cues, cue=cue, recall=recall)
    whole("gap", gap, 0, "steps")
    whole("delay", delay, 0, "steps")
    if cues % 2 == 0:
        raise ValueError(f"cues={cues} must be odd, or left and right may be equally many")
    return cues * (gap + cue) + delay + recall


def evidence_levels(cues: int = 7, bias: float = 0.7) -> dict[str, float]:
    """Accuracies of readers of some of the cues, in closed form.

    Args:
      cues: K, odd.
      bias: p.

    Returns:
      "nothing", 1/2; "one", answering with the side of any one cue; "all", 1.

    Raises:
      ValueError: if the number of cues is even or the bias is outside [0, 1].

    Example:
      >>> {name: round(level, 3) for name, level in evidence_levels().items()}
      {'nothing': 0.5, 'one': 0.727, 'all': 1.0}
    """
    evidence_steps(cues)
    in_range("bias", bias, 0, 1, why="the probability of a cue on the trial's side")
    half = (cues - 1) // 2
    chances = [math.comb(cues - 1, k) * bias**k * (1 - bias) ** (cues - 1 - k) for k in range(cues)]
    # The cue and at least half of the others agree: on the trial's side, or on the other one.
    one = bias * sum(chances[half:]) + (1 - bias) * sum(chances[: half + 1])
    return {"nothing": 0.5, "one": one, "all": 1.0}
