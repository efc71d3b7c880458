"""Networks, rules and optimisers of the experiments of Bellec et al. (2020).

A learner's step is a trial: every rule's updates are summed over it and applied at its end, as in the authors' code.
Time constants and the step `dt` are in milliseconds.
"""

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.shared.claims import Summary
from plasticity_jax.base import Info, Learner, LearnerState, LearningRule
from plasticity_jax.cells import Neurons, advance, alif, init_params, leaky_readout, lif, read_out
from plasticity_jax.cells.neurons import Derivatives, derivatives, start_of
from plasticity_jax.cells.window import time_first
from plasticity_jax.ops.norms import cosine
from plasticity_jax.rules import online
from plasticity_jax.run import Claim, Program, Range, evaluated, online_training
from plasticity_jax.run.program import Metrics, TrainingState
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Traces, Updates

METHODS = ("bptt", "eprop", "random", "adaptive", "blind", "frozen")
ONLINE = {"eprop": "readout", "random": "random", "adaptive": "adaptive", "blind": "readout"}
"""Feedback of the methods that learn online."""

LABELS = {
    "bptt": "BPTT",
    "eprop": "e-prop, symmetric",
    "random": "e-prop, random",
    "adaptive": "e-prop, adaptive",
    "blind": "e-prop, blind to adaptation",
    "frozen": "readout alone",
}
COLOURS = {
    "bptt": "#000000",
    "eprop": "#0072b2",
    "random": "#d55e00",
    "adaptive": "#009e73",
    "blind": "#cc79a7",
    "frozen": "#7f7f7f",
}
"""Colours that colour-blind readers can distinguish (after Okabe and Ito)."""

FACTOR = 2.0
"""Largest ratio of two losses or errors that count as close."""
WORDS = {"loss": "losses", "error": "errors"}

Positive: TypeAlias = Annotated[float, Range(1e-30)]
"""A number above 0."""


def decay_factor(tau: float, dt: float) -> float:
    """The share of a variable with time constant tau that is left after a step."""
    return math.exp(-dt / tau)


def in_steps(name: str, milliseconds: float, dt: float) -> int:
    """A time in steps.

    Raises:
      ValueError: if it is not a whole number of steps.
    """
    if not dt > 0:
        raise ValueError(f"dt={dt:g} must be above 0: milliseconds of a step")
    steps = milliseconds / dt
    if abs(steps - round(steps)) > 1e-6:
        raise ValueError(f"{name}={milliseconds:g} ms must be a multiple of dt={dt:g} ms")
    return round(steps)


def spiking(
    kind: str,
    sizes: tuple[int, int, int],
    *,
    decay: float,
    readout_decay: float,
    scale: float,
    loss: str,
    method: str,
    refractory: int = 0,
    adaptation_decay: float = 0.0,
    strength: float = 0.0,
) -> Neurons:
    """A network of LIF neurons without self-connections; in "alif" the second half of the neurons adapts.

    Args:
      kind: "lif" or "alif".
      sizes: n_in, n, n_out.
      decay: of the voltage.
      readout_decay: of the readout's filter.
      scale: of the initial weights, N(0, scale^2 / n) between neurons and N(0, scale^2 / n_in) from inputs; thresholds
        are 1.
      loss: "softmax" or "squared".
      method: one of `METHODS`. Backpropagation includes the reset in its derivatives. The online rules leave it out,
        like the authors'; "blind" leaves out the adaptation as well.
      refractory: steps.
      adaptation_decay: of the adaptation.
      strength: of the adaptation, in the neurons that adapt.
    """
    n = sizes[1]
    shared: dict[str, Any] = {
        "decay": decay,
        "refractory": refractory,
        "reset_derivative": method == "bptt",
        "loss": loss,
        "mask": ~np.eye(n, dtype=bool),
    }
    if kind == "lif":
        cell = lif(*sizes, **shared)
    else:
        adapts = jnp.where(jnp.arange(n) < n // 2, 0.0, strength)
        cell = alif(*sizes, adaptation_decay=adaptation_decay, strength=adapts, **shared)
    if method == "blind":
        cell = without_adaptation_trace(cell)
    init_w, gain = cell.init_w, scale / (1 - decay**2) ** 0.5
    cell = cell._replace(init_w=lambda key, cell, dtype: (gain * init_w(key, cell, dtype)).astype(dtype))
    return leaky_readout(cell, readout_decay)


def without_adaptation_trace(cell: Neurons) -> Neurons:
    """The same network with derivatives that leave out the adaptation, so that its traces stay 0, as in LIF."""
    row = cell.variables.index("adaptation")

    def partials(own: Any, s: Array, v: Array) -> Derivatives:
        slopes = derivatives(cell, own, s, v)
        return slopes._replace(decay=slopes.decay.at[row].set(0), gain=slopes.gain.at[row].set(0))

    return cell._replace(partials=partials)


def build_rule(cell: Neurons, method: str) -> LearningRule:
    """The rule of one of `METHODS`, for batches of whole trials."""
    if method == "bptt":
        return online.bptt(cell, window=None)
    if method == "frozen":
        return over_trials(online.fixed_recurrent(cell))
    return over_trials(online.eprop(cell, feedback=ONLINE[method]))  # pyright: ignore[reportArgumentType]


def over_trials(rule: LearningRule) -> LearningRule:
    """The same online rule with updates summed at fixed weights over a batch of trials, leaves (B, S, ...).

    The loss is the mean over the batch of the sum over a trial, as that of `plasticity_jax.rules.online.bptt`.
    """

    def init(params: Params, key: Key, batch: Example) -> Traces:
        return rule.init(params, key, jax.tree.map(lambda leaf: leaf[0], time_first(batch)))

    def update(params: Params, traces: Traces, key: Key, batch: Example) -> tuple[Updates, Traces, Info]:
        def step(carry: tuple[Traces, Updates], at: tuple[Key, Example]) -> tuple[PyTree, tuple[Array, Array]]:
            updates, traces, info = rule.update(params, carry[0], *at)
            return (traces, jax.tree.map(jnp.add, carry[1], updates)), (info.loss, info.aux["output"])

        start = (traces, jax.tree.map(jnp.zeros_like, params))
        examples = time_first(batch)
        keys = jax.random.split(key, len(examples.x))  # a rule with noise needs new noise at each step
        (traces, updates), (loss, output) = jax.lax.scan(step, start, (keys, examples))
        return updates, traces, Info(jnp.sum(loss), aux={"output": jnp.swapaxes(output, 0, 1)})

    return LearningRule(init, update)


def optimiser(rate: float, method: str, weight_decay: float) -> optax.GradientTransformation:
    """Adam, with weight decay for adaptive feedback and its readout, which makes one the transpose of the other."""
    shrinking = optax.adamw(rate, weight_decay=weight_decay) if method == "adaptive" else optax.adam(rate)
    groups: dict[Hashable, optax.GradientTransformation] = {
        "cell": optax.adam(rate),
        "readout": shrinking,
        "feedback": shrinking if method == "adaptive" else optax.set_to_zero(),
    }
    return optax.partition(groups, {"forward": {"w": "cell", "w_out": "readout"}, "feedback": "feedback"})


def trial_of(cell: Neurons, params: Params, x: Array) -> tuple[Array, Array]:
    """Spikes (S, n) and outputs (S, n_out) of a trial with the inputs x (S, n_in)."""

    def step(s: Array, x_t: Array) -> tuple[Array, tuple[Array, Array]]:
        s = advance(cell, params["forward"], s, x_t)
        return s, (cell.output(s), read_out(params["forward"]["w_out"], cell.read(s)))

    return jax.lax.scan(step, start_of(cell, x.dtype), x)[1]


def training(
    learn: Learner,
    stream: Stream,
    cell: Neurons,
    evaluate: Callable[[TrainingState], Metrics],
    measure: Callable[[Info, Example], Metrics],
    *,
    updates: int,
    points: int,
) -> Program:
    """Training on successive batches of trials, with an evaluation at the end of each point.

    Args:
      learn: the learner, for batches of trials.
      stream: of trials, leaves (updates, B, S, ...).
      cell: the network.
      evaluate: ``state -> metrics``; the updates so far are added to them.
      measure: see `online_training`.
      updates: total number.
      points: of each curve.
    """

    def build(lane: Key) -> tuple[Learner, Stream]:
        return learn, stream

    def init(lane: Key, learn: Learner, stream: Stream) -> tuple[LearnerState, PyTree]:
        key_weights, key_stream, key_run = jax.random.split(lane, 3)
        start = stream.init(key_stream)
        first = jax.tree.map(lambda leaf: leaf[0], stream.take(start, 1)[1])
        return learn.init(init_params(key_weights, cell), key_run, first), start

    program = online_training(build, init, steps=updates, every=updates // points, chunks=points, measure=measure)
    return evaluated(program, lambda state: {"updates": state.learner.step, **evaluate(state)})


def next_trial(stream: Stream, state: TrainingState) -> Example:
    """The first stream's next trial, on which the network has not trained; leaves (S, ...)."""
    return jax.tree.map(lambda leaf: leaf[0, 0], stream.take(state.stream, 1)[1])


def feedback_cosine(params: Params) -> Array:
    """Cosine of the feedback and the readout's weights."""
    return cosine(params["feedback"]["w_fb"], params["forward"]["w_out"][:, :-1])


def check_points(updates: int, points: int) -> None:
    """Refuses unevenly spaced points.

    Raises:
      ValueError: if the points do not divide the updates.
    """
    if points < 1 or updates % points:
        raise ValueError(f"points={points} must divide updates={updates}")


def tail(curve: np.ndarray) -> np.ndarray:
    """Mean over the last tenth of the points, at least one: (seeds,) from (seeds, points)."""
    return curve[:, -max(1, curve.shape[1] // 10) :].mean(1)


def unless_diverged(values: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Values (seeds,), NaN for the seeds whose last loss is not finite; the loss is (seeds, points)."""
    return np.where(np.isfinite(loss[:, -1]), values, np.nan)


def last_tenth(metrics: Mapping[str, np.ndarray], part: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Means over the last tenth of training, (seeds,), of the named metrics that a part has; NaN if it diverged."""
    loss = metrics[f"{part}/loss"]
    present = [name for name in names if f"{part}/{name}" in metrics]
    return {name: unless_diverged(tail(metrics[f"{part}/{name}"]), loss) for name in present}


def near(part: str, other: str, statement: str, name: str, frozen: str, *, own: bool = False) -> Claim:
    """Claims that a part's mean "loss", say, is at most `FACTOR` times another's; trivial if `frozen`'s is, too."""

    def ratio(summary: Summary, of: str) -> float:
        return summary[f"{of}/{name}"] / summary[f"{other}/{name}"]

    return Claim(
        f"{part}-near-{other}",
        f"{statement} (ratio of {WORDS[name]}, at most {FACTOR:g})",
        None,
        lambda summary: (ratio(summary, part), ratio(summary, part) <= FACTOR),
        own=own,
        trivial=lambda summary: ratio(summary, frozen) <= FACTOR,
    )


def raster(axis: Any, x: np.ndarray, spikes: np.ndarray, colour: str, first: int = 0) -> None:
    """Draws spikes (S, n) as ticks, with a row for each neuron from `first` on."""
    rows = [x[row > 0] for row in spikes.T]
    axis.eventplot(rows, lineoffsets=np.arange(len(rows)) + first, linelengths=0.8, colors=colour, linewidths=0.8)
