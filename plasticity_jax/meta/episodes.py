"""Shared parts of the rules over theta: batches of episodes, lives in windows, perturbations of theta."""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from plasticity_jax.base import READY, Info, LearnerState
from plasticity_jax.meta.lifetime import Life, birth, live, outcome
from plasticity_jax.ops.checks import cast_floats, not_empty
from plasticity_jax.ops.leaves import leaf_sizes
from plasticity_jax.typing import Array, Episode, Key, Params, PyTree, Traces, Updates


class Inner(NamedTuple):
    """State of a life between two windows: its `LearnerState` without the key, which each outer step draws anew.

    Attributes:
      params: the weights.
      traces: the traces of its rule.
      opt_state: the state of its optimiser.
      step: shape (), int32, steps lived.
    """

    params: Params
    traces: Traces
    opt_state: optax.OptState
    step: Array


def count_episodes(batch: Episode) -> int:
    """Counts the episodes, after checks that all leaves have the leading axis (B,), and those of the support (B, T).

    Raises:
      AssertionError: (chex) with the leading axes that the leaves should have.
      TypeError: if the batch is not an `Episode`.
      ValueError: if there is no episode.
    """
    if not isinstance(batch, Episode):
        raise TypeError(f"batch is a {type(batch).__name__}: give an Episode, as in Episode(support, query)")
    support, query = jax.tree.leaves(batch.support), jax.tree.leaves(batch.query)
    message = "leaves of the support lead with (B, T): B episodes (lives), T steps; add the axis of a single one"
    chex.assert_shape(support, (None, None, ...), custom_message=message)
    chex.assert_equal_shape_prefix(support, 2, custom_message=message)
    chex.assert_equal_shape_prefix([*support, *query], 1, custom_message="support and query lead with B episodes")
    not_empty("batch", support[0].shape[0])
    return support[0].shape[0]


def cast_like(theta: PyTree, batch: Episode) -> Episode:
    """The episodes in the dtype of the meta-parameters.

    Raises:
      ValueError: if there are none.
    """
    leaves = jax.tree.leaves(theta)
    if not leaves:
        raise ValueError("params hold nothing: give theta, the meta-parameters that this rule learns")
    return cast_floats(batch, jnp.result_type(*leaves))


def over_episodes(one: Callable[..., PyTree], key: Key, batch: Episode, *carried: PyTree) -> PyTree:
    """``one(key, episode, *carried)`` for each episode, with its own key; leaves of the result lead with (B,).

    Args:
      one: a function of a single episode.
      key: split over the episodes.
      batch: leaves have the leading axes (B,).
      carried: other arguments, with the leading axis (B,).
    """
    episodes = count_episodes(batch)
    args = (jax.random.split(key, episodes), batch, *carried)
    if episodes == 1:  # plain products, which are faster than batched ones of a single member
        return jax.tree.map(lambda leaf: leaf[None], one(*jax.tree.map(lambda leaf: leaf[0], args)))
    return jax.vmap(one)(*args)


def summary(aux: dict[str, Array]) -> dict[str, Array]:
    """Diagnostics averaged over the leading axis."""
    return {name: jnp.mean(values, 0) for name, values in aux.items()}


def report(loss: Array, aux: dict[str, Array], updates: Updates) -> Info:
    """The report of an outer step; aux gets "finite_updates", (leaves,), bool, for each leaf of the updates."""
    return Info(loss, READY, {**aux, "finite_updates": jnp.isfinite(leaf_sizes(updates))})


def mean_outcome(
    life: Life, theta: PyTree, key: Key, batch: Episode, remat: bool | int
) -> tuple[Array, dict[str, Array]]:
    """`outcome`, averaged over a batch of episodes.

    Args:
      life: the lifetime.
      theta: meta-parameters.
      key: split over the episodes.
      batch: leaves have the leading axes (B,).
      remat: see `plasticity_jax.meta.lifetime.lifetime`.
    """
    batch = cast_like(theta, batch)
    losses, aux = over_episodes(lambda key, one: outcome(life, theta, key, one, remat=remat), key, batch)
    return jnp.mean(losses), summary(aux)


def start_lives(life: Life, theta: PyTree, key: Key, batch: Episode) -> Inner:
    """All episodes at birth; leaves have the leading axes (B,)."""
    batch = cast_like(theta, batch)
    return over_episodes(lambda key, one: _without_key(birth(life, theta, key, one)), key, batch)


def mean_window(
    life: Life, theta: PyTree, key: Key, batch: Episode, inner: Inner, fresh: Array, remat: bool | int
) -> tuple[Array, tuple[dict[str, Array], Inner]]:
    """Lives and judges one window of each episode; averaged over the episodes.

    Args:
      life: the lifetime.
      theta: meta-parameters.
      key: split over the episodes.
      batch: leaves have the leading axes (B,); its support is the window.
      inner: the states of the lives; leaves have the leading axes (B,).
      fresh: shape (), bool: whether the lives begin here; if so, `inner` is not read.
      remat: see `plasticity_jax.meta.lifetime.lifetime`.

    Returns:
      ``(loss, (aux, inner))``, loss and aux as `mean_outcome`.
    """

    def one(key: Key, episode: Episode, state: Inner) -> PyTree:
        born = birth(life, theta, key, episode)
        start = jax.tree.map(lambda new, old: jnp.where(fresh, new, old), _without_key(born), state)
        loss, (aux, end) = live(life, theta, born._replace(**start._asdict()), episode, remat=remat)
        return loss, (aux, _without_key(end))

    losses, (aux, inner) = over_episodes(one, key, cast_like(theta, batch), inner)
    return jnp.mean(losses), (summary(aux), inner)


def unit_normals(key: Key, theta: PyTree, count: int) -> PyTree:
    """Standard normals shaped and typed as theta; leaves have the leading axes (count,)."""
    leaves, treedef = jax.tree.flatten(theta)
    keys = jax.random.split(key, len(leaves))
    normals = [jax.random.normal(k, (count, *leaf.shape), leaf.dtype) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(treedef, normals)


def both_signs(theta: PyTree, sigma: PyTree, units: PyTree) -> PyTree:
    """``theta + sigma u`` and ``theta - sigma u``; leaves of u lead with (pairs,), those of the result (pairs, 2)."""

    def move(leaf: Array, size: Array, unit: Array) -> Array:
        step = jnp.asarray(size, leaf.dtype) * unit
        return jnp.stack([leaf[None] + step, leaf[None] - step], 1)

    return jax.tree.map(move, theta, jax.tree.broadcast(sigma, theta), units)


def antithetic(losses: Array, sigma: PyTree, units: PyTree) -> PyTree:
    """Mean over the pairs of ``(loss_+ - loss_-) u / (2 sigma)``.

    Args:
      losses: (pairs, 2).
      sigma: a number, or a prefix of theta.
      units: leaves have the leading axes (pairs,).
    """
    halves = (losses[:, 0] - losses[:, 1]) / (2 * len(losses))

    def mean(size: Array, unit: Array) -> Array:
        return (jnp.tensordot(halves, unit, 1) / size).astype(unit.dtype)

    return jax.tree.map(mean, jax.tree.broadcast(sigma, units), units)


def check_sigma(rule: str, sigma: PyTree) -> None:
    """Refuses perturbations that are not above 0; not validated when traced.

    Raises:
      ValueError: naming the rule.
    """
    for size in jax.tree.leaves(sigma):
        if not isinstance(size, Tracer) and not np.all(np.asarray(size) > 0):
            raise ValueError(
                f"{rule}: sigma={size} must be above 0; to let a group of theta rest, give it no optimiser"
            )


def _without_key(state: LearnerState) -> Inner:
    return Inner(state.params, state.traces, state.opt_state, state.step)
