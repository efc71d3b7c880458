r"""Lives of an ALIF network that learns by e-prop from a broadcast error, as functions of theta.

    theta = {"constants": log tau_j, log tau_a,j;  "broadcast": B}
    W_0 at random for every life,   W_{k+1} = W_k - rate G_k / |G_k|,   k = 0..updates - 1

G_k(W_k, theta) is the sum of e-prop's updates over a batch of trials, accumulated online and applied at its end; within
the life no gradient goes back through time. The gradient of the outer loop goes back through the whole life, including
traces and surrogate slopes.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.bellec2020.common import build_rule, decay_factor, trial_of
from plasticity_jax.base import Info, Learner, LearningRule, learner
from plasticity_jax.cells import Neurons, alif, init_params, leaky_readout
from plasticity_jax.meta import Life
from plasticity_jax.ops.norms import cosine
from plasticity_jax.tasks.evidence_accumulation import evidence_accumulation, evidence_steps
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.tasks.windows import windows
from plasticity_jax.typing import Array, Episode, Example, Key, Params, PyTree, Scalar, Traces, Updates

Theta = Mapping[str, PyTree]
TINY = 1e-6
"""Added to a square before its root is taken, which has no finite derivative at 0."""


class Body(NamedTuple):
    """Properties that every life of an experiment shares.

    Attributes:
      sizes: n_in, n, n_out.
      dt: milliseconds of a step.
      tau: of the voltage at the start, and of the readout throughout, in milliseconds.
      tau_adaptation: of the adaptation at the start.
      strength: rise of the threshold by a spike, in thresholds.
      scale: of the initial weights, as in `experiments.bellec2020.common.spiking`.
      spike: replaces the step and its surrogate; see `plasticity_jax.cells.alif`.
    """

    sizes: tuple[int, int, int]
    dt: float
    tau: float
    tau_adaptation: float
    strength: float
    scale: float
    spike: Callable[[Array], Array] | None = None


class Task(NamedTuple):
    """Accumulation of evidence in steps, the batch of an update, and the number of trials that judge a life."""

    lengths: Mapping[str, int]
    cues: int
    channels: int
    rate: float
    bias: float
    batch: int
    query: int


class Birth(NamedTuple):
    """A batch of trials, and the initial weights ("forward") of this life."""

    weights: PyTree
    trials: Example


def network(body: Body, constants: Mapping[str, Array], method: str = "random") -> Neurons:
    """The network at some constants: logarithms of milliseconds, "voltage" and "adaptation", (n,) each."""
    n = body.sizes[1]
    cell = alif(
        *body.sizes,
        decay=jnp.exp(-body.dt / jnp.exp(constants["voltage"])),
        adaptation_decay=jnp.exp(-body.dt / jnp.exp(constants["adaptation"])),
        strength=body.strength,
        spike=body.spike,
        reset_derivative=method == "bptt",
        mask=~np.eye(n, dtype=bool),
    )
    return leaky_readout(cell, decay_factor(body.tau, body.dt))


def theta_at_start(body: Body, key: Key) -> Theta:
    """Theta with the same constants for every neuron, and with random broadcast weights."""
    _, n, n_out = body.sizes
    return {
        "constants": constants(body, body.tau, body.tau_adaptation),
        "broadcast": jax.random.normal(key, (n_out, n)) / n_out**0.5,
    }


def constants(body: Body, tau: Scalar, tau_adaptation: Scalar) -> dict[str, Array]:
    """Logarithms of time constants that all neurons share, (n,) each."""
    n = body.sizes[1]
    return {"voltage": jnp.full(n, jnp.log(tau)), "adaptation": jnp.full(n, jnp.log(tau_adaptation))}


def newborn(body: Body, key: Key) -> PyTree:
    """Random weights ("forward"), which do not depend on theta."""
    w = init_params(key, network(body, constants(body, body.tau, body.tau_adaptation)))["forward"]
    # Undoes the scaling by the decay in `lif`: with white noise of variance one, a step moves the voltage by `scale`.
    return {**w, "w": body.scale / (1 - decay_factor(body.tau, body.dt) ** 2) ** 0.5 * w["w"]}


def lives(
    body: Body,
    task: Task,
    updates: int,
    episodes: int = 1,
    readout: Array | None = None,
    innate: bool | Array = False,
) -> Stream:
    """Episodes: the trials of a life, leaves (T, b, S, ...), with its initial weights and the new trials that judge it.

    Args:
      body: of the network.
      task: of the trials.
      updates: T.
      episodes: lives at a time.
      readout: initial weights of an innate readout, which all lives share.
      innate: whether the readout is innate; otherwise each life draws its own.
    """
    steps = evidence_steps(task.cues, **task.lengths)
    options = {**task.lengths, "channels": task.channels, "rate": task.rate, "bias": task.bias}

    def trials(key: Key, batch: int, count: int) -> Example:
        stream = windows(evidence_accumulation(task.cues, **options, batch=batch), steps)
        return stream.take(stream.init(key), count)[1]

    def one(key: Key) -> Episode:
        key_weights, key_support, key_query = jax.random.split(key, 3)
        query = jax.tree.map(lambda leaf: leaf[0], trials(key_query, task.query, 1))
        weights = newborn(body, key_weights)
        weights = weights if readout is None else {**weights, "w_out": jnp.where(innate, readout, weights["w_out"])}
        return Episode(trials(key_support, task.batch, updates), Birth(weights, query))

    def take(state: tuple[Key, Array], steps: int) -> tuple[tuple[Key, Array], Example]:
        key, step = state
        keys = jax.vmap(lambda k: jax.random.split(jax.random.fold_in(key, k), episodes))(step + jnp.arange(steps))
        episodes_of_steps = jax.vmap(jax.vmap(one))(keys)
        return (key, step + steps), episodes_of_steps  # pyright: ignore[reportReturnType] # a meta-learner's example

    return Stream(lambda key: (key, jnp.zeros((), jnp.int32)), take)


def from_birth(rule: LearningRule) -> LearningRule:
    """The same rule with changes of the weights since birth as its weights; its batches are a `Birth`."""

    def grown(params: Params, batch: Birth) -> Params:
        return {**params, "forward": jax.tree.map(jnp.add, batch.weights, params["forward"])}

    def init(params: Params, key: Key, batch: Birth) -> Traces:
        return rule.init(grown(params, batch), key, batch.trials)

    def update(params: Params, traces: Traces, key: Key, batch: Birth) -> tuple[Updates, Traces, Info]:
        return rule.update(grown(params, batch), traces, key, batch.trials)

    return LearningRule(init, update)


def fixed_length_steps(rate: Scalar) -> optax.GradientTransformation:
    """Gradient descent by steps of a given length, independent of the gradient's; it has no state."""

    def update(updates: PyTree, state: optax.OptState, params: PyTree | None = None) -> tuple[PyTree, optax.OptState]:
        square = sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(updates))
        scale = -rate / jnp.sqrt(square + TINY)
        return jax.tree.map(lambda leaf: scale * leaf, updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def life_of(body: Body, task: Task, rates: tuple[float, float], method: str = "random") -> Life:
    """A life by a method of `experiments.bellec2020.common.METHODS`.

    Args:
      body: of the network.
      task: of the trials.
      rates: lengths of an update of the cell's weights and of the readout's.
      method: determines the feedback and the derivatives.
    """
    groups: dict[Hashable, optax.GradientTransformation] = {
        "cell": fixed_length_steps(rates[0]),
        "readout": fixed_length_steps(rates[1]),
        "feedback": optax.set_to_zero(),
    }
    tx = optax.partition(groups, {"forward": {"w": "cell", "w_out": "readout"}, "feedback": "feedback"})

    def learns(theta: Theta) -> Learner:
        return learner(from_birth(build_rule(network(body, theta["constants"], method), method)), tx)

    def params(theta: Theta) -> Params:
        w = jax.eval_shape(lambda key: newborn(body, key), jax.random.key(0))
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), w)
        return {"forward": zeros, "feedback": {"w_fb": theta["broadcast"]}}

    def embed(theta: Theta, episode: Episode) -> Episode:
        length = len(episode.support.x)
        weights = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (length, *leaf.shape)), episode.query.weights)
        return Episode(Birth(weights, episode.support), episode.query)

    def loss(theta: Theta, params: Params, query: Birth) -> tuple[Array, Mapping[str, Array]]:
        cell = network(body, theta["constants"], method)
        grown = {"forward": jax.tree.map(jnp.add, query.weights, params["forward"])}
        nats, aux = trial_scores(cell, grown, query.trials)
        return nats, {**aux, "aligned": cosine_with_readout(theta["broadcast"], grown["forward"]["w_out"])}

    return Life(learns, params, loss, embed=embed)


def trial_scores(cell: Neurons, params: Params, trials: Example) -> tuple[Array, dict[str, Array]]:
    """Cross-entropy per step at which the answer is due, share of right votes, and spikes per step."""
    spikes, output = jax.vmap(lambda x: trial_of(cell, params, x))(trials.x)
    weight = trials.weight
    assert weight is not None
    each = optax.softmax_cross_entropy_with_integer_labels(output, trials.y)
    due = jnp.sum(weight) / len(weight)
    loss = jnp.mean(jnp.sum(weight * each, 1)) / due
    vote = jnp.sum(output * weight[..., None], 1)
    right = jnp.mean((jnp.argmax(vote, -1) == trials.y[:, -1]).astype(loss.dtype))
    return loss, {"right": right, "rate": jnp.mean(spikes)}


def cosine_with_readout(broadcast: Array, w_out: Array) -> Array:
    """Cosine of broadcast weights and the readout's, without the part common to all outputs, which softmax ignores."""
    centred = [leaf - jnp.mean(leaf, 0, keepdims=True) for leaf in (broadcast, w_out[:, :-1])]
    return cosine(*centred)
