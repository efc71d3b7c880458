"""The four panels of Figure 2 of Lindsey & Litwin-Kumar (2020)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lindsey2020.common import COLOURS, LABELS
from experiments.lindsey2020.fig2_summary import DEPTHS, LAYERS, final
from experiments.lindsey2020.sines import DEEP
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem

TONES = ("#009e73", "#e69f00", "#4d4d4d")
"""Colours of layers, from the lowest."""


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """The four panels; C in both orders, D total and relative."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 2, figsize=(8.6, 9.6), layout="constrained")
    draw_depths(axes[0, 0], metrics)
    for name in ("flp3", "gradient_second"):
        values = final(metrics, f"continual/{name.split('_')[0]}", "interference")
        draw(axes[0, 1], np.arange(2, values.shape[1] + 2), values, color=COLOURS[name], label=LABELS[name])
    blocks = values.shape[1] + 1
    axes[0, 1].set(yscale="log", xlabel="functions met so far", ylabel="squared change of earlier answers")
    axes[0, 1].xaxis.get_major_locator().set_params(integer=True)
    axes[0, 1].set_title("B  interference, continual", loc="left", fontsize=10)
    for axis, order, title in zip(axes[1], ("iid", "continual"), ("i.i.d.", "continual"), strict=True):
        values = final(metrics, f"{order}/flp3", "cosine")
        for k, layer in enumerate(LAYERS):
            draw(axis, steps_of(values), values[:, :, k], color=TONES[k], label=words(layer)).set_marker("")
        axis.axhline(0, color="0.6", lw=0.8, zorder=0)
        axis.set(xlabel="inner step", ylabel=r"cosine of update and $-\nabla_W L$")
        axis.set_title(f"C  alignment of FLP (3), {title}", loc="left", fontsize=10)
    for block in range(1, blocks):
        axes[1, 1].axvline(block * values.shape[1] / blocks + 0.5, color="0.7", lw=0.8, ls=":", zorder=0)
    axes[1, 0].sharey(axes[1, 1])
    labels = (("norm", r"$\|\Delta W\|$"), ("relative", r"$\|\Delta W\| \;/\; \|W\|$"))
    for axis, (metric, label) in zip(axes[2], labels, strict=True):
        for name in ("flp3", "gradient_second"):
            values = final(metrics, f"iid/{name.split('_')[0]}", metric)
            for k, style in enumerate((":", "--", "-")):
                named = f"{LABELS[name]}: {words(LAYERS[k])}"
                draw(axis, steps_of(values), values[:, :, k], color=COLOURS[name], ls=style, label=named).set_marker("")
        axis.set(yscale="log", xlabel="inner step", ylabel=label)
    axes[2, 0].set_title("D  size of the updates, i.i.d.", loc="left", fontsize=10)
    axes[2, 1].set_title("D  relative to the weights, i.i.d.", loc="left", fontsize=10)
    for axis in (*axes[0], axes[1, 0]):
        axis.legend(frameon=False, fontsize=8)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes[2, 1].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=2
    )
    return figure


def words(layer: str) -> str:
    """A layer's name, to be read."""
    return layer.replace("_", " ").replace("from end", "from the end")


def steps_of(values: np.ndarray) -> np.ndarray:
    """1, ..., T of values (seeds, T, ...)."""
    return np.arange(1, values.shape[1] + 1)


def draw_depths(axis: Any, metrics: Mapping[str, np.ndarray]) -> None:
    """Panel A: errors by number of plastic layers, and of the control."""

    def bars(names: Mapping[int, str], metric: str, **style: Any) -> None:
        means = [mean_sem(final(metrics, name, metric)) for name in names.values()]
        middle, error = np.nan_to_num(np.array(means)).T  # one seed has no error
        axis.errorbar(list(names), middle, error, ms=5, capsize=3, **style)

    bars(DEPTHS, "error", color="#e69f00", marker="o", label="plastic layers learn")
    bars(DEPTHS, "frozen", color="#0072b2", marker="o", label="features frozen at birth, readout fitted")
    bars({DEEP: "iid/upstream"}, "error", color="k", marker="s", ls="", label="control: FLP upstream of feature reuse")
    axis.set(yscale="log", xticks=list(DEPTHS), xlabel="plastic layers", ylabel="squared error, median over lives")
    axis.set_title("A  plastic against frozen features, i.i.d.", loc="left", fontsize=10)
