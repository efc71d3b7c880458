"""Figure on UORO and criterion ii of Marschall, Cho & Savin (2019)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.shared.curves import mean_and_error

SETTINGS = (("a", "b", "-"), ("b", "a", "--"))
"""The smooth factor, the other factor, and the line style of both."""


def plot(metrics: Mapping[str, np.ndarray], config: Any) -> Any:
    """Draws the other factor's size, the smooth one's change in a step, and the estimate's error, by time constant."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        3, len(config.alphas), figsize=(10, 12), constrained_layout=True, squeeze=False, sharey="row"
    )
    for column, alpha in zip(axes.T, config.alphas, strict=True):
        curves = {
            name.partition("/")[2]: v[:, 0] for name, v in metrics.items() if name.startswith(f"alpha.{alpha:g}/")
        }
        sizes(column[0], curves, config)
        changes(column[1], curves, config)
        errors(column[2], curves, config)
        column[0].set_title(f"alpha = {alpha:g}", fontsize=11)
        for axis in column:
            axis.tick_params(labelsize=10, which="both")
    labels = ("root mean square of the other factor", "relative change of the smooth\nfactor in a step")
    for axis, label in zip(axes[:, 0], (*labels, "error of the estimate / |gradient|"), strict=True):
        axis.set_ylabel(label, fontsize=10)
    for row in axes[[0, 2]]:
        row[0].legend(fontsize=9, loc="upper left", frameon=False)
    axes[1, 0].legend(fontsize=9, loc="lower right", frameon=False)
    seeds = next(iter(metrics.values())).shape[0]
    figure.suptitle(
        "UORO with one factor's recursion made smooth (criterion ii of Marschall, Cho & Savin 2019; they run nothing)\n"
        "solid: rho0 = 1 - eps, rho1 = eps, A smooth; dashed: their inverses, B smooth\n"
        f"fixed weights on Add, {config.n} units, {config.samples} draws; mean of {seeds} seeds in a band of a s.e.",
        fontsize=11,
    )
    return figure


def sizes(axis: Any, curves: Mapping[str, np.ndarray], config: Any) -> None:
    """Draws the other factor's root mean square by step, and its closed form."""
    for smooth, other, style in SETTINGS:
        for k, epsilon in enumerate(config.epsilons):
            size, closed = (curves[f"{smooth}/{other}_{kind}"][:, k] for kind in ("square", "closed"))
            words = f"{other.upper()}, eps = {epsilon:g}"
            curve(axis, np.sqrt(size), color=f"C{k}", linestyle=style, label=words)
            every = max(1, len(closed[0]) // 12)
            axis.plot(
                np.arange(len(closed[0]))[::every], np.sqrt(closed).mean(0)[::every], "k.", ms=4,
                label="closed forms" if (smooth, k) == ("b", len(config.epsilons) - 1) else None,
            )  # fmt: skip
    axis.set_yscale("log")
    axis.set_xlabel("steps", fontsize=10)


def changes(axis: Any, curves: Mapping[str, np.ndarray], config: Any) -> None:
    """Draws mean relative changes in a step, second half: the smooth factor's by epsilon, and the balanced ones'."""
    for smooth, _, style in SETTINGS:
        half = config.steps // 2
        mean, error = mean_and_error(curves[f"{smooth}/{smooth}_change"][:, :, half:].mean(2))
        axis.errorbar(config.epsilons, mean, yerr=error, color="black", linestyle=style, marker="o", capsize=3,
                      label=f"{smooth.upper()}, smooth")  # fmt: skip
        level = curves[f"balanced/{smooth}_change"][:, half:].mean()
        axis.axhline(level, color="0.5", linestyle=style, lw=1.2, label=f"{smooth.upper()}, balanced rhos")
    axis.plot(config.epsilons, config.epsilons, ":", color="C3", lw=1.4, label="eps")
    axis.set(xscale="log", yscale="log")
    axis.set_xticks(config.epsilons, [f"{epsilon:g}" for epsilon in config.epsilons])
    axis.minorticks_off()
    axis.set_xlabel("eps", fontsize=10)


def errors(axis: Any, curves: Mapping[str, np.ndarray], config: Any) -> None:
    """Draws the error of the gradient's estimate by step."""
    for smooth, _, style in SETTINGS:
        for k, epsilon in enumerate(config.epsilons):
            words = f"{smooth.upper()} smooth, eps = {epsilon:g}"
            curve(axis, curves[f"{smooth}/error"][:, k], color=f"C{k}", linestyle=style, label=words)
    curve(axis, curves["balanced/error"], color="black", linestyle="-", label="balanced rhos")
    axis.set_yscale("log")
    axis.set_xlabel("steps", fontsize=10)


def curve(axis: Any, values: np.ndarray, **style: Any) -> None:
    """Draws the geometric mean over seeds with a band of one standard error of the logarithm."""
    mean, error = mean_and_error(np.log(values))
    at = np.arange(len(mean))
    axis.plot(at, np.exp(mean), lw=1.6, **style)
    axis.fill_between(at, np.exp(mean - error), np.exp(mean + error), color=style["color"], alpha=0.2, lw=0)
