"""What the code of Marschall, Cho & Savin (2019) does otherwise than the equations."""

import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.rules.online.kernl import fitted_kernel
from plasticity_jax.typing import Array


def kernl_late(cell: Neurons, late: bool | Array = True) -> LearningRule:
    """KeRNL, whose A is to explain the newest noise by an effect that does not hold it yet.

    Args:
      cell: a network of neurons of one variable.
      late: where False, `plasticity_jax.rules.online.kernl`; may be a tracer.
    """

    def effect(noisy_s: Array, zeta: Array, s: Array) -> Array:
        return noisy_s + jnp.where(late, 0, zeta) - s

    return fitted_kernel(cell, effect)
