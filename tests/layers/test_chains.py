"""Backpropagation on chains against autodiff of equations by hand, for many losses, targets and containers."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import FrozenDict

from plasticity_jax import rules
from plasticity_jax.layers import chain, conv, dense, flatten, from_flax, init_params, layer, pool
from plasticity_jax.typing import Example
from tests.laws.common import compiled

BATCH = 3


def filtered(h, w, padding, stride=(1, 1)):
    """A convolution with channels first and explicit zeros."""
    v = jax.lax.conv_general_dilated(h.transpose(0, 3, 1, 2), w.transpose(3, 2, 0, 1), stride, padding)
    return v.transpose(0, 2, 3, 1)


def halved(h):
    return (h[:, ::2, ::2] + h[:, 1::2, ::2] + h[:, ::2, 1::2] + h[:, 1::2, 1::2]) / 4


def greatest(h):
    return jnp.maximum(jnp.maximum(h[:, ::2, ::2], h[:, 1::2, ::2]), jnp.maximum(h[:, ::2, 1::2], h[:, 1::2, 1::2]))


def rectified_maximum(v):
    return nn.max_pool(nn.relu(v), (2, 2), (2, 2))


def squared(yhat, y):
    return jnp.sum((yhat - y) ** 2) / 2


def cross_entropy(yhat, y):
    return jnp.log(jnp.sum(jnp.exp(yhat))) - yhat[y]


def of_pixels(yhat, y):
    """The mean loss of the pixels' classes; y (H, W) of integers."""
    return jnp.mean(jnp.log(jnp.sum(jnp.exp(yhat), -1)) - jnp.take_along_axis(yhat, y[..., None], 2)[..., 0])


def conv_conv_dense(w, b, x):
    h = jnp.tanh(filtered(x, w[0], ((0, 1), (1, 1)), (2, 2)) + b[0])  # 6 x 5 pixels, kernel 3
    h = jax.nn.sigmoid(filtered(h, w[1], ((0, 1), (1, 1))) + b[1])
    return h.reshape(len(x), -1) @ w[2].T + b[2]


def conv_pool_conv_dense(w, b, x):
    h = halved(jax.nn.softplus(filtered(x, w[0], ((0, 1), (0, 1))) + b[0]))
    h = jnp.tanh(filtered(h, w[1], ((0, 0), (0, 0))) + b[1])
    h = jax.nn.sigmoid(h.reshape(len(x), -1) @ w[2].T + b[2])
    return h @ w[3].T + b[3]


def maxima(w, b, x):
    h = greatest(jax.nn.relu(filtered(x, w[0], ((1, 1), (1, 1))) + b[0]))
    h = jnp.tanh(filtered(h, w[1], ((0, 1), (0, 1))) + b[1])
    return h.reshape(len(x), -1) @ w[2].T + b[2]


def pooled_output(w, b, x):
    h = jnp.tanh(filtered(x, w[0], ((1, 1), (1, 1))) + b[0])
    return halved(jnp.tanh(filtered(h, w[1], ((1, 1), (1, 1))) + b[1])).mean((1, 2))


def image_output(w, b, x):
    h = jnp.tanh(filtered(x, w[0], ((1, 1), (1, 1))) + b[0])
    return filtered(h, w[1], ((1, 1), (1, 1))) + b[1]


LOCAL = nn.ConvLocal(2, (2, 3), use_bias=False)


def unshared(w, b, x):
    """A layer in which each window has its own kernel, with entries channel by channel."""
    rows = []
    for r in range(x.shape[1]):
        edge = jnp.pad(x, ((0, 0), (0, 1), (1, 1), (0, 0)))
        windows = [edge[:, r : r + 2, c : c + 3].transpose(0, 3, 1, 2).reshape(len(x), -1) for c in range(x.shape[2])]
        rows.append(jnp.stack([one @ w[0]["kernel"][r, c] for c, one in enumerate(windows)], 1))
    h = jnp.tanh(jnp.stack(rows, 1) + b[0])
    return h.reshape(len(x), -1) @ w[1].T + b[1]


def banded(w, h):
    return w["here"] * h + w["left"] * jnp.roll(h, 1, 1)


def band(key, shape, dtype):
    return {name: jax.random.normal(key, (1, *shape), dtype) for name in ("here", "left")}


def ring(w, b, x):
    h = jnp.tanh(w[0]["here"] * x + w[0]["left"] * x[:, jnp.arange(-1, x.shape[1] - 1)] + b[0])
    return h @ w[1].T + b[1]


FEATURES = [conv(2, 2, nn.softplus), pool(2), conv(3, 2, "tanh", padding="VALID")]
GLOBAL_MEAN = [pool(2), pool(2), flatten()]
NETS = {
    "conv conv dense": (
        chain((6, 5, 2), [conv(3, 3, "tanh", stride=2), conv(2, (2, 3), "sigmoid"), flatten(), dense(3)]),
        conv_conv_dense,
        squared,
    ),
    "conv pool conv dense, labels": (
        chain((4, 6, 1), [*FEATURES, flatten(), dense(4, "sigmoid"), dense(3)], loss="softmax"),
        conv_pool_conv_dense,
        cross_entropy,
    ),
    "a maximum for a nonlinearity": (
        chain((4, 4, 2), [conv(3, 3, rectified_maximum), conv(2, 2, "tanh"), flatten(), dense(2)]),
        maxima,
        squared,
    ),
    "a pooled output": (
        chain((4, 4, 1), [conv(2, 3, "tanh"), conv(3, 3, "tanh"), *GLOBAL_MEAN]),
        pooled_output,
        squared,
    ),
    "an image, classes of pixels": (
        chain((3, 4, 2), [conv(2, 3, "tanh"), conv(3, 3, "identity")], loss=of_pixels),
        image_output,
        of_pixels,
    ),
    "kernels not shared": (
        chain((3, 4, 2), [from_flax(LOCAL, "tanh"), flatten(), dense(2)]),
        unshared,
        squared,
    ),
    "a layer of one's own": (chain((5,), [layer(banded, band, "tanh"), dense(2)]), ring, squared),
}


@functools.cache
def given(name, seed=0):
    """Weights with biases off zero, and a batch whose targets fit the loss."""
    net, _, loss = NETS[name]
    keys = jax.random.split(jax.random.key(seed), 4)
    params = init_params(keys[0], net)
    params["forward"]["bias"] = tuple(0.3 * jnp.cos(1.0 + jnp.arange(n)) for n in net.bias_sizes)
    x = jax.random.normal(keys[1], (BATCH, *net.h_shapes[0]))
    y = jax.random.normal(keys[2], (BATCH, *net.h_shapes[-1]))
    if loss is not squared:
        shape = (BATCH,) if loss is cross_entropy else (BATCH, *net.h_shapes[-1][:-1])
        y = jax.random.randint(keys[2], shape, 0, net.h_shapes[-1][-1])
    return params, Example(x, y)


def update(rule, params, batch, key=None):
    key = jax.random.key(7) if key is None else key
    return compiled(lambda p: rule.update(p, rule.init(p, key, batch), key, batch))(params)


@pytest.mark.parametrize("weighed", [False, True], ids=["", "a weight per example"])
@pytest.mark.parametrize("name", NETS)
def test_backpropagation_is_the_gradient(name, weighed):
    net, equations, loss = NETS[name]
    params, batch = given(name)
    weight = jnp.array([0.5, 0.0, 2.0]) if weighed else jnp.ones(BATCH)

    def total(forward):
        output = equations(forward["w"], forward["bias"], batch.x)
        return jnp.mean(weight * jax.vmap(loss)(output, batch.y)), output

    (value, output), expected = compiled(jax.value_and_grad(total, has_aux=True))(params["forward"])
    updates, _, info = update(rules.backprop(net), params, batch._replace(weight=weight if weighed else None))
    np.testing.assert_allclose(info.loss, value, rtol=1e-13)
    np.testing.assert_allclose(info.aux["output"], output, atol=1e-13)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-13), updates["forward"], expected)
    assert all(np.linalg.norm(leaf) > 1e-3 for leaf in jax.tree.leaves(expected))
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(updates["feedback"]))


RULES = {
    "backprop": rules.backprop,
    "feedback_alignment": rules.feedback_alignment,
    "sign_symmetry": rules.sign_symmetry,
    "kolen_pollack": rules.kolen_pollack,
    "node_perturbation": rules.node_perturbation,
    "weight_perturbation": rules.weight_perturbation,
    "weight_mirror": rules.weight_mirror,
}


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("of", ["conv pool conv dense, labels", "kernels not shared"])
def test_updates_have_the_containers_of_the_params(name, of):
    params, batch = given(of)
    rule = RULES[name](NETS[of][0])
    expected, _, _ = update(rule, params, batch)
    for other in (
        {group: {leaf: list(w) for leaf, w in of.items()} for group, of in params.items()},
        FrozenDict(params),
        FrozenDict({group: {leaf: list(w) for leaf, w in of.items()} for group, of in params.items()}),
    ):
        updates, _, _ = update(rule, other, batch)
        assert jax.tree.structure(updates) == jax.tree.structure(other)
        for a, b in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", RULES)
def test_weights_and_feedback_may_have_different_containers(name):
    """Weights may come from a file, for example, and feedback be drawn."""
    net = chain((5,), [nn.Dense(4, use_bias=False), from_flax(nn.Dense(3, use_bias=False), "tanh"), dense(2)])
    params = init_params(jax.random.key(0), net)
    batch = Example(jax.random.normal(jax.random.key(1), (3, 5)), jnp.ones((3, 2)))
    expected, _, _ = update(RULES[name](net), params, batch)
    w = params["forward"]["w"]
    other = {**params, "forward": {**params["forward"], "w": [FrozenDict(w[0]), FrozenDict(w[1]), w[2]]}}
    updates, _, _ = update(RULES[name](net), other, batch)
    assert jax.tree.structure(updates) == jax.tree.structure(other)
    for a, b in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("dtype", "close"), [(jnp.float32, 1e-5), (jnp.bfloat16, 0.05)])
@pytest.mark.parametrize("of", ["conv pool conv dense, labels", "a maximum for a nonlinearity", "kernels not shared"])
def test_backpropagation_keeps_fewer_bits(of, dtype, close):
    """Updates have the dtype of the weights, whatever that of the images, and equal float64's to its rounding."""
    params, batch = given(of)
    small = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
    rule = rules.backprop(NETS[of][0])
    updates, _, info = update(rule, small, batch)
    expected, _, _ = update(rule, jax.tree.map(lambda leaf: leaf.astype(jnp.float64), small), batch)
    assert info.loss.dtype == dtype
    for a, b in zip(jax.tree.leaves(updates["forward"]), jax.tree.leaves(expected["forward"]), strict=True):
        assert a.dtype == dtype
        assert np.linalg.norm(np.asarray(a, float) - b) < close * np.linalg.norm(b)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_keeps_half_precision(name):
    params, batch = given("conv pool conv dense, labels")
    small = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    rule = RULES[name](NETS["conv pool conv dense, labels"][0])
    updates, _, info = jax.eval_shape(
        lambda p: rule.update(p, rule.init(p, jax.random.key(0), batch), jax.random.key(0), batch), small
    )
    assert {leaf.dtype for leaf in jax.tree.leaves((updates, info.loss))} == {jnp.dtype(jnp.bfloat16)}


def test_labels_are_targets_and_images_may_be_bytes():
    name = "conv pool conv dense, labels"
    params, batch = given(name)
    rule = rules.feedback_alignment(NETS[name][0])
    bytes_ = np.random.default_rng(0).integers(0, 9, batch.x.shape).astype(np.uint8)
    expected, _, _ = update(rule, params, Example(bytes_.astype(float), np.eye(3)[batch.y]))
    updates, _, _ = update(rule, params, Example(bytes_, np.asarray(batch.y)))
    jax.tree.map(np.testing.assert_array_equal, updates, expected)
