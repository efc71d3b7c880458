"""Curves of Figure 1 of Marschall, Cho & Savin (2019)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.marschall2019.common import LABELS, PANELS, READINGS, RULES, curve, running_mean
from experiments.shared.curves import draw
from plasticity_jax.tasks.add import add_entropy_floors

PLACES = {("add", "written"): 0, ("add", "run"): 1, ("mimic", "written"): 2, ("mimic", "run"): 3, ("long", "exact"): 4}
"""Places of the panels in a grid of 3 x 2; the last place has the legend."""
FLOORS = {"nothing": "knows\nnothing", "first": "knows\n$x(t_1)$", "both": "knows\nboth"}
STYLES = {
    "future_facing_bptt": {"linewidth": 5.0, "alpha": 0.5, "zorder": 1.9},
    "kf_rtrl": {"linewidth": 2.6, "zorder": 2.1},
    "rtrl": {"linewidth": 1.4, "linestyle": (0, (4, 3)), "color": "black", "zorder": 2.2},
}
"""Styles of the rules that coincide: a wide pale line, a line on it, and dashes on both."""
ORDER = (
    "The paper's order, from the best:\n"
    "BPTT and RTRL; then DNI and RFLO, which it does\nnot order; then DNI(b), worse than DNI\n"
    'and "much better than" fixed W.'
)


def plot(metrics: Mapping[str, np.ndarray], config: Any) -> Any:
    """Figure of smoothed curves, mean and standard error over seeds, with the entropy floors."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 2, figsize=(10, 11.5), constrained_layout=True)
    handles = {}
    for task, reading in PANELS:
        axis = axes.flat[PLACES[task, reading]]
        steps, rate = scale_of(config, task)
        for index, rule in enumerate(RULES):
            if f"{task}.{rule}/loss" in metrics:
                finite_curves = finite(curve(metrics, task, reading, rule))
                if len(finite_curves):
                    curves = running_mean(finite_curves)
                    middles = (np.arange(curves.shape[1]) + 0.5) * steps / curves.shape[1]
                    style = {"color": f"C{index}", **STYLES.get(rule, {})}
                    line = draw(axis, middles / 1000, curves, color=style.pop("color"))
                    line.set(**style)
                    handles[LABELS[rule]] = line
        if task == "mimic":
            axis.set_yscale("log")
        else:
            mark_floors(axis)
        axis.set_title(f"{title_of(config, task, reading)}\n{steps:,} steps at a rate of {rate:g}", fontsize=11)
        axis.set_xlabel("thousand steps", fontsize=10)
        axis.set_ylabel("mean squared error / 2" if task == "mimic" else "cross-entropy (nats)", fontsize=10)
        axis.tick_params(labelsize=10, which="both")
    axes.flat[-1].axis("off")
    axes.flat[-1].legend(handles.values(), handles.keys(), loc="upper center", ncols=3, frameon=False, fontsize=10)
    words = f"{ORDER}{relapses_text(metrics)}"
    axes.flat[-1].text(0.5, 0, words, ha="center", va="bottom", fontsize=10, transform=axes.flat[-1].transAxes)
    seeds = next(iter(metrics.values())).shape[0]
    figure.suptitle(
        "Marschall, Cho & Savin (2019), Figure 1; the authors' script has 1,000,000 steps at a rate of 0.0001\n"
        f"mean of {seeds} seeds in a band of a standard error, running average of 10 points{divergence_text(metrics)}",
        fontsize=11,
    )
    return figure


def scale_of(config: Any, task: str) -> tuple[int, float]:
    """Steps on a task and the learning rate."""
    return getattr(config, f"{task}_steps"), getattr(config, f"{task}_rate")


def title_of(config: Any, task: str, reading: str) -> str:
    """Title of a panel."""
    if task == "mimic":
        return f"b) Mimic, as {reading}" + (" in the text" if reading == "written" else " by the authors")
    first, second = {"written": config.lags_written, "run": config.lags_run, "exact": config.long_lags}[reading]
    words = {"written": "a) Add, as written in the text", "run": "a) Add, as run by the authors", "exact": "Add (ours)"}
    return f"{words[reading]}: lags {first}, {second}, alpha {1 if task == 'long' else config.alpha:g}"


def mark_floors(axis: Any) -> None:
    """Draws dotted lines at the smallest losses given some knowledge of the past, with labels at the right."""
    floors = add_entropy_floors()
    for name, words in FLOORS.items():
        axis.axhline(floors[name], color="0.4", ls=":", lw=1.2)
        at = axis.get_yaxis_transform()
        axis.text(1.015, floors[name], words, fontsize=9, color="0.3", va="center", transform=at)


def finite(curves: np.ndarray) -> np.ndarray:
    """Curves (seeds, points) of the seeds that did not diverge."""
    return curves[np.isfinite(curves).all(1)]


def divergence_text(metrics: Mapping[str, np.ndarray]) -> str:
    """Text on the number of curves that diverged and are not drawn; empty if there are none."""
    losses = [values for name, values in metrics.items() if name.endswith("/loss")]
    count = sum(int((~np.isfinite(values)).any(1).sum()) for values in losses)
    return f"; {count} curves that diverged are left out" if count else ""


RELAPSE = 0.02
"""Smallest rise that counts as a relapse, in nats."""


def relapse_count(metrics: Mapping[str, np.ndarray], reading: str, rule: str) -> int:
    """Number of seeds with a last tenth of Add more than `RELAPSE` above their best; losses are over the floor."""
    above = curve(metrics, "add", reading, rule) - curve(metrics, "add", reading, rule, "floor")
    tenth = max(1, above.shape[1] // 10)
    best = running_mean(above)[:, :-tenth].min(1)
    return int((above[:, -tenth:].mean(1) - best > RELAPSE).sum())


def relapses_text(metrics: Mapping[str, np.ndarray]) -> str:
    """Text on the number of seeds, by rule, that end Add clearly above their best; empty if there are none."""
    lines = []
    for reading in READINGS:
        counts = {rule: relapse_count(metrics, reading, rule) for rule in RULES if f"add.{rule}/loss" in metrics}
        counts_text = [f"{LABELS[rule]} {count}" for rule, count in counts.items() if count]
        if counts_text:
            lines.append(f"as {reading}: {', '.join(counts_text)}")
    head = f"\n\nSeeds that end Add more than {RELAPSE} nats\nabove their own best:\n"
    return head + "\n".join(lines) if lines else ""
