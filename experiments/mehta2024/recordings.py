r"""Recordings of inputs, activity and reward in a network with plastic weights.

    y_t = tanh(W_t x_t),   o_t = y_t + noise,   W_{t+1} = W_t + rate sum over terms of theta W^c (y^b r^d) (x^a)^T

The network begins every trajectory with the same unobserved weights. Each trajectory has two stimuli of its own, with
jitter. Reward r is 1 or 0: it is likely if the neurons' mean activity is positive for the first stimulus, or negative
(below rest) for the second.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.base import Learner, LearningRule, learner
from plasticity_jax.layers import Chain, forward
from plasticity_jax.networks import mlp
from plasticity_jax.rules.hebbian import taylor
from plasticity_jax.rules.hebbian.taylor import Term
from plasticity_jax.typing import Array, Example, Key, Params, Scalar, Traces

RULES: Mapping[str, Mapping[Term, float]] = {
    "oja": {(1, 1, 0, 0): 1.0, (0, 2, 1, 0): -1.0},
    "reward": {(1, 1, 0, 1): 1.0, (1, 1, 0, 0): -0.5},
}
"""The hidden rules, in units of the rate: y x - y^2 w (Oja's), and (r - 1/2) y x (modulated by reward).

Powers are those of presynaptic and postsynaptic activity, weight and reward.
"""


class Trial(NamedTuple):
    """A step of recordings.

    Attributes:
      x: (b, n_in), input.
      activity: (b, n), with noise.
      reward: (b,), 1 or 0.
      observed: (b, n), 1 for observed neurons, 0 for others.
    """

    x: Array
    activity: Array
    reward: Array
    observed: Array


class Recordings(NamedTuple):
    """Trajectories, with their unobserved activity and weights.

    Attributes:
      trials: leaves (trajectories, steps, 1, ...).
      activity: (trajectories, steps, n), without noise.
      weights: (trajectories, steps, n, n_in), before each step.
    """

    trials: Trial
    activity: Array
    weights: Array


class Stimuli(NamedTuple):
    """Settings of the two stimuli of a trajectory and of the rewards.

    Attributes:
      spread: standard deviation of a stimulus in each input.
      jitter: standard deviation from one presentation to the next.
      gain: of the reward's probability by mean activity.
    """

    spread: float = 0.7
    jitter: float = 0.5
    gain: float = 8.0


def network(n_in: int, n: int) -> Chain:
    """Neurons that each receive all inputs."""
    return mlp((n_in, n), ("tanh",))


def params_of(w: Array) -> Params:
    """The network's params; the feedback to every neuron is the reward itself."""
    n = len(w)
    return {
        "forward": {"w": (w,), "bias": (jnp.zeros(n, w.dtype),)},
        "feedback": {"w_fb": (jnp.eye(n, dtype=w.dtype),), "bias": (jnp.zeros(n, w.dtype),)},
    }


def misfit_rule(net: Chain, terms: Mapping[Term, Scalar]) -> LearningRule:
    """`taylor` with the reward as feedback; its loss is the mean squared error of observed activity."""
    n = net.bias_sizes[0]
    rule = taylor(net, terms, signal="target")

    def rewarded(trial: Trial) -> Example:
        return Example(trial.x, jnp.broadcast_to(trial.reward[:, None], (len(trial.x), n)))

    def init(params: Params, key: Key, batch: Trial) -> Traces:
        return rule.init(params, key, rewarded(batch))

    def update(params: Params, traces: Traces, key: Key, batch: Trial):
        updates, traces, info = rule.update(params, traces, key, rewarded(batch))
        square = batch.observed * (info.aux["output"] - batch.activity) ** 2
        return updates, traces, info._replace(loss=jnp.sum(square) / jnp.sum(batch.observed))

    return LearningRule(init, update)


def network_learner(net: Chain, terms: Mapping[Term, Scalar]) -> Learner:
    """The network with its polynomial rule as learner, at rate 1."""
    return learner(misfit_rule(net, terms), optax.sgd(1.0))


def record(
    key: Key,
    w: Array,
    terms: Mapping[Term, Scalar],
    *,
    trajectories: int,
    steps: int,
    noise: Scalar,
    observed: Array,
    stimuli: Stimuli,
) -> Recordings:
    """Simulates and records trajectories.

    Args:
      key: split, one part for each trajectory.
      w: (n, n_in), initial weights of each.
      terms: of the rule.
      trajectories: their number.
      steps: of each.
      noise: standard deviation of the noise on activity.
      observed: (n,), 1 for observed neurons, 0 for others.
      stimuli: settings of stimuli and rewards.
    """
    n, n_in = w.shape
    net = network(n_in, n)
    learn = network_learner(net, terms)

    def one(key: Key) -> Recordings:
        keys = jax.random.split(key, 5)
        centres = stimuli.spread * jax.random.normal(keys[0], (2, n_in))
        second = jax.random.bernoulli(keys[1], 0.5, (steps,))
        jitter = stimuli.jitter * jax.random.normal(keys[2], (steps, n_in))
        x = jnp.where(second[:, None], centres[1:], centres[:1]) + jitter
        luck = jax.random.uniform(keys[3], (steps,))
        errors = noise * jax.random.normal(keys[4], (steps, n))

        def step(state, inputs):
            x, second, luck, error = inputs
            w_t = state.params["forward"]["w"][0]
            y = forward(net, state.params["forward"], x[None]).h[-1]
            chance = jax.nn.sigmoid(jnp.where(second, -1, 1) * stimuli.gain * jnp.mean(y))
            trial = Trial(x[None], y + error[None], (luck < chance).astype(y.dtype)[None], observed[None])
            state, _ = learn.step(state, trial)
            return state, Recordings(trial, y[0], w_t)

        blank = Trial(jnp.zeros((1, n_in)), jnp.zeros((1, n)), jnp.zeros(1), observed[None])
        return jax.lax.scan(step, learn.init(params_of(w), key, blank), (x, second, luck, errors))[1]

    return jax.vmap(one)(jax.random.split(key, trajectories))


def predictions(w: Array, terms: Mapping[Term, Scalar], trials: Trial) -> tuple[Array, Array]:
    """Activity (trajectories, steps, n) and weights (trajectories, steps, n, n_in) that a rule predicts.

    Args:
      w: (n, n_in), initial weights of each trajectory.
      terms: of the rule.
      trials: of `Recordings`; only inputs and rewards are used.
    """
    n, n_in = w.shape
    learn = network_learner(network(n_in, n), terms)

    def one(trials: Trial) -> tuple[Array, Array]:
        def step(state, trial: Trial):
            w_t = state.params["forward"]["w"][0]
            state, info = learn.step(state, trial)
            return state, (info.aux["output"][0], w_t)

        start = learn.init(params_of(w), jax.random.key(0), jax.tree.map(lambda leaf: leaf[0], trials))
        return jax.lax.scan(step, start, trials)[1]

    return jax.vmap(one)(trials)
