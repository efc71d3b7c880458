"""Appendix A: bias, bounds and gradient, as p~ approaches q~ and windows grow."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.bredenberg2021.bias_claims import norm, slope, values_of, windows_of
from experiments.bredenberg2021.bias_trials import KINDS, LATENTS
from experiments.bredenberg2021.drawing import letter, with_errors
from plasticity_jax.run import mean_sem

LABELS = {"held": "phase never ends", "no_onset": "phases of 2, k = 0", "onset": "phases of 2, k as printed"}
COLOURS = {"held": "#009e73", "no_onset": "#0072b2", "onset": "#d55e00"}


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Bias, bounds and gradient against eps, their ratios, growth with T, and the paper's own network."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(19, 4.7), constrained_layout=True)

    def curve(axis: Any, x: np.ndarray, values: np.ndarray, label: str, colour: str, style: str = "o-") -> None:
        with_errors(axis, x, values.T, fmt=style, color=colour, label=label)

    one, two, three, four = axes
    eps = metrics["path/eps"][0, 0, 0]
    third = values_of(metrics, "no_onset", "bound_3") * (2 * LATENTS**2) ** 0.5
    curve(one, eps, third, "bound of eq. 3, W", "#cc79a7", "^--")
    curve(one, eps, norm(metrics, "no_onset", "bound"), "bound of eq. 2", "#e69f00", "s--")
    curve(one, eps, norm(metrics, "no_onset", "truth"), "gradient", "black")
    curve(one, eps, norm(metrics, "no_onset", "taylor"), "bias: Taylor step", "#0072b2")
    curve(one, eps, norm(metrics, "no_onset", "bias"), "bias: IL less gradient, noisier", "#56b4e9", "x:")
    one.set(title="phases of 2, k = 0", xlabel="eps, distance of p~ from q~", ylabel="length over all weights")
    for kind in KINDS:
        gradient = norm(metrics, kind, "truth")
        bias = norm(metrics, kind, "bias" if kind == "onset" else "taylor")
        curve(two, eps, bias / gradient, LABELS[kind], COLOURS[kind])
        if kind == "onset":
            curve(two, eps, norm(metrics, kind, "relabel") / gradient, "of it relabelling", "#f2a65a", "s--")
    two.set(title="bias relative to the gradient", xlabel="eps, distance of p~ from q~", ylabel="|bias| / |gradient|")
    windows = windows_of(metrics)
    grown = [norm(metrics, "windows", name) for name in ("bound", "b", "truth", "score")]
    scaled = [values / values[:, :1] for values in grown]
    labels = ("bound of eq. 2", "B", "gradient", "scores (r.m.s.)")
    for values, label, colour in zip(scaled, labels, ("#e69f00", "#d55e00", "black", "#009e73"), strict=True):
        power = slope(windows, values).mean()
        curve(three, windows, values, f"{label} ~ T^{power:.2f}", colour)
    three.set(title="growth with the window, k = 0", xlabel="T, steps", ylabel="relative to the shortest window")
    gradient = norm(metrics, "own", "truth")
    for index, (name, label) in enumerate((("bias", "bias of IL"), ("relabel", "of it relabelling"))):
        values = norm(metrics, "own", name) / gradient
        mean, sem = np.array([mean_sem(column) for column in values.T]).T
        four.bar(
            np.arange(2) + 0.36 * index,
            mean,
            0.34,
            yerr=sem,
            color=("#0072b2", "#f2a65a")[index],
            label=label,
            capsize=3,
        )
    steps = metrics["own/steps"][0]
    four.set_xticks(np.arange(2) + 0.18, [f"{count:,} steps" for count in steps])
    four.set(title="the paper's network (2 latents), W", ylabel="relative to the gradient", ylim=(0, 1.3))
    for axis in axes:
        if axis is not four:
            axis.set(xscale="log", yscale="log")
        if axis in (one, two):
            axis.set_xticks(eps, [f"{value:g}" for value in np.round(eps, 4)])
        if axis is three:
            axis.set_xticks(windows, [str(steps) for steps in windows])
        axis.minorticks_off()
        axis.legend(frameon=False, fontsize=8)
    letter(axes, 0.13)
    figure.suptitle("Bredenberg et al. (2021), appendix A: bias of impression learning. Mean and s.e. over seeds")
    return figure
