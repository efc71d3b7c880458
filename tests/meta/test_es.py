"""Evolution strategies: their mean, their sizes, and the randomness that the lives of a pair share."""

import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import plasticity_jax as pj
from plasticity_jax.meta import Life, es, pes
from tests.laws.common import compiled

FALSE_ALARM = 1e-6
SAMPLES = 20_000


def walk(loss, noise=0.0):
    """A life that adds theta's groups, and its own noise, to a weight of each; its last weights are judged."""

    def update(params, traces, key, batch):
        shock = noise * jax.random.normal(key)
        return jax.tree.map(lambda leaf: -leaf - shock, traces), traces, pj.Info(batch.sum(), jnp.asarray(True), {})

    def learner(theta):
        return pj.learner(pj.LearningRule(lambda params, key, batch: theta, update), optax.sgd(1.0))

    return Life(
        learner=learner,
        params=lambda theta: jax.tree.map(jnp.zeros_like, theta),
        loss=lambda theta, params, query: (loss(params, query), {}),
    )


def episodes(steps=1, count=1):
    return pj.Episode(jnp.zeros((count, steps, 1)), 1.0 + jnp.arange(count)[:, None])


def assert_mean(samples, expected):
    """The standard error, after a two-sided z-test of the mean that fails with probability FALSE_ALARM by chance."""
    critical = NormalDist().inv_cdf(1 - FALSE_ALARM / 2)
    error = np.std(samples) / math.sqrt(len(samples))
    assert abs(np.mean(samples) - expected) < critical * error
    return critical * error


def test_the_mean_is_the_gradient_of_the_smoothed_loss():
    """It is 3 x^2 + 3 sigma^2 for x^3, times the query's mean, 1.5; each group has its own sigma."""
    life = walk(lambda params, query: jnp.sum(query) * (params["a"] ** 3 + params["b"] ** 3))
    theta, sigma = {"a": jnp.float64(0.5), "b": jnp.float64(-1.0)}, {"a": 0.2, "b": 1.0}
    rule = es(life, sigma=sigma, pairs=2)
    keys = jax.random.split(jax.random.key(40), SAMPLES)
    updates, _, info = compiled(jax.vmap(lambda key: rule.update(theta, (), key, episodes(count=2))))(keys)
    for name in theta:
        expected = 1.5 * 3 * (theta[name] ** 2 + sigma[name] ** 2)
        assert assert_mean(updates[name], expected) < 1.5 * 3 * sigma["b"] ** 2 / 2, "the smoothing would not show"
    assert_mean(info.loss, 1.5 * sum(x**3 + 3 * x * sigma[name] ** 2 for name, x in theta.items()))


def test_a_pair_shares_its_life():
    """The life's own noise cancels to the last digits, though it changes the loss."""
    life = walk(lambda params, query: params["a"], noise=1.0)
    theta = {"a": jnp.float64(0.5)}
    rule = es(life, sigma=1e-3, pairs=1)
    keys = jax.random.split(jax.random.key(41), 50)
    updates, _, info = compiled(jax.vmap(lambda key: rule.update(theta, (), key, episodes(steps=3))))(keys)
    units = jax.vmap(lambda key: jax.random.normal(jax.random.split(jax.random.split(key)[0], 1)[0], (1,)))(keys)
    # The loss is 3 theta + noise, so the estimate is 3 u^2; rounding of a loss of size 5 by 1e-15 is divided by sigma.
    np.testing.assert_allclose(updates["a"], 3 * units[:, 0] ** 2, atol=1e-10)
    assert np.std(info.loss) > 1


@pytest.mark.parametrize("make", [es, lambda life, **options: pes(life, windows=1, **options)])
def test_lives_draw_noise_independent_of_the_perturbations(make):
    """The loss is theta times the square of the life's number: for unit normals u and v, E u^2 v^2 = 1, E u^4 = 3.

    The life draws with its own key, as a perturbation does.
    """

    def learner(theta):
        def init(params, key, batch):
            drawn = {"drawn": jax.random.normal(key, (1,))[0]}
            return pj.LearnerState(drawn, (), (), key, jnp.zeros((), jnp.int32))

        return pj.Learner(init, lambda state, batch: (state, pj.Info(jnp.zeros(()))))

    life = Life(
        learner=learner,
        params=lambda theta: {"drawn": jnp.zeros(())},
        loss=lambda theta, params, query: (theta["a"] * params["drawn"] ** 2, {}),
    )
    theta, rule = {"a": jnp.float64(0.5)}, make(life, sigma=0.1, pairs=1)
    keys = jax.random.split(jax.random.key(42), SAMPLES)
    traces = rule.init(theta, keys[0], episodes())
    updates, _, info = compiled(jax.vmap(lambda key: rule.update(theta, traces, key, episodes())))(keys)
    assert assert_mean(updates["a"], 1.0) < 0.5
    assert assert_mean(info.loss, 0.5) < 0.2


def test_bad_pairs_and_sizes_are_refused():
    life = walk(lambda params, query: params["a"])
    with pytest.raises(ValueError, match="pairs=0 must be at least 1"):
        es(life, sigma=0.1, pairs=0)
    with pytest.raises(ValueError, match=r"sigma=0\.0 must be above 0"):
        es(life, sigma={"a": 0.1, "b": 0.0}, pairs=1)
    for sigma in (np.float32(0), jnp.array([0.1, -0.1]), np.nan):
        with pytest.raises(ValueError, match="must be above 0"):
            es(life, sigma=sigma, pairs=1)
