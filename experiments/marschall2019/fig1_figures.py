"""Curves of Figure 1 of Marschall, Cho & Savin (2019)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.marschall2019.common import LABELS, PANELS, RULES, curve
from experiments.shared.curves import draw, smooth
from plasticity_jax.tasks.add import add_entropy_floors

SMOOTHING = 10
"""Points in the running average."""
PLACES = {("add", "written"): 0, ("add", "run"): 1, ("long", "exact"): 2, ("mimic", "written"): 3, ("mimic", "run"): 4}
"""Places of the panels among 2 x 3; the last one has the legend."""
TITLES = {"add": "Add", "mimic": "Mimic", "long": "Add, lags 5 and 9, alpha = 1"}


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Smoothed curves, mean and standard error over seeds, with the entropy floors."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(15, 8.4), constrained_layout=True)
    handles = {}
    for task, reading in PANELS:
        axis = axes.flat[PLACES[task, reading]]
        for index, rule in enumerate(RULES):
            if f"{task}.{rule}/loss" in metrics:
                whole = finite(curve(metrics, task, reading, rule))
                if len(whole):
                    curves = smooth(whole, min(SMOOTHING, whole.shape[1]))
                    fraction = np.linspace(0, 1, curves.shape[1])
                    handles[LABELS[rule]] = draw(axis, fraction, curves, color=f"C{index}")
        if task == "mimic":
            axis.set_yscale("log")
        else:
            floors = add_entropy_floors()
            for name in ("nothing", "first", "both"):
                axis.axhline(floors[name], color="0.4", ls=":", lw=1)
                at = (1.05, floors[name])
                axis.annotate(f" {name}", at, fontsize=7, color="0.4", va="center", annotation_clip=False)
        axis.set(title=TITLES[task] + ("" if task == "long" else f", as {reading}"), xlabel="fraction of training")
        axis.set_ylabel("mean squared error / 2" if task == "mimic" else "cross-entropy (nats)")
    axes.flat[-1].axis("off")
    axes.flat[-1].legend(handles.values(), handles.keys(), loc="center", ncols=2, frameon=False)
    seeds = next(iter(metrics.values())).shape[0]
    figure.suptitle(
        f"Marschall, Cho & Savin (2019), Figure 1: mean and standard error over {seeds} seeds{left_out(metrics)}"
    )
    return figure


def finite(curves: np.ndarray) -> np.ndarray:
    """The curves (seeds, points) of the seeds that did not diverge."""
    return curves[np.isfinite(curves).all(1)]


def left_out(metrics: Mapping[str, np.ndarray]) -> str:
    """Words on the curves that diverged and are not drawn, if there are any."""
    losses = [values for name, values in metrics.items() if name.endswith("/loss")]
    count = sum(int((~np.isfinite(values)).any(1).sum()) for values in losses)
    return f"; {count} curves that diverged are left out" if count else ""
