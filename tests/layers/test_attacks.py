"""Regressions of chains: padding, half precision, shapes between v and h, networks built early."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import rules
from plasticity_jax.layers import chain, conv, dense, flatten, from_flax, init_params, layer, pool
from plasticity_jax.typing import Example
from tests.laws.common import compiled


def update(rule, params, batch):
    return compiled(lambda p: rule.update(p, rule.init(p, jax.random.key(1), batch), jax.random.key(2), batch)[0])(
        params
    )


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_a_pool_of_many_narrow_numbers_is_their_mean(dtype):
    assert float(pool(28).linear((), jnp.full((1, 28, 28, 1), 100.0, dtype))[0, 0, 0, 0]) == 100.0


@pytest.mark.parametrize("name", ["backprop", "feedback_alignment", "node_perturbation", "weight_perturbation", "oja"])
def test_padding_that_is_not_finite_teaches_nothing(name):
    net = chain((3,), [dense(4, "tanh"), dense(2)])
    params = init_params(jax.random.key(0), net)
    x, y = np.array([[1.0, 2, 3], [4, 5, 6]]), np.ones((2, 2))
    weight = np.array([1.0, 0])
    not_finite = x.copy(), y.copy()
    not_finite[0][1], not_finite[1][1] = np.nan, np.inf
    expected = update(getattr(rules, name)(net), params, Example(x, y, weight=weight))
    updates = update(getattr(rules, name)(net), params, Example(*not_finite, weight=weight))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), updates["forward"], expected["forward"])
    assert np.abs(expected["forward"]["w"][0]).max() > 1e-3


def test_a_label_of_padding_is_not_checked():
    net = chain((3,), [dense(2)], "softmax")
    params = init_params(jax.random.key(0), net)
    batch = Example(np.ones((2, 3)), np.array([1, -1]), weight=np.array([1.0, 0]))
    assert np.isfinite(update(rules.backprop(net), params, batch)["forward"]["w"][0]).all()
    with pytest.raises(ValueError, match="label -1"):
        rules.backprop(net).update(params, (), jax.random.key(0), batch._replace(weight=None))


def test_half_precision_gradients_do_not_overflow():
    net = chain((1,), [dense(1)])
    params = jax.tree.map(jnp.zeros_like, init_params(jax.random.key(0), net, dtype=jnp.float16))
    batch = Example(np.full((4096, 1), 5.0), np.full((4096, 1), -5.0))
    np.testing.assert_allclose(update(rules.backprop(net), params, batch)["forward"]["w"][0], 25.0, rtol=1e-2)


def test_a_leaky_unit_at_zero_has_the_slope_of_autodiff():
    net, own = (chain((3,), [dense(4, phi), dense(2)]) for phi in ("leaky_relu", lambda v: jax.nn.leaky_relu(v, 0.2)))
    params, batch = init_params(jax.random.key(0), net), Example(np.zeros((1, 3)), np.ones((1, 2)))
    updates, expected = (update(rules.backprop(each), params, batch) for each in (net, own))
    np.testing.assert_allclose(updates["forward"]["bias"][0], expected["forward"]["bias"][0], rtol=1e-12)
    assert np.abs(expected["forward"]["bias"][0]).max() > 1e-3


@pytest.mark.parametrize("wide", [False, True])
def test_a_network_does_not_depend_on_the_default_float_at_its_construction(wide):
    with jax.enable_x64(wide):
        net = chain((4, 4, 1), [conv(2, 3, "tanh"), conv(2, 3, "tanh"), flatten(), dense(2)])
    with jax.enable_x64(not wide):
        params = init_params(jax.random.key(0), net)
        batch = Example(jnp.ones((2, 4, 4, 1)), jnp.ones((2, 2)))
        updates = update(rules.weight_mirror(net), params, batch)
        assert updates["feedback"]["w_fb"][0].dtype == jnp.zeros(()).dtype


def test_only_floating_params_are_perturbed():
    rule = rules.weight_perturbation(lambda p, batch: (p["w"][p["index"]] - 1.0) ** 2, noise="rademacher")
    params = {"w": jnp.arange(5.0), "index": jnp.asarray(3)}
    keys = jax.random.split(jax.random.key(0), 2000)
    updates = compiled(jax.vmap(lambda key: rule.update(params, (), key, ())[0]))(keys)
    np.testing.assert_array_equal(updates["index"], 0)
    mean, error = updates["w"].mean(0), updates["w"].std(0) / 2000**0.5
    assert np.all(np.abs(mean - np.array([0, 0, 0, 4, 0])) < 5 * error + 1e-12)


def test_ridge_regresses_on_errors_of_v_where_phi_changes_the_shape():
    def maxout(v):
        return v.reshape(len(v), -1, 2).max(2)

    net = chain((3,), [dense(8, "tanh"), dense(4, maxout)])
    params = init_params(jax.random.key(0), net)
    batch = Example(np.ones((6, 3)), np.ones((6, 2)))
    updates = update(rules.node_perturbation(net, estimator="ridge", ridge=0.0), params, batch)
    assert updates["feedback"]["w_fb"][0].shape == (4, 8)


def test_a_ridge_of_zero_without_examples_is_finite():
    net = chain((3,), [dense(4, "tanh"), dense(2)])
    params = init_params(jax.random.key(0), net)
    batch = Example(np.ones((2, 3)), np.ones((2, 2)), weight=np.zeros(2))
    updates = update(rules.node_perturbation(net, estimator="ridge", ridge=0.0), params, batch)
    assert np.isfinite(updates["feedback"]["w_fb"][0]).all()


def built():
    layers = [nn.Conv(2, (3, 3), use_bias=False), flatten(), from_flax(nn.Dense(2, use_bias=False))]
    return chain((4, 4, 1), layers)


def test_networks_of_flax_modules_compare_and_hash():
    assert built() == built()
    assert len({built(), built()}) == 1
    assert built() != chain((4, 4, 1), [flatten(), dense(2)])


def test_a_layer_may_hold_a_traced_coefficient():
    def loss(scale):
        scaled = layer(lambda w, h: scale * (h @ w), lambda key, shape, dtype: jnp.ones((*shape, 2), dtype))
        net = chain((3,), [scaled])
        params, batch = init_params(jax.random.key(0), net), Example(jnp.ones((1, 3)), jnp.zeros((1, 2)))
        return rules.backprop(net).update(params, (), jax.random.key(0), batch)[2].loss

    np.testing.assert_allclose(jax.grad(loss)(2.0), 2 * 2.0 * 9, rtol=1e-6)  # of (3 scale)^2, two outputs, half


def test_a_layer_that_is_nearly_linear_is_refused():
    def bent(w, h):
        return h @ w + 1e-3 * jnp.tanh(h @ w)

    with pytest.raises(ValueError, match="not linear in its activity"):
        chain((3,), [layer(bent, lambda key, shape, dtype: jax.random.normal(key, (*shape, 2), dtype))])
