"""Lifetimes of FLP, and every meta-gradient through them, against a NumPy lifetime and its finite differences."""

import functools
from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import plasticity_jax as pj
from plasticity_jax.networks import mlp
from plasticity_jax.rules.hebbian import flp
from plasticity_jax.typing import Episode, Example
from tests.laws.common import compiled
from tests.oracles import flp as oracle

SIZES, PLASTIC = (3, 6, 5, 2), (1, 2)
STEPS, EXAMPLES, QUERIES = 7, 4, 6
FORMS = {
    "regression": {"signal": "error", "output": "mixed"},
    "classification": {"signal": "target", "output": "clamped"},
}


class World(NamedTuple):
    """One problem in the oracle's form and in the library's."""

    form: str
    arrays: dict
    life: tuple
    theta: dict
    episode: Episode


@functools.cache
def world(form):
    rng = np.random.default_rng(10)  # no unit switches within the differences' stencil
    layers = range(len(SIZES) - 1)
    theta = {
        "W": [rng.standard_normal((m, n)) * (2 / n) ** 0.5 for n, m in pairwise(SIZES)],
        "b": [0.3 * rng.standard_normal(n) for n in SIZES[1:]],
        "B": [rng.standard_normal((n, SIZES[-1])) for n in SIZES[1:]],
        "c": [0.3 * rng.standard_normal(n) for n in SIZES[1:]],
        "alpha": [0.01 * rng.standard_normal((m, n)) for n, m in pairwise(SIZES)],
        "beta": [np.array(value) for value in (0.3, 0.6, 0.8)],
    }
    x, query_x = rng.standard_normal((STEPS, EXAMPLES, SIZES[0])), rng.standard_normal((QUERIES, SIZES[0]))
    if form == "classification":
        y, query_y = (np.eye(SIZES[-1])[rng.integers(0, SIZES[-1], shape)] for shape in ((STEPS, EXAMPLES), QUERIES))
    else:
        y, query_y = rng.standard_normal((STEPS, EXAMPLES, SIZES[-1])), rng.standard_normal((QUERIES, SIZES[-1]))
    unread = [i for i in layers if i not in PLASTIC]
    no_feedback = [*unread, layers[-1]] if form == "classification" else unread
    for name, missing in {
        "alpha": unread,
        "B": no_feedback,
        "c": no_feedback,
        "beta": no_feedback,
    }.items():
        theta[name] = [None if i in missing else value for i, value in enumerate(theta[name])]
    return World(form, theta, (x, y, query_x, query_y), as_library(theta), as_episodes(x, y, query_x, query_y))


def as_library(theta):
    """The oracle's theta as params and coefficients: feedback is transposed, and unread entries are zero."""
    fill = [(SIZES[-1], n) for n in SIZES[1:]]
    w_fb = tuple(jnp.zeros(s) if b is None else jnp.asarray(b.T) for b, s in zip(theta["B"], fill, strict=True))
    c = tuple(jnp.zeros(s[1]) if c is None else jnp.asarray(c) for c, s in zip(theta["c"], fill, strict=True))
    return {
        "forward": {"w": tuple(map(jnp.asarray, theta["W"])), "bias": tuple(map(jnp.asarray, theta["b"]))},
        "feedback": {"w_fb": w_fb, "bias": c},
        "alpha": tuple(jnp.asarray(theta["alpha"][i]) for i in PLASTIC),
        "beta": tuple(jnp.asarray(0.0 if theta["beta"][i] is None else theta["beta"][i]) for i in PLASTIC),
    }


def as_episodes(x, y, query_x, query_y):
    episode = Episode(Example(jnp.asarray(x), jnp.asarray(y)), Example(jnp.asarray(query_x), jnp.asarray(query_y)))
    return jax.tree.map(lambda leaf: leaf[None], episode)


def network(form, first=0):
    loss = "softmax" if form == "classification" else "squared"
    return mlp(SIZES[first:], ("relu", "relu", "identity")[first:], loss)


def query_loss(net, weights, query):
    output = pj.layers.forward(net, weights, query.x).h[-1]
    if net.loss == "softmax":
        return -jnp.mean(jnp.sum(query.y * jax.nn.log_softmax(output), 1))
    return jnp.mean((output - query.y) ** 2)


def whole(form):
    """A life with all layers in its params, of which only those of PLASTIC learn."""
    net = network(form)
    return pj.meta.Life(
        learner=lambda theta: pj.learner(
            flp(net, alpha=theta["alpha"], beta=theta["beta"], plastic=PLASTIC, **FORMS[form]), optax.sgd(1.0)
        ),
        params=lambda theta: {name: theta[name] for name in ("forward", "feedback")},
        loss=lambda theta, params, query: (query_loss(net, params["forward"], query), {}),
    )


def hoisted(form):
    """A life that evaluates the frozen layer for all inputs at once; the inner network is the rest."""
    front, net = mlp(SIZES[:2], ["relu"]), network(form, 1)

    def prepare(theta, batch):
        weights = {name: each[:1] for name, each in theta["forward"].items()}
        flat = batch.x.reshape(-1, batch.x.shape[-1])
        h = pj.layers.forward(front, weights, flat).h[-1]
        return Example(h.reshape(*batch.x.shape[:-1], -1), batch.y)

    return pj.meta.Life(
        learner=lambda theta: pj.learner(
            flp(net, alpha=theta["alpha"], beta=theta["beta"], **FORMS[form]), optax.sgd(1.0)
        ),
        params=lambda theta: {
            group: {name: each[1:] for name, each in theta[group].items()} for group in ("forward", "feedback")
        },
        loss=lambda theta, params, query: (query_loss(net, params["forward"], prepare(theta, query)), {}),
        prepare=prepare,
    )


@functools.cache
def graded(form, life=whole, remat=True):
    """``theta -> (loss, gradient)`` by the library."""
    rule, episode = pj.meta.meta_gradient(life(form), remat=remat), world(form).episode

    @compiled
    def update(theta):
        updates, _, info = rule.update(theta, (), jax.random.key(0), episode)
        return info.loss, updates

    return update


def assert_near(actual, expected, rtol):
    """Asserts that each leaf is equal to rtol of its largest entry."""

    def near(a, b):
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * np.max(np.abs(b)), strict=True)

    jax.tree.map(near, actual, expected)


@pytest.mark.parametrize("form", FORMS)
def test_the_life_equals_the_numpy_life(form):
    w = world(form)
    loss, final, inner, _ = oracle.live(w.arrays, *w.life, PLASTIC, classification=form == "classification")
    life = whole(form)
    support, query = jax.tree.map(lambda leaf: leaf[0], w.episode)

    @compiled
    def lived(theta):
        state = pj.meta.birth(life, theta, jax.random.key(0), pj.Episode(support, query))
        state, losses = pj.meta.lifetime(life.learner(theta), state, support)
        return state.params["forward"]["w"], losses, life.loss(theta, state.params, query)[0]

    end, losses, at_end = lived(w.theta)
    for i, (actual, expected) in enumerate(zip(end, final, strict=True)):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)
        moved = np.abs(expected - w.arrays["W"][i]).max()
        assert moved > 0.05 if i in PLASTIC else moved == 0
    np.testing.assert_allclose(losses, inner, rtol=1e-12)
    np.testing.assert_allclose(at_end, loss, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_every_meta_gradient_is_that_of_finite_differences(form):
    """Truncation at h = 1e-4 is 3e-18 f^(5), rounding 1.5 eps |f| / h = 3e-12 |f|; gradients are above 1e-3."""
    w = world(form)
    expected = oracle.differences(w.arrays, 1e-4, *w.life, PLASTIC, classification=form == "classification")
    _, gradient = graded(form)(w.theta)
    feedback = gradient["feedback"]
    actual = {
        "W": list(gradient["forward"]["w"]),
        "b": list(gradient["forward"]["bias"]),
        "B": [each.T for each in feedback["w_fb"]],
        "c": list(feedback["bias"]),
        "alpha": [None, *gradient["alpha"]],
        "beta": [None, *gradient["beta"]],
    }
    for name, differences in expected.items():
        for i, slope in enumerate(differences):
            if slope is None:  # it is never read
                assert actual[name][i] is None or not np.any(actual[name][i])
                continue
            assert np.max(np.abs(slope)) > 1e-3, f"{name}[{i}] is zero"
            np.testing.assert_allclose(
                actual[name][i], slope, rtol=0, atol=1e-6 * np.max(np.abs(slope)), err_msg=f"{name}[{i}]"
            )


def test_rematerialisation_changes_no_gradient():
    """Only the order in which a gradient's terms are summed, step by step or block by block, may differ."""
    theta = world("regression").theta
    loss, gradient = graded("regression", remat=False)(theta)
    for remat in (True, 5):  # 3 + 3 + 1 and 5 + 2 steps
        other_loss, other = graded("regression", remat=remat)(theta)
        np.testing.assert_allclose(other_loss, loss, rtol=1e-15)
        assert_near(other, gradient, 1e-14)


@pytest.mark.parametrize("form", FORMS)
def test_a_hoisted_layer_changes_no_gradient(form):
    theta = world(form).theta
    loss, gradient = graded(form)(theta)
    other_loss, other = graded(form, hoisted)(theta)
    np.testing.assert_allclose(other_loss, loss, rtol=1e-14)
    assert_near(other, gradient, 1e-13)


@pytest.mark.parametrize("form", FORMS)
def test_without_plasticity_only_plasticity_has_a_gradient(form):
    """B, c and beta have gradients of exactly zero at alpha = 0, where the authors start."""
    theta = world(form).theta
    _, gradient = graded(form)({**theta, "alpha": tuple(0 * a for a in theta["alpha"])})
    assert all(not np.any(leaf) for leaf in jax.tree.leaves((gradient["feedback"], gradient["beta"])))
    assert all(np.abs(leaf).max() > 0.1 for leaf in gradient["alpha"])
