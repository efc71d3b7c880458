"""Results of a comparison of rules as a table, as numbers and as a picture."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from plasticity_jax.diagnostics.comparison import Comparison
from plasticity_jax.run.summary import mean_sem
from plasticity_jax.typing import Array

_ROWS = {
    "cosine": "cosine of one update",
    "cosine_of_mean": "cosine of the mean",
    "norm_ratio": "length of the mean",
    "bias": "bias",
    "bias_error": "of it by chance",
    "spread": "spread",
    "snr": "signal-to-noise",
}


class ComparedRules(NamedTuple):
    """Results of a comparison at P points of training, in S seeds.

    Attributes:
      net: name of the network.
      task: name of the task.
      reference: name of the exact rule.
      points: steps of training before each comparison.
      steps: steps of the trajectory on which updates are compared.
      burn_in: steps before them.
      seeds: S.
      samples: draws of the noise of a stochastic rule.
      found: the `Comparison`, leaves (P, S, ...).
      loss: (P, S), the exact rule's mean loss over the last steps before each point; NaN at the start.
      refused: by name, the reason why a rule does not apply to the network; empty if the rules were chosen.
    """

    net: str
    task: str
    reference: str
    points: tuple[int, ...]
    steps: int
    burn_in: int
    seeds: int
    samples: int
    found: Comparison
    loss: np.ndarray
    refused: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the R rules, in the order of every axis R."""
        return tuple(self.found.names)


def comparison_summary(result: ComparedRules) -> dict[str, Any]:
    """Means and standard errors over seeds, by rule and point, as `plasticity_jax.run.record.write_json` takes them.

    Args:
      result: the result of `compare_rules`.

    Returns:
      The settings; "rules", for each rule and each number a list of ``{"mean", "sem"}``, one for each point;
      "alignment", a matrix of means for each point; and "refused".
    """
    settings = result._asdict()
    for name in ("found", "loss"):
        settings.pop(name)
    rules = {
        name: {
            row: [
                dict(zip(("mean", "sem"), _mean(getattr(result.found, row)[p, :, i]), strict=True))
                for p in range(len(result.points))
            ]
            for row in _ROWS
        }
        for i, name in enumerate(result.names)
    }
    alignment = [_matrix(result, p)[0] for p in range(len(result.points))]
    loss = [_mean(loss)[0] for loss in result.loss]
    return {**settings, "names": result.names, "loss": loss, "rules": rules, "alignment": alignment}


def comparison_table(result: ComparedRules) -> str:
    """Markdown: a table of rules for each point of training, the last alignment, and the rules that do not apply.

    Args:
      result: the result of `compare_rules`.
    """
    lines = [f"# {_title(result)}", ""]
    lines.append(
        f"Weights held; {result.steps} steps after a burn-in of {result.burn_in}; {result.samples} draws of the noise. "
        f"Mean ± standard error over seeds. "
        f"Cosines are with {result.reference}; lengths, bias and spread are relative to the length of its updates."
    )
    for p, point in enumerate(result.points):
        lines += ["", f"## After {point} steps of training"]
        if point:
            lines += ["", f"Loss of {result.reference}: {_mean_and_error(result.loss[p])}"]
        head = ["rule", *_ROWS.values()]
        cells = [
            [name, *(_mean_and_error(getattr(result.found, row)[p, :, i]) for row in _ROWS)]
            for i, name in enumerate(result.names)
        ]
        lines += ["", *_rows([head, *cells])]
    mean, _ = _matrix(result, -1)
    lines += [
        "",
        f"## Alignment after {result.points[-1]} steps: mean cosine of two rules' updates for the same step",
        "",
    ]
    body = [[name, *(_cosine(value) for value in row)] for name, row in zip(result.names, mean, strict=True)]
    lines += _rows([["", *result.names], *body])
    if result.refused:
        lines += ["", "## Rules that do not apply", ""]
        for reason in dict.fromkeys(result.refused.values()):
            names = [name for name, why in result.refused.items() if why == reason]
            lines.append(f"- {', '.join(names)}: {reason}")
    return "\n".join(lines)


def comparison_picture(result: ComparedRules) -> Any:
    """Draws the alignment as a heat map, bars for each rule, and, if there are several points, cosines over training.

    Args:
      result: the result of `compare_rules`.

    Returns:
      A matplotlib figure. Matrix and bars show the last point.
    """
    from matplotlib.figure import Figure

    count, several = len(result.names), len(result.points) > 1
    side = max(3.0, 0.5 * count)  # side of the matrix in inches
    lower = 0.3 * count + 1.4
    figure = Figure(figsize=(side + 10.0, side + 2.4 + lower), layout="constrained")
    last = f"after {result.points[-1]} steps of training"
    figure.suptitle(f"{_title(result)}\nmatrix and bars {last}; {_error_bars(result)}")
    parts: Any = figure.subfigures(2, 1, height_ratios=[side + 1.6, lower])
    upper, below = parts
    left, right = upper.subplots(1, 2, width_ratios=[side + 1.0, 5.5])
    if several:
        _draw_training(result, right)
    else:
        right.axis("off")
    _draw_alignment(result, left)
    cosine, bias, snr = below.subplots(1, 3, sharey=True)
    _draw_bars(result, cosine, "cosine", f"cosine with {result.reference}\nbar: one update; diamond: mean of draws")
    cosine.plot(_over_seeds(result.found.cosine_of_mean[-1])[0], np.arange(count), "D", color="black", ms=4)
    cosine.axvline(0, color="black", lw=0.6)
    _draw_bars(result, bias, "bias", "bias, relative\nblack line: what chance explains")
    chance, places = _over_seeds(result.found.bias_error[-1])[0], np.arange(count)
    bias.vlines(chance[chance > 0], places[chance > 0] - 0.4, places[chance > 0] + 0.4, color="black", lw=2)
    mean = _draw_bars(result, snr, "snr", "signal-to-noise of one update\nalong the exact one, as powers")
    positive = mean[np.isfinite(mean) & (mean > 0)]
    if positive.size:
        snr.set_xscale("log")
        snr.set_xlim(10 ** (np.floor(np.log10(positive.min())) - 0.5), 10 ** np.ceil(np.log10(positive.max()) + 0.3))
        snr.xaxis.set_minor_formatter("")
    else:
        snr.set_xticks([])
    for place in places[np.isinf(mean)]:
        snr.text(0.02, place, "no noise", va="center", fontsize=8, transform=snr.get_yaxis_transform())
    return figure


def _draw_alignment(result: ComparedRules, axis: Any) -> None:
    names, count = result.names, len(result.names)
    mean, _ = _matrix(result, -1)
    image = axis.imshow(mean, vmin=-1, vmax=1, cmap="RdBu_r")
    for i, row in enumerate(mean):
        for j, value in enumerate(row):
            colour = "white" if abs(value) > 0.6 else "black"
            axis.text(j, i, _cosine(value), ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(count), names)
    axis.set_title("alignment: mean cosine of two rules' updates for the same step", fontsize=10)
    axis.figure.colorbar(image, ax=axis, shrink=0.7)


def _draw_training(result: ComparedRules, axis: Any) -> None:
    for i, name in enumerate(result.names):
        mean, sem = _over_seeds(result.found.cosine[:, :, i].T)
        axis.errorbar(result.points, mean, np.nan_to_num(sem), fmt="o-", color=_colour(i), ms=4, capsize=2, label=name)
    axis.set(xlabel=f"steps of training by {result.reference}", ylabel=f"cosine of one update with {result.reference}")
    axis.axhline(0, color="black", lw=0.6)
    axis.set_title("along training", fontsize=10)
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)


def _draw_bars(result: ComparedRules, axis: Any, row: str, title: str) -> np.ndarray:
    """Draws one number of every rule at the last point, and returns its means (R,)."""
    mean, sem = _over_seeds(getattr(result.found, row)[-1])
    finite = np.isfinite(mean)
    places = np.arange(len(mean))
    colours = [_colour(i) for i in places[finite]]
    errors = np.nan_to_num(sem)[finite] if result.seeds > 1 else None
    axis.barh(places[finite], mean[finite], xerr=errors, color=colours, capsize=2)
    axis.set_yticks(places, result.names)
    axis.set_ylim(len(mean) - 0.5, -0.5)
    axis.set_title(title, fontsize=10)
    return mean


def _title(result: ComparedRules) -> str:
    seeds = "1 seed" if result.seeds == 1 else f"{result.seeds} seeds"
    return f"{result.net} on {result.task}: {len(result.names)} rules, {result.steps} steps, {seeds}"


def _error_bars(result: ComparedRules) -> str:
    """Meaning of the error bars, in words."""
    return "one seed, no error bars" if result.seeds == 1 else "error bars: ± standard error over seeds"


def _colour(i: int) -> Any:
    from matplotlib import colormaps

    return colormaps["tab20"](i % 20)


def _mean(values: np.ndarray | Array) -> tuple[float, float]:
    """Mean and standard error over seeds (S,); the mean is infinite if all seeds are."""
    values = np.asarray(values, float)
    return (np.inf, np.nan) if np.isposinf(values).all() else mean_sem(values)


def _over_seeds(values: np.ndarray | Array) -> tuple[np.ndarray, np.ndarray]:
    """Means and standard errors (R,) of values (S, R)."""
    mean, sem = np.array([_mean(column) for column in np.asarray(values).T]).T
    return mean, sem


def _matrix(result: ComparedRules, p: int) -> tuple[np.ndarray, np.ndarray]:
    """The alignment's means and standard errors (R, R) at a point."""
    count = len(result.names)
    mean, sem = _over_seeds(result.found.alignment[p].reshape(result.seeds, -1))
    return mean.reshape(count, count), sem.reshape(count, count)


def _mean_and_error(values: np.ndarray | Array) -> str:
    mean, sem = _mean(values)
    return f"{_number(mean)} ± {_number(sem, mean)}" if np.isfinite(sem) and sem > 0 else _number(mean)


def _number(value: float, like: float | None = None) -> str:
    """About three digits of a number; an error has the format of its mean, `like`."""
    size = abs(value if like is None else like)
    if np.isnan(value):
        return "–"
    if np.isinf(value):
        return "no noise"
    if size == 0:
        return "0"
    if not 0.001 <= size < 1000:
        return f"{value:.1e}"
    return f"{value:.3f}" if size < 0.1 else f"{value:.2f}"


def _cosine(value: float) -> str:
    return "–" if np.isnan(value) else f"{round(value, 2) + 0.0:.2f}"


def _rows(cells: Sequence[Sequence[str]]) -> list[str]:
    """Rows of a Markdown table with every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
