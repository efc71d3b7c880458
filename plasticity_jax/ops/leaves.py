"""The sizes and names of a tree's leaves."""

import jax
import jax.numpy as jnp

from plasticity_jax.typing import Array, PyTree


def leaf_sizes(tree: PyTree) -> Array:
    """The largest magnitude in each leaf, shape (leaves,); not finite where an entry of the leaf is not.

    Example:
      >>> leaf_sizes({"b": jnp.array([1.0, -3.0]), "a": jnp.array(jnp.inf)}).tolist()
      [inf, 3.0]
    """
    real = jnp.zeros(()).dtype
    sizes = [jnp.max(jnp.abs(leaf).astype(real), initial=0) for leaf in jax.tree.leaves(tree)]
    return jnp.stack(sizes) if sizes else jnp.zeros(0)


def leaf_names(tree: PyTree) -> tuple[str, ...]:
    """The names of a tree's leaves, in the order of `leaf_sizes`.

    Example:
      >>> leaf_names({"forward": {"w": (1.0, 2.0), "bias": (3.0,)}})
      ('forward/bias/0', 'forward/w/0', 'forward/w/1')
    """
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return tuple(jax.tree_util.keystr(path, simple=True, separator="/") for path, _ in paths)
