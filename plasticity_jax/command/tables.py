"""Claims and numbers as text, for the terminal and for records."""

from collections.abc import Mapping, Sequence
from typing import Any

from plasticity_jax.run.claims import state


def claims_table(rows: Sequence[Mapping[str, Any]], width: int = 60) -> str:
    """The claims as aligned text."""
    cells = [("claim", "statement", "of", "paper", "measured", "holds")]
    for row in rows:
        statement = row["statement"]
        short = statement if len(statement) <= width else statement[: width - 3].rstrip() + "..."
        whose = "ours" if row["own"] else "paper"
        cells.append((row["id"], short, whose, number(row["paper"]), number(row["measured"]), verdict(row)))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(cell.ljust(size) for cell, size in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def verdict(row: Mapping[str, Any]) -> str:
    """Returns whether a claim holds, in words, and whether a trivial baseline meets it too."""
    also = ", but so does a trivial baseline" if row["holds"] and row.get("trivial") else ""
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
    """The settings that differ from the preset's, in words, but for the seeds; nothing if none does."""
    rest = {key: value for key, value in sorted(meta.get("overrides", {}).items()) if key != "seeds"}
    return "changed: " + ", ".join(f"{key} {_plainly(value)}" for key, value in rest.items()) if rest else ""


def _plainly(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
