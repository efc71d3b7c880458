"""Readiness: the weights that a step teaches; the others are held, together with their optimiser's state."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.ops.checks import key_name
from plasticity_jax.typing import Array, Params, PyTree

READY = np.array(True)
"""`Info.ready` of a rule that teaches all its weights at every step. It is not traced, so a learner holds nothing."""

Ready: TypeAlias = Any
"""A bool of shape (), or names of params, nested as they are, with a bool each; a name left out is ready."""


def is_ready(ready: Ready) -> Array:
    """Returns whether every group of params is ready, shape (), bool."""
    return jnp.all(jnp.stack([jnp.asarray(leaf) for leaf in jax.tree.leaves(ready)]))


def hold(ready: Ready, new: tuple[Params, PyTree], old: tuple[Params, PyTree]) -> tuple[Params, PyTree]:
    """Params and optimiser state after a step: the new ones where they are ready, the old ones where not.

    Args:
      ready: that of a rule's `plasticity_jax.base.Info`.
      new: ``(params, optimiser state)`` after the step.
      old: the same before it.

    Returns:
      ``(params, optimiser state)``. A leaf of the state that ends in a weight's path goes with that weight; any other,
      such as a counter, moves on if any weight of the innermost state around it is ready.

    Raises:
      ValueError: if `ready` names weights that params do not have.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(new[0])
    _check_names(ready, new[0])
    of_weight = {path: _ready_at(ready, path) for path, _ in leaves}

    def weight_of(path: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The path of the weight that a leaf of the optimiser's state belongs to: the end of the leaf's own path."""
        return next((path[i:] for i in range(len(path)) if path[i:] in of_weight), None)

    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(new[1])[0]]

    def at(path: tuple[Any, ...]) -> Any:
        own = weight_of(path)
        if own is not None:
            return of_weight[own]
        for end in reversed(range(len(path))):  # a counter goes with the weights of the innermost state that has any
            weights = {weight_of(other) for other in paths if other[:end] == path[:end]} - {None}
            if weights:
                return _any([of_weight[weight] for weight in weights if weight is not None])
        return _any(list(of_weight.values()))

    def select(path: tuple[Any, ...], ready: Any, new: Array, old: Array) -> Array:
        return new if ready is True else jnp.where(ready, new, old)

    params = jax.tree_util.tree_map_with_path(lambda path, n, o: select(path, of_weight[path], n, o), new[0], old[0])
    opt_state = jax.tree_util.tree_map_with_path(lambda path, n, o: select(path, at(path), n, o), new[1], old[1])
    return params, opt_state


def _ready_at(ready: Ready, path: tuple[Any, ...]) -> Any:
    for step in path:
        if not isinstance(ready, Mapping):
            break
        ready = ready.get(key_name(step), READY)
    return True if ready is READY else ready


def _check_names(ready: Ready, params: Params, where: str = "") -> None:
    """Refuses names of weights that params do not have, which would be silently ignored."""
    if not isinstance(ready, Mapping):
        return
    for name, below in ready.items():
        if not isinstance(params, Mapping) or name not in params:
            known = ", ".join(map(repr, params)) if isinstance(params, Mapping) else "no names"
            raise ValueError(f"Info.ready names {where}{name!r}, but params have {known} there")
        _check_names(below, params[name], f"{where}{name!r}/")


def _any(ready: list[Any]) -> Any:
    if any(each is True for each in ready):
        return True
    return jnp.any(jnp.stack([jnp.asarray(each) for each in ready]))
