"""Persistent evolution strategies: sums of perturbations, the start of lives, and credit for the whole past."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.meta import es, pes
from tests.laws.common import compiled
from tests.meta.lives import episodes_of_case, of_case
from tests.meta.test_es import assert_mean, episodes, walk

WINDOWS = 3


def cut(life):
    """The walk with theta of each window; the walk's own traces hold it from birth on."""

    def learner(theta):
        learn = life.learner(theta)
        return learn._replace(step=lambda state, batch: learn.step(state._replace(traces=theta), batch))

    return life._replace(learner=learner)


def test_one_window_equals_evolution_strategies():
    life, theta = of_case("node_perturbation", "sigma")
    batch = episodes_of_case("node_perturbation", steps=3, episodes=2)
    persistent, whole = pes(life, sigma=0.01, pairs=2, windows=1), es(life, sigma=0.01, pairs=2)
    traces = persistent.init(theta, jax.random.key(50), batch)
    update = compiled(persistent.update)
    for number in (51, 52):  # the second life starts over
        updates, traces, info = update(theta, traces, jax.random.key(number), batch)
        expected, _, expected_info = compiled(whole.update)(theta, (), jax.random.key(number), batch)
        np.testing.assert_allclose(updates["sigma"], expected["sigma"], rtol=1e-9)
        np.testing.assert_allclose(info.loss, expected_info.loss, rtol=1e-12)


def lived(key, count=WINDOWS + 1, pairs=2):
    """Updates, sums of perturbations, losses and weights of a walk, window by window, of one step each."""
    rule = pes(cut(walk(lambda params, query: params["a"])), sigma=0.1, pairs=pairs, windows=WINDOWS)
    theta = {"a": jnp.float64(0.5)}
    traces, windows = rule.init(theta, key, episodes()), []
    for k in range(count):
        updates, traces, info = rule.update(theta, traces, jax.random.fold_in(key, k), episodes())
        windows.append((updates["a"], traces.total["a"], info.loss, traces.inner.params["a"][..., 0]))
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *windows)


def test_sums_and_states_continue_until_a_new_life():
    """The weight after k windows is k theta +- sigma x, x the sum of k perturbations, so each estimate is x^2."""
    updates, total, losses, weights = compiled(lived)(jax.random.key(53))
    key_units = [jax.random.split(jax.random.fold_in(jax.random.key(53), k))[0] for k in range(WINDOWS + 1)]
    units = np.stack([jax.random.normal(jax.random.split(key, 1)[0], (2,)) for key in key_units])
    sums = np.concatenate([np.cumsum(units[:WINDOWS], 0), units[WINDOWS:]])
    lengths = np.array([1, 2, 3, 1])
    np.testing.assert_allclose(total, sums, rtol=1e-12)
    np.testing.assert_allclose(weights, 0.5 * lengths[:, None, None] + 0.1 * np.stack([sums, -sums], -1), rtol=1e-12)
    np.testing.assert_allclose(updates, np.mean(sums**2, 1), rtol=1e-12)
    np.testing.assert_allclose(losses, 0.5 * lengths, rtol=1e-12)


def test_the_past_of_a_life_is_credited():
    """The k-th window's loss is k theta, by all of its past; each window alone would count theta once."""
    keys = jax.random.split(jax.random.key(54), 20_000)
    updates = compiled(jax.vmap(lambda key: lived(key, count=WINDOWS)[0]))(keys)
    for k in range(WINDOWS):
        assert assert_mean(updates[:, k], k + 1) < 0.5


def test_bad_arguments_are_refused():
    life = walk(lambda params, query: params["a"])
    for options in ({"sigma": 0.1, "pairs": 0, "windows": 2}, {"sigma": 0.1, "pairs": 1, "windows": 0}):
        with pytest.raises(ValueError, match="=0 must be at least 1"):
            pes(life, **options)
    with pytest.raises(ValueError, match=r"sigma=-1\.0 must be above 0"):
        pes(life, sigma=-1.0, pairs=1, windows=2)
