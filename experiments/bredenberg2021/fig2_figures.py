"""Figure 2: the paper's panels a to c and signal-to-noise during learning, all against latents, and IL's bias."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.bredenberg2021.drawing import letter, with_errors
from experiments.bredenberg2021.fig2_claims import sizes

LABELS = {
    "bp": "BP, same loss",
    "elbo": "BP of the ELBO",
    "il": "IL",
    "nvi": "NVI*",
    "nvi_baseline": "NVI*, with baseline",
}
COLOURS = {"bp": "#000000", "elbo": "#7f7f7f", "il": "#0072b2", "nvi": "#d55e00", "nvi_baseline": "#e69f00"}
STIMULI = "#009e73"
STYLES = {"bp": "s--", "elbo": "D:", "il": "o-", "nvi": "v:", "nvi_baseline": "^-"}
AVERAGED = {1: "o:", 100: "^--", 10_000: "s-"}
PAPER = "Bredenberg et al. (2021), Figure 2"


def figures(metrics: Mapping[str, np.ndarray], config: Any) -> dict[str, Any]:
    """The paper's panels, and our own figures "latents" and "bias"."""
    return {
        "": plot_learning(metrics, 100 * config.groups),
        "latents": plot_latents(metrics, 100 * config.groups),
        "bias": plot_bias(metrics),
    }


def plot_learning(metrics: Mapping[str, np.ndarray], trials: int) -> Any:
    """Test loss, length of the gradient, alignment and signal-to-noise during IL's training with the fewest latents."""
    import matplotlib.pyplot as plt

    n = sizes(metrics)[0]
    figure, axes = plt.subplots(2, 2, figsize=(10.5, 8.2), constrained_layout=True)
    one, two, three, four = axes.flat

    def through(axis: Any, name: str, label: str, colour: str, style: str) -> None:
        _through(axis, metrics, n, name, label, colour, style)

    through(one, "test.alternating", "with phases", COLOURS["il"], "o-")
    through(one, "test.wake", "awake", COLOURS["bp"], "s--")
    one.set(title="Test loss of IL", ylabel="loss per step (authors' units)", yscale="log")
    mean_of = f"NVI*, with baseline: mean of {trials:,}"
    through(two, "nvi_baseline.norm", f"{mean_of}, noise and all", COLOURS["nvi_baseline"], "^-")
    through(two, "truth.norm", "true gradient (NVI* without end)", COLOURS["bp"], "s--")
    through(two, "il.norm", "IL", COLOURS["il"], "o-")
    two.set(title="Length of the gradient of W", ylabel="norm, of a window of 4 steps", yscale="log")
    through(three, "nvi_baseline.cosine_il", f"one stimulus: IL to {mean_of}", COLOURS["nvi_baseline"], "^-")
    through(three, "il.cosine", "one stimulus: IL to the true gradient", COLOURS["il"], "o-")
    through(three, "stimuli.cosine", "mean over stimuli: likewise", STIMULI, "D--")
    three.axhline(0, color="black", lw=0.6)
    three.set(title="Alignment of IL", ylabel="cosine", ylim=(-0.6, 1.05))
    for name in ("il", "nvi_baseline", "nvi"):
        through(four, f"{name}.snr_step", LABELS[name], COLOURS[name], STYLES[name])
    four.set(title="Signal-to-noise of a step (authors' statistic)", ylabel="mean² / variance, mean over weights")
    four.set(yscale="log")
    _finish(list(axes.flat))
    for axis in axes.flat:
        axis.set_xlabel("IL's training (thousands of steps)")
    seeds = len(metrics[f"n{n}/steps"])
    figure.suptitle(f"{PAPER}a-c: IL and NVI* on the same network, {n} latents\nmean ± standard error of {seeds} seeds")
    return figure


def plot_latents(metrics: Mapping[str, np.ndarray], trials: int) -> Any:
    """Alignment, variance and signal-to-noise of all estimators against latents, before and after training."""
    import matplotlib.pyplot as plt

    all_n = sizes(metrics)
    figure, axes = plt.subplots(4, 2, figsize=(10.5, 14.5), sharex=True, sharey="row", constrained_layout=True)

    def against(axis: Any, name: str, index: int, **style: Any) -> None:
        with_errors(axis, all_n, [np.asarray(metrics[f"n{n}/{name}"])[:, index] for n in all_n], **style)

    rows = (
        ("expected_cosine_10000", ("bp", "il", "nvi_baseline", "nvi"), "mean of 10,000 trials\ncosine to the gradient"),
        ("variance", ("nvi", "nvi_baseline", "bp", "il", "elbo"), "one trial\nsummed variance / |gradient|²"),
        ("snr", ("elbo", "bp", "il", "nvi_baseline", "nvi"), "one trial\n|mean|² / summed variance"),
    )
    for row, (statistic, names, label) in zip(axes, rows, strict=False):
        for axis, index in zip(row, (0, -1), strict=True):
            for name in names:
                style = {"color": COLOURS[name], "fmt": STYLES[name], "label": LABELS[name]}
                against(axis, f"{name}.{statistic}", index, **style)
        row[0].set_ylabel(label)
        if statistic != "expected_cosine_10000":
            row[0].set_yscale("log")
    for axis, index in zip(axes[3], (0, -1), strict=True):
        for name in ("il", "nvi_baseline"):
            for mean_of, fmt in AVERAGED.items():
                label = f"{LABELS[name]}, {mean_of:,}"
                against(axis, f"{name}.expected_cosine_{mean_of}", index, label=label, color=COLOURS[name], fmt=fmt)
    axes[3, 0].set(ylabel="mean of so many trials\ncosine to the gradient", yscale="log")
    _finish(list(axes.flat), legends=axes[:, 1])
    for axis, title in zip(axes[0], ("Before training", "After training"), strict=True):
        axis.set(title=title, xscale="log")
        axis.set_xticks(all_n, [str(n) for n in all_n])
        axis.minorticks_off()
    for axis in axes[3]:
        axis.set_xlabel("latents")
    seeds = len(metrics[f"n{all_n[0]}/steps"])
    figure.suptitle(
        f"{PAPER}: estimators of the gradient of W against latents\n"
        f"measured in {trials:,} trials of one stimulus; mean ± standard error of {seeds} seeds"
    )
    return figure


def plot_bias(metrics: Mapping[str, np.ndarray]) -> Any:
    """IL's direction, length and bias during its training, for each network that is followed."""
    import matplotlib.pyplot as plt

    all_n = sizes(metrics)
    followed = [n for n in all_n if metrics[f"n{n}/steps"].shape[1] > 2] or all_n[:1]
    shape = {"squeeze": False, "sharey": "row", "constrained_layout": True}
    figure, axes = plt.subplots(2, len(followed), figsize=(5.25 * max(len(followed), 2), 8.2), **shape)
    for column, n in zip(axes.T, followed, strict=True):
        for kind, colour, label in (("il", COLOURS["il"], "one stimulus"), ("stimuli", STIMULI, "mean over stimuli")):
            _through(column[0], metrics, n, f"{kind}.cosine", label, colour, "o-")
            _through(column[1], metrics, n, f"{kind}.bias", f"|IL - gradient|, {label}", colour, "o-")
            _through(column[1], metrics, n, f"{kind}.norm_ratio", f"|IL|, {label}", colour, "s--")
        column[0].axhline(0, color="black", lw=0.6)
        column[0].set(title=f"{n} latents", ylim=(-0.6, 1.05))
        column[1].set(yscale="log", xlabel="IL's training (thousands of steps)")
    axes[0, 0].set_ylabel("IL's cosine to the true gradient")
    axes[1, 0].set_ylabel("over |gradient|")
    _finish(list(axes.flat))
    seeds = len(metrics[f"n{all_n[0]}/steps"])
    figure.suptitle(f"{PAPER}: how far IL is from the gradient of W\nmean ± standard error of {seeds} seeds")
    return figure


def _through(
    axis: Any, metrics: Mapping[str, np.ndarray], n: int, name: str, label: str, colour: str, style: str
) -> None:
    """Draws a curve against thousands of steps."""
    values, steps = np.asarray(metrics[f"n{n}/{name}"]).T, metrics[f"n{n}/steps"][0] / 1000
    with_errors(axis, steps, values, label=label, color=colour, fmt=style)


def _finish(axes: Any, legends: Any = None) -> None:
    """Adds letters, grids, and legends under the axes, or to the right of those given."""
    letter(axes, 0.12)
    for axis in axes if legends is None else []:
        axis.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    for axis in [] if legends is None else legends:
        axis.legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))
