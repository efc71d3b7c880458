"""Figure 3 of Lansdell, Prakash & Kording (2020): its table, its curves and its pictures."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lansdell2019.common import COLOURS, LABELS, panels, whole_seeds
from experiments.lansdell2019.fig3_claims import BASELINES, dead, per_pixel, ran, table
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem

PAPER = {"np": 515.3, "adam": 538.2, "bp_tuned": 609.8, "fa_tuned": 759.2}
"""Least test losses within 1,000 epochs of the methods in the paper's figure, from the authors' notebooks."""
PAPER_EPOCHS = 1000


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The results in Markdown."""
    heads = {
        "loss": "least test loss (1/2 SSE of 32 images)",
        "loss_live": "the same, seeds that live",
        "rise": "rise since (%)",
        "separation": "nearest neighbour of the same digit (%)",
        "angle": "angle to the gradient below the bottleneck (degrees)",
        "silent": "silent outputs, of the pixels that are ever lit (%)",
    }
    columns = ["method", "seeds", "dead", *heads.values(), "squared error per pixel"]
    rows, lines = table(metrics), [columns, ["---"] * len(columns)]
    pixels = metrics[f"{next(iter(rows))}/image"].shape[-1]
    for method, row in rows.items():
        cells = ["{:.4g} ± {:.2g}".format(*mean_sem(row[head])) if head in row else "-" for head in heads]
        error = f"{mean_sem(per_pixel(row['loss'], pixels))[0]:.4f}"
        counts = [whole_seeds(metrics[f"{method}/test_loss"]), str(dead(metrics, method).sum())]
        lines.append([LABELS[method], *counts, *cells, error])
    for name in BASELINES:
        loss = metrics[f"{name}/loss"][0]
        blanks = ["-"] * (len(heads) - 1)
        lines.append([name.replace("_", " "), "-", "-", f"{loss:.4g}", *blanks, f"{per_pixel(loss, pixels):.4f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Test loss and silent outputs over training; latent space and reconstructions of the first seed that lives."""
    return {
        "lansdell2019_fig3_loss": _curves(metrics),
        "lansdell2019_fig3_latent": _latent(metrics),
        "lansdell2019_fig3_pictures": _pictures(metrics),
    }


def drawn_seed(metrics: Mapping[str, np.ndarray], method: str) -> tuple[int, str]:
    """The seed whose pictures are drawn, which is the first that lives, and a note on it for titles."""
    is_dead = dead(metrics, method)
    if is_dead.all():
        return 0, " (dead)"
    seed = int(is_dead.argmin())
    return seed, f" (seed {seed}; {is_dead.sum()} of {len(is_dead)} dead)" if is_dead.any() else ""


def _scale(metrics: Mapping[str, np.ndarray]) -> str:
    name = ran(metrics)[0]
    epochs, seeds = metrics[f"{name}/epoch"][0, -1], len(metrics[f"{name}/epoch"])
    return f"{epochs:g} of the paper's {PAPER_EPOCHS:,} epochs, {seeds} seeds"


def _curves(metrics: Mapping[str, np.ndarray]) -> Any:
    figure, axes, foot = panels(1, 2, (11, 6.2), 0.2)
    units = {
        "test_loss": "test loss (1/2 SSE, sum over 32 images)",
        "silent": "lit pixels whose output is always 0 (%)",
    }
    for axis, (metric, unit) in zip(axes[0], units.items(), strict=True):
        for name in ran(metrics):
            epochs, values = metrics[f"{name}/epoch"][0], metrics[f"{name}/{metric}"]
            label = LABELS[name] + (f" ({dead(metrics, name).sum()} dead)" if dead(metrics, name).any() else "")
            draw(axis, epochs, values, color=COLOURS[name], label=label)
            if dead(metrics, name).any():
                axis.plot(epochs, values.T, ":", color=COLOURS[name], lw=0.9)
        axis.set(xlabel="epochs of 1,000 steps", ylabel=unit)
    axes[0, 0].set_yscale("log")
    ticks = [450, 500, 600, 700, 800, 1000, 1200, 1500]
    axes[0, 0].set_yticks(ticks, [str(tick) for tick in ticks])
    axes[0, 0].minorticks_off()
    levels = {f"paper: {LABELS[name].split(',')[0]}": value for name, value in PAPER.items()}
    levels |= {name.replace("_", " "): float(metrics[f"{name}/loss"][0]) for name in BASELINES}
    for level_name, level in levels.items():
        axes[0, 0].axhline(level, color="0.4", ls="--", lw=0.9)
        axes[0, 0].annotate(
            f"{level_name} {level:.0f}", (1.01, level), xycoords=("axes fraction", "data"), fontsize=9, va="center"
        )
    foot.legend(*axes[0, 0].get_legend_handles_labels(), loc="center", ncols=3, frameon=False)
    figure.suptitle(
        f"Lansdell, Prakash & Kording (2020), Figure 3a: autoencoder of MNIST, {_scale(metrics)}\n"
        "mean and standard error; dotted: each seed, where some are dead",
        fontsize=11,
    )
    return figure


def _title(metrics: Mapping[str, np.ndarray], name: str) -> str:
    return LABELS[name] + drawn_seed(metrics, name)[1].replace(" (", "\n(", 1)


def _latent(metrics: Mapping[str, np.ndarray]) -> Any:
    import matplotlib.pyplot as plt

    names = ran(metrics)
    rows = -(-len(names) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(11, 3.7 * rows + 0.6), constrained_layout=True, squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        seed = drawn_seed(metrics, name)[0]
        latent, digit = metrics[f"{name}/latent"][seed, -1], metrics[f"{name}/digit"][seed, -1]
        for d in range(10):
            axis.scatter(*latent[digit == d][:40].T, s=45, lw=0.4, marker=f"${d}$", color=f"C{d}")
        axis.set_title(_title(metrics, name), fontsize=10)
        axis.locator_params(nbins=5)
        axis.set(xlabel="latent 1", ylabel="latent 2")
    for axis in list(axes.flat)[len(names) :]:
        axis.set_axis_off()
    figure.suptitle(
        f"Lansdell, Prakash & Kording (2020), Figure 3b: latent space of test digits\n{_scale(metrics)}; the first "
        "that lives is shown",
        fontsize=11,
    )
    return figure


def _pictures(metrics: Mapping[str, np.ndarray]) -> Any:
    import matplotlib.pyplot as plt

    names = ran(metrics)
    side = round(metrics[f"{names[0]}/image"].shape[-1] ** 0.5)
    rows = {"image": metrics[f"{names[0]}/image"][0, -1]}
    for name in names:
        rows[_title(metrics, name)] = metrics[f"{name}/reconstruction"][drawn_seed(metrics, name)[0], -1]
    figure, axes = plt.subplots(len(rows), 1, figsize=(10.5, 1.02 * len(rows) + 0.6), constrained_layout=True)
    for axis, (name, pictures) in zip(axes, rows.items(), strict=True):
        axis.imshow(np.hstack([each.reshape(side, side) for each in pictures]), cmap="gray_r", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[])
        axis.set_ylabel(name.replace(", ", ",\n"), rotation=0, ha="right", va="center", fontsize=10)
        if name.endswith("(dead)"):
            axis.text(0.5, 0.5, "all outputs are 0 on every image", transform=axis.transAxes, ha="center", va="center")
    figure.suptitle(
        f"Lansdell, Prakash & Kording (2020), Figure 3c: test digits and their reconstructions\n{_scale(metrics)}; the "
        "first that lives is shown",
        fontsize=11,
    )
    return figure
