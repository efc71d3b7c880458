"""The theorems of Lansdell, Prakash & Kording (2020): the panels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lansdell2019.common import COLOURS
from experiments.lansdell2019.theorems_claims import networks, root_mean_square

BLUE, ORANGE, GREEN, PINK = (COLOURS[name] for name in ("np", "fa", "matching", "np_forget"))
TITLES = {
    "theorem2": "Theorem 2: linear 6-3-4-5",
    "rank": "A3 violated: linear 8-6-4-3",
    "deep": "Beyond the theorems: tanh 6-3-4-5",
}


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Six panels, each with the root mean square over networks, the middle 90 %, and theory as dashed lines."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(15, 8.6), constrained_layout=True)
    one, two, three, four, five, six = axes.flat
    parts = [name.removesuffix(".gaussian/samples") for name in metrics if name.endswith(".gaussian/samples")]
    for part, colour in zip(parts, (BLUE, GREEN, PINK), strict=False):
        sizes = part.partition(".")[2]
        _curve(one, metrics, f"{part}.gaussian", 0, colour, f"{sizes}, normal noise")
        _curve(one, metrics, f"{part}.rademacher", 0, colour, f"{sizes}, signs", "^")
    one.set_title("Theorem 1: one hidden layer, tanh")
    _bias(two, metrics)
    for axis, family in ((three, "theorem2"), (four, "rank"), (five, "deep")):
        other = "staged" if family == "deep" else "offline"
        _curve(axis, metrics, f"{family}.ridge", 0, ORANGE, "W2, online")
        _curve(axis, metrics, f"{family}.{other}", 0, BLUE, f"W2, {other}", "s")
        _curve(axis, metrics, f"{family}.{other}", 1, GREEN, "W3", "^")
        axis.set_title(TITLES[family])
    values, samples = metrics["rank.offline/true_angle"], metrics["rank.offline/samples"][0, :, 0]
    angle = np.radians(networks(values, np.arange(values.shape[2]), 0).mean(0))
    four.plot(samples, angle, color="black", lw=1.2, label="angle of W2's credit (radians)")
    for name, colour, marker in (("corrected", BLUE, "o"), ("legacy", ORANGE, "s")):
        _curve(six, metrics, f"recurrent.{name}", 0, colour, name, marker)
    six.set(title="Recurrent, tanh", xlabel="windows of 7 steps")
    for axis, letter in zip(axes.flat, "abcdef", strict=True):
        axis.legend(frameon=False, fontsize=8)
        axis.grid(alpha=0.2, which="both", lw=0.5)
        axis.text(-0.12, 1.03, letter, transform=axis.transAxes, weight="bold", fontsize=13)
    figure.suptitle(
        "Lansdell, Prakash & Kording (2020), theorems: feedback at fixed weights. "
        "Root mean square and middle 90 % of networks; dashed: theory"
    )
    return figure


def _curve(
    axis: Any,
    metrics: Mapping[str, np.ndarray],
    part: str,
    layer: int,
    colour: str,
    label: str,
    marker: str = "o",
) -> None:
    """Draws a layer's error against samples, and the predicted error."""
    if f"{part}/relative_error" not in metrics:
        return
    values = metrics[f"{part}/relative_error"]
    all_of_them = np.arange(values.shape[2])
    samples, errors = metrics[f"{part}/samples"][0, :, 0], networks(values, all_of_them, layer)
    points = np.unique(np.geomspace(1, len(samples), 12).round().astype(int)) - 1
    axis.plot(samples[points], root_mean_square(errors)[points], marker, color=colour, ms=4, label=label)
    axis.fill_between(samples, *np.quantile(errors, (0.05, 0.95), 0), color=colour, alpha=0.15, lw=0)
    if f"{part}/expected" in metrics:
        theory = root_mean_square(networks(metrics[f"{part}/expected"], all_of_them, layer))
        axis.plot(samples, theory, "--", color=colour, lw=1.2)
    axis.set(xscale="log", yscale="log", xlabel="samples", ylabel="relative error of B")


def _bias(axis: Any, metrics: Mapping[str, np.ndarray]) -> None:
    """Draws the final errors by noise level, for each readout."""
    for readout, colour, label in (
        ("sigmoid", ORANGE, "sigmoid readout"),
        ("linear", BLUE, "linear readout"),
        ("antithetic", GREEN, "linear, antithetic pairs"),
    ):
        values, sigmas = metrics[f"bias.{readout}/relative_error"][:, -1, :, 0], metrics[f"bias.{readout}/sigma"][0, 0]
        axis.plot(sigmas, root_mean_square(values), "o", color=colour, ms=4, label=label)
        axis.vlines(sigmas, *np.quantile(values, (0.05, 0.95), 0), color=colour, alpha=0.4)
        if f"bias.{readout}/expected" in metrics and readout != "sigmoid":
            theory = root_mean_square(metrics[f"bias.{readout}/expected"][:, -1, :, 0])
            axis.plot(sigmas, theory, "--", color=colour, lw=1.2)
    samples = metrics["bias.linear/samples"][0, -1, 0]
    axis.set(xscale="log", yscale="log", xlabel="standard deviation c of the noise", ylabel="relative error of B")
    axis.set_title(f"Bias at finite noise: tanh 8-5-3, {samples:,.0f} samples")
