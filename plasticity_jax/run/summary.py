"""Statistics over seeds: mean, standard error and number of seeds."""

from collections.abc import Mapping, MutableMapping
from typing import NamedTuple

import numpy as np
from scipy import stats


class Mean(NamedTuple):
    """A mean over seeds with its standard error.

    Attributes:
      value: the mean.
      sem: its standard error; NaN for fewer than two seeds.
      seeds: the number of seeds without those that diverged.
    """

    value: float
    sem: float
    seeds: int


def mean_sem(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error over seeds, without those that diverged; the error is NaN for fewer than two seeds.

    Args:
      values: one for each seed; a seed with a value that is not finite has diverged.

    Example:
      >>> mean_sem(np.array([1.0, 2.0, 3.0, np.nan]))
      (2.0, 0.577...)
    """
    finite = np.asarray(values, float)[np.isfinite(values)]
    if finite.size == 0:
        return float("nan"), float("nan")
    sem = finite.std(ddof=1) / finite.size**0.5 if finite.size > 1 else float("nan")
    return float(finite.mean()), float(sem)


def put(summary: MutableMapping[str, float], name: str, values: np.ndarray) -> None:
    """Adds a mean over seeds, its standard error and the number of seeds that did not diverge to a summary.

    Args:
      summary: gets the entries `name`, `name_sem` and `name_n`.
      name: name of the number.
      values: one for each seed.
    """
    summary[name], summary[f"{name}_sem"] = mean_sem(values)
    summary[f"{name}_n"] = int(np.isfinite(values).sum())


def mean_in(summary: Mapping[str, float], name: str) -> Mean:
    """A mean that `put` has added to a summary.

    If the summary has no `name_n`, every seed of the run (``summary["seeds"]``) counts.

    Raises:
      KeyError: if the summary has no such number.
    """
    count = summary.get(f"{name}_n", summary.get("seeds", 0))
    return Mean(summary[name], summary.get(f"{name}_sem", float("nan")), int(count))


def t_value(seeds: int, level: float = 0.95) -> float:
    """Standard errors that half a confidence interval of a mean spans, by Student's t.

    Args:
      seeds: n; t has n - 1 degrees of freedom.
      level: of the interval, two-sided.

    Returns:
      The quantile; NaN for fewer than two seeds.

    Example:
      >>> round(t_value(5), 2), round(t_value(20), 2)
      (2.78, 2.09)
    """
    return float(stats.t.ppf((1 + level) / 2, seeds - 1)) if seeds > 1 else float("nan")
