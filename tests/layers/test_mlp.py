"""The perceptron: activity and errors against equations written here and autodiff; initial weights; refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import layers
from plasticity_jax.networks import mlp
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.rules.hebbian import flp_feedback
from plasticity_jax.typing import Example

PHI = {
    "tanh": np.tanh,
    "relu": lambda v: np.maximum(v, 0),
    "sigmoid": lambda v: 1 / (1 + np.exp(-v)),
    "identity": lambda v: v,
}
NAMES, SIZES = ("tanh", "relu", "sigmoid", "identity"), (3, 6, 5, 4, 2)
NET = mlp(SIZES, NAMES)


def given(seed=0):
    params = layers.init_params(jax.random.key(seed), NET)
    params["forward"]["bias"] = tuple(0.3 * jnp.cos(jnp.arange(n)) for n in SIZES[1:])
    return params["forward"], jax.random.normal(jax.random.key(seed + 1), (7, 3))


def by_hand(weights, x, noise):
    """The activities of one example."""
    h, activity = np.asarray(x), []
    for i, name in enumerate(NAMES):
        h = PHI[name](np.asarray(weights["w"][i]) @ h + np.asarray(weights["bias"][i]))
        h = h + np.asarray(noise[i]) if i < len(noise) else h
        activity.append(h)
    return activity


def test_forward_and_perturbed_activity_follow_the_equations():
    weights, x = given()
    activity = layers.forward(NET, weights, x)
    noise = [0.1 * jax.random.normal(jax.random.key(i), (7, n)) for i, n in enumerate(SIZES[1:-1])]
    output = layers.perturbed_output(NET, weights, activity.h[1], noise)
    np.testing.assert_array_equal(activity.h[0], x)
    for b in range(7):
        for h, expected in zip(activity.h[1:], by_hand(weights, x[b], []), strict=True):
            np.testing.assert_allclose(h[b], expected, atol=1e-14)
        np.testing.assert_allclose(output[b], by_hand(weights, x[b], [each[b] for each in noise])[-1], atol=1e-14)
    assert np.abs(output - activity.h[-1]).max() > 1e-2
    for h, layer_input in zip(activity.h[:-1], activity.seen, strict=True):
        np.testing.assert_array_equal(layer_input, h)


@pytest.mark.parametrize("own", [False, True], ids=["by name", "callables"])
def test_credit_is_pulled_through_the_slope(own):
    """The slope of each nonlinearity equals differences; a callable counts as custom, even if it is JAX's."""
    phis = [jnp.tanh, jax.nn.relu, jax.nn.sigmoid, lambda v: v] if own else NAMES
    weights, x = given()
    activity = layers.forward(mlp(SIZES, phis), weights, x)
    for i, name in enumerate(NAMES):
        v = np.asarray(activity.h[i] @ weights["w"][i].T + weights["bias"][i])
        slope = (PHI[name](v + 1e-6) - PHI[name](v - 1e-6)) / 2e-6
        credit = jax.random.normal(jax.random.key(10 + i), v.shape)
        np.testing.assert_allclose(activity.pull[i](credit), credit * slope, atol=1e-8)


@pytest.mark.parametrize(("last", "loss"), [("sigmoid", "squared"), ("identity", "squared"), ("identity", "softmax")])
def test_the_credit_is_the_derivative_of_the_loss(last, loss):
    """The output layer has weights of 1, so that v is its input."""
    net, weights = mlp((3, 3), [last], loss), {"w": (jnp.eye(3),), "bias": (jnp.zeros(3),)}
    v, y = jnp.array([[0.3, -1.2, 2.0], [1.0, 0.1, -0.4]]), jnp.array([[0.2, 0.5, 0.3], [0.0, 1.0, 0.0]])

    def losses(v):
        if loss == "softmax":
            return -jnp.sum(y * jnp.log(jnp.exp(v) / jnp.sum(jnp.exp(v), 1, keepdims=True)), 1)
        h = 1 / (1 + jnp.exp(-v)) if last == "sigmoid" else v
        return jnp.sum((h - y) ** 2, 1) / 2

    activity = layers.forward(net, weights, v)
    values, credit = layers.loss_and_credit(net, activity.h[-1], y)
    expected = jax.grad(lambda v: jnp.sum(losses(v)))(v)
    np.testing.assert_allclose(values, losses(v), atol=1e-14)
    np.testing.assert_allclose(activity.pull[-1](credit), expected, atol=1e-14)
    weight = jnp.array([0.5, 3.0])
    values, credit = layers.loss_and_credit(net, activity.h[-1], y, weight)
    np.testing.assert_allclose(values, weight * losses(v), atol=1e-14)
    np.testing.assert_allclose(activity.pull[-1](credit), weight[:, None] * expected, atol=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("pathway", ["chain", "direct"])
def test_initial_weights_have_their_moments(pathway, dtype):
    """Variance 2/n_in within five standard errors; no two matrices share numbers."""
    net = mlp((50, 40, 40, 40), ["tanh"] * 3)
    params = layers.init_params(jax.random.key(3), net, pathway=pathway, dtype=dtype)
    matrices = [*params["forward"]["w"], *params["feedback"]["w_fb"]]
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    for a in matrices:
        assert float(jnp.mean(a**2)) == pytest.approx(2 / a.shape[1], rel=5 * (2 / a.size) ** 0.5)
    corners = {round(float(a[0, 0]) * (a.shape[1] / 2) ** 0.5, 4) for a in matrices}
    assert len(corners) == len(matrices)
    assert not any(np.any(np.asarray(b)) for b in params["forward"]["bias"])
    shapes = [b.shape for b in layers.init_params(jax.random.key(3), NET, pathway=pathway)["feedback"]["w_fb"]]
    assert shapes == ([(5, 6), (4, 5), (2, 4)] if pathway == "chain" else [(2, 6), (2, 5), (2, 4)])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: mlp((3, 4, 2), ["gelu", "identity"]), r"activation='gelu' is not known; use one of tanh"),
        (lambda: mlp((3, 4), "tanh"), "name the input's and every layer's width, and one activation for each layer"),
        (lambda: mlp((3, 4, 2), ["tanh"]), r"sizes=\(3, 4, 2\) and activations=\['tanh'\]: name"),
        (lambda: mlp((3,), []), r"sizes=\(3,\) and activations=\[\]: name"),
        (lambda: mlp((3, 0), ["tanh"]), "n=0 must be a whole number of at least 1 neuron"),
        (lambda: mlp((3, 2), ["identity"], "hinge"), "loss='hinge' is not known"),
        (lambda: mlp((3, 2), ["tanh"], "softmax"), "takes the last phi 'identity', not 'tanh'"),
        (lambda: layers.init_params(jax.random.key(0), NET, pathway="fa"), "pathway='fa' is not known"),
    ],
)
def test_bad_options_are_refused(make, message):
    with pytest.raises(ValueError, match=message) as refusal:
        make()
    assert "\n" not in str(refusal.value)


def test_weights_and_data_that_do_not_fit_are_refused():
    net = mlp((3, 4, 2), ["tanh", "identity"])
    rule, params, key = backprop(net), layers.init_params(jax.random.key(0), net), jax.random.key(0)
    batch = Example(jnp.zeros((5, 3)), jnp.zeros((5, 2)))
    rule.init(params, key, batch)
    forward = params["forward"]
    w, bias = forward["w"], forward["bias"]
    with pytest.raises(AssertionError, match=r"w\[1\] must be \(2, 4\) for dense\(2\), not \(2, 3\)"):
        rule.init({**params, "forward": {**forward, "w": (w[0], w[1][:, :3])}}, key, batch)
    with pytest.raises(AssertionError, match=r"bias\[0\] must be \(4,\)"):
        rule.init({**params, "forward": {**forward, "bias": (bias[0][:3], bias[1])}}, key, batch)
    with pytest.raises(AssertionError, match=r"batch.x must be \(B, 3\)"):
        rule.init(params, key, batch._replace(x=jnp.zeros((5, 4))))
    with pytest.raises(ValueError, match=r'params\["forward"\]\["w"\] has 2 entries for 3 layers'):
        backprop(mlp((3, 4, 2, 2), ["tanh"] * 3)).init(params, key, batch)
    with pytest.raises(ValueError, match=r'params\["forward"\]\["bias"\] has 1 entries for 2 layers'):
        rule.init({**params, "forward": {**forward, "bias": bias[:1]}}, key, batch)
    with pytest.raises(TypeError, match=r"net is list, not a network of layers: make one by layers\.chain or networks"):
        backprop(["tanh", "identity"]).init(params, key, batch)


def test_data_take_the_dtype_of_the_weights():
    net = mlp((3, 2), ["identity"], "softmax")
    params = layers.init_params(jax.random.key(0), net, dtype=jnp.bfloat16)
    batch = Example(np.ones((4, 3)), np.array([0, 1, 1, 0]), weight=np.ones(4))
    x, y, _, weight = layers.fitted(net, params, batch)
    assert {x.dtype, y.dtype, weight.dtype} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(y.astype(float), np.eye(2)[batch.y])
    own = net._replace(loss=lambda z, y: z[y])
    assert layers.fitted(own, params, batch).y.dtype == jnp.asarray(batch.y).dtype  # the loss may use it as an index


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("draw", [layers.init_params, flp_feedback], ids=["weights", "feedback"])
def test_weights_are_drawn_in_small_dtypes(draw, dtype):
    leaves = jax.tree.leaves(draw(jax.random.key(0), NET, dtype=dtype))
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype(dtype)}
    assert all(np.all(np.isfinite(leaf)) for leaf in leaves)
    assert np.any(leaves[-1] != 0)
