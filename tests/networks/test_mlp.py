"""The perceptron: activity and errors against equations written here and autodiff; initial weights; refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.networks import impression
from plasticity_jax.networks import mlp as m
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.rules.hebbian import init_feedback
from plasticity_jax.typing import Example

PHI = {
    "tanh": np.tanh,
    "relu": lambda v: np.maximum(v, 0),
    "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "identity": lambda v: v,
}
NAMES, SIZES = ("tanh", "relu", "sigmoid", "identity"), (3, 6, 5, 4, 2)


def given(seed=0):
    params = m.init_params(jax.random.key(seed), SIZES)
    params["forward"]["bias"] = tuple(0.3 * jnp.cos(jnp.arange(n)) for n in SIZES[1:])
    return params["forward"], jax.random.normal(jax.random.key(seed + 1), (7, 3))


def by_hand(weights, x, noise):
    """One example."""
    h, activity = np.asarray(x), []
    for i, name in enumerate(NAMES):
        h = PHI[name](np.asarray(weights["w"][i]) @ h + np.asarray(weights["bias"][i]))
        h = h + np.asarray(noise[i]) if i < len(noise) else h
        activity.append(h)
    return activity


def test_forward_and_perturbed():
    net, (weights, x) = m.mlp(NAMES), given()
    activity = m.forward(net, weights, x)
    noise = [0.1 * jax.random.normal(jax.random.key(i), (7, n)) for i, n in enumerate(SIZES[1:-1])]
    output = m.perturbed_output(net, weights, activity.h[1], noise)
    np.testing.assert_array_equal(activity.h[0], x)
    for b in range(7):
        for h, want in zip(activity.h[1:], by_hand(weights, x[b], []), strict=True):
            np.testing.assert_allclose(h[b], want, atol=1e-14)
        np.testing.assert_allclose(output[b], by_hand(weights, x[b], [each[b] for each in noise])[-1], atol=1e-14)
    for i, name in enumerate(NAMES):  # the slopes, by differences
        v = activity.h[i] @ weights["w"][i].T + weights["bias"][i]
        slope = (PHI[name](np.asarray(v) + 1e-6) - PHI[name](np.asarray(v) - 1e-6)) / 2e-6
        np.testing.assert_allclose(activity.slope[i], slope, atol=1e-8)


@pytest.mark.parametrize(("last", "loss"), [("sigmoid", "squared"), ("identity", "squared"), ("identity", "softmax")])
def test_loss_and_error(last, loss):
    net = m.mlp(["tanh", last], loss)
    v, y = jnp.array([[0.3, -1.2, 2.0], [1.0, 0.1, -0.4]]), jnp.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])

    def losses(v):
        if loss == "softmax":
            return -jnp.sum(y * jnp.log(jnp.exp(v) / jnp.sum(jnp.exp(v), 1, keepdims=True)), 1)
        h = 1 / (1 + jnp.exp(-v)) if last == "sigmoid" else v
        return jnp.sum((h - y) ** 2, 1) / 2

    h = jax.nn.sigmoid(v) if last == "sigmoid" else v
    slope = h * (1 - h) if last == "sigmoid" else jnp.ones_like(v)
    got, error = m.loss_and_error(net, h, slope, y)
    np.testing.assert_allclose(got, losses(v), atol=1e-14)
    np.testing.assert_allclose(error, jax.grad(lambda v: jnp.sum(losses(v)))(v), atol=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("form", ["chain", "direct"])
def test_initial_weights(form, dtype):
    """Variance 2/n_in within five standard errors; no two matrices share numbers."""
    params = m.init_params(jax.random.key(3), (50, 40, 40, 40), form, dtype)
    matrices = [*params["forward"]["w"], *params["feedback"]["w_fb"]]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    for a in matrices:
        assert float(jnp.mean(a**2)) == pytest.approx(2 / a.shape[1], rel=5 * (2 / a.size) ** 0.5)
    corners = {round(float(a[0, 0]) * (a.shape[1] / 2) ** 0.5, 4) for a in matrices}
    assert len(corners) == len(matrices)
    assert not any(np.any(np.asarray(b)) for b in params["forward"]["bias"])
    shapes = [b.shape for b in m.init_params(jax.random.key(3), SIZES, form)["feedback"]["w_fb"]]
    assert shapes == ([(5, 6), (4, 5), (2, 4)] if form == "chain" else [(2, 6), (2, 5), (2, 4)])


def test_refusals():
    with pytest.raises(ValueError, match=r"activation='gelu' is not known; use one of tanh"):
        m.mlp(["gelu", "identity"])
    with pytest.raises(ValueError, match="must name one activation for each layer"):
        m.mlp("tanh")
    with pytest.raises(ValueError, match="loss='hinge' is not known"):
        m.mlp(["identity"], "hinge")
    with pytest.raises(ValueError, match="takes the last activation 'identity', not 'tanh'"):
        m.mlp(["tanh"], "softmax")
    with pytest.raises(ValueError, match="feedback='fa' is not known"):
        m.init_params(jax.random.key(0), SIZES, "fa")
    with pytest.raises(ValueError, match=r"sizes=\(3,\) must name"):
        m.init_params(jax.random.key(0), (3,))


def test_widths_that_do_not_chain():
    rule, params = backprop(m.mlp(["tanh", "identity"])), m.init_params(jax.random.key(0), (3, 4, 2))
    batch = Example(jnp.zeros((5, 3)), jnp.zeros((5, 2)))
    rule.init(params, jax.random.key(0), batch)
    w = params["forward"]["w"]
    wrong = {**params, "forward": {**params["forward"], "w": (w[0], w[1][:, :3])}}
    with pytest.raises(AssertionError, match="widths 3 - 4 - 2 do not chain"):
        rule.init(wrong, jax.random.key(0), batch)
    with pytest.raises(AssertionError, match=r"batch.x must be \(B, 3\)"):
        rule.init(params, jax.random.key(0), batch._replace(x=jnp.zeros((5, 4))))
    with pytest.raises(ValueError, match="3 activations, 2 matrices w, 2 biases"):
        backprop(m.mlp(["tanh"] * 3)).init(params, jax.random.key(0), batch)


def test_data_take_the_dtype_of_the_weights():
    net, params = m.mlp(["identity"], "softmax"), m.init_params(jax.random.key(0), (3, 2), dtype=jnp.bfloat16)
    batch = Example(np.ones((4, 3)), np.array([0, 1, 1, 0]), weight=np.ones(4))
    x, y, _, weight = m.fitted(net, params, batch)
    assert {x.dtype, y.dtype, weight.dtype} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(y.astype(float), np.eye(2)[batch.y])
    own = net._replace(loss=lambda z, y: z[y])
    assert m.fitted(own, params, batch).y.dtype == jnp.asarray(batch.y).dtype  # which the loss may use as an index


def test_updates_are_zero_where_none_are_given():
    params = {"a": [jnp.ones(2, jnp.float32)], "b": {"w": jnp.ones(()), "kept": (jnp.ones(3),)}}
    got = m.filled(params, {"b": {"w": jnp.float32(3)}})
    assert jax.tree.structure(got) == jax.tree.structure(params)
    assert jax.tree.map(lambda leaf: leaf.dtype, got) == jax.tree.map(lambda leaf: leaf.dtype, params)
    np.testing.assert_array_equal(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(got)]), [0, 0, 0, 0, 0, 3])


def test_what_is_missing_is_named():
    assert m.read({"a": {"b": 3}}, "a", "b") == 3
    for params, message in (
        ({}, r'params\["a"\] is missing, and this rule reads it: params has nothing'),
        ({"a": {"c": 1, "d": 2}}, r'params\["a"\]\["b"\] is missing.*params\["a"\] has c, d'),
        ((1, 2), r'params\["a"\] is missing.*params has no names'),
    ):
        with pytest.raises(ValueError, match=message):
            m.read(params, "a", "b")


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
    "draw",
    [
        lambda key, dtype: m.init_params(key, SIZES, dtype=dtype),
        lambda key, dtype: init_feedback(key, SIZES, dtype),
        lambda key, dtype: impression.init_params(key, (3, 2), dtype=dtype),
    ],
    ids=["mlp", "feedback", "impression"],
)
def test_all_networks_are_drawn_in_small_dtypes(draw, dtype):
    leaves = jax.tree.leaves(draw(jax.random.key(0), dtype))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(dtype)}
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves)
    assert np.any(leaves[-1] != 0)
