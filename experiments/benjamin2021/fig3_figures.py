"""Figures of Figure 3's experiment: pictures, curves of training, and patterns."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.benjamin2021.common import COLOURS, LABELS
from experiments.benjamin2021.fig3_claims import METHODS
from experiments.shared.curves import draw


def figures(metrics: Mapping[str, np.ndarray], summary: Mapping[str, float]) -> dict[str, Any]:
    """Three figures by name; pictures are of the first seed."""
    return {
        "pictures": pictures(metrics),
        "training": training(metrics, summary),
        "patterns": patterns(metrics, summary),
    }


def pictures(metrics: Mapping[str, np.ndarray]) -> Any:
    """A test digit of each class and what becomes of it, and sleep's samples, a row for each method."""
    import matplotlib.pyplot as plt

    shown = metrics["data/shown"][0, 0]
    rows = [("shown", shown, metrics["untrained/dreamed"][0, 0])]
    rows += [(LABELS[m], metrics[f"{m}/reconstructed"][0, -1], metrics[f"{m}/dreamed"][0, -1]) for m in METHODS]
    figure, axes = plt.subplots(len(rows), 2, figsize=(13, 0.36 * len(rows) + 0.6), width_ratios=(1, 2))
    for (label, left, right), pair in zip(rows, axes, strict=True):
        for axis, images in zip(pair, (left, right), strict=True):
            axis.imshow(strip(images), cmap="gray", vmin=0, vmax=255, aspect="equal")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        pair[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=10)
    axes[0, 0].set_title("test digits, and one reconstruction each")
    axes[0, 1].set_title("samples asleep (first row: of an untrained network)")
    figure.subplots_adjust(left=0.19, right=0.995, top=0.89, bottom=0.01, wspace=0.03, hspace=0.08)
    return figure


def strip(images: np.ndarray) -> np.ndarray:
    """Flat square images (N, pixels) side by side, a dark gap between."""
    side = round(images.shape[1] ** 0.5)
    padded = np.pad(images.reshape(-1, side, side), ((0, 0), (0, 0), (0, 1)))
    return padded.transpose(1, 0, 2).reshape(side, -1)


def training(metrics: Mapping[str, np.ndarray], summary: Mapping[str, float]) -> Any:
    """Identity, error, Frechet distances and what the image tells the code, in the course of training."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(13.5, 7.4), constrained_layout=True)
    panels = (
        ("identity", "digit kept (share of test digits)", ("identity", "identity_pca", "identity_mean")),
        ("mse", "squared error of a pixel, one sample", ("mse_other", "mse_mean", "mse_pca")),
        ("mse_mean", "squared error of a pixel, mean of 10", ("mse_other", "mse_mean", "mse_pca")),
        ("sleep_frechet", "Frechet distance of samples", ("frechet_real", "frechet_mean")),
        ("frechet", "Frechet distance of reconstructions", ("frechet_real", "frechet_mean")),
        ("told", "variance of the code told by the image", ()),
    )
    names = {
        "identity": "real digits",
        "identity_pca": "principal components",
        "identity_mean": "mean image",
        "mse_other": "another digit",
        "mse_mean": "mean image",
        "mse_pca": "principal components",
        "frechet_real": "other real digits",
        "frechet_mean": "mean image",
    }
    for axis, (what, label, levels) in zip(axes.flat, panels, strict=True):
        for method in METHODS:
            steps = metrics[f"{method}/step"][0]
            draw(axis, steps / 1000, metrics[f"{method}/{what}"], color=COLOURS[method], label=LABELS[method])
        for level in levels:
            axis.axhline(summary[f"data/{level}"], color="0.5", ls=":", lw=1)
            axis.annotate(
                names[level],
                (0.995, summary[f"data/{level}"]),
                xycoords=axis.get_yaxis_transform(),
                color="0.4",
                fontsize=8,
                ha="right",
                va="top" if (what, level) in (("identity", "identity_pca"), ("mse_mean", "mse_mean")) else "bottom",
                annotation_clip=True,
            )
        axis.set(xlabel="thousand steps", ylabel=label, yscale="log" if "frechet" in what else "linear")
        if "frechet" not in what:
            axis.set_ylim(0, 1.08 if what in ("identity", "told") else 0.125)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)
    seeds = len(metrics["data/frechet_real"])
    figure.suptitle(f"Mean and standard error over {seeds} seeds; principal components: as many as units of the code")
    return figure


def patterns(metrics: Mapping[str, np.ndarray], summary: Mapping[str, float]) -> Any:
    """Frequencies of patterns awake and asleep, beside two halves of wake; divergences with floor and controls."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplot_mosaic("abc;ddd", figsize=(13.5, 8.6), height_ratios=(4, 3), constrained_layout=True)
    scatters = (
        (axes["a"], "wake_sleep", "frequencies", "asleep"),
        (axes["b"], "combined", "frequencies", "asleep"),
        (axes["c"], "combined", "frequencies_floor", "awake, the other half"),
    )
    ends = [metrics[f"{method}/{kind}"][:, -1] for _, method, kind, _ in scatters]
    least, most = (end(end(found[found > 0]) for found in ends) for end in (min, max))
    bounds = [least / 2.5, 1.5 * most]
    for (axis, method, kind, other), found in zip(scatters, ends, strict=True):
        x, y = np.maximum(found.reshape(-1, 2), least / 2).T
        axis.loglog(x, y, ".", color=COLOURS[method] if kind == "frequencies" else "0.4", ms=4, alpha=0.4, mew=0)
        axis.plot(bounds, bounds, color="0.5", lw=1, ls=":")
        title = LABELS[method] if kind == "frequencies" else f"{LABELS[method]}: best that can be"
        axis.set(
            xlim=bounds, ylim=bounds, xlabel="frequency awake", ylabel=f"frequency {other}", title=title, aspect="equal"
        )
    names = {
        "sleep": "sleep, by method",
        "floor": "floor: other half",
        "unpaired": "x and z unpaired",
        "shuffled": "units shuffled",
    }
    shades = {"floor": "#d9d9d9", "unpaired": "#8c8c8c", "shuffled": "#4d4d4d"}
    axis = axes["d"]
    for i, (kind, label) in enumerate(names.items()):
        at = np.arange(len(METHODS)) + 0.2 * (i - 1.5)
        height, error = ([summary[f"{m}/js_{kind}{end}"] for m in METHODS] for end in ("", "_sem"))
        colour = [COLOURS[m] for m in METHODS] if kind == "sleep" else shades[kind]
        axis.bar(at, height, 0.19, yerr=error, color=colour, label=label, error_kw={"lw": 1})
    axis.set_xticks(range(len(METHODS)), [LABELS[m].replace(", ", ",\n") for m in METHODS])
    axis.set(ylabel="Jensen-Shannon divergence (bits)", title="wake against sleep, and what that is worth")
    axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    figure.suptitle(
        "Patterns of 8 pixels and 8 units of the code (above: the 256 most frequent of a draw, all seeds; 0 at edge)"
    )
    return figure
