"""Rates, training on images, ranges of settings, names and colours of the experiments of Lansdell et al. (2020).

Rates follow the authors' code, which descends the loss summed over a batch. The library's updates are means, so our
rate is theirs times the batch size.
"""

from collections.abc import Callable, Hashable
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import Info, Learner, LearnerState
from plasticity_jax.data import looking_up, minibatches
from plasticity_jax.run import Program, Range, evaluated, online_training
from plasticity_jax.run.program import Metrics, TrainingState
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Batch, Example, Key, Params, PyTree

EPOCH = 1000
"""Steps in an epoch, as the authors count them."""

Positive: TypeAlias = Annotated[float, Range(1e-30)]
"""A number above 0, such as the size of the noise, by which its effect is divided."""

Share: TypeAlias = Annotated[float, Range(1e-30, 1.0)]
"""A number in (0, 1]."""

Steps: TypeAlias = Annotated[int, Range(0, 2**31 - 1)]
"""A number of steps that may be 0."""

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
    "np_held": "#b79f00",
    "np_sgd": "#6a3d9a",
}
"""By method, the same in every figure; colours that colour-blind readers can distinguish (after Okabe and Ito)."""

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
    "np_held": "NP, c = 0.01, W held",
    "np_sgd": "NP, B by SGD",
}


def two_rates(rate: float, feedback_rate: float) -> optax.GradientTransformation:
    """SGD, at one rate for the forward weights and another for the feedback."""
    rates: dict[Hashable, optax.GradientTransformation] = {
        "forward": optax.sgd(rate),
        "feedback": optax.sgd(feedback_rate),
    }
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
      examples: number of examples to draw from.
      fetch: ``indices -> Example``.
      learn: the learner.
      weights: ``key -> initial params``.
      evaluate: ``state -> metrics`` for the state at the end of a chunk; the epoch is added to them.
      batch: examples in a step.
      epochs: of 1,000 steps.
      points: number of chunks, with an evaluation at the end of each.
      measure: see `online_training`.

    Returns:
      A `Program` whose lane is a key, which alone determines the initial weights and the data.
    """

    def build(lane: Key) -> tuple[Learner, Stream]:
        return looking_up(learn, fetch), minibatches(examples, batch)

    def init(lane: Key, learn: Learner, stream: Stream) -> tuple[LearnerState, PyTree]:
        key_weights, key_stream, key_run = jax.random.split(lane, 3)
        return learn.init(weights(key_weights), key_run, jnp.zeros((batch,), jnp.int32)), stream.init(key_stream)

    steps = epochs * EPOCH
    program = online_training(build, init, steps=steps, every=steps // points, chunks=points, measure=measure)
    return evaluated(program, lambda state: {"epoch": state.learner.step / EPOCH, **evaluate(state)})


def check_schedule(epochs: int, points: int) -> None:
    """Refuses evaluations that are not evenly spaced in steps.

    Raises:
      ValueError: if the points do not divide the steps.
    """
    if points < 1 or epochs * EPOCH % points:
        raise ValueError(f"points={points} must divide the {epochs * EPOCH} steps of epochs={epochs}")


def panels(rows: int, columns: int, size: tuple[float, float], key: float) -> tuple[Any, np.ndarray, Any]:
    """A figure, its panels (rows, columns), and an axis below them for the legend, `key` of a panel high."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=size, constrained_layout=True)
    grid = figure.add_gridspec(rows + 1, columns, height_ratios=[1.0] * rows + [key])
    axes = np.array([[figure.add_subplot(grid[i, j]) for j in range(columns)] for i in range(rows)])
    foot = figure.add_subplot(grid[-1, :])
    foot.set_axis_off()
    return figure, axes, foot


def unless_diverged(values: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Values (seeds,), NaN for the seeds whose last loss is not finite; the loss is (seeds, points).

    A count, such as the number of errors, stays finite even where the weights are not.
    """
    return np.where(np.isfinite(loss[:, -1]), values, np.nan)


def whole_seeds(loss: np.ndarray) -> str:
    """The number of seeds that have not diverged, for a table, as "3 of 4"; the loss is (seeds, points)."""
    return f"{np.isfinite(loss[:, -1]).sum()} of {len(loss)}"
