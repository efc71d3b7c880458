r"""Running averages without a bias from their initial zero, in which an example counts by its weight.

    total' = total + rate (w x - total),   share' = share + rate (w - share),   average = total / share

With weights of one, share = 1 - (1 - rate)^t, the part of the total that is not the initial zero.
"""

from typing import NamedTuple

import jax.numpy as jnp

from plasticity_jax.typing import Array, Scalar


class RunningAverage(NamedTuple):
    """Attributes: total: the decayed sum of weighted values. share: (), the same sum of their weights."""

    total: Array
    share: Array


def no_average(shape: tuple[int, ...], dtype: jnp.dtype) -> RunningAverage:
    """The average of nothing."""
    return RunningAverage(jnp.zeros(shape, dtype), jnp.zeros((), dtype))


def moved(average: RunningAverage, rate: Scalar, value: Array, weight: Scalar = 1.0) -> RunningAverage:
    """The average after another value.

    Args:
      average: the average so far.
      rate: the share that is forgotten, in (0, 1].
      value: of the average's shape, already times its weight.
      weight: (), the value's weight.

    Returns:
      The new average.

    Example:
      >>> import jax.numpy as jnp
      >>> average = no_average((), jnp.float32)
      >>> for x in (3.0, 6.0):
      ...     average = moved(average, 0.5, jnp.float32(x))
      >>> float(beyond(average, jnp.float32(10.0)))  # 10 - (3 / 2 + 6) / (1 / 2 + 1)
      5.0
    """
    rate = jnp.asarray(rate, average.total.dtype)
    total = average.total + rate * (value - average.total)
    return RunningAverage(total, average.share + rate * (weight - average.share))


def beyond(average: RunningAverage, value: Array, weight: Scalar | Array = 1.0) -> Array:
    """Excess of a value over the average; 0 while the average has no value.

    Args:
      average: the average so far.
      value: of the average's shape, or with more leading axes, already times its weight.
      weight: the value's weight, of a shape that broadcasts with the value's.

    Returns:
      The value's shape.
    """
    has_value = average.share > 0
    mean = average.total / jnp.where(has_value, average.share, 1)
    return jnp.where(has_value, value - weight * jnp.expand_dims(mean, tuple(range(value.ndim - mean.ndim))), 0)
