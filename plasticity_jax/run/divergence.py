"""Lanes whose loss, weights or updates stop being finite: found in a program's state, and described in words."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from plasticity_jax.ops.leaves import leaf_names
from plasticity_jax.run.program import TrainingState
from plasticity_jax.typing import PyTree


class Divergence(NamedTuple):
    """A lane whose loss, weights or updates stopped being finite.

    Attributes:
      part: the name of the run.
      seed: index of the lane.
      step: the first step whose loss or update was not finite. For weights that are not finite, and for a skipped
        update, the last step of the point of metrics at the end of which this was found.
      loss: whether it was the loss; otherwise the loss was finite.
      weights: names of the weights that were not finite at the end of the point of metrics of that step.
      largest: name of the weight with the largest entry when everything was last finite, and that entry's magnitude;
        None if the lane diverged before the weights were first checked.
      recovered: whether the last loss, the last update and all weights are finite again, because the optimiser skipped
        the updates that were not.
      updates: names of the weights whose updates were not finite in that step, where the rule reports it (see
        `online_training`). If there are none, nor weights, and the loss was finite, the optimiser skipped an update.
    """

    part: str
    seed: int
    step: int
    loss: bool = True
    weights: tuple[str, ...] = ()
    largest: tuple[str, float] | None = None
    recovered: bool = False
    updates: tuple[str, ...] = ()


def divergences(state: PyTree, part: str = "") -> list[Divergence]:
    """The lanes that diverged.

    Args:
      state: a program's state with a leading lane axis; every `TrainingState` in it is checked. If a lane trains at
        several settings, the first setting that failed is reported.
      part: the name of the run.

    Returns:
      One entry for each such lane and `TrainingState`, by seed.
    """
    diverged = []
    for training in _training_states(state):
        step, loss, bad, size, alive, updates = (np.asarray(leaf) for leaf in training.health)
        names = leaf_names(training.learner.params)
        for seed in np.flatnonzero((step >= 0).reshape(len(step), -1).any(1)):
            steps = np.where(step[seed] >= 0, step[seed], np.iinfo(step.dtype).max)
            first = (seed, *np.unravel_index(steps.argmin(), steps.shape))  # among the settings of the lane
            largest = (names[size[first].argmax()], float(size[first].max())) if size[first].any() else None
            diverged.append(
                Divergence(
                    part=part,
                    seed=int(seed),
                    step=int(step[first]),
                    loss=bool(loss[first]),
                    weights=tuple(itertools.compress(names, bad[first])),
                    largest=largest,
                    recovered=bool(alive[seed].all()),
                    updates=tuple(itertools.compress(names, updates[first])),
                )
            )
    return sorted(diverged, key=lambda divergence: divergence.seed)


def divergence_message(divergence: Divergence) -> str:
    """A divergence in words, with its step, its weights and whether the lane recovered."""
    weights, updates, step = _listed(divergence.weights), _listed(divergence.updates), divergence.step
    well = "; all is finite again, and the lane goes on"
    if not (divergence.loss or updates or weights):
        skipped = f"the optimiser skipped an update that was not finite, at step {step} or shortly before"
        return skipped + (
            well if divergence.recovered else " and since, though loss and weights are finite; the others go on"
        )
    subject = f"the weights {weights} are"
    if divergence.loss or updates:
        subject = "the loss is" if divergence.loss else f"the updates of {updates} are"
    if divergence.recovered:
        return f"{subject} not finite at step {step}{well}"
    message = f"{subject} not finite from step {step} on"
    if divergence.loss or updates:
        message += f", nor are the weights {weights}" if weights else ", but all weights are"
    else:
        message += ", but the loss is"
    if divergence.largest:
        message += f" (the largest before: {divergence.largest[1]:.2g} in {divergence.largest[0]})"
    return f"{message}; the others go on"


def _training_states(state: PyTree) -> list[TrainingState]:
    def is_training(node: Any) -> bool:
        return isinstance(node, TrainingState)

    return [node for node in jax.tree.leaves(state, is_leaf=is_training) if is_training(node)]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if names[3:] else "")
