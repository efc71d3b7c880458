"""Schedules of wake and sleep: lambda_t as a state machine, with its state among a rule's traces."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.core import Tracer

from plasticity_jax.ops import prng
from plasticity_jax.typing import Array, Key, Scalar

COIN = 1 << 16
"""Folded into the step's key for the coin; smaller numbers are for the network's noise."""


class Schedule(NamedTuple):
    """lambda_t, the same for all units and streams.

    Attributes:
      init: ``() -> state``.
      step: ``(state, key) -> (wake, state)``; wake is lambda_t, shape (), bool.
    """

    init: Callable[[], Any]
    step: Callable[[Any, Key], tuple[Array, Any]]


def alternating(period: int = 2) -> Schedule:
    """Phases of equal length, wake first: period steps of wake, period steps of sleep.

    With a period of 1 every step of wake is an onset, where the transition is the identity and does not learn.

    Args:
      period: K, the steps of a phase; the authors' `switch_period` plus one.

    Raises:
      ValueError: if the period is not a positive integer.

    Example:
      >>> schedule, state, wakes = alternating(2), alternating(2).init(), []
      >>> for _ in range(6):
      ...     wake, state = schedule.step(state, None)
      ...     wakes.append(int(wake))
      >>> wakes
      [1, 1, 0, 0, 1, 1]
    """
    _whole("period", period)

    def step(count: Array, key: Key) -> tuple[Array, Array]:
        return count < period, (count + 1) % (2 * period)

    return Schedule(lambda: jnp.zeros((), jnp.int32), step)


def independent(p_wake: Scalar = 0.5) -> Schedule:
    """A coin flip at every step.

    Args:
      p_wake: probability of wake, in (0, 1).

    Raises:
      ValueError: if p_wake is a number outside (0, 1).
    """
    return held(1, p_wake)


def held(period: int, p_wake: Scalar = 0.5) -> Schedule:
    """A coin flip at the start of every phase; appendix B.3's lambda_t = lambda_0 for phases as long as a sequence.

    Args:
      period: steps of a phase.
      p_wake: probability of wake, in (0, 1).

    Raises:
      ValueError: if the period is not a positive integer, or the probability is a number outside (0, 1).
    """
    _whole("period", period)
    if not isinstance(p_wake, Tracer) and not 0 < p_wake < 1:
        raise ValueError(f"p_wake={p_wake} must be a probability between 0 and 1, both excluded; else use `always`")

    def step(state: tuple[Array, Array], key: Key) -> tuple[Array, tuple[Array, Array]]:
        count, wake = state
        coin = prng.uniform(prng.fold_in(key, jnp.uint32(COIN)), 1)[0]
        wake = jnp.where(count == 0, coin < p_wake, wake)
        return wake, ((count + 1) % period, wake)

    return Schedule(lambda: (jnp.zeros((), jnp.int32), jnp.asarray(True)), step)


def always(wake: bool = True) -> Schedule:
    """One phase without end: wake, or the authors' "deep sleep"."""
    return Schedule(lambda: (), lambda state, key: (jnp.asarray(wake), state))


def _whole(name: str, period: int) -> None:
    if not isinstance(period, int) or isinstance(period, bool) or period < 1:
        raise ValueError(f"{name}={period!r} must be a positive whole number of steps")
