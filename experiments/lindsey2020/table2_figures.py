"""Table 2 of Lindsey & Litwin-Kumar (2020) beside the paper's numbers, and errors in the course of meta-training."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lindsey2020.common import COLOURS, ORDERS, WORDS, cell
from experiments.lindsey2020.table2_summary import CHANCE, METHODS, NAMES, PAPER, final
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem

MARKERS = {"iid": "o", "continual": "s"}


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Table 2 in Markdown, with the paper's numbers beside ours."""
    mini = bool(np.max(metrics["untrained/mini_imagenet"]))
    heads = ["Omniglot, i.i.d.", "Omniglot, continual", "mini-ImageNet"]
    lines = ["| learner | " + " | paper | ".join(heads) + " | paper |", "|---" * 7 + "|"]
    for method in (*METHODS, "oml", "untrained"):
        cells = []
        for column in PAPER:
            if method == "oml":
                ours = "not built"
            elif mini != (column == "mini_imagenet"):
                ours = "not reached yet"
            else:
                ours = cell(final(metrics, "iid" if mini else column, method), 1)
            cells += [ours, f"{PAPER[column][method]:g}" if method in PAPER[column] else ""]
        lines.append(f"| {NAMES[method]} | " + " | ".join(cells) + " |")
    lines += ["", "Percent of wrong answers on new classes, of five; standard error over seeds in brackets."]
    return "\n".join(lines)


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Errors on new classes in the course of meta-training, for both orders, and at its end."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1, 3, figsize=(11.5, 3.9), layout="constrained", gridspec_kw={"width_ratios": [1.15, 1.15, 1]}
    )
    for axis, order in zip(axes, ORDERS, strict=False):
        at = ORDERS.index(order)
        born, _ = mean_sem(final(metrics, order, "untrained"))
        for method in METHODS:
            error, episode = np.asarray(metrics[f"{method}/test"])[..., at], np.asarray(metrics[f"{method}/episode"])
            draw(axis, episode[0, :, at], error, color=COLOURS[method], label=NAMES[method])
        for level, words in ((CHANCE, "chance"), (born, "untrained features")):
            axis.axhline(level, color="0.6", lw=1, ls="--")
            axis.text(0.98, level - 1, words, transform=axis.get_yaxis_transform(), ha="right", va="top", color="0.4")
        axis.set(xlabel="meta-steps", title=WORDS[order], ylim=(0, 1.05 * CHANCE), xlim=(0, None))
    axes[0].set_ylabel("wrong answers on new classes (%)")
    axes[1].legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1, 0.8))
    for i, method in enumerate(METHODS):
        for order, shift in zip(ORDERS, (-0.12, 0.12), strict=True):
            mean, sem = mean_sem(final(metrics, order, method))
            face = COLOURS[method] if order == "iid" else "white"
            axes[2].errorbar(
                i + shift, mean, sem, color=COLOURS[method], fmt=MARKERS[order], markerfacecolor=face, capsize=3
            )
    for order in ORDERS:
        face = "0.3" if order == "iid" else "white"
        axes[2].plot([], [], MARKERS[order], color="0.3", markerfacecolor=face, label=WORDS[order])
    short = ["reuse (1)", "FLP (2)", "gradient (2)\n1st order", "gradient (2)\n2nd order"]
    axes[2].set_xticks(range(len(METHODS)), short, fontsize=8)
    axes[2].set(ylabel="wrong answers at the end (%)", title="after meta-training", ylim=(0, None))
    axes[2].legend(frameon=False, fontsize=8, loc="lower right")
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure
