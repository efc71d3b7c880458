"""Other rules and outer loops of section 8 of Lindsey & Litwin-Kumar (2020): errors, costs, and the learned rules."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lindsey2020.common import cell
from experiments.lindsey2020.outer_summary import LOOPS, OF_FLP, RULES, TERMS, final, name_of, part_of
from experiments.shared.curves import mean_and_error
from plasticity_jax.tasks.incremental_sines import no_lifetime_learning

NAMES = {
    "flp": "FLP, exact meta-gradient",
    "plastic_feedback": "plastic feedback",
    "taylor": "family of rules",
    "es": "FLP, ES",
    "pes": "FLP, PES",
    "truncated": "FLP, truncated",
}
STYLES = {
    "flp": ("#0072b2", "-"),
    "plastic_feedback": ("#009e73", "--"),
    "taylor": ("#d55e00", "-."),
    "es": ("#cc79a7", "--"),
    "pes": ("#b79f00", "-."),
    "truncated": ("#000000", ":"),
}


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Errors by length of life, and the coefficients of the family's rule, in Markdown."""
    run = names(metrics)
    lengths = np.asarray(metrics[f"{part_of(run[0])}/length"])[0, -1]
    heads = ["meta-trained", *[f"lives {k:g} times as long" for k in lengths], "seconds for a batch of lives"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for name in run:
        loop = "exact" if name == "flp" else name
        seconds = f"{float(metrics[f'seconds/{loop}']):.4f}" if f"seconds/{loop}" in metrics else ""
        cells = [cell(final(metrics, name, k), 3) for k in range(len(lengths))]
        lines.append(f"| {NAMES[name]} | " + " | ".join([*cells, seconds]) + " |")
    lines += ["", "Squared error, median over lives; standard error over seeds in brackets."]
    if "taylor" in run:
        coefficients = np.asarray(metrics["rule/taylor/coefficients"])[:, -1]
        lines += ["", "| term: powers of pre, post, weight, feedback | hidden layer | readout |", "|---|---|---|"]
        for k, term in enumerate(TERMS):
            mark = "" if term in OF_FLP else " (not FLP's)"
            lines.append(f"| {term}{mark} | {cell(coefficients[:, k, 0], 5)} | {cell(coefficients[:, k, 1], 5)} |")
    return "\n".join(lines)


def names(metrics: Mapping[str, np.ndarray]) -> list[str]:
    """Rules and loops that were run."""
    return [name for name in (*RULES, *LOOPS) if f"{part_of(name)}/median" in metrics]


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Errors against lives and against inner steps, in longer lives, and the learned rule."""
    import matplotlib.pyplot as plt

    run = names(metrics)
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    rules = [name for name in run if name in RULES]
    lengths = np.asarray(metrics[f"{part_of(run[0])}/length"])[0, -1]
    for name in run:
        medians = np.asarray(metrics[f"{part_of(name)}/median"])
        colour, style = STYLES[name]
        points = medians.shape[1]
        inner = float(np.asarray(metrics[f"{part_of(name)}/inner_steps"]).max())
        if name in rules:
            steps = np.asarray(metrics[f"{part_of(name)}/episode"])[0]
            draw(axes[0, 0], steps, medians[..., 0], color=colour, ls=style, label=NAMES[name])
        if name not in rules or name == "flp":
            x = inner * np.arange(1, points + 1) / points
            draw(axes[0, 1], x, medians[..., 0], color=colour, ls=style, label=NAMES[name])
        finite = np.isfinite(medians[:, -1]).all(0)
        draw(axes[1, 0], lengths[finite], medians[:, -1, finite], color=colour, ls=style, label=NAMES[name])
        if not finite.all():  # a mean over the other networks would be one over the best
            height = 0.98 - 0.05 * run.index(name)
            lost = np.flatnonzero(~finite)[0]
            axes[1, 0].plot(lengths[lost], height, "x", color=colour, ms=7, transform=axes[1, 0].get_xaxis_transform())
    axes[0, 0].set(title="a  rules, by the exact meta-gradient", xlabel="meta-steps")
    axes[0, 1].set(title="b  outer loops, of FLP", xlabel="steps of inner lives, backward as two", xscale="log")
    axes[1, 0].set(
        title="c  in longer lives; x: some networks diverge from here on", xlabel="times as long", xscale="log"
    )
    axes[1, 0].set_xticks(lengths, [f"{k:g}" for k in lengths])
    axes[1, 0].set_xticks([], minor=True)
    for axis in (axes[0, 0], axes[0, 1], axes[1, 0]):
        level = no_lifetime_learning()
        axis.axhline(level, color="0.6", lw=1, ls="--")
        axis.text(0.99, level, "best without learning", transform=axis.get_yaxis_transform(), fontsize=9, color="0.4",
                  ha="right", va="bottom")  # fmt: skip
        axis.set(yscale="log")
        axis.set_ylabel("squared error on new lives")
    if "taylor" in run:
        coefficients = np.asarray(metrics["rule/taylor/coefficients"])[:, -1]
        for layer, (words, shift) in enumerate((("hidden layer", -0.2), ("readout", 0.2))):
            relative = coefficients[..., layer] / np.abs(coefficients[..., layer]).max(1, keepdims=True)
            mean, error = mean_and_error(relative)
            colour = ("#56b4e9", "#d55e00")[layer]
            axes[1, 1].bar(np.arange(len(TERMS)) + shift, mean, 0.38, yerr=error, capsize=2, color=colour, label=words)
        axes[1, 1].axvline(len(OF_FLP) - 0.5, color="0.6", lw=1, ls="--")
        axes[1, 1].set_xticks(range(len(TERMS)), [name_of(term) for term in TERMS], rotation=45, fontsize=9)
        axes[1, 1].set(title="d  the rule found in the family; left of the line FLP's terms", ylim=(-1.1, 1.1))
        axes[1, 1].set_xlabel("powers of pre, post, weight and feedback")
        axes[1, 1].set_ylabel("coefficient / largest of its layer")
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    axes[1, 1].legend(frameon=False, fontsize=9, loc="best")
    handles = dict(zip(*reversed(axes[1, 0].get_legend_handles_labels()), strict=True))
    figure.legend(
        list(handles.values()),
        list(handles),
        frameon=False,
        fontsize=9,
        loc="lower center",
        ncols=6,
        bbox_to_anchor=(0.5, 0.025),
    )
    layout: Any = figure.get_layout_engine()
    layout.set(rect=(0, 0.06, 1, 0.94))  # the record's own line stands below
    first = np.asarray(metrics[f"{part_of(run[0])}/median"])
    steps = int(np.asarray(metrics[f"{part_of(run[0])}/episode"]).max())
    figure.suptitle(
        f"Lindsey & Litwin-Kumar (2020), section 8, which prints no numbers: a sine to a life, {steps:,} meta-steps\n"
        f"{len(first)} seeds: geometric mean and its standard error (d: mean and standard error)",
        fontsize=11,
    )
    return figure


def draw(axis: Any, x: np.ndarray, values: np.ndarray, **style: Any) -> None:
    """A line at the geometric mean over seeds, in a band of a standard error of the logarithms; (seeds, points)."""
    mean, error = mean_and_error(np.log10(np.where(np.isfinite(values), values, np.nan)))
    (line,) = axis.plot(x, 10**mean, lw=1.7, marker="o", ms=3, **style)
    axis.fill_between(x, 10 ** (mean - error), 10 ** (mean + error), color=line.get_color(), alpha=0.15, lw=0)
