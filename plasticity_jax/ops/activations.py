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


ACTIVATIONS = {
    "tanh": Activation(jnp.tanh, lambda v, h: 1 - h * h),
    "relu": Activation(jax.nn.relu, lambda v, h: (v > 0).astype(v.dtype)),
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
