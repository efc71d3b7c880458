"""The registry's entries for this wing: each rule with a tiny worked problem."""

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp

from plasticity_jax import cells
from plasticity_jax.base import LearningRule, RuleCase
from plasticity_jax.cells.gru import gru
from plasticity_jax.cells.leaky import leaky
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.layers import Chain, Pathway, chain, conv, dense, flatten, init_params, pool
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.rules import feedback
from plasticity_jax.typing import Array, Example, Key, Params

SIZES, EXAMPLES = (3, 5, 4, 2), 3
"""Sizes of the layers and of a batch. Weights start at half the paper's: at the laws' rate, full ones would diverge."""

IMAGE = (4, 4, 1)


@functools.cache  # one function for all rules on a network, so that laws compile it once; so with its params
def _batch(net: Callable[[], Chain], share: float | None) -> Callable[[Key], Example]:
    def batch(key: Key) -> Example:
        key_x, key_y = jax.random.split(key)
        x = jax.random.normal(key_x, (EXAMPLES, *net().h_shapes[0]))
        weight = None if share is None else share * jnp.arange(1, EXAMPLES + 1, dtype=x.dtype)
        return Example(x, 0.5 * jax.random.normal(key_y, (EXAMPLES, SIZES[-1])), weight=weight)

    return batch


@functools.cache
def _params(net: Callable[[], Chain], pathway: Pathway) -> Callable[[Key], Params]:
    return lambda key: jax.tree.map(lambda w: 0.5 * w, init_params(key, net(), pathway=pathway))


def _dense(activations: Sequence[str] = ("tanh", "sigmoid", "identity")) -> Chain:
    return mlp(SIZES, activations)


def _conv() -> Chain:
    layers = [conv(2, 3, "tanh"), pool(2), conv(3, (2, 1), "sigmoid", padding="VALID"), flatten(), dense(SIZES[-1])]
    return chain(IMAGE, layers)


def _case(
    rule: Callable[..., LearningRule],
    kind: str,
    coefficients: Mapping[str, float] = MappingProxyType({}),
    *,
    pathway: Pathway = "chain",
    net: Callable[[], Chain] = _dense,
    share: float | None = None,
) -> RuleCase:
    """The case of a rule on a network; `share` is the weight of the first example, and example i has i times that."""

    def make(**given: float) -> LearningRule:
        return rule(net(), **{**coefficients, **given})

    noisy = not {"sigma", "c"}.isdisjoint(coefficients)
    of_network = _params(net, pathway), _batch(net, share)
    return RuleCase(make, *of_network, kind, coefficients, stochastic=noisy)  # pyright: ignore


NOISE = {"sigma": 0.2}
SIGNS = {"c": 0.2, "gamma": 0.1}
MIRROR = {"sigma": 0.2, "decay": 0.5}
STATISTICS = {"sigma": 0.2, "ridge": 1.0, "forgetting": 0.9}
LINEAR = ("identity", "identity", "identity")
SHARE = 0.05
"""A small weight: at the laws' rate, weight perturbation's variance, which grows with its weights, would diverge."""

CASES = {
    "backprop": _case(feedback.backprop, "exact"),
    "feedback_alignment": _case(feedback.feedback_alignment, "approximate"),
    "direct_feedback_alignment": _case(feedback.direct_feedback_alignment, "approximate", pathway="direct"),
    "sign_symmetry": _case(feedback.sign_symmetry, "approximate", {"scale": 0.5}),
    "matching": _case(feedback.matching, "approximate", {"decay": 0.0}),
    "kolen_pollack": _case(feedback.kolen_pollack, "approximate", {"decay": 0.1}),
    "weight_mirror": _case(feedback.weight_mirror, "approximate", MIRROR),
    "weight_perturbation": _case(feedback.weight_perturbation, "approximate", NOISE, share=SHARE),
    "weight_perturbation_antithetic": _case(
        lambda net, **c: feedback.weight_perturbation(net, antithetic=True, noise="rademacher", **c),
        "approximate",
        NOISE,
        share=SHARE,
    ),
    "spsa": _case(feedback.spsa, "approximate", SIGNS, share=SHARE),
    "node_perturbation": _case(feedback.node_perturbation, "approximate", NOISE),
    "node_perturbation_antithetic": _case(
        lambda net, **c: feedback.node_perturbation(net, antithetic=True, **c), "approximate", NOISE
    ),
    "node_perturbation_direct": _case(
        lambda net, **c: feedback.node_perturbation(net, pathway="direct", noise="rademacher", **c),
        "approximate",
        NOISE,
        pathway="direct",
    ),
    "node_perturbation_ridge": _case(
        lambda net, **c: feedback.node_perturbation(net, estimator="ridge", solve_every=2, **c),
        "approximate",
        STATISTICS,
    ),
    "node_perturbation_ridge_direct": _case(
        lambda net, **c: feedback.node_perturbation(net, estimator="ridge", pathway="direct", **c),
        "approximate",
        STATISTICS,
        pathway="direct",
    ),
    "node_perturbation_offline": _case(
        lambda net, **c: feedback.node_perturbation(net, estimator="offline", **c),
        "approximate",
        STATISTICS,
        net=lambda: _dense(LINEAR),
    ),
}

CASES |= {
    "backprop_conv": _case(feedback.backprop, "exact", net=_conv),
    "feedback_alignment_conv": _case(feedback.feedback_alignment, "approximate", net=_conv),
    "direct_feedback_alignment_conv": _case(
        feedback.direct_feedback_alignment, "approximate", pathway="direct", net=_conv
    ),
    "sign_symmetry_conv": _case(feedback.sign_symmetry, "approximate", {"scale": 0.5}, net=_conv),
    "matching_conv": _case(feedback.matching, "approximate", {"decay": 0.0}, net=_conv),
    "kolen_pollack_conv": _case(feedback.kolen_pollack, "approximate", {"decay": 0.1}, net=_conv),
    "weight_mirror_conv": _case(feedback.weight_mirror, "approximate", MIRROR, net=_conv),
    "node_perturbation_conv": _case(feedback.node_perturbation, "approximate", NOISE, net=_conv),
    "weight_perturbation_conv": _case(feedback.weight_perturbation, "approximate", NOISE, net=_conv, share=SHARE),
}

TERMS, POINTS = 2, 4


def _curve_loss(params: Params, batch: Example) -> Array:
    """Half the squared error of offset + sum_k height_k tanh(slope_k x), weighted."""
    curve = params["curve"]
    terms = jnp.tanh(batch.x[:, None] * curve["slope"][None])
    return jnp.mean(batch.weight * (params["offset"] + terms @ curve["height"] - batch.y) ** 2) / 2


def _curve_params(key: Key) -> Params:
    keys = jax.random.split(key, 3)
    height, slope = (jax.random.normal(k, (TERMS,)) for k in keys[:2])
    return {"curve": {"height": height, "slope": slope}, "offset": jax.random.normal(keys[2], ())}


def _points(key: Key) -> Example:
    x, y = jax.random.normal(key, (2, POINTS))
    return Example(x, y, weight=jnp.arange(1, POINTS + 1, dtype=x.dtype) / POINTS)


CASES["spsa_params"] = RuleCase(
    lambda **given: feedback.spsa(_curve_loss, draws=2, **{**SIGNS, **given}),
    _curve_params,
    _points,
    "approximate",
    SIGNS,
    stochastic=True,
)

STREAMS, WINDOW, N_IN, N, N_OUT = 2, 3, 2, 5, 2


def _windows(key: Key) -> Example:
    key_x, key_y = jax.random.split(key)
    x = jax.random.normal(key_x, (STREAMS, WINDOW, N_IN))
    return Example(x, 0.4 * jax.random.normal(key_y, (STREAMS, WINDOW, N_OUT)))


def _vanilla() -> Neurons:
    return leaky(N_IN, N, N_OUT, alpha=1.0, loss="squared")


def _gru() -> Neurons:
    return gru(N_IN, N, N_OUT, loss="squared")


@functools.cache
def _recurrent_params(cell: Callable[[], Neurons]) -> Callable[[Key], Params]:
    def params(key: Key) -> Params:
        key_forward, key_back = jax.random.split(key)
        return {**cells.init_params(key_forward, cell()), "feedback": cells.init_feedback(key_back, cell())}

    return params


def _recurrent_case(
    rule: Callable[..., LearningRule],
    kind: str,
    cell: Callable[[], Neurons] = _vanilla,
    coefficients: Mapping[str, float] = MappingProxyType({}),
) -> RuleCase:
    def make(**given: float) -> LearningRule:
        return rule(cell(), **{**coefficients, **given})

    noisy = "sigma" in coefficients
    return RuleCase(make, _recurrent_params(cell), _windows, kind, coefficients, stochastic=noisy)  # pyright: ignore


def _by_sgd(cell: Neurons, **given: Any) -> LearningRule:
    return feedback.recurrent_node_perturbation(cell, p=0.5, clip=0.5, **given)


def _by_ridge(cell: Neurons, **given: Any) -> LearningRule:
    return feedback.recurrent_node_perturbation(cell, p=0.5, estimator="ridge", solve_every=2, **given)


RIDGE = {"sigma": 0.2, "ridge": 20.0, "forgetting": 0.9}

RECURRENT_CASES = {
    "recurrent_feedback_alignment": _recurrent_case(feedback.recurrent_feedback_alignment, "approximate"),
    "recurrent_feedback_alignment_gru": _recurrent_case(feedback.recurrent_feedback_alignment, "approximate", _gru),
    "truncated_to_one_step": _recurrent_case(feedback.truncated_to_one_step, "approximate"),
    "truncated_to_one_step_gru": _recurrent_case(feedback.truncated_to_one_step, "approximate", _gru),
    "recurrent_node_perturbation": _recurrent_case(_by_sgd, "approximate", _vanilla, NOISE),
    "recurrent_node_perturbation_gru": _recurrent_case(_by_sgd, "approximate", _gru, NOISE),
    "recurrent_node_perturbation_ridge": _recurrent_case(_by_ridge, "approximate", _vanilla, RIDGE),
    "recurrent_node_perturbation_ridge_gru": _recurrent_case(_by_ridge, "approximate", _gru, RIDGE),
}
CASES |= RECURRENT_CASES
