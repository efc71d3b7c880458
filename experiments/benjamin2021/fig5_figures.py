"""Figures of Figure 5's experiment: pictures, measures by horizon, training, and an animation."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.benjamin2021.common import COLOURS as FAMILY_COLOURS
from experiments.benjamin2021.common import legend_below, percent, seeds_in_words
from experiments.benjamin2021.fig5_scores import METHODS, SHOWN
from experiments.shared.curves import draw

BASELINE_STYLES = {
    "blank": ("blank frame", ":"),
    "mean": ("mean frame", "--"),
    "watched": ("mean of watched", (0, (3, 1, 1, 1))),
    "last": ("last frame", "-"),
    "previous": ("true frame before", "-."),
    "other": ("another video", (0, (1, 3))),
}
LABELS = {
    "combined": "combined, with sleep",
    "predicting": "prediction alone",
    "squared": "squared error",
    "untrained": "untrained",
}
COLOURS = {
    "combined": FAMILY_COLOURS["combined"],
    "predicting": FAMILY_COLOURS["wake_sleep"],
    "squared": "#009e73",
    "untrained": "#cc79a7",
}


def figures(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Figures by name: pictures, measures by horizon, training, and an animation."""
    return {
        "pictures": _plot_pictures(metrics),
        "horizons": _plot_horizons(metrics),
        "training": _plot_training(metrics),
        "moving": _plot_moving(metrics),
    }


def reels(metrics: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Videos of the first seed by title, (SHOWN, c + n, H, W), the watched frames first."""
    video = metrics["data/video"][0, -1]
    watched = video[:, : video.shape[1] - metrics["data/error_last"].shape[2]]
    predicted = {LABELS[name]: metrics[f"{name}/picture"][0, -1] for name in (*METHODS, "untrained")}
    return {"truth": video} | {name: np.concatenate([watched, each], 1) for name, each in predicted.items()}


def _plot_pictures(metrics: Mapping[str, np.ndarray]) -> Any:
    """Two test videos with a prediction of each method, and a dream of the first two methods."""
    import matplotlib.pyplot as plt

    films = reels(metrics)
    n = metrics["data/error_last"].shape[2]
    watched, side = films["truth"].shape[1] - n, films["truth"].shape[2] + 2
    names = [name for name in films if name != LABELS["untrained"]]
    blocks = [{name: films[name][k] for name in names} for k in range(2)]
    ink = metrics["data/ink_true"][0, -1].mean()
    dreams = {
        f"asleep, {LABELS[name]}\n(ink {percent(metrics[f'{name}/dream_ink'][0, -1].mean() / ink)} of truth's)": name
        for name in METHODS[:2]
    }
    blank = np.zeros_like(blocks[0]["truth"][:watched])
    blocks.append({
        label: np.concatenate([blank, metrics[f"{name}/dream"][0, -1, 0]]) for label, name in dreams.items()
    })  # fmt: skip
    sizes, cell = [len(block) for block in blocks], min(0.9, 8.6 / (watched + n))
    figure, axes = plt.subplots(
        len(blocks), 1, figsize=(11, cell * sum(sizes) + 1.3), height_ratios=sizes, constrained_layout=True
    )
    for axis, block in zip(axes, blocks, strict=True):
        rows = []
        for name, film in block.items():
            film = np.pad(film, ((0, 0), (1, 1), (1, 1)), constant_values=110)
            if name != "truth":
                film[:watched] = 255  # only the truth was watched
            rows.append(np.concatenate(list(film), 1))
        axis.imshow(np.concatenate(rows), cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect="equal")
        axis.spines[:].set_visible(False)
        axis.tick_params(length=0, labelsize=10)
        axis.set_yticks((np.arange(len(rows)) + 0.5) * side - 0.5, list(block))
        axis.set_xticks([])
    ticks = [f"watched {t + 1}" for t in range(watched)] + [f"+{t + 1}" for t in range(n)]
    axes[0].set_xticks((np.arange(len(ticks)) + 0.5) * side - 0.5, ticks, fontsize=9 if len(ticks) < 12 else 7)
    axes[0].xaxis.tick_top()
    axes[0].tick_params(length=0)
    _title(figure, metrics, "predictions in closed loop, one sample each, of the first network", spread=False)
    return figure


def _plot_horizons(metrics: Mapping[str, np.ndarray]) -> Any:
    """Error, similarity, error of the centroid and brightness, by horizon."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 8.4), constrained_layout=True)
    titles = {
        "error": "squared error (sum over pixels)",
        "ssim": "structural similarity",
        "centroid": "error of the centroid (pixels)",
        "brightness": "brightness of ink",
    }
    x = np.arange(metrics["data/error_last"].shape[2]) + 1
    rivals = ("blank", "mean", "last", "previous")
    for axis, (what, title) in zip(axes.flat, titles.items(), strict=True):
        baselines = {"brightness": ("true",), "centroid": rivals[1:]}.get(what, rivals)
        for name in baselines:
            label, style = BASELINE_STYLES.get(name, ("truth", "-"))
            axis.plot(x, metrics[f"data/{what}_{name}"][0, -1], color="0.45", ls=style, lw=1.2, label=label)
        for method in METHODS:
            draw(axis, x, metrics[f"{method}/{what}"][:, -1], color=COLOURS[method], label=LABELS[method])
            if what in ("error", "ssim") and method != "squared":
                curve = metrics[f"{method}/{what}_best"][:, -1].mean(0)
                label = "best of all samples" if method == "combined" else None
                axis.plot(x, curve, color=COLOURS[method], ls=":", lw=1.6, label=label)
        axis.set(xlabel="horizon (frames)", ylabel=title, xticks=x)
        if what == "error":
            axis.set_ylim(0, 1.15 * max(metrics[f"data/error_{name}"].max() for name in baselines))
        elif what == "brightness":
            level = metrics["data/brightness_true"][0, -1]
            axis.set_ylim(0, 1.15 * level.max())
            axis.annotate("truth", (x[0], level[0]), (0, 3), textcoords="offset points", color="0.4", fontsize=10)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    legend_below(figure, handles, labels, ncols=4)
    _title(figure, metrics, "test videos, in closed loop (the untrained network is far beyond)")
    return figure


def _plot_training(metrics: Mapping[str, np.ndarray]) -> Any:
    """Errors, critics' gaps, latents, and ink asleep, in the course of training."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(11, 8.4), constrained_layout=True)
    error, gaps, latents, ink = axes.flat
    step = metrics["combined/step"][0]
    for method in METHODS:
        style = {"color": COLOURS[method], "label": LABELS[method]}
        draw(error, step, metrics[f"{method}/error"].mean(2), **style)
        draw(latents, step, metrics[f"{method}/z_apart_wake"], **style)
        draw(ink, step, (metrics[f"{method}/dream_ink"] / metrics["data/ink_true"]).mean(2), **style)
    for phase, line in (("oscillation", "-"), ("sleep", ":")):
        for method in METHODS[:2]:
            gap = metrics[f"{method}/d_x_wake"] - metrics[f"{method}/d_x_{phase}"]
            draw(gaps, step, gap, color=COLOURS[method], ls=line, label=f"$D_x$, {phase}: {LABELS[method]}")
    gap = metrics["combined/d_z_wake"] - metrics["combined/d_z_sleep"]
    draw(gaps, step, gap, color="0.3", ls="--", label=f"$D_z$, sleep: {LABELS['combined']}")
    gaps.set_ylim(None, gaps.get_ylim()[1] + 0.6 * np.ptp(gaps.get_ylim()))
    gaps.legend(frameon=False, fontsize=9, loc="upper right")
    for name in ("blank", "mean", "last"):
        level = metrics[f"data/error_{name}"][0, -1].mean()
        error.axhline(level, color="0.5", ls=BASELINE_STYLES[name][1], lw=1.2, label=BASELINE_STYLES[name][0])
    latents.axhline(metrics["untrained/z_apart_wake"].mean(), color=COLOURS["untrained"], lw=1.2)
    latents.annotate(
        "untrained",
        (0.99, metrics["untrained/z_apart_wake"].mean()),
        xycoords=latents.get_yaxis_transform(),
        color=COLOURS["untrained"],
        fontsize=9,
        ha="right",
        va="bottom",
    )
    ink.axhline(1, color="0.5", ls=":", lw=1)
    for axis, title in zip(
        axes.flat,
        (
            "squared error (mean over horizons)",
            "critic's gap, wake above the other phase",
            "latents from N(0, 1) (nats by unit)",
            "ink of frames asleep, over that of truth",
        ),
        strict=True,
    ):
        axis.set(xlabel="step", ylabel=title)
    error.set_ylim(0, 1.3 * max(metrics[f"data/error_{name}"].mean() for name in ("blank", "mean", "last")))
    latents.set_yscale("log")
    handles, labels = error.get_legend_handles_labels()
    legend_below(figure, handles, labels, ncols=6)
    _title(figure, metrics, "training")
    return figure


def _plot_moving(metrics: Mapping[str, np.ndarray]) -> Any:
    """The first test videos and their predictions, frame after frame."""
    import matplotlib.pyplot as plt
    from matplotlib.animation import FuncAnimation

    films = reels(metrics)
    frames = films["truth"].shape[1]
    watched = frames - metrics["data/error_last"].shape[2]
    figure, axes = plt.subplots(
        SHOWN, len(films), figsize=(1.7 * len(films), 1.6 * SHOWN + 0.6), constrained_layout=True
    )
    panels = []
    for column, (name, film) in zip(axes.T, films.items(), strict=True):
        column[0].set_title(name, fontsize=10)
        for axis, each in zip(column, film, strict=True):
            axis.set(xticks=[], yticks=[])
            panels.append((axis.imshow(each[0], cmap="gray", vmin=0, vmax=255, interpolation="nearest"), each))
    title = figure.suptitle("", fontsize=10)

    def show(t: int) -> list[Any]:
        title.set_text(f"watched {t + 1}" if t < watched else f"predicted {t + 1 - watched}")
        for image, film in panels:
            image.set_data(film[t])
        return [title, *(image for image, _ in panels)]

    return FuncAnimation(figure, show, frames, interval=300)


def _title(figure: Any, metrics: Mapping[str, np.ndarray], what: str, spread: bool = True) -> None:
    seeds, side = len(metrics["combined/error"]), metrics["data/video"].shape[-1]
    about = "; mean and standard error" if spread else ""
    figure.suptitle(
        f"Benjamin & Kording (2021), Figure 5: frames of {side} x {side}, {metrics['combined/step'][0, -1]:,.0f} steps "
        f"(paper: 64 x 64, 400 epochs), {seeds_in_words(seeds)}\n{what}{about}",
        fontsize=10,
    )
