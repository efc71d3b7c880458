"""L10 for the rules that perturb all weights at once.

With so few weights that all patterns of signs can be averaged over, the mean of a rule is exact: where the loss is
quadratic in the weights it is the gradient, by autodiff of equations written here.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import LearningRule, learner
from plasticity_jax.layers import Chain, chain, conv, dense, flatten, init_params
from plasticity_jax.ops.noise import stored_noise
from plasticity_jax.registry import RULES
from plasticity_jax.rules import feedback
from plasticity_jax.typing import Array, Batch, Example, Params
from tests.laws.classes import Approximate, Match
from tests.laws.classes_feedback import PHI
from tests.laws.classes_feedback import descent as descent_of_rows
from tests.laws.classes_feedback_layers import descent_on_images, shifted
from tests.laws.common import compiled, seed

Weights = Any
Loss = Callable[[Params, Batch], Array]

SIZE = 0.7
"""The size of a perturbation: as large as the weights."""

FEW = {
    "dense": chain((2,), [dense(2)]),
    "conv": chain((3, 3, 1), [conv(1, 2, padding="VALID", phi="identity"), flatten()]),
}
BENT = {
    "dense": chain((2,), [dense(2, "tanh")]),
    "conv": chain((3, 3, 1), [conv(1, 2, "tanh", padding="VALID"), flatten()]),
}


@functools.cache
def keys_of_all_signs(count: int) -> Array:
    """One key for each pattern of `count` signs."""
    keys = jax.random.split(seed(129), 40 * 2**count)
    drawn = np.asarray(
        compiled(jax.vmap(lambda key: stored_noise(key, count, jnp.dtype("float64"), "rademacher")))(keys)
    )
    patterns, first = np.unique(drawn, axis=0, return_index=True)
    assert len(patterns) == 2**count
    return keys[first]


def over_all_signs(rule: LearningRule, params: Params, batch: Batch) -> tuple[Any, Any]:
    """A rule's mean over its signs, and one draw of it."""
    traces = rule.init(params, seed(0), batch)
    keys = keys_of_all_signs(sum(leaf.size for leaf in jax.tree.leaves(params)))
    drawn = compiled(jax.vmap(lambda key: rule.update(params, traces, key, batch)[0]))(keys)
    return jax.tree.map(lambda leaf: jnp.mean(leaf, 0), drawn), jax.tree.map(lambda leaf: leaf[3], drawn)


def of_one_layer(net: Chain, rule: LearningRule) -> tuple[Any, Any, Any, Array]:
    """The rule's mean, the gradient, one draw, and the output."""
    params = {"forward": init_params(seed(130), net)["forward"]}
    params["forward"]["bias"] = tuple(0.3 * jnp.cos(1.0 + b) for b in map(jnp.arange, net.bias_sizes))
    x = jax.random.normal(seed(131), (6, *net.h_shapes[0]))
    y = 2 * jax.random.normal(seed(132), (6, *net.h_shapes[-1]))
    phi = PHI[str(net.layers[0].phi)]

    def output(forward: Weights) -> Array:
        w, bias = forward["w"][0], forward["bias"][0]
        v = jnp.einsum("ij,bj->bi", w, x) if w.ndim == 2 else shifted(x, w, 0)
        return phi(v + bias).reshape(len(x), -1)

    def loss(forward: Weights) -> Array:
        return jnp.mean(jnp.sum((output(forward) - y) ** 2, 1)) / 2

    mean, one = over_all_signs(rule, params, Example(x, y))
    return mean["forward"], jax.grad(loss)(params["forward"]), one["forward"], output(params["forward"])


def perturbed(
    kind: str, make: Callable[[Chain], LearningRule], descent: Callable[[], tuple[float, float]]
) -> Approximate:
    mean = {
        "a loss quadratic in the weights, mean over all signs": lambda: Match(*of_one_layer(FEW[kind], make(FEW[kind])))
    }
    return Approximate(mean, lambda: of_one_layer(BENT[kind], make(BENT[kind]))[:2], descent)


def by_weights(antithetic: bool) -> Callable[[Chain], LearningRule]:
    return lambda net: feedback.weight_perturbation(net, sigma=SIZE, noise="rademacher", antithetic=antithetic)


# Params of any form: those of the registered curve, offset + sum_k height_k tanh(slope_k x).


def curve(params: Params, x: Array) -> Array:
    height, slope = params["curve"]["height"], params["curve"]["slope"]
    return params["offset"] + sum(height[k] * jnp.tanh(slope[k] * x) for k in range(len(height)))


def line(params: Params, x: Array) -> Array:
    """The same params, but linear in them."""
    height, slope = params["curve"]["height"], params["curve"]["slope"]
    return params["offset"] + height[0] * x + height[1] * x**2 + slope[0] * jnp.sin(x) + slope[1] * jnp.cos(3 * x)


def error_of(function: Callable[[Params, Array], Array]) -> Loss:
    return lambda params, batch: jnp.mean(batch.weight * (function(params, batch.x) - batch.y) ** 2) / 2


def of_params(function: Callable[[Params, Array], Array], rule: LearningRule) -> tuple[Any, Any, Any, Array]:
    """The rule's mean, the gradient, one draw, and the output."""
    params, batch = RULES["spsa_params"].params(seed(133)), RULES["spsa_params"].batch(seed(134))
    mean, one = over_all_signs(rule, params, batch)
    return mean, jax.grad(error_of(function))(params, batch), one, function(params, batch.x)


def descent_of_a_curve(rate: float, steps: int, **coefficients: float) -> tuple[float, float]:
    """Points of another curve: the least loss of any heights and offset with the initial slopes, and after learning."""
    case = RULES["spsa_params"]
    with jax.ensure_compile_time_eval():
        params, teacher = case.params(seed(135)), case.params(seed(136))
        x = jax.random.normal(seed(137), (64,))
        batch = Example(x, curve(teacher, x), weight=jnp.ones(64))
        rows = np.stack([*np.tanh(np.outer(params["curve"]["slope"], x)), np.ones(64)], 1)
        best = rows @ np.linalg.lstsq(rows, np.asarray(batch.y), rcond=None)[0]
        before = float(np.mean((best - batch.y) ** 2) / 2)
    learn = learner(case.make(**coefficients), optax.sgd(rate))

    @compiled
    def run() -> Array:
        state = learn.init(params, seed(138), batch)
        return jax.lax.scan(lambda s, _: learn.step(s, batch), state, None, length=steps)[1].loss

    return before, float(run()[-1])


CLASSES = {
    "weight_perturbation": perturbed(
        "dense", by_weights(antithetic=False), descent_of_rows("weight_perturbation", rate=0.03, sigma=0.01)
    ),
    "weight_perturbation_antithetic": perturbed(
        "dense", by_weights(antithetic=True), descent_of_rows("weight_perturbation_antithetic", rate=0.03, sigma=0.01)
    ),
    "weight_perturbation_conv": perturbed(
        "conv",
        by_weights(antithetic=False),
        descent_on_images("weight_perturbation_conv", rate=0.03, steps=4000, sigma=0.01),
    ),
    "spsa": perturbed(
        "dense", lambda net: feedback.spsa(net, c=SIZE), descent_of_rows("spsa", rate=0.03, c=0.01, gamma=0.0)
    ),
    "spsa_params": Approximate(
        {
            "a loss quadratic in the params, mean over all signs": lambda: Match(
                *of_params(line, feedback.spsa(error_of(line), c=SIZE))
            )
        },
        lambda: of_params(curve, feedback.spsa(error_of(curve), c=SIZE))[:2],
        lambda: descent_of_a_curve(rate=0.1, steps=2000, c=0.01),
    ),
}
