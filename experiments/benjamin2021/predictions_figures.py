"""Figures of Section 4's experiment: surprise and novelty; silencing; overlap and polarity through training."""

from collections.abc import Mapping
from typing import Any

import numpy as np

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

    figure, axes = plt.subplots(2, 3, figsize=(15, 8.4), constrained_layout=True)
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
    axes[0, 0].set(title="one seed, trained", xlabel="|f(w) - f(o)|, strength of the oscillation", ylabel="density")
    axes[0, 0].legend(frameon=False, fontsize=8)
    panels = (("features", "|f(w) - f(o)|"), ("critic", "|D(w) - D(o)|"), ("image_critic", "D of the image"))
    panels += (("code_critic", "D of the code"),)
    steps, curves = through(metrics, "auroc")
    for axis, (score, label) in zip((*axes[0, 1:], *axes[1, 1:]), panels, strict=True):
        for i, kind in enumerate(KINDS):
            draw(axis, steps, curves[:, :, i, SCORES.index(score)], color=COLOURS[kind], label=LABELS[kind])
        axis.axhline(0.5, color="black", lw=0.8, ls=":")
        axis.set(title=label, xlabel="training step", ylabel="AUROC, novel above familiar", ylim=(-0.03, 1.03))
    axes[0, 1].legend(frameon=False, fontsize=8, loc="lower right")
    bars = ("features", "critic", "pixels", "ink")
    for j, score in enumerate(bars):
        both = [[mean_sem(values[:, -1, i, SCORES.index(score)]) for i in range(len(KINDS))] for values in (curves,)]
        mean, sem = np.array(both[0]).T
        place = np.arange(len(KINDS)) + 0.2 * (j - 1.5)
        axes[1, 0].bar(place, mean - 0.5, 0.18, 0.5, yerr=sem, capsize=2, color=BARS[j], label=SCORE_LABELS[j])
    axes[1, 0].axhline(0.5, color="black", lw=0.8)
    axes[1, 0].set_xticks(np.arange(len(KINDS)), [LABELS[kind].replace(" ", "\n", 1) for kind in KINDS], fontsize=8)
    axes[1, 0].set(title="trained, beside rivals", ylabel="AUROC, novel above familiar", ylim=(0, 1.3))
    axes[1, 0].set_yticks(np.linspace(0, 1, 6))
    axes[1, 0].legend(frameon=False, fontsize=8, ncol=2, loc="upper left")
    return _finished(figure, axes, "Oscillations as surprise, and the discriminators' response to novelty")


def _plot_silencing(metrics: Mapping[str, np.ndarray]) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(FOLLOWERS), figsize=(15, 7.6), constrained_layout=True)
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
        told = metrics["training/wake_sleep"][..., layer]
        draw(below, steps, told[:, :, at], color="#d55e00", label="some silenced")
        draw(below, steps, told[:, :, 0], color="#999999", label="nothing silenced")
        above.set(title=TITLES[part], xlabel="training step", ylabel="variance")
        below.set(xlabel="training step", ylabel=f"gap of D of the {('image', 'code')[layer]}, wake - sleep")
        below.axhline(0, color="black", lw=0.8)
        for axis in (above, below):
            axis.axvline(steps[onset - 1], color="black", lw=0.8, ls=":")
            axis.legend(frameon=False, fontsize=8)
        above.set(ylim=(-0.02 * above.get_ylim()[1], 1.35 * above.get_ylim()[1]))
    return _finished(figure, axes, "Units silenced in one phase, from the dotted line on, and the other phase")


def _plot_development(metrics: Mapping[str, np.ndarray]) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(19, 4.6), constrained_layout=True)
    names = {
        "sleep": "sleep",
        "floor": "floor: wake, other half",
        "unpaired": "x and z unpaired",
        "shuffled": "units independent",
    }
    for (name, label), colour in zip(names.items(), ("#0072b2", "black", "#d55e00", "#e69f00"), strict=True):
        draw(axes[0], *through(metrics, f"js_{name}"), color=colour, label=label)
    axes[0].set(title="overlap of wake with ...", ylabel="JS divergence, bits", ylim=0)
    for name, colour in (("unpaired", "#d55e00"), ("shuffled", "#e69f00")):
        steps, index = metrics["training/step"][0], metrics[f"training/index_{name}"]
        draw(axes[1], steps[1:], index[:, 1:], color=colour, label=f"0 is {names[name]}")
    axes[1].axhline(1, color="black", lw=0.8, ls=":")
    axes[1].axhline(0, color="black", lw=0.8, ls=":")
    axes[1].set(title="alignment index", ylabel="1: as near as wake's other half", ylim=(-1.6, 1.1))
    for axis, which in zip(axes[2:], ("critic", "network"), strict=True):
        steps, curves = through(metrics, which)
        for i, label in enumerate(COMPARED_LABELS.values()):
            draw(
                axis,
                steps,
                curves[:, :, i],
                color=COMPARED_COLOURS[i],
                ls=("-", "--", ":")[(i > 2) + (i > 4)],
                label=label,
            )
    axes[2].set(title="plasticity onto discriminators", ylabel="cosine of wake's part and ...", ylim=(-1.03, None))
    axes[3].set(title="error sent to the network", ylabel="cosine of wake's part and ...", ylim=(-1.03, None))
    for axis in axes:
        axis.set(xlabel="training step")
        axis.legend(frameon=False, fontsize=8)
    return _finished(figure, axes, "Development: overlap of wake and sleep, and opposite polarity of their plasticity")


def name_of(followers: tuple[tuple[int, int], ...]) -> str:
    """The first phase that may follow."""
    return PHASES[followers[0][0]]


def _finished(figure: Any, axes: Any, title: str) -> Any:
    for axis, letter in zip(np.ravel(axes), "abcdefgh", strict=False):
        axis.grid(alpha=0.2, lw=0.5)
        axis.text(-0.12, 1.04, letter, transform=axis.transAxes, weight="bold", fontsize=13)
    figure.suptitle(f"Benjamin & Kording (2021), section 4. {title}. Mean and s.e. over seeds")
    return figure
