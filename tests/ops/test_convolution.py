"""Convolutions against `jax.lax`, SciPy and loops: values, both modes, two orders, adjoints, batches of kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from plasticity_jax.ops.convolution import NARROW, convolve, convolve_transposed, correlate
from tests.laws.common import compiled

SHAPES = [((2, 7, 8, 3), (3, 3, 3, 4), 1), ((2, 8, 7, 3), (3, 3, 3, 4), 2), ((1, 9, 9, 2), (2, 2, 2, 5), 3)]


def reference(images, kernel, stride):
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(images, kernel, (stride, stride), "VALID", dimension_numbers=layout)


def loss_of(function, stride):
    return lambda args: jnp.sum(jnp.sin(function(*args, stride)))


def given(images, kernel):
    keys = jax.random.split(jax.random.key(0), 4)
    return [jax.random.normal(key, shape) for key, shape in zip(keys, (images, kernel) * 2, strict=True)]


@pytest.mark.parametrize(("images", "kernel", "stride"), SHAPES)
@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_values_and_derivatives_equal_jaxs(monkeypatch, backend, images, kernel, stride):
    """Forward, reverse, and reverse over forward agree to 1e-11 in float64; sums have some tens of terms."""
    monkeypatch.setattr(jax, "default_backend", lambda: backend)  # each form is right on any backend
    x, k, dx, dk = given(images, kernel)

    def everything(function):
        loss = loss_of(function, stride)

        def slope(args):
            return jax.jvp(loss, (args,), ((dx, dk),))[1]

        return compiled(
            lambda args: (function(*args, stride), slope(args), jax.grad(loss)(args), jax.grad(slope)(args))
        )

    actual, expected = everything(correlate)((x, k)), everything(reference)((x, k))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11), actual, expected)


def test_a_vmap_over_kernels_of_correlate_equals_a_loop():
    (images, kernel, stride) = SHAPES[1]
    x, k, *_ = given(images, (5, *kernel))
    gradient = jax.grad(lambda k: loss_of(correlate, stride)((x, k)))
    many = compiled(jax.vmap(gradient))(k)
    for i in range(5):
        np.testing.assert_allclose(many[i], compiled(gradient)(k[i]), rtol=1e-11, atol=1e-11)


# (images, kernel, stride, padding): blocks of few channels and of many, a stride of 3, a window as large as the image,
# a matrix at every pixel, padding beyond a half, sides that differ.
PADDED = [
    ((2, 8, 6, 3), (4, 4, 3, 5), 2, 1),
    ((2, 4, 4, 18), (4, 4, 18, 4), 2, 1),
    ((1, 9, 6, 8), (3, 3, 8, 2), 3, 0),
    ((2, 2, 2, 3), (2, 2, 3, 5), 1, 0),
    ((2, 3, 5, 70), (1, 1, 70, 3), 1, 0),
    ((1, 4, 5, 66), (3, 3, 66, 2), 1, 1),
    ((1, 2, 2, 4), (5, 5, 4, 3), 1, 2),
]


def by_loops(images, kernel, stride, padding):
    images, kernel = np.asarray(images), np.asarray(kernel)
    padded = np.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    k = len(kernel)
    rows, columns = ((side - k) // stride + 1 for side in padded.shape[1:3])
    out = np.empty((len(images), rows, columns, kernel.shape[3]))
    for n, r, c in np.ndindex(len(images), rows, columns):
        window = padded[n, r * stride : r * stride + k, c * stride : c * stride + k]
        out[n, r, c] = np.tensordot(window, kernel, 3)
    return out


@pytest.fixture(params=["cpu", "gpu"])
def _either_backend(monkeypatch, request):
    monkeypatch.setattr(jax, "default_backend", lambda: request.param)


def test_the_cases_reach_both_forms():
    wide = [stride**2 * kernel[2] >= NARROW for _, kernel, stride, _ in PADDED]
    assert any(wide)
    assert not all(wide)


@pytest.mark.usefixtures("_either_backend")
@pytest.mark.parametrize(("images", "kernel", "stride", "padding"), PADDED)
def test_a_convolution_and_its_transpose_equal_the_loops(images, kernel, stride, padding):
    """<convolve(x), y> = <x, convolve_transposed(y)> holds too. Sums have up to a few hundred terms, in float64."""
    x, k, *_ = given(images, kernel)
    result = compiled(lambda x, k: convolve(x, k, stride, padding))(x, k)
    np.testing.assert_allclose(result, by_loops(x, k, stride, padding), rtol=1e-11, atol=1e-11)
    y = jax.random.normal(jax.random.key(1), result.shape)
    back = compiled(lambda y, k: convolve_transposed(y, k, stride, padding))(y, k)
    assert back.shape == x.shape
    transposed = jax.linear_transpose(lambda x: reference(pad(x, padding), k, stride), x)
    np.testing.assert_allclose(back, transposed(y)[0], rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(jnp.vdot(result, y), jnp.vdot(x, back), rtol=1e-11)


def pad(x, padding):
    return jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def test_the_transpose_equals_scipys():
    """The transpose of one channel is the full convolution of an image spread by the stride, with its edges cut off."""
    (y, k), stride, padding = given((1, 5, 4, 1), (4, 4, 1, 1))[:2], 2, 1
    spread = np.zeros((9, 7))
    spread[::stride, ::stride] = y[0, :, :, 0]
    full = scipy.signal.convolve2d(spread, np.asarray(k[:, :, 0, 0]))
    result = convolve_transposed(y, k, stride, padding)
    np.testing.assert_allclose(result[0, :, :, 0], full[1:-1, 1:-1], rtol=1e-12, atol=1e-12)


@pytest.mark.usefixtures("_either_backend")
@pytest.mark.parametrize("function", [convolve, convolve_transposed])
@pytest.mark.parametrize("channels", [3, 18])
def test_derivatives_of_two_orders_are_finite_differences(function, channels):
    """Slopes in both modes, and the gradient of a penalty on gradients, equal central differences in float64.

    With steps of 1e-5 the differences are right to some 1e-9 of the loss's scale; slopes are of order one and more.
    """
    read = channels if function is convolve else 2
    x, k, dx, dk = given((2, 4, 4, read), (4, 4, channels, 2))

    def loss(x, k):
        return jnp.sum(jnp.sin(function(x, 0.1 * k, 2, 1)))

    def penalty(x, k):
        return jnp.sum(jax.grad(loss)(x, k) ** 2)

    for value in (loss, penalty):
        value_at = compiled(value)
        gradient = compiled(jax.grad(value, (0, 1)))(x, k)
        h = 1e-5
        slope = (value_at(x + h * dx, k + h * dk) - value_at(x - h * dx, k - h * dk)) / (2 * h)
        np.testing.assert_allclose(jnp.vdot(gradient[0], dx) + jnp.vdot(gradient[1], dk), slope, rtol=1e-6)
        forward = compiled(lambda x, k, value=value: jax.jvp(value, (x, k), (dx, dk))[1])(x, k)
        np.testing.assert_allclose(forward, slope, rtol=1e-6)


def test_a_vmap_over_kernels_of_convolve_equals_a_loop():
    images, kernel, stride, padding = PADDED[0]
    x, ks, *_ = given(images, (3, *kernel))
    many = compiled(jax.vmap(lambda k: convolve(x, k, stride, padding)))(ks)
    back = compiled(jax.vmap(lambda k: convolve_transposed(many[0], k, stride, padding)))(ks)
    for i in range(3):
        np.testing.assert_allclose(many[i], by_loops(x, ks[i], stride, padding), rtol=1e-11, atol=1e-11)
        expected = convolve_transposed(many[0], ks[i], stride, padding)
        np.testing.assert_allclose(back[i], expected, rtol=1e-11, atol=1e-11)


def test_images_and_kernels_that_do_not_fit_are_refused():
    x = jnp.zeros((1, 7, 8, 3))
    with pytest.raises(ValueError, match="images of 7 x 8 with padding 1: the sides must be multiples of the stride 2"):
        convolve(x, jnp.zeros((4, 4, 3, 2)), 2, 1)
    with pytest.raises(ValueError, match="no smaller than the kernel's 12"):
        convolve(jnp.zeros((1, 8, 8, 3)), jnp.zeros((12, 12, 3, 2)), 2, 1)
    for function in (convolve, convolve_transposed):
        for shape in ((3, 3, 3, 2), (4, 2, 3, 2), (4, 4, 3)):
            with pytest.raises(ValueError, match=r"it must be \(k, k, C, C'\), k a multiple of the stride"):
                function(x, jnp.zeros(shape), 2, 1)
