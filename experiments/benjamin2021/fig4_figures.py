"""Figures of Figure 4's experiment: pictures, the course of training, classes by layer."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.benjamin2021.common import COLOURS, legend_below, percent, seeds_in_words
from experiments.benjamin2021.fig4_claims import PARTS, TITLES, TRAINED
from experiments.benjamin2021.fig4_waves import WAVES
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem

SITE_COLOURS = ("black", "#0072b2", "#56b4e9", "#009e73", "#e69f00", "#d55e00")

STYLES = {"combined": COLOURS["combined"], "marginals": COLOURS["marginals"], "untrained": "0.5"}


def figures(metrics: Mapping[str, np.ndarray], summary: Mapping[str, float]) -> dict[str, Any]:
    """Figures by name: pictures, the course of training, classes by layer."""
    return {
        "pictures": _plot_pictures(metrics),
        "training": _plot_training(metrics, summary),
        "layers": _plot_layers(metrics, summary),
    }


def _plot_pictures(metrics: Mapping[str, np.ndarray]) -> Any:
    """Test images, reconstructions by the layer turned at, and dreams, of the first seed."""
    import matplotlib.pyplot as plt

    recalled = {part: metrics[f"{part}/picture_recalled"][0, -1] for part in PARTS}
    dreams = {part: np.stack(np.split(metrics[f"{part}/picture_dream"][0, -1], 2))[0] for part in PARTS}
    depth, shares = len(recalled["combined"]), metrics["combined/told"][0, -1]
    rows = [("test images", metrics["data/picture"][0, 0])]
    rows += [(f"turned at h{i + 1}\n(told {percent(shares[i])})", each) for i, each in enumerate(recalled["combined"])]
    rows += [(f"at h{depth},\n{TITLES['marginals']}", recalled["marginals"][-1])]
    rows += [("dreams", dreams["combined"])]
    rows += [(f"dreams,\n{TITLES[part]}", dreams[part]) for part in ("marginals", "untrained")]
    figure, axes = plt.subplots(len(rows), 1, figsize=(11, 0.97 * len(rows) + 0.8), constrained_layout=True)
    for axis, (label, images) in zip(axes, rows, strict=True):
        axis.imshow(strip(images), interpolation="nearest")
        axis.set_ylabel(label, rotation=0, ha="right", va="center", fontsize=10)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    figure.suptitle(
        f"{_heading(metrics)}, the first shown\ncombined objective where not said otherwise; told: the share of a "
        "layer's variance that the image explains",
        fontsize=10,
    )
    return figure


def strip(images: np.ndarray) -> np.ndarray:
    """Images (N, n, n, 3) from -1 to 1 side by side, with a white pixel between them."""
    framed = np.pad(np.clip((images + 1) / 2, 0, 1), ((0, 0), (0, 0), (0, 1), (0, 0)), constant_values=1)
    return np.concatenate(list(framed), 1)[:, :-1]


def _plot_training(metrics: Mapping[str, np.ndarray], summary: Mapping[str, float]) -> Any:
    """Frechet distances, squared errors, own images and the critics' gaps in the course of training."""
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(2, 2, figsize=(11, 8.4), constrained_layout=True)
    axes = grid.ravel()
    steps = np.concatenate([[0], metrics["combined/step"][0]])
    for part in TRAINED:
        label = TITLES[part]

        def course(name: str, part: str = part) -> np.ndarray:
            return np.concatenate([metrics[f"untrained/{name}"], metrics[f"{part}/{name}"]], 1)

        style = {"color": STYLES[part]}
        draw(axes[0], steps, course("frechet_dream"), label=f"{label}: dreams; turned at the top", **style)
        draw(axes[0], steps, course("frechet_reconstruction"), ls="--", **style)
        draw(axes[1], steps, course("mse")[..., -1], **style)
        draw(axes[1], steps, course("mse")[..., 0], label=f"{label}: turned at h1", ls="--", **style)
        draw(axes[2], steps, 100 * course("nearer")[..., -1], **style)
        draw(axes[2], steps, 100 * course("nearer")[..., 0], ls="--", **style)
    sites = metrics["combined/wake_sleep"].shape[2]
    for i in range(sites):
        shade = {"color": SITE_COLOURS[i % len(SITE_COLOURS)], "label": f"h{i}", "ls": "-" if i % 2 else "--"}
        draw(axes[3], steps[1:], metrics["combined/wake_sleep"][..., i], **shade)
    _levels(
        axes[0],
        {
            name: summary[f"data/frechet_{key}"]
            for name, key in (("real", "real"), ("noise", "noise"), ("Gaussian", "gauss"))
        },
    )
    levels = {"another image": "mse_other", "mean image": "mse_mean", "PCA": "mse_pca"}
    _levels(axes[1], {name: summary[f"data/{key}"] for name, key in levels.items()})
    _levels(axes[2], {"chance": 50})
    axes[0].set(yscale="log", ylabel="Frechet distance to test images", title="Frechet (dashed: reconstructions)")
    axes[1].set(ylabel="mean squared error (pixels from -1 to 1)", title="Reconstruction", ylim=(0, None))
    axes[2].set(ylabel="nearer to its own image (%)", title="Own image or another", ylim=(40, 102))
    axes[3].set(ylabel="E D(wake) - E D(sleep)", title=f"Gaps of the critics, {TITLES['combined']}")
    for axis in axes:
        axis.set_xlabel("step")
    axes[3].legend(frameon=False, fontsize=9, ncols=3)
    axes[3].set_ylim(None, axes[3].get_ylim()[1] + 0.25 * np.ptp(axes[3].get_ylim()))
    handles = [line for axis in axes[:2] for line in axis.get_legend_handles_labels()[0]]
    labels = [label for axis in axes[:2] for label in axis.get_legend_handles_labels()[1]]
    legend_below(figure, handles, labels, ncols=2)
    _title(figure, metrics)
    return figure


def _plot_layers(metrics: Mapping[str, np.ndarray], summary: Mapping[str, float]) -> Any:
    """Classes read out of each layer, errors and classes kept by the layer turned at, and three oscillations."""
    import matplotlib.pyplot as plt

    figure, grid = plt.subplots(2, 2, figsize=(11, 8.2), constrained_layout=True)
    axes = grid.ravel()
    for axis, (name, factor) in zip(axes[:3], (("right", 100), ("mse", 1), ("kept", 100)), strict=True):
        for part in PARTS:
            ends = factor * metrics[f"{part}/{name}"][:, -1]
            mean, error = np.array([mean_sem(column) for column in ends.T]).T
            layers = np.arange(len(mean)) + (name != "right")
            axis.errorbar(
                layers, mean, np.nan_to_num(error), fmt="o-", color=STYLES[part], label=TITLES[part], ms=4, capsize=2
            )
            axis.set_xticks(layers, [f"h{i}" for i in layers])
    depth = metrics["combined/mse"].shape[2]
    chance = 100 * summary["combined/kept_chance"]
    _levels(axes[0], {"chance": 10, "PCA, as many as the top": 100 * summary["data/right_pca"]})
    _levels(axes[1], {"another image": summary["data/mse_other"], "mean image": summary["data/mse_mean"]})
    _levels(axes[2], {"chance": chance, "PCA": 100 * summary["data/kept_pca"]})
    axes[0].set(
        xlabel="layer", ylabel="right (%)", title="Class read out linearly, test images", xlim=(-0.2, depth + 0.2)
    )
    axes[1].set(xlabel="layer turned at", ylabel="mean squared error", title="Reconstruction", ylim=(0, None))
    axes[2].set(xlabel="layer turned at", ylabel="same class (%)", title="Class that the judge finds", ylim=(0, None))
    for (wave, line), agreement in zip(
        zip(WAVES, ("-", "--", ":"), strict=True), np.moveaxis(metrics["combined/wave_up"][:, -1], 1, 0), strict=True
    ):
        axes[3].plot(range(1, depth + 1), agreement.mean(0), "o", ls=line, color=STYLES["combined"], ms=4, label=wave)
    axes[3].set_xticks(range(1, depth + 1), [f"h{i}" for i in range(1, depth + 1)])
    axes[3].set(xlabel="layer driven from below", ylabel="as inference has it (share of variance)")
    axes[3].set(title=f"Oscillations, {TITLES['combined']}", ylim=(None, 1.02))
    axes[3].legend(frameon=False, fontsize=9, loc="upper right")
    axes[0].legend(frameon=False, loc="upper right", bbox_to_anchor=(1, 0.85))
    _title(figure, metrics)
    return figure


def _levels(axis: Any, levels: Mapping[str, float]) -> None:
    for name, level in levels.items():
        axis.axhline(level, color="0.5", ls=":", lw=1)
        axis.annotate(
            name, (0.995, level), xycoords=("axes fraction", "data"), color="0.4", fontsize=9, ha="right", va="bottom"
        )


def _heading(metrics: Mapping[str, np.ndarray]) -> str:
    """Paper, scale and seeds."""
    steps, side = metrics["combined/step"][0, -1], metrics["data/picture"].shape[3]
    return (
        f"Benjamin & Kording (2021), Figure 4: {side} x {side} pixels, {steps:,.0f} steps (paper: 32 x 32, 39,200 of "
        f"512), {seeds_in_words(len(metrics['combined/mse']))}"
    )


def _title(figure: Any, metrics: Mapping[str, np.ndarray]) -> None:
    figure.suptitle(f"{_heading(metrics)}; mean and standard error", fontsize=10)
