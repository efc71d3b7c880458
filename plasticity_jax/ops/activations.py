"""Nonlinearities with their derivatives, by name."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.typing import Array


class Activation(NamedTuple):
    """phi and its derivative, the latter as a function of (v, phi(v))."""

    phi: Callable[[Array], Array]
    slope: Callable[[Array, Array], Array]


LEAK = 0.2
"""Slope of "leaky_relu" below zero, that of the critics of generative adversarial networks."""

ACTIVATIONS = {
    "tanh": Activation(jnp.tanh, lambda v, h: 1 - h * h),
    "relu": Activation(jax.nn.relu, lambda v, h: (v > 0).astype(v.dtype)),
    "leaky_relu": Activation(
        lambda v: jax.nn.leaky_relu(v, LEAK), lambda v, h: jnp.where(v > 0, 1.0, LEAK).astype(v.dtype)
    ),
    "sigmoid": Activation(jax.nn.sigmoid, lambda v, h: h * (1 - h)),
    "identity": Activation(lambda v: v, lambda v, h: jnp.ones_like(v)),
}


def check_activation(name: str) -> None:
    """Refuses a name that `ACTIVATIONS` does not know.

    Raises:
      ValueError: if it does not.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation={name!r} is not known; use one of {', '.join(ACTIVATIONS)}")
