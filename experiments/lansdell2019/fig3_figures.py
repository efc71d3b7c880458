"""Figure 3 of Lansdell, Prakash & Kording (2020): its table, its curves and its pictures."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lansdell2019.common import COLOURS, LABELS, whole_seeds
from experiments.lansdell2019.fig3_claims import per_pixel, table
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The results in Markdown."""
    heads = {
        "loss": "least test loss (1/2 SSE of 32 images)",
        "rise": "rise since (%)",
        "separation": "nearest neighbour of the same digit (%)",
        "angle": "angle to the gradient below the bottleneck (degrees)",
        "silent": "silent outputs, of the pixels that are ever lit (%)",
    }
    lines = [["method", "seeds", *heads.values(), "squared error per pixel"], ["---"] * (len(heads) + 3)]
    pixels = metrics["np/image"].shape[-1]
    for method, row in table(metrics).items():
        cells = ["{:.4g} ± {:.2g}".format(*mean_sem(row[head])) if head in row else "-" for head in heads]
        error = mean_sem(per_pixel(row["loss"], pixels))[0]
        lines.append([LABELS[method], whole_seeds(metrics[f"{method}/test_loss"]), *cells, f"{error:.4f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Test loss and silent outputs over training; latent space and reconstructions of the first seed."""
    names = list(dict.fromkeys(key.split("/")[0] for key in metrics))
    return {"lansdell2019_fig3_loss": _curves(metrics, names), "lansdell2019_fig3_pictures": _pictures(metrics, names)}


def _curves(metrics: Mapping[str, np.ndarray], names: list[str]) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(13, 5.2), constrained_layout=True)
    for axis, metric, unit in zip(
        axes,
        ("test_loss", "silent"),
        ("test loss (1/2 SSE, sum over 32 images)", "lit pixels whose output is always zero (%)"),
        strict=True,
    ):
        for name in names:
            epochs, values = metrics[f"{name}/epoch"][0], metrics[f"{name}/{metric}"]
            draw(axis, epochs, values, color=COLOURS[name], label=LABELS[name])
        axis.set(xlabel="epochs of 1,000 steps", ylabel=unit)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    seeds = len(metrics["np/test_loss"])
    figure.suptitle(f"Lansdell, Prakash & Kording (2020), Figure 3a: mean and standard error over {seeds} seeds")
    return figure


def _pictures(metrics: Mapping[str, np.ndarray], names: list[str]) -> Any:
    import matplotlib.pyplot as plt

    side = round(metrics["np/image"].shape[-1] ** 0.5)
    figure, axes = plt.subplots(
        2, len(names), figsize=(2.3 * len(names), 7.6), constrained_layout=True, height_ratios=(1, 2.3)
    )
    for column, name in enumerate(names):
        latent, digit = metrics[f"{name}/latent"][0, -1], metrics[f"{name}/digit"][0, -1]
        for d in range(10):
            shown = latent[digit == d][:60]
            axes[0, column].scatter(*shown.T, s=12, lw=0.4, marker=f"${d}$", color=f"C{d}")
        axes[0, column].set_title(LABELS[name].replace(", ", ",\n").replace("feedback ", "feedback\n"), fontsize=10)
        axes[0, column].set(xticks=[], yticks=[], xlabel="latent 1", ylabel="latent 2" if column == 0 else "")
        images, outputs = (metrics[f"{name}/{what}"][0, -1] for what in ("image", "reconstruction"))
        pairs = [
            np.hstack([a.reshape(side, side), b.reshape(side, side)]) for a, b in zip(images, outputs, strict=True)
        ]
        axes[1, column].imshow(np.vstack(pairs), cmap="gray_r", vmin=0, vmax=255)
        axes[1, column].set(xticks=[side / 2, 1.5 * side], yticks=[])
        axes[1, column].set_xticklabels(["image", "output"], fontsize=8)
    figure.suptitle("Latent space of test digits (above) and their reconstructions, first seed")
    return figure
