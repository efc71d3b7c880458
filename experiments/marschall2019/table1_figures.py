"""The plausibility table of Marschall, Cho & Savin (2019), and pictures of costs and alignments."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.marschall2019.alignment import mean_cosines
from experiments.marschall2019.common import ALIGNED, LABELS, RULES
from experiments.marschall2019.costs import METRICS, exponent
from plasticity_jax.rules.online.cases import PLAUSIBILITY

CRITERIA = ("memory", "time", "i", "ii", "iii", "iv", "v", "vi")
UNITS = dict(zip(METRICS, ("numbers carried", "operations / step", "seconds / step"), strict=True))
TITLES = {"short": "alpha 0.5, lags 3 and 5", "long": "alpha 1, lags 5 and 9"}


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The plausibility table in Markdown, from the rules' own declarations."""
    head = ("rule", "carries", "facing", "stochastic", "solved", *CRITERIA)
    rows = []
    for rule in ALIGNED:
        own = PLAUSIBILITY[rule]
        marks = ["fails" if criterion in own.fails else "ok" for criterion in CRITERIA]
        rows.append((LABELS[rule], own.tensor, own.facing, "yes" if own.stochastic else "no", own.solved, *marks))
    lines = [head, ("---",) * len(head), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    why = [
        f"- {LABELS[rule]}, {criterion}: {reason}"
        for rule in ALIGNED
        for criterion, reason in PLAUSIBILITY[rule].fails.items()
    ]
    return "\n".join([table, "", *why])


def plot(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Cost against n, and the two alignment matrices."""
    return {"cost": cost_figure(metrics), "alignment": alignment_figure(metrics)}


def cost_figure(metrics: Mapping[str, np.ndarray]) -> Any:
    """Memory, operations and time of every rule against n."""
    import matplotlib.pyplot as plt

    sizes = metrics["cost/sizes"]
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), constrained_layout=True)
    for axis, (metric, unit) in zip(axes, UNITS.items(), strict=True):
        for index, rule in enumerate(RULES):
            values = metrics[f"cost/{rule}/{metric}"]
            if values.all():
                slope = exponent(sizes, values)
                axis.loglog(sizes, values, "o-", color=f"C{index}", ms=4, label=f"{LABELS[rule]} ~ n^{slope:.1f}")
        axis.set(xlabel="neurons n", ylabel=unit)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.legend(fontsize=7)
    figure.suptitle("Cost of one step, one stream, one seed")
    return figure


def alignment_figure(metrics: Mapping[str, np.ndarray]) -> Any:
    """Mean cosines between all pairs of rules, at both settings."""
    import matplotlib.pyplot as plt

    names = [LABELS[rule] for rule in ALIGNED]
    figure, axes = plt.subplots(1, 2, figsize=(13, 6), constrained_layout=True)
    for axis, (setting, title) in zip(axes, TITLES.items(), strict=True):
        matrix = mean_cosines(metrics, f"align.{setting}").mean(0)
        axis.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
        for i, row in enumerate(matrix):
            for j, value in enumerate(row):
                colour = "white" if abs(value) > 0.7 else "black"
                axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
        axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axis.set_yticks(range(len(names)), names)
        axis.set_title(title)
    figure.colorbar(axes[0].images[0], ax=axes, shrink=0.8, label="mean cosine")
    figure.suptitle("Alignment of the recurrent gradients while RTRL learns (second half, delays respected)")
    return figure
