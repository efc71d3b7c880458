"""Norms and ratios are differentiable where they vanish."""

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.ops.norms import GUARD, balance, cosine, safe_norm


def test_safe_norm_is_differentiable_at_zero():
    x = jnp.array([[3.0, -4.0], [0.0, 12.0]])
    np.testing.assert_allclose(safe_norm(x), 13.0)
    np.testing.assert_allclose(jax.grad(safe_norm)(x), x / 13.0)
    assert safe_norm(jnp.zeros((2, 3))) == 0
    np.testing.assert_array_equal(jax.grad(safe_norm)(jnp.zeros((2, 3))), np.zeros((2, 3)))
    np.testing.assert_array_equal(jax.hessian(safe_norm)(jnp.zeros(2)), np.zeros((2, 2)))


def test_the_cosine_is_zero_where_a_vector_is():
    x, y = jnp.array([1.0, 2.0, 2.0]), jnp.array([2.0, 0.0, 1.0])
    np.testing.assert_allclose(cosine(x, y), 4 / (3 * 5**0.5))
    np.testing.assert_allclose([cosine(x, 5 * x), cosine(x, -x)], [1, -1])
    numeric = [(cosine(x.at[i].add(1e-6), y) - cosine(x.at[i].add(-1e-6), y)) / 2e-6 for i in range(3)]
    np.testing.assert_allclose(jax.grad(cosine)(x, y), numeric, atol=1e-8)
    zero = jnp.zeros(3)
    for pair in ((zero, x), (x, zero), (zero, zero)):
        assert cosine(*pair) == 0
        for argument in (0, 1):
            np.testing.assert_array_equal(jax.grad(cosine, argument)(*pair), zero)


def test_the_balance_is_guarded_at_zero():
    np.testing.assert_allclose(balance(8.0, 2.0), 2.0, rtol=1e-6)
    np.testing.assert_allclose(balance(0.0, 0.0), 1.0)
    np.testing.assert_allclose(balance(1.0, 0.0), (1 / GUARD + 1) ** 0.5)
    np.testing.assert_allclose(balance(0.0, 1.0), (GUARD / (1 + GUARD)) ** 0.5)
    gradient = jax.grad(balance, (0, 1))
    np.testing.assert_allclose(gradient(8.0, 2.0), (1 / 8, -1 / 2), rtol=1e-6)
    assert np.isfinite(gradient(0.0, 0.0)).all()


def test_the_balance_of_norms_has_gradients_of_zero_at_zero():
    """The rules use this chain, and a trace that is still zero must not give NaN."""
    zero = jnp.zeros(3)
    for dtype in (jnp.float32, jnp.float64):
        chain = jax.grad(lambda x: balance(safe_norm(x), safe_norm(2 * x)).sum())
        np.testing.assert_array_equal(chain(zero.astype(dtype)), zero)
