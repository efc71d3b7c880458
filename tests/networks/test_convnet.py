"""The convolutional extractor: loops in NumPy, gradients, the paper's sizes, initial weights, refusals."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.networks.convnet import convnet, features, init_params, sides
from tests.laws.common import compiled


def by_hand(kernels, biases, strides, image):
    """The features of one image: every output pixel is a sum over its window, then a ReLU."""
    h = np.asarray(image)
    for kernel, bias, stride in zip(kernels, biases, strides, strict=True):
        k = len(kernel)
        rows, columns = ((side - k) // stride + 1 for side in h.shape[:2])
        out = np.empty((rows, columns, kernel.shape[-1]))
        for r, c in itertools.product(range(rows), range(columns)):
            window = h[r * stride : r * stride + k, c * stride : c * stride + k]
            out[r, c] = np.einsum("yxi,yxio->o", window, kernel) + bias
        h = np.maximum(out, 0)
    return h.reshape(-1)


def weights_of(params):
    layers = [params[f"Conv_{i}"] for i in range(len(params))]
    return [np.asarray(layer["kernel"]) for layer in layers], [np.asarray(layer["bias"]) for layer in layers]


def given(strides=(2, 1, 2), shape=(14, 17, 2), kernel=3):
    net = convnet(shape, channels=4, strides=strides, kernel=kernel)
    params = init_params(jax.random.key(0), net)
    biases = {name: {**layer, "bias": 0.1 * jnp.cos(jnp.arange(4.0))} for name, layer in params.items()}
    return net, biases, jax.random.uniform(jax.random.key(1), (3, *shape))


@pytest.mark.parametrize(("strides", "kernel"), [((2, 1, 2), 3), ((1, 3), 2), ((2,), 5)])
def test_features_equal_those_by_hand(strides, kernel):
    net, params, images = given(strides, kernel=kernel)
    actual = features(net, params, images)
    assert actual.dtype == jnp.float64
    expected = [by_hand(*weights_of(params), strides, image) for image in images]
    np.testing.assert_allclose(actual, expected, atol=1e-13)
    assert np.mean(np.asarray(actual) > 0) > 0.2  # active


def test_gradients_are_finite_differences():
    """Derivatives by every weight and pixel, along random directions; central differences are right to 1e-9."""
    net, params, images = given()

    def loss(params, images):
        return jnp.sum(jnp.cos(features(net, params, images)))

    gradient = compiled(jax.grad(loss, (0, 1)))(params, images)
    value = compiled(loss)
    for seed in range(3):
        leaves, tree = jax.tree.flatten((params, images))
        keys = jax.random.split(jax.random.key(seed), len(leaves))
        way = [jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
        ends = [tree.unflatten([x + h * v for x, v in zip(leaves, way, strict=True)]) for h in (1e-6, -1e-6)]
        slope = (value(*ends[0]) - value(*ends[1])) / 2e-6
        along = sum(jnp.vdot(g, v) for g, v in zip(jax.tree.leaves(gradient), way, strict=True))
        assert along == pytest.approx(float(slope), rel=1e-6)


def test_the_network_has_the_papers_sizes():
    """84 to 41, 39, 19, 17, 8, 3; 128 channels give 1,152 features. With the dense layers, 1,015,784 parameters."""
    net = convnet((84, 84, 1))
    assert sides(net) == tuple((n, n) for n in (41, 39, 19, 17, 8, 3))
    params = jax.eval_shape(lambda key: init_params(key, net), jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    assert count + (1152 + 1) * 128 + (128 + 1) * 1000 == 1_015_784
    images = jax.ShapeDtypeStruct((50, 84, 84, 1), jnp.float32)
    assert jax.eval_shape(lambda *args: features(net, *args), params, images).shape == (50, 1152)


def test_initial_weights_have_their_moments():
    """Normal with variance 2 / (9 c), not truncated; biases 0; every kernel its own. Bounds are five sigma or beyond.

    False alarm: two moments of each of two kernels, 4 * 6e-7. A normal cut at two sigma never passes three.
    """
    net = convnet((20, 20, 8), channels=64, strides=(2, 1))
    params = compiled(lambda key: init_params(key, net))(jax.random.key(0))
    kernels, biases = weights_of(params)
    assert [kernel.shape for kernel in kernels] == [(3, 3, 8, 64), (3, 3, 64, 64)]
    for kernel in kernels:
        unit = kernel.ravel() / (2 / (9 * kernel.shape[2])) ** 0.5
        assert abs(unit.mean()) < 5 / unit.size**0.5
        assert abs((unit**2).mean() - 1) < 5 * (2 / unit.size) ** 0.5
        assert (np.abs(unit) > 3).mean() == pytest.approx(0.0027, abs=5 * (0.0027 / unit.size) ** 0.5)
    assert not np.any(biases)
    first, second = (kernel.ravel()[:1000] for kernel in kernels)
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / 1000**0.5


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_features_have_the_dtype_of_the_weights(dtype):
    net = convnet((5, 5, 1), channels=2, strides=(2,))
    params = init_params(jax.random.key(0), net, dtype=dtype)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}
    assert features(net, params, jnp.ones((1, 5, 5, 1), jnp.float32)).dtype == dtype


def test_bad_options_and_images_are_refused():
    with pytest.raises(ValueError, match=r"images of 28 x 28 are too small: layer 5 gets 1 x 1, less than its kernel"):
        convnet((28, 28, 1))
    with pytest.raises(ValueError, match="too small: layer 5 gets 1 x 8"):
        convnet((28, 84, 1))
    convnet((3, 5, 1), strides=(2,))  # just large enough
    with pytest.raises(ValueError, match="too small: layer 0 gets 2 x 5"):
        convnet((2, 5, 1), strides=(2,))
    with pytest.raises(ValueError, match=r"image_shape=\(84, 84\) must be \(height, width, channels\)"):
        convnet((84, 84))
    with pytest.raises(ValueError, match=r"images have shape \(5, 84, 84\), but the network takes .*\(84, 84, 1\)"):
        features(convnet((84, 84, 1)), {}, jnp.zeros((5, 84, 84)))
    for options in ({"strides": ()}, {"strides": (2, 0)}, {"channels": 0}, {"kernel": 0}):
        with pytest.raises(ValueError, match="at least one layer, nothing below 1"):
            convnet((84, 84, 1), **options)
