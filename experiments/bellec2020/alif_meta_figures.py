"""Time constants and broadcast weights from an outer loop: the table, losses of held-out lives, and learned theta."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.bellec2020.alif_meta_claims import ARMS, METHODS, THETAS, ends
from experiments.bellec2020.common import LABELS
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem

PAPER = "Our own, after Bellec et al. (2020): time constants and broadcast of e-prop, from an outer loop"
NAMES = {
    "start": "start",
    "grid": "best of a grid",
    "constants": "time constants learned",
    "broadcast": "broadcast learned",
    "both": "both learned",
    "start.innate": "innate readout: start",
    "innate": "innate readout: broadcast learned",
}
COLOURS = {
    "start": "#7f7f7f",
    "grid": "#000000",
    "constants": "#0072b2",
    "broadcast": "#d55e00",
    "both": "#009e73",
    "start.innate": "#e0a6c6",
    "innate": "#aa4488",
}


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Held-out lives at every theta, in Markdown."""
    lengths = ends(metrics, "start")["loss"].shape[1]
    columns = ["theta", "right answers (%)", "loss (nats)", f"loss, lives {lengths} times as long"]
    columns += [f"loss, {LABELS[method]}" for method in METHODS[1:]] + ["cosine of broadcast and readout"]
    lines = [columns, ["---"] * len(columns)]
    for theta in [theta for theta in NAMES if ends(metrics, theta)]:
        values = ends(metrics, theta)
        cells = ["{:.1f} ± {:.1f}".format(*mean_sem(100 * values["right"][:, 0]))]
        cells += ["{:.3f} ± {:.3f}".format(*mean_sem(values["loss"][:, k])) for k in (0, -1)]
        for name in (f"{method}_loss" for method in METHODS[1:]):
            cells.append("{:.3f} ± {:.3f}".format(*mean_sem(values[name])) if name in values else "-")
        cells.append("{:.2f} ± {:.2f}".format(*mean_sem(values["aligned"][:, 0])) if "aligned" in values else "-")
        lines.append([NAMES[theta], *cells])
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{table}\n\nHeld-out lives: mean and standard error over seeds. Other methods at the same time constants."


def plot(metrics: Mapping[str, np.ndarray], config: Any) -> dict[str, Any]:
    """Losses of held-out lives, and the theta of the outer loops."""
    return {"lives": losses(metrics, config), "theta": learned(metrics, config)}


def losses(metrics: Mapping[str, np.ndarray], config: Any) -> Any:
    """Loss through the outer loop, in longer lives, and at the end by theta and method."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(11, 8), layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=[1, 1, 0.16])
    course, longer = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
    last, foot = figure.add_subplot(grid[1, :]), figure.add_subplot(grid[2, :])
    foot.set_axis_off()
    handles = {}
    by_theta = {theta: values for theta in NAMES if (values := ends(metrics, theta))}
    steps = np.concatenate([[0], np.asarray(metrics["meta/meta_step"])[0, :, 0]])
    for k, arm in enumerate(ARMS):
        begin = by_theta["start.innate" if arm == "innate" else "start"]["loss"][:, None, 0]
        curve = np.concatenate([begin, np.asarray(metrics["meta/loss"])[:, :, k, 0]], 1)
        handles[NAMES[arm]] = draw(course, steps, curve, color=COLOURS[arm], ls="--" if arm == "innate" else "-")
    for theta in ("start", "grid", "constants", "broadcast", "both"):
        values = by_theta[theta]["loss"]
        lengths = config.updates * np.arange(1, values.shape[1] + 1)
        handles[NAMES[theta]] = draw(longer, lengths, values, color=COLOURS[theta])
    longer.axvline(config.updates, color="0.6", lw=1, ls=":")
    course.set(title="a  held-out lives", xlabel=f"steps of the outer loop; lives in each: {config.lives}")
    longer.set(title="b  longer lives; dotted: those of the outer loop", xlabel="updates of a held-out life")
    longer.set_xticks(lengths)
    by_method(last, by_theta)
    for axis in (course, longer, last):
        axis.axhline(np.log(2), color="0.5", ls=":", lw=1)
        axis.set_ylabel("cross-entropy (nats)")
        axis.spines[["top", "right"]].set_visible(False)
    (handles[NAMES["start.innate"]],) = foot.plot([], [], "o-", ms=3, color=COLOURS["start.innate"])
    foot.legend(handles.values(), handles.keys(), loc="center", ncols=3, frameon=False, fontsize=10)
    seeds = len(by_theta["start"]["loss"])
    figure.suptitle(f"{PAPER}\nmean and standard error over {seeds} seeds (c: every seed); dotted level: chance")
    return figure


def by_method(axis: Any, by_theta: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Every seed's loss at the end of a life, by theta and method."""
    places, names, at = [], [], 0.0
    for theta in THETAS:
        for method in METHODS:
            key = "loss" if method == "random" else f"{method}_loss"
            if theta not in by_theta or key not in by_theta[theta] or (theta == "broadcast" and method != "random"):
                continue
            if theta in ("innate", "start.innate") and method in ("bptt", "frozen"):
                continue
            values = by_theta[theta][key][:, 0] if method == "random" else by_theta[theta][key]
            spread = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else np.zeros(1)
            axis.plot(at + spread, values, "o", ms=5, color=COLOURS[theta], mfc=None if method == "random" else "none")
            axis.plot([at - 0.35, at + 0.35], [np.nanmean(values)] * 2, color=COLOURS[theta], lw=1.5)
            places.append(at)
            short = {"random": "broadcast", "eprop": "symmetric", "bptt": "BPTT", "frozen": "readout alone"}
            names.append(short[method])
            at += 1
        at += 0.8
    axis.set_xticks(places, names, rotation=40, ha="right", fontsize=9)
    axis.set_title("c  at the end of a life, by method (filled: that of the outer loop) at the constants of its colour")


def learned(metrics: Mapping[str, np.ndarray], config: Any) -> Any:
    """Time constants of every neuron, and cosines of broadcast and readout."""
    import matplotlib.pyplot as plt

    figure, (scatter, cosines) = plt.subplots(1, 2, figsize=(11, 5), layout="constrained", width_ratios=[1.3, 1])
    for arm in ("constants", "both"):
        at_end = ends(metrics, arm)
        voltage, adaptation = at_end["tau_voltage"].ravel(), at_end["tau_adaptation"].ravel()
        scatter.plot(voltage, adaptation, "o", ms=4, color=COLOURS[arm], alpha=0.6, label=NAMES[arm])
    best = ends(metrics, "grid")["best"]
    scatter.plot(best[:, 0], best[:, 1], "s", ms=9, mfc="none", mec=COLOURS["grid"], label=NAMES["grid"])
    scatter.plot(config.tau, config.tau_adaptation, "X", ms=10, color=COLOURS["start"], label=NAMES["start"])
    scatter.set(xscale="log", yscale="log")
    for axis in (scatter.xaxis, scatter.yaxis):
        low, high = axis.get_view_interval()
        ticks = [k * 10**p for p in range(7) for k in (1, 2, 5) if low < k * 10**p < high]
        axis.set_ticks(ticks, [f"{tick:,}" for tick in ticks])
        axis.set_ticks([], minor=True)
    scatter.set(title="a  time constants of all neurons and seeds")
    scatter.set(xlabel="of the voltage (ms)", ylabel="of the adaptation (ms)")
    scatter.legend(frameon=False, fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=4)
    thetas = [theta for theta in THETAS if "aligned" in ends(metrics, theta)]
    for k, theta in enumerate(thetas):
        values = ends(metrics, theta)["aligned"][:, 0]
        spread = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else np.zeros(1)
        cosines.plot(k + spread, values, "o", ms=6, color=COLOURS[theta])
    cosines.axhline(0, color="0.5", ls=":", lw=1)
    cosines.set_xticks(range(len(thetas)), [NAMES[theta] for theta in thetas], rotation=35, ha="right", fontsize=9)
    cosines.set(title="b  broadcast and readout at the end of a life", ylabel="cosine, every seed")
    for axis in (scatter, cosines):
        axis.spines[["top", "right"]].set_visible(False)
    seeds = len(metrics["start/loss"])
    figure.suptitle(f"{PAPER}\n{seeds} seeds after {config.meta_steps} steps (no band: every one is drawn)")
    return figure
