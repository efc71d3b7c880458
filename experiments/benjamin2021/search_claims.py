"""Summary, table, figure and claims of the search over wake/sleep's optimiser and discriminators' inputs."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.benjamin2021.common import COLOURS, legend_below, seeds_in_words
from experiments.benjamin2021.tables import cell, table
from experiments.benjamin2021.why import SEARCH
from experiments.shared.claims import every, explained
from plasticity_jax.run import gap, mean_sem, put, within

SCORES = ("identity", "mse", "told", "sleep_frechet")
KEPT = 0.5
"""Least share of digits that good reconstructions keep; Figure 3 claims that wake/sleep keeps less."""


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Numbers at the end: "search/0/identity" by setting, others by part; and the differences that claims are about.

    "best/identity" and "best/told" are those of the setting with the largest mean over seeds, chosen on the same seeds,
    which favours it; "search/lost" counts networks with a non-finite loss.
    """
    summary: dict[str, float] = {}
    last = {name: values[:, -1] for name, values in metrics.items() if name.split("/")[1] in SCORES}
    for name, values in last.items():
        part, score = name.split("/")
        for i, column in enumerate(values.T):
            put(summary, f"{part}/{i}/{score}" if part == "search" else f"{part}/{score}", column)
    for score in ("identity", "told"):
        put(summary, f"best/{score}", _best(last[f"search/{score}"]))
    summary["search/lost"] = float((metrics["search/bad_step"] >= 0).any(1).sum())
    for name in ("combined", "bare"):
        put(summary, f"gap/{name}", last[f"{name}/identity"][:, 0] - _best(last["search/identity"]))
    small, large = (f"_{side}/identity" for side in ends(metrics))
    falls = {kind: (last[f"{kind}{small}"] - last[f"{kind}{large}"])[:, 0] for kind in ("global", "local")}
    for kind, values in falls.items():
        put(summary, f"falls/{kind}", values)
    put(summary, "gap/falls", falls["global"] - falls["local"])
    return summary


def _best(values: np.ndarray) -> np.ndarray:
    """The column of (seeds, settings) with the largest mean over the seeds that did not diverge."""
    finite = np.where(np.isfinite(values), values, -math.inf)
    return values[:, int(np.argmax(finite.mean(0)))]


def ends(metrics: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """The smallest and the largest side."""
    ordered = sides(metrics)
    return ordered[0], ordered[-1]


def sides(metrics: Mapping[str, np.ndarray]) -> list[int]:
    """Sides of images at which discriminators are compared, small to large."""
    names = [name.split("/")[0] for name in metrics if name.startswith("global_") and name.endswith("/identity")]
    return sorted(int(name.removeprefix("global_")) for name in names)


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Table of all networks, in Markdown."""
    summary, (seeds, _, draws) = summarise(metrics), metrics["search/identity"].shape
    names = {f"search/{i}": f"wake/sleep, setting {i}" for i in range(draws)}
    names |= {"combined": "combined, setting 0", "bare": "wake/sleep without recurrence, setting 0"}
    for kind, label in (("global", "wake/sleep, global discriminator"), ("local", "combined, local discriminators")):
        names |= {f"{kind}_{side}": f"{label}, {side} x {side}" for side in sides(metrics)}
    heads = ("network", "identity kept", "squared error", "code told by image", "Frechet, samples")
    return table(
        heads, [[label, *(cell(summary, f"{name}/{s}", seeds) for s in SCORES)] for name, label in names.items()]
    )


def figures(metrics: Mapping[str, np.ndarray], tried: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Identity by each setting that the search draws, and by the inputs of a discriminator."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 7), constrained_layout=True, sharey=True)
    identity = metrics["search/identity"][:, -1]
    mean, error = np.array([mean_sem(column) for column in identity.T]).T
    labels = {
        "model_rate": "rate of the network, over the first's",
        "critic_rate": "rate of discriminators, likewise",
        "weight_decay": "decay of weights",
        "b1": "b1",
        "b2": "1 - b2",
    }
    for axis, (name, label) in zip(axes.flat, labels.items(), strict=False):
        x = 1 - tried[name] if name == "b2" else tried[name]
        axis.errorbar(x, mean, np.nan_to_num(error), fmt="o", color=COLOURS["wake_sleep"], ms=5, label="wake/sleep")
        axis.plot(x[0], mean[0], "o", ms=11, mfc="none", color="black", label="Figure 3's setting")
        for other, colour in (("combined", COLOURS["combined"]), ("bare", COLOURS["wake_sleep_no_recurrence"])):
            level = np.nanmean(metrics[f"{other}/identity"][:, -1])
            title = {"combined": "combined", "bare": "wake/sleep, no recurrence"}[other]
            axis.axhline(level, color=colour, ls="--", lw=1.5, label=title)
        axis.set(xlabel=label, xscale="linear" if name == "b1" else "log", ylim=(0, 1.02))
        axis.xaxis.set_minor_formatter("")
    last = axes[1, 2]
    for kind, colour, label in (
        ("global", COLOURS["wake_sleep_no_recurrence"], "wake/sleep, global"),
        ("local", COLOURS["combined_no_recurrence"], "combined, local"),
    ):
        identities = [metrics[f"{kind}_{side}/identity"][:, -1, 0] for side in sides(metrics)]
        mean, error = np.array([mean_sem(column) for column in identities]).T
        last.errorbar(sides(metrics), mean, np.nan_to_num(error), fmt="o-", color=colour, label=label, capsize=2)
    last.set(xlabel="side of the image (pixels), no recurrence", xticks=sides(metrics))
    last.legend(frameon=False, fontsize=9, loc="lower right")
    for axis in axes[:, 0]:
        axis.set_ylabel("digit kept (share of test digits)")
    handles, names = axes[0, 0].get_legend_handles_labels()
    legend_below(figure, handles, names, ncols=4)
    figure.suptitle(
        f"Benjamin & Kording (2021), sections 3.1 and 5.1: {identity.shape[1]} settings of the optimiser, "
        f"{seeds_in_words(len(identity))}; mean and standard error",
        fontsize=10,
    )
    return {"search": figure}


SEARCHED = "did not produce better reconstructions"

_CLAIMS = [
    every(
        "search",
        f"No setting of the search makes wake/sleep keep half of the digits (largest share, below {KEPT})",
        SEARCHED,
        -math.inf,
        KEPT,
        "search/*/identity",
        trivial=lambda s: max(s["combined/identity"], s["bare/identity"]) < KEPT,
    ),
    gap(
        "search-combined",
        "The combined objective keeps more at the first setting than wake/sleep at its best (share, difference)",
        SEARCHED,
        "gap/combined",
    ),
    gap(
        "search-bare",
        "So does wake/sleep without recurrence",
        None,
        "gap/bare",
        own=True,
    ),
    within(
        "search-untold",
        "At no setting is its code told the image: under 5 % of its variance at the best of them",
        None,
        "best/told",
        -math.inf,
        0.05,
        own=True,
        trivial=lambda s: max(s["combined/told"], s["bare/told"]) <= 0.05,
    ),
    gap(
        "inputs",
        "As a global discriminator's inputs grow, fewer digits are kept (share, smallest image less largest)",
        None,
        "falls/global",
        own=True,
    ),
    gap(
        "inputs-local",
        "It is not the images alone: local discriminators lose less (share, difference)",
        None,
        "gap/falls",
        own=True,
    ),
]

CLAIMS = explained(_CLAIMS, SEARCH)
