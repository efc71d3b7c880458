"""Kinds of claims that the experiments of Lansdell, Prakash & Kording share beside those of the library."""

import fnmatch
import math
from collections.abc import Callable, Mapping

from plasticity_jax.run import Claim, t_value
from plasticity_jax.run.summary import mean_in

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
    """Claims that all numbers that the patterns name lie between two bounds, which are outside; measures the worst.

    The worst is the one nearest to leaving the bounds, or farthest outside; not a number, if one of them is not.

    Args:
      id: see `Claim`.
      statement: see `Claim`.
      paper: see `Claim`.
      low: bound.
      high: bound.
      patterns: names in the summary, with wild cards as in `fnmatch`. One that names nothing was not run.
      own: see `Claim`.
      trivial: see `Claim`.
    """

    def measure(summary: Summary) -> tuple[float, bool]:
        values = []
        for pattern in patterns:
            names = fnmatch.filter(summary, pattern)
            if not names:
                raise KeyError(pattern)
            values += [summary[name] for name in names]
        if any(map(math.isnan, values)):
            return math.nan, False
        worst = min(values, key=lambda value: min(value - low, high - value))
        return worst, low < worst < high

    return Claim(id, statement, paper, measure, own, trivial)


def surely(summary: Summary, sign: float, name: str, level: float = 0.0) -> bool:
    """Tells whether a mean over seeds is above a level (below it, if the sign is -1) at 95 %, by Student's t.

    Raises:
      KeyError: if the summary has no such number.
    """
    mean = mean_in(summary, name)
    return sign * (mean.value - level) > t_value(mean.seeds) * mean.sem
