"""Supplementary figure 1 of Lansdell, Prakash & Kording (2020): its panels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lansdell2019.common import COLOURS, panels
from experiments.shared.curves import mean_and_error

SEQUENCE = [COLOURS[name] for name in ("np", "fa", "matching", "np_forget", "adam")]
UNITS = {
    "relative_error": "relative error of B",
    "true_angle": "angle to the gradient (degrees)",
    "sign_congruence": "sign congruence (fraction)",
}
PAPER = {"relative_error": (0.6, 0.008), "true_angle": (1.0, 0.2), "sign_congruence": (0.82, 0.99)}
"""Values printed or plotted in the paper for W2 and W3, after all samples."""
THEORY = {"relative_error": "expected_error", "true_angle": "expected_angle"}


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Six panels: mean and standard error over draws, and theory as dashed lines."""
    figure, axes, foot = panels(3, 2, (11, 12), 0.3)
    by_samples = [axes[0, 0], axes[0, 1], axes[1, 0]]
    for axis, metric in zip(by_samples, UNITS, strict=True):
        _by_samples(axis, metrics, metric)
    for axis, metric in zip([axes[1, 1], axes[2, 0]], THEORY, strict=True):
        _by_width(axis, metrics, metric)
    _spectra(axes[2, 1], metrics)
    for axis, letter in zip(axes.flat, "abcdef", strict=True):
        if axis not in by_samples:
            axis.legend(frameon=False, fontsize=9)
        axis.grid(alpha=0.2, which="both", lw=0.5)
        axis.text(-0.12, 1.03, letter, transform=axis.transAxes, weight="bold", fontsize=13)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    foot.legend(handles, labels, loc="center", ncols=3, frameon=False)
    samples = metrics["noise/samples"][0, -1, 0]
    figure.suptitle(
        "Lansdell, Prakash & Kording (2020), supplementary figure 1: feedback at fixed weights\n"
        f"{samples:,.0f} of the paper's 32,000,000 samples; mean and standard error over "
        f"{len(metrics['noise/samples'])} draws; circles at different c are shifted to be seen\n"
        "black dashes: theory with exact errors, for W3; for W2 (dotted) it is too high, as errors are carried by B3",
        fontsize=11,
    )
    return figure


def _by_samples(axis: Any, metrics: Mapping[str, np.ndarray], metric: str) -> None:
    """Draws both layers at all noise levels against samples."""
    samples, sigmas = metrics["noise/samples"][0, :, 0], metrics["noise/sigma"][0, 0]
    points = np.unique(np.geomspace(1, len(samples), 10).round().astype(int)) - 1
    for k, marker in ((0, "s"), (1, "o")):
        for i, sigma in enumerate(sigmas):
            axis.errorbar(
                samples[points] * 1.06 ** (i - (len(sigmas) - 1) / 2),
                *mean_and_error(metrics[f"noise/{metric}"][:, points, i, k]),
                fmt=marker,
                ms=4,
                color=SEQUENCE[i % len(SEQUENCE)],
                mfc="none" if k == 0 else None,
                label=f"W{k + 2}, c = {sigma:g}",
            )
        if metric in THEORY and f"noise/{THEORY[metric]}" in metrics:
            line = metrics[f"noise/{THEORY[metric]}"][:, :, 0, k].mean(0)
            axis.plot(samples, line, ":" if k == 0 else "--", color="black", lw=1.1)
    for level in PAPER[metric]:
        axis.axhline(level, color="#d55e00", ls="-.", lw=0.9)
        axis.annotate(f"paper {level:g}", (0.01, level), xycoords=("axes fraction", "data"), fontsize=9, va="bottom")
    axis.set(xscale="log", xlabel="samples", ylabel=UNITS[metric])
    if metric == "sign_congruence":
        axis.axhline(0.5, color="0.5", ls=":", lw=1)
    else:
        axis.set_yscale("log")


def _by_width(axis: Any, metrics: Mapping[str, np.ndarray], metric: str) -> None:
    """Draws the ends of all curves against the width of the first hidden layer."""
    widths = sorted({int(name.split("/")[0].partition(".")[2]) for name in metrics if name.startswith("shallow.")})
    for kind, k, colour, marker, label in (
        ("shallow", 0, SEQUENCE[0], "o", "N-10: W2"),
        ("deep", 1, SEQUENCE[2], "^", "N-50-10: W3"),
        ("deep", 0, SEQUENCE[1], "s", "N-50-10: W2"),
    ):
        ends = mean_and_error(np.stack([metrics[f"{kind}.{n}/{metric}"][:, -1, 0, k] for n in widths], 1))
        axis.errorbar(widths, *ends, fmt=marker, ms=5, color=colour, label=label)
        if f"{kind}.{widths[0]}/{THEORY[metric]}" in metrics:
            line = [metrics[f"{kind}.{n}/{THEORY[metric]}"][:, -1, 0, k].mean() for n in widths]
            axis.plot(widths, line, ":" if (kind, k) == ("deep", 0) else "--", color=colour, lw=1.1)
    axis.set(xscale="log", yscale="log", xlabel="neurons N of the first hidden layer", ylabel=UNITS[metric])
    axis.set_title(f"after {metrics[f'deep.{widths[0]}/samples'][0, -1, 0]:,.0f} samples")


def _spectra(axis: Any, metrics: Mapping[str, np.ndarray]) -> None:
    """Draws the power of the errors by direction."""
    for k, colour, marker in ((0, SEQUENCE[1], "s"), (1, SEQUENCE[2], "^")):
        if f"noise/spectrum_W{k + 2}" in metrics:
            values = metrics[f"noise/spectrum_W{k + 2}"].clip(1e-12)
            mean = np.exp(np.log(values).mean(0))
            axis.plot(np.arange(1, len(mean) + 1), mean, marker, color=colour, ms=4, label=f"errors that B{k + 2} sees")
    axis.set(
        yscale="log",
        xlabel="direction",
        ylabel="eigenvalue of E e e^T / largest",
        title="why W2 is late: errors leave directions out",
    )
    axis.xaxis.get_major_locator().set_params(integer=True)
