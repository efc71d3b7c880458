r"""Noise around a mean, by name: samples, log densities, and the score that plasticity reads.

    gaussian   x ~ N(m, sigma^2)                   score  x - m
    poisson    x ~ sigma^2 Poisson(m+ / sigma^2)   score  (x - m+) / m+  [m > 0],   m+ = max(m, 0) + 0.01

The score is sigma^2 dlog p(x)/dm: a local error, which times 1 / sigma^2 is the derivative. A Poisson sample is a count
of quanta of sigma^2, of variance sigma^2 m+. The floor of 0.01 lets a silent neuron fire; without it a count of one
would be impossible.
"""

from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp

from plasticity_jax.ops.checks import one_of
from plasticity_jax.typing import Array, Key, Scalar

Density: TypeAlias = Literal["gaussian", "poisson"]
FLOOR = 0.01


def check_density(noise: str) -> None:
    """Refuses a name that is not known.

    Raises:
      ValueError: naming those that are known.
    """
    one_of("noise", noise, get_args(Density))


def sample(noise: str, mean: Array, sigma: Scalar, innovation: Array | Key) -> Array:
    """A sample around each mean.

    Args:
      noise: a `Density`.
      mean: any shape.
      sigma: standard deviation, or square root of the quantum; taken in the mean's dtype, or float32 for counts.
      innovation: standard normals of the mean's shape (gaussian), or a key (poisson).

    Returns:
      An array of the mean's shape; a Poisson sample has no derivative.

    Example:
      >>> import jax.numpy as jnp
      >>> float(sample("gaussian", jnp.ones(()), 0.5, jnp.asarray(2.0)))
      2.0
    """
    if noise == "gaussian":
        return mean + jnp.asarray(sigma, mean.dtype) * innovation
    wide = jnp.promote_types(mean.dtype, jnp.float32)  # counts of small quanta overflow float16
    quantum = jnp.asarray(sigma, wide) ** 2
    counts = jax.random.poisson(innovation, _rate(mean).astype(wide) / quantum, mean.shape)
    return (quantum * counts.astype(wide)).astype(mean.dtype)


def log_density(noise: str, x: Array, mean: Array, sigma: Scalar) -> Array:
    """Log density (or log probability of the count) of each entry, with its normaliser.

    Args:
      noise: a `Density`.
      x: the samples.
      mean: same shape.
      sigma: as in `sample`.

    Returns:
      An array of the same shape.
    """
    sigma = jnp.asarray(sigma, x.dtype)
    if noise == "gaussian":
        z = (x - mean) / sigma
        return -0.5 * z * z - jnp.log(sigma) - 0.5 * jnp.log(2 * jnp.pi).astype(x.dtype)
    count, rate = x / sigma**2, _rate(mean) / sigma**2
    return count * jnp.log(rate) - rate - jax.lax.lgamma(count + 1)


def score(noise: str, x: Array, mean: Array) -> Array:
    """sigma^2 times the derivative of `log_density` with respect to the mean; shape of x."""
    if noise == "gaussian":
        return x - mean
    return jnp.where(mean > 0, (x - _rate(mean)) / _rate(mean), 0)


def _rate(mean: Array) -> Array:
    return jnp.maximum(mean, 0) + FLOOR
