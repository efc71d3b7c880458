"""Figures 1, 2d and 3: what impression learning and its rivals learn from the artificial stimuli."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.bredenberg2021.common import COLOURS, LABELS, LAGS, METHODS
from experiments.bredenberg2021.learning_summary import best, final, tasks_of
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem
from plasticity_jax.tasks.ou_mixture import ou_moments


def _loss_axis(axis: Any) -> None:
    axis.set_yscale("symlog", linthresh=10)
    axis.set_yticks([0, 10, 100, 1000, 10_000])
    axis.set_yticklabels(["0", "10", "$10^2$", "$10^3$", "$10^4$"])
    axis.set_ylim(top=30_000)


def _curve(metrics: Mapping[str, np.ndarray], task: str, method: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and a measurement (seeds, points) from the untrained network on."""
    column = best(metrics, task) if method == "nvi" else -1
    part = f"{task}.{method}"
    values = np.asarray(metrics[f"{part}/{name}"])[:, :, column]
    steps = np.asarray(metrics[f"{part}/step"])[0, :, column]
    start = final(metrics, task, "untrained", name)
    return np.r_[0, steps], np.c_[start, values]


def figures(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Figure 1 (standard task), Figure 2d (dimensions and rates) and Figure 3 (phases), by name."""
    return {
        "bredenberg2021_learning_fig1": _plot_standard(metrics),
        "bredenberg2021_learning_fig2d": _plot_dimensions(metrics),
        "bredenberg2021_learning_fig3": _plot_phases(metrics),
    }


def _plot_standard(metrics: Mapping[str, np.ndarray]) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(13.5, 7.4), constrained_layout=True)
    for axis, name, title in (
        (axes[0, 0], "alternating", "Loss with phases of 2"),
        (axes[0, 1], "wake", "Loss awake"),
        (axes[0, 2], "transition", "Transition weights"),
    ):
        for method in METHODS:
            steps, values = _curve(metrics, "standard", method, name)
            style = "--" if method == "ws_coordinatewise" else "-"
            draw(axis, steps / 1000, values, color=COLOURS[method], label=LABELS[method], ls=style)
        axis.set(xlabel="training (1000 steps)", title=title)
    axes[0, 0].set(yscale="log", ylabel="loss per step (authors' units)")
    axes[0, 1].set(ylabel="loss per step (authors' units)")
    _loss_axis(axes[0, 1])
    axes[0, 2].axhline(float(ou_moments(0.1).decay), color="0.4", ls=":", lw=1)
    axes[0, 2].annotate("latents", (0, 0.975), color="0.3", fontsize=8, va="bottom")
    axes[0, 2].set(ylabel="mean of $D_r$", ylim=(None, 1.02))

    axis = axes[1, 0]
    for name, colour, label in (
        ("stimulus", "#000000", "stimulus"),
        ("reconstruction", COLOURS["il"], "reconstruction"),
    ):
        axis.plot(np.asarray(metrics[f"standard.il/trace_{name}"])[0, -1, -1], color=colour, lw=1.3, label=label)
    axis.set(xlabel="step", ylabel="first input", title="Impression learning: one seed, awake")
    axis.legend(frameon=False, loc="best")

    axis = axes[1, 1]
    names = ("untrained", *METHODS[:-1])
    for column, what in enumerate(("decoding", "decoding_noiseless")):
        bars = np.array([mean_sem(final(metrics, "standard", name, what)) for name in names])
        x = np.arange(len(names)) + 0.36 * (column - 0.5)
        style = {"alpha": 1.0} if column == 0 else {"alpha": 0.4}
        axis.bar(x, bars[:, 0], 0.34, yerr=bars[:, 1], color=[COLOURS[name] for name in names], capsize=2, **style)
    short = {
        "untrained": "untrained",
        "il": "IL",
        "ws": "WS",
        "ws_coordinatewise": "WS, 1 a\nphase",
        "bp": "BP",
        "nvi": "NVI*",
    }
    axis.set_xticks(np.arange(len(names)), [short[name] for name in names])
    axis.set(ylabel="held-out $R^2$", title="Linear readout of latents (pale: neurons without noise)")
    floor = min(np.asarray(final(metrics, "standard", name, "decoding")).mean() for name in names)
    axis.set_ylim(max(0.0, floor - 0.1), 1.005)

    axis = axes[1, 2]
    for method, which, colour, label, style in (
        ("il", "stimulus", "#000000", "stimuli", "-"),
        ("il", "wake", COLOURS["il"], "neurons awake", "-"),
        ("il", "dream", COLOURS["il"], "neurons asleep", "--"),
        ("untrained", "dream", COLOURS["untrained"], "asleep, untrained", "--"),
    ):
        draw(
            axis,
            np.array(LAGS),
            final(metrics, "standard", method, f"acf_{which}"),
            color=colour,
            label=label,
            ls=style,
        )
    axis.set(xlabel="lag (steps)", ylabel="autocorrelation", title="Autocorrelation, impression learning")
    axis.legend(frameon=False)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    _title(figure, metrics, "Figure 1")
    return figure


def _plot_dimensions(metrics: Mapping[str, np.ndarray]) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.6), constrained_layout=True)
    dims = sorted(int(task[1:]) for task in tasks_of(metrics) if task.startswith("d"))
    for method in ("untrained", "il", "bp", "nvi"):
        ends = np.stack([final(metrics, f"d{d}", method, "wake") for d in dims], 1)
        style = "--" if method == "untrained" else "-"
        draw(axes[0], np.array(dims), ends, color=COLOURS[method], label=LABELS[method], ls=style)
    axes[0].set_xscale("log", base=2)
    axes[0].set_xticks(dims, [str(d) for d in dims])
    _loss_axis(axes[0])
    axes[0].set(xlabel="latents d, behind 2 d inputs", ylabel="loss awake per step (authors' units)")
    axes[0].set_title("Loss awake after training (NVI* at its best rate)")
    for method in ("il", "nvi"):
        rates = np.asarray(metrics[f"rates.{method}/rate"])[0, -1]
        losses = np.asarray(metrics[f"rates.{method}/alternating"])[:, -1]
        shown = (rates > 0) & np.isfinite(losses).all(0)
        draw(axes[1], rates[shown], losses[:, shown], color=COLOURS[method], label=LABELS[method])
        for rate in rates[(rates > 0) & ~np.isfinite(losses).all(0)]:
            axes[1].plot(rate, 0.97, "x", color=COLOURS[method], transform=axes[1].get_xaxis_transform())
    start = np.asarray(metrics["rates.il/alternating"])[:, -1, 0].mean()
    axes[1].axhline(start, color=COLOURS["untrained"], ls="--", lw=1.6)
    axes[1].set(xscale="log", yscale="log", xlabel="learning rate", ylabel="loss with phases per step (authors' units)")
    axes[1].set_ylim(start / 20, start * 10)
    axes[1].set_title("2 latents, 4 inputs: rates (x: a seed diverged)")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    _title(figure, metrics, "Figure 2d")
    return figure


def _plot_phases(metrics: Mapping[str, np.ndarray]) -> Any:
    import matplotlib.pyplot as plt

    phases = [int(task[1:]) for task in tasks_of(metrics) if task.startswith("K")]
    figure, axes = plt.subplots(2, 2, figsize=(10.5, 7.2), constrained_layout=True)
    shades = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(phases)))
    for period, colour in zip(phases, shades, strict=True):
        steps = np.asarray(metrics[f"K{period}.il/step"])[0, :, -1]
        wake = np.asarray(metrics[f"K{period}.il/wake"])[:, :, -1]
        draw(axes[0, 0], steps / 1000, wake, color=colour, label=f"K = {period}")
    axes[0, 0].set(xlabel="training (1000 steps)", ylabel="loss per step (authors' units)", title="Loss awake")
    _loss_axis(axes[0, 0])
    axes[0, 0].legend(frameon=False)
    for name, colour, label in (
        ("correlation", COLOURS["il"], "awake with alternating"),
        ("transition", "#d55e00", "$D_r$"),
    ):
        ends = np.stack([final(metrics, f"K{period}", "il", name) for period in phases], 1)
        draw(axes[0, 1], np.array(phases), ends, color=colour, label=label)
    axes[0, 1].set_xscale("log", base=2)
    axes[0, 1].set_xticks(phases, [str(period) for period in phases])
    axes[0, 1].set(xlabel="steps of a phase, K", ylabel="correlation of neurons; mean $D_r$", title="After training")
    axes[0, 1].legend(frameon=False)
    for axis, period in zip(axes[1], (min(phases, key=lambda k: abs(k - 2)), phases[-1]), strict=True):
        for name, colour, label in (("wake", "#000000", "awake"), ("alternating", COLOURS["il"], "alternating")):
            trace = np.asarray(metrics[f"K{period}.il/trace_{name}"])[0, -1, -1]
            axis.plot(trace, color=colour, lw=1.3, label=label)
        axis.set(xlabel="step", ylabel="first neuron", title=f"K = {period}: one seed, same noise")
        axis.legend(frameon=False)
    _title(figure, metrics, "Figure 3")
    return figure


def _title(figure: Any, metrics: Mapping[str, np.ndarray], which: str) -> None:
    seeds = next(iter(metrics.values())).shape[0]
    figure.suptitle(f"Bredenberg et al. (2021), {which}: mean and standard error over {seeds} seeds")
