"""The pattern generation task: follow a sum of sinusoids for one second, given an input that is always the same.

Source: Bellec et al. (2020), supplement, and the authors' code, which has 1,000 steps of 1 ms, 100 Poisson channels of
50 Hz and one output; their earlier preprint has a clock.
"""

import math
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp

from plasticity_jax.ops.checks import check_counts, in_range, one_of
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key, Scalar

FREQUENCIES = (1, 2, 3, 5)
"""Hz."""
AMPLITUDES = (0.5, 2.0)

Spikes: TypeAlias = Literal["poisson", "clock"]
"""Input of a network while it generates a pattern."""


class PatternState(NamedTuple):
    """The stream's state.

    Attributes:
      x: (trial, B, n_in), spikes of a trial.
      y: (trial, B, n_out), the pattern.
      step: shape (), int32, steps taken.
    """

    x: Array
    y: Array
    step: Array


def pattern_generation(
    trial: int = 1000,
    *,
    dt: Scalar = 1.0,
    n_in: int = 100,
    n_out: int = 1,
    rate: Scalar = 50.0,
    spikes: Spikes = "poisson",
    batch: int = 1,
) -> Stream:
    """The pattern generation task as a stream.

        y_k^t = s_k sum_f A_kf sin(2 pi f t dt + phi_kf),   f = 1, 2, 3, 5 Hz,   A ~ U[0.5, 2),   phi ~ U[0, 2 pi)

    s_k makes the largest of |y_k| in a trial 1. The input is the same in every trial: spike trains of a Poisson
    process, drawn once ("poisson"), or a clock, whose channels fire regularly and take turns ("clock"). It carries the
    time within the trial, but no information about the pattern. Trials follow each other without a pause; `start` marks
    their first step.

    The pattern is drawn with the stream's key: another key is another task.

    Args:
      trial: steps of a trial.
      dt: milliseconds of a step; may be a tracer.
      n_in: channels.
      n_out: outputs, each with a pattern of its own.
      rate: Hz, of a channel; may be a tracer. A channel of the clock fires only in its own n_in-th part of the trial.
      spikes: "poisson" or "clock".
      batch: B, patterns for one network to learn, each with an input of its own; a clock is the same for all.

    Returns:
      A `Stream` of `Example` with x (steps, B, n_in), y (steps, B, n_out) and start (steps, B).

    Raises:
      ValueError: if a count is below 1, dt is not positive, a channel would fire more than once per step, or the kind
        of spikes is not known.

    Example:
      >>> import jax
      >>> stream = pattern_generation(trial=250, dt=4.0, n_in=20, n_out=3)
      >>> _, example = stream.take(stream.init(jax.random.key(0)), 500)
      >>> example.x.shape, example.y.shape, example.start[:, 0].sum().item()
      ((500, 1, 20), (500, 1, 3), 2)

    Reference:
      Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons", Nature
      Communications 2020.
    """
    check_counts(trial=trial, n_in=n_in, n_out=n_out, batch=batch)
    one_of("spikes", spikes, get_args(Spikes))
    in_range("dt", dt, 0, open_low=True, why="the milliseconds of a step")
    share = rate * dt / 1000
    in_range("rate", share, 0, 1, why="the spikes of a channel in a step, rate dt / 1000")

    def init(key: Key) -> PatternState:
        key_x, key_amplitude, key_phase = jax.random.split(key, 3)
        x = _poisson(key_x, share, (trial, batch, n_in)) if spikes == "poisson" else _clock(share, trial, n_in)
        x = jnp.broadcast_to(x, (trial, batch, n_in))
        shape = (1, batch, n_out, len(FREQUENCIES))
        amplitude = jax.random.uniform(key_amplitude, shape, minval=AMPLITUDES[0], maxval=AMPLITUDES[1])
        phase = 2 * math.pi * jax.random.uniform(key_phase, shape)
        seconds = (jnp.arange(trial, dtype=x.dtype) * jnp.asarray(dt, x.dtype) / 1000)[:, None, None, None]
        f = jnp.asarray(FREQUENCIES, x.dtype)[None, None, None]
        y = jnp.sum(amplitude * jnp.sin(2 * math.pi * f * seconds + phase), -1)
        return PatternState(x, y / jnp.max(jnp.abs(y), 0, keepdims=True), jnp.zeros((), jnp.int32))

    def take(state: PatternState, steps: int) -> tuple[PatternState, Example]:
        t = (state.step + jnp.arange(steps)) % trial
        start = jnp.broadcast_to((t == 0)[:, None], (steps, batch))
        return state._replace(step=state.step + steps), Example(state.x[t], state.y[t], start)

    return Stream(init, take)


def _poisson(key: Key, share: Scalar, shape: tuple[int, ...]) -> Array:
    return jax.random.bernoulli(key, share, shape).astype(jnp.zeros(()).dtype)


def _clock(share: Scalar, trial: int, n_in: int) -> Array:
    """Spikes of one channel after another, each at its rate and at least once: (trial, 1, n_in)."""
    dtype = jnp.zeros(()).dtype
    t = jnp.arange(trial)
    turn = t * n_in // trial
    since = t - -(-turn * trial // n_in)  # steps since the channel's part began, at the first of which it fires
    fires = jnp.floor(since * jnp.asarray(share, dtype)) > jnp.floor((since - 1) * jnp.asarray(share, dtype))
    return ((turn[:, None] == jnp.arange(n_in)[None]) & fires[:, None])[:, None].astype(dtype)
