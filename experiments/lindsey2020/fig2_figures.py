"""The four panels of Figure 2 of Lindsey & Litwin-Kumar (2020)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lindsey2020.common import COLOURS
from experiments.lindsey2020.fig2_summary import DEPTHS, LAYERS, final, ran
from experiments.lindsey2020.sines import DEEP, PLASTIC, Sines, in_words
from experiments.lindsey2020.table1_summary import NAMES, PAPER
from experiments.shared.curves import mean_and_error
from plasticity_jax.run import mean_sem

TONES = ("#009e73", "#e69f00", "#4d4d4d")
"""Colours of layers, from the lowest."""
STYLES = (":", "--", "-")
"""Lines of layers, from the lowest."""
BELOW: Mapping[str, Any] = {"frameon": False, "fontsize": 9, "loc": "upper left", "bbox_to_anchor": (0, -0.14)}
"""Place of legends: clear of the data, and of the line that a record has under its figures."""
LEARNERS = {"flp3": "flp3", "gradient_warm": "gradient_warm", "gradient": "gradient_second"}
"""Networks of an order, and the learners that give them names and colours."""


def plot(metrics: Mapping[str, np.ndarray], config: Sines) -> Any:
    """The four panels; C in both orders, D total and relative."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 2, figsize=(10, 13), layout="constrained")
    draw_depths(axes[0, 0], metrics)
    blocks = [config.batches * k + 0.5 for k in range(1, config.functions)]
    draw_interference(axes[0, 1], metrics, config.batches)
    for axis, order, title in zip(axes[1], ("iid", "continual"), ("i.i.d.", "continual"), strict=True):
        axis.set_title(f"C  alignment of FLP (3) with the gradient, {title}", loc="left", fontsize=11)
        axis.axhline(0, color="0.6", lw=0.8, zorder=0)
        axis.set(xlabel="inner step", ylabel=r"cosine of update and $-\nabla_W L$")
        if ran(metrics, f"{order}/flp3"):
            values = final(metrics, f"{order}/flp3", "cosine")
            for k, layer in enumerate(LAYERS):
                draw(axis, values[:, :, k], color=TONES[k], label=words(layer))
    for axis in (axes[0, 1], axes[1, 1]):
        for block in blocks:
            axis.axvline(block, color="0.7", lw=0.8, ls=":", zorder=0)
    axes[1, 0].sharey(axes[1, 1])
    for axis in (axes[0, 1], *axes[1:].flat):
        axis.xaxis.get_major_locator().set_params(integer=True)
    labels = (("norm", r"$\|\Delta W\|$"), ("relative", r"$\|\Delta W\| \;/\; \|W\|$"))
    for axis, (metric, label) in zip(axes[2], labels, strict=True):
        for network, name in LEARNERS.items():
            if ran(metrics, f"iid/{network}"):
                values = final(metrics, f"iid/{network}", metric)
                for k, style in enumerate(STYLES):
                    draw(axis, values[:, :, k], color=COLOURS[name], ls=style)
        axis.set(yscale="log", xlabel="inner step", ylabel=label)
    axes[2, 0].set_title("D  size of the updates, i.i.d.", loc="left", fontsize=11)
    axes[2, 1].set_title("D  relative to the weights, i.i.d.", loc="left", fontsize=11)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    for axis in (*axes[0], axes[1, 0]):
        if axis.get_legend_handles_labels()[0]:
            axis.legend(**BELOW)
    for axis, key in zip(axes[2], key_of_sizes(), strict=True):
        axis.legend(*key, **BELOW)
    figure.suptitle(
        f"Lindsey & Litwin-Kumar (2020), Figure 2: {in_words(config)}\nbands and bars: standard error over seeds",
        fontsize=12,
    )
    return figure


def words(layer: str) -> str:
    """A layer's name, to be read."""
    return layer.replace("_", " ").replace("from end", "from the end")


def draw(axis: Any, values: np.ndarray, first: int = 1, **style: Any) -> None:
    """Mean over seeds and a band of its standard error, at the steps from the first on; values (seeds, steps)."""
    (mean, error), x = mean_and_error(values), np.arange(first, first + values.shape[1])
    (line,) = axis.plot(x, mean, lw=1.6, **style)
    axis.fill_between(x, mean - error, mean + error, color=line.get_color(), alpha=0.2, lw=0)


def draw_depths(axis: Any, metrics: Mapping[str, np.ndarray]) -> None:
    """Panel A, in the paper's colours: errors by number of plastic layers, of the control, and those of Table 1."""

    def bars(names: Mapping[float, str], metric: str, label: str, **style: Any) -> None:
        names = {at: name for at, name in names.items() if ran(metrics, name)}
        if names:
            means = [mean_sem(final(metrics, name, metric)) for name in names.values()]
            middle, error = np.nan_to_num(np.array(means)).T  # one seed has no error
            axis.errorbar(list(names), middle, error, ms=6, capsize=3, label=label, **style)

    orange, blue = "#e69f00", "#0072b2"
    bars({float(k): name for k, name in DEPTHS.items()}, "error", "plastic layers learn", color=orange, marker="o")
    bars(
        {float(k): name for k, name in DEPTHS.items()},
        "frozen",
        "features frozen at birth, readout fitted",
        color=blue,
        marker="o",
    )
    same = {"marker": "D", "mfc": "none", "ls": ""}
    bars({0.9: "iid/reuse_longer"}, "error", "feature reuse, twice the meta-steps", color=orange, **same)
    bars({1.1: "iid/readout"}, "error", "and weights kept in the second half", color="0.5", **same)
    control = "control: so, and FLP upstream of it"
    bars({DEEP + 0.0: "iid/upstream"}, "error", control, color="k", marker="s", ls="")
    for name, layers in PLASTIC.items():
        label = "the paper's Table 1 (mean over lives)" if layers == 1 else None
        axis.plot([layers - 0.15, layers + 0.15], [PAPER["iid"][name]] * 2, color=orange, ls=(0, (2, 1)), label=label)
    axis.set(yscale="log", xticks=list(DEPTHS), xlabel="plastic layers", ylabel="squared error, median over lives")
    axis.set_title("A  plastic against frozen features, i.i.d.", loc="left", fontsize=11)


def draw_interference(axis: Any, metrics: Mapping[str, np.ndarray], batches: int) -> None:
    """Panel B: change of outputs for earlier functions since the present one began; dots are the paper's points."""
    for network, name in LEARNERS.items():
        if not ran(metrics, f"continual/{network}"):
            continue
        values = final(metrics, f"continual/{network}", "interference_of_steps")
        style = {"color": COLOURS[name], "ls": "--" if network == "gradient" else "-"}
        draw(axis, values, batches + 1, label=NAMES[name], **style)
        ends = np.arange(batches - 1, values.shape[1], batches)
        axis.plot(batches + 1 + ends, mean_and_error(values)[0][ends], "o", ms=6, color=COLOURS[name])
    axis.set(yscale="log", xlabel="inner step", ylabel="squared change of earlier answers")
    axis.set_title("B  interference, continual (dots: the paper's points)", loc="left", fontsize=11)


def key_of_sizes() -> tuple[tuple[list[Any], list[str]], tuple[list[Any], list[str]]]:
    """Lines and labels of panel D: a colour for each learner, and a style for each layer."""
    from matplotlib.lines import Line2D

    colours = [Line2D([], [], color=COLOURS[name]) for name in LEARNERS.values()]
    styles = [Line2D([], [], color="0.3", ls=style) for style in STYLES]
    return (colours, [NAMES[name] for name in LEARNERS.values()]), (styles, [words(layer) for layer in LAYERS])
