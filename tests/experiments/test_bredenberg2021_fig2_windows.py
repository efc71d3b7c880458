"""Windows of Figure 2 that start from the running network: walks, gradients and updates compared with NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bredenberg2021 import fig2_estimators as estimators
from experiments.bredenberg2021.gradients import following, running_state, starting_from, walk_on
from plasticity_jax.diagnostics.bias_variance import updates_along
from plasticity_jax.networks.two_stream import draw, two_stream
from plasticity_jax.rules.generative import impression
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.oracles import generative as oracle

T, B, KEY = 4, 2, jax.random.key(3)
NET = two_stream((4, 2), (0.3, 0.2), (0.4, 0.5))
PATTERNS = [(True, True, False, False), (False, False, True, True), (True,) * 4]


@functools.cache
def world():
    """Weights, and stimuli before and in the window."""
    rng = np.random.default_rng(4)
    up, down = rng.normal(size=(2, 4)), rng.normal(size=(4, 2))
    generation = {"w": (down,), "bias": (), "transition": np.array([0.6, 0.5])}
    return {"inference": {"w": (0.6 * up,), "bias": ()}, "generation": generation}, rng.normal(size=(2 * T, B, 4))


@jax.jit
def drawn_noise(key):
    return draw(NET, key, B, jnp.dtype(jnp.float64))


def noise_of(keys):
    """Noise of each step, from its key."""
    return [[np.asarray(each) for each in drawn_noise(key)] for key in keys]


def noise_before(key):
    return noise_of([jax.random.fold_in(key, jnp.uint32(t)) for t in range(T)])


def window_by_hand(params, top, z, pattern, innovations):
    """Steps of a window, from a state and the pattern's last lambda."""
    steps, wake_tm1 = [], pattern[-1]
    for t, wake in enumerate(pattern):
        steps.append(oracle.step(NET, params, wake, wake and not wake_tm1, top, z[t], innovations[t]))
        top, wake_tm1 = steps[-1].x[-1], wake
    return steps


@functools.cache
def window_results():
    """Results of all functions on windows, compiled together."""
    params, z = world()

    def make(params, z):
        walks = []
        for pattern in map(jnp.array, PATTERNS[:2]):
            key_before, key_window = jax.random.split(KEY)
            top = running_state(NET, params, key_before, z[:T], pattern)
            walks.append((top, walk_on(NET, params, key_window, top, z[T:], pattern)))
        exact = [estimators.exact(NET, params, KEY, z, whole) for whole in (False, True)]
        return walks, exact, estimators.starts(NET, params, KEY, z[:T])

    return jax.tree.map(np.asarray, compiled(make)(params, z))


def test_a_window_goes_on_from_the_running_networks_state():
    params, z = world()
    key_before, key_window = jax.random.split(KEY)
    first, second = noise_before(key_before), noise_of(jax.random.split(key_window, T))
    for pattern, (top, walk) in zip(PATTERNS, window_results()[0], strict=False):
        by_hand = oracle.walk(NET, params, z[:T], pattern, first)[-1].x[-1]
        np.testing.assert_allclose(top, by_hand, rtol=1e-6)
        steps = window_by_hand(params, by_hand, z[T:], pattern, second)
        for layer in range(2):
            np.testing.assert_allclose(walk.x[layer], [step.x[layer] for step in steps], rtol=1e-6)
            np.testing.assert_allclose(walk.generated[layer], [step.generated[layer] for step in steps], rtol=1e-6)
        at_rest = window_by_hand(params, 0 * by_hand, z[T:], pattern, second)
        assert np.abs(at_rest[0].generated[-1] - steps[0].generated[-1]).max() > 0.01


@pytest.mark.parametrize("whole", [False, True])
def test_the_exact_gradient_is_of_the_window_or_of_the_long_run(whole):
    params, z = world()
    value, gradients = window_results()[1][whole]
    values = []
    for pattern, key, gradient in zip(PATTERNS, jax.random.split(KEY, 3), gradients, strict=True):
        key_before, key_window = jax.random.split(key)
        first, second = noise_before(key_before), noise_of(jax.random.split(key_window, T))
        held = oracle.walk(NET, params, z[:T], pattern, first)[-1].x[-1]

        def loss(params, pattern=pattern, first=first, second=second, held=held):
            top = oracle.walk(NET, params, z[:T], pattern, first)[-1].x[-1] if whole else held
            steps = window_by_hand(params, top, z[T:], pattern, second)
            signs = [1 if wake else -1 for wake in pattern]
            return np.mean(sum(s * (step.log_q - step.log_p) for s, step in zip(signs, steps, strict=True)))

        expected = 0.2**2 * oracle.derivative(loss, params)["inference"]["w"][0]
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-9)
        values.append(loss(params) / T)
    np.testing.assert_allclose(value, (values[0] + values[1]) / 2, rtol=1e-6)


def test_starts_are_one_for_each_window_with_noise_of_its_own():
    params, z = world()
    for top, pattern, key in zip(window_results()[2], PATTERNS, jax.random.split(KEY, 2), strict=False):
        by_hand = oracle.walk(NET, params, z[:T], pattern, noise_before(key))[-1].x[-1]
        np.testing.assert_allclose(top, by_hand, rtol=1e-6)


def test_a_rule_starts_where_the_network_is():
    """Asleep the rule dreams on from the state; at an onset the transition rests, unlike after a start awake."""
    params, z = world()
    top = np.array([[0.7, -0.4], [0.2, 0.9]])

    def along(params, pattern, z):
        rule = starting_from(impression(NET, schedule=following(pattern)), jnp.asarray(top), pattern[-1])
        return updates_along(rule, params, KEY, Example(z, z))

    asleep, waking = (compiled(along)(params, jnp.array(pattern), z[T:]) for pattern in (PATTERNS[1], PATTERNS[0]))
    xi, eta = noise_before(KEY)[0]
    w, d_s, d_r = params["inference"]["w"][0], params["generation"]["w"][0], params["generation"]["transition"]
    r = d_r * top + 0.5 * eta
    s = r @ d_s.T + 0.4 * xi
    mean = np.tanh(s @ w.T)
    expected = -np.einsum("bi,bj->ij", (r - mean) * (1 - mean**2), s) / B
    np.testing.assert_allclose(asleep["inference"]["w"][0][0], expected, rtol=1e-6)
    transition = np.asarray(waking["generation"]["transition"])
    assert not transition[0].any()
    assert np.abs(transition[1]).min() > 1e-4


def test_losses_of_a_test_are_the_authors(monkeypatch):
    """2 (log q~ - log p~) without normalisers, over whole cycles after the first."""
    params, z = world()[0], np.random.default_rng(5).normal(size=(11, B, 4))
    monkeypatch.setattr(estimators, "STEPS", 11)
    monkeypatch.setattr(estimators, "path", lambda *_: jnp.asarray(z))
    losses = compiled(lambda params: estimators.losses(NET, params, KEY, jnp.ones((4, 2))))(params)
    key_noise = jax.random.split(KEY)[1]
    innovations = noise_of([jax.random.fold_in(key_noise, jnp.uint32(t)) for t in range(11)])
    for name, pattern in (("alternating", (True, True, False, False) * 2 + (True,) * 3), ("wake", (True,) * 11)):
        steps = oracle.walk(NET, params, z, pattern, innovations)
        sums = []
        for step, wake in list(zip(steps, pattern, strict=True))[4:8]:
            energy = sum(
                ((x - g) ** 2).sum(1) / sg**2 - ((x - q) ** 2).sum(1) / sq**2
                for x, q, g, sq, sg in zip(step.x, step.inferred, step.generated, (0.3, 0.2), (0.4, 0.5), strict=True)
            )
            sums.append((energy if wake else -energy).mean())
        np.testing.assert_allclose(losses[name], np.mean(sums), rtol=1e-6)
