"""One program that is compiled once and runs a seed on each order of its lives in turn."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from experiments.lindsey2020.common import ORDERS
from plasticity_jax.run import Program
from plasticity_jax.run.program import Metrics, TrainingState
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Episode, Key, PyTree


def either(streams: Sequence[Stream], first: Array | int) -> Stream:
    """Several streams with one kind of state as one stream; its state has the index of the stream to take from."""

    def init(key: Key) -> PyTree:
        return jnp.asarray(first, jnp.int32), streams[0].init(key)

    def take(state: PyTree, steps: int) -> tuple[PyTree, Episode]:
        which, inner = state
        after, taken = zip(*(stream.take(inner, steps) for stream in streams), strict=True)
        return (which, after[0]), jax.tree.map(lambda *leaves: jax.lax.select_n(which, *leaves), *taken)

    return Stream(init, take)  # pyright: ignore[reportArgumentType] # an episode is a meta-learner's example


def each_order(program: Program) -> Program:
    """The same seed on each order in turn, by a program that is compiled once; metrics have shape (points, orders)."""

    def init(lane: Key) -> TrainingState:
        state = program.init(lane)
        return jax.vmap(lambda order: state._replace(stream=(order, state.stream[1])))(jnp.arange(len(ORDERS)))

    def chunk(states: TrainingState) -> tuple[TrainingState, Metrics]:
        states, metrics = jax.lax.map(program.chunk, states)
        return states, jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), metrics)

    return program._replace(init=init, chunk=chunk)
