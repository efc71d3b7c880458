"""One layer: its map and both transposes against loops over windows and flax, and the drawing of weights."""

import math
from statistics import NormalDist

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.layers import chain, conv, dense, flatten, from_flax, init_params, layer, pool
from plasticity_jax.layers.layer import credit, gradient
from tests.laws.common import compiled
from tests.oracles import chains

FILTERS = {
    "3, SAME": ((5, 6, 2), 3, 1, "SAME"),
    "even, SAME": ((5, 6, 2), 2, 1, "SAME"),
    "4 x 1, SAME": ((5, 6, 2), (4, 1), 1, "SAME"),
    "1 x 4, VALID": ((5, 6, 2), (1, 4), 1, "VALID"),
    "stride 2, SAME": ((6, 7, 1), 3, 2, "SAME"),
    "stride 2 x 3, even, SAME": ((7, 6, 2), (2, 4), (2, 3), "SAME"),
    "stride 3 x 2, VALID": ((8, 7, 1), (3, 2), (3, 2), "VALID"),
    "stride beyond the kernel": ((7, 7, 2), 1, 3, "SAME"),
    "larger than the image, SAME": ((2, 3, 1), 5, 1, "SAME"),
}


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


def draw(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def check_layer(of, w, h, oracle):
    """Asserts that v, credit for h and the gradient of w of a batch are the oracle's, example by example."""
    v = compiled(of.linear)(w, h)
    np.testing.assert_allclose(v, [oracle.forward(w, one) for one in h], atol=1e-13)
    (error,) = draw(5, v.shape)
    back = compiled(lambda *given: credit(of, *given))(w, h, error)
    pairs = list(zip(h, error, strict=True))
    np.testing.assert_allclose(back, [oracle.credit(w, one.shape, e) for one, e in pairs], atol=1e-13)
    total = compiled(lambda *given: gradient(of, *given))(w, h, error)
    np.testing.assert_allclose(total, sum(oracle.gradient(w, one, e) for one, e in pairs), atol=1e-13)


@pytest.mark.parametrize("name", FILTERS)
def test_a_convolution_equals_the_loops(name):
    shape, kernel, stride, padding = FILTERS[name]
    h, w = draw(0, (3, *shape), (*pair(kernel), shape[-1], 3))
    oracle = chains.Conv("relu", pair(stride), padding)
    check_layer(conv(3, kernel, stride=stride, padding=padding), w, h, oracle)
    net = chain(shape, [conv(3, kernel, stride=stride, padding=padding), flatten()])
    assert net.h_shapes[-1] == (oracle.forward(w, h[0]).size,)
    assert net.bias_sizes == (3,)


@pytest.mark.parametrize("name", FILTERS)
def test_a_convolution_equals_that_of_flax(name):
    shape, kernel, stride, padding = FILTERS[name]
    h, w = draw(1, (2, *shape), (*pair(kernel), shape[-1], 4))
    module = nn.Conv(4, pair(kernel), strides=pair(stride), padding=padding, use_bias=False, param_dtype=jnp.float64)
    expected = module.apply({"params": {"kernel": w}}, h)
    own = conv(4, kernel, stride=stride, padding=padding)
    np.testing.assert_allclose(own.linear(w, h), expected, atol=1e-13)
    np.testing.assert_allclose(from_flax(module).linear({"kernel": w}, h), expected, atol=0)
    (error,) = draw(2, expected.shape)
    np.testing.assert_allclose(credit(from_flax(module), {"kernel": w}, h, error), credit(own, w, h, error), atol=1e-13)
    total = gradient(from_flax(module), {"kernel": w}, h, error)
    np.testing.assert_allclose(total["kernel"], gradient(own, w, h, error), atol=1e-13)


def test_a_dense_layer_equals_the_loops_and_flax():
    h, w = draw(2, (4, 5), (3, 5))
    check_layer(dense(3), w, h, chains.Dense())
    flax = nn.Dense(3, use_bias=False).apply({"params": {"kernel": w.T}}, h)
    np.testing.assert_allclose(dense(3).linear(w, h), flax, atol=1e-13)


@pytest.mark.parametrize(("shape", "size"), [((4, 6, 2), 2), ((7, 8, 1), 3), ((5, 4, 3), 1), ((3, 5, 2), 3)])
def test_pool_and_flatten_equal_the_loops(shape, size):
    (h,) = draw(3, (2, *shape))
    for own, oracle in ((pool(size), chains.Pool(size)), (flatten(), chains.Flatten())):
        v = own.linear((), h)
        np.testing.assert_allclose(v, [oracle.forward(one) for one in h], atol=1e-14)
        (error,) = draw(4, v.shape)
        back = credit(own, (), h, error)
        np.testing.assert_allclose(back, [oracle.credit(shape, e) for e in error], atol=1e-14)
    means = nn.avg_pool(h, (size, size), (size, size))
    np.testing.assert_allclose(pool(size).linear((), h), means, atol=1e-14)


def test_transposes_work_for_custom_derivatives_and_dtypes():
    """A custom derivative replaces the transpose, and a module may compute in its own dtype."""

    @jax.custom_vjp
    def product(w, h):
        return h @ w

    product.defvjp(lambda w, h: (h @ w, (w, h)), lambda residuals, e: (residuals[1].T @ e, e @ residuals[0].T))
    h, w, error = draw(6, (3, 4), (4, 2), (3, 2))
    own = layer(product, lambda key, shape, dtype: jax.random.normal(key, (*shape, 2), dtype))
    np.testing.assert_allclose(credit(own, w, h, error), error @ w.T, atol=1e-14)
    np.testing.assert_allclose(gradient(own, w, h, error), h.T @ error, atol=1e-14)
    small = from_flax(nn.Dense(2, use_bias=False, dtype=jnp.bfloat16))
    back = credit(small, {"kernel": jnp.asarray(w)}, jnp.asarray(h), jnp.asarray(error))
    assert back.dtype == jnp.float64
    np.testing.assert_allclose(back, error @ w.T, atol=0.02 * np.abs(error @ w.T).max())


def test_weights_are_drawn_for_their_fan_in():
    """Mean squares over 2 / fan in are 1 within z sqrt(2 / n), a false alarm of 1e-4 in all; no two draws agree."""
    net = chain((20, 20, 6), [conv(200, (3, 5)), pool(2), conv(40, 2), flatten(), dense(30, "tanh"), dense(40)])
    params = init_params(jax.random.key(3), net)
    weights = [(w, 2 / n) for w, n in zip(params["forward"]["w"], (90, 800, 4000, 30), strict=True)]
    weights += [(w, 2 / n) for w, n in zip(params["feedback"]["w_fb"], (800, 4000, 30), strict=True)]
    direct = init_params(jax.random.key(3), net, pathway="direct")["feedback"]["w_fb"]
    weights += [(w, 2 / n) for w, n in zip(direct, (80000, 4000, 30), strict=True)]
    assert [w.shape for w in direct] == [(40, 80000), (40, 4000), (40, 30)]
    for w, variance in weights:
        squares = float(jnp.mean(w**2)) / variance
        assert abs(squares - 1) < NormalDist().inv_cdf(1 - 1e-4 / 20) * math.sqrt(2 / w.size), w.shape
    for w, b in zip(params["forward"]["w"][1:], params["feedback"]["w_fb"], strict=True):
        assert not np.any(w == b)
    assert [bias.shape for bias in params["forward"]["bias"]] == [(200,), (40,), (30,), (40,)]
    assert not any(np.any(bias) for bias in params["forward"]["bias"])


def test_a_module_draws_its_own_weights_in_the_dtype_asked_for():
    ones = nn.ConvLocal(4, (3, 3), use_bias=False, kernel_init=nn.initializers.ones)
    net = chain((5, 5, 2), [from_flax(ones, "relu"), flatten(), nn.Dense(3, use_bias=False)])
    for dtype in (jnp.float32, jnp.bfloat16):
        params = init_params(jax.random.key(0), net, dtype=dtype)
        assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
        assert params["forward"]["w"][0]["kernel"].shape == (5, 5, 18, 4)
        assert np.all(params["forward"]["w"][0]["kernel"] == 1)
    last = params["forward"]["w"][1]["kernel"], params["feedback"]["w_fb"][0]["kernel"]
    assert last[0].shape == last[1].shape == (100, 3)
    assert not np.array_equal(*last)


def test_a_chain_names_its_layers_in_order():
    def halves(v):
        return v / 2

    net = chain((6, 6, 1), [conv(2, 3, halves), pool(2), flatten(), nn.Dense(3, use_bias=False), dense(2)])
    assert repr(net) == "Chain((6, 6, 1) - conv(2, 3) halves - pool(2) - flatten() - Dense - dense(2), loss='squared')"
    assert net.h_shapes == ((6, 6, 1), (6, 6, 2), (3,), (2,))
    assert chain(4, [dense(2)]).h_shapes == chain(np.array([4]), [dense(2)]).h_shapes == ((4,), (2,))
