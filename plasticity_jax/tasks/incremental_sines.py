"""Incremental sines: a lifetime learns several sine functions, one after another or mixed, and is tested on all.

Source: Lindsey & Litwin-Kumar (2020), section 5; after Javed & White (2019). Exactly as in the authors' code, which
draws A from [0.1, 5.1) where the paper has [0.1, 5], and meta-trains on a pool of 400 functions.
"""

import math

import jax
import jax.numpy as jnp

from plasticity_jax.ops.checks import check_counts
from plasticity_jax.tasks.episodes import Order, check_order, episode_stream
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Episode, Example, Key

AMPLITUDES = (0.1, 5.1)
REACH = 5.0
"""x lies in [-REACH, REACH)."""


def incremental_sines(
    *,
    order: Order = "iid",
    functions: int = 10,
    batches: int = 40,
    batch: int = 32,
    query: int = 32,
    pool: int | None = 400,
    episodes: int = 1,
) -> Stream:
    """Lifetimes of incremental regression as a stream: one step is one step of a meta-learner.

        y = A_k sin(x + phi_k),   A ~ U[0.1, 5.1),   phi ~ U[0, pi),   x ~ U[-5, 5),   k = 0..functions-1

    The network receives [onehot(k), x], where k is the slot of the function in this lifetime and carries no information
    about the function itself. Every inner batch is of one function. At the end all functions are tested, at new points.

    An episode is a function of the key and its step alone, so a stream can be cut anywhere. The pool is a function of
    the key alone: a stream with another key has other functions, and so is a test set for this one.

    Args:
      order: "iid" shuffles the batches of a lifetime, each of one function; "continual" has all batches of slot 0, then
        all of slot 1, and so on.
      functions: functions in a lifetime.
      batches: inner steps for each function; a lifetime has T = functions * batches steps.
      batch: b, points in an inner step.
      query: points of each function at the end.
      pool: functions of a stream, from which a lifetime draws without replacement, in random slots; None draws new
        functions for every lifetime.
      episodes: B, lifetimes in a meta-step.

    Returns:
      A `Stream` of `Episode`: support with x (steps, B, T, b, functions + 1) and y (steps, B, T, b, 1), query, slot by
      slot, with x (steps, B, functions * query, functions + 1) and y likewise.

    Raises:
      ValueError: if the order is not known, a count is below 1 or not whole, or the pool is smaller than a lifetime.

    Example:
      >>> import jax
      >>> stream = incremental_sines(order="continual", functions=3, batches=5)
      >>> _, episode = stream.take(stream.init(jax.random.key(0)), 2)
      >>> episode.support.x.shape, episode.support.y.shape, episode.query.x.shape
      ((2, 1, 15, 32, 4), (2, 1, 15, 32, 1), (2, 1, 96, 4))

    Reference:
      Lindsey & Litwin-Kumar, "Learning to learn with feedback and local plasticity", arXiv:2006.09549.
    """
    check_order(order)
    check_counts(functions=functions, batches=batches, batch=batch, query=query, episodes=episodes)
    if pool is not None:
        check_counts(pool=pool)
        if pool < functions:
            raise ValueError(f"pool={pool} has too few functions for lifetimes of {functions}: enlarge it, or use None")

    def draw(key_pool: Key, key: Key) -> Episode:
        key_functions, key_order, key_support, key_query = jax.random.split(key, 4)
        if pool is None:
            sines = _sines(key_functions, functions)
        else:
            sines = _sines(key_pool, pool)[jax.random.permutation(key_functions, pool)[:functions]]
        slots = jnp.repeat(jnp.arange(functions), batches)
        if order == "iid":
            slots = jax.random.permutation(key_order, slots)
        support = _points(key_support, sines, slots, batch)
        tested = _points(key_query, sines, jnp.arange(functions), query)
        return Episode(support, jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), tested))

    return episode_stream(draw, episodes)


def _sines(key: Key, count: int) -> Array:
    """Amplitudes and phases, (count, 2)."""
    u = jax.random.uniform(key, (2, count))
    return jnp.stack([AMPLITUDES[0] + (AMPLITUDES[1] - AMPLITUDES[0]) * u[0], math.pi * u[1]], -1)


def _points(key: Key, sines: Array, slots: Array, count: int) -> Example:
    """Points of the function in each of the slots (S,): x (S, count, functions + 1), y (S, count, 1)."""
    x = jax.random.uniform(key, (len(slots), count, 1), minval=-REACH, maxval=REACH)
    amplitude, phase = sines[slots].T[..., None, None]
    slot = jax.nn.one_hot(slots, len(sines), dtype=x.dtype)[:, None]
    slot = jnp.broadcast_to(slot, (len(slots), count, len(sines)))
    return Example(jnp.concatenate([slot, x], -1), amplitude * jnp.sin(x + phase))


def predict_zero() -> float:
    """Mean squared error of the prediction 0: E[A^2] / 2, where learning starts.

    Example:
      >>> round(predict_zero(), 4)
      4.4217
    """
    low, high = AMPLITUDES
    return (low * low + low * high + high * high) / 6


def no_lifetime_learning() -> float:
    r"""Least mean squared error without learning in the lifetime; only a lower error shows such learning.

    With the phase uniform on half a circle, the best prediction from x alone is E[y | x] = E[A] (2 / pi) cos x. Its
    error is E[A^2] / 2 - (2 E[A] / pi)^2 E[cos^2 x].

    Example:
      >>> round(no_lifetime_learning(), 4)
      3.1263
    """
    mean = sum(AMPLITUDES) / 2
    cos_squared = 0.5 + math.sin(2 * REACH) / (4 * REACH)
    return predict_zero() - (2 * mean / math.pi) ** 2 * cos_squared
