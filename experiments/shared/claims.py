"""Claims on several numbers at once, in addition to those of the library, and their building blocks."""

import fnmatch
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from plasticity_jax.run import Claim, gap, t_value
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
    **options: Any,
) -> Claim:
    """All numbers that the patterns name lie strictly between two bounds; measured is the worst of them.

    Args:
      id: see `Claim`.
      statement: see `Claim`.
      paper: see `Claim`.
      low: bound.
      high: bound.
      patterns: see `named`.
      options: ``own`` and ``trivial`` of `Claim`.
    """

    def measure(summary: Summary) -> tuple[float, bool]:
        measured = worst((summary[name] for name in named(summary, *patterns)), low, high)
        return measured, low < measured < high

    return Claim(id, statement, paper, measure, **options)


def surely(
    id: str,
    statement: str,
    paper: float | str | None,
    low: float,
    high: float,
    *patterns: str,
    **options: Any,
) -> Claim:
    """All means over seeds that the patterns name lie between two bounds, each at 95 %; see `every` and `inside`."""

    def measure(summary: Summary) -> tuple[float, bool | None]:
        means = [mean_in(summary, name) for name in named(summary, *patterns)]
        verdicts = [inside(mean, low, high) for mean in means]
        return worst((mean.value for mean in means), low, high), None if None in verdicts else all(verdicts)

    return Claim(id, statement, paper, measure, **options)


def all_within(
    id: str,
    statement: str,
    paper: float | str | None,
    low: float,
    high: float,
    *names: str,
    **options: Any,
) -> Claim:
    """All of these numbers lie in a closed interval; measured is the worst of them. See `every`."""

    def measure(summary: Summary) -> tuple[float, bool]:
        measured = worst((summary[name] for name in names), low, high)
        return measured, low <= measured <= high

    return Claim(id, statement, paper, measure, **options)


def explained(claims: Sequence[Claim], why: Mapping[str, str | Mapping[str, str]]) -> list[Claim]:
    """The same claims, with reasons why some do not hold.

    Args:
      claims: an experiment's.
      why: reasons by the claims' ids, see `Claim`; a plain text is the default preset's reason.

    Raises:
      ValueError: if no claim has one of these ids.
    """
    if unknown := sorted(why.keys() - {claim.id for claim in claims}):
        raise ValueError(f"why must name claims that there are, and there is no {', no '.join(unknown)}")
    reasons = {id: {"default": text} if isinstance(text, str) else text for id, text in why.items()}
    return [claim._replace(why=reasons.get(claim.id, claim.why)) for claim in claims]


def throughout(text: str) -> dict[str, str]:
    """The same reason at the papers' scale and below it."""
    return dict.fromkeys(("default", "long", "wide", "paper"), text)


def clear(*names: str) -> Callable[[Summary], bool]:
    """Returns a check that each of these paired differences is above 0 by `gap`'s test, for a claim's `trivial`."""
    measure = gap("", "", None, *names).measure
    return lambda summary: measure(summary)[1] is True


def beyond(summary: Summary, sign: float, name: str, level: float = 0.0) -> bool:
    """Returns whether a mean over seeds is above a level (below it, if the sign is -1) at 95 %, by Student's t.

    Raises:
      KeyError: if the summary has no such number.
    """
    mean = mean_in(summary, name)
    return sign * (mean.value - level) > t_value(mean.seeds) * mean.sem


def named(summary: Summary, *patterns: str) -> list[str]:
    """Numbers of a summary whose names match a pattern, with wild cards as in `fnmatch`.

    Raises:
      KeyError: if a pattern matches nothing, since that part was not run.
    """
    names = []
    for pattern in patterns:
        matches = fnmatch.filter(summary, pattern)
        if not matches:
            raise KeyError(pattern)
        names += matches
    return names


def inside(mean: Mean, low: float, high: float) -> bool | None:
    """Returns whether the 95 % interval of a mean, by Student's t, lies between two bounds; None for a single seed."""
    if mean.seeds == 1:
        return None
    half = t_value(mean.seeds) * mean.sem
    return mean.value - half > low and mean.value + half < high


def worst(values: Iterable[float], low: float, high: float) -> float:
    """The value farthest outside the bounds, or the nearest to one if all are inside; NaN if any value is NaN."""
    values = list(values)
    if any(map(math.isnan, values)):
        return math.nan
    return min(values, key=lambda value: min(value - low, high - value))
