"""Table 1 of Lindsey & Litwin-Kumar (2020) beside the paper's numbers, and errors in the course of meta-training."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lindsey2020.common import COLOURS, LABELS, ORDERS, WORDS, cell
from experiments.lindsey2020.table1_summary import METHODS, PAPER, final, part_of
from plasticity_jax.tasks.incremental_sines import no_lifetime_learning


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Table 1 in Markdown, with the paper's numbers beside ours."""
    lines = ["| learner | i.i.d. | paper | continual | paper |", "|---|---|---|---|---|"]
    for method in (*METHODS, "oml"):
        cells = []
        for order in ORDERS:
            printed = PAPER[order].get(method)
            cells += [cell(final(metrics, order, method), 4), "" if printed is None else f"{printed:g}"]
        lines.append(f"| {LABELS[method]} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Squared error on new functions, median over lives; standard error over seeds in brackets.",
    ]
    return "\n".join(lines)


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Errors on new functions in the course of meta-training, for both orders."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for axis, order in zip(axes, ORDERS, strict=True):
        for method in (*METHODS, "oml"):
            part = part_of(order, method)
            error, episode = np.asarray(metrics[f"{part}/median_{order}"]), np.asarray(metrics[f"{part}/episode"])[0]
            if method == "gradient_warm":  # its second half; the first is FLP's
                error, episode = error[:, error.shape[1] // 2 :], episode[len(episode) // 2 :]
            draw_logs(axis, episode, error, color=COLOURS[method], label=LABELS[method])
        axis.axhline(no_lifetime_learning(), color="0.6", lw=1, ls="--")
        axis.text(
            0.99,
            no_lifetime_learning() * 1.08,
            "best without learning in the life",
            ha="right",
            fontsize=8,
            color="0.4",
            transform=axis.get_yaxis_transform(),
        )
        axis.set(yscale="log", xlabel="meta-steps", title=WORDS[order])
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("squared error on new functions, median over lives")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside right center")
    return figure


def draw_logs(axis: Any, x: np.ndarray, errors: np.ndarray, **style: Any) -> None:
    """A line at the geometric mean over seeds, in a band of a standard error of the logs; errors (seeds, points)."""
    logs = np.log10(np.where(np.isfinite(errors), errors, np.nan))
    middle = np.nanmean(logs, 0)
    error = np.nanstd(logs, 0, ddof=1) / len(logs) ** 0.5 if len(logs) > 1 else 0 * middle
    (line,) = axis.plot(x, 10**middle, lw=1.6, **style)
    axis.fill_between(x, 10 ** (middle - error), 10 ** (middle + error), color=line.get_color(), alpha=0.2, lw=0)
