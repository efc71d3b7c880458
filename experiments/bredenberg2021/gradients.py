"""Parts shared by the experiments on impression learning's gradients: windows of wake and sleep, training checkpoints.

A window is a trial of T steps with one stimulus path and one lambda pattern. The paper's theory needs p(lambda) =
p(1 - lambda), so windows come in complementary pairs. Windows start from r = 0, as if awake before, or from the
`running_state` of a network that has just gone through the same pattern. A network forgets while awake, so one round
is enough to reach the states of training.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.base import LearnerState, LearningRule, learner
from plasticity_jax.networks.two_stream import Sample, TwoStream, advance, draw, init_params, trajectory
from plasticity_jax.rules.generative import impression
from plasticity_jax.rules.generative.schedules import Schedule
from plasticity_jax.run import Program
from plasticity_jax.tasks.ou_mixture import OUMixtureState, ou_mixture
from plasticity_jax.typing import Array, Example, Key, Params

BLOCK = 500
"""Training steps for which the stream is drawn at once."""


class Checkpoint(NamedTuple):
    """State of a `checkpoints` program.

    Attributes:
      key: base key of the measurements.
      done: checkpoints measured so far.
      learner: the learner's state.
      stream: the stimulus's state.
    """

    key: Key
    done: Array
    learner: LearnerState
    stream: OUMixtureState


def pairs(steps: int, phase: int) -> Array:
    """A window that starts awake, and its complement: (2, steps), bool, with phases of `phase` steps."""
    wake = (jnp.arange(steps) // phase) % 2 == 0
    return jnp.stack([wake, ~wake])


def following(pattern: Array) -> Schedule:
    """Schedule that goes through a given window (T,) once."""

    def step(t: Array, key: Key) -> tuple[Array, Array]:
        return pattern[t], t + 1

    return Schedule(lambda: jnp.zeros((), jnp.int32), step)


def running_state(net: TwoStream, params: Params, key: Key, z: Array, pattern: Array) -> Array:
    """State of the top layer, (B, n_L), after stimuli (T, B, n_0) with a pattern (T,) that is awake at some step."""
    return trajectory(net, params, key, z, pattern).x[-1][-1]


def walk_on(net: TwoStream, params: Params, key: Key, top: Array, z: Array, pattern: Array) -> Sample:
    """Walk of a window that starts from the state after the same pattern.

    Args:
      net: the network.
      params: its weights.
      key: consumed.
      top: (B, n_L), from `running_state`.
      z: (T, B, n_0), stimuli.
      pattern: (T,), lambda; its last entry is also that before the window.

    Returns:
      A `Sample` whose arrays lead with (T,).
    """

    def step(carry: tuple[Array, Array], inputs: tuple[Array, Array, Array]) -> tuple[tuple[Array, Array], Sample]:
        (top, wake_tm1), (key, z, wake) = carry, inputs
        innovations = draw(net, key, len(z), top.dtype)
        sample = advance(net, params, wake, wake & ~wake_tm1, top, z, innovations)
        return (sample.x[-1], wake), sample

    return jax.lax.scan(step, (top, pattern[-1]), (jax.random.split(key, len(z)), z, pattern))[1]


def starting_from(rule: LearningRule, top: Array, wake: Array) -> LearningRule:
    """Rule of the two-stream network that starts with a given top layer (B, n_L) and previous lambda."""

    def init(params: Params, key: Key, batch: Example) -> Any:
        traces = rule.init(params, key, batch)
        return traces._replace(path=traces.path._replace(x=(*traces.path.x[:-1], top), wake=wake))

    return LearningRule(init, rule.update)


def path(key: Key, latents: int, stimuli: int, steps: int, mixing: Array | None = None, streams: int = 1) -> Array:
    """Stimuli from the stationary Ornstein-Uhlenbeck process, (steps, streams, stimuli)."""
    stream = ou_mixture(latents, stimuli, batch=streams, mixing=mixing)
    return stream.take(stream.init(key), steps)[1].x


def checkpoints(
    net: TwoStream,
    rate: float,
    until: Sequence[int],
    measure: Callable[[Key, Params, Array], Mapping[str, Array]],
) -> Program:
    """Impression learning on a mixture of latents in the network's stimuli, with measurements during training.

    Args:
      net: the network, with one layer of as many neurons as there are latents.
      rate: learning rate, times the variance of each weight's density.
      until: steps at which to measure, equally spaced multiples of `BLOCK`, from 0 on.
      measure: ``(key, params, mixing) -> metrics``; the key is the same at every checkpoint.

    Returns:
      The program, with one checkpoint in each chunk and the additional metric "steps".

    Raises:
      ValueError: if the steps are not such multiples.
    """
    interval = until[1] - until[0] if len(until) > 1 else 0
    if until[0] != 0 or interval % BLOCK or list(until) != [i * interval for i in range(len(until))]:
        raise ValueError(f"checkpoints at {tuple(until)} must be equally spaced multiples of {BLOCK}, from 0 on")
    stimuli, latents = net.sizes
    stream, learn = ou_mixture(latents, stimuli), learner(impression(net), optax.sgd(rate))

    def init(key: Key) -> Checkpoint:
        key, key_weights, key_stream, key_noise = jax.random.split(key, 4)
        world = stream.init(key_stream)
        params, z = init_params(key_weights, net), jnp.zeros((1, stimuli))
        return Checkpoint(key, jnp.zeros((), jnp.int32), learn.init(params, key_noise, Example(z, z)), world)

    def block(_: Array, carry: tuple[LearnerState, OUMixtureState]) -> tuple[LearnerState, OUMixtureState]:
        world, examples = stream.take(carry[1], BLOCK)
        return jax.lax.scan(lambda state, z: (learn.step(state, z)[0], None), carry[0], examples)[0], world

    def chunk(state: Checkpoint) -> tuple[Checkpoint, Mapping[str, Array]]:
        blocks = jnp.where(state.done > 0, interval // BLOCK, 0)
        trained, world = jax.lax.fori_loop(0, blocks, block, (state.learner, state.stream))
        metrics = {**measure(state.key, trained.params, world.mixing), "steps": trained.step}
        return Checkpoint(state.key, state.done + 1, trained, world), jax.tree.map(lambda leaf: leaf[None], metrics)

    return Program(init, chunk, len(until), max(interval, 1), 1)
