"""Errors through feedback weights on images: runs against loops over windows, seeds, a gradient through a run."""

import functools

import flax.linen as nn
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax import rules
from plasticity_jax.base import learner
from plasticity_jax.layers import chain, conv, dense, flatten, from_flax, init_params, pool
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.oracles import chains

FEATURES = [conv(2, 2, "tanh"), pool(2), conv(3, (1, 2), "relu", padding="VALID")]
NETS = {
    "two convolutions": (
        chain((3, 5, 2), [conv(2, 3, "tanh", stride=(1, 2)), conv(3, 2, "sigmoid"), flatten(), dense(2)]),
        [chains.Conv("tanh", (1, 2)), chains.Conv("sigmoid"), chains.Flatten(), chains.Dense()],
    ),
    "pools between, a hidden dense layer": (
        chain((5, 5, 1), [*FEATURES, flatten(), dense(4, "tanh"), dense(2)]),
        [
            chains.Conv("tanh"),
            chains.Pool(2),
            chains.Conv("relu", padding="VALID"),
            chains.Flatten(),
            chains.Dense("tanh"),
            chains.Dense(),
        ],
    ),
    "a pooled output": (
        chain((4, 4, 1), [conv(2, 3, "tanh"), conv(3, 3, "sigmoid"), pool(3), flatten()]),
        [chains.Conv("tanh"), chains.Conv("sigmoid"), chains.Pool(3), chains.Flatten()],
    ),
}


@functools.cache
def given(name, pathway, steps=3):
    net, _ = NETS[name]
    keys = jax.random.split(jax.random.key(0), 3)
    params = init_params(keys[0], net, pathway=pathway)
    params["forward"]["bias"] = tuple(0.3 * jnp.cos(1.0 + jnp.arange(n)) for n in net.bias_sizes)
    x = jax.random.normal(keys[1], (steps, 3, *net.h_shapes[0]))
    return params, Example(x, jax.random.normal(keys[2], (steps, 3, *net.h_shapes[-1])))


def by_loops(oracle, params, examples, rate, direct):
    """Losses of a run of SGD, and its last weights."""
    forward = jax.tree.map(np.array, params["forward"])
    back, losses = [np.array(b) for b in params["feedback"]["w_fb"]], []
    for xs, ys in zip(np.asarray(examples.x), np.asarray(examples.y), strict=True):
        gradients, total = [], 0.0
        for x, y in zip(xs, ys, strict=True):
            activity = chains.run(oracle, forward, x)
            e, _ = chains.errors(oracle, activity, back, activity.h[-1] - y, direct)
            gradients.append(chains.gradients(oracle, forward, activity, e))
            total += np.sum((activity.h[-1] - y) ** 2) / 2 / len(xs)
        losses.append(total)
        steps = [[np.mean(of, 0) for of in zip(*part, strict=True)] for part in zip(*gradients, strict=True)]
        for name, step in zip(("w", "bias"), steps, strict=True):
            forward[name] = tuple(w - rate * by for w, by in zip(forward[name], step, strict=True))
    return losses, forward


@pytest.mark.parametrize("pathway", ["chain", "direct"])
@pytest.mark.parametrize("name", NETS)
def test_a_run_equals_the_loop(name, pathway):
    net, oracle = NETS[name]
    params, examples = given(name, pathway)
    make = rules.direct_feedback_alignment if pathway == "direct" else rules.feedback_alignment
    learn = learner(make(net), optax.sgd(0.5))
    state = learn.init(params, jax.random.key(0), jax.tree.map(lambda leaf: leaf[0], examples))
    end, info = compiled(lambda s: jax.lax.scan(learn.step, s, examples))(state)
    losses, forward = by_loops(oracle, params, examples, 0.5, pathway == "direct")
    np.testing.assert_allclose(info.loss, losses, rtol=1e-12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-12), end.params["forward"], forward)
    assert all(np.abs(b - a).max() > 1e-3 for a, b in zip(params["forward"]["w"], forward["w"], strict=True))
    jax.tree.map(np.testing.assert_array_equal, end.params["feedback"], params["feedback"])


def test_direct_feedback_to_a_pooled_output_has_a_row_for_each_entry_of_the_last_sums():
    net, _ = NETS["a pooled output"]
    (params, examples), key = given("a pooled output", "direct"), jax.random.key(0)
    assert [b.shape for b in params["feedback"]["w_fb"]] == [(48, 32)]
    batch = jax.tree.map(lambda leaf: leaf[0], examples)
    rule = rules.node_perturbation(net, pathway="direct", estimator="ridge")
    updates, after, _ = compiled(lambda: rule.update(params, rule.init(params, key, batch), key, batch))()
    assert np.any(updates["feedback"]["w_fb"][0])
    assert [v.total.shape for v in after.second] == [(48, 48)]


def every_rule(net):
    named = ("backprop", "feedback_alignment", "sign_symmetry", "matching", "kolen_pollack", "weight_mirror")
    built = {name: (getattr(rules, name)(net), "chain") for name in (*named, "weight_perturbation")}
    for pathway in ("chain", "direct"):
        built[f"node_perturbation, {pathway}"] = rules.node_perturbation(net, pathway=pathway), pathway
    built["node_perturbation, ridge"] = rules.node_perturbation(net, pathway="direct", estimator="ridge"), "direct"
    return built | {"direct_feedback_alignment": (rules.direct_feedback_alignment(net), "direct")}


SMALL = from_flax(nn.Conv(2, (2, 1), use_bias=False), "tanh")
IMAGES = chain((4, 4, 1), [conv(2, 3, nn.softplus), pool(2), SMALL, flatten(), dense(2)])


@pytest.mark.parametrize("name", every_rule(IMAGES))
def test_seeds_are_an_outer_vmap_and_ranks_are_never_promoted(name):
    rule, pathway = every_rule(IMAGES)[name]
    x, y = jax.random.normal(jax.random.key(1), (3, 4, 4, 1)), jax.random.normal(jax.random.key(2), (3, 2))
    learn, batch = learner(rule, optax.sgd(0.1)), Example(x, y, weight=jnp.array([1.0, 0.5, 2.0]))

    def life(key):
        params = init_params(key, IMAGES, pathway=pathway)
        state = learn.init(params, key, batch)
        return jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=2)[0].params

    keys = jax.random.split(jax.random.key(3), 2)
    with jax.numpy_rank_promotion("raise"):
        together = compiled(jax.vmap(life))(keys)
        alone = [compiled(life)(key) for key in keys]
    for i, one in enumerate(alone):
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=0, atol=1e-12), together, one)
    assert not np.allclose(*together["forward"]["w"][0])


def maximum(v):
    return nn.max_pool(jnp.tanh(v), (2, 2), (2, 2))


def test_a_gradient_through_eight_steps_with_maxima_is_finite_differences():
    """The last loss by the initial weights equals differences of fourth order in float64, as in the laws."""
    net = chain((4, 4, 1), [conv(2, 3, maximum), conv(2, 2, "tanh"), flatten(), dense(2)])
    keys = jax.random.split(jax.random.key(5), 3)
    x, y = jax.random.normal(keys[0], (3, 4, 4, 1)), jax.random.normal(keys[1], (3, 2))
    learn, batch = learner(rules.feedback_alignment(net), optax.sgd(0.1)), Example(x, y)
    params = init_params(keys[2], net)
    flat, unravel = jax.flatten_util.ravel_pytree(init_params(jax.random.key(6), net))
    toward = unravel(flat / jnp.linalg.norm(flat))

    def last_loss(move):
        moved = jax.tree.map(lambda w, by: w + move * by, params, toward)
        state = learn.init(moved, keys[2], batch)
        return jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=9)[1].loss[-1]

    slope = compiled(jax.grad(last_loss))(0.0)
    h, of = 1e-4, compiled(last_loss)  # near enough for no pixel to become the greatest
    difference = (8 * (of(h) - of(-h)) - (of(2 * h) - of(-2 * h))) / (12 * h)
    np.testing.assert_allclose(slope, difference, rtol=0, atol=1e-9)
    assert abs(slope) > 1e-3
    assert of(0.0) < 0.9 * compiled(lambda: learn.step(learn.init(params, keys[2], batch), batch)[1].loss)()
