"""What the experiments of Lindsey & Litwin-Kumar (2020) share: initial theta, its optimisers, training, evaluation.

Rates of the outer loop are the authors', one Adam for each group of theta. Rates of the inner loop's SGD are those of
the library's loss, half the squared error, hence twice those of the authors' mean squared error.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import Info, LearningRule, learner
from plasticity_jax.layers import Chain, forward, init_params
from plasticity_jax.meta import Life, outcome
from plasticity_jax.networks import mlp
from plasticity_jax.rules.hebbian import flp_feedback
from plasticity_jax.run import Program, evaluated, online_training
from plasticity_jax.run.program import Metrics, TrainingState
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Batch, Episode, Key, PyTree

COLOURS = {
    "reuse": "#7f7f7f",
    "flp2": "#0072b2",
    "flp3": "#56b4e9",
    "gradient_first": "#d55e00",
    "gradient_second": "#b79f00",
    "gradient_warm": "#cc79a7",
    "oml": "#000000",
}
"""By method, the same in every figure; colours that the colour-blind tell apart (after Okabe and Ito)."""

LABELS = {
    "reuse": "feature reuse (1)",
    "flp2": "FLP (2)",
    "flp3": "FLP (3)",
    "gradient_first": "gradient, first order",
    "gradient_second": "gradient, second order",
    "gradient_warm": "gradient, first order, from FLP",
    "oml": "OML",
}


DEEP = 3
"""Plastic layers of the gradient-based learners, and of what is held against them."""


@dataclasses.dataclass(frozen=True)
class Sines:
    """What the experiments on incremental sines share: the problem, the network, and the outer loop.

    Attributes:
      seeds: networks, meta-trained independently.
      episodes: meta-steps.
      points: evaluations.
      lifetimes: of an evaluation, on functions not met in meta-training.
      lives: episodes to a meta-step.
      functions: of an episode.
      batches: inner steps to each function.
      batch: points to an inner step.
      hidden: widths of the hidden layers.
      rate: meta-learning rate of weights, feedback and beta.
      alpha_reuse: that of alpha, for feature reuse.
      alpha_flp: that of alpha, for FLP.
      rate_rate: that of the gradient-based learner's rates, second order.
      inner_rate: their initial value, for half the squared error.
      clip: largest norm of the meta-gradient of a group; 0 for none.
      backoff: fraction of alpha, or of the inner rates, that a life that diverged takes off.
    """

    seeds: int
    episodes: int
    points: int
    lifetimes: int
    lives: int
    functions: int
    batches: int
    batch: int
    hidden: tuple[int, ...]
    rate: float
    alpha_reuse: float
    alpha_flp: float
    rate_rate: float
    inner_rate: float
    clip: float
    backoff: float

    def __post_init__(self) -> None:
        """Refuses a network too shallow for the learners."""
        if len(self.hidden) < DEEP - 1:
            raise ValueError(f"hidden={self.hidden} makes fewer than the {DEEP} layers that are to be plastic")


SMALL_SINES: Mapping[str, Any] = {
    "lives": 4,
    "functions": 3,
    "batches": 10,
    "batch": 32,
    "hidden": (64, 64, 64),
    "rate": 1e-3,
    "alpha_reuse": 1e-4,
    "alpha_flp": 3e-6,
    "rate_rate": 3e-5,
    "inner_rate": 2e-3,
    "clip": 1.0,
    "backoff": 0.1,
}
"""The smaller problem, with the outer loop that it needs."""

PAPER_SINES: Mapping[str, Any] = {
    "seeds": 2,
    "episodes": 20_000,
    "lifetimes": 50,
    "lives": 1,
    "functions": 10,
    "batches": 40,
    "batch": 32,
    "hidden": (300, 300, 300, 300, 300, 900, 300, 300),
    "rate": 1e-4,
    "alpha_reuse": 1e-8,
    "alpha_flp": 1e-8,
    "inner_rate": 2e-3,
    "clip": 0.0,
    "backoff": 0.0,
}
"""The paper's."""


class Layers(NamedTuple):
    """A multilayer perceptron, cut where plasticity begins.

    Attributes:
      sizes: n_0, ..., n_L.
      front: the layers that rest in a life; it may have none.
      net: those that learn in it.
    """

    sizes: tuple[int, ...]
    front: Chain | None
    net: Chain

    @property
    def plastic(self) -> int:
        """How many layers learn."""
        return len(self.net.layers)

    def features(self, weights: PyTree, x: Array) -> Array:
        """What the layers in front make of x (N, n_0)."""
        return x if self.front is None else forward(self.front, weights, x).h[-1]


def layers(sizes: Sequence[int], plastic: int, loss: str = "squared") -> Layers:
    """Rectified layers with an identity output, of which the last `plastic` learn in a life.

    Raises:
      ValueError: if there are not as many layers.
    """
    count = len(sizes) - 1
    if not 1 <= plastic <= count:
        raise ValueError(f"{plastic} plastic layers, but the network has {count}")
    rest = count - plastic
    front = mlp(sizes[: rest + 1], ["relu"] * rest) if rest else None
    return Layers(tuple(sizes), front, mlp(sizes[rest:], ["relu"] * (plastic - 1) + ["identity"], loss))


def initial_weights(key: Key, cut: Layers) -> PyTree:
    """``{"prefix", "forward"}``: Kaiming's, the same for every number of plastic layers."""
    count = len(cut.sizes) - 1
    weights = init_params(key, mlp(cut.sizes, ["identity"] * count))["forward"]
    rest = count - cut.plastic
    return {
        "prefix": {name: leaves[:rest] for name, leaves in weights.items()},
        "forward": {name: leaves[rest:] for name, leaves in weights.items()},
    }


def flp_theta(key: Key, cut: Layers, alpha: float | Sequence[float] = 0.0, beta: float = 0.5) -> PyTree:
    """All that FLP meta-learns; alpha a number, or one for each plastic layer."""
    key_weights, key_feedback = jax.random.split(key)
    weights = initial_weights(key_weights, cut)
    alphas = [alpha] * cut.plastic if isinstance(alpha, int | float) else alpha
    return {
        **weights,
        "feedback": flp_feedback(key_feedback, cut.net),
        "alpha": tuple(jnp.full_like(w, a) for w, a in zip(weights["forward"]["w"], alphas, strict=True)),
        "beta": (jnp.asarray(beta, jnp.zeros(()).dtype),) * cut.plastic,
    }


def gradient_theta(key: Key, cut: Layers, rate: float) -> PyTree:
    """The weights, and a rate for each parameter of the plastic layers."""
    weights = initial_weights(jax.random.split(key)[0], cut)
    return {**weights, "rate": jax.tree.map(lambda leaf: jnp.full_like(leaf, rate), weights["forward"])}


def adams(
    rates: Mapping[str, optax.ScalarOrSchedule], theta: PyTree, clip: float | None = None, backoff: float = 0.0
) -> optax.GradientTransformation:
    """An Adam for each group of theta; a meta-gradient that is not finite leaves all of them as they were.

    Args:
      rates: by group; "weights" is that of "prefix" and "forward", which share an Adam.
      theta: for its groups.
      clip: largest norm of a group's gradient; None does not clip.
      backoff: what a life that diverged takes off the plasticity (alpha, or the inner rates), as a fraction of it. All
        that such a life tells is that plasticity was too strong; where every life diverges, nothing else leads back.
    """

    def one(rate: optax.ScalarOrSchedule) -> optax.GradientTransformation:
        adam = optax.adam(rate)
        return adam if clip is None else optax.chain(optax.clip_by_global_norm(clip), adam)

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
    clip: float | None = None,
    backoff: float = 0.0,
) -> Program:
    """Meta-training, an evaluation at the end of each of its chunks.

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
      A `Program` whose lane is a key, which alone decides on the initial theta and on the episodes.
    """
    if episodes < 1 or points < 1 or episodes % points:
        raise ValueError(f"points={points} must divide episodes={episodes}, both at least 1")
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
    """``(key, theta) -> errors`` (lifetimes,) of lives on the episodes of a stream of another key."""

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
    """The median of errors (lifetimes,); a life that diverged has an infinite one."""
    return jnp.median(jnp.where(jnp.isfinite(errors), errors, jnp.inf), 0)


def continued(first: Program, second: Program, hand_over: Callable[[PyTree, PyTree], PyTree]) -> Program:
    """One meta-training, and then another of as many chunks that starts from what it found.

    Args:
      first: see `meta_training`.
      second: likewise.
      hand_over: ``(theta that the first ends in, initial theta of the second) -> theta``.

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


def curves(axis: Any, x: np.ndarray, errors: np.ndarray, **style: Any) -> None:
    """A line at the geometric mean over seeds, in a band of a standard error of the logs; errors (seeds, points)."""
    logs = np.log10(np.where(np.isfinite(errors), errors, np.nan))
    middle = np.nanmean(logs, 0)
    error = np.nanstd(logs, 0, ddof=1) / len(logs) ** 0.5 if len(logs) > 1 else 0 * middle
    (line,) = axis.plot(x, 10**middle, lw=1.6, **style)
    axis.fill_between(x, 10 ** (middle - error), 10 ** (middle + error), color=line.get_color(), alpha=0.2, lw=0)
