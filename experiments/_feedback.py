"""What the experiments of Lansdell, Prakash & Kording (2020) share: images, rates, training, names and colours.

Rates follow the authors' code, which descends the loss summed over a batch; the library's updates are means. A rate of
theirs times the size of a batch is therefore ours.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import Info, Learner, LearnerState
from plasticity_jax.data import load, looking_up, minibatches
from plasticity_jax.run import Claim, Program, online_training
from plasticity_jax.run.program import Metrics, TrainingState
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Batch, Example, Key, Params, PyTree

EPOCH = 1000
"""Steps, as the authors count them."""

COLOURS = {
    "bp": "#000000",
    "bp_tuned": "#7f7f7f",
    "bp_noise": "#b79f00",
    "bp_warm": "#8c564b",
    "adam": "#56b4e9",
    "fa": "#d55e00",
    "fa_tuned": "#f2a65a",
    "matching": "#009e73",
    "np": "#0072b2",
    "np_forget": "#cc79a7",
    "np_sgd": "#6a3d9a",
}
"""By method, the same in every figure; colours that the colour-blind tell apart (after Okabe and Ito)."""

LABELS = {
    "bp": "backpropagation",
    "bp_tuned": "backpropagation, tuned",
    "bp_noise": "backpropagation, noisy",
    "bp_warm": "backpropagation, warmed up",
    "adam": "Adam",
    "fa": "feedback alignment",
    "fa_tuned": "feedback alignment, tuned",
    "matching": "matching",
    "np": "node perturbation",
    "np_forget": "NP, forgetting ridge",
    "np_sgd": "NP, B by SGD",
}


class Images(NamedTuple):
    """Grey images on the device, flat, and their classes.

    Attributes:
      train: (N, pixels), uint8.
      train_label: (N,), int32.
      test: (M, pixels), uint8.
      test_label: (M,), int32.
    """

    train: Array
    train_label: Array
    test: Array
    test_label: Array


def images(data: str, pixels: int) -> Images:
    """A set by name.

    Args:
      data: "mnist", or "prototypes": ten random images under noise, which need no files.
      pixels: that an image must have.

    Raises:
      ValueError: if the set is not known, or its images are of another size.
      MissingData: if it is not on this machine.
    """
    if data == "prototypes":
        rng = np.random.default_rng(0)
        prototype = rng.random((10, pixels))
        label = rng.integers(0, 10, 1500).astype(np.int32)
        image = np.clip(prototype[label] + 0.3 * rng.standard_normal((1500, pixels)), 0, 1)
        image = (255 * image).astype(np.uint8)
        return Images(*map(jnp.asarray, (image[:1000], label[:1000], image[1000:], label[1000:])))
    if data != "mnist":
        raise ValueError(f"data={data!r} is not known; use 'mnist' or 'prototypes' (which needs no files)")
    train, test = load(data, "train"), load(data, "test")
    flat = [part["image"].reshape(len(part["image"]), -1) for part in (train, test)]
    if flat[0].shape[1] != pixels:
        raise ValueError(f"{data} has images of {flat[0].shape[1]} pixels, but the network takes {pixels}")
    return Images(*map(jnp.asarray, (flat[0], train["label"], flat[1], test["label"])))


def scaled(image: Array) -> Array:
    """uint8 to [0, 1], in JAX's default float."""
    return image.astype(jnp.zeros(()).dtype) / 255


def unfolded(data: PyTree) -> PyTree:
    """Arrays that the compiler takes for unknown, lest it spends its time on computing with a whole data set."""
    return jax.lax.optimization_barrier(data)


def two_rates(rate: float, feedback_rate: float) -> optax.GradientTransformation:
    """SGD, at one rate for the forward weights and another for the feedback."""
    rates = {"forward": optax.sgd(rate), "feedback": optax.sgd(feedback_rate)}
    return optax.partition(rates, {"forward": "forward", "feedback": "feedback"})


def training(
    examples: int,
    fetch: Callable[[Array], Example],
    learn: Learner,
    weights: Callable[[Key], Params],
    evaluate: Callable[[TrainingState], Metrics],
    *,
    batch: int,
    epochs: int,
    points: int,
    measure: Callable[[Info, Batch], Metrics] = lambda info, batch: {"loss": info.loss},
) -> Program:
    """Training on random batches, one chunk and one evaluation at a time.

    Args:
      examples: how many there are to draw from.
      fetch: ``indices -> Example``.
      learn: the learner.
      weights: ``key -> params``, the initial ones.
      evaluate: ``state -> metrics`` of the state that a chunk ends in; the epoch is added to them.
      batch: examples in a step.
      epochs: of 1,000 steps.
      points: chunks, and evaluations.
      measure: see `online_training`.

    Returns:
      A `Program` whose lane is a key, which alone decides on the initial weights and on the data.
    """

    def build(lane: Key) -> tuple[Learner, Stream]:
        return looking_up(learn, fetch), minibatches(examples, batch)

    def init(lane: Key, learn: Learner, stream: Stream) -> tuple[LearnerState, PyTree]:
        key_weights, key_stream, key_run = jax.random.split(lane, 3)
        return learn.init(weights(key_weights), key_run, jnp.zeros((batch,), jnp.int32)), stream.init(key_stream)

    steps = epochs * EPOCH
    program = online_training(build, init, steps=steps, every=steps // points, chunks=points, measure=measure)
    return evaluated(program, lambda state: {"epoch": state.learner.step / EPOCH, **evaluate(state)})


def evaluated(program: Program, evaluate: Callable[[PyTree], Metrics]) -> Program:
    """A program of one point a chunk, with metrics of the state that each chunk ends in."""
    if program.points != 1:
        raise ValueError(f"evaluated: a chunk must have one point, not {program.points}")

    def chunk(state: PyTree) -> tuple[PyTree, Metrics]:
        state, metrics = program.chunk(state)
        return state, {**metrics, **jax.tree.map(lambda value: value[None], dict(evaluate(state)))}

    return program._replace(chunk=chunk)


def check_schedule(epochs: int, points: int) -> None:
    """Refuses evaluations that do not fall on equal numbers of steps."""
    if epochs < 1 or points < 1 or epochs * EPOCH % points:
        raise ValueError(f"points={points} must divide the {epochs * EPOCH} steps of epochs={epochs}, both at least 1")


def draw(axis: Any, x: np.ndarray, curves: np.ndarray, **style: Any) -> Any:
    """A line at the mean over seeds, in a band of a standard error; curves are (seeds, points)."""
    mean = curves.mean(0)
    error = curves.std(0, ddof=1) / len(curves) ** 0.5 if len(curves) > 1 else 0 * mean
    (line,) = axis.plot(x, mean, lw=1.6, marker="o" if len(x) < 15 else None, ms=3, **style)
    axis.fill_between(x, mean - error, mean + error, color=line.get_color(), alpha=0.2, lw=0)
    return line


def gap_claim(name: str, statement: str, paper: float | str | None, *gaps: str) -> Claim:
    """Every one of these paired differences of the summary is above 0 by more than two standard errors.

    What is measured is the least of them.
    """

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        found = [(summary[gap], summary[f"{gap}_sem"]) for gap in gaps]
        return min(gap for gap, _ in found), all(gap > 2 * sem for gap, sem in found)

    return Claim(name, statement, paper, measure)
