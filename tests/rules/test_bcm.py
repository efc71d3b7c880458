"""BCM: a NumPy loop, fixed points in closed form and their stability, weights of examples, images, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import learner
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.rules import hebbian
from plasticity_jax.rules.hebbian.bcm import BCMTraces
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.rules import test_hebbian_chain as chains

KEY = jax.random.key(0)
ALPHA, SLIDE, STEPS = (0.02, 0.05), (0.3, np.array([0.2, 0.5])), 8


def given(seed=0):
    """A rectified layer and a linear one, and a stream of weighted examples."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal((4, 3)), 0.5 * rng.standard_normal((2, 4))
    bias = rng.standard_normal(4) / 4, rng.standard_normal(2) / 4
    weight = np.array([2.0, 0.0, 1.0]) * np.ones((STEPS, 1))
    return w, bias, Example(rng.standard_normal((STEPS, 3, 3)), rng.standard_normal((STEPS, 3, 2)), weight=weight)


def by_hand(w, bias, examples, slide):
    """Weights and thresholds after every step, example by example, in plain NumPy."""
    w, theta, path = [np.array(each) for each in w], [np.zeros(4), np.zeros(2)], []
    for xs, weights in zip(examples.x, examples.weight, strict=True):
        change, over = [np.zeros_like(each) for each in w], [np.zeros_like(each) for each in theta]
        for x, share in zip(xs, weights / len(xs), strict=True):
            h = [x, np.maximum(w[0] @ x + bias[0], 0)]
            h.append(w[1] @ h[1] + bias[1])
            for i in range(2):
                change[i] += share * np.outer(h[i + 1] * (h[i + 1] - theta[i]), h[i])
                over[i] += share * (h[i + 1] ** 2 - theta[i])
        for i in range(2):
            w[i] = w[i] + ALPHA[i] * change[i]
            theta[i] = theta[i] + slide[i] * over[i]
        path.append([each.copy() for each in (*w, *theta)])
    return [np.stack(each) for each in zip(*path, strict=True)]


def test_a_run_equals_a_numpy_loop():
    w, bias, examples = given()
    rule = hebbian.bcm(mlp((3, 4, 2), ["relu", "identity"]), alpha=list(ALPHA), threshold_rate=list(SLIDE))
    learn = learner(rule, optax.sgd(1.0))

    def body(state, batch):
        state, _ = learn.step(state, batch)
        return state, (*state.params["forward"]["w"], *state.traces.threshold)

    params = {"forward": {"w": tuple(map(jnp.asarray, w)), "bias": tuple(map(jnp.asarray, bias))}}
    first = jax.tree.map(lambda leaf: leaf[0], examples)
    path = compiled(lambda: jax.lax.scan(body, learn.init(params, KEY, first), examples)[1])()
    for actual, expected, other in zip(
        path, by_hand(w, bias, examples, SLIDE), by_hand(w, bias, examples, (1, 1)), strict=True
    ):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
        assert np.linalg.norm(other - expected) > 0.02 * np.linalg.norm(expected)


def neuron(y, theta, rate=0.1, alpha=0.02):
    """One linear neuron that responds with y to two orthonormal patterns: its state, and a learner."""
    learn = learner(hebbian.bcm(mlp((2, 1), ["identity"]), alpha=alpha, threshold_rate=rate), optax.sgd(1.0))
    params = {"forward": {"w": (jnp.array([y]),), "bias": (jnp.zeros(1),)}}
    state = learn.init(params, KEY, Example(jnp.eye(2), jnp.zeros((2, 1))))
    return learn, state._replace(traces=BCMTraces((jnp.array([theta]),)))


def responses(learn, state, x):
    """The neuron's weights, which are its responses, and its threshold after each step of a stream (T, B, 2)."""

    def body(state, x):
        state, _ = learn.step(state, Example(x, jnp.zeros((len(x), 1))))
        return state, jnp.append(state.params["forward"]["w"][0][0], state.traces.threshold[0])

    return np.asarray(compiled(lambda: jax.lax.scan(body, state, x)[1])())


@pytest.mark.parametrize(("y", "stable"), [((2.0, 0.0), True), ((0.0, 2.0), True), ((1.0, 1.0), False)])
def test_only_the_selective_fixed_points_are_stable(y, stable):
    """y = (2, 0) and (0, 2) with theta = E y^2 = 2 are stable, and (1, 1) with theta = 1 is not."""
    theta = float(np.mean(np.square(y)))
    x = jnp.broadcast_to(jnp.eye(2), (2000, 2, 2))
    stays = responses(*neuron(y, theta), x)
    np.testing.assert_allclose(stays[-1], [*y, theta], atol=1e-12)
    moved = responses(*neuron((y[0] + 1e-3, y[1] - 1e-3), theta), x)
    goal = [*y, theta] if stable else [2.0, 0.0, 2.0]
    np.testing.assert_allclose(moved[-1], goal, atol=1e-6)


def test_a_neuron_becomes_selective_for_one_of_two_patterns():
    """Patterns come one at a time with equal probability: theta fluctuates about 2, a slow average of 4 and 0."""
    which = jax.random.bernoulli(jax.random.key(1), 0.5, (20_000,)).astype(int)
    learn, state = neuron((0.6, 0.4), 0.0, rate=0.02, alpha=0.002)
    late = responses(learn, state, jnp.eye(2)[which][:, None])[-10_000:]
    np.testing.assert_allclose(late.mean(0), [2.0, 0.0, 2.0], atol=0.1)
    assert late[:, 1].max() < 0.05 < 0.1 < late[:, 2].std() < 0.5


def test_below_the_threshold_an_active_neuron_unlearns():
    """The change has the sign of y - theta, unlike in Hebb's rule and Oja's."""
    for theta, sign in ((0.5, 1), (1.5, -1)):
        learn, state = neuron((1.0, 1.0), theta)
        after = learn.step(state, Example(jnp.eye(2), jnp.zeros((2, 1))))[0].params["forward"]["w"][0]
        np.testing.assert_allclose(after, 1 + sign * 0.02 * 0.5 / 2 * np.ones((1, 2)), rtol=1e-12)


def test_dense_layers_on_images_learn_as_they_would_alone():
    params, batch = chains.given("squared")
    changes, losses = chains.run(hebbian.bcm(chains.images(), alpha=0.05), params, batch)
    rest = chains.alone(params, batch)
    expected, expected_losses = chains.run(hebbian.bcm(mlp((8, 5, 2), ("relu", "identity")), alpha=0.05), *rest)
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-12)
    assert not np.any(changes["forward"]["w"][0])
    for actual, change in zip(changes["forward"]["w"][1:], expected["forward"]["w"], strict=True):
        np.testing.assert_allclose(actual, change, rtol=0, atol=1e-13)
        assert np.abs(change).max() > 1e-4


NET = mlp((3, 4, 2), ["relu", "identity"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: hebbian.bcm(NET, reduction="max"), "reduction='max' is not known"),
        (lambda: hebbian.bcm(NET, threshold_rate=0.0), r"threshold_rate=0 is outside \(0, 1\]"),
        (lambda: hebbian.bcm(NET, threshold_rate=[0.1, 1.5]), r"threshold_rate=1.5 is outside"),
        (lambda: hebbian.bcm(NET, threshold_rate=[0.1]), "1 values of threshold_rate for 2 plastic layers"),
        (lambda: hebbian.bcm(NET, alpha=[0.1]), "1 values of alpha for 2 plastic layers"),
        (lambda: hebbian.bcm(NET, plastic=[2]), "layers 0 to 1"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_rate_of_the_wrong_shape_is_refused():
    w, bias, examples = given()
    params, batch = {"forward": {"w": w, "bias": bias}}, jax.tree.map(lambda leaf: leaf[0], examples)
    rule = hebbian.bcm(NET, plastic=[1], threshold_rate=jnp.full(3, 0.1))
    with pytest.raises(AssertionError, match=r"threshold_rate of 2 neurons is \(\) or \(2,\), not \(3,\)"):
        rule.update(params, rule.init(params, KEY, batch), KEY, batch)
