"""The network of the universality theorem of Lindsey & Litwin-Kumar (2020): its errors and its size."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lindsey2020.universality_claims import HALF, NAMES, RULES
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem

RULE_COLOURS = {"hebb": "#0072b2", "oja": "#d55e00"}
PRINT = {
    "mended": ("mended", "#000000", "-"),
    "block": ("the block in every G", "#cc79a7", "--"),
    "layers": ("J² matrices", "#009e73", "-."),
    "printed": ("both slips: as printed", "#d55e00", ":"),
}
LEAST = 1e-14
"""Value that is drawn for an error of 0."""


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Sizes of the network, and errors of its counts at the end of a life."""
    lines = ["| J | width | matrices, with shields | plastic weights | error, Hebb | error, Oja |", "|---" * 6 + "|"]
    for k, J in enumerate(metrics["values/J"]):
        size = [f"{metrics[f'values/{name}'][k]:,}" for name in ("width", "layers", "weights")]
        errors = [f"{mean_sem(metrics[f'values/{rule}/error'][:, -1, k])[0]:.1e}" for rule in RULES]
        lines.append(f"| {J} | " + " | ".join([*size, *errors]) + " |")
    count = metrics["values/hebb/error"].shape[1]
    lines += ["", f"Errors of a count after {count} examples, the worst of all queries; mean over training sets."]
    return "\n".join(lines)


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Errors of counts by example, slip, alpha and epsilon; the rest beyond equation 3; a smoother, by J."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 6.6), layout="constrained")
    seeds, count, _ = metrics["values/hebb/error"].shape
    examples = np.arange(1, count + 1)
    sizes, line = metrics["values/J"], {"lw": 1.6}
    for k, J in enumerate(sizes):
        for rule, style in zip(RULES, ("-", "--"), strict=True):
            shade = 0.75 - 0.75 * k / (len(sizes) - 1)
            errors = metrics[f"values/{rule}/error"][..., k].max(0)
            label = f"J = {J}" if rule == "hebb" else None
            axes[0, 0].plot(examples, errors, style, color=plt.get_cmap("viridis")(shade), label=label, **line)
    axes[0, 0].plot([], [], "k--", label="Oja's rule")
    axes[0, 0].set(title="a  by J, mended", xlabel="examples lived", ylabel="largest error of a count")
    for slips, (words, colour, style) in PRINT.items():
        errors = np.maximum(metrics[f"print/{slips}/error"].max((0, 2)), LEAST)
        axes[0, 1].plot(examples, errors, style, color=colour, label=words, lw=2)
    axes[0, 1].set(title="b  slips of the print", xlabel="examples lived")
    for axis in axes[0, :2]:
        axis.axhline(HALF, color="0.6", lw=1)
        axis.set_xscale("log", base=2)
    for rule, style in zip(RULES, ("o-", "s--"), strict=True):
        errors = metrics[f"alpha/{rule}/error"].max(0)
        axes[0, 2].plot(metrics["alpha/alpha"], errors, style, color=RULE_COLOURS[rule], label=NAMES[rule])
        axes[1, 0].plot(
            metrics["alpha/alpha"],
            metrics[f"equations/{rule}/rest"].max(0),
            style,
            color=RULE_COLOURS[rule],
            label=NAMES[rule],
        )
    axes[0, 2].set(title=f"c  by plasticity, after {count} examples", xlabel="α", xscale="log")
    guide = metrics["alpha/alpha"] ** 2 * (metrics["equations/hebb/rest"].max() / metrics["alpha/alpha"].max() ** 2)
    axes[1, 0].plot(metrics["alpha/alpha"], guide, color="0.6", lw=1, label="∝ α²")
    axes[1, 0].set(title="d  beyond equations 1 to 3", xlabel="α", xscale="log", ylabel="largest entry of z*")
    epsilon = metrics["epsilon/epsilon"]
    axes[1, 1].plot(epsilon, metrics["epsilon/error"].max(0), "o-", color=RULE_COLOURS["hebb"], label=NAMES["hebb"])
    guide = 2 * count * epsilon**2
    axes[1, 1].plot(epsilon, guide, color="0.6", lw=1, label="2Kε², the most")
    axes[1, 1].set(
        title="e  what invertible G cost", xlabel="ε", xscale="log", ylabel=f"error of a count, {count} examples"
    )
    for name, words, colour, style in (
        ("mean", "mean of the y met", "0.5", "--"),
        ("flp", "from FLP's counts", "#0072b2", "-"),
        ("binned", "from the true counts", "#d55e00", ":"),
    ):
        draw(axes[1, 2], metrics["smoother/J"], metrics[f"smoother/{name}"], color=colour, label=words, ls=style)
    axes[1, 2].set(title="f  a smoother of real x and y", xlabel="J, values of x and of y", ylabel="error (rms)")
    axes[1, 2].set(ylim=(0, None), xticks=metrics["smoother/J"])
    for axis in axes.flat:
        if axis is not axes[1, 2]:
            axis.set_yscale("log")
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(y=0.15)
    places = ("center right", "center left", "upper left", "upper left", "upper left", "lower left")
    for axis, place in zip(axes.flat, places, strict=True):
        axis.legend(frameon=False, fontsize=9, loc=place)
    axes[0, 1].get_legend().set_bbox_to_anchor((0, 0.42))
    axes[0, 0].get_legend().set_bbox_to_anchor((1, 0.62))
    figure.suptitle(
        f"Lindsey & Litwin-Kumar (2020), theorem of section 4.2: {seeds} training sets; the worst of them, "
        "but f: mean, standard error.\nBelow the grey line in a and b a count rounds to the right one",
        fontsize=11,
    )
    return figure
