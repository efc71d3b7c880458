"""CIFAR-10, after Lansdell, Prakash & Kording (2020): the table and the panels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lansdell2019.cifar_claims import CHANCE, LABELS, PAPER, finals, layers_of, ran
from experiments.lansdell2019.common import COLOURS, EPOCH, panels, whole_seeds
from experiments.shared.curves import draw, mean_and_error
from plasticity_jax.run import mean_sem

SHADES = {
    "bp": COLOURS["bp"],
    "sign": COLOURS["bp_noise"],
    "kp": COLOURS["matching"],
    "mirror": COLOURS["adam"],
    "np_chain": COLOURS["np"],
    "np_direct": COLOURS["np_forget"],
    "fa": COLOURS["fa"],
    "dfa": COLOURS["fa_tuned"],
    "frozen": COLOURS["bp_tuned"],
    "readout": "#bdbdbd",
}
DASHED = ("np_direct", "dfa", "readout")


def text(metrics: Mapping[str, np.ndarray], config: Any) -> str:
    """The end of training in Markdown, with the published accuracies if the images are CIFAR-10's."""
    published = PAPER if config.data == "cifar10" else {}
    columns = ["method", "seeds", "right (%)", "paper", "angle to the gradient, from the lowest layer", "B to W"]
    lines = [columns, ["---"] * len(columns)]
    for method in ran(metrics):
        final = finals(metrics, method)
        accuracy = "{:.1f} ± {:.1f}".format(*mean_sem(final["accuracy"]))
        angles = [
            ", ".join(f"{mean_sem(final[prefix + name])[0]:.0f}" for name in layers_of(final) if prefix + name in final)
            for prefix in ("", "weight_")
        ]
        cells = [LABELS[method], whole_seeds(metrics[f"{method}/loss"]), accuracy, f"{published.get(method, '')}"]
        lines.append([*cells, *(each or "-" for each in angles)])
    lines.append(["chance", "-", f"{CHANCE:g}", "", "90", "90"])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return table + (
        "\n\nMean and standard error over seeds; angles are means, in degrees. Paper: on CIFAR-10, by a larger network "
        "and in 200 epochs; its numbers are quoted from memory."
    )


def plot(metrics: Mapping[str, np.ndarray], config: Any) -> Any:
    """Accuracy through training and at its end; at the end, angles of credit to gradient and of B to W, by layer."""
    figure, axes, foot = panels(2, 2, (10, 9.4), 0.3)
    (curves, bars), (credit, weights) = axes
    handles, methods = {}, ran(metrics)
    for method in methods:
        style = {"color": SHADES[method], "ls": "--" if method in DASHED else "-"}
        steps = EPOCH * metrics[f"{method}/epoch"][0]
        handles[LABELS[method]] = draw(curves, steps, metrics[f"{method}/accuracy"], **style)
        for axis, name in ((credit, "angle"), (weights, "weight_angle")):
            if f"{method}/{name}" in metrics:
                mean, error = mean_and_error(metrics[f"{method}/{name}"][:, -1])
                layer = np.arange(len(mean)) + 1
                axis.errorbar(layer, mean, error, marker="o", ms=4, capsize=2, lw=1.6, **style)
                axis.set_xticks(layer)
    _bars(bars, metrics, PAPER if config.data == "cifar10" else {})
    curves.set(xlabel="steps", ylabel="test images right (%)", title="through training")
    curves.axhline(CHANCE, color="0.5", ls=":", lw=1)
    for axis, title in ((credit, "credit to the gradient, at the end"), (weights, "B to W, at the end")):
        axis.axhline(90, color="0.5", ls=":", lw=1)
        axis.set(ylim=(0, 100), title=title, xlabel="hidden layer, from the lowest", ylabel="angle (degrees)")
    foot.legend(handles.values(), handles.keys(), loc="center", ncols=3, frameon=False, fontsize=10)
    steps, seeds = metrics[f"{methods[0]}/epoch"][0, -1] * EPOCH, len(metrics[f"{methods[0]}/epoch"])
    figure.suptitle(
        "Lansdell, Prakash & Kording (2020), published version: images by feedback through convolutions\n"
        f"{steps:,.0f} steps; mean and standard error over {seeds} seeds; dotted: chance",
        fontsize=11,
    )
    return figure


def _bars(axis: Any, metrics: Mapping[str, np.ndarray], published: Mapping[str, float]) -> None:
    """Draws final accuracies, with the published ones as marks."""
    methods = ran(metrics)[::-1]
    for row, method in enumerate(methods):
        mean, error = mean_and_error(finals(metrics, method)["accuracy"])
        axis.barh(row, mean, xerr=error, color=SHADES[method], height=0.7, capsize=2)
        axis.text(1, row, f"{mean:.1f}", va="center", fontsize=9, color="white", weight="bold")
        if method in published:
            axis.plot([published[method]] * 2, [row - 0.42, row + 0.42], color="#c00000", lw=2.5)
            axis.text(published[method] + 1, row, f"{published[method]}", va="center", fontsize=9, color="#c00000")
    axis.axvline(CHANCE, color="0.5", ls=":", lw=1)
    axis.set_yticks(range(len(methods)), [LABELS[method].replace(" node", "\nnode") for method in methods], fontsize=9)
    axis.set(
        xlim=(0, 100),
        xlabel="test images right (%)",
        title="at the end" + "; red: paper, its own network" * bool(published),
    )
