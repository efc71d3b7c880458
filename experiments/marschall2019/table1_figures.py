"""The plausibility table of Marschall, Cho & Savin (2019), and figures of costs and alignments."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.marschall2019.alignment import mean_cosines
from experiments.marschall2019.common import ALIGNED, LABELS, RULES
from experiments.marschall2019.costs import METRICS, exponent
from experiments.shared.curves import mean_and_error
from plasticity_jax.rules.online.cases import PLAUSIBILITY

CRITERIA = ("memory", "time", "i", "ii", "iii", "iv", "v", "vi")
UNITS = dict(zip(METRICS, ("numbers carried", "operations a step", "seconds a step"), strict=True))
PANELS = ("a) memory of the rule itself", "b) operations, as the compiler counts", "c) wall time, least of three runs")
MARKS = {"uoro": ("--", "s"), "reverse_kf_rtrl": (":", "^"), "kf_rtrl": ("-", "v"), "dni": ("--", "D")}
"""Line and marker of rules that coincide with others in a panel."""
CACHES = """Exponents are of the larger half of the sizes.
Fixed W carries nothing, so a) lacks it; BPTT's
memory is its window of states and inputs.
Wall time depends on where numbers lie, too: at
n = 32 weights and traces are some kB, at 256
some 100 kB, beyond the first cache. Hence, we
think, exponents above those of the operations."""
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
    """Figures of cost against n and of the two alignment matrices, by name."""
    return {"cost": cost_figure(metrics), "alignment": alignment_figure(metrics)}


def cost_figure(metrics: Mapping[str, np.ndarray]) -> Any:
    """Figure of memory, operations and time of every rule against n, with the exponents."""
    import matplotlib.pyplot as plt

    sizes = metrics["cost/sizes"]
    figure, axes = plt.subplots(2, 2, figsize=(10, 9), constrained_layout=True)
    for axis, title, (metric, unit) in zip(axes.flat[:3], PANELS, UNITS.items(), strict=True):
        for index, rule in enumerate(RULES):
            values = metrics[f"cost/{rule}/{metric}"]
            if values.all():
                line, marker = MARKS.get(rule, ("-", "o"))
                axis.loglog(sizes, values, line, marker=marker, color=f"C{index}", ms=5, lw=1.6)
        axis.set_title(title, fontsize=11)
        axis.set_xlabel("neurons n", fontsize=10)
        axis.set_ylabel(unit, fontsize=10)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.tick_params(labelsize=10)
    exponents_beside(axes.flat[3], metrics)
    figure.suptitle(
        "Marschall, Cho & Savin (2019), Table 1: cost of one step, one stream, one network (no spread over seeds)",
        fontsize=11,
    )
    return figure


def exponents_beside(axis: Any, metrics: Mapping[str, np.ndarray]) -> None:
    """Draws a legend with the three exponents of each rule, and notes on them."""
    from matplotlib.lines import Line2D

    axis.axis("off")
    for at, words in ((0.42, "memory"), (0.63, "operations"), (0.88, "time")):
        axis.text(at, 0.98, words, ha="center", fontsize=10, transform=axis.transAxes)
    for index, rule in enumerate(RULES):
        y = 0.91 - 0.057 * index
        line, marker = MARKS.get(rule, ("-", "o"))
        style = {"color": f"C{index}", "linestyle": line, "marker": marker, "ms": 5}
        axis.add_line(Line2D((-0.1, -0.02), (y + 0.012,) * 2, transform=axis.transAxes, clip_on=False, **style))
        axis.text(0, y, LABELS[rule], fontsize=10, transform=axis.transAxes)
        for at, metric in zip((0.42, 0.63, 0.88), METRICS, strict=True):
            values = metrics[f"cost/{rule}/{metric}"]
            words = f"$n^{{{exponent(metrics['cost/sizes'], values):.1f}}}$" if values.all() else "none"
            axis.text(at, y, words, ha="center", fontsize=10, transform=axis.transAxes)
    axis.text(-0.1, 0.3, CACHES, va="top", fontsize=10, transform=axis.transAxes)


def alignment_figure(metrics: Mapping[str, np.ndarray]) -> Any:
    """Figure of mean cosines between all pairs of rules at both settings, with standard errors over seeds."""
    import matplotlib.pyplot as plt

    names = [LABELS[rule] for rule in ALIGNED]
    figure, axes = plt.subplots(2, 1, figsize=(9, 13), constrained_layout=True)
    for axis, (setting, title) in zip(axes, TITLES.items(), strict=True):
        mean, error = mean_and_error(mean_cosines(metrics, f"align.{setting}"))
        axis.imshow(mean, vmin=-1, vmax=1, cmap="RdBu_r", aspect="auto")
        for i, row in enumerate(mean):
            for j, value in enumerate(row):
                colour = "white" if abs(value) > 0.7 else "black"
                words = f"{value:.2f}" if i == j else f"{value:.2f}\n$\\pm${error[i, j]:.3f}"
                axis.text(j, i, words, ha="center", va="center", fontsize=9, color=colour)
        axis.set_xticks(range(len(names)), names, fontsize=10)
        axis.set_yticks(range(len(names)), names, fontsize=10)
        axis.set_title(f"Add, {title}", fontsize=11)
    figure.colorbar(axes[0].images[0], ax=axes, shrink=0.6, label="mean cosine")
    seeds = metrics["align.short/cosines"].shape[0]
    figure.suptitle(
        "Alignment of the rules of Marschall, Cho & Savin (2019) while RTRL learns (ours, after their companion)\n"
        f"second half of the run, delays respected; mean of {seeds} seeds and its standard error",
        fontsize=11,
    )
    return figure
