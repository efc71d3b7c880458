"""One window at a time: the carried state, the start of lives, and the reach of the gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import plasticity_jax as pj
from plasticity_jax.meta import meta_gradient, truncated
from tests.laws.common import compiled
from tests.meta.lives import episodes_of_case, of_case

EPISODES = 2


def window(episodes, start, stop):
    """Steps of the support, and the query."""
    return pj.Episode(jax.tree.map(lambda leaf: leaf[:, start:stop], episodes.support), episodes.query)


def test_one_window_equals_the_whole_life():
    """The rule draws random numbers, and both give a life the same key."""
    life, theta = of_case("node_perturbation", "sigma")
    episodes = episodes_of_case("node_perturbation", steps=5, episodes=EPISODES)
    rule, key = truncated(life, windows=1), jax.random.key(30)
    expected, _, whole = compiled(meta_gradient(life).update)(theta, (), key, episodes)
    traces = rule.init(theta, jax.random.key(31), episodes)
    for _ in range(2):  # the second life starts afresh
        updates, traces, info = compiled(rule.update)(theta, traces, key, episodes)
        np.testing.assert_allclose(updates["sigma"], expected["sigma"], rtol=1e-12)
        np.testing.assert_allclose(info.loss, whole.loss, rtol=1e-12)


def test_two_windows_run_the_whole_life_and_credit_the_last():
    """The traces of RFLO and the momentum of its optimiser must cross the edge."""
    case = pj.RULES["rflo"]
    life, _ = of_case("rflo", "leak")
    tx = optax.sgd(0.1, momentum=0.5)
    life = life._replace(
        learner=lambda theta: pj.learner(case.make(leak=theta["leak"]), tx),
        params=lambda theta: jax.tree.map(lambda leaf: theta["scale"] * leaf, of_case("rflo")[0].params({})),
    )
    life = life._replace(loss=lambda theta, params, query: of_case("rflo", "leak")[0].loss({}, params, query))
    theta = {"leak": jnp.float64(0.4), "scale": jnp.float64(0.9)}
    later = {"leak": jnp.float64(0.6), "scale": jnp.float64(0.5)}
    episodes = episodes_of_case("rflo", steps=6, episodes=EPISODES)
    windows = [window(episodes, 0, 3), window(episodes, 3, 6)]
    rule, key = truncated(life, windows=2), jax.random.key(32)
    update = compiled(rule.update)
    first, traces, _ = update(theta, rule.init(theta, key, windows[0]), key, windows[0])
    second, traces, info = update(later, traces, key, windows[1])

    def by_hand(moving, held):
        """The loss of both windows of every life; the second has theta `moving`, and the first `held`."""
        losses = []
        for b, life_key in enumerate(jax.random.split(key, EPISODES)):
            support = jax.tree.map(lambda leaf, b=b: leaf[b], episodes.support)
            state = life.learner(held).init(life.params(held), life_key, jax.tree.map(lambda leaf: leaf[0], support))
            for t in range(6):
                learn = life.learner(held if t < 3 else moving)
                state, _ = learn.step(state, jax.tree.map(lambda leaf, t=t: leaf[t], support))
            losses.append(life.loss(moving, state.params, jax.tree.map(lambda leaf, b=b: leaf[b], episodes.query))[0])
        return sum(losses) / EPISODES

    loss, expected = compiled(jax.value_and_grad(by_hand))(later, theta)
    np.testing.assert_allclose(info.loss, loss, rtol=1e-11)
    np.testing.assert_allclose(second["leak"], expected["leak"], rtol=1e-9)
    assert abs(expected["leak"]) > 1e-5
    assert float(second["scale"]) == 0, "the weights at birth are what entered the window, and are held"
    assert abs(first["scale"]) > 1e-3, "the first window credits the birth"
    again, traces, _ = update(theta, traces, key, windows[0])
    np.testing.assert_allclose(again["scale"], first["scale"], rtol=1e-12, err_msg="the third window is a new life's")
    assert int(traces.lived) == 3
    np.testing.assert_array_equal(traces.inner.step, [3] * EPISODES)


def test_a_new_life_follows_a_diverged_one():
    life, theta = of_case("rflo", "leak")
    episodes = episodes_of_case("rflo", steps=2)
    broken = episodes._replace(support=jax.tree.map(lambda leaf: leaf * jnp.nan, episodes.support))
    rule, key = truncated(life, windows=2), jax.random.key(33)
    update = compiled(rule.update)
    traces = rule.init(theta, key, episodes)
    healthy, _, _ = update(theta, traces, key, episodes)
    for batch, finite in ((broken, False), (episodes, False), (episodes, True)):
        updates, traces, info = update(theta, traces, key, batch)
        assert bool(jnp.isfinite(updates["leak"])) == finite
        assert bool(jnp.isfinite(info.aux["inner_loss"])) == finite
    np.testing.assert_array_equal(updates["leak"], healthy["leak"])


def test_a_life_without_windows_is_refused():
    with pytest.raises(ValueError, match="windows=0 must be at least 1"):
        truncated(of_case("rflo", "leak")[0], windows=0)
