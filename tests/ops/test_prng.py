"""The unrolled generator gives the same numbers as `jax.random`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.ops import prng

KEYS = [jax.random.key(seed) for seed in (0, 1, 2**31)] + list(jax.random.split(jax.random.key(5), 5))


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_fold_in_equals_jaxs(impl):
    for seed in (0, 7, 2**31):
        key = jax.random.key(seed, impl=impl)
        for data in (0, 1, 12345, 2**31 - 1):
            ours, theirs = prng.fold_in(key, jnp.int32(data)), jax.random.fold_in(key, data)
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(jax.random.key_data(ours), jax.random.key_data(theirs))


@pytest.mark.parametrize("n", [1, 2, 3, 64, 1000])
def test_bits_equal_jaxs(n):
    for key in [*KEYS, jax.random.key(3, impl="rbg")]:
        np.testing.assert_array_equal(prng.bits(key, n), jax.random.bits(key, (n,), jnp.uint32))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_normals_equal_jaxs(dtype):
    for key in KEYS:
        ours, theirs = prng.normal(key, 5000, dtype), jax.random.normal(key, (5000,), dtype)
        assert ours.dtype == theirs.dtype == dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_vmap_equals_jaxs():
    keys = jax.random.split(jax.random.key(1), 7)
    np.testing.assert_array_equal(
        jax.vmap(lambda key: prng.bits(prng.fold_in(key, jnp.int32(3)), 5))(keys),
        jax.vmap(lambda key: jax.random.bits(jax.random.fold_in(key, 3), (5,), jnp.uint32))(keys),
    )
