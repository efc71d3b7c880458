"""Claims on several numbers within the same bounds, and the test of a trivial baseline by that of `gap`."""

import math
from collections.abc import Callable, Mapping

from plasticity_jax.run import Claim, gap

Summary = Mapping[str, float]


def all_within(
    id: str,
    statement: str,
    paper: float | str | None,
    low: float,
    high: float,
    *names: str,
    own: bool = False,
    trivial: Callable[[Summary], bool] | None = None,
) -> Claim:
    """Every one of these numbers lies in an interval, both ends included.

    Measured is the number nearest to a bound, or furthest beyond one; NaN if any of them is.

    Args:
      id: see `Claim`.
      statement: see `Claim`.
      paper: see `Claim`.
      low: least value.
      high: greatest value.
      names: of numbers in the summary.
      own: see `Claim`.
      trivial: see `Claim`.
    """

    def measure(summary: Summary) -> tuple[float, bool]:
        values = [summary[name] for name in names]
        if any(map(math.isnan, values)):
            return math.nan, False
        worst = min(values, key=lambda value: min(value - low, high - value))
        return worst, low <= worst <= high

    return Claim(id, statement, paper, measure, own, trivial)


def clear(*names: str) -> Callable[[Summary], bool]:
    """Whether every one of these paired differences is above 0, as `gap` tells it; to be a claim's `trivial`."""
    measure = gap("", "", None, *names).measure
    return lambda summary: measure(summary)[1] is True
