"""Common parts of the figures of Bredenberg et al. (2021): curves with their errors, and lettered panels."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from plasticity_jax.run import mean_sem


def with_errors(axis: Any, x: Any, columns: Iterable[np.ndarray], **style: Any) -> None:
    """Draws mean and standard error over the seeds that did not diverge, with a column (seeds,) for each x."""
    mean, error = np.array([mean_sem(column) for column in columns]).T
    axis.errorbar(x, mean, error, **{"ms": 4, "capsize": 2, "lw": 1.4, "fmt": "o-", **style})


def letter(axes: Iterable[Any], left: float, names: str = "abcdefgh") -> None:
    """Adds a grid and a letter to each panel, the letter at a distance `left` of the axis, in axis widths."""
    for axis, name in zip(axes, names, strict=False):
        axis.grid(alpha=0.2, lw=0.5)
        axis.text(-left, 1.03, name, transform=axis.transAxes, weight="bold", fontsize=13)
