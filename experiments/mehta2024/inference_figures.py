"""Rules inferred from recordings (Mehta et al. 2024): the table, the fitted rules, and their predictions."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.mehta2024.inference_summary import MODELS, grid, name_of, relative_error, right_terms, terms_of
from experiments.mehta2024.recordings import RULES
from experiments.shared.curves import mean_and_error
from plasticity_jax.run import mean_sem

NAMES = {
    "fitted": "family of rules",
    "dense": "family, no penalty",
    "blind": "family, no reward",
    "drift": "constant drift",
    "none": "no plasticity",
    "true": "true rule",
}
WORDS = {"oja": "Oja's rule", "reward": "rule modulated by reward"}
STYLES = {
    "fitted": ("#0072b2", "-", "o"),
    "blind": ("#cc79a7", "--", "v"),
    "drift": ("#009e73", "-.", "s"),
    "none": ("#7f7f7f", ":", "x"),
    "true": ("#000000", "--", "^"),
}
SHADES = ("#56b4e9", "#0072b2", "#00284a")


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Explained variance and errors of the fitted rule, by setting, in Markdown."""
    heads = ["hidden rule", "model", "noise", "neurons observed", "R2 of activity", "R2 of weights"]
    heads += ["networks with the right terms", "relative error of coefficients"]
    lines = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for rule in RULES:
        for model in [model for model in MODELS if f"{rule}/{model}/r2" in metrics]:
            part = f"{rule}/{model}"
            values = {name: grid(metrics, part, name) for name in ("r2", "r2_weights", "noise", "share")}
            own = ["", ""]
            for i, j in np.ndindex(values["r2"].shape[1:]):
                if f"{part}/coefficients" in metrics:
                    rules = [grid(metrics, part, name)[:, i, j] for name in ("coefficients", "true")]
                    right = right_terms(rules[0], rules[1])
                    own = [f"{right.sum():.0f} of {len(right)}", _cell(relative_error(rules[0], rules[1]))]
                cells = [WORDS[rule], NAMES[model], f"{values['noise'][0, i, j]:g}", f"{values['share'][0, i, j]:.1%}"]
                cells += [_cell(values["r2"][:, i, j]), _cell(values["r2_weights"][:, i, j]), *own]
                lines.append("| " + " | ".join(cells) + " |")
    note = (
        "Held-out trajectories, activity without noise; mean over networks, standard error in brackets. Relative error "
        "of coefficients: the norm, over all terms of the family, of what they miss of the true ones, over the norm of "
        "the true ones."
    )
    return "\n".join([*lines, "", note])


def plot(metrics: Mapping[str, np.ndarray], config: Any) -> dict[str, Any]:
    """Two figures with a row for each hidden rule: the fitted rule, and the activity that it explains."""
    rules = [rule for rule in RULES if f"{rule}/fitted/r2" in metrics]
    if not rules:
        return {}
    rules_figure, axes = _panels(metrics, config, len(rules), "Rules inferred from activity")
    for row, rule in zip(axes, rules, strict=True):
        _coefficients(row[0], metrics, rule, config)
        _trajectory(row[1], metrics, rule)
        row[0].set_ylabel(f"{WORDS[rule]}\ncoefficient / rate")
    _legend(rules_figure, axes[0], 3)
    explained_figure, axes = _panels(
        metrics, config, len(rules), "Held-out activity explained by rules inferred from it"
    )
    for row, rule in zip(axes, rules, strict=True):
        _by_noise(row[0], metrics, rule)
        _by_share(row[1], metrics, rule)
        row[0].set_ylabel(f"{WORDS[rule]}\nR2 of activity")
    _legend(explained_figure, axes[0], 4)
    return {"rules": rules_figure, "explained": explained_figure}


def _panels(metrics: Mapping[str, np.ndarray], config: Any, rows: int, title: str) -> tuple[Any, Any]:
    """A figure with two columns and a title, and its axes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(rows, 2, figsize=(10, 3.6 * rows + 1.4), layout="constrained", squeeze=False)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    seeds = len(next(iter(metrics.values())))
    figure.suptitle(
        f"{title}, after Mehta et al. (2024), whose networks are others\n"
        f"{config.meta_steps:,} steps of the fit; mean and standard error over {seeds} networks",
        fontsize=12,
    )
    return figure, axes


def _legend(figure: Any, row: Any, columns: int) -> None:
    """Draws the legend of a row below all panels."""
    handles = {}
    for axis in row:
        handles |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(list(handles.values()), list(handles), frameon=False, fontsize=10, loc="lower center", ncols=columns,
                  bbox_to_anchor=(0.5, 0.025))  # fmt: skip
    layout: Any = figure.get_layout_engine()
    layout.set(rect=(0, 0.12, 1, 0.88))


def _cell(values: np.ndarray) -> str:
    return "{:.3f} ({:.3f})".format(*mean_sem(values))


def _coefficients(axis: Any, metrics: Mapping[str, np.ndarray], rule: str, config: Any) -> None:
    """Draws the true and the largest fitted coefficients at the least and the greatest noise; marks are true values."""
    coefficients, true = (grid(metrics, f"{rule}/fitted", name) for name in ("coefficients", "true"))
    terms = terms_of(config.powers, "fitted")
    noise = grid(metrics, f"{rule}/fitted", "noise")[0, :, 0]
    true = true[0, 0, 0]
    size = np.where(true != 0, np.inf, np.abs(coefficients[:, (0, -1), 0]).mean(0).max(0))
    drawn = np.argsort(-size, kind="stable")[: min(10, len(terms))]
    for i, shift, colour, degree in ((0, -0.2, "#0072b2", "least"), (-1, 0.2, "#d55e00", "greatest")):
        mean, error = mean_and_error(coefficients[:, i, 0][:, drawn])
        label = f"found, {degree} noise (a)"
        axis.bar(np.arange(len(drawn)) + shift, mean, 0.38, yerr=error, capsize=2, color=colour, label=label)
    axis.plot(
        np.arange(len(drawn)), true[drawn], "D", color="k", ms=6, mfc="none", mew=1.5, label="true coefficient (a)"
    )
    axis.axhline(0, color="0.6", lw=0.8)
    axis.set_xticks(range(len(drawn)), [name_of(terms[k]) for k in drawn], rotation=45)
    axis.set_xlabel("powers of pre, post, weight, reward")
    axis.set_title(
        f"a  all observed, noise {noise[0]:g} and {noise[-1]:g}; {len(drawn)} of {len(terms)} terms", fontsize=11
    )


def _by_noise(axis: Any, metrics: Mapping[str, np.ndarray], rule: str) -> None:
    """Draws the explained variance of activity by noise, with all neurons observed."""
    for model, (colour, line, mark) in STYLES.items():
        if f"{rule}/{model}/r2" in metrics:
            noise = grid(metrics, f"{rule}/{model}", "noise")[0, :, 0]
            mean, error = mean_and_error(grid(metrics, f"{rule}/{model}", "r2")[:, :, 0])
            style = {"color": colour, "ls": line, "marker": mark, "ms": 5, "lw": 1.7}
            axis.errorbar(noise, mean, error, capsize=2, label=f"{NAMES[model]} (a)", **style)
    axis.set(xlabel="noise of recordings (SD)", ylim=(min(0, axis.get_ylim()[0]), 1.05))
    axis.set_title("a  all neurons observed", fontsize=11)


def _by_share(axis: Any, metrics: Mapping[str, np.ndarray], rule: str) -> None:
    """Draws the explained variance of the fit by share of observed neurons, a line for each noise."""
    values = {name: grid(metrics, f"{rule}/fitted", name) for name in ("r2", "share", "noise")}
    for i, colour in zip(range(values["r2"].shape[1]), SHADES, strict=False):
        mean, error = mean_and_error(values["r2"][:, i])
        degree = f"noise {values['noise'][0, i, 0]:g} (b)"
        axis.errorbar(
            100 * values["share"][0, i], mean, error, capsize=2, marker="o", ms=5, lw=1.7, color=colour, label=degree
        )
    axis.set(xlabel="neurons observed (%)", ylabel="R2 of their activity", xscale="log")
    ticks = 100 * values["share"][0, 0]
    axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_xticks([], minor=True)
    axis.set_ylim(top=1.02)
    axis.set_title("b  family of rules", fontsize=11)


def _trajectory(axis: Any, metrics: Mapping[str, np.ndarray], rule: str) -> None:
    """Draws a neuron in a held-out trajectory of the first network, at the middle noise, all neurons observed."""
    part = f"{rule}/fitted"
    middle = grid(metrics, part, "noise").shape[1] // 2
    observed, true = (grid(metrics, part, name)[0, middle, 0] for name in ("observed", "activity"))
    steps = np.arange(len(true))
    axis.plot(steps, true, color="0.75", lw=5, label="activity without noise (b)")
    axis.plot(steps, observed, ".", color="0.45", ms=5, label="as observed (b)")
    for model in ("none", "fitted"):
        if f"{rule}/{model}/r2" in metrics:
            colour, line, _ = STYLES[model]
            axis.plot(
                steps,
                grid(metrics, f"{rule}/{model}", "predicted")[0, middle, 0],
                color=colour,
                ls=line,
                lw=1.5,
                label=f"{NAMES[model]} (b)",
            )
    noise = grid(metrics, part, "noise")[0, middle, 0]
    axis.set(xlabel="step of the trajectory", ylabel="activity of a neuron")
    axis.set_title(f"b  a held-out trajectory, noise {noise:g}", fontsize=11)
