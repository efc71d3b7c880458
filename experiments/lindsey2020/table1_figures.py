"""Table 1 of Lindsey & Litwin-Kumar (2020) with the paper's numbers, and errors in the course of meta-training."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lindsey2020.common import COLOURS, ORDERS, WORDS, cell
from experiments.lindsey2020.sines import Sines, in_words
from experiments.lindsey2020.table1_summary import LEARNERS, NAMES, PAPER, final, part_of, ran
from experiments.shared.curves import mean_and_error
from plasticity_jax.run import mean_sem
from plasticity_jax.tasks.incremental_sines import no_lifetime_learning


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Table 1 in Markdown: our means and medians, and the paper's means."""
    columns = [f"{WORDS[order]}, {what}" for order in ORDERS for what in ("mean", "median", "paper's mean")]
    lines = [f"| learner | {' | '.join(columns)} |", "|" + "---|" * (len(columns) + 1)]
    for name in LEARNERS:
        cells = []
        for order in ORDERS:
            printed = PAPER[order].get(name)
            for what in ("test", "median"):
                run = name in ran(metrics, order)
                cells.append(cell(final(metrics, order, name, what), 4) if run else "not run")
            cells.append("" if printed is None else f"{printed:g}")
        lines.append(f"| {NAMES[name]} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Squared error on new functions, mean and median over lives; standard error over seeds in brackets. A life "
        "that diverged has no finite error, and its seed no mean.",
    ]
    return "\n".join(lines)


def plot(metrics: Mapping[str, np.ndarray], config: Sines) -> Any:
    """Errors on new functions in the course of meta-training, for both orders, and those in the paper."""
    import matplotlib.pyplot as plt

    orders = [order for order in ORDERS if ran(metrics, order)]
    figure, axes = plt.subplots(1, len(orders), figsize=(10, 6.2), sharey=True, layout="constrained", squeeze=False)
    for axis, order in zip(axes[0], orders, strict=True):
        draw_order(axis, metrics, order)
        axis.set(yscale="log", xlabel="meta-steps", title=WORDS[order])
        axis.spines[["top", "right"]].set_visible(False)
    axes[0, 0].set_ylabel("squared error on new functions")
    lines = {label: line for axis in axes[0] for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    at: dict[str, Any] = {"frameon": False, "fontsize": 9, "loc": "upper left", "bbox_to_anchor": (0, -0.12)}
    for k, axis in enumerate(axes[0]):  # below, clear of the record's line
        axis.legend(list(lines.values())[k :: len(orders)], list(lines)[k :: len(orders)], **at)
    figure.suptitle(
        f"Lindsey & Litwin-Kumar (2020), Table 1: {in_words(config)}\n"
        "line: median over lives, geometric mean over seeds; band: its standard error; circle: mean over lives at the "
        "end",
        fontsize=11,
    )
    return figure


def draw_order(axis: Any, metrics: Mapping[str, np.ndarray], order: str) -> None:
    """Curves of all learners on one order, their means at the end, and the printed errors to the right."""
    end = 0
    for name in ran(metrics, order):
        part = part_of(order, name)
        error, episode = np.asarray(metrics[f"{part}/median_{order}"]), np.asarray(metrics[f"{part}/episode"])[0]
        if name == "gradient_warm":  # its second half; the first is FLP's
            error, episode = error[:, error.shape[1] // 2 :], episode[len(episode) // 2 :]
        draw_logs(axis, episode, error, color=COLOURS[name], label=NAMES[name], ls="--" if name == "flp3" else "-")
        end = max(end, episode[-1])
        axis.plot(episode[-1], mean_sem(final(metrics, order, name, "test"))[0], "o", color=COLOURS[name], mfc="none")
    printed = [(name, value) for name, value in PAPER[order].items() if name in ran(metrics, order)]
    for name, value in printed:
        axis.plot([1.04 * end, 1.14 * end], [value] * 2, ls=(0, (2, 1)), lw=2, color=COLOURS[name])
    if printed:
        above = 1.25 * max(value for _, value in printed)
        axis.text(1.09 * end, above, "paper's", ha="center", fontsize=9, color="0.3")
    axis.set_xlim(0, 1.18 * end)
    axis.set_xticks([tick for tick in axis.get_xticks() if 0 <= tick <= end])
    level = no_lifetime_learning()
    axis.axhline(level, color="0.6", lw=1, ls=":")
    axis.text(
        0.01,
        level * 1.08,
        "best without learning in the life",
        fontsize=9,
        color="0.4",
        transform=axis.get_yaxis_transform(),
    )


def draw_logs(axis: Any, x: np.ndarray, errors: np.ndarray, **style: Any) -> None:
    """A line at the geometric mean over seeds, in a band of a standard error of the logs; errors (seeds, points)."""
    with np.errstate(divide="ignore"):
        middle, error = mean_and_error(np.log10(errors))
    (line,) = axis.plot(x, 10**middle, lw=1.6, **style)
    axis.fill_between(x, 10 ** (middle - error), 10 ** (middle + error), color=line.get_color(), alpha=0.2, lw=0)
