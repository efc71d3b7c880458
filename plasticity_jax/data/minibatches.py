"""Minibatches of a data set on the device: the stream holds indices, and each step looks up its examples.

A chunk of a thousand steps of 32 MNIST digits would be 100 MB in float32; their indices are 128 KB. So `minibatches`
streams indices, and `looking_up` turns a learner of examples into a learner of indices:

    images, labels = jnp.asarray(data["image"]), jnp.asarray(data["label"])
    learn = looking_up(pj.learner(rule, tx), lambda index: Example(scaled(images[index]), labels[index]))
    program = online_training(lambda lane: (learn, minibatches(len(images), batch=32)), ...)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, Learner, LearnerState
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Batch, Key, Params


class MinibatchState(NamedTuple):
    """Attributes: key: of the indices, never advanced. step: shape (), int32, steps taken."""

    key: Key
    step: Array


def minibatches(count: int, batch: int = 32) -> Stream:
    """Indices drawn uniformly, with replacement: every batch is an independent sample of the data.

    Args:
      count: examples to draw from.
      batch: B.

    Returns:
      A `Stream` whose examples are (steps, B) int32 indices below `count`.

    Raises:
      ValueError: if count or batch is below 1.

    Example:
      >>> import jax
      >>> stream = minibatches(60_000, batch=32)
      >>> _, index = stream.take(stream.init(jax.random.key(0)), 1000)
      >>> index.shape
      (1000, 32)
    """
    if count < 1 or batch < 1:
        raise ValueError(f"count={count} and batch={batch} must both be at least 1")

    def init(key: Key) -> MinibatchState:
        return MinibatchState(key, jnp.zeros((), jnp.int32))

    def take(state: MinibatchState, steps: int) -> tuple[MinibatchState, Array]:
        t = state.step + jnp.arange(steps)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(state.key, t.astype(jnp.uint32))
        index = jax.vmap(lambda key: jax.random.randint(key, (batch,), 0, count, jnp.int32))(keys)
        return state._replace(step=state.step + steps), index

    return Stream(init, take)  # pyright: ignore[reportArgumentType] # an index stands for its example


def looking_up(learn: Learner, fetch: Callable[[Array], Batch]) -> Learner:
    """A learner that takes indices and looks them up inside the step, so that only indices are stored along time.

    Args:
      learn: learner of batches of examples.
      fetch: ``(B,) indices -> batch``, such as a gather from resident arrays with its scaling.

    Returns:
      A `Learner` whose batches are indices.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> case = pj.RULES["rflo"]
      >>> key = jax.random.key(0)
      >>> bank = jax.tree.map(lambda leaf: leaf[0], jax.vmap(case.batch)(key[None]))
      >>> learn = looking_up(pj.learner(case.make(), optax.sgd(0.1)), lambda i: jax.tree.map(lambda x: x[i], bank))
      >>> stream = minibatches(2, batch=2)
      >>> _, index = stream.take(stream.init(key), 5)
      >>> state, info = jax.lax.scan(learn.step, learn.init(case.params(key), key, index[0]), index)
      >>> info.loss.shape
      (5,)
    """

    def init(params: Params, key: Key, index: Array) -> LearnerState:
        return learn.init(params, key, fetch(index))

    def step(state: LearnerState, index: Array) -> tuple[LearnerState, Info]:
        return learn.step(state, fetch(index))

    return Learner(init, step)
