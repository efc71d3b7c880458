"""A training as pure functions of its state, which is run in chunks, saved in checkpoints and vmapped by a sweep."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.base import Info, Learner, LearnerState
from plasticity_jax.ops.leaves import leaf_sizes
from plasticity_jax.run.sweep import fitting_the_cache
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Batch, Params, PyTree

Metrics = Mapping[str, Array]
"""Arrays by name, such as "loss", each with a leading axis of points."""


class Program(NamedTuple):
    """One lane of a sweep: a single seed with its coefficients.

    Attributes:
      init: ``lane -> state``; a lane is a key, or any pytree that holds one (such as a key and coefficients).
      chunk: ``state -> (state, metrics)``, pure; the metrics' leaves have a leading axis of `points` entries.
      chunks: number of chunks in the whole run.
      steps: learner steps in one chunk, from which rates and the steps of divergences are computed.
      points: metric entries in one chunk.
      may_diverge: whether divergence of a lane is an ordinary result, without a warning.
    """

    init: Callable[[PyTree], PyTree]
    chunk: Callable[[PyTree], tuple[PyTree, Metrics]]
    chunks: int
    steps: int
    points: int
    may_diverge: bool = False

    def train(self, lane: PyTree) -> Metrics:
        """The whole run as one pure function: ``jit(vmap(program.train))(lanes)`` is the sweep."""

        def body(state: PyTree, _: None) -> tuple[PyTree, Metrics]:
            return self.chunk(state)

        _, metrics = jax.lax.scan(body, self.init(lane), None, length=self.chunks)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), metrics)


class Health(NamedTuple):
    """Health of a training: whether losses, updates and weights are finite, and since when they are not.

    Losses are checked at each step, and so are updates if the rule itself reports whether they are finite (see
    `online_training`). To save time, the weights, and the optimiser's skipped updates (`optax.apply_if_finite`), are
    checked once for each point of the metrics, at its end.

    Attributes:
      step: shape (), int32, the first step whose loss or reported updates were not finite, or -1. If these were finite
        throughout a point, but a weight is not finite at its end, or an update was skipped, it is the last step of the
        point.
      loss: shape (), bool, whether it was the loss that failed.
      bad: shape (leaves,), bool, the leaves of the params that were not finite at the end of the point of that step.
      size: shape (leaves,), the largest magnitude in each leaf when everything was last finite; 0 before the first
        check.
      alive: shape (), bool, whether the last loss, the last update and all weights are finite; a training may recover,
        because an optimiser may skip updates that are not finite.
      updates: shape (leaves,), bool, the leaves of the reported updates that were not finite in that step.
    """

    step: Array
    loss: Array
    bad: Array
    size: Array
    alive: Array
    updates: Array


class TrainingState(NamedTuple):
    """State of an online training.

    Attributes:
      learner: state of the learner.
      stream: state of the task's stream.
      lane: the lane that the training was started from, with its coefficients; a resumed run needs nothing else.
      health: the `Health` so far.
    """

    learner: LearnerState
    stream: PyTree
    lane: PyTree
    health: Health


def online_training(
    build: Callable[[PyTree], tuple[Learner, Stream]],
    init: Callable[[PyTree, Learner, Stream], tuple[LearnerState, PyTree]],
    *,
    steps: int,
    every: int,
    chunks: int,
    measure: Callable[[Info, Batch], Metrics] = lambda info, batch: {"loss": info.loss},
) -> Program:
    """A learner on an endless stream, with metrics that are averaged on the device over `every` steps.

    A rule may report ``aux["finite_updates"]``, (leaves,), bool, one for each leaf of its updates, as the rules over
    meta-parameters do. Then the first update that is not finite is named by its step and leaf.

    Args:
      build: ``lane -> (learner, stream)``; it is traced, so that a lane's coefficients may enter both.
      init: ``(lane, learner, stream) -> (learner state, stream state)``.
      steps: total number of steps, a multiple of `every` times `chunks`.
      every: steps averaged into one point of each metric.
      chunks: number of chunks; between two chunks the host shows progress and may save.
      measure: ``(info, batch) -> metrics`` of one step, averaged over `every` steps.

    Returns:
      A `Program` whose state is a `TrainingState`, and whose metrics are those of `measure` and ``bad_step``, the step
      of its `Health`.

    Raises:
      ValueError: if the steps do not divide into points and chunks.
    """
    if steps < 1 or every < 1 or chunks < 1 or steps % (every * chunks):
        raise ValueError(f"steps={steps} must be a positive multiple of every={every} times chunks={chunks}")
    points = steps // (every * chunks)

    def start(lane: PyTree) -> TrainingState:
        learn, stream = build(lane)
        learner_state, stream_state = init(lane, learn, stream)
        return TrainingState(learner_state, stream_state, lane, new_health(learner_state.params))

    def chunk(state: TrainingState) -> tuple[TrainingState, Metrics]:
        learn, stream = build(state.lane)

        def step(learner_state: LearnerState, batch: Batch) -> tuple[LearnerState, tuple[Array, Array | None, Metrics]]:
            learner_state, info = learn.step(learner_state, batch)
            return learner_state, (info.loss, info.aux.get("finite_updates"), dict(measure(info, batch)))

        def point(state: TrainingState, _: None) -> tuple[TrainingState, Metrics]:
            stream_state, batches = stream.take(state.stream, every)
            learner_state, (losses, finite, measured) = jax.lax.scan(step, state.learner, batches)
            health = _health_after(state.health, state.learner.step, losses, finite, learner_state)
            metrics = jax.tree.map(lambda values: jnp.mean(values, 0), measured)
            state = TrainingState(learner_state, stream_state, state.lane, health)
            return state, {**metrics, "bad_step": health.step}

        return jax.lax.scan(point, state, None, length=points)

    return Program(start, chunk, chunks, steps // chunks, points)


def new_health(params: Params) -> Health:
    """The `Health` of a training at its beginning."""
    leaves = len(jax.tree.leaves(params))
    return Health(
        step=jnp.full((), -1, jnp.int32),
        loss=jnp.zeros((), bool),
        bad=jnp.zeros(leaves, bool),
        size=jnp.zeros(leaves),
        alive=jnp.ones((), bool),
        updates=jnp.zeros(leaves, bool),
    )


def at_each(program: Program, coefficients: PyTree) -> Program:
    """One seed at several settings, all with the same key, so that the settings are paired within the seed.

    Args:
      program: a program with lanes ``(key, coefficient)``.
      coefficients: pytree of leaves with a leading axis of settings.

    Returns:
      A `Program` with a key as lane, and with metrics of shape (points, settings).
    """

    def init(key: PyTree) -> PyTree:
        return jax.vmap(lambda coefficient: program.init((key, coefficient)))(coefficients)

    each = fitting_the_cache(program.chunk)

    def chunk(state: PyTree) -> tuple[PyTree, Metrics]:
        state, metrics = each(state)
        return state, jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), metrics)

    return program._replace(init=init, chunk=chunk)


def once(compute: Callable[[PyTree], Metrics], steps: int) -> Program:
    """A measurement as a program of one chunk and one point.

    Args:
      compute: ``lane -> metrics``.
      steps: number of steps that it counts as, for rates.

    Returns:
      A `Program` with metrics of shape (1, ...).
    """

    def chunk(lane: PyTree) -> tuple[PyTree, Metrics]:
        return lane, jax.tree.map(lambda value: value[None], compute(lane))

    return Program(lambda lane: lane, chunk, 1, steps, 1)


def _health_after(health: Health, start: Array, losses: Array, finite: Array | None, end: LearnerState) -> Health:
    """The health after a point.

    Args:
      health: the health before it.
      start: the first step of the point.
      losses: shape (steps,).
      finite: shape (steps, leaves), whether the updates were finite, as the rule reported; None if it did not.
      end: the state at the end of the point.
    """
    size = leaf_sizes(end.params)
    bad_loss, bad = ~jnp.isfinite(losses), ~jnp.isfinite(size)
    bad_updates = jnp.zeros((len(losses), len(size)), bool) if finite is None else ~finite
    failed = bad_loss | jnp.any(bad_updates, 1)
    skipped, skips = _skipped(end.opt_state)
    well = ~jnp.any(failed) & ~jnp.any(bad) & ~skipped
    so_far = health.step < 0
    first = so_far & ~well
    at = jnp.where(jnp.any(failed), jnp.argmax(failed), len(losses) - 1).astype(jnp.int32)
    return Health(
        step=jnp.where(first, start + at, health.step),
        loss=jnp.where(first, bad_loss[at], health.loss),
        bad=jnp.where(first, bad, health.bad),
        size=jnp.where(so_far & well, size, health.size),
        alive=~failed[-1] & ~jnp.any(bad) & ~skips,
        updates=jnp.where(first, bad_updates[at], health.updates),
    )


def _skipped(opt_state: optax.OptState) -> tuple[Array, Array]:
    """Returns whether the optimiser ever skipped an update that was not finite, and whether it skipped the last one."""

    def is_state(node: PyTree) -> bool:
        return isinstance(node, optax.ApplyIfFiniteState)

    states = [node for node in jax.tree.leaves(opt_state, is_leaf=is_state) if is_state(node)]
    ever, last = jnp.zeros((), bool), jnp.zeros((), bool)
    for each in states:
        ever, last = ever | (each.total_notfinite > 0), last | ~each.last_finite
    return ever, last
