"""Figure 3 of Bellec et al. (2020): the table, curves of learning, and a trial at the end."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.bellec2020.common import COLOURS, LABELS, raster
from experiments.bellec2020.fig3_claims import PARTS, finals
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem
from plasticity_jax.tasks.evidence_accumulation import evidence_levels

PAPER = "Bellec et al. (2020), Figure 3: evidence accumulated over a delay"
GROUPS = ("left", "right", "answer", "noise")


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The end of training in Markdown."""
    columns = ["network", "method", "seeds", "right answers (%)", "loss (nats)", "spikes (Hz)", "cosine of feedback"]
    lines = [columns, ["---"] * len(columns)]
    for part in [part for part in PARTS if f"{part}/loss" in metrics]:
        kind, method = part.split(".")
        values, loss = finals(metrics, part), metrics[f"{part}/loss"]
        cells = ["{:.1f} ± {:.1f}".format(*mean_sem(100 * values["right"]))]
        cells += ["{:.3f} ± {:.3f}".format(*mean_sem(values["loss"])), f"{mean_sem(values['rate'])[0]:.1f}"]
        cells += [f"{mean_sem(values['aligned'])[0]:.2f}" if "aligned" in values else "-"]
        seeds = f"{np.isfinite(loss[:, -1]).sum()} of {len(loss)}"
        lines.append([kind.upper(), LABELS[method], seeds, *cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(metrics: Mapping[str, np.ndarray], config: Any) -> dict[str, Any]:
    """Curves of learning; and, if e-prop was run, a trial of its first seed."""
    figures = {"learning": learning(metrics, config)}
    if "alif.eprop/spikes" in metrics:
        figures["trial"] = trial(metrics, config)
    return figures


def learning(metrics: Mapping[str, np.ndarray], config: Any) -> Any:
    """Right answers and losses through training, and the ends of all seeds."""
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(12, 5.4), layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=[1, 0.24])
    axes = [figure.add_subplot(grid[0, k]) for k in range(3)]
    foot = figure.add_subplot(grid[1, :])
    foot.set_axis_off()
    handles = {}
    ran = [part for part in PARTS if f"{part}/loss" in metrics]
    for part in ran:
        kind, method = part.split(".")
        style = {"color": COLOURS[method], "ls": "-" if kind == "alif" else "--"}
        x = metrics[f"{part}/updates"][0] - 0.5 * config.updates / config.points
        handles[f"{kind.upper()}, {LABELS[method]}"] = draw(axes[0], x, 100 * metrics[f"{part}/right"], **style)
        draw(axes[1], x, metrics[f"{part}/loss"], **style)
    for k, part in enumerate(ran):
        kind, method = part.split(".")
        right = 100 * finals(metrics, part)["right"]
        spread = np.linspace(-0.15, 0.15, len(right)) if len(right) > 1 else [0]
        filled = COLOURS[method] if kind == "alif" else "none"
        axes[2].plot(k + np.asarray(spread), right, "o", ms=6, mec=COLOURS[method], mfc=filled)
    marks(axes[0], config)
    marks(axes[2], config, named=True)
    axes[0].set(xlabel=f"updates, of {config.batch} trials each", ylabel="right answers (%)", ylim=(35, 102))
    axes[1].axhline(np.log(2), color="0.5", ls=":", lw=1)
    axes[1].set(xlabel=f"updates, of {config.batch} trials each", ylabel="cross-entropy (nats)", ylim=(0, 1.2))
    names = [f"{part.split('.')[0].upper()} {part.split('.')[1]}" for part in ran]
    axes[2].set_xticks(range(len(ran)), names, rotation=45, ha="right", fontsize=9)
    axes[2].set(ylim=(35, 102), title="last tenth, every seed")
    foot.legend(handles.values(), handles.keys(), loc="center", ncols=3, frameon=False)
    seeds = len(metrics[f"{ran[0]}/loss"])
    figure.suptitle(f"{PAPER}\nmean and standard error over {seeds} seeds; dotted: chance, and who knows one cue alone")
    return figure


def marks(axis: Any, config: Any, *, named: bool = False) -> None:
    """Draws dotted lines at the levels of no cue and of one cue, named at the right."""
    levels = evidence_levels(config.cues, config.bias)
    for name, words in (("nothing", "chance"), ("one", "one\ncue")):
        axis.axhline(100 * levels[name], color="0.5", ls=":", lw=1)
        if named:
            style = {"fontsize": 9, "color": "0.4", "transform": axis.get_yaxis_transform()}
            axis.text(1.02, 100 * levels[name], words, va="center", **style)


def trial(metrics: Mapping[str, np.ndarray], config: Any) -> Any:
    """Inputs, spikes and the decision in a trial after training, by symmetric e-prop, first seed."""
    import matplotlib.pyplot as plt

    at = (0, -1)  # first seed, end of training
    inputs, spikes = (metrics[f"alif.eprop/{name}"][at] for name in ("inputs", "spikes"))
    probability, side = metrics["alif.eprop/probability"][at], int(metrics["alif.eprop/side"][at])
    seconds = np.arange(len(spikes)) * config.dt / 1000
    sizes = {"figsize": (10, 7.5), "layout": "constrained", "sharex": True}
    figure, axes = plt.subplots(3, 1, height_ratios=[1, 2, 0.9], **sizes)
    raster(axes[0], seconds, inputs, "0.3")
    channels = inputs.shape[1] // len(GROUPS)
    axes[0].set_yticks([(k + 0.5) * channels - 0.5 for k in range(len(GROUPS))], GROUPS)
    axes[0].set_title("inputs", fontsize=11)
    half = config.n // 2
    raster(axes[1], seconds, spikes[:, :half], "0.3")
    raster(axes[1], seconds, spikes[:, half:], COLOURS["eprop"], half)
    axes[1].axhline(half - 0.5, color="0.6", lw=0.8)
    axes[1].set_yticks([half / 2, 1.5 * half], ["LIF", "ALIF"])
    axes[1].set_title(f"neurons, {1000 * spikes.mean() / config.dt:.0f} spikes a second each", fontsize=11)
    axes[2].plot(seconds, probability, color=COLOURS["eprop"])
    axes[2].axhline(0.5, color="0.5", ls=":", lw=1)
    axes[2].set(ylim=(-0.05, 1.05), xlabel=f"seconds, in steps of {config.dt:g} ms", ylabel="P(right)")
    axes[2].set_title(f"output; the answer to give is '{GROUPS[side]}', in the shaded time", fontsize=11)
    for axis in axes:
        axis.axvspan(seconds[-1] - config.recall / 1000, seconds[-1], color="0.5", alpha=0.15, lw=0)
        axis.set_xlim(0, seconds[-1])
    figure.suptitle(
        f"{PAPER}\na trial after {config.updates:,} updates of symmetric e-prop, first seed (no band: one trial)"
    )
    return figure
