"""Parts of the experiment on meta-learned time constants and broadcast weights: start, outer loops, grid."""

import itertools
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.bellec2020.alif_meta_claims import ARMS, METHODS
from experiments.bellec2020.alif_meta_lives import Body, Task, Theta, constants, life_of, lives, newborn, theta_at_start
from plasticity_jax.base import Info, Learner, LearnerState, LearningRule, learner
from plasticity_jax.meta import Life, birth, live, meta_gradient
from plasticity_jax.run import Program, at_each, evaluated, once, online_training
from plasticity_jax.run.program import Metrics, TrainingState
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Episode, Example, Key, PyTree, Traces, Updates


def body_of(config: Any) -> Body:
    """The network."""
    sizes = (4 * config.channels, config.n, 2)
    return Body(sizes, config.dt, config.tau, config.tau_adaptation, config.strength, config.scale)


def task_of(config: Any) -> Task:
    """The trials."""
    rate = config.input_rate * config.dt / 1000
    return Task(config.lengths(), config.cues, config.channels, rate, config.bias, config.batch, config.query)


class Seed(NamedTuple):
    """Values that a seed fixes for all parts: the initial theta, the readout of innate lives, and keys of lives."""

    theta: Theta
    readout: Array
    training: Key
    held_out: Key


def seed_of(config: Any, lane: Key) -> Seed:
    """The `Seed` of a lane."""
    body = body_of(config)
    key_theta, key_readout, key_training, key_held_out = jax.random.split(lane, 4)
    return Seed(theta_at_start(body, key_theta), newborn(body, key_readout)["w_out"], key_training, key_held_out)


def grid_of(config: Any) -> list[tuple[float, float, float]]:
    """Points of the grid: time constants of voltage and adaptation, and the multiple of the rates."""
    return list(itertools.product(config.grid_tau, config.grid_tau_adaptation, config.grid_rates))


def mean_over_lives(theta: Theta, stream: Stream, key: Key, count: int, life: Life, parts: int = 1) -> Metrics:
    """Means over `count` lives of the loss and the other scores, at the end of each part of a life, (parts,)."""
    _, taken = stream.take(stream.init(key), count)
    episodes: Any = jax.tree.map(lambda leaf: leaf[:, 0], taken)

    def one(episode: Episode) -> Metrics:
        support = jax.tree.map(lambda leaf: leaf.reshape(parts, -1, *leaf.shape[1:]), episode.support)
        first = Episode(jax.tree.map(lambda leaf: leaf[0], support), episode.query)

        def part(state: LearnerState, trials: Example) -> tuple[LearnerState, Metrics]:
            loss, (aux, state) = live(life, theta, state, Episode(trials, episode.query), remat=False)
            return state, {"loss": loss, **aux}

        return jax.lax.scan(part, birth(life, theta, key, first), support)[1]

    # One life at a time, since all of them at once do not fit the cache.
    return jax.tree.map(lambda values: jnp.mean(values, 0), jax.lax.map(one, episodes))


def scores(config: Any, seed: Seed, theta: Theta, innate: Array) -> Metrics:
    """Held-out lives at some theta: by broadcast at every length, by the other methods at that of the outer loop."""
    body, task = body_of(config), task_of(config)

    def held_out(method: str, parts: int) -> Metrics:
        stream = lives(body, task, config.updates * parts, readout=seed.readout, innate=innate)
        life = life_of(body, task, getattr(config, f"{method}_rates"), method)
        return mean_over_lives(theta, stream, seed.held_out, config.held_out, life, parts)

    by_broadcast = held_out("random", config.longer)
    metrics = {name: by_broadcast[name] for name in ("loss", "right", "rate", "aligned")}
    for method in METHODS[1:]:
        other = held_out(method, 1)
        metrics |= {f"{method}_loss": other["loss"][0], f"{method}_right": other["right"][0]}
    taus = {f"tau_{name}": jnp.exp(value) for name, value in theta["constants"].items()}
    return {**metrics, **taus}


def at_start(config: Any) -> Program:
    """Scores of the initial theta, for lives with readouts of their own and for innate ones."""

    def compute(lane: tuple[Key, Array]) -> Metrics:
        seed = seed_of(config, lane[0])
        return scores(config, seed, seed.theta, lane[1])

    return at_each(once(compute, config.held_out), jnp.asarray([False, True]))


def one_by_one(rule: LearningRule) -> LearningRule:
    """The same rule over theta, one life of the batch at a time, which keeps the steps of a single life in memory."""

    def update(params: PyTree, traces: Traces, key: Key, batch: Episode) -> tuple[Updates, Traces, Info]:
        def one(episode: Episode) -> tuple[Updates, Array]:
            updates, _, info = rule.update(params, traces, key, jax.tree.map(lambda leaf: leaf[None], episode))
            return updates, info.loss

        updates, loss = jax.tree.map(lambda leaf: jnp.mean(leaf, 0), jax.lax.map(one, batch))
        return updates, traces, Info(loss)

    return LearningRule(rule.init, update)


def outer_loops(config: Any) -> Program:
    """The outer loops of all arms: an Adam for constants and one for broadcast weights, with rate 0 if fixed."""
    body, task = body_of(config), task_of(config)
    rule = one_by_one(meta_gradient(life_of(body, task, config.random_rates), remat=1))

    def build(lane: tuple[Key, Mapping[str, Array]]) -> tuple[Learner, Stream]:
        key, arm = lane
        groups: dict[Hashable, optax.GradientTransformation] = {
            name: optax.chain(optax.clip_by_global_norm(config.clip), optax.adam(arm[name]))
            for name in ("constants", "broadcast")
        }
        learn = learner(rule, optax.partition(groups, {name: name for name in groups}))
        readout = seed_of(config, key).readout
        return learn, lives(body, task, config.updates, config.lives, readout, arm["innate"] > 0)

    def init(lane: PyTree, learn: Learner, stream: Stream) -> tuple[LearnerState, PyTree]:
        seed = seed_of(config, lane[0])
        key_stream, key_run = jax.random.split(seed.training)
        start = stream.init(key_stream)
        first: Any = jax.tree.map(lambda leaf: leaf[0], stream.take(start, 1)[1])
        return learn.init(seed.theta, key_run, first), start

    def measure(info: Info, batch: PyTree) -> Metrics:
        return {"training_loss": info.loss}

    program = online_training(
        build,
        init,
        steps=config.meta_steps,
        every=config.meta_steps // config.points,
        chunks=config.points,
        measure=measure,
    )

    def at_edge(state: TrainingState) -> Metrics:
        key, arm = state.lane
        metrics = scores(config, seed_of(config, key), state.learner.params, arm["innate"] > 0)
        return {"meta_step": state.learner.step, **metrics}

    return at_each(evaluated(program, at_edge), settings(config))


def settings(config: Any) -> dict[str, Array]:
    """Rates of the outer loop's Adams, and whether the readout is innate (1 or 0), for each of `ARMS`."""
    return {
        "constants": jnp.asarray([config.rate_constants * (arm in ("constants", "both")) for arm in ARMS]),
        "broadcast": jnp.asarray([config.rate_broadcast * (arm != "constants") for arm in ARMS]),
        "innate": jnp.asarray([float(arm == "innate") for arm in ARMS]),
    }


def grid(config: Any) -> Program:
    """The best point of the grid, by lives of its own, and its scores on the held-out lives."""
    body, task = body_of(config), task_of(config)
    points = jnp.asarray(grid_of(config))
    tries = config.meta_steps * config.lives // len(points)

    def compute(lane: Key) -> Metrics:
        seed = seed_of(config, lane)

        def at(point: Array, key: Key, count: int, parts: int) -> Metrics:
            theta = {**seed.theta, "constants": constants(body, point[0], point[1])}
            life = life_of(body, task, tuple(point[2] * rate for rate in config.random_rates))
            return mean_over_lives(theta, lives(body, task, config.updates * parts), key, count, life, parts)

        tried = jax.lax.map(lambda point: at(point, seed.training, tries, 1)["loss"][0], points)
        best = points[jnp.argmin(tried)]
        held_out = at(best, seed.held_out, config.held_out, config.longer)
        return {**{name: held_out[name] for name in ("loss", "right", "rate")}, "tried": tried, "best": best}

    return once(compute, tries * len(points))
