"""A training as data: what the host loop runs in chunks, what a checkpoint saves, what a sweep vmaps."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, Learner, LearnerState
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Batch, PyTree

Metrics = Mapping[str, Array]


class Program(NamedTuple):
    """One lane of a sweep: a single seed, with whatever coefficients it is run at.

    Attributes:
      init: ``lane -> state``; a lane is a key, or any pytree that holds one (key and coefficients).
      chunk: ``state -> (state, metrics)``, pure; the metrics' leaves lead with an axis of `points` entries.
      chunks: how many chunks make the whole run.
      steps: learner steps in one chunk (for rates and for naming the step of a failure).
      points: metric entries in one chunk.
      leaves: names of the weights that a metric "bad_leaf" counts, for the message about a failure.
    """

    init: Callable[[PyTree], PyTree]
    chunk: Callable[[PyTree], tuple[PyTree, Metrics]]
    chunks: int
    steps: int
    points: int
    leaves: Sequence[str] = ()

    def train(self, lane: PyTree) -> Metrics:
        """The whole run as one pure function: ``jit(vmap(program.train))(lanes)`` is the sweep."""

        def body(state: PyTree, _: None) -> tuple[PyTree, Metrics]:
            return self.chunk(state)

        _, metrics = jax.lax.scan(body, self.init(lane), None, length=self.chunks)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), metrics)


class TrainingState(NamedTuple):
    """State of an online training.

    Attributes:
      learner: the learner's state.
      stream: the task's state.
      lane: what the run was started from, the coefficients among it, so that a resume needs nothing else.
      bad_step: shape (), int32, the first step whose loss was not finite, or -1.
      bad_leaf: shape (), int32, what "diverged" was in the `Info.aux` of that step; -1 if it was not there.
    """

    learner: LearnerState
    stream: PyTree
    lane: PyTree
    bad_step: Array
    bad_leaf: Array


def online_training(
    build: Callable[[PyTree], tuple[Learner, Stream]],
    init: Callable[[PyTree, Learner, Stream], tuple[LearnerState, PyTree]],
    *,
    steps: int,
    every: int,
    chunks: int,
    measure: Callable[[Info, Batch], Metrics] = lambda info, batch: {"loss": info.loss},
    leaves: Sequence[str] = (),
) -> Program:
    """A learner on an endless stream, its metrics averaged on the device over every `every` steps.

    Args:
      build: ``lane -> (learner, stream)``; called under the trace, so a lane's coefficients may enter both.
      init: ``(lane, learner, stream) -> (learner state, stream state)``.
      steps: total number of steps, a multiple of `every` times `chunks`.
      every: steps averaged into one point of each metric.
      chunks: pieces between which the host sees progress and may save.
      measure: ``(info, batch) -> metrics`` of one step, averaged over `every` steps.
      leaves: see `Program`; `plasticity_jax.ops.leaves.leaf_names` of the params, a lifetime's at birth.

    Returns:
      A `Program` whose metrics are those of `measure` and ``bad_step``, the first step with a loss that was not
      finite (-1 if none so far), and ``alive``, whether the last one was, for an optimiser may skip what is not; and,
      where the learner's `Info.aux` holds "diverged", the index of a weight that is not finite, ``bad_leaf``, what it
      was at that step.

    Raises:
      ValueError: if the steps do not divide into points and chunks.
    """
    if steps < 1 or every < 1 or chunks < 1 or steps % (every * chunks):
        raise ValueError(f"steps={steps} must be a positive multiple of every={every} times chunks={chunks}")
    points = steps // (every * chunks)

    def start(lane: PyTree) -> TrainingState:
        learn, stream = build(lane)
        learner_state, stream_state = init(lane, learn, stream)
        none = jnp.full((), -1, jnp.int32)
        return TrainingState(learner_state, stream_state, lane, none, none)

    def chunk(state: TrainingState) -> tuple[TrainingState, Metrics]:
        learn, stream = build(state.lane)

        def step(learner_state: LearnerState, batch: Batch) -> tuple[LearnerState, tuple[Array, Metrics, Metrics]]:
            learner_state, info = learn.step(learner_state, batch)
            diverged = {"bad_leaf": info.aux["diverged"]} if "diverged" in info.aux else {}
            return learner_state, (info.loss, diverged, dict(measure(info, batch)))

        def point(state: TrainingState, _: None) -> tuple[TrainingState, Metrics]:
            stream_state, batches = stream.take(state.stream, every)
            learner_state, (losses, diverged, measured) = jax.lax.scan(step, state.learner, batches)
            bad = ~jnp.isfinite(losses)
            at, first = jnp.argmax(bad), (state.bad_step < 0) & jnp.any(bad)
            bad_step = jnp.where(first, state.learner.step + at.astype(jnp.int32), state.bad_step)
            leaf = {name: jnp.where(first, values[at], state.bad_leaf) for name, values in diverged.items()}
            metrics = jax.tree.map(lambda values: jnp.mean(values, 0), measured)
            state = TrainingState(
                learner_state, stream_state, state.lane, bad_step, leaf.get("bad_leaf", state.bad_leaf)
            )
            return state, {**metrics, "bad_step": bad_step, "alive": ~bad[-1], **leaf}

        return jax.lax.scan(point, state, None, length=points)

    return Program(start, chunk, chunks, steps // chunks, points, tuple(leaves))


def at_each(program: Program, coefficients: PyTree) -> Program:
    """One seed at several settings: the same key, so that the settings are paired within the seed.

    Args:
      program: its lane is ``(key, coefficient)``.
      coefficients: pytree whose leaves lead with an axis of settings.

    Returns:
      A `Program` whose lane is a key, and whose metrics have shape (points, settings).
    """

    def init(key: PyTree) -> PyTree:
        return jax.vmap(lambda coefficient: program.init((key, coefficient)))(coefficients)

    return program._replace(init=init, chunk=jax.vmap(program.chunk, out_axes=(0, 1)))


def once(compute: Callable[[PyTree], Metrics], steps: int) -> Program:
    """A measurement as a program of one chunk and one point.

    Args:
      compute: ``lane -> metrics``.
      steps: what it counts as, for rates.

    Returns:
      A `Program` whose metrics have shape (1, ...).
    """

    def chunk(lane: PyTree) -> tuple[PyTree, Metrics]:
        return lane, jax.tree.map(lambda value: value[None], compute(lane))

    return Program(lambda lane: lane, chunk, 1, steps, 1)
