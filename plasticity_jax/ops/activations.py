"""Nonlinearities with their derivatives, by name or from any callable."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from plasticity_jax.typing import Array


class Activation(NamedTuple):
    """phi and its derivative, the latter as a function of (v, phi(v))."""

    phi: Callable[[Array], Array]
    slope: Callable[[Array, Array], Array]


Phi: TypeAlias = Literal["identity", "leaky_relu", "relu", "sigmoid", "tanh"] | Callable[[Array], Array]
"""A nonlinearity: its name, or any elementwise function."""

LEAK = 0.2
"""Slope of "leaky_relu" below zero, that of the critics of generative adversarial networks."""

ACTIVATIONS = {
    "tanh": Activation(jnp.tanh, lambda v, h: 1 - h * h),
    "relu": Activation(jax.nn.relu, lambda v, h: (v > 0).astype(v.dtype)),
    "leaky_relu": Activation(
        lambda v: jax.nn.leaky_relu(v, LEAK), lambda v, h: jnp.where(v >= 0, 1.0, LEAK).astype(v.dtype)
    ),
    "sigmoid": Activation(jax.nn.sigmoid, lambda v, h: h * (1 - h)),
    "identity": Activation(lambda v: v, lambda v, h: jnp.ones_like(v)),
}


def check_activation(activation: str | Callable[[Array], Array]) -> None:
    """Refuses a nonlinearity that is neither known by name nor callable.

    Raises:
      ValueError: if it is neither.
    """
    if not callable(activation) and activation not in ACTIVATIONS:
        known = ", ".join(ACTIVATIONS)
        raise ValueError(
            f"activation={activation!r} is not known; use one of {known}, or a callable v -> phi(v), as jax.nn.softplus"
        )


def activation_of(activation: str | Callable[[Array], Array]) -> Activation:
    """The nonlinearity of a name, or of an elementwise callable with its derivative as slope.

    Raises:
      ValueError: if it is neither known by name nor callable.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> softplus = activation_of(jax.nn.softplus)
      >>> float(softplus.slope(jnp.zeros(()), softplus.phi(jnp.zeros(()))))
      0.5
    """
    check_activation(activation)
    if not callable(activation):
        return ACTIVATIONS[activation]
    return Activation(activation, lambda v, h: jax.jvp(activation, (v,), (jnp.ones_like(v),))[1])
