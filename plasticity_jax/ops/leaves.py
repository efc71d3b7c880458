"""The leaves of a tree: which of them went wrong first, and what it is called."""

import jax
import jax.numpy as jnp

from plasticity_jax.typing import Array, PyTree


def first_bad_leaf(tree: PyTree, failed: Array | bool = False) -> Array:
    """Index, among the leaves, of the first with an entry that is not finite; -1 if there is none. Shape (), int32.

    With `failed`, if what is computed from finite leaves is not finite, of the leaf with the largest entry.
    """
    sizes = jnp.stack([jnp.max(jnp.abs(leaf), initial=0) for leaf in jax.tree.leaves(tree)])
    bad = ~jnp.isfinite(sizes)
    return jnp.where(jnp.any(bad), jnp.argmax(bad), jnp.where(failed, jnp.argmax(sizes), -1)).astype(jnp.int32)


def leaf_names(tree: PyTree) -> tuple[str, ...]:
    """The names of a tree's leaves, in the order of `first_bad_leaf`.

    Example:
      >>> leaf_names({"forward": {"w": (1.0, 2.0), "bias": (3.0,)}})
      ('forward/bias/0', 'forward/w/0', 'forward/w/1')
    """
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return tuple(jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths)
