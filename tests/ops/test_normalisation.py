"""Divisive normalisation: NumPy, finite differences, and a pixel whose channels are all zero."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.ops.normalisation import EPSILON, divisive
from tests.laws.common import compiled


def test_values_equal_numpys():
    x = jax.random.normal(jax.random.key(0), (2, 3, 5))
    for pixel in np.ndindex(2, 3):
        scale = np.sqrt(np.mean(np.asarray(x[pixel]) ** 2) + 0.3)
        np.testing.assert_allclose(divisive(x, 0.3)[pixel], x[pixel] / scale, rtol=1e-14)
    loud = divisive(x)
    np.testing.assert_allclose(jnp.mean(loud**2, -1), 1 - EPSILON / (jnp.mean(x**2, -1) + EPSILON), rtol=1e-12)


def test_derivatives_are_finite_differences():
    """The first and second derivatives are along a random direction; central differences are right to some 1e-8."""
    x, way, weights = jax.random.normal(jax.random.key(0), (3, 2, 4))

    def loss(x):
        return jnp.sum(weights * divisive(x, 0.1) ** 3)

    gradient = compiled(jax.grad(loss))
    h = 1e-5
    slope = (loss(x + h * way) - loss(x - h * way)) / (2 * h)
    curve = (gradient(x + h * way) - gradient(x - h * way)) / (2 * h)
    np.testing.assert_allclose(jnp.vdot(gradient(x), way), slope, rtol=1e-7)
    np.testing.assert_allclose(compiled(jax.hessian(loss))(x).reshape(8, 8) @ way.ravel(), curve.ravel(), rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("epsilon", [EPSILON, 1e-8])
def test_derivatives_at_a_zero_pixel_are_finite(dtype, epsilon):
    """y = x / sqrt(epsilon) to second order there, and nothing overflows nearby."""
    n = 4
    zero = jnp.zeros(n, dtype)
    slope = jax.jacobian(divisive)(zero, epsilon)
    np.testing.assert_allclose(slope, np.eye(n) / epsilon**0.5, rtol=1e-6)
    np.testing.assert_array_equal(jax.jacobian(jax.jacobian(divisive))(zero, epsilon), np.zeros((n, n, n)))
    curves = compiled(jax.vmap(lambda size: jax.jacobian(jax.jacobian(divisive))(size * jnp.ones(n, dtype), epsilon)))
    faint = curves(jnp.logspace(-12, 0, 100, dtype=dtype))
    assert faint.dtype == dtype
    # Each is at most 3 t / (n r^3) with r^2 = t^2 + epsilon, and t / r^3 at most 2 / (3 sqrt(3) epsilon).
    assert jnp.all(jnp.abs(faint) < 0.3 / epsilon)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_a_penalty_on_gradients_is_finite_at_zero_pixels(dtype):
    """The penalty is a gradient's squared norm, through ReLU; some pixels have no active channel."""
    drive = jnp.asarray([[-1.0, -2.0, -0.5], [0.0, 0.0, 0.0], [1.0, -1.0, 2.0]], dtype)

    def slope(drive):
        return jax.grad(lambda v: jnp.sum(jnp.sin(divisive(jax.nn.relu(v)))))(drive)

    penalty = compiled(jax.grad(lambda drive: jnp.sum(slope(drive) ** 2)))(drive)
    np.testing.assert_array_equal(penalty[:2], np.zeros((2, 3)))
    assert jnp.all(jnp.isfinite(penalty))
    assert jnp.linalg.norm(penalty[2]) > 0.01  # active
