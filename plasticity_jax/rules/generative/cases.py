"""The registry's entries for this wing: each rule with a tiny worked problem."""

import functools
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule, RuleCase
from plasticity_jax.networks.autoencoder import autoencoder
from plasticity_jax.networks.autoencoder import init_params as autoencoder_params
from plasticity_jax.networks.two_stream import TwoStream, init_params, two_stream
from plasticity_jax.rules import generative
from plasticity_jax.rules.generative.schedules import alternating
from plasticity_jax.typing import Example, Key, Params, Scalar

SHALLOW, DEEP, STREAMS = (3, 4), (4, 3, 2), 2
SIGMAS, STIMULUS = {"sigma_inf": 0.1, "sigma_gen": 0.14}, 0.1
"""Noise of all layers, and of the stimulus: of the order of the signal, and both small enough for score-function
gradients at the rate of the laws."""


def _net(sizes: tuple[int, ...], sigma_inf: Scalar = 0.3, sigma_gen: Scalar = 0.3, **options: Any) -> TwoStream:
    """One sigma for all layers of a stream."""
    return two_stream(sizes, (sigma_inf,) * len(sizes), (sigma_gen,) * len(sizes), **options)


@functools.cache  # one function for all rules of these sizes, so that laws compile it once
def _params(sizes: tuple[int, ...]) -> Callable[[Key], Params]:
    """Params larger than the paper's, with nonzero biases and no two neurons alike, so that everything matters."""

    def params(key: Key) -> Params:
        initial = jax.tree.map(lambda leaf: 2 * leaf, init_params(key, _net(sizes)))
        biases = tuple(0.3 * jnp.cos(1.0 + jnp.arange(n, dtype=jnp.zeros(()).dtype)) for n in sizes[1:-1])
        transition = 0.8 - 0.3 * jnp.arange(sizes[-1], dtype=jnp.zeros(()).dtype) / sizes[-1]
        return {
            "inference": {**initial["inference"], "bias": biases},
            "generation": {**initial["generation"], "bias": tuple(-b for b in biases), "transition": transition},
        }

    return params


@functools.cache
def _batch(n: int) -> Callable[[Key], Example]:
    def batch(key: Key) -> Example:
        x = STIMULUS * jax.random.normal(key, (STREAMS, n))
        return Example(x, x)

    return batch


def _case(
    rule: Callable[..., LearningRule],
    kind: Literal["exact", "unbiased", "approximate", "local"],
    sizes: tuple[int, ...] = SHALLOW,
    net: dict[str, Any] | None = None,
    **coefficients: float,
) -> RuleCase:
    coefficients = {**(SIGMAS if net is None or "noise" not in net else {}), **coefficients}

    def make(**given: Any) -> LearningRule:
        values = {**coefficients, **given}
        sigmas = [values.pop(name, 0.3) for name in SIGMAS]
        return rule(_net(sizes, *sigmas, **(net or {})), **values)

    return RuleCase(make, _params(sizes), _batch(sizes[0]), kind, coefficients, stochastic=True)


def _adversarial(
    discriminators: Literal["local", "global"],
    sizes: tuple[int, ...],
    per_layer: bool = False,
    **coefficients: float,
) -> RuleCase:
    """The case of a small network with smooth activations, because kinks spoil finite differences.

    The penalty is small enough for SGD at the laws' rate; at a penalty of 1 the critics are unstable.
    """
    net = autoencoder(sizes, 4, 4, 1, discriminators, "tanh", "tanh")

    def make(**given: Any) -> LearningRule:
        options = {"gamma": 1.0, **coefficients, **given}
        return generative.adversarial(net, **options, reduction="mean", per_layer=per_layer)

    def batch(key: Key) -> Example:
        x = jax.random.uniform(key, (3, sizes[0]))
        return Example(x, x)

    return RuleCase(make, lambda key: autoencoder_params(key, net), batch, "local", coefficients, stochastic=True)


CASES = {
    "adversarial": _adversarial("local", (5, 2), gamma=0.3, penalty=0.1, reconstruction=1.0),
    "adversarial_per_layer": _adversarial("local", (5, 3, 2), True, gamma=0.3, penalty=0.1, reconstruction=1.0),
    "adversarial_wake_sleep": _adversarial("global", (5, 2), penalty=0.1),
    "impression": _case(generative.impression, "approximate"),
    "impression_deep": _case(
        lambda net, **c: generative.impression(net, schedule=alternating(3), **c),
        "approximate",
        DEEP,
        {"output": "tanh"},
    ),
    "impression_poisson": _case(generative.impression, "local", DEEP, {"noise": "poisson", "activation": "sigmoid"}),
    "wake_sleep": _case(lambda net, **c: generative.wake_sleep(net, phase=4, order="random", **c), "local"),
    "wake_sleep_coordinatewise": _case(
        lambda net, **c: generative.wake_sleep(net, phase=2, coordinatewise=True, **c), "local"
    ),
    "neural_variational": _case(
        lambda net, **c: generative.neural_variational(net, trial=4, **c), "unbiased", gamma_g=1.0, gamma_baseline=0.0
    ),
    "reparameterised": _case(lambda net, **c: generative.reparameterised(net, truncation=2, **c), "exact", DEEP),
}
