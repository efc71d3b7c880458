"""Errors of FLP with each choice of Lindsey & Litwin-Kumar (2020) undone, by the rate of alpha; and a table."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.lindsey2020.ablations_summary import BETAS, CHOICES, chosen, errors
from experiments.lindsey2020.common import cell
from experiments.shared.curves import mean_and_error
from plasticity_jax.tasks.incremental_sines import no_lifetime_learning

NAMES = {
    "error": "error fed back",
    "target": "target fed back",
    "after": "presynaptic after feedback",
    "learned": "β learned",
    "held_0": "β held at 0, no feedback",
    "held_0.5": "β held at 0.5",
    "held_1": "β held at 1",
    "learned_from_0.5": "β learned, from 0.5",
}
STYLES = (("#0072b2", "o-"), ("#d55e00", "s--"), ("#009e73", "^-."), ("#cc79a7", "D:"))
UNITS = {"regression": "squared error", "classification": "wrong answers (%)"}


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Errors at the rates of alpha that the other seeds choose, in Markdown."""
    lines = ["| problem | choice | error |", "|---|---|---|"]
    for problem, variants in of_problems(metrics).items():
        for name, values in variants.items():
            logs = np.log10(values) if problem == "regression" else values
            final = 10 ** chosen(logs) if problem == "regression" else chosen(logs)
            lines.append(f"| {problem} | {NAMES[name]} | {cell(final, 3 if problem == 'regression' else 1)} |")
    lines += [
        "",
        "Squared error (median over lives) or percent of wrong answers; standard error over seeds in brackets.",
    ]
    return "\n".join(lines)


def of_problems(metrics: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Errors (seeds, rates) by problem and name of the choice; the paper's choice first."""
    by_problem: dict[str, dict[str, np.ndarray]] = {}
    for problem, choices in CHOICES.items():
        if f"{problem}/{next(iter(choices))}/mean" in metrics:
            by_problem[problem] = {choice: errors(metrics, problem, choice) for choice in choices}
            first, *others = BETAS[problem]
            by_problem[problem] |= {
                beta: errors(metrics, problem, next(iter(choices)), beta) for beta in (first, *others)
            }
    return by_problem


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """A row for each problem: choices of signals, and of beta."""
    import matplotlib.pyplot as plt

    problems = of_problems(metrics)
    figure, rows = plt.subplots(
        len(problems), 2, figsize=(11, 3.7 * len(problems) + 0.5), layout="constrained", squeeze=False, sharey="row"
    )
    for row, (problem, variants) in zip(rows, problems.items(), strict=True):
        groups = (list(CHOICES[problem]), list(BETAS[problem]))
        part = f"{problem}/{next(iter(CHOICES[problem]))}"
        steps = int(np.asarray(metrics[f"{part}/episode"])[0, -1, 0])
        rates = np.asarray(metrics[f"{part}/swept"])[0, -1, :: len(BETAS[problem])]
        for axis, group, words in zip(row, groups, ("signals", "β of the hidden layer"), strict=True):
            for k, (name, (colour, style)) in enumerate(zip(group, STYLES, strict=False)):
                draw(
                    axis,
                    1.05**k * rates,
                    variants[name],
                    problem == "regression",
                    style,
                    color=colour,
                    label=NAMES[name],
                )
            level, named = (
                (no_lifetime_learning(), "best without learning") if problem == "regression" else (80, "chance")
            )
            axis.axhline(level, color="0.6", lw=1, ls="--")
            axis.text(0.01, level, named, transform=axis.get_yaxis_transform(), va="bottom", fontsize=9, color="0.4")
            axis.set(title=f"{problem}, {steps:,} meta-steps: {words}", xscale="log")
            axis.set_xlabel("meta-rate of α" if problem == "regression" else "meta-rate of α, hidden layer / readout")
            axis.set_xticks(rates, [f"{rate:g}" for rate in rates])
            axis.set_xticks([], minor=True)
            axis.spines[["top", "right"]].set_visible(False)
            axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        row[0].set_ylabel(f"{UNITS[problem]} on new lives")
        if problem == "regression":
            row[0].set_yscale("log")
    seeds = len(np.asarray(metrics["regression/error/median"]))
    figure.suptitle(
        f"Lindsey & Litwin-Kumar (2020), section 4 and appendix B.1 on small problems (paper: 20,000 and 40,000 "
        f"meta-steps)\nFLP (2), {seeds} seeds: mean and standard error (of logarithms where the axis is so), "
        "offset in x to be seen",
        fontsize=11,
    )
    return figure


def draw(axis: Any, x: np.ndarray, values: np.ndarray, logs: bool, style: str, **options: Any) -> None:
    """A line at the mean over seeds, or the geometric mean, with bars of a standard error; values (seeds, rates)."""
    with np.errstate(invalid="ignore"):
        mean, error = mean_and_error(np.log10(values) if logs else values)
    low, high = mean - error, mean + error
    if logs:
        mean, low, high = 10**mean, 10**low, 10**high
    axis.errorbar(x, mean, [mean - low, high - mean], fmt=style, capsize=3, lw=1.6, **options)
