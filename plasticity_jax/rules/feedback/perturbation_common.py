"""Shared parts of the rules that perturb all weights at once: weights and loss, of a chain or of any function."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.layers.chain import Chain
from plasticity_jax.layers.door import fitted
from plasticity_jax.layers.passes import forward, loss_and_credit
from plasticity_jax.ops import groups
from plasticity_jax.ops.checks import cast_floats
from plasticity_jax.ops.perturbation import real_dtype
from plasticity_jax.typing import Array, Batch, Params, PyTree


class Perturbed(NamedTuple):
    """A network as a rule perturbs it.

    Attributes:
      learning: ``params -> weights``, those that learn.
      fit: ``(params, batch) -> batch``, checked.
      loss: ``(weights, batch) -> (loss, aux)``.
    """

    learning: Callable[[Params], PyTree]
    fit: Callable[[Params, Batch], Batch]
    loss: Callable[[PyTree, Batch], tuple[Array, dict[str, Array]]]


def perturbed(net: Chain | Callable[[Params, Batch], Array]) -> Perturbed:
    """Weights that a rule perturbs, and the loss that it reads.

    Args:
      net: a chain of layers, where weights and biases learn; or any ``(params, batch) -> loss ()``, where all floating
        params learn and the batch is cast to their dtype.

    Raises:
      TypeError: if the network is neither; later, if a parameter of a function is a number instead of an array.
    """
    if isinstance(net, Chain):
        return _of_chain(net)
    if callable(net):
        return _of_function(net)
    raise TypeError(f"net={net!r} is neither a chain of layers nor a function (params, batch) -> loss")


def _of_chain(net: Chain) -> Perturbed:
    def learning(params: Params) -> PyTree:
        return {"forward": {name: groups.read(params, "forward", name) for name in ("w", "bias")}}

    def fit(params: Params, batch: Batch) -> Batch:
        return fitted(net, params, batch)

    def loss_of(weights: PyTree, batch: Batch) -> tuple[Array, dict[str, Array]]:
        output = forward(net, weights["forward"], batch.x).h[-1]
        return jnp.mean(loss_and_credit(net, output, batch.y, batch.weight)[0]), {"output": output}

    return Perturbed(learning, fit, loss_of)


def _of_function(function: Callable[[Params, Batch], Array]) -> Perturbed:
    def fit(params: Params, batch: Batch) -> Batch:
        for path, leaf in jax.tree.leaves_with_path(params):
            if not hasattr(leaf, "dtype"):
                raise TypeError(f"params{jax.tree_util.keystr(path)} is {leaf!r}: give an array, jnp.asarray({leaf!r})")
        return cast_floats(batch, real_dtype(params))

    def loss_of(weights: PyTree, batch: Batch) -> tuple[Array, dict[str, Array]]:
        value = function(weights, batch)
        if jnp.shape(value) != ():
            raise ValueError(f"net returns shape {jnp.shape(value)}: return the batch's loss, one number")
        return value, {}

    return Perturbed(lambda params: params, fit, loss_of)
