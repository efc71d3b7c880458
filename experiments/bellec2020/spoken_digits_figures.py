"""Spoken digits with the rule of Bellec et al. (2020): the table, curves of learning, and a recording at the end."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.bellec2020.common import COLOURS, raster
from experiments.bellec2020.spoken_digits_claims import NETWORKS, PARTS, finals, method_name
from experiments.bellec2020.spoken_digits_sounds import DIGITS, FRAME
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem

PAPER = "Spoken digits, our own task, with the rule of Bellec et al. (2020)"
SHADES = {
    **COLOURS,
    "rflo": COLOURS["eprop"],
    "snap": "#e69f00",
    "uoro": "#56b4e9",
    "ridge": "#7f7f7f",
    "mean": "#7f7f7f",
    "whole": "#7f7f7f",
}


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The end of training in Markdown."""
    columns = ["network", "method", "seeds", "right answers (%)", "of a speaker left out (%)", "spikes (Hz)"]
    lines = [columns, ["---"] * len(columns)]
    for part in [part for part in PARTS if f"{part}/right" in metrics]:
        values = finals(metrics, part)
        shares = ["{:.1f} ± {:.1f}".format(*mean_sem(100 * values[name])) for name in ("right", "stranger")]
        rate = f"{mean_sem(values['rate'])[0]:.1f}" if "rate" in values else "-"
        seeds = f"{np.isfinite(values['right']).sum()} of {len(values['right'])}"
        lines.append([NETWORKS[part.split(".")[0]], method_name(part), seeds, *shares, rate])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(metrics: Mapping[str, np.ndarray], config: Any) -> dict[str, Any]:
    """Curves of learning; and, if e-prop was run, a recording of its first seed."""
    figures = {"learning": learning(metrics, config)}
    if "alif.eprop/spikes" in metrics:
        figures["recording"] = recording(metrics, config)
    return figures


def learning(metrics: Mapping[str, np.ndarray], config: Any) -> Any:
    """Errors on the test through training, a panel for each network, and right answers of all seeds at the end."""
    import matplotlib.pyplot as plt

    ran = [part for part in PARTS if f"{part}/right" in metrics]
    figure = plt.figure(figsize=(12, 9.5), layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=[1, 0.3, 1])
    seeds = len(metrics[f"{ran[0]}/right"])
    for k, kind in enumerate(("gru", "alif")):
        axis, foot = figure.add_subplot(grid[0, k]), figure.add_subplot(grid[1, k])
        foot.set_axis_off()
        handles = {}
        for part in [part for part in ran if part.startswith(kind)]:
            method = part.split(".")[1]
            wrong = 100 * metrics[f"{part}/error"]
            if f"{part}/updates" in metrics:
                handles[method_name(part)] = draw(axis, metrics[f"{part}/updates"][0], wrong, color=SHADES[method])
            else:
                line = axis.axhline(float(np.nanmean(wrong)), color=SHADES[method], ls="--", lw=1.4)
                handles[f"{method_name(part)} of it untrained"] = line
        for part in [part for part in ran if part.startswith("mel")]:
            style = {"mel.mean": ":", "mel.whole": "-."}[part]
            line = axis.axhline(100 * float(np.nanmean(metrics[f"{part}/error"])), color="0.2", ls=style, lw=1.2)
            handles[method_name(part)] = line
        axis.axhline(100 - 100 / DIGITS, color="0.8", lw=1)
        axis.set_yscale("log")
        axis.set_yticks([1, 2, 5, 10, 20, 50, 90], ["1", "2", "5", "10", "20", "50", "90"])
        axis.minorticks_off()
        axis.set(title=NETWORKS[kind], ylim=(1.5, 100), ylabel="wrong answers on the test (%)")
        axis.set(xlabel=f"updates, of {config.batch} recordings each")
        foot.legend(handles.values(), handles.keys(), loc="center", ncols=2, frameon=False, fontsize=10)
    ends = figure.add_subplot(grid[2, :])
    for k, part in enumerate(ran):
        values, colour = finals(metrics, part), SHADES[part.split(".")[1]]
        for name, shift, filled in (("right", -0.15, colour), ("stranger", 0.15, "none")):
            spread = shift + np.linspace(-0.08, 0.08, seeds) if seeds > 1 else np.full(1, shift)
            ends.plot(k + spread, 100 * values[name], "o", ms=5, mec=colour, mfc=filled)
    ends.axhline(100 / DIGITS, color="0.8", lw=1)
    ends.set_xticks(range(len(ran)), [part.replace(".", "\n") for part in ran], fontsize=9)
    ends.set(ylim=(0, 102), ylabel="right answers (%)")
    title = "end, every seed; filled: the test, by speakers who taught; open: a speaker who did not"
    ends.set_title(title, fontsize=11)
    figure.suptitle(f"{PAPER}\nband: mean and standard error over {seeds} seeds; pale lines: chance")
    return figure


def recording(metrics: Mapping[str, np.ndarray], config: Any) -> Any:
    """Bands, spikes and answers in a recording of the test after training, by symmetric e-prop, first seed."""
    import matplotlib.pyplot as plt

    at = (0, -1)  # first seed, end of training
    bands, spikes, probability = (metrics[f"alif.eprop/{name}"][at] for name in ("bands", "spikes", "probability"))
    length, spoken_digit = int(metrics["alif.eprop/length"][at]), int(metrics["alif.eprop/said"][at])
    seconds = np.arange(length) * FRAME / 1000
    end = length * FRAME / 1000
    sizes = {"figsize": (9, 8), "layout": "constrained", "sharex": True}
    figure, axes = plt.subplots(3, 1, height_ratios=[1, 2, 1.2], **sizes)
    bounds = (0, end, -0.5, bands.shape[1] - 0.5)
    look = {"aspect": "auto", "origin": "lower", "cmap": "Greys", "interpolation": "nearest"}
    axes[0].imshow(bands[:length].T, extent=bounds, **look)
    axes[0].set_ylabel("band")
    axes[0].set_title("mel frames", fontsize=11)
    half = config.n // 2
    middle = seconds + FRAME / 2000
    raster(axes[1], middle, spikes[:length, :half], "0.3")
    raster(axes[1], middle, spikes[:length, half:], SHADES["eprop"], half)
    axes[1].axhline(half - 0.5, color="0.6", lw=0.8)
    axes[1].set_yticks([half / 2, 1.5 * half], ["LIF", "ALIF"])
    axes[1].set_title(f"neurons, {1000 * spikes[:length].mean() / FRAME:.0f} spikes a second each", fontsize=11)
    for digit in range(DIGITS):
        is_spoken = digit == spoken_digit
        style = {"color": SHADES["eprop"], "lw": 2.2} if is_spoken else {"color": "0.6", "lw": 1}
        axes[2].plot(middle, probability[:length, digit], **style)
    axes[2].set(ylim=(-0.03, 1.03), xlim=(0, end), ylabel="probability")
    axes[2].set_xlabel(f"seconds, in frames of {FRAME:.0f} ms")
    axes[2].set_title(f"the ten digits; blue: '{spoken_digit}', which is said; due in the shaded half", fontsize=11)
    for axis in axes[1:]:
        axis.axvspan(length // 2 * FRAME / 1000, end, color="0.5", alpha=0.15, lw=0)
    figure.suptitle(
        f"{PAPER}\na recording of the test after {config.updates:,} updates of symmetric e-prop, first seed (no band: "
        "it is one recording)",
        fontsize=11,
    )
    return figure
