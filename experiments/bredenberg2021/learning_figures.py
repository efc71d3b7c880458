"""Figures 1, 2d and 3: impression learning and its rivals on the artificial stimuli."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.bredenberg2021.common import COLOURS, LABELS
from experiments.bredenberg2021.drawing import letter
from experiments.bredenberg2021.learning_standard_figures import plot_learning, plot_trained, title
from experiments.bredenberg2021.learning_summary import final, ran, tasks_of
from experiments.shared.curves import draw
from plasticity_jax.tasks.ou_mixture import ou_moments

Metrics = Mapping[str, np.ndarray]

DIMENSION_STEPS, PHASE_STEPS = 3_600_000, 1_000_000
"""The paper's numbers of steps."""
BEHIND = {"untrained": {"lw": 6, "alpha": 0.4}, "published": {"ls": (0, (2, 3)), "lw": 2.4}}
"""Styles of lines that lie behind others."""


def figures(metrics: Metrics) -> dict[str, Any]:
    """The figures that were run, by name: 1 (standard task), 2d (dimensions and rates) and 3 (phases)."""
    plots = {}
    tasks = tasks_of(metrics)
    if ran(metrics, "standard", "untrained"):
        plots["bredenberg2021_learning_fig1"] = plot_learning(metrics)
    if ran(metrics, "standard", "untrained", "il"):
        plots["bredenberg2021_learning_fig1_trained"] = plot_trained(metrics)
    if ran(metrics, "rates", "untrained"):
        plots["bredenberg2021_learning_fig2d"] = _plot_dimensions(metrics)
    if ran(metrics, "rates", "untrained", "nvi"):
        plots["bredenberg2021_learning_nvi"] = _plot_nvi(metrics)
    if any(task.startswith("K") for task in tasks):
        plots["bredenberg2021_learning_fig3"] = _plot_phases(metrics)
    return plots


def ticks(lowest: float) -> list[float]:
    """Ticks of a loss axis that is linear between -10 and 10, with negative ones only if the loss is negative."""
    below = [] if lowest >= 0 else [-10] if lowest >= -10 else [-100, -10] if lowest >= -100 else [-1000, -100, -10]
    return [*below, 0, 10, 100, 1000, 10_000]


def _loss_axis(axis: Any, lowest: float) -> None:
    axis.set_yscale("symlog", linthresh=10)
    places = ticks(lowest)
    axis.set_yticks(places, [f"{place:,.0f}" for place in places])
    axis.set_ylim(places[0] - (1 if places[0] == 0 else 0), 30_000)
    axis.axhspan(-10, 10, color="0.93", zorder=0)


def _plot_dimensions(metrics: Metrics) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(9, 10.4), constrained_layout=True)
    dims = sorted(int(task[1:]) for task in tasks_of(metrics) if task.startswith("d"))
    lowest = 0.0
    for method in ("untrained", "published", "nvi", "il", "bp"):
        if not all(ran(metrics, f"d{d}", method) for d in dims):
            continue
        ends = np.stack([final(metrics, f"d{d}", method, "wake") for d in dims], 1)
        words = f"{LABELS[method]}, at the authors' rate" if method == "published" else LABELS[method]
        drawn = draw(axes[0], np.array(dims), ends, color=COLOURS[method], label=words)
        drawn.set(**BEHIND.get(method, {}))
        lowest = min(lowest, float(np.nanmin(ends.mean(0))))
    axes[0].set_xscale("log", base=2)
    axes[0].set_xticks(dims, [str(d) for d in dims])
    _loss_axis(axes[0], lowest)
    axes[0].set(xlabel="latents d, behind 2 d inputs", ylabel="loss awake per step (authors' units)")
    axes[0].set_title("After training; NVI* at its best rate (grey band: linear from -10 to 10)")

    start = final(metrics, "rates", "untrained", "alternating").mean()
    axes[1].axhline(start, color=COLOURS["untrained"], ls="--", lw=1.6, label="untrained")
    for method in ("il", "nvi"):
        if ran(metrics, "rates", method):
            _rates(axes[1], metrics, method)
    axes[1].set(xscale="log", yscale="log", xlabel="learning rate", ylabel="loss with phases per step (authors' units)")
    axes[1].set_ylim(start / 20, start * 40)
    rates = np.concatenate([np.asarray(metrics[n])[0, -1] for n in metrics if n in ("rates.il/rate", "rates.nvi/rate")])
    axes[1].set_xlim(rates.min() / 2, rates.max() * 2)
    axes[1].set_title("2 latents: each seed at each rate; above, how many of the seeds diverged")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    letter(axes, 0.11)
    steps = max(int(np.max(metrics[name])) for name in metrics if name.startswith("rates") and name.endswith("/step"))
    title(figure, metrics, "Figure 2d", steps, DIMENSION_STEPS)
    return figure


def _rates(axis: Any, metrics: Metrics, method: str) -> None:
    """Draws every seed that did not diverge, the mean at rates where none did, and the counts of those that did."""
    rates, losses = (np.asarray(metrics[f"rates.{method}/{name}"])[:, -1] for name in ("rate", "alternating"))
    whole = np.isfinite(losses).all(0)
    for row in losses:
        axis.plot(rates[0], row, "o", mfc="none", color=COLOURS[method], ms=5, alpha=0.7, lw=0)
    axis.plot(rates[0][whole], losses[:, whole].mean(0), color=COLOURS[method], lw=1.7, label=LABELS[method])
    for i, (rate, column) in enumerate(zip(rates[0][~whole], losses[:, ~whole].T, strict=True)):
        words = f"{(~np.isfinite(column)).sum()}/{len(column)}"
        height = 0.98 - 0.05 * (i % 2)  # neighbours may be close
        where = {"ha": "center", "va": "top", "transform": axis.get_xaxis_transform()}
        axis.text(rate, height, words, color=COLOURS[method], **where)


def _plot_nvi(metrics: Metrics) -> Any:
    """Loss and transitions of NVI* with 2 latents, seed by seed."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), constrained_layout=True)
    rates = np.asarray(metrics["rates.nvi/rate"])[0, -1]
    steps = np.r_[0, np.asarray(metrics["rates.nvi/step"])[0, :, -1]] / 1000
    finite = np.isfinite(np.asarray(metrics["rates.nvi/alternating"])[:, -1])
    columns = [i for i in range(len(rates)) if finite[:, i].any()]
    for i, colour in zip(columns, plt.get_cmap("viridis")(np.linspace(0, 0.85, len(columns))), strict=True):
        words = f"rate {rates[i]:.0e}" + ("" if finite[:, i].all() else f", {(~finite[:, i]).sum()} diverged")
        for axis, name in zip(axes, ("alternating", "transition"), strict=True):
            start = final(metrics, "rates", "untrained", name)
            lines = axis.plot(
                steps, np.c_[start, np.asarray(metrics[f"rates.nvi/{name}"])[:, :, i]].T, color=colour, lw=1.3
            )
            lines[0].set_label(words)
    axes[0].set(xlabel="training (1000 steps)", ylabel="loss per step (authors' units)", yscale="log")
    axes[0].set_title("Loss with phases of 2")
    axes[1].axhline(float(ou_moments(0.1).decay), color="0.35", lw=1, ls="--")
    axes[1].annotate("dashes: the latents' 0.975", (0.99, 0.03), xycoords="axes fraction", ha="right", va="bottom")
    axes[1].set(xlabel="training (1000 steps)", ylabel="mean of $D_r$", ylim=(-1, 1.6), title="Transition weights")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    letter(axes, 0.14)
    title(figure, metrics, "NVI* with 2 latents, each line a seed", int(steps[-1] * 1000), DIMENSION_STEPS, bands=False)
    return figure


def _plot_phases(metrics: Metrics) -> Any:
    import matplotlib.pyplot as plt

    phases = sorted(int(task[1:]) for task in tasks_of(metrics) if task.startswith("K"))
    figure = plt.figure(figsize=(10, 12.4), constrained_layout=True)
    grid = figure.add_gridspec(4, 2, height_ratios=(1.2, 1, 0.9, 0.9))
    axes = [figure.add_subplot(grid[place]) for place in ((0, slice(None)), (1, 0), (1, 1))]
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.92, len(phases)))
    lowest = 0.0
    for period, colour in zip(phases, shades, strict=True):
        steps = np.asarray(metrics[f"K{period}.il/step"])[0, :, -1]
        wake = np.asarray(metrics[f"K{period}.il/wake"])[:, :, -1]
        draw(axes[0], steps / 1000, wake, color=colour, label=f"K = {period}")
        lowest = min(lowest, float(wake.mean(0).min()))
    axes[0].set(xlabel="training (1000 steps)", ylabel="loss awake per step (authors' units)", title="Loss awake")
    axes[0].set_yscale("log" if lowest >= 0 else "symlog")
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    for axis, name, ylabel, heading in (
        (axes[1], "wake", "loss awake per step", "Loss awake after training"),
        (axes[2], "correlation", "correlation (none is 0)", "Neurons awake with neurons alternating"),
    ):
        ends = np.stack([final(metrics, f"K{period}", "il", name) for period in phases], 1)
        draw(axis, np.array(phases), ends, color=COLOURS["il"])
        axis.set_xticks(phases, ["" if period == 1 else str(period) for period in phases])
        axis.set(
            xlabel="K, steps of a phase (first tick: 1)" if 1 in phases else "K, steps of a phase",
            ylabel=ylabel,
            title=heading,
        )
    for row, period in enumerate((min(phases, key=lambda k: abs(k - 2)), phases[-1])):
        axes.append(figure.add_subplot(grid[2 + row, :]))
        for name, colour, style in (("wake", "#000000", "-"), ("alternating", COLOURS["il"], (0, (3, 1.5)))):
            trace = np.asarray(metrics[f"K{period}.il/trace_{name}"])[0, -1, -1, :200]
            words = {"wake": "awake throughout", "alternating": f"{period} steps awake, {period} asleep"}[name]
            axes[-1].plot(trace, color=colour, lw=1.3, ls=style, label=words)
        axes[-1].set(xlabel="step", ylabel="first neuron\n(its rate is at most 1)", title=f"K = {period}: one seed")
        axes[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    letter(axes[:1], 0.07)
    letter(axes[1:3], 0.14, "bc")
    letter(axes[3:], 0.07, "de")
    title(figure, metrics, "Figure 3: phases of K steps", int(np.max(metrics[f"K{phases[0]}.il/step"])), PHASE_STEPS)
    return figure
