"""The numbers of `jax.random`, without loops, for use inside a scanned step.

On a CPU, XLA runs JAX's threefry as a loop of small kernels, which costs more than a whole step of learning; written
out, its twenty rounds fuse with the code that uses them. Algorithm and numbers are the same (Salmon et al. 2011; tests
compare them with `jax.random`). Keys of another implementation than threefry2x32 go to `jax.random` itself.
"""

import math

import jax
import jax.numpy as jnp

from plasticity_jax.typing import Array, Key

ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def threefry2x32(key: tuple[Array, Array], count: tuple[Array, Array]) -> tuple[Array, Array]:
    """Encrypts 64-bit counters, as pairs of uint32, with a 64-bit key: 20 rounds of add, rotate, xor."""
    schedule = (key[0], key[1], key[0] ^ key[1] ^ jnp.uint32(0x1BD11BDA))
    a, b = count[0] + schedule[0], count[1] + schedule[1]
    for group in range(5):
        for rotation in ROTATIONS[group % 2]:
            a = a + b
            b = a ^ ((b << jnp.uint32(rotation)) | (b >> jnp.uint32(32 - rotation)))
        a = a + schedule[(group + 1) % 3]
        b = b + schedule[(group + 2) % 3] + jnp.uint32(group + 1)
    return a, b


def _words(key: Key) -> tuple[Array, Array] | None:
    if str(jax.random.key_impl(key)) not in ("fry", "threefry2x32"):
        return None
    data = jax.random.key_data(key)
    return data[0], data[1]


def fold_in(key: Key, data: Array) -> Key:
    """`jax.random.fold_in` of a number below 2^32.

    Args:
      key: shape ().
      data: shape (), an integer.

    Returns:
      A key, shape ().
    """
    words = _words(key)
    if words is None:
        return jax.random.fold_in(key, data)
    low = jnp.asarray(data).astype(jnp.uint32)
    folded = threefry2x32(words, (jnp.zeros_like(low), low))
    return jax.random.wrap_key_data(jnp.stack(folded), impl=jax.random.key_impl(key))


def bits(key: Key, n: int) -> Array:
    """`jax.random.bits` of shape (n,) and dtype uint32."""
    words = _words(key)
    if words is None or not jax.config.jax_threefry_partitionable:  # pyright: ignore[reportAttributeAccessIssue]
        return jax.random.bits(key, (n,), jnp.uint32)
    low = jnp.arange(n, dtype=jnp.uint32)
    high, low = threefry2x32(words, (jnp.zeros_like(low), low))
    return high ^ low


def uniform(key: Key, n: int) -> Array:
    """Numbers in [0, 1), multiples of 2^-24, of shape (n,) and dtype float32, which every smaller dtype would round."""
    return (bits(key, n) >> jnp.uint32(8)).astype(jnp.float32) * jnp.float32(2**-24)


def normal(key: Key, n: int, dtype: jnp.dtype) -> Array:
    """`jax.random.normal` of shape (n,), in float32; other dtypes go to `jax.random` itself."""
    if dtype != jnp.float32:
        return jax.random.normal(key, (n,), dtype)
    mantissa = (bits(key, n) >> jnp.uint32(9)) | jnp.uint32(0x3F800000)
    unit = jax.lax.bitcast_convert_type(mantissa, jnp.float32) - 1
    least = jnp.nextafter(jnp.float32(-1), jnp.float32(0))
    return jnp.float32(math.sqrt(2)) * jax.lax.erf_inv(jnp.maximum(least, unit * (1 - least) + least))
