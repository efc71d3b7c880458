"""Claims and numbers as text, for the terminal and for records."""

from collections.abc import Mapping, Sequence
from typing import Any

from plasticity_jax.run.claims import state
from plasticity_jax.run.experiment import Arrays, curves_of
from plasticity_jax.run.summary import put

TRIVIAL = "but a trivial baseline meets it too"
"""Note on a claim that holds of a baseline without learning as well."""

MOST_NUMBERS = 20
"""Most rows of the table of numbers."""


def claims_table(rows: Sequence[Mapping[str, Any]], width: int = 60) -> str:
    """The claims as aligned text."""
    cells = [("claim", "statement", "of", "paper", "measured", "holds")]
    for row in rows:
        statement = row["statement"]
        short = statement if len(statement) <= width else statement[: width - 3].rstrip() + "..."
        whose = "ours" if row["own"] else "paper"
        cells.append((row["id"], short, whose, number(row["paper"]), number(row["measured"]), verdict(row)))
    return _aligned(cells)


def numbers_table(summary: Mapping[str, Any], metrics: Arrays) -> str:
    """A run's numbers as aligned text, for an experiment without claims.

    Args:
      summary: numbers by name, the number of "seeds" among them.
      metrics: arrays (seeds, points, ...) by name; if the summary has no numbers, the curves' last points are shown.

    Returns:
      A row for each number, with its standard error over seeds; empty if there are no numbers.
    """
    seeds, kind = summary["seeds"], "number"
    if not main_names(summary):
        summary, kind = {}, "last value"
        for name, values in curves_of(metrics).items():
            put(summary, name, values[:, -1])
    summary = {name: value for name, value in summary.items() if not name.endswith("_sem") or value == value}
    names = main_names(summary)
    if not names:
        return ""
    cells = [(kind, f"mean ± standard error over {seeds} seeds" if seeds > 1 else "one seed")]
    cells += [(name, mean_and_error(summary, name, seeds)) for name in names[:MOST_NUMBERS]]
    more = f"\nand {len(names) - MOST_NUMBERS} more" if len(names) > MOST_NUMBERS else ""
    return _aligned(cells) + more


def main_names(summary: Mapping[str, Any]) -> list[str]:
    """Names of a summary's numbers, without their standard errors and their numbers of seeds."""
    ends = ("_sem", "_n")
    belong = {key for key in summary if any(key.endswith(end) and key.removesuffix(end) in summary for end in ends)}
    return [key for key in summary if key not in belong and key != "seeds"]


def mean_and_error(summary: Mapping[str, Any], name: str, seeds: int | None) -> str:
    """A number of a summary with its standard error, and the number of its seeds if some of them diverged."""
    error = f" ± {number(summary[f'{name}_sem'])}" if f"{name}_sem" in summary else ""
    count = summary.get(f"{name}_n", seeds)
    lost = f" ({count} of {seeds} seeds)" if isinstance(seeds, int) and count is not None and count < seeds else ""
    return f"{number(summary[name])}{error}{lost}"


def verdict(row: Mapping[str, Any]) -> str:
    """Verdict on a claim, in words, with a note if a trivial baseline meets it too."""
    also = f", {TRIVIAL}" if row["holds"] and row.get("trivial") else ""
    return ("NO" if row["holds"] is False else state(row["holds"])) + also


def counts(rows: Sequence[Mapping[str, Any]]) -> str:
    """A sentence on the number of claims that hold."""
    held = sum(row["holds"] is True for row in rows)
    not_run = sum(row["holds"] is None for row in rows)
    return f"{held} of {len(rows) - not_run} claims hold" + (f", {not_run} not run" if not_run else "")


def number(value: Any) -> str:
    """Four digits of a number; "-" for none."""
    if value is None or value != value:
        return "-"
    return f"{value:.4g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def changed(meta: Mapping[str, Any]) -> str:
    """The settings that differ from the preset's, except the seeds, in words; empty if none differs."""
    rest = {key: value for key, value in sorted(meta.get("overrides", {}).items()) if key != "seeds"}
    return "changed: " + ", ".join(f"{key} {_plainly(value)}" for key, value in rest.items()) if rest else ""


def _aligned(cells: Sequence[Sequence[str]]) -> str:
    """Rows of cells with columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(size) for cell, size in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _plainly(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
