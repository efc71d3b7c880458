"""Layered networks: chains of layers that are linear in their weights and in their input.

net = chain((28, 28, 1), [conv(16, 5), pool(2), flatten(), dense(10)], loss="softmax")
params = init_params(key, net)
"""

from typing import TYPE_CHECKING

from plasticity_jax.layers.chain import Chain, Pathway, chain
from plasticity_jax.layers.conv import conv
from plasticity_jax.layers.dense import dense
from plasticity_jax.layers.door import fitted, init_params
from plasticity_jax.layers.flax_adapters import from_flax
from plasticity_jax.layers.layer import Layer, layer
from plasticity_jax.layers.passes import Pass, credit_through, forward, gradients, loss_and_credit, perturbed_output
from plasticity_jax.layers.pool import flatten, pool
from plasticity_jax.ops.rooms import suggesting

__all__ = [
    "Chain",
    "Layer",
    "Pass",
    "Pathway",
    "chain",
    "conv",
    "credit_through",
    "dense",
    "fitted",
    "flatten",
    "forward",
    "from_flax",
    "gradients",
    "init_params",
    "layer",
    "loss_and_credit",
    "perturbed_output",
    "pool",
]


def __dir__() -> list[str]:
    return __all__


if not TYPE_CHECKING:  # a type checker would take any name to be there
    __getattr__ = suggesting(__name__, __all__)
