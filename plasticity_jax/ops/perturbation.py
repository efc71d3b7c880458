"""Trees moved by noise: floating leaves move, and counts and masks among the leaves do not."""

import jax
import jax.numpy as jnp

from plasticity_jax.ops.noise import noise_of_shapes
from plasticity_jax.typing import Array, Key, PyTree, Scalar


def real_dtype(tree: PyTree) -> jnp.dtype:
    """The dtype that holds every floating leaf of a tree.

    Raises:
      ValueError: if no leaf is floating.
    """
    moving = [leaf.dtype for leaf in jax.tree.leaves(tree) if _moves(leaf)]
    if not moving:
        raise ValueError("params have no floating leaf: there is nothing to learn")
    return jnp.result_type(*moving)


def noise_like(key: Key, tree: PyTree, kind: str) -> PyTree:
    """Independent numbers of mean 0 and variance 1, one for each entry of the floating leaves, all from one draw.

    Args:
      key: consumed.
      tree: the tree to be moved.
      kind: a `plasticity_jax.ops.noise.Noise`.

    Returns:
      The tree's structure and shapes, in its `real_dtype`; zeros for leaves that are not floating, in their own.
    """
    leaves, form = jax.tree.flatten(tree)
    noise = iter(noise_of_shapes(key, [leaf.shape for leaf in leaves if _moves(leaf)], real_dtype(tree), kind))
    return jax.tree.unflatten(form, [next(noise) if _moves(leaf) else jnp.zeros_like(leaf) for leaf in leaves])


def shaken(tree: PyTree, size: Scalar, noise: PyTree) -> PyTree:
    """The tree plus size times the noise, each leaf in its own dtype.

    Example:
      >>> import jax.numpy as jnp
      >>> moved = shaken({"w": jnp.ones(2), "steps": jnp.array(3)}, 0.5, {"w": jnp.array([1.0, -1.0]), "steps": 1})
      >>> moved["w"].tolist(), int(moved["steps"])
      ([1.5, 0.5], 3)
    """
    return jax.tree.map(lambda a, b: (a + size * b).astype(a.dtype) if _moves(a) else a, tree, noise)


def credited(effect: Array, noise: PyTree) -> PyTree:
    """The effect, shape (), times the noise, in the noise's dtypes; zeros where nothing moved."""
    return jax.tree.map(lambda each: (effect * each).astype(each.dtype) if _moves(each) else each, noise)


def _moves(leaf: Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jnp.floating)
