"""Meta-training of Lindsey & Litwin-Kumar (2020), an Adam for each group of theta, and evaluation on new lives."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.base import Info, LearningRule, learner
from plasticity_jax.meta import Life, outcome
from plasticity_jax.run import Program, evaluated, online_training
from plasticity_jax.run.program import Metrics, TrainingState
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Batch, Episode, Key, PyTree, Scalar


def adams(
    rates: Mapping[str, optax.ScalarOrSchedule], theta: PyTree, clip: Scalar = 0.0, backoff: Scalar = 0.0
) -> optax.GradientTransformation:
    """One Adam for each group of theta; a meta-gradient that is not finite leaves their states as they are.

    Args:
      rates: by group; "weights" is that of "prefix" and "forward", which share an Adam.
      theta: names the groups.
      clip: largest norm of a group's gradient; 0 does not clip. May be a tracer, and so may `backoff`.
      backoff: fraction by which a life that diverged reduces plasticity (alpha, or the inner rates). Such a life shows
        only that plasticity was too strong; if every life diverges, nothing else reduces it.
    """
    is_number = isinstance(clip, int | float)  # not a tracer
    largest = clip if is_number else jnp.where(clip > 0, clip, jnp.finfo(clip.dtype).max)

    def one(rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
        adam = optax.adam(rate)
        return adam if is_number and clip == 0 else optax.chain(optax.clip_by_global_norm(largest), adam)

    names = {group: "weights" if group in ("prefix", "forward") else group for group in theta}
    grouped = optax.partition({name: one(rates[name]) for name in set(names.values())}, names)

    def update(updates: PyTree, state: optax.OptState, params: PyTree | None = None):
        finite = jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(updates)]))
        moved, moved_state = grouped.update(updates, state, params)
        stay = {
            group: jax.tree.map(lambda leaf, by=backoff * (group in ("alpha", "rate")): -by * leaf, leaves)
            for group, leaves in (params or {}).items()
        }
        return jax.tree.map(lambda a, b: jnp.where(finite, a, b), (moved, moved_state), (stay, state))

    return optax.GradientTransformation(grouped.init, update)


def meta_training(
    rule: LearningRule,
    rates: Mapping[str, optax.ScalarOrSchedule],
    theta: Callable[[Key], PyTree],
    stream: Stream,
    evaluate: Callable[[Key, PyTree], Metrics],
    *,
    episodes: int,
    points: int,
    clip: Scalar = 0.0,
    backoff: Scalar = 0.0,
) -> Program:
    """Meta-training, with an evaluation at the end of each chunk.

    Args:
      rule: over theta.
      rates: see `adams`.
      theta: ``key -> theta``, the initial one.
      stream: of batches of episodes.
      evaluate: ``(key, theta) -> metrics``; the number of meta-steps is added to them.
      episodes: meta-steps.
      points: chunks, and evaluations.
      clip: see `adams`.
      backoff: see `adams`.

    Returns:
      A `Program` with a key for a lane, which alone determines the initial theta and the episodes.
    """
    if episodes % points:
        raise ValueError(f"points={points} must divide episodes={episodes}")
    shape = jax.eval_shape(theta, jax.random.key(0))
    learn = learner(rule, adams(rates, shape, clip, backoff))

    def init(lane: Key, learn, stream: Stream):
        key_theta, key_stream, key_run, _ = jax.random.split(lane, 4)
        stream_state = stream.init(key_stream)
        first = jax.eval_shape(lambda state: stream.take(state, 1)[1], stream_state)
        batch = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), first)
        return learn.init(theta(key_theta), key_run, batch), stream_state

    def measure(info: Info, batch: Batch) -> Metrics:
        return {"loss": info.loss, "error": info.aux["error"], "skipped": ~jnp.isfinite(info.loss) * 1.0}

    program = online_training(
        lambda lane: (learn, stream),
        init,
        steps=episodes,
        every=episodes // points,
        chunks=points,
        measure=measure,
    )

    def at_edge(state: TrainingState) -> Metrics:
        key = jax.random.split(state.lane, 4)[3]
        return {"episode": state.learner.step, **evaluate(key, state.learner.params)}

    return evaluated(program, at_edge)


def held_out(life: Life, stream: Stream, lifetimes: int, at_a_time: int = 10) -> Callable[[Key, PyTree], Array]:
    """``(key, theta) -> errors`` (lifetimes,), of lives on new episodes of a stream."""

    def errors(key: Key, theta: PyTree) -> Array:
        key_stream, key_lives = jax.random.split(key)
        _, episodes = stream.take(stream.init(key_stream), lifetimes)
        episodes = jax.tree.map(lambda leaf: leaf[:, 0], episodes)

        def one(life_of: tuple[Key, Episode]) -> Array:
            return outcome(life, theta, *life_of, remat=False)[1]["error"]

        keys = jax.random.split(key_lives, lifetimes)
        return jax.lax.map(one, (keys, episodes), batch_size=min(at_a_time, lifetimes))

    return errors


def over_lives(errors: Array) -> Array:
    """Median of errors (lifetimes,); a life that diverged counts as infinite."""
    return jnp.median(jnp.where(jnp.isfinite(errors), errors, jnp.inf), 0)


def continued(first: Program, second: Program, hand_over: Callable[[PyTree, PyTree], PyTree]) -> Program:
    """One meta-training, followed by another of as many chunks that starts from its result.

    Args:
      first: see `meta_training`.
      second: likewise.
      hand_over: ``(final theta of the first, initial theta of the second) -> theta``.

    Returns:
      A `Program` of both; its metrics are those that both have, and "stage", 0 or 1.
    """
    shared = (first.chunks, first.steps, first.points)
    if (second.chunks, second.steps, second.points) != shared:
        raise ValueError("continued: both programs must have the same chunks, steps and points")

    def init(lane: Key) -> PyTree:
        return first.init(lane), second.init(lane), jnp.zeros((), jnp.int32)

    def chunk(state: PyTree) -> tuple[PyTree, Metrics]:
        before, after, done = state

        def early(before: TrainingState, after: TrainingState):
            before, metrics = first.chunk(before)
            theta = hand_over(before.learner.params, after.learner.params)
            ready = after._replace(learner=after.learner._replace(params=theta))
            return before, jax.tree.map(lambda a, b: jnp.where(done == first.chunks - 1, a, b), ready, after), metrics

        def late(before: TrainingState, after: TrainingState):
            after, metrics = second.chunk(after)
            return before, after, metrics

        common = set(jax.eval_shape(early, before, after)[2]) & set(jax.eval_shape(late, before, after)[2])

        def both(stage):
            def run(before: TrainingState, after: TrainingState):
                before, after, metrics = stage(before, after)
                return before, after, {name: metrics[name] for name in common}

            return run

        in_first = done < first.chunks
        before, after, metrics = jax.lax.cond(in_first, both(early), both(late), before, after)
        stage = jnp.broadcast_to(jnp.where(in_first, 0.0, 1.0), (first.points,))
        return (before, after, done + 1), {**metrics, "stage": stage}

    return first._replace(init=init, chunk=chunk, chunks=2 * first.chunks)
