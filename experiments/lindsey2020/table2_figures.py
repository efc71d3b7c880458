"""Table 2 of Lindsey & Litwin-Kumar (2020) with the paper's numbers, and errors in the course of meta-training."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lindsey2020.common import COLOURS, ORDERS, WORDS, cell
from experiments.lindsey2020.table2_summary import CHANCE, METHODS, NAMES, PAPER, final
from experiments.shared.curves import draw, mean_and_error
from plasticity_jax.run import mean_sem

MARKERS = {"iid": "o", "continual": "s"}
STYLES = {"reuse": "-", "flp2": "-", "gradient_first": "--", "gradient_second": "--", "oml": ":"}
SHORT = {
    "reuse": "reuse\n(1)",
    "flp2": "FLP\n(2)",
    "gradient_first": "gradient\n1st order",
    "gradient_second": "gradient\n2nd order",
    "oml": "original\nOML",
}


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Table 2 in Markdown: mean and median over lives, and the paper's numbers."""
    mini = bool(np.max(metrics["untrained/mini_imagenet"]))
    heads = ["Omniglot, i.i.d.", "Omniglot, continual", "mini-ImageNet"]
    lines = ["| learner | " + " | ".join(f"{head} | median | paper" for head in heads) + " |", "|---" * 10 + "|"]
    for method in (*METHODS, "untrained"):
        cells = []
        for column in PAPER:
            paper = f"{PAPER[column][method]:g}" if method in PAPER[column] else ""
            order = "iid" if mini else column
            if mini != (column == "mini_imagenet"):
                cells += ["not reached yet", "", paper]
            elif f"{method}/test" not in metrics:
                cells += ["not run", "", paper]
            else:
                cells.append(cell(final(metrics, order, method), 1))
                has_median = f"{method}/median" in metrics
                cells += [cell(final(metrics, order, method, "median"), 1) if has_median else "", paper]
        lines.append(f"| {NAMES[method]} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Percent of wrong answers on new classes, of five: mean and median over lives; standard error over seeds in "
        "brackets.",
    ]
    return "\n".join(lines)


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Errors on new classes in the course of meta-training, for both orders; at its end with the paper's."""
    import matplotlib.pyplot as plt

    run = [method for method in METHODS if f"{method}/test" in metrics]
    mini = bool(np.max(metrics["untrained/mini_imagenet"]))
    figure, axes = plt.subplots(1, 3, figsize=(11, 4.6), layout="constrained", width_ratios=[1, 1, 1.25])
    top = 0.0
    for axis, order in zip(axes, ORDERS, strict=False):
        at = ORDERS.index(order)
        for method in run:
            error, episode = np.asarray(metrics[f"{method}/test"])[..., at], np.asarray(metrics[f"{method}/episode"])
            draw(axis, episode[0, :, at], error, color=COLOURS[method], label=NAMES[method], ls=STYLES[method])
            curve = mean_and_error(error)[0]
            top = max([top, *curve[len(curve) // 5 :]])
        level, _ = mean_sem(final(metrics, order, "untrained"))
        words = f"chance {CHANCE:g} %, untrained features {level:.0f} %"
        axis.set(xlabel="meta-steps", title=f"{WORDS[order]} ({words})", xlim=(0, None))
        axis.title.set_fontsize(9.5)
    for axis in axes[:2]:
        axis.set_ylim(0, min(CHANCE, 1.1 * top))
    axes[0].set_ylabel("wrong answers on new classes (%)")
    axis = axes[2]
    for i, method in enumerate(run):
        for order, shift in zip(ORDERS, (-0.17, 0.17), strict=True):
            mean, sem = mean_sem(final(metrics, order, method))
            face = COLOURS[method] if order == "iid" else "white"
            style = {"color": COLOURS[method], "fmt": MARKERS[order], "markerfacecolor": face, "capsize": 3}
            axis.errorbar(i + shift, mean, 0 if np.isnan(sem) else sem, **style)
            high = mean if np.isnan(sem) else mean + sem
            axis.annotate(f"{mean:.1f}", (i + shift, high), (0, 5), textcoords="offset points", fontsize=9, ha="center")
            paper = PAPER["mini_imagenet" if mini else order].get(method)
            if paper is not None:
                axis.plot([i + shift - 0.15, i + shift + 0.15], [paper, paper], "--", color=COLOURS[method], lw=2)
    for order in ORDERS:
        face = "0.3" if order == "iid" else "white"
        axis.plot([], [], MARKERS[order], color="0.3", markerfacecolor=face, label=WORDS[order])
    axis.plot([], [], "--", color="0.3", lw=2, label="paper")
    axis.set_xticks(range(len(run)), [SHORT[method] for method in run], fontsize=9)
    axis.set(title="after meta-training", ylim=(0, None), xlim=(-0.5, len(run) - 0.5))
    axis.margins(y=0.2)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", color="0.9", lw=0.8)
    handles, labels = axes[0].get_legend_handles_labels()
    more, others = axes[2].get_legend_handles_labels()
    at = {"loc": "lower center", "bbox_to_anchor": (0.5, 0.035), "ncols": 4}
    figure.legend(handles + more, labels + others, frameon=False, fontsize=9, **at)
    layout: Any = figure.get_layout_engine()
    layout.set(rect=(0, 0.15, 1, 0.85))  # the record's own line stands below
    first = np.asarray(metrics[f"{run[0]}/test"])
    steps = int(np.asarray(metrics[f"{run[0]}/episode"]).max())
    figure.suptitle(
        f"Lindsey & Litwin-Kumar (2020), Table 2: {steps:,} meta-steps (paper: 40,000); {len(first)} seeds, "
        "mean and standard error",
        fontsize=11,
    )
    return figure
