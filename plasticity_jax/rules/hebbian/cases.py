"""The registry's entries for this wing: each rule with a tiny worked problem."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule, RuleCase
from plasticity_jax.layers import Chain, init_params
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.ops.losses import Loss
from plasticity_jax.rules import hebbian
from plasticity_jax.typing import Example, Key, Params

SIZES, EXAMPLES = (3, 5, 4, 2), 3
SATURATING = ("tanh", "tanh", "tanh")
"""Activations for Hebb's rule, which has no decay, so that the activities have to be bounded."""
RECTIFIED = ("relu", "relu", "identity")
SHAPE = mlp(SIZES, RECTIFIED)
TERMS = {"hebb": (1, 1, 0, 0), "fed": (1, 0, 0, 1), "oja": (0, 2, 1, 0), "mixed": (0, 1, 1, 1), "fed_oja": (0, 0, 1, 2)}
"""The smallest part of the Taylor family that contains Hebb, Oja and FLP."""


def _regression(key: Key) -> Example:
    key_x, key_y = jax.random.split(key)
    x = jax.random.normal(key_x, (EXAMPLES, SIZES[0]))
    return Example(x, 0.5 * jax.random.normal(key_y, (EXAMPLES, SIZES[-1])))


def _classification(key: Key) -> Example:
    key_x, key_y = jax.random.split(key)
    x = jax.random.normal(key_x, (EXAMPLES, SIZES[0]))
    label = jax.random.randint(key_y, (EXAMPLES,), 0, SIZES[-1])
    return Example(x, jax.nn.one_hot(label, SIZES[-1], dtype=x.dtype))


def _params(key: Key) -> Params:
    """Params with nonzero biases and feedback biases, so that units are silent at times and no two layers are alike."""
    key_w, key_fb = jax.random.split(key)
    biases = tuple(0.3 * jnp.cos(1.0 + jnp.arange(n, dtype=jnp.zeros(()).dtype)) for n in SIZES[1:])
    return {
        "forward": {"w": init_params(key_w, SHAPE)["forward"]["w"], "bias": biases},
        "feedback": {**hebbian.flp_feedback(key_fb, SHAPE), "bias": tuple(0.5 * b[::-1] for b in biases)},
    }


def _without_feedback(key: Key) -> Params:
    return {"forward": _params(key)["forward"]}


def _case(
    rule: Callable[..., LearningRule],
    activations: Sequence[str] = RECTIFIED,
    params: Callable[[Key], Params] = _params,
    batch: Callable[[Key], Example] = _regression,
    loss: Loss = "squared",
    kind: Literal["unbiased", "local"] = "local",
    **coefficients: float,
) -> RuleCase:
    net: Chain = mlp(SIZES, activations, loss)

    def make(**given: Any) -> LearningRule:
        return rule(net, **{**coefficients, **given})

    return RuleCase(make, params, batch, kind, coefficients, stochastic="sigma" in coefficients)


CASES = {
    "bcm": _case(hebbian.bcm, params=_without_feedback, alpha=0.05, threshold_rate=0.2),
    "hebb": _case(hebbian.hebb, SATURATING, _without_feedback, alpha=0.05),
    "oja": _case(hebbian.oja, params=_without_feedback, alpha=0.05),
    "flp": _case(lambda net, **c: hebbian.flp(net, plastic=[-2, -1], **c), alpha=0.05, beta=0.5),
    "flp_classification": _case(
        lambda net, **c: hebbian.flp(net, plastic=[-2, -1], signal="target", output="clamped", **c),
        batch=_classification,
        loss="softmax",
        alpha=0.05,
        beta=1.0,
    ),
    "flp_after": _case(
        lambda net, **c: hebbian.flp(net, presynaptic="after", product="hebb", reduction="mean", **c),
        SATURATING,
        alpha=0.05,
        beta=0.5,
    ),
    "plastic_feedback": _case(hebbian.plastic_feedback, alpha=0.05, alpha_fb=0.1),
    "taylor": _case(
        lambda net, **c: hebbian.taylor(net, {TERMS[name]: value for name, value in c.items()}),
        hebb=0.025,
        fed=0.02,
        oja=-0.0125,
        mixed=-0.03,
        fed_oja=-0.012,
    ),
    "three_factor": _case(
        hebbian.three_factor, SATURATING, _without_feedback, kind="unbiased", alpha=0.05, sigma=0.3, baseline=0.2
    ),
    "three_factor_eligible": _case(
        lambda net, **c: hebbian.three_factor(net, plastic=[-2, -1], reduction="sum", **c),
        params=_without_feedback,
        alpha=0.02,
        sigma=0.3,
        decay=0.5,
        baseline=0.2,
    ),
    "three_factor_activity": _case(
        lambda net, **c: hebbian.three_factor(net, post="activity", **c),
        SATURATING,
        _without_feedback,
        alpha=0.05,
        sigma=0.3,
        baseline=0.2,
        average=0.3,
    ),
}
