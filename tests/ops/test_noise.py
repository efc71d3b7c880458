"""Noise: fair signs, independent within and across their 32-bit words, with the given size and dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.ops.noise import rademacher, stored_noise, unit_noise


@pytest.mark.parametrize("n", [1, 32, 33])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_signs_have_the_given_shape_and_dtype(n, dtype):
    out = rademacher(jax.random.key(0), n, dtype)
    assert out.shape == (n,)
    assert out.dtype == dtype
    np.testing.assert_array_equal(np.abs(out), 1)


def test_rademacher_is_fair_and_independent_across_words():
    """n = 70 takes three words, the last in part. The mean of each entry and of every pair's product: five sigma.

    False alarm: 70 + 2415 + 2415 tests at 5.8e-7, below 3e-3; the seed is fixed.
    """
    keys, n = 20_000, 70
    draw = jax.jit(jax.vmap(lambda key: rademacher(key, n, jnp.float64)))
    x = np.asarray(draw(jax.random.split(jax.random.key(1), keys)))
    assert np.abs(x.mean(0)).max() < 5 / keys**0.5
    products = x.T @ x / keys
    np.testing.assert_allclose(np.diag(products), 1)
    assert np.abs(products - np.eye(n)).max() < 5 / keys**0.5
    # Across steps: keys that differ by a fold are independent too.
    base = jax.random.split(jax.random.key(2), keys)
    one, two = (np.asarray(draw(jax.vmap(lambda k, t=t: jax.random.fold_in(k, t))(base))) for t in (0, 1))
    assert np.abs(one.T @ two / keys).max() < 5 / keys**0.5


@pytest.mark.parametrize("kind", ["rademacher", "gaussian"])
def test_signs_have_unit_variance(kind):
    """The bounds are five standard errors; false alarm below 2e-6 each."""
    x = np.asarray(unit_noise(jax.random.key(3), 100_000, jnp.float64, kind))
    assert abs(x.mean()) < 5 / x.size**0.5
    assert abs(x.var() - 1) < 5 * (2 / x.size) ** 0.5
    kurtosis = np.mean(x**4)
    assert kurtosis == pytest.approx({"rademacher": 1, "gaussian": 3}[kind], abs=5 * (96 / x.size) ** 0.5)


def test_unknown_noise_is_refused():
    with pytest.raises(ValueError, match=r"noise='uniform' is not known; use one of rademacher, gaussian"):
        unit_noise(jax.random.key(0), 3, jnp.float32, "uniform")


def test_stored_signs_are_independent_normals():
    """Both halves, of an odd number, and between them: five sigma; false alarm below 8e-6 for mean and variance, and
    91 products at 6e-7; the seed is fixed.
    """
    keys, n = 20_000, 13
    draw = jax.jit(jax.vmap(lambda key: stored_noise(key, n, jnp.float64, "gaussian")))
    x = np.asarray(draw(jax.random.split(jax.random.key(4), keys)))
    assert abs(x.mean()) < 5 / x.size**0.5
    products = x.T @ x / keys
    np.testing.assert_allclose(np.diag(products), 1, atol=5 * (2 / keys) ** 0.5)
    assert np.abs(products - np.diag(np.diag(products))).max() < 5 / keys**0.5
    assert abs(np.mean(x**4) - 3) < 5 * (96 / x.size) ** 0.5


@pytest.mark.parametrize("n", [13, 61, 64])
def test_stored_numbers_do_not_depend_on_their_padding(n):
    """There are two halves, each from its own key."""
    key, half = jax.random.key(5), (n + 1) // 2
    expected = np.concatenate([jax.random.normal(jax.random.fold_in(key, i), (half,), jnp.float32) for i in (0, 1)])[:n]
    np.testing.assert_allclose(stored_noise(key, n, jnp.float32, "gaussian"), expected, rtol=1e-5, atol=1e-6)
