"""Figure S7 of Bellec et al. (2020): the table, curves of learning, and the pattern at the end."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.bellec2020.common import COLOURS, LABELS, raster
from experiments.bellec2020.figS7_claims import METHODS, finals
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem

PAPER = "Bellec et al. (2020), supplementary Figure S7: generation of a pattern"


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The end of training in Markdown."""
    columns = ["method", "seeds", "power missed (%)", "spikes (Hz)", "cosine of feedback"]
    lines = [columns, ["---"] * len(columns)]
    for method in [method for method in METHODS if f"{method}/loss" in metrics]:
        values, loss = finals(metrics, method), metrics[f"{method}/loss"]
        cells = ["{:.1f} ± {:.1f}".format(*mean_sem(100 * values["error"])), f"{mean_sem(values['rate'])[0]:.1f}"]
        cells += [f"{mean_sem(values['aligned'])[0]:.2f}" if "aligned" in values else "-"]
        lines.append([LABELS[method], f"{np.isfinite(loss[:, -1]).sum()} of {len(loss)}", *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(metrics: Mapping[str, np.ndarray], config: Any) -> dict[str, Any]:
    """Errors through training, and the pattern at its end."""
    return {"learning": learning(metrics, config), "pattern": pattern(metrics, config)}


def learning(metrics: Mapping[str, np.ndarray], config: Any) -> Any:
    """Share of the pattern's power that is missed, through training and at its end."""
    import matplotlib.pyplot as plt

    figure, (curves, ends) = plt.subplots(1, 2, figsize=(10, 4.8), layout="constrained", width_ratios=[1.6, 1])
    ran = [method for method in METHODS if f"{method}/loss" in metrics]
    for k, method in enumerate(ran):
        x = metrics[f"{method}/updates"][0] - 0.5 * config.updates / config.points
        draw(curves, x, 100 * metrics[f"{method}/error"], color=COLOURS[method])
        error = 100 * finals(metrics, method)["error"]
        spread = np.linspace(-0.15, 0.15, len(error)) if len(error) > 1 else np.zeros(1)
        ends.plot(k + spread, error, "o", ms=6, color=COLOURS[method])
    for axis in (curves, ends):
        axis.axhline(100, color="0.5", ls=":", lw=1)
        axis.set_yscale("log")
        ticks = [1, 2, 5, 10, 20, 50, 100, 200, 500]
        axis.set_yticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
    curves.set(xlabel="updates, of a trial each", ylabel="power missed (%)")
    ends.set_xticks(range(len(ran)), [LABELS[method] for method in ran], rotation=35, ha="right")
    ends.set(title="last tenth, every seed", ylim=curves.get_ylim())
    for tick, method in zip(ends.get_xticklabels(), ran, strict=True):
        tick.set_color(COLOURS[method])  # the names are the legend of both panels
    seeds = len(metrics[f"{ran[0]}/loss"])
    figure.suptitle(f"{PAPER}\nmean and standard error over {seeds} seeds; dotted: an output of 0", fontsize=12)
    return figure


def pattern(metrics: Mapping[str, np.ndarray], config: Any) -> Any:
    """Target and output of the first seed after training, a row for each method, and spikes by e-prop."""
    import matplotlib.pyplot as plt

    ran = [method for method in METHODS if f"{method}/output" in metrics]
    target = metrics[f"{ran[0]}/target"][0, -1]
    seconds = np.arange(len(target)) * config.dt / 1000
    spikes = metrics["eprop/spikes"][0, -1] if "eprop/spikes" in metrics else None
    rows = len(ran) + (spikes is not None)
    sizes = {"figsize": (10, 1.35 * rows + 1.8), "layout": "constrained", "sharex": True}
    figure, axes = plt.subplots(rows, 1, height_ratios=[1] * len(ran) + [2] * (spikes is not None), **sizes)
    axes = np.atleast_1d(axes)
    for axis, method in zip(axes, ran, strict=False):
        axis.plot(seconds, target[:, 0], color="0.6", lw=3)
        axis.plot(seconds, metrics[f"{method}/output"][0, -1, :, 0], color=COLOURS[method], lw=1.4)
        axis.set(ylim=(-1.3, 1.3), yticks=[-1, 0, 1])
        axis.set_title(LABELS[method], fontsize=10, loc="left", pad=2)
    if spikes is not None:
        raster(axes[-1], seconds, spikes, "0.2")
        axes[-1].set_title(
            f"neurons by e-prop, {1000 * spikes.mean() / config.dt:.0f} spikes a second each", fontsize=10
        )
        axes[-1].set_ylabel("neuron")
    axes[-1].set(xlabel=f"seconds, in steps of {config.dt:g} ms", xlim=(0, seconds[-1]))
    words = f"target (grey) and output{' 1' if config.n_out > 1 else ''} after {config.updates:,} updates, first seed"
    figure.suptitle(f"{PAPER}\n{words} (no band: it is one trial)", fontsize=12)
    return figure
