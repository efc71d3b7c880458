"""Poisson neurons (Bredenberg et al. 2021, appendix B.2): losses during learning, and gradients by quantum."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.bredenberg2021.common import COLOURS
from experiments.bredenberg2021.drawing import letter, with_errors
from experiments.bredenberg2021.poisson_claims import METHODS, RULES, WHENS, gradients, quanta_of
from experiments.shared.curves import draw

LABELS = {
    "frozen": "inference frozen",
    "random": "inference frozen, weights times 100",
    "il": "impression learning",
    "ws": "wake-sleep, phases of 32",
    "nvi": "NVI*",
    "bp_blind": "BP, blind to counts",
    "bp_additive": "BP, noise as if additive",
    "bp_exact": "BP, exact",
}
SHADES = {
    "frozen": "#b79f00",
    "random": "#7f7f7f",
    **{method: COLOURS[method] for method in ("il", "ws", "nvi")},
    "bp_blind": "#cc79a7",
    "bp_additive": "#56b4e9",
    "bp_exact": "#000000",
}
WIDTHS = {"frozen": 5.0, "bp_exact": 4.0}
"""Width of lines that lie behind others."""


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Loss against steps, and cosine to the exact gradient and steps to average against the quantum."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 1, figsize=(8, 13), height_ratios=(1.25, 1, 1), constrained_layout=True)
    start = np.asarray(metrics["untrained/loss"])
    handles = {}
    for method in METHODS:
        steps = np.r_[0, np.asarray(metrics[f"{method}/step"])[0]] / 1000
        curves = np.concatenate([start, np.asarray(metrics[f"{method}/loss"])], 1)
        handles[method] = draw(axes[0], steps, curves, color=SHADES[method], label=LABELS[method])
        handles[method].set(lw=WIDTHS.get(method, 1.7), alpha=0.45 if method in WIDTHS else 1, ms=3)
    axes[0].set(xlabel="training (1000 steps)", ylabel="loss awake per step", yscale="log")
    axes[0].set_title("Loss through learning, neurons that count quanta of 1")
    lowest, highest = axes[0].get_ylim()
    places = [place for place in (50, 100, 200, 300, 400, 500, 700, 1000, 2000) if lowest < place < highest]
    axes[0].set_yticks(places, [f"{place:,}" for place in places])
    axes[0].minorticks_off()

    quanta = quanta_of(metrics)
    for place, method in enumerate(RULES):
        aside = quanta * 1.09 ** (place - 2.5)
        for j, fill in enumerate(("none", SHADES[method])):
            style = {"color": SHADES[method], "mfc": fill, "ms": 6, "fmt": ("o--", "o-")[j], "lw": 0.9}
            with_errors(axes[1], aside, gradients(metrics, method, "cosine")[:, :, j].T, **style)
            with_errors(axes[2], aside, gradients(metrics, method, "steps")[:, :, j].T, **style)
    axes[1].axhline(0, color="black", lw=0.6)
    axes[1].set(xscale="log", ylim=(-1.1, 1.1), ylabel="cosine to the exact gradient")
    axes[1].set_title("Mean update of W (blind BP's is zero: its direction is noise)")
    axes[2].set(xscale="log", yscale="log", ylabel="steps", xlabel="quantum (in units of a neuron's highest rate)")
    axes[2].set_title("Steps to average until the noise is as large as the mean (blind BP: no signal, at least)")
    for axis in axes[1:]:
        axis.set_xticks(quanta, [f"{quantum:g}" for quantum in quanta])
        axis.minorticks_off()
    marks = [
        axes[1].plot([], [], ls, marker="o", color="0.3", mfc=fill, label=f"{when} training by impression learning")[0]
        for when, ls, fill in zip(WHENS, ("--", "-"), ("none", "0.3"), strict=True)
    ]
    figure.legend(handles=[*handles.values(), *marks], loc="outside lower center", ncols=2, frameon=False)
    letter(axes, 0.1)
    seeds, steps = len(start), int(np.max(metrics["il/step"]))
    figure.suptitle(
        "Bredenberg et al. (2021), appendix B.2: neurons with Poisson noise (no figure of the paper)\n"
        f"{steps:,} steps, {seeds} seeds; bands and bars: one standard error of the mean"
    )
    return figure
