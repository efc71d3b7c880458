"""Departures of the code of Marschall, Cho & Savin (2019) from their equations."""

from typing import Any

import jax
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


def with_gain(cell: Neurons, alpha: float | Array, gain: float | Array) -> Neurons:
    """A leaky cell whose immediate influence has `gain` in the place of alpha; the authors' code had 1.

    The Jacobian keeps its alpha: what the weights pass on is divided by what the immediate influence is multiplied by.

    Args:
      cell: a leaky cell.
      alpha: its inverse time constant.
      gain: of phi' in the immediate influence; may be a tracer.
    """
    partials, scale = cell.partials, gain / alpha
    assert partials is not None

    def scaled(own: Any, s: Array, v: Array) -> Any:
        step = partials(own, s, v)
        return step._replace(gain=scale * step.gain)

    def output(s: Array) -> Array:
        return s[0] / scale + jax.lax.stop_gradient(s[0] - s[0] / scale)

    return cell._replace(partials=scaled, output=output)
