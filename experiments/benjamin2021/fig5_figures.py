"""Figures of Figure 5's experiment: pictures, measures by horizon, training, and the pictures moving."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.benjamin2021.common import COLOURS as FAMILY_COLOURS
from experiments.benjamin2021.fig5_scores import BASELINES, DREAMS, METHODS, SHOWN
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
    """By name: pictures, measures by horizon, training, and the pictures moving."""
    return {
        "pictures": _plot_pictures(metrics),
        "horizons": _plot_horizons(metrics),
        "training": _plot_training(metrics),
        "moving": _plot_moving(metrics),
    }


def reels(metrics: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the first seed, by title: videos (SHOWN, c + n, H, W), the watched frames first."""
    video = metrics["data/video"][0, -1]
    watched = video[:, : video.shape[1] - metrics["data/error_last"].shape[2]]
    predicted = {LABELS[name]: metrics[f"{name}/picture"][0, -1] for name in (*METHODS, "untrained")}
    return {"truth": video} | {name: np.concatenate([watched, each], 1) for name, each in predicted.items()}


def _plot_pictures(metrics: Mapping[str, np.ndarray]) -> Any:
    """Some test videos, one prediction of each method, and dreams."""
    import matplotlib.pyplot as plt

    films = reels(metrics)
    n = metrics["data/error_last"].shape[2]
    watched, side = films["truth"].shape[1] - n, films["truth"].shape[2] + 2
    blocks = [{name: film[k] for name, film in films.items()} for k in range(SHOWN - 1)]
    dreams = {
        f"dream {k + 1}, {name}": metrics[f"{name}/dream"][0, -1, k] for name in METHODS[:2] for k in range(DREAMS)
    }
    blocks.append(
        {name: np.concatenate([np.zeros_like(blocks[0]["truth"][:watched]), film]) for name, film in dreams.items()}
    )
    sizes = [len(block) for block in blocks]
    width = 0.62 * (watched + n)
    figure, axes = plt.subplots(
        len(blocks),
        1,
        figsize=(width + 1.8, 0.62 * sum(sizes) + 1.2),
        height_ratios=sizes,
        constrained_layout=True,
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
        axis.tick_params(length=0, labelsize=9)
        axis.set_yticks((np.arange(len(rows)) + 0.5) * side - 0.5, list(block))
        axis.set_xticks([])
    ticks = [f"watched {t + 1}" for t in range(watched)] + [f"+{t + 1}" for t in range(n)]
    axes[0].set_xticks((np.arange(len(ticks)) + 0.5) * side - 0.5, ticks, fontsize=7)
    axes[0].xaxis.tick_top()
    axes[0].tick_params(length=0)
    figure.suptitle("Figure 5: predictions, one sample each, of one network", fontsize=10)
    return figure


def _plot_horizons(metrics: Mapping[str, np.ndarray]) -> Any:
    """Error, similarity, error of the centroid and ink, by horizon."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(16, 4.4), constrained_layout=True)
    titles = {
        "error": "squared error (sum over pixels)",
        "ssim": "structural similarity",
        "centroid": "error of the centroid (pixels)",
        "ink": "ink (sum over pixels)",
    }
    x = np.arange(metrics["data/error_last"].shape[2]) + 1
    for axis, (what, title) in zip(axes, titles.items(), strict=True):
        shown = {"ink": ("true",), "centroid": ("mean", "last", "previous")}.get(what, BASELINES)
        for name in shown:
            label, style = BASELINE_STYLES.get(name, ("truth", "-"))
            axis.plot(x, metrics[f"data/{what}_{name}"][0, -1], color="0.45", ls=style, lw=1.1, label=label)
        for method in (*METHODS, "untrained"):
            draw(axis, x, metrics[f"{method}/{what}"][:, -1], color=COLOURS[method], label=LABELS[method])
            if what in ("error", "ssim") and method not in ("untrained", "squared"):
                for kind, style in (("mean", "--"), ("best", ":")):
                    label = f"{LABELS[method]}, {kind} of K"
                    curve = metrics[f"{method}/{what}_{kind}"][:, -1].mean(0)
                    axis.plot(x, curve, color=COLOURS[method], ls=style, lw=1.4, label=label)
        axis.set(xlabel="horizon (frames)", ylabel=title, xticks=x)
        if what in ("error", "ink"):  # the untrained network's may be beyond
            axis.set_ylim(0, 1.5 * max(metrics[f"data/{what}_{name}"].max() for name in shown))
    axes[3].annotate("truth", (x[0], metrics["data/ink_true"][0, -1, 0]), color="0.4", va="bottom", fontsize=9)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    _title(figure, metrics, "test videos, in closed loop")
    return figure


def _plot_training(metrics: Mapping[str, np.ndarray]) -> Any:
    """Errors, the distance of features, critics' gaps, and latents, in the course of training."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(16, 4.2), constrained_layout=True)
    step = metrics["combined/step"][0]
    for method in METHODS:
        style = {"color": COLOURS[method], "label": LABELS[method]}
        draw(axes[0], step, metrics[f"{method}/error"].mean(2), **style)
        draw(axes[3], step, metrics[f"{method}/z_apart_wake"], **style)
        if method != "squared":
            draw(axes[1], step, metrics[f"{method}/reconstruction"][..., 0], **style)
            for phase, line in (("oscillation", "-"), ("sleep", ":")):
                gap = metrics[f"{method}/d_x_wake"] - metrics[f"{method}/d_x_{phase}"]
                draw(axes[2], step, gap, color=COLOURS[method], ls=line, label=f"$D_x$, {phase}: {LABELS[method]}")
    gap = metrics["combined/d_z_wake"] - metrics["combined/d_z_sleep"]
    draw(axes[2], step, gap, color="0.3", ls="--", label=f"$D_z$, sleep: {LABELS['combined']}")
    for name in ("blank", "mean", "last"):
        level = metrics[f"data/error_{name}"][0, -1].mean()
        axes[0].axhline(level, color="0.5", ls=BASELINE_STYLES[name][1], lw=1.1, label=BASELINE_STYLES[name][0])
    axes[3].axhline(metrics["untrained/z_apart_wake"].mean(), color=COLOURS["untrained"], lw=1.1, label="untrained")
    for axis, title in zip(
        axes,
        (
            "squared error (mean over horizons)",
            "squared distance of $D_x$'s features",
            "critic's gap, wake above the other phase",
            "latents from N(0, 1) (nats by unit)",
        ),
        strict=True,
    ):
        axis.set(xlabel="step", ylabel=title)
        axis.legend(frameon=False, fontsize=8)
    top = 1.5 * max(metrics[f"data/error_{name}"].mean() for name in ("blank", "mean", "last"))
    axes[0].set_ylim(0, top)
    axes[3].set(yscale="log")
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
        SHOWN, len(films), figsize=(1.3 * len(films), 1.25 * SHOWN + 0.6), constrained_layout=True
    )
    shown = []
    for column, (name, film) in zip(axes.T, films.items(), strict=True):
        column[0].set_title(name, fontsize=8)
        for axis, each in zip(column, film, strict=True):
            axis.set(xticks=[], yticks=[])
            shown.append((axis.imshow(each[0], cmap="gray", vmin=0, vmax=255, interpolation="nearest"), each))
    title = figure.suptitle("", fontsize=10)

    def show(t: int) -> list[Any]:
        title.set_text(f"watched {t + 1}" if t < watched else f"predicted {t + 1 - watched}")
        for image, film in shown:
            image.set_data(film[t])
        return [title, *(image for image, _ in shown)]

    return FuncAnimation(figure, show, frames, interval=300)


def _title(figure: Any, metrics: Mapping[str, np.ndarray], what: str) -> None:
    seeds = len(metrics["combined/error"])
    about = f"{what}; mean and standard error over {seeds} seeds"
    figure.suptitle(f"Benjamin & Kording (2021), Figure 5: {about}")
