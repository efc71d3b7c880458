"""Figures of Section 4's experiment: surprise and novelty; silencing; overlap and polarity through training."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.benjamin2021.common import legend_below, seeds_in_words
from experiments.benjamin2021.predictions_scores import COMPARED, FOLLOWERS, KINDS, PARTS, PHASES, SCORES, first_apart
from experiments.shared.curves import draw
from plasticity_jax.run import mean_sem

LABELS = {
    "again": "other test digits",
    "omniglot": "Omniglot",
    "upside_down": "upside down",
    "inverted": "contrast inverted",
    "shuffled": "pixels shuffled",
}
COLOURS = dict(zip(("familiar", *KINDS), ("black", "#999999", "#d55e00", "#0072b2", "#cc79a7", "#009e73"), strict=True))
BARS = ("#0072b2", "#56b4e9", "#d55e00", "#999999")
SCORE_LABELS = ("|f(w) - f(o)|", "|D(w) - D(o)|", "error in pixels", "ink")
COMPARED_LABELS = dict(
    zip(
        COMPARED,
        (
            "image asleep",
            "image, oscillation",
            "code asleep",
            "image, other digits (floor)",
            "code, other digits (floor)",
            "image, shuffled digits (control)",
            "code, shuffled digits (control)",
        ),
        strict=True,
    )
)
COMPARED_COLOURS = ("#0072b2", "#56b4e9", "#d55e00", "#0072b2", "#d55e00", "#0072b2", "#d55e00")
TITLES = {
    "sleep_code": "code units silenced asleep",
    "wake_code": "code units silenced awake",
    "wake_image": "pixels silenced awake",
}


def figures(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Surprise and novelty; silencing; overlap and polarity through training."""
    return {
        "benjamin2021_surprise": _plot_surprise(metrics),
        "benjamin2021_silencing": _plot_silencing(metrics),
        "benjamin2021_development": _plot_development(metrics),
    }


def through(metrics: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps, and a metric (seeds, 1 + points, ...) from before training on."""
    steps = np.concatenate([[0], metrics["training/step"][0]])
    return steps, np.concatenate([metrics[f"untrained/{name}"], metrics[f"training/{name}"]], 1)


def _plot_surprise(metrics: Mapping[str, np.ndarray]) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(11, 7.6), constrained_layout=True)
    values = metrics["training/scores"][0, -1, :, :, SCORES.index("features")]
    bins = np.linspace(0, np.quantile(values[:3], 0.995), 40)
    for i, kind in enumerate(("familiar", *KINDS)):
        if kind not in ("again", "inverted"):
            axes[0, 0].hist(
                values[i],
                bins,
                density=True,
                histtype="step",
                lw=1.6,
                color=COLOURS[kind],
                label=LABELS.get(kind, "test digits"),
            )
    axes[0, 0].set(title="one seed, trained", xlabel="|f(w) - f(o)|", ylabel="density")
    axes[0, 0].legend(frameon=False, fontsize=9)
    panels = (("features", "|f(w) - f(o)|"), ("critic", "|D(w) - D(o)|"), ("image_critic", "D of the image"))
    panels += (("code_critic", "D of the code"),)
    steps, curves = through(metrics, "auroc")
    for axis, (score, label) in zip((*axes[0, 1:], *axes[1, 1:]), panels, strict=True):
        for i, kind in enumerate(KINDS):
            draw(axis, steps, curves[:, :, i, SCORES.index(score)], color=COLOURS[kind], label=LABELS[kind])
        axis.axhline(0.5, color="black", lw=0.8, ls=":")
        axis.set(title=label, xlabel="training step", ylabel="AUROC, novel above familiar", ylim=(-0.03, 1.03))
    axes[0, 1].legend(frameon=False, fontsize=9, loc="lower right")
    bars = ("features", "critic", "pixels", "ink")
    for j, score in enumerate(bars):
        both = [[mean_sem(values[:, -1, i, SCORES.index(score)]) for i in range(len(KINDS))] for values in (curves,)]
        mean, sem = np.array(both[0]).T
        place = np.arange(len(KINDS)) + 0.2 * (j - 1.5)
        axes[1, 0].bar(place, mean - 0.5, 0.18, 0.5, yerr=sem, capsize=2, color=BARS[j], label=SCORE_LABELS[j])
    axes[1, 0].axhline(0.5, color="black", lw=0.8)
    axes[1, 0].set_xticks(np.arange(len(KINDS)), [LABELS[kind].replace(" ", "\n", 1) for kind in KINDS], fontsize=9)
    axes[1, 0].set(title="trained, beside rivals", ylabel="AUROC, novel above familiar", ylim=(0, 1.3))
    axes[1, 0].set_yticks(np.linspace(0, 1, 6))
    axes[1, 0].legend(frameon=False, fontsize=9, ncol=2, loc="upper left")
    return _finished(figure, axes, "Oscillations as surprise, and the response to novelty", metrics)


def _plot_silencing(metrics: Mapping[str, np.ndarray]) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(FOLLOWERS), figsize=(11, 8.2), constrained_layout=True)
    steps, onset = metrics["training/step"][0], first_apart(metrics)
    for (part, followers), (above, below) in zip(FOLLOWERS.items(), axes.T, strict=True):
        at, layer = PARTS.index(part), followers[0][1]
        variance = metrics["training/variance"][:, :, :, :, layer]
        silent = 0 if part.startswith("wake") else 1
        draw(above, steps, variance[:, :, at, silent, 0], color="black", ls="--", label=f"{PHASES[silent]}, silenced")
        for (phase, _), colour in zip(followers, ("#0072b2", "#009e73"), strict=False):
            name = PHASES[phase]
            draw(above, steps, variance[:, :, at, phase, 0], color=colour, label=f"{name}, the same units")
        draw(
            above, steps, variance[:, :, at, followers[0][0], 1], color="#e69f00", label=f"{name_of(followers)}, others"
        )
        draw(
            above, steps, variance[:, :, 0, followers[0][0], 0], color="#999999", label=f"{name_of(followers)}, control"
        )
        critic_gap = metrics["training/wake_sleep"][..., layer]
        draw(below, steps, critic_gap[:, :, at], color="#d55e00", label="some silenced")
        draw(below, steps, critic_gap[:, :, 0], color="#999999", label="nothing silenced")
        above.set(title=TITLES[part], xlabel="training step", ylabel="variance")
        below.set(xlabel="training step", ylabel=f"gap of D of the {('image', 'code')[layer]}, wake - sleep")
        below.axhline(0, color="black", lw=0.8)
        for axis in (above, below):
            axis.axvline(steps[onset - 1], color="black", lw=0.8, ls=":")
            axis.legend(frameon=False, fontsize=9)
        above.set(ylim=(-0.02 * above.get_ylim()[1], 1.35 * above.get_ylim()[1]))
    return _finished(figure, axes, "Units silenced in one phase, from the dotted line on", metrics)


def _plot_development(metrics: Mapping[str, np.ndarray]) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 9), constrained_layout=True)
    divergence, index, *cosines = axes.flat
    names = {
        "sleep": "sleep",
        "floor": "floor: wake, other half",
        "unpaired": "x and z unpaired",
        "shuffled": "units independent",
    }
    for (name, label), colour in zip(names.items(), ("#0072b2", "black", "#d55e00", "#e69f00"), strict=True):
        draw(divergence, *through(metrics, f"js_{name}"), color=colour, label=label)
    divergence.set(title="overlap of wake with ...", ylabel="JS divergence, bits", ylim=0)
    for name, colour in (("unpaired", "#d55e00"), ("shuffled", "#e69f00")):
        steps, values = metrics["training/step"][0], metrics[f"training/index_{name}"]
        draw(index, steps[1:], values[:, 1:], color=colour, label=f"0: as far as {names[name]}")
    index.axhline(1, color="black", lw=0.8, ls=":")
    index.axhline(0, color="black", lw=0.8, ls=":")
    index.set(title=f"alignment index (from {steps[1]:,.0f} steps on: before, controls are at the floor)")
    index.set(ylabel="1: as near as wake's other half", ylim=(-1.6, 1.1))
    for axis, which in zip(cosines, ("critic", "network"), strict=True):
        steps, curves = through(metrics, which)
        for i, colour in enumerate(COMPARED_COLOURS):
            style = ("-", "--", ":")[(i > 2) + (i > 4)]
            label = tuple(COMPARED_LABELS.values())[i] if which == "critic" else None
            draw(axis, steps, curves[:, :, i], color=colour, ls=style, label=label)
    cosines[0].set(title="plasticity onto discriminators", ylabel="cosine of wake's part and ...", ylim=(-1.03, None))
    cosines[1].set(title="error sent to the network", ylabel="cosine of wake's part and ...", ylim=(-1.03, None))
    for axis in axes.flat:
        axis.set_xlabel("training step")
    for axis in (divergence, index):
        axis.legend(frameon=False, fontsize=9)
    handles, labels = cosines[0].get_legend_handles_labels()
    legend_below(figure, handles, labels, ncols=3, fontsize=9, title="c, d: wake's part and")
    return _finished(figure, axes, "Development: overlap of wake and sleep, opposite polarity of plasticity", metrics)


def name_of(followers: tuple[tuple[int, int], ...]) -> str:
    """The first phase that may follow."""
    return PHASES[followers[0][0]]


def _finished(figure: Any, axes: Any, title: str, metrics: Mapping[str, np.ndarray]) -> Any:
    for axis, letter in zip(np.ravel(axes), "abcdefgh", strict=False):
        axis.grid(alpha=0.2, lw=0.5)
        axis.text(-0.12, 1.04, letter, transform=axis.transAxes, weight="bold", fontsize=13)
    steps = metrics["training/step"]
    figure.suptitle(
        f"Benjamin & Kording (2021), section 4. {title}\n{steps[0, -1]:,.0f} steps (paper's Figure 3: 46,800, of "
        f"28 x 28 digits); mean and standard error, {seeds_in_words(len(steps))}",
        fontsize=10,
    )
    return figure
