"""The leaves of a tree: which of them went wrong first, and what it is called."""

import jax
import jax.numpy as jnp

from plasticity_jax.typing import Array, PyTree


def first_bad_leaf(tree: PyTree) -> Array:
    """Index, among the leaves, of the first with an entry that is not finite; -1 if there is none. Shape (), int32."""
    bad = jnp.stack([~jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)])
    return jnp.where(jnp.any(bad), jnp.argmax(bad).astype(jnp.int32), -1)


def leaf_names(tree: PyTree) -> tuple[str, ...]:
    """The names of a tree's leaves, in the order of `first_bad_leaf`.

    Example:
      >>> leaf_names({"forward": {"w": (1.0, 2.0), "bias": (3.0,)}})
      ('forward/bias/0', 'forward/w/0', 'forward/w/1')
    """
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return tuple(jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths)
