"""Cells and rows of the tables in Markdown."""

from collections.abc import Iterable, Mapping

from plasticity_jax.run.summary import mean_in


def cell(summary: Mapping[str, float], name: str, seeds: int, digits: int = 3) -> str:
    """A mean over seeds with its standard error, and with the number of seeds if some of them diverged.

    Args:
      summary: with numbers added by `put`; a missing one becomes "-".
      name: of the number.
      seeds: of the run.
      digits: after the decimal point.
    """
    if name not in summary:
        return "-"
    mean = mean_in(summary, name)
    error = f" ± {mean.sem:.{digits}f}" if mean.seeds > 1 else ""
    lost = f" ({mean.seeds} of {seeds} seeds)" if mean.seeds < seeds else ""
    return f"{mean.value:.{digits}f}{error}{lost}"


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Rows under their heads, in Markdown."""
    heads = list(heads)
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
