"""A life judged by its losses on the way: its gradient, its memory, and the rules over theta that take it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import plasticity_jax as pj
from plasticity_jax.meta import Life, es, meta_gradient, outcome, pes, truncated
from tests.laws.common import compiled
from tests.meta.lives import episodes_of_case, first, of_case, slope
from tests.meta.test_es import assert_mean, episodes

STEPS, KEY = 5, jax.random.key(60)


def discounted(losses):
    """A judgement of losses that is nonlinear and weighs early losses more."""
    return jnp.sum(0.8 ** jnp.arange(len(losses)) * losses**2)


def judged(on_the_way, end):
    """A life of RFLO, whose traces cross the edges of blocks, over its leak; with `end` its end is judged too."""
    life, theta = of_case("rflo", "leak")
    return (life if end else Life(life.learner, life.params))._replace(on_the_way=on_the_way), theta


def lived(life, leak, on_the_way, end):
    """The loss of the first episode, step by step."""
    episode, theta = first(episodes_of_case("rflo", steps=STEPS)), {"leak": leak}
    learn = life.learner(theta)
    batches = [jax.tree.map(lambda leaf, t=t: leaf[t], episode.support) for t in range(STEPS)]
    state, losses = learn.init(life.params(theta), KEY, batches[0]), []
    for batch in batches:
        state, info = learn.step(state, batch)
        losses.append(info.loss)
    judged = on_the_way(jnp.stack(losses))
    return judged + life.loss(theta, state.params, episode.query)[0] if end else judged


@pytest.mark.parametrize(("on_the_way", "end"), [(jnp.mean, False), (discounted, True)])
def test_the_gradient_equals_those_of_the_steps_and_of_differences(on_the_way, end):
    """Central differences of fourth order at h = 1e-3 have relative errors h^4 ~ 1e-12 and eps / h ~ 1e-12."""
    life, theta = judged(on_the_way, end)
    by_hand = compiled(jax.value_and_grad(lambda leak: lived(life, leak, on_the_way, end)))
    loss, expected = by_hand(theta["leak"])
    assert abs(expected) > 1e-4, "nothing to equal"
    np.testing.assert_allclose(expected, slope(lambda leak: by_hand(leak)[0], theta["leak"], 1e-3), rtol=1e-7)

    def graded(theta, episode):
        return outcome(life, theta, KEY, episode, remat=2)[0]  # two blocks and a rest

    result = compiled(jax.value_and_grad(graded))(theta, first(episodes_of_case("rflo", steps=STEPS)))
    np.testing.assert_allclose(result[0], loss, rtol=1e-12)
    np.testing.assert_allclose(result[1]["leak"], expected, rtol=1e-10)


def test_updates_have_the_dtype_of_theta_and_need_no_query():
    case, theta = pj.RULES["rflo"], {"leak": jnp.float32(0.4)}
    life = Life(
        learner=lambda theta: pj.learner(case.make(leak=theta["leak"]), optax.sgd(0.1)),
        params=lambda theta: jax.tree.map(lambda leaf: leaf.astype(jnp.float32), case.params(KEY)),
        on_the_way=jnp.mean,
    )
    support = episodes_of_case("rflo", steps=4, episodes=2).support
    updates, _, info = compiled(meta_gradient(life).update)(theta, (), KEY, pj.Episode(support, ()))
    assert updates["leak"].dtype == info.loss.dtype == jnp.float32
    assert updates["leak"] != 0
    np.testing.assert_allclose(info.loss, info.aux["inner_loss"], rtol=1e-6)


def test_rematerialised_memory_still_grows_like_the_root_of_the_length():
    """The bounds are those of a life judged by its end (test_lifetime); the step's loss reads all of its state."""
    n = 64

    def update(params, traces, key, batch):
        loss = jnp.sum(params["w"] ** 2) * jnp.sum(batch)
        return {"w": jnp.tanh(params["w"]) * batch}, (), pj.Info(loss, jnp.asarray(True), {})

    rule = pj.LearningRule(lambda params, key, batch: (), update)
    life = Life(learner=lambda theta: pj.learner(rule, optax.sgd(0.01)), params=lambda w: {"w": w}, on_the_way=jnp.mean)

    def temporary(steps, remat):
        def loss(theta, support):
            return outcome(life, theta, KEY, pj.Episode(support, ()), remat=remat)[0]

        state, support = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((n, n), (steps, 1)))
        return jax.jit(jax.grad(loss)).lower(state, support).compile().memory_analysis().temp_size_in_bytes

    assert temporary(1600, False) / temporary(100, False) > 16 / 1.5
    assert temporary(1600, True) / temporary(100, True) < 4 * 1.5


def climb():
    """A weight that grows by theta at each step; a step's loss is the weight before it: 0, theta, 2 theta."""

    def update(params, traces, key, batch):
        return {"a": -traces["a"]}, traces, pj.Info(params["a"], jnp.asarray(True), {})

    def learner(theta):
        learn = pj.learner(pj.LearningRule(lambda params, key, batch: theta, update), optax.sgd(1.0))
        return learn._replace(step=lambda state, batch: learn.step(state._replace(traces=theta), batch))

    return Life(learner, lambda theta: {"a": jnp.zeros_like(theta["a"])}, on_the_way=jnp.sum)


def test_evolution_strategies_judge_the_way():
    """The loss of three steps is 3 theta: the estimate of a pair is 3 u^2."""
    rule, theta = es(climb(), sigma=0.1, pairs=2), {"a": jnp.float64(0.5)}
    updates, _, info = rule.update(theta, (), KEY, episodes(steps=3))
    units = jax.random.normal(jax.random.split(jax.random.split(KEY)[0], 1)[0], (2,))
    np.testing.assert_allclose(updates["a"], np.mean(3 * units**2), rtol=1e-10)
    np.testing.assert_allclose(info.loss, 1.5, rtol=1e-12)


def test_windows_are_judged_one_by_one():
    """Windows have one step: the k-th one's loss is (k - 1) theta, all from the state that entered it."""
    theta = {"a": jnp.float64(0.5)}
    rule, whole = pes(climb(), sigma=0.1, pairs=1, windows=3), truncated(climb(), windows=3)

    def life(key):
        traces, windows = rule.init(theta, key, episodes()), []
        for k in range(3):
            updates, traces, info = rule.update(theta, traces, jax.random.fold_in(key, k), episodes())
            windows.append((updates["a"], info.loss))
        return windows

    windows = compiled(jax.vmap(life))(jax.random.split(KEY, 20_000))
    traces = whole.init(theta, KEY, episodes())
    for k, (updates, losses) in enumerate(windows):
        np.testing.assert_allclose(losses, 0.5 * k, atol=1e-12)
        if k == 0:
            np.testing.assert_array_equal(updates, 0)
        else:
            assert assert_mean(updates, k) < 0.5
        held, traces, info = whole.update(theta, traces, KEY, episodes())
        np.testing.assert_allclose(info.loss, 0.5 * k, rtol=1e-12)
        assert float(held["a"]) == 0, "truncation must not credit theta's part before the window"


def test_a_life_without_a_judgement_is_refused():
    life, theta = judged(None, False)
    batch = episodes_of_case("rflo", steps=2)
    with pytest.raises(ValueError, match="nothing judges this Life: give it a loss, or on_the_way"):
        meta_gradient(life).update(theta, (), KEY, batch)
    with pytest.raises(ValueError, match="nothing judges this Life"):
        pj.meta.es(life, sigma=0.1, pairs=1)
    with pytest.raises(AssertionError, match=r"the loss of a life, or of its losses on the way, has shape \(\)"):
        meta_gradient(life._replace(on_the_way=lambda losses: losses)).update(theta, (), KEY, batch)
