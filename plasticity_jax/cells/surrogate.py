"""Spikes with a surrogate slope."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from plasticity_jax.ops.checks import one_of
from plasticity_jax.typing import Array

Slope = str | Callable[[Array], Array]
"""A key of `SLOPES`, or psi as an elementwise callable."""

SLOPES: dict[str, Callable[[Array], Array]] = {
    "triangle": lambda x: 0.3 * jnp.maximum(0, 1 - jnp.abs(x)),
    "sigmoid": lambda x: 4 * jax.nn.sigmoid(4 * x) * jax.nn.sigmoid(-4 * x),
    "fast_sigmoid": lambda x: 1 / (1 + 10 * jnp.abs(x)) ** 2,
    "arctan": lambda x: 1 / (1 + (jnp.pi * x) ** 2),
}


def spike_function(slope: Slope = "triangle") -> Callable[[Array], Array]:
    """Makes a step function whose derivative is a surrogate.

        z = 1 if x > 0 else 0,   dz/dx := psi(x)

    x is a voltage above its threshold, in units of the threshold. The derivative of a step is zero almost everywhere;
    psi takes its place in every derivative, and psi' in second derivatives, so that meta-gradients include how psi
    changes with x.

        triangle       0.3 max(0, 1 - |x|)                  Bellec et al. (2020), gamma = 0.3
        sigmoid        4 sigma(4 x) (1 - sigma(4 x))        the slope of sigma(4 x)
        fast_sigmoid   1 / (1 + 10 |x|)^2                   Zenke & Ganguli (2018)
        arctan         1 / (1 + (pi x)^2)                   Fang et al. (2021)

    Args:
      slope: psi, a key of `SLOPES` or an elementwise callable; coefficients in it may be tracers.

    Returns:
      ``x -> z``, elementwise: 1 where x > 0, else 0, in the dtype of x.

    Raises:
      ValueError: if the slope is not known.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> spike = spike_function("triangle")
      >>> spike(jnp.array([-0.5, 0.5])).tolist()
      [0.0, 1.0]
      >>> [round(float(f(0.5)), 6) for f in (jax.grad(spike), jax.grad(jax.grad(spike)))]
      [0.15, -0.3]

    Reference:
      Bellec et al., "A solution to the learning dilemma for recurrent networks of spiking neurons", Nature
      Communications 2020.
    """
    if not callable(slope):
        one_of("slope", slope, tuple(SLOPES))
    psi = slope if callable(slope) else SLOPES[slope]

    def spike(x: Array) -> Array:
        x = jnp.asarray(x)
        of_x, coefficients = jax.closure_convert(psi, x)  # a custom derivative may not close over tracers
        return _step(of_x, x, *coefficients)

    return spike


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _step(psi: Callable[..., Array], x: Array, *coefficients: Array) -> Array:
    return (x > 0).astype(x.dtype)


@_step.defjvp
def _step_jvp(psi: Callable[..., Array], primals: Any, tangents: Any) -> tuple[Array, Array]:
    x = primals[0]
    return _step(psi, *primals), psi(*primals).astype(x.dtype) * tangents[0]
