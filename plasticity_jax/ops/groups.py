"""Groups of params: reading them by name, and bringing updates to their form."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from plasticity_jax.ops.checks import like
from plasticity_jax.typing import Params, PyTree, Updates


def read(params: Params, *path: str) -> PyTree:
    """Weights by their path, as in ``read(params, "feedback", "w_fb")``.

    Raises:
      ValueError: naming the missing group or weight.
    """
    tree = params
    for depth, name in enumerate(path):
        if not isinstance(tree, Mapping) or name not in tree:
            missing = "".join(f'["{each}"]' for each in path[: depth + 1])
            content = f"has {', '.join(map(str, tree)) or 'nothing'}" if isinstance(tree, Mapping) else "has no names"
            above = "".join(f'["{each}"]' for each in path[:depth])
            raise ValueError(
                f"params{missing} is missing, and this rule reads it: params{above} {content}; init_params draws all "
                "groups of a network, and flp_feedback those of FLP"
            )
        tree = tree[name]
    return tree


def filled(params: Params, partial: PyTree) -> Updates:
    """Updates like the params in structure and dtype: those given, and zeros elsewhere.

    Args:
      params: the weights.
      partial: updates in mappings nested like those of the params, from which any name may be left out.

    Raises:
      ValueError: if the updates have other names or shapes than the params.

    Example:
      >>> import jax.numpy as jnp
      >>> params = {"forward": {"w": [jnp.ones(1)]}, "feedback": {"w_fb": [jnp.ones(2)]}}
      >>> filled(params, {"forward": {"w": (jnp.full(1, 3.0),)}})
      {'feedback': {'w_fb': [Array([0., 0.], ...)]}, 'forward': {'w': [Array([3.], ...)]}}
    """

    def fill(weights: PyTree, part: Any) -> PyTree:
        if part is None:
            return jax.tree.map(jnp.zeros_like, weights)
        if not isinstance(weights, Mapping):
            return part
        if unknown := [name for name in part if name not in weights]:
            raise ValueError(f"updates name {', '.join(unknown)}, but params there have {', '.join(weights)}")
        return {name: fill(below, part.get(name)) for name, below in weights.items()}

    updates = like(fill(params, partial), params)
    for (path, new), old in zip(jax.tree_util.tree_leaves_with_path(updates), jax.tree.leaves(params), strict=True):
        if new.shape != old.shape:
            raise ValueError(
                f"updates{jax.tree_util.keystr(path)} has shape {new.shape}, but the params' is {old.shape}"
            )
    return updates
