"""The meta-gradient is the derivative of the life, for any rule; and lives that diverge."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import plasticity_jax as pj
from plasticity_jax.meta import Life, meta_gradient, outcome, supervised_life
from tests.laws.common import compiled
from tests.meta.lives import episodes_of_case, first, of_case, slope


@pytest.mark.parametrize(
    ("name", "coefficient"), [("rflo", "leak"), ("node_perturbation", "sigma"), ("oja", "alpha"), ("rflo", "alpha")]
)
def test_a_coefficient_of_any_rule_can_be_meta_learned(name, coefficient):
    """Central differences of fourth order at h = 1e-3 x have relative errors h^4 ~ 1e-12 and eps / h ~ 1e-12."""
    life, theta = of_case(name, coefficient, rate=1.0 if name == "oja" else 0.1)
    episodes = episodes_of_case(name, steps=9)
    key = jax.random.key(5)
    life_key = jax.random.split(key, 1)[0]
    loss = compiled(lambda x: outcome(life, {coefficient: x}, life_key, first(episodes), remat=False)[0])
    expected = slope(loss, theta[coefficient], 1e-3 * float(theta[coefficient]))
    updates, _, info = compiled(meta_gradient(life).update)(theta, (), key, episodes)
    assert abs(expected) > 1e-5, "nothing to equal"
    np.testing.assert_allclose(updates[coefficient], expected, rtol=1e-6)
    np.testing.assert_allclose(info.loss, loss(theta[coefficient]), rtol=1e-12)


def test_a_batch_is_the_mean_of_its_episodes():
    life, theta = of_case("node_perturbation", "sigma")
    episodes = episodes_of_case("node_perturbation", steps=4, episodes=3)
    key = jax.random.key(6)
    updates, _, info = compiled(meta_gradient(life).update)(theta, (), key, episodes)

    def alone(key, episode):
        return jax.value_and_grad(lambda th: outcome(life, th, key, episode)[0])(theta)

    each = [
        compiled(alone)(k, jax.tree.map(lambda leaf, b=b: leaf[b], episodes))
        for b, k in enumerate(jax.random.split(key, 3))
    ]
    np.testing.assert_allclose(info.loss, np.mean([loss for loss, _ in each]), rtol=1e-12)
    np.testing.assert_allclose(updates["sigma"], np.mean([g["sigma"] for _, g in each]), rtol=1e-10)


def test_an_inner_adam_needs_eps_root():
    """The net's second input is zero, as are its weights' gradients throughout the life. Nothing else changes."""
    net = pj.networks.mlp((2, 3, 1), ("tanh", "identity"))
    start = pj.layers.init_params(jax.random.key(1), net, dtype=jnp.float64)
    x = jax.random.normal(jax.random.key(2), (1, 3, 4, 2)) * jnp.array([1.0, 0.0])
    support = pj.Example(x, jnp.sin(3 * x[..., :1]))
    batch = pj.Episode(support, jax.tree.map(lambda leaf: leaf[:, 0], support))
    theta, key = {"rate": jnp.float64(0.05)}, jax.random.key(0)

    def update(eps_root):
        life = supervised_life(
            net,
            lambda theta: pj.learner(pj.rules.backprop(net), optax.adam(theta["rate"], eps_root=eps_root)),
            lambda theta: start,
        )
        return compiled(meta_gradient(life).update)(theta, (), key, batch)[::2], life

    (broken, info), _ = update(0.0)
    assert np.isfinite(info.loss)
    assert np.isnan(broken["rate"])
    assert not info.aux["finite_updates"].any()
    (cured, same), life = update(1e-8)
    life_key = jax.random.split(key, 1)[0]
    loss = compiled(lambda rate: outcome(life, {"rate": rate}, life_key, first(batch), remat=False)[0])
    assert abs(cured["rate"]) > 1e-3
    np.testing.assert_allclose(cured["rate"], slope(loss, theta["rate"], 1e-4), rtol=1e-7)
    np.testing.assert_allclose(same.loss, info.loss, rtol=1e-3)
    assert same.aux["finite_updates"].all()


def growing():
    """A life of two weights; each step multiplies the first by 1 + theta x, and the second by that twice."""

    def update(params, traces, key, batch):
        grown = {"a": -params["a"] * batch.mean(), "b": -params["b"] * batch.mean() ** 2}
        return grown, (), pj.Info(jnp.sum(params["b"]), jnp.asarray(True), {})

    rule = pj.LearningRule(lambda params, key, batch: (), update)
    return Life(
        learner=lambda theta: pj.learner(rule, optax.sgd(1.0)),
        params=lambda theta: {"a": jnp.ones(2), "b": theta["b"]},
        loss=lambda theta, params, query: (jnp.sum(params["b"] * query), {}),
    )


def test_a_life_that_diverges_is_reported_and_skipped():
    """b is multiplied by 1 + x^2: with x = 1e200 it is infinite after one step, when a is 1e200, which is finite."""
    life, theta = growing(), {"b": jnp.ones(3)}
    tx = optax.apply_if_finite(optax.sgd(0.1), max_consecutive_errors=5)
    learn = pj.learner(meta_gradient(life), tx)
    calm = pj.Episode(jnp.full((2, 1, 1), 0.5), jnp.ones((2, 1)))
    wild = pj.Episode(calm.support.at[1].set(1e200), calm.query)
    state = learn.init(theta, jax.random.key(0), calm)
    step = compiled(learn.step)
    state, info = step(state, calm)
    assert np.isfinite(info.loss)
    np.testing.assert_allclose(state.params["b"], 1 - 0.1 * 1.25)
    before = state
    state, info = step(state, wild)
    assert not np.isfinite(info.loss)
    np.testing.assert_array_equal(state.params["b"], before.params["b"])
    state, info = step(state, calm)
    np.testing.assert_allclose(state.params["b"], before.params["b"] - 0.1 * 1.25)


def test_episodes_that_do_not_fit_are_refused():
    life, theta = growing(), {"b": jnp.ones(3)}
    rule = meta_gradient(life)
    with pytest.raises(AssertionError, match=r"lead with B episodes"):
        rule.init(theta, jax.random.key(0), pj.Episode(jnp.ones((2, 1, 1)), jnp.ones((3, 1))))
    with pytest.raises(AssertionError, match=r"lead with \(B, T\)"):
        rule.update(theta, (), jax.random.key(0), pj.Episode(jnp.ones(2), jnp.ones((2, 1))))


@pytest.mark.parametrize(
    "make",
    [
        meta_gradient,
        lambda life: pj.meta.truncated(life, windows=2),
        lambda life: pj.meta.es(life, sigma=0.1, pairs=1),
        lambda life: pj.meta.pes(life, sigma=0.1, pairs=1, windows=2),
    ],
)
def test_what_is_not_a_life_is_refused_at_once(make):
    with pytest.raises(TypeError, match="life is a str: give a Life, as in Life"):
        make("x")


@pytest.mark.parametrize(("remat", "error"), [(None, TypeError), ("x", TypeError), (2.5, TypeError), (0, ValueError)])
def test_blocks_of_no_whole_number_of_steps_are_refused(remat, error):
    with pytest.raises(error, match="remat="):
        meta_gradient(growing(), remat=remat)


def test_missing_meta_parameters_are_named():
    net = pj.networks.mlp((3, 2), ("identity",))
    batch = pj.Episode(pj.Example(jnp.ones((1, 4, 1, 3)), jnp.ones((1, 4, 1, 2))), pj.Example(*jnp.ones((2, 1, 1, 3))))
    theta, key = {"forward": pj.layers.init_params(jax.random.key(0), net)["forward"]}, jax.random.key(1)
    rule = meta_gradient(pj.meta.gradient_life(net))
    with pytest.raises(ValueError, match=r'theta\["rate"\] is missing, and this life reads it: theta has forward'):
        rule.update(theta, (), key, batch)
    with pytest.raises(ValueError, match="params hold nothing"):
        rule.update(None, (), key, batch)
