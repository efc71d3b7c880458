"""Random numbers, as few as the method needs."""

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import jax
import jax.numpy as jnp

from plasticity_jax.ops import prng
from plasticity_jax.ops.checks import one_of
from plasticity_jax.typing import Array, Key, PyTree

VECTOR = 16
"""Largest count of numbers in a vector instruction."""

Noise: TypeAlias = Literal["rademacher", "gaussian"]
"""Noise of mean 0 and variance 1: fair signs, or normals."""


def rademacher(key: Key, n: int, dtype: jnp.dtype) -> Array:
    """n fair signs, 32 of them from each random word.

    Args:
      key: consumed.
      n: number of entries.
      dtype: dtype of the result.

    Returns:
      Shape (n,), entries +1 or -1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> set(rademacher(jax.random.key(0), 64, jnp.float32).tolist()) == {-1.0, 1.0}
      True
    """
    words = prng.bits(key, (n + 31) // 32)
    bits = (words[:, None] >> jnp.arange(32, dtype=jnp.uint32)[None, :]) & 1
    return 1 - 2 * bits.reshape(-1)[:n].astype(dtype)


def check_noise(kind: str) -> None:
    """Refuses a name that is not a `Noise`.

    Raises:
      ValueError: if the kind is neither "rademacher" nor "gaussian".
    """
    one_of("noise", kind, get_args(Noise))


def unit_noise(key: Key, n: int, dtype: jnp.dtype, kind: str) -> Array:
    """n independent numbers of mean 0 and variance 1.

    Args:
      key: consumed.
      n: number of entries.
      dtype: dtype of the result.
      kind: a `Noise`.

    Returns:
      Shape (n,).

    Raises:
      ValueError: if the kind is neither.
    """
    check_noise(kind)
    return rademacher(key, n, dtype) if kind == "rademacher" else prng.normal(key, n, dtype)


def stored_noise(key: Key, n: int, dtype: jnp.dtype, kind: str) -> Array:
    """Draws like `unit_noise`, for numbers that several products read: each is computed once and written to memory.

    On a CPU, XLA recomputes cheap-looking numbers wherever they are read, which for normals costs more than a step of
    learning. A loop prevents that; its two rounds draw one half each. Signs are cheaper to recompute than to store.

    Args:
      key: consumed.
      n: number of entries.
      dtype: dtype of the result.
      kind: a `Noise`.

    Returns:
      Shape (n,).

    Raises:
      ValueError: if the kind is neither.
    """
    if kind == "rademacher":
        return unit_noise(key, n, dtype, kind)
    half = (n + 1) // 2
    count = half if half < VECTOR else -(-half // VECTOR) * VECTOR  # the remainder of a vector loop would be scalar
    halves = jax.lax.map(lambda part: unit_noise(prng.fold_in(key, part), count, dtype, kind), jnp.arange(2))
    return halves[:, :half].reshape(-1)[:n]


def noise_of_shapes(key: Key, shapes: Sequence[tuple[int, ...]], dtype: jnp.dtype, kind: str) -> list[Array]:
    """Independent numbers of mean 0 and variance 1 in arrays of these shapes, all from one draw of `stored_noise`."""
    sizes = [math.prod(shape) for shape in shapes]
    flat = stored_noise(key, sum(sizes), dtype, kind)
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return [flat[start : start + size].reshape(shape) for start, size, shape in zip(starts, sizes, shapes, strict=True)]


def normal_like(key: Key, tree: PyTree) -> PyTree:
    """Independent numbers of N(0, 1) in the shapes and dtypes of a tree."""
    leaves, structure = jax.tree.flatten(tree)
    keys = [key] if len(leaves) == 1 else jax.random.split(key, len(leaves))
    return jax.tree.unflatten(
        structure, [jax.random.normal(k, leaf.shape, leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    )
