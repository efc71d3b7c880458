"""A life equals its steps, stored or rematerialised; rematerialised, its memory grows as the root of its length."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import plasticity_jax as pj
from plasticity_jax.meta import Life, birth, lifetime, outcome
from tests.laws.common import compiled
from tests.meta.lives import episodes_of_case, first, of_case

BLOCKS = [True, 1, 3, 7, 100]
"""Blocks of 10 steps: fours and two, single steps, threes and one, seven and three, and all at once."""


@pytest.mark.parametrize("remat", BLOCKS)
def test_blocks_change_nothing(remat):
    """The operations are the same; compiled separately they round differently, some 1e-16 a step."""
    name = "rflo"  # its traces cross the edges of blocks
    life, theta = of_case(name, "leak", "alpha")
    episode = first(episodes_of_case(name, steps=10))

    def graded(remat):
        def f(theta, episode):
            return outcome(life, theta, jax.random.key(7), episode, remat=remat)[0]

        return compiled(jax.value_and_grad(f))(theta, episode)

    actual, expected = graded(remat), graded(False)
    assert abs(expected[1]["leak"]) > 1e-5
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), actual, expected)


@pytest.mark.parametrize("remat", [False, True, 3])
def test_a_life_equals_its_steps(remat):
    life, theta = of_case("node_perturbation")
    episode = first(episodes_of_case("node_perturbation", steps=10))
    support = episode.support
    learn = life.learner(theta)
    state = birth(life, theta, jax.random.key(8), episode)
    end, outputs = compiled(
        lambda state: lifetime(learn, state, support, collect=lambda info: info.aux["output"], remat=remat)
    )(state)
    step = compiled(learn.step)
    for t in range(10):
        state, info = step(state, jax.tree.map(lambda leaf, t=t: leaf[t], support))
        np.testing.assert_allclose(outputs[t], info.aux["output"], rtol=1e-11)
    assert int(end.step) == 10
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11), end.params, state.params)


@pytest.mark.parametrize("remat", [False, True])
def test_preparation_is_hoisted_and_keeps_the_steps_apart(remat):
    """A life and its gradient are the same with preparation ahead or inside of the step, which gets no raw batch."""
    w = jnp.linspace(-1.0, 1.0, 6).reshape(2, 3)
    support = jax.random.normal(jax.random.key(9), (7, 4, 3))

    def update(params, traces, key, batch):
        assert batch.shape == (4, 2)
        return {"v": params["v"] * batch.mean(0)}, (), pj.Info(batch.sum(), jnp.asarray(True), {})

    rule = pj.LearningRule(lambda params, key, batch: (), update)
    life = Life(
        learner=lambda theta: pj.learner(rule, optax.sgd(0.1)),
        params=lambda theta: {"v": jnp.ones(2)},
        loss=lambda theta, params, query: (jnp.sum(params["v"] * query), {}),
        prepare=lambda theta, batches: jnp.tanh(batches @ theta.T),
    )

    def unhoisted(theta):
        v = jnp.ones(2)
        for x in support:
            v = v - 0.1 * v * jnp.tanh(x @ theta.T).mean(0)
        return jnp.sum(v * jnp.array([1.0, 2.0]))

    def hoisted(theta):
        episode = pj.Episode(support, jnp.array([1.0, 2.0]))
        return outcome(life, theta, jax.random.key(0), episode, remat=remat)[0]

    actual, expected = (compiled(jax.value_and_grad(f))(w) for f in (hoisted, unhoisted))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), actual, expected)


def test_memory_grows_like_the_root_of_the_length():
    """States have n^2 numbers and batches one: a step, and the edge of a block, store some n^2.

    A stored life 16 times as long takes 16 times the memory, less a constant; a rematerialised one, sqrt(16) = 4 times.
    A factor of 1.5 for the compiler's overhead still separates the two.
    """
    n = 64

    def update(params, traces, key, batch):
        return {"w": jnp.tanh(params["w"]) * batch}, (), pj.Info(jnp.sum(batch), jnp.asarray(True), {})

    rule = pj.LearningRule(lambda params, key, batch: (), update)
    life = Life(
        learner=lambda theta: pj.learner(rule, optax.sgd(0.01)),
        params=lambda theta: {"w": theta},
        loss=lambda theta, params, query: (jnp.sum(params["w"] ** 2), {}),
    )

    def temporary(steps, remat):
        def loss(theta, support):
            return outcome(life, theta, jax.random.key(0), pj.Episode(support, jnp.zeros(1)), remat=remat)[0]

        state, support = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((n, n), (steps, 1)))
        program = jax.jit(jax.grad(loss)).lower(state, support).compile()
        return program.memory_analysis().temp_size_in_bytes

    stored = temporary(1600, False) / temporary(100, False)
    rematerialised = temporary(1600, True) / temporary(100, True)
    assert stored > 16 / 1.5
    assert rematerialised < 4 * 1.5
    assert temporary(1600, True) < 4 * 40 * n * n * 4, "40 edges and 40 steps of a block, a state or two of each"


def test_a_life_without_steps_is_refused():
    life, theta = of_case("rflo", "leak")
    episode = first(episodes_of_case("rflo", steps=4))
    state = birth(life, theta, jax.random.key(0), episode)
    nothing = jax.tree.map(lambda leaf: leaf[:0], episode.support)
    with pytest.raises(ValueError, match="0 steps"):
        lifetime(life.learner(theta), state, nothing)
    with pytest.raises(ValueError, match="blocks of 0"):
        lifetime(life.learner(theta), state, episode.support, remat=0)
