r"""Running sums that do not drift: Kahan's compensation, in the dtype of what is summed.

A sum over T steps in float32 loses what is below 6e-8 of the total at each step, which after 1e6 steps of a regression
with one weak direction is all of that direction. The compensation keeps what was lost:

    y = x + rest,   total' = total + y,   rest' = y - (total' - total)

The derivative passes through total alone: that of rest' is zero, as it should be.
"""

from typing import NamedTuple

import jax.numpy as jnp

from plasticity_jax.typing import Array, Scalar


class RunningSum(NamedTuple):
    """Attributes: total: the sum so far. rest: same shape, what rounding has kept out of it."""

    total: Array
    rest: Array


def empty_sum(shape: tuple[int, ...], dtype: jnp.dtype) -> RunningSum:
    """The sum of nothing."""
    return RunningSum(jnp.zeros(shape, dtype), jnp.zeros(shape, dtype))


def add(running: RunningSum, x: Array, keep: Scalar = 1.0) -> RunningSum:
    """keep times the sum so far, plus x.

    Args:
      running: the sum so far.
      x: its shape.
      keep: in (0, 1]; below one the sum forgets, and then rounding errors fade by themselves.

    Returns:
      The new sum.

    Example:
      >>> import jax.numpy as jnp
      >>> running = RunningSum(jnp.float32(2.0**24), jnp.float32(0))
      >>> for _ in range(4):
      ...     running = add(running, jnp.float32(0.5))
      >>> float(running.total) - 2.0**24
      2.0
    """
    total = keep * running.total
    y = x + keep * running.rest
    new = total + y
    return RunningSum(new, y - (new - total))
