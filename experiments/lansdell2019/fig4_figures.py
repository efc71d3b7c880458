"""Figure 4 of Lansdell, Prakash & Kording (2019): its table and its panels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lansdell2019.common import COLOURS as FAMILY_COLOURS
from experiments.lansdell2019.common import whole_seeds
from experiments.lansdell2019.fig4_claims import LAGS, STREAMS, TASKS, accuracy, finals, tail
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
    for task, methods in TASKS.items():
        for method in methods:
            where = f"{task}.{method}"
            found = finals(metrics, where)
            cells = [whole_seeds(metrics[f"{where}/loss"]), "{:.2f} ± {:.2f}".format(*mean_sem(found["loss"]))]
            cells += ["{:.1f} ± {:.1f}".format(*mean_sem(100 * found[what])) for what in ("accuracy", "best_accuracy")]
            angles = [found.get(f"angle_{lag}") for lag in range(1, LAGS + 1)]
            cells += ["-" if angle is None else f"{mean_sem(angle)[0]:.0f}" for angle in angles]
            rows.append([task, LABELS[method], *cells])
    bounds = delayed_xor_bounds()
    floor = f"No loss is below {STREAMS * bounds.loss:.2f}, silence has {STREAMS * bounds.silent:.2f}; "
    ceiling = f"most that can be right {100 * bounds.accuracy:.1f} %."
    return "\n".join(["| " + " | ".join(row) + " |" for row in rows] + ["", floor + ceiling])


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Loss and accuracy in the course of training, and final angles by lag, on both tasks."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(13.5, 7.6), constrained_layout=True)
    for row, task in zip(axes, TASKS, strict=True):
        for method in TASKS[task]:
            _draw_method(row, metrics, f"{task}.{method}", method)
        _finish(row, TITLES[task], delayed_xor_bounds())
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    seeds = len(metrics["short.np/loss"])
    about = f"mean and standard error over {seeds} seeds; node perturbation begins with B alone"
    figure.suptitle(f"Lansdell, Prakash & Kording (2019), Figure 4: {about}")
    return figure


def _draw_method(row: Any, metrics: Mapping[str, np.ndarray], where: str, method: str) -> None:
    """Draws a method's loss, accuracy and angles."""
    style, colour = "--" if method in ("fa_unfair", "legacy", "readout") else "-", COLOURS[method]
    for axis, curve in zip(row[:2], (metrics[f"{where}/loss"], 100 * accuracy(metrics, where)), strict=True):
        mean, error = mean_and_error(curve)
        x = (np.arange(len(mean)) + 0.5) / len(mean)
        axis.plot(x, mean, style, color=colour, lw=1.6, label=LABELS[method])
        axis.fill_between(x, mean - error, mean + error, color=colour, alpha=0.2, lw=0)
    if f"{where}/angles" in metrics:
        ends = mean_and_error(tail(metrics[f"{where}/angles"]).mean(1))
        row[2].errorbar(np.arange(LAGS) + 1, *ends, fmt=f"o{style}", color=colour, ms=4, lw=1.6, capsize=2)


def _finish(row: Any, title: str, bounds: DelayedXORBounds) -> None:
    """Draws what can be reached, and labels the axes."""
    losses = {"bound": STREAMS * bounds.loss, "silence": STREAMS * bounds.silent}
    for axis, levels in ((row[0], losses), (row[1], {"chance": 50, "ceiling": 100 * bounds.accuracy})):
        for name, level in levels.items():
            axis.axhline(level, color="0.5", ls=":", lw=1)
            axis.annotate(name, (0.995, level), color="0.4", fontsize=8, ha="right", va="bottom")
        axis.set(xlim=(0, 1), xlabel="fraction of training")
    row[0].set(yscale="log", ylabel="loss (sum over 200 streams, per step)", title=f"Loss, {title}", ylim=(0.2, 40))
    row[1].set(ylim=(45, 100), ylabel="right at response times (%)", title=f"Accuracy, {title}")
    row[2].axhline(90, color="0.5", ls=":", lw=1)
    row[2].set(ylim=(0, 120), xlabel="steps that credit was carried back", ylabel="angle to true credit (degrees)")
    row[2].set_title(f"Angles at the end, {title}")
