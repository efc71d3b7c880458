"""Figure 1: loss and transitions during training, and the trained network awake, alternating and asleep."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.bredenberg2021.common import COLOURS, LABELS, LAGS, METHODS
from experiments.bredenberg2021.drawing import letter
from experiments.bredenberg2021.learning_summary import SLOPES, best, final, ran
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem
from plasticity_jax.tasks.ou_mixture import ou_moments

Metrics = Mapping[str, np.ndarray]

STEPS = 2_000_000
"""The paper's number of steps."""
LEVELS = {"alternating": 5_500, "wake": 180}
"""Losses of the authors' code after the paper's number of steps."""
STYLES = {
    "ws": {"ls": (0, (1, 0)), "alpha": 0.45},
    "ws_coordinatewise": {"ls": (0, (4, 3))},
    "published": {"ls": (0, (2, 2))},
}
"""Styles by method, for lines that may coincide."""
SHORT = {
    "untrained": "untrained",
    "il": "IL",
    "ws": "WS",
    "ws_coordinatewise": "WS, 1 a\nphase",
    "bp": "BP",
    "nvi": "NVI*",
}


def curve(metrics: Metrics, task: str, method: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and a measurement (seeds, points) that starts with the untrained network."""
    column = best(metrics, task) if method == "nvi" else -1
    part = f"{task}.{method}"
    values = np.asarray(metrics[f"{part}/{name}"])[:, :, column]
    steps = np.asarray(metrics[f"{part}/step"])[0, :, column]
    return np.r_[0, steps], np.c_[final(metrics, task, "untrained", name), values]


def label(metrics: Metrics, task: str, method: str) -> str:
    """A method's name, with its rate if there are several."""
    if method not in ("nvi", "published"):
        return LABELS[method]
    column = best(metrics, task) if method == "nvi" else -1
    return f"{LABELS[method]}, rate {np.asarray(metrics[f'{task}.{method}/rate'])[0, -1, column]:.0e}"


def title(figure: Any, metrics: Metrics, which: str, steps: int, paper: int, bands: bool = True) -> None:
    """Adds a title with the paper, the scale, the seeds, and the meaning of bands."""
    seeds = next(iter(metrics.values())).shape[0]
    scale = f"{steps:,} steps (paper: {paper:,}), {seeds} seeds (paper: 20)"
    error = "; bands and bars: one standard error of the mean" if bands else ""
    figure.suptitle(f"Bredenberg et al. (2021), {which}\n{scale}{error}")


def plot_learning(metrics: Metrics) -> Any:
    """Losses, transitions, and the exact gradient of the transitions, during training."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10, 8.6), constrained_layout=True)
    methods = [method for method in METHODS if ran(metrics, "standard", method)]
    lines = {}
    for axis, name, ylabel, heading in (
        (axes[0, 0], "alternating", "loss per step (authors' units)", "Loss with phases of 2, impression learning's"),
        (axes[0, 1], "wake", "loss per step (authors' units)", "Loss awake, backpropagation's"),
        (axes[1, 0], "transition", "mean of $D_r$", "Transition weights"),
    ):
        for method in methods:
            steps, values = curve(metrics, "standard", method, name)
            lines[method] = _line(axis, steps, values, method)
        axis.set(xlabel="training (1000 steps)", ylabel=ylabel, title=heading)
    for axis, name in ((axes[0, 0], "alternating"), (axes[0, 1], "wake")):
        values = np.concatenate([curve(metrics, "standard", method, name)[1].mean(0) for method in methods])
        axis.set(yscale="log" if np.nanmin(values) > 0 else "symlog")
        axis.axhline(LEVELS[name], color="0.35", lw=1, ls="--")
    level = axes[1, 0].axhline(float(ou_moments(0.1).decay), color="0.35", lw=1, ls="--")

    axis = axes[1, 1]
    for method in [method for method in ("il", "ws", "bp", "nvi") if method in methods]:
        steps, wake = curve(metrics, "standard", method, SLOPES[0])
        _line(axis, steps, -wake - curve(metrics, "standard", method, SLOPES[1])[1], method)
    axis.axhline(0, color="0.4", lw=1, ls=":")
    axis.set(xlabel="training (1000 steps)", ylabel="change of $D_r$ per step and rate")
    axis.set_title("Where the exact gradient of the loss\nwith phases pulls the transitions")
    letter(axes.flat, 0.16)
    names = [label(metrics, "standard", method) for method in lines]
    names.append("authors' code, IL, after 2,000,000 steps: 5,500 (a), 180 (b), 0.973 (c; latents 0.975)")
    figure.legend([*lines.values(), level], names, loc="outside lower center", ncols=2, frameon=False)
    title(figure, metrics, "Figure 1: learning", _steps(metrics), STEPS)
    return figure


def plot_trained(metrics: Metrics) -> Any:
    """The network after impression learning: traces, scatter plot and autocorrelations of Figure 1."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(10, 11.4), constrained_layout=True)
    grid = figure.add_gridspec(3, 2)
    axes = [figure.add_subplot(grid[place]) for place in ((0, 0), (0, 1), (1, slice(None)), (2, 0), (2, 1))]

    def one(name: str) -> np.ndarray:
        return np.asarray(metrics[f"standard.il/{name}"])[0, -1, -1]

    for name, colour, style in (("stimulus", "#000000", "-"), ("reconstruction", COLOURS["il"], (0, (3, 1.5)))):
        axes[0].plot(one(f"trace_{name}")[:200], color=colour, lw=1.4, ls=style, label=name)
    axes[0].set(xlabel="step", ylabel="first input (a.u.)", title="Reconstruction awake, one seed")
    _legend_above(axes[0], 2)

    truth, reconstruction = one("scatter_stimulus"), one("scatter_reconstruction")
    axes[1].plot(truth, reconstruction, ".", color=COLOURS["il"], ms=3, alpha=0.5)
    ends = [min(truth.min(), reconstruction.min()), max(truth.max(), reconstruction.max())]
    axes[1].plot(ends, ends, color="0.3", lw=1, ls="--")
    mean, error = mean_sem(final(metrics, "standard", "il", "r2"))
    axes[1].set(xlabel="stimulus (a.u.), four inputs", ylabel="reconstruction (a.u.)")
    axes[1].set_title(f"Truth and prediction; $R^2$ of all seeds:\n{mean:.3f} ± {error:.3f} (authors' code: 0.991)")

    for name, colour, style in (("wake", "#000000", "-"), ("alternating", COLOURS["il"], (0, (3, 1.5)))):
        words = {"wake": "awake", "alternating": "two steps awake, two asleep"}[name]
        axes[2].plot(one(f"trace_{name}"), color=colour, lw=1.3, ls=style, label=words)
    mean, error = mean_sem(final(metrics, "standard", "il", "correlation"))
    axes[2].set(xlabel="step", ylabel="first neuron (its rate is at most 1)")
    axes[2].set_title(f"Same stimulus and noise, one seed; correlation of all: {mean:.3f} ± {error:.3f} (code: 0.903)")
    _legend_above(axes[2], 2)

    for method, which, colour, words, style in (
        ("il", "stimulus", "#000000", "stimuli", {"lw": 4, "alpha": 0.35}),
        ("il", "wake", COLOURS["il"], "neurons awake", {}),
        ("il", "dream", COLOURS["il"], "neurons asleep", {"ls": (0, (3, 1.5))}),
        ("untrained", "dream", COLOURS["untrained"], "asleep, untrained", {"ls": "--"}),
    ):
        drawn = draw(
            axes[3], np.array(LAGS), final(metrics, "standard", method, f"acf_{which}"), color=colour, label=words
        )
        drawn.set(**style)
    axes[3].set(xlabel="lag (steps)", ylabel="autocorrelation", title="How slow neurons are, awake and asleep")
    axes[3].legend(frameon=False)

    axis, names = axes[4], [name for name in SHORT if ran(metrics, "standard", name)]
    for column, what in enumerate(("decoding", "decoding_noiseless")):
        bars = np.array([mean_sem(final(metrics, "standard", name, what)) for name in names])
        x = np.arange(len(names)) + 0.4 * (column - 0.5)
        colours = [COLOURS[name] for name in names]
        axis.bar(x, bars[:, 0], 0.38, yerr=bars[:, 1], color=colours, capsize=2, alpha=1.0 - 0.6 * column)
        for place, (height, _) in zip(x, bars, strict=True):
            axis.text(place, max(height, 0) + 0.02, f"{height:.2f}", ha="center", va="bottom", rotation=90)
    axis.set_xticks(np.arange(len(names)), [SHORT[name] for name in names])
    axis.set(ylabel="held-out $R^2$", ylim=(0, 1.22), yticks=np.linspace(0, 1, 6))
    axis.set_title("Latents read out linearly\n(pale: from neurons without noise)")
    letter(axes[:2], 0.16)
    letter(axes[2:3], 0.07, "c")
    letter(axes[3:], 0.16, "de")
    title(figure, metrics, "Figure 1: the trained network", _steps(metrics), STEPS)
    return figure


def _line(axis: Any, steps: np.ndarray, values: np.ndarray, method: str) -> Any:
    drawn = draw(axis, steps / 1000, values, color=COLOURS[method], zorder=2 if method == "ws" else 3)
    drawn.set(**STYLES.get(method, {}), lw=4.5 if method == "ws" else 1.7)
    return drawn


def _legend_above(axis: Any, columns: int) -> None:
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, -0.36), ncols=columns, frameon=False)


def _steps(metrics: Metrics) -> int:
    return int(
        max(np.max(values) for name, values in metrics.items() if name.startswith("standard") and "/step" in name)
    )
