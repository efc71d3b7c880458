"""Unmodified OML (Javed & White 2019) on characters: it learns one class at a time, and should remember the others.

A life of meta-training has one class, from the second half of the background characters. Each inner step has a drawing
of it, labelled with the class's number. The query has other drawings of it, and drawings of any class at random. The
class's row of the readout is drawn anew before the life; otherwise the network would memorise the classes of
meta-training. In evaluation the whole readout is drawn anew, with a row for each of the five classes.

Source: the project's README and code at the time, as far as they are known: inner rate 0.03, 20 steps, meta-rate 1e-4,
first order, meta-gradient clipped to a norm of 5; random batches of 64 in the copy of Lindsey & Litwin-Kumar, which has
unknown settings. Departures: a drawing of a class is in the support or in the query, not in both, so that there are 15
steps; and theta keeps its own row, while the meta-gradient is taken at the row drawn anew.
"""

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.tasks.episodes import episode_stream
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Episode, Example, Key, PyTree, Updates

DRAWINGS = 20
"""Drawings of the class in a life: three quarters are an inner step each, the others are in the query."""


def one_class(classes: int, per_class: int, *, remember: int, outputs: int, episodes: int = 1) -> Stream:
    """Lives of a single class as a stream.

    Args:
      classes: to draw from; a life's class is from the second half.
      per_class: images of each, at least 4.
      remember: images of any class in the query.
      outputs: columns of y, at least `classes`.
      episodes: lives in a meta-step.

    Returns:
      A `Stream` of `Episode` as `plasticity_jax.tasks.few_shot` has it: indices of images, one-hot numbers of classes.

    Raises:
      ValueError: if there are too few images or outputs.
    """
    count = min(per_class, DRAWINGS)
    shots = 3 * count // 4
    if count < 4:
        raise ValueError(f"OML learns from some images of a class and asks for others; there are {per_class}")
    if outputs < classes:
        raise ValueError(f"OML tells all {classes} classes apart: {outputs} outputs are too few")

    def draw(_: Key, key: Key) -> Episode:
        key_class, key_images, key_any = jax.random.split(key, 3)
        label = jax.random.randint(key_class, (), classes // 2, classes)
        own = label * per_class + jax.random.permutation(key_images, per_class)
        anything = jax.random.randint(key_any, (remember,), 0, classes * per_class)
        query = jnp.concatenate([own[shots:count], anything]).astype(jnp.int32)
        support = own[:shots, None].astype(jnp.int32)
        return Episode(Example(support, one_hot(support // per_class)), Example(query, one_hot(query // per_class)))

    def one_hot(label: Array) -> Array:
        return jax.nn.one_hot(label, outputs, dtype=jnp.zeros(()).dtype)

    return episode_stream(draw, episodes)


def drawing_rows(rule: LearningRule) -> LearningRule:
    """Rule over theta with the readout's rows of the lives' classes drawn anew (Kaiming's)."""

    def update(params: PyTree, traces: PyTree, key: Key, batch: Episode) -> tuple[Updates, PyTree, Info]:
        key_rows, key_rest = jax.random.split(key)
        label = jnp.argmax(batch.support.y[:, 0, 0], -1)
        *hidden, readout = params["forward"]["w"]
        rows = kaiming(key_rows, (len(label), readout.shape[1]), readout.dtype)
        forward = {**params["forward"], "w": (*hidden, readout.at[label].set(rows))}
        return rule.update({**params, "forward": forward}, traces, key_rest, batch)

    return rule._replace(update=update)


def with_new_readout(key: Key, theta: PyTree, ways: int) -> PyTree:
    """Theta with a readout of so many rows, all of them drawn anew."""
    *hidden, readout = theta["forward"]["w"]
    *biases, bias = theta["forward"]["bias"]
    drawn = kaiming(key, (ways, readout.shape[1]), readout.dtype)
    return {**theta, "forward": {"w": (*hidden, drawn), "bias": (*biases, jnp.zeros(ways, bias.dtype))}}


def kaiming(key: Key, shape: tuple[int, int], dtype: jnp.dtype) -> Array:
    """N(0, 2 / n_in)."""
    return (2 / shape[1]) ** 0.5 * jax.random.normal(key, shape, dtype)
