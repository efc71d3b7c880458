"""Claims: sentences that are checked on a summary. Each of them holds, does not hold, or was not run."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from plasticity_jax.run.summary import mean_in, t_value

Summary = Mapping[str, float]


class Claim(NamedTuple):
    """A sentence that can be checked on a summary.

    Attributes:
      id: short name, unique in its experiment.
      statement: the sentence.
      paper: the paper's printed value, or None.
      measure: ``summary -> (measured, holds)``; holds is None if this run cannot decide it. If the summary lacks a
        number that it reads (KeyError), the claim was not run.
      own: whether the claim is the experiment's own, not the paper's.
      trivial: ``summary -> whether a trivial baseline meets the claim too``; None if there is no such baseline.
      why: the reason why it does not hold, as far as it is known, in a line; shown only if it does not hold. A mapping
        by preset, if the reasons differ.
    """

    id: str
    statement: str
    paper: float | str | None
    measure: Callable[[Summary], tuple[float, bool | None]]
    own: bool = False
    trivial: Callable[[Summary], bool] | None = None
    why: str | Mapping[str, str] = ""


def checked(claims: Sequence[Claim], summary: Summary, preset: str = "default") -> list[dict[str, Any]]:
    """Measures every claim on a summary.

    Args:
      claims: the claims to check.
      summary: numbers by name.
      preset: the preset of the run, which selects the reasons.

    Returns:
      A row for each claim: "id", "statement", "own", "paper", "measured", "holds", "trivial", "why". "holds" is True,
      False, or None if the claim was not run: the summary lacks a number that it reads, or `measure` cannot decide. If
      the measured value is NaN, the claim does not hold. "trivial" is True if a trivial baseline meets the claim too,
      and None if that is unknown.

    Example:
      >>> claims = [above("high", "It is high", None, "a", 1.0), above("b", "B is high", None, "b", 1.0)]
      >>> [(row["id"], row["measured"], row["holds"]) for row in checked(claims, {"a": 2.0})]
      [('high', 2.0, True), ('b', nan, None)]
    """
    return [_row(claim, summary, preset) for claim in claims]


def state(holds: bool | None) -> str:
    """The word for a row's "holds"."""
    return {True: "yes", False: "no", None: "not run"}[holds]


def gap(
    id: str,
    statement: str,
    paper: float | str | None,
    *names: str,
    **options: Any,
) -> Claim:
    """A claim that several paired differences are all above 0, each at 95 % by Student's t; measured is the least.

    Args:
      id: see `Claim`.
      statement: see `Claim`.
      paper: see `Claim`.
      names: names of the differences, which `put` has added to the summary. Fewer than two seeds decide nothing.
      options: ``own``, ``trivial`` and ``why`` of `Claim`.
    """

    def measure(summary: Summary) -> tuple[float, bool | None]:
        means = [mean_in(summary, name) for name in names]
        least = min(mean.value for mean in means)
        if any(mean.seeds < 2 and not math.isnan(mean.value) for mean in means):
            return least, None
        return least, all(mean.value > t_value(mean.seeds) * mean.sem for mean in means)

    return Claim(id, statement, paper, measure, **options)


def above(
    id: str,
    statement: str,
    paper: float | str | None,
    name: str,
    bound: float,
    **options: Any,
) -> Claim:
    """A claim that a number of the summary is greater than a bound; see `Claim` for the other arguments."""
    return Claim(id, statement, paper, lambda summary: (summary[name], summary[name] > bound), **options)


def below(
    id: str,
    statement: str,
    paper: float | str | None,
    name: str,
    bound: float,
    **options: Any,
) -> Claim:
    """A claim that a number of the summary is less than a bound; see `Claim` for the other arguments."""
    return Claim(id, statement, paper, lambda summary: (summary[name], summary[name] < bound), **options)


def within(
    id: str,
    statement: str,
    paper: float | str | None,
    name: str,
    low: float,
    high: float,
    **options: Any,
) -> Claim:
    """A claim that a number of the summary lies in an interval, ends included; see `Claim` for the other arguments."""
    return Claim(id, statement, paper, lambda summary: (summary[name], low <= summary[name] <= high), **options)


def _row(claim: Claim, summary: Summary, preset: str) -> dict[str, Any]:
    fault = ""
    why = claim.why if isinstance(claim.why, str) else claim.why.get(preset, "")
    try:
        measured, holds = claim.measure(summary)
        measured, holds = float(measured), None if holds is None else bool(holds) and not math.isnan(measured)
    except KeyError:
        measured, holds = math.nan, None
    except Exception as error:  # an error in this claim; the others are still checked
        fault = f"cannot be measured: {type(error).__name__}: {error}"
        measured, holds = math.nan, None
    try:
        trivial = None if claim.trivial is None or holds is None else bool(claim.trivial(summary))
    except Exception:
        trivial = None
    undecided = "this run cannot tell" if holds is None and not math.isnan(measured) else ""
    return {
        "id": claim.id,
        "statement": claim.statement,
        "own": claim.own,
        "paper": claim.paper,
        "measured": measured,
        "holds": holds,
        "trivial": trivial,
        "why": why if holds is False else fault or undecided,
    }
