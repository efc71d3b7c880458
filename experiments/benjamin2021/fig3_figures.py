"""Figures of Figure 3's experiment: pictures, curves of training, and patterns."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.benjamin2021.common import COLOURS, LABELS, LINES, legend_below, percent, seeds_in_words
from experiments.benjamin2021.fig3_summary import ran
from experiments.shared.curves import draw


def figures(metrics: Mapping[str, np.ndarray], summary: Mapping[str, float]) -> dict[str, Any]:
    """Three figures by name; pictures are of the first seed."""
    return {
        "pictures": pictures(metrics),
        "training": training(metrics, summary),
        "patterns": patterns(metrics, summary),
    }


def pictures(metrics: Mapping[str, np.ndarray]) -> Any:
    """Test digits of each class with their reconstructions, and samples asleep; a row for each method."""
    import matplotlib.pyplot as plt

    rows = [("shown", metrics["data/shown"][0, 0], metrics["untrained/dreamed"][0, 0])]
    rows += [
        (
            f"{LABELS[m]}\n(told {percent(metrics[f'{m}/told'][0, -1])})",
            metrics[f"{m}/reconstructed"][0, -1],
            metrics[f"{m}/dreamed"][0, -1],
        )
        for m in ran(metrics)
    ]
    figure, axes = plt.subplots(len(rows), 2, figsize=(11, 0.46 * len(rows) + 0.95))
    for (label, left, right), pair in zip(rows, axes, strict=True):
        for axis, images in zip(pair, (left, right[:10]), strict=True):
            axis.imshow(strip(images), cmap="gray", vmin=0, vmax=255, aspect="equal")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        pair[0].set_ylabel(label, rotation=0, ha="right", va="center", fontsize=9)
    axes[0, 0].set_title("test digits, and one reconstruction each", fontsize=10)
    axes[0, 1].set_title("samples asleep (first row: untrained)", fontsize=10)
    figure.suptitle(
        f"{heading(metrics)}, the first shown\ntold: share of the code's variance that the image explains", fontsize=10
    )
    height = figure.get_figheight()
    figure.subplots_adjust(left=0.19, right=0.995, top=1 - 0.75 / height, bottom=0.01, wspace=0.03, hspace=0.08)
    return figure


def strip(images: np.ndarray) -> np.ndarray:
    """Flat square images (N, pixels) side by side, with dark gaps."""
    side = round(images.shape[1] ** 0.5)
    padded = np.pad(images.reshape(-1, side, side), ((0, 0), (0, 0), (0, 1)))
    return padded.transpose(1, 0, 2).reshape(side, -1)


def training(metrics: Mapping[str, np.ndarray], summary: Mapping[str, float]) -> Any:
    """Identity, error, Frechet distances and the code's variance that the image explains, in the course of training."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 7.4), constrained_layout=True)
    panels = (
        ("identity", "digit kept (share of test digits)", ("identity", "identity_pca", "identity_mean")),
        ("mse", "squared error of a pixel, one sample", ("mse_other", "mse_mean", "mse_pca")),
        ("mse_mean", "squared error of a pixel, mean of 10", ("mse_other", "mse_mean", "mse_pca")),
        ("sleep_frechet", "Frechet distance of samples", ("frechet_real", "frechet_mean")),
        ("frechet", "Frechet distance of reconstructions", ("frechet_real", "frechet_mean")),
        ("told", "variance of code told by image (share)", ()),
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
        for method in ran(metrics):
            steps = metrics[f"{method}/step"][0]
            style = {"color": COLOURS[method], "label": LABELS[method], "ls": LINES[method]}
            draw(axis, steps / 1000, metrics[f"{method}/{what}"], **style)
        for level in levels:
            axis.axhline(summary[f"data/{level}"], color="0.5", ls=":", lw=1)
            axis.annotate(
                names[level],
                (0.995, summary[f"data/{level}"]),
                xycoords=axis.get_yaxis_transform(),
                color="0.4",
                fontsize=9,
                ha="right",
                va="top" if (what, level) in (("identity", "identity_pca"), ("mse_mean", "mse_mean")) else "bottom",
                annotation_clip=True,
            )
        axis.set(xlabel="thousand steps", ylabel=label, yscale="log" if "frechet" in what else "linear")
        if "frechet" not in what:
            axis.set_ylim(-0.04 if what == "told" else 0, 1.08 if what in ("identity", "told") else 0.125)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend_below(figure, handles, labels, ncols=3)
    figure.suptitle(
        f"{heading(metrics)}\nmean and standard error; principal components: as many as units of the code", fontsize=10
    )
    return figure


def patterns(metrics: Mapping[str, np.ndarray], summary: Mapping[str, float]) -> Any:
    """Frequencies of rounded patterns awake and asleep, and in two samples of wake; divergences, floor and controls."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplot_mosaic("abc;ddd", figsize=(11, 8), height_ratios=(4, 3.4), constrained_layout=True)
    methods = ran(metrics)
    compared = [method for method in ("wake_sleep", "combined") if method in methods] or list(methods[:1])
    panels = [(method, 1, "asleep") for method in compared] + [(compared[-1], 2, "awake, other images")]
    ends = [metrics[f"{method}/frequencies_rounded"][:, -1].reshape(-1, 3) for method, *_ in panels]
    least = min((frequencies[frequencies > 0].min() for frequencies in ends if (frequencies > 0).any()), default=1.0)
    bounds = [least / 3, 2 * max(frequencies.max() for frequencies in ends) + least]
    scatter = np.random.default_rng(0)
    for name, (method, column, other), frequencies in zip("abc", panels, ends, strict=False):
        axis, pairs = axes[name], frequencies[:, [0, column]]
        x, y = (np.maximum(pairs, least / 2) * np.exp(scatter.normal(0, 0.06, pairs.shape))).T
        asleep = column == 1
        axis.loglog(x, y, ".", color=COLOURS[method] if asleep else "0.4", ms=4, alpha=0.4, mew=0)
        axis.plot(bounds, bounds, color="0.5", lw=1, ls=":")
        kind = "sleep" if asleep else "floor"
        r = summary[f"{method}/correlation_{kind}_rounded"]
        title = f"{LABELS[method]}\nr = {r:.2f}" if asleep else f"best that sleep can do\nr = {r:.2f}"
        axis.set(xlim=bounds, ylim=bounds, xlabel="frequency awake", ylabel=f"frequency {other}", aspect="equal")
        axis.set_title(title, fontsize=10)
    for name in "abc"[len(panels) :]:
        axes[name].set_axis_off()
    names = {
        "sleep": "sleep (colour: method)",
        "floor": "floor: wake again",
        "unpaired": "x and z unpaired",
        "shuffled": "units shuffled",
    }
    shades = {"floor": "#d9d9d9", "unpaired": "#8c8c8c", "shuffled": "#4d4d4d"}
    axis = axes["d"]
    for i, (kind, label) in enumerate(names.items()):
        places = np.arange(len(methods)) + 0.2 * (i - 1.5)
        height, error = ([summary[f"{m}/js_{kind}{end}"] for m in methods] for end in ("", "_sem"))
        colour = [COLOURS[m] for m in methods] if kind == "sleep" else shades[kind]
        axis.bar(places, height, 0.19, yerr=error, color=colour, label=label, error_kw={"lw": 1})
    labels = [LABELS[m].replace(", ", ",\n") + f"\ntold {percent(summary[f'{m}/told'])}" for m in methods]
    axis.set_xticks(range(len(methods)), labels, fontsize=9)
    axis.set(ylabel="JS divergence from wake (bits)", title="binary patterns: x > 0.5, z > 0")
    axis.set_ylim(0, 1.25 * axis.get_ylim()[1])
    axis.legend(frameon=False, fontsize=9, loc="upper center", ncols=4)
    figure.suptitle(
        f"{heading(metrics)}\nabove: patterns of 8 pixels and 8 units of the code, rounded; the 256 most frequent of "
        "other images, all seeds,\nscattered by 6 %, never met: lowest group; below: mean and standard error",
        fontsize=10,
    )
    return figure


def heading(metrics: Mapping[str, np.ndarray]) -> str:
    """Paper, scale and seeds, for a title."""
    steps, side = metrics[f"{ran(metrics)[0]}/step"][0, -1], round(metrics["data/shown"].shape[-1] ** 0.5)
    return (
        f"Benjamin & Kording (2021), Figure 3: {side} x {side} pixels, {steps:,.0f} steps (paper: 28 x 28, 46,800), "
        f"{seeds_in_words(len(metrics['data/shown']))}"
    )
