"""Figure 4 of Lansdell, Prakash & Kording (2020): its table and its panels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lansdell2019.common import COLOURS as FAMILY_COLOURS
from experiments.lansdell2019.common import panels, whole_seeds
from experiments.lansdell2019.fig4_claims import LAGS, STREAMS, TASKS, accuracy, finals, ran, tail
from experiments.shared.curves import mean_and_error
from plasticity_jax.run import mean_sem
from plasticity_jax.tasks.delayed_xor import DelayedXORBounds, delayed_xor_bounds

LABELS = {
    "bp": "BPTT",
    "np": "node perturbation, corrected",
    "legacy": "node perturbation, authors'",
    "fa": "feedback alignment, Glorot B",
    "fa_unfair": "feedback alignment, B ~ N(0, 1)",
    "none": "B = 0 (one step)",
    "readout": "readout alone",
}
COLOURS = {
    **{name: FAMILY_COLOURS[name] for name in ("bp", "np", "fa")},
    "legacy": "#cc79a7",
    "fa_unfair": "#f2a65a",
    "none": "#009e73",
    "readout": "#7f7f7f",
}
TITLES = {"short": "delays of the paper", "long": "longer delays"}


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Final losses, accuracies and angles in Markdown."""
    head = ["task", "method", "seeds", "loss", "right (%)", "best (%)"]
    rows = [[*head, *(f"angle, lag {lag}" for lag in range(1, LAGS + 1))], ["---"] * (len(head) + LAGS)]
    for task in TASKS:
        for method in ran(metrics, task):
            where = f"{task}.{method}"
            final = finals(metrics, where)
            cells = [whole_seeds(metrics[f"{where}/loss"]), "{:.2f} ± {:.2f}".format(*mean_sem(final["loss"]))]
            cells += ["{:.1f} ± {:.1f}".format(*mean_sem(100 * final[name])) for name in ("accuracy", "best_accuracy")]
            angles = [final.get(f"angle_{lag}") for lag in range(1, LAGS + 1)]
            cells += ["-" if angle is None else f"{mean_sem(angle)[0]:.0f}" for angle in angles]
            rows.append([task, LABELS[method], *cells])
    bounds = delayed_xor_bounds()
    floor = f"No loss is below {STREAMS * bounds.loss:.2f}, silence has {STREAMS * bounds.silent:.2f}; "
    ceiling = f"most that can be right {100 * bounds.accuracy:.1f} %."
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", floor + ceiling])


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Loss, accuracy and angle through training, and angles by lag at the end, a column for each task."""
    tasks = [task for task in TASKS if ran(metrics, task)]
    figure, axes, foot = panels(4, len(tasks), (5.4 * len(tasks), 14), 0.3)
    handles: dict[str, Any] = {}
    for column, task in zip(axes.T, tasks, strict=True):
        for method in ran(metrics, task):
            line = _draw_method(column, metrics, f"{task}.{method}", method)
            handles.setdefault(LABELS[method], line)
        _finish(column, task, delayed_xor_bounds())
    foot.legend(handles.values(), handles.keys(), loc="center", ncols=len(tasks), frameon=False)
    seeds = len(next(iter(metrics.values())))
    scale = "; ".join(f"{task}: {_windows(metrics, task):,} windows" for task in tasks)
    figure.suptitle(
        "Lansdell, Prakash & Kording (2020), Figure 4: delayed XOR with learned feedback\n"
        f"{scale} (the authors: 142,800 of the short task)\n"
        f"thick: mean of {seeds} seeds, thin: each seed, bars: standard error",
        fontsize=11,
    )
    return figure


def _windows(metrics: Mapping[str, np.ndarray], task: str) -> int:
    """The number of windows in the training on a task."""
    return int(metrics[f"{task}.{ran(metrics, task)[0]}/windows"][0, -1])


def _draw_method(column: Any, metrics: Mapping[str, np.ndarray], where: str, method: str) -> Any:
    """Draws a method's loss, accuracy, angle over training and angles by lag; returns a line for the legend."""
    style, colour = "--" if method in ("fa_unfair", "legacy", "readout") else "-", COLOURS[method]
    curves = [metrics[f"{where}/loss"], 100 * accuracy(metrics, where)]
    has_b = f"{where}/angles" in metrics
    curves += [metrics[f"{where}/angles"].mean(2)] if has_b else []
    x, line = metrics[f"{where}/windows"][0], None
    for axis, curve in zip(column[:3], curves, strict=False):
        (line,) = axis.plot(x, mean_and_error(curve)[0], style, color=colour, lw=2, label=LABELS[method])
        axis.plot(x, curve.T, style, color=colour, lw=0.6, alpha=0.5)
    if has_b:
        ends = mean_and_error(tail(metrics[f"{where}/angles"]).mean(1))
        column[3].errorbar(np.arange(LAGS) + 1, *ends, fmt=f"o{style}", color=colour, ms=4, lw=1.6, capsize=2)
    return line


def _finish(column: Any, task: str, bounds: DelayedXORBounds) -> None:
    """Draws the attainable levels with their names next to the axis, and labels the axes."""
    losses = {"least": STREAMS * bounds.loss, "silence": STREAMS * bounds.silent}
    if task == "short":
        losses |= {"paper: BPTT": 0.7, "paper: NP": 1.25}
    angles = {"90": 90.0}
    for axis, levels in zip(
        column, (losses, {"chance": 50, "ceiling": 100 * bounds.accuracy}, angles, angles), strict=True
    ):
        for name, level in levels.items():
            axis.axhline(level, color="0.5", ls=":", lw=1)
            axis.annotate(name, (1.01, level), xycoords=("axes fraction", "data"), color="0.3", fontsize=9, va="center")
    column[0].set(yscale="log", ylabel="loss (sum over 200 streams, per step)", title=TITLES[task], ylim=(0.2, 40))
    column[1].set(ylim=(45, 101), ylabel="right at response times (%)")
    column[2].set(ylim=(0, 120), ylabel="angle to true credit,\nmean over lags (degrees)")
    column[3].set(ylim=(0, 120), ylabel="the same at the end,\nby lag (degrees)", xlabel="steps back")
    for axis in column[:3]:
        axis.set_xlabel("windows")
        axis.ticklabel_format(axis="x", style="plain")
