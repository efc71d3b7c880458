"""Streams of episodes, for few-shot classification, incremental sines and moving digits."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp

from plasticity_jax.ops.checks import one_of
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Episode, Key

Order: TypeAlias = Literal["iid", "continual"]
"""Order of a lifetime's batches: shuffled, or one function or class after another."""


class EpisodeState(NamedTuple):
    """Attributes: key: of the episodes, never advanced. step: shape (), int32, steps taken."""

    key: Key
    step: Array


def episode_stream(draw: Callable[[Key, Key], Episode], episodes: int) -> Stream:
    """Stream of episodes, each a function of the stream's key and its step alone, so that it can be cut anywhere.

    Args:
      draw: ``(key shared by the stream's episodes, key of this episode) -> episode``.
      episodes: B, episodes in a step.

    Returns:
      A `Stream` whose leaves have shape (steps, B, ...).
    """

    def init(key: Key) -> EpisodeState:
        return EpisodeState(key, jnp.zeros((), jnp.int32))

    def take(state: EpisodeState, steps: int) -> tuple[EpisodeState, Episode]:
        key_shared, key_own = jax.random.split(state.key)
        t = (state.step + jnp.arange(steps)).astype(jnp.uint32)
        keys = jax.vmap(lambda t: jax.random.split(jax.random.fold_in(key_own, t), episodes))(t)
        drawn = jax.vmap(jax.vmap(lambda key: draw(key_shared, key)))(keys)
        return state._replace(step=state.step + steps), drawn

    return Stream(init, take)  # pyright: ignore[reportArgumentType] # an episode is a meta-learner's example


def check_order(order: Order) -> None:
    """Refuses an order that is not known.

    Raises:
      ValueError: if it is neither "iid" nor "continual".
    """
    one_of("order", order, get_args(Order))
