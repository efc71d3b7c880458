"""Local rules on images: the dense layers learn as they would alone on the convolution's features."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import learner
from plasticity_jax.layers import chain, conv, dense, flatten, init_params, pool
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.rules import hebbian
from plasticity_jax.run import applicable_rules
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.oracles import chains

LOSSES = {"squared": jnp.array([[1.0, -0.5], [0.2, 0.4], [-1.0, 0.3]]), "softmax": np.array([1, 0, 1])}
TERMS = {(1, 1, 0, 0): 0.01, (0, 2, 1, 0): -0.01, (1, 0, 0, 1): 0.02, (0, 1, 1, 1): -0.03}
RULES = {
    "hebb": lambda net: hebbian.hebb(net, alpha=0.05),
    "oja": lambda net: hebbian.oja(net, alpha=[0.05, 0.1], reduction="mean"),
    "flp": lambda net: hebbian.flp(net, alpha=0.05, beta=0.4),
    "flp of the target, clamped": lambda net: hebbian.flp(net, alpha=0.05, signal="target", output="clamped"),
    "flp of what is after feedback": lambda net: hebbian.flp(net, alpha=0.05, presynaptic="after", product="hebb"),
    "flp of the last layer": lambda net: hebbian.flp(net, alpha=0.05, plastic=[-1]),
    "plastic feedback": lambda net: hebbian.plastic_feedback(net, alpha=0.05, alpha_fb=0.1),
    "taylor": lambda net: hebbian.taylor(net, TERMS),
}


def images(loss="squared"):
    return chain((4, 4, 1), [conv(2, 3, "relu"), pool(2), flatten(), dense(5, "relu"), dense(2)], loss=loss)


def given(loss):
    """Weights with biases off zero, feedback with biases, and a batch."""
    net, keys = images(loss), jax.random.split(jax.random.key(0), 3)
    params = init_params(keys[0], net)
    params["forward"]["bias"] = tuple(0.3 * jnp.cos(1.0 + jnp.arange(n)) for n in net.bias_sizes)
    feedback = hebbian.flp_feedback(keys[1], net)
    params["feedback"] = {**feedback, "bias": ((), jnp.full(5, 0.2), jnp.full(2, 0.1))}
    return params, Example(jax.random.normal(keys[2], (3, 4, 4, 1)), LOSSES[loss])


def alone(params, batch):
    """The dense layers' weights, and the convolution's features of the images."""
    oracle, forward = [chains.Conv("relu"), chains.Pool(2), chains.Flatten()], params["forward"]
    first = {name: forward[name][:1] for name in forward}
    features = np.array([chains.run(oracle, first, x).h[-1] for x in np.asarray(batch.x)])
    rest = jax.tree.map(lambda leaves: leaves[1:], params, is_leaf=lambda node: isinstance(node, tuple))
    return rest, batch._replace(x=features)


def run(rule, params, batch):
    """The changes and losses of three steps at a rate of one."""
    learn = learner(rule, optax.sgd(1.0))

    def body(state, _):
        after, info = learn.step(state, batch)
        return after, (jax.tree.map(jnp.subtract, after.params, state.params), info.loss)

    state = learn.init(params, jax.random.key(0), batch)
    return compiled(lambda s: jax.lax.scan(body, s, length=3)[1])(state)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", RULES)
def test_dense_layers_learn_as_they_would_alone(name, loss):
    params, batch = given(loss)
    changes, losses = run(RULES[name](images(loss)), params, batch)
    net = mlp((8, 5, 2), ("relu", "identity"), loss)
    expected, expected_losses = run(RULES[name](net), *alone(params, batch))
    np.testing.assert_allclose(losses, expected_losses, rtol=1e-12)
    for group, leaves in expected.items():
        for leaf, each in leaves.items():
            for actual, change in zip(changes[group][leaf][1:], each, strict=True):
                np.testing.assert_allclose(actual, change, rtol=0, atol=1e-13)
    assert not np.any(changes["forward"]["w"][0])
    assert not any(np.any(bias) for bias in changes["forward"]["bias"])
    learning = (2,) if name == "flp of the last layer" else (1, 2)
    assert all(np.abs(changes["forward"]["w"][i]).max() > 1e-3 for i in learning)
    assert np.any(changes["forward"]["w"][1]) == (1 in learning)


@pytest.mark.parametrize("name", RULES)
def test_an_example_counts_by_its_weight(name):
    params, batch = given("squared")
    weighed = batch._replace(x=batch.x.at[1].set(9.0), weight=jnp.array([2.0, 0.0, 1.0]))
    rows = jnp.array([0, 0, 2])
    repeated = Example(batch.x[rows], batch.y[rows])
    rule = RULES[name](images())
    updates, expected = (
        compiled(lambda b=b: rule.update(params, (), jax.random.key(0), b)[0])() for b in (weighed, repeated)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-13), updates, expected)


def test_feedback_is_drawn_for_dense_layers_alone():
    feedback = hebbian.flp_feedback(jax.random.key(0), images(), dtype=jnp.float32)
    assert jax.tree.map(jnp.shape, feedback) == {"w_fb": ((), (2, 5), (2, 2)), "bias": ((), (5,), (2,))}
    assert feedback["w_fb"][0] == feedback["bias"][0] == ()
    assert {leaf.dtype for leaf in jax.tree.leaves(feedback)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("plastic", [[0], [-3], [0, 1, 2]])
def test_a_convolution_that_is_to_be_plastic_is_refused(plastic):
    rules = {
        "hebb": hebbian.hebb,
        "oja": hebbian.oja,
        "flp": hebbian.flp,
        "plastic_feedback": hebbian.plastic_feedback,
        "taylor": lambda net, plastic: hebbian.taylor(net, TERMS, plastic=plastic),
    }
    for make in rules.values():
        with pytest.raises(
            ValueError, match=r"layer 0, conv\(2, 3\), is not a dense one.*use some of \[1, 2\]"
        ) as refusal:
            make(images(), plastic=plastic)
        assert str(refusal.value).startswith(f"plastic={plastic}: ")
        assert "\n" not in str(refusal.value)


def test_feedback_that_does_not_fit_is_named():
    params, batch = given("squared")
    wrong = {**params["feedback"], "w_fb": ((), jnp.ones((5, 2)), jnp.ones((2, 2)))}
    with pytest.raises(AssertionError, match=r"w_fb\[1\] must be \(2, 5\)") as refusal:
        hebbian.flp(images()).init({**params, "feedback": wrong}, jax.random.key(0), batch)
    assert "\n" not in str(refusal.value)


def test_a_chain_without_a_dense_layer_is_refused_by_all_local_rules():
    """A flax module is no dense layer, even if it computes the same; nothing would learn."""
    net = chain((4,), [nn.Dense(3, use_bias=False)])
    for name in ("hebb", "oja", "bcm", "three_factor", "flp", "plastic_feedback"):
        with pytest.raises(ValueError, match=r"none of the layers \(Dense\) learns by a local rule"):
            getattr(hebbian, name)(net)
        assert "none of the layers" in applicable_rules(net).refused[name]


def test_three_factors_after_a_flax_module():
    """The module stays as it is; the dense layer learns as it would alone on the module's output."""
    net = chain((4,), [(module := nn.Dense(3, use_bias=False)), dense(2)])
    params = init_params(jax.random.key(0), net)
    batch = Example(jax.random.normal(jax.random.key(1), (5, 4)), jnp.zeros((5, 2)))
    rule, key = hebbian.three_factor(net, baseline=None), jax.random.key(2)
    updates, _, _ = rule.update(params, rule.init(params, key, batch), key, batch)
    rest, last = (
        chain((3,), [dense(2)]),
        jax.tree.map(lambda leaf: leaf[1:], params, is_leaf=lambda x: type(x) is tuple),
    )
    seen = batch._replace(x=module.apply({"params": params["forward"]["w"][0]}, batch.x))
    alone = hebbian.three_factor(rest, baseline=None)
    expected, _, _ = alone.update(last, alone.init(last, key, seen), key, seen)
    np.testing.assert_array_equal(updates["forward"]["w"][0]["kernel"], 0)
    assert np.abs(updates["forward"]["w"][1]).max() > 0
    np.testing.assert_allclose(updates["forward"]["w"][1], expected["forward"]["w"][0], rtol=1e-6)
