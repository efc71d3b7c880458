"""Kinds of claims that the experiments of Bredenberg et al. (2021) share beside those of the library."""

import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping

from plasticity_jax.run import Claim, t_value
from plasticity_jax.run.summary import Mean, mean_in

Summary = Mapping[str, float]
INF = math.inf


def every(
    id: str,
    statement: str,
    paper: float | str | None,
    low: float,
    high: float,
    *patterns: str,
    own: bool = False,
    trivial: Callable[[Summary], bool] | None = None,
) -> Claim:
    """All numbers that the patterns name lie between two bounds, which are outside; measured is the worst of them.

    Args:
      id: see `Claim`.
      statement: see `Claim`.
      paper: see `Claim`.
      low: bound.
      high: bound.
      patterns: see `named`.
      own: see `Claim`.
      trivial: see `Claim`.
    """

    def measure(summary: Summary) -> tuple[float, bool]:
        measured = worst((summary[name] for name in named(summary, *patterns)), low, high)
        return measured, low < measured < high

    return Claim(id, statement, paper, measure, own, trivial)


def surely(
    id: str,
    statement: str,
    paper: float | str | None,
    low: float,
    high: float,
    *patterns: str,
    own: bool = False,
    trivial: Callable[[Summary], bool] | None = None,
) -> Claim:
    """All means over seeds that the patterns name lie between two bounds, each at 95 %: see `every` and `inside`."""

    def measure(summary: Summary) -> tuple[float, bool | None]:
        means = [mean_in(summary, name) for name in named(summary, *patterns)]
        told = [inside(mean, low, high) for mean in means]
        return worst((mean.value for mean in means), low, high), None if None in told else all(told)

    return Claim(id, statement, paper, measure, own, trivial)


def named(summary: Summary, *patterns: str) -> list[str]:
    """Numbers of a summary whose names match a pattern, with wild cards as in `fnmatch`.

    Raises:
      KeyError: if a pattern matches nothing: that was not run.
    """
    found = []
    for pattern in patterns:
        matches = fnmatch.filter(summary, pattern)
        if not matches:
            raise KeyError(pattern)
        found += matches
    return found


def inside(mean: Mean, low: float, high: float) -> bool | None:
    """Whether the 95 % interval of a mean, by Student's t, lies between two bounds; None of a single seed."""
    if mean.seeds == 1:
        return None
    half = t_value(mean.seeds) * mean.sem
    return mean.value - half > low and mean.value + half < high


def worst(values: Iterable[float], low: float, high: float) -> float:
    """The value nearest to leaving the bounds, or farthest outside; not a number, if one of them is not."""
    values = list(values)
    if any(map(math.isnan, values)):
        return math.nan
    return min(values, key=lambda value: min(value - low, high - value))
