"""L10 for the Hebbian family, which claims nothing on the gradient: fixed points, and rules that are equal."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import LearningRule, learner
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.rules import hebbian
from plasticity_jax.rules.hebbian.cases import RECTIFIED, SIZES
from plasticity_jax.typing import Array, Example, Params
from tests.laws.classes import Local, Match
from tests.laws.common import compiled, problem, seed

STEPS = 12


def live(rule: LearningRule, params: Params, examples: Example) -> tuple[Params, Array]:
    """The params at the end of a life at a rate of one, and the outputs on the way."""
    learn = learner(rule, optax.sgd(1.0))

    @compiled
    def run() -> Any:
        state = learn.init(params, seed(130), jax.tree.map(lambda leaf: leaf[0], examples))
        state, infos = jax.lax.scan(learn.step, state, examples)
        return state.params, infos.aux["output"]

    return run()


@functools.cache
def world(target: bool = False) -> tuple[Params, Example]:
    """Rectified weights, and batches with numbers or distributions as targets."""
    with jax.ensure_compile_time_eval():
        x, y = (jax.random.normal(seed(131 + i), (STEPS, 3, n)) for i, n in enumerate((3, 2)))
        return problem("flp").params(seed(133)), Example(x, jax.nn.softmax(3 * y) if target else 0.5 * y)


def same_life(
    make: Callable[[Any], LearningRule],
    make_expected: Callable[[Any], LearningRule],
    other: LearningRule,
    target: bool = False,
) -> Callable[[], Match]:
    """A match of two rules' weight changes in one life; a third rule's differ."""

    def claim() -> Match:
        net = mlp(SIZES, RECTIFIED, "softmax" if target else "squared")
        params, examples = world(target)
        ends = [live(rule, params, examples) for rule in (make(net), make_expected(net), other)]
        changes, expected, unlike = (
            jax.tree.map(lambda a, b: a - b, end["forward"]["w"], params["forward"]["w"]) for end, _ in ends
        )
        return Match(changes, expected, unlike, ends[1][1])

    return claim


NET = mlp(SIZES, RECTIFIED)
OTHER = hebbian.flp(NET, alpha=0.02, beta=0.9)
EACH = {"alpha": [0.01, 0.02, 0.03], "beta": [0.3, 0.5, 0.8]}


def inputs(seed_number: int, examples: int = 16) -> np.ndarray:
    """Correlated patterns, (B, 4); their second moment has a first eigenvalue some 4 times its second."""
    rng = np.random.default_rng(seed_number)
    q, _ = np.linalg.qr(rng.standard_normal((4, 4)))
    return rng.standard_normal((examples, 4)) * np.array([2.0, 0.8, 0.6, 0.4]) @ q.T / examples**0.5


def linear_neurons(n: int) -> Params:
    w = np.random.default_rng(7).standard_normal((n, 4)) * 0.5
    return {"forward": {"w": (jnp.asarray(w),), "bias": (jnp.zeros(n),)}}


def repeated(x: np.ndarray, y: np.ndarray, steps: int) -> Example:
    return Example(*(jnp.broadcast_to(jnp.asarray(a), (steps, *a.shape)) for a in (x, y)))


def hebb_is_power_iteration() -> Match:
    """W_T = W_0 (I + alpha sum x x^T)^T in a linear layer: growth without bound along the first component."""
    x, params = inputs(1), linear_neurons(3)
    end, output = live(
        hebbian.hebb(mlp((4, 3), ["identity"]), alpha=0.1), params, repeated(x, np.zeros((16, 3)), STEPS)
    )
    first = np.asarray(params["forward"]["w"][0])
    expected = first @ np.linalg.matrix_power(np.eye(4) + 0.1 * x.T @ x, STEPS)
    assert np.linalg.norm(expected) > 2 * np.linalg.norm(first)
    return Match(end["forward"]["w"][0], expected, first, output)


def oja_finds_the_principal_component() -> Match:
    """The distance shrinks by 1 - alpha (l_1 - l_2) at each step near it, l_1 and l_2 the leading eigenvalues."""
    x, params = inputs(2), linear_neurons(1)
    gap = np.diff(np.linalg.eigvalsh(x.T @ x))[-1]
    assert (1 - 0.1 * gap) ** 300 < 1e-12
    end, output = live(hebbian.oja(mlp((4, 1), ["identity"]), alpha=0.1), params, repeated(x, np.zeros((16, 1)), 300))
    expected = np.linalg.eigh(x.T @ x)[1][:, -1:].T
    weights = end["forward"]["w"][0]
    return Match(weights * np.sign(np.sum(weights * expected)), expected, params["forward"]["w"][0], output)


def readout_keeps_prototypes() -> Match:
    """Clamped to classes, a readout's row is the moving average of its class's features; the other rows stay."""
    alpha, rng = 0.3, np.random.default_rng(3)
    x, label = rng.standard_normal((STEPS, 1, 4)), rng.integers(0, 3, STEPS)
    params = linear_neurons(3) | {"feedback": {"w_fb": (jnp.zeros((3, 3)),), "bias": (jnp.zeros(3),)}}
    rule = hebbian.flp(mlp((4, 3), ["identity"], "softmax"), alpha=alpha, beta=1.0, signal="target", output="clamped")
    end, output = live(rule, params, Example(jnp.asarray(x), jnp.eye(3)[label][:, None]))
    first = np.asarray(params["forward"]["w"][0])
    expected = np.empty_like(first)
    for row in range(3):
        features = x[label == row, 0]
        ages = np.arange(len(features))[::-1]
        expected[row] = (1 - alpha) ** len(features) * first[row] + alpha * ((1 - alpha) ** ages) @ features
    return Match(end["forward"]["w"][0], expected, first, output)


def feedback_finds_the_principal_component() -> Match:
    """Each neuron's feedback learns as an Oja neuron whose input is the signal, if beta = 1 and the signal >= 0."""
    x, y = 3 * inputs(4), np.abs(np.random.default_rng(5).standard_normal((16, 3))) / 4
    start = jnp.asarray(np.random.default_rng(6).uniform(0.1, 0.5, (3, 3)))
    params = linear_neurons(3) | {"feedback": {"w_fb": (start,), "bias": (jnp.zeros(3),)}}
    rule = hebbian.plastic_feedback(mlp((4, 3), ["identity"]), alpha=0.1, alpha_fb=0.2, beta=1.0, signal="target")
    end, output = live(rule, params, repeated(x, y, 300))
    first = np.abs(np.linalg.eigh(y.T @ y)[1][:, -1:])  # of positive entries
    return Match(end["feedback"]["w_fb"][0], np.broadcast_to(first, (3, 3)), start, output)


def bcm_becomes_selective() -> Match:
    """A linear neuron that receives K orthogonal patterns equally often responds to one only, by K = its threshold."""
    q, _ = np.linalg.qr(np.random.default_rng(8).standard_normal((4, 4)))
    x, first = q[:3], np.array([[0.9, 0.3, 0.2], [0.2, 0.4, 0.8], [0.5, 0.7, 0.1], [0.6, 0.5, 0.4]])
    params = {"forward": {"w": (jnp.asarray(first @ x),), "bias": (jnp.zeros(4),)}}
    rule = hebbian.bcm(mlp((4, 4), ["identity"]), alpha=0.1, threshold_rate=0.3)
    end, output = live(rule, params, repeated(x, np.zeros((3, 4)), 2000))
    expected = 3.0 * np.eye(3)[[0, 2, 1, 0]]  # each neuron's strongest pattern at first
    return Match(end["forward"]["w"][0] @ x.T, expected, first, output)


CLASSES = {
    "bcm": Local({"one of K orthogonal patterns, answered by K": bcm_becomes_selective}),
    "hebb": Local({"power iteration in a linear layer": hebb_is_power_iteration}),
    "oja": Local({"the first principal component, of unit length": oja_finds_the_principal_component}),
    "flp": Local(
        {
            "beta = 0 is Oja": same_life(
                lambda net: hebbian.flp(net, alpha=0.02, beta=0.0), lambda net: hebbian.oja(net, alpha=0.02), OTHER
            ),
        }
    ),
    "flp_after": Local(
        {
            "beta = 0 is Hebb": same_life(
                lambda net: hebbian.flp(net, alpha=0.02, beta=0.0, presynaptic="after", product="hebb"),
                lambda net: hebbian.hebb(net, alpha=0.02),
                OTHER,
            ),
        }
    ),
    "flp_classification": Local({"the readout keeps prototypes": readout_keeps_prototypes}),
    "plastic_feedback": Local(
        {
            "at a rate of 0 it is FLP": same_life(
                lambda net: hebbian.plastic_feedback(net, alpha_fb=0.0, **EACH),
                lambda net: hebbian.flp(net, **EACH),
                hebbian.plastic_feedback(NET, alpha_fb=0.2, **EACH),
            ),
            "feedback finds the signal's principal component": feedback_finds_the_principal_component,
        }
    ),
    "taylor": Local(
        {
            "Hebb is a point": same_life(
                lambda net: hebbian.taylor(net, {(1, 1, 0, 0): 0.02}), lambda net: hebbian.hebb(net, alpha=0.02), OTHER
            ),
            "Oja is a point": same_life(
                lambda net: hebbian.taylor(net, {(1, 1, 0, 0): 0.02, (0, 2, 1, 0): -0.02}),
                lambda net: hebbian.oja(net, alpha=0.02),
                OTHER,
            ),
            "FLP is a point": same_life(
                lambda net: hebbian.taylor(net, hebbian.flp_terms(0.02, 0.4), signal="target"),
                lambda net: hebbian.flp(net, alpha=0.02, beta=0.4, signal="target"),
                OTHER,
                target=True,
            ),
            "so is FLP with Hebb's product": same_life(
                lambda net: hebbian.taylor(net, hebbian.flp_terms(0.02, 0.4, "hebb")),
                lambda net: hebbian.flp(net, alpha=0.02, beta=0.4, product="hebb"),
                OTHER,
            ),
        }
    ),
}
