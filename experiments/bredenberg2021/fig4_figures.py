"""Figures and tables of Figure 4: losses, spectrograms, statistics of dreams, digits."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.bredenberg2021.common import COLOURS, LABELS
from experiments.bredenberg2021.fig4_claims import LOSSES, THEIRS, THEIRS_AWAKE, methods, summarise
from experiments.bredenberg2021.fig4_measures import BINS, LAGS, LAYERS, PICTURE_FRAMES
from experiments.shared.curves import draw
from plasticity_jax.data.mel_spectrogram import HOP, MELS, RATE
from plasticity_jax.run import mean_sem

QUIET = -80
"""Level in dB, relative to the loudest, at which the recordings are clipped."""
LABELS_HERE = LABELS | {"il_slow": "the same, hidden weights at half the rate"}
COLOURS_HERE = COLOURS | {"il_slow": "#000000"}
STYLES = {"published": "--", "il_slow": (0, (4, 3))}
RIVALS = ("nvi", "published")
THEIR_ENDS = {"alternating": THEIRS, "wake": THEIRS_AWAKE}
FRAME_MS = 1000 * HOP / RATE
FEATURES = {
    "raw": "frames",
    "pca_r1": "PCA, as layer 1",
    "pca_r2": "PCA, as layer 2",
    "r1": "layer 1",
    "r1_noiseless": "layer 1, noiseless",
    "r2": "layer 2",
    "r2_noiseless": "layer 2, noiseless",
}


def figures(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Losses, spectrograms, statistics of dreams and digits, by name."""
    summary = summarise(metrics)
    return {
        "loss": plot_losses(metrics),
        "spectrograms": plot_spectrograms(metrics),
        "statistics": plot_statistics(metrics, summary),
        "digits": plot_digits(metrics, summary),
    }


def plot_losses(metrics: Mapping[str, np.ndarray]) -> Any:
    """Both losses during training, a close view of impression learning's, and NVI* at each of its rates."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10.5, 8.4), constrained_layout=True)
    one, two, near, rates = axes.flat
    method_names = methods(metrics)

    def against_epochs(axis: Any, loss: str, method: str, first: int, label: str | None) -> None:
        curves = metrics[f"{method}/{loss}"][:, first:]
        style = {"color": COLOURS_HERE[method], "ls": STYLES.get(method, "-"), "label": label}
        draw(axis, first + np.arange(curves.shape[1]), curves, **style)
        axis.set(xlabel="epoch", ylabel="loss per frame (authors' units)")
        axis.xaxis.get_major_locator().set_params(integer=True)

    for axis, (loss, title) in zip((one, two), LOSSES.items(), strict=True):
        for method in method_names:
            against_epochs(axis, loss, method, 0, LABELS_HERE[method])
        axis.axhline(THEIR_ENDS[loss], color="black", ls=(0, (1, 2)), label="end of the authors' code, one seed")
        axis.set(yscale="log", title=f"Loss {title}, test split")
    for method in (method for method in method_names if method.startswith("il")):
        against_epochs(near, "alternating", method, 1, None)
    near.axhline(THEIR_ENDS["alternating"], color="black", ls=(0, (1, 2)))
    near.set_title("Loss with phases, near: it rises again\nas layer 1 makes dreams livelier than the data")
    tried_rates = metrics["data/rates"][0, 0]
    for loss, title in LOSSES.items():
        moved = metrics[f"rates/{loss}"][:, -1] / metrics[f"rates/{loss}"][:, 0]
        mean, error = np.array([mean_sem(column) for column in moved.T]).T
        form = "o-" if loss == "wake" else "s--"
        rates.errorbar(tried_rates, mean, error, fmt=form, color=COLOURS["nvi"], label=title, capsize=2)
    for rate in tried_rates[~np.isfinite(metrics["rates/wake"][:, -1]).all(0)]:
        rates.axvline(rate, color="0.6", ls=":")
        place = {"xycoords": ("data", "axes fraction"), "rotation": 90, "ha": "right", "color": "0.4"}
        rates.annotate("diverges", (rate, 0.4), **place)
    rates.axhline(1, color="0.6", lw=1)
    moved = (metrics[f"{name}/alternating"][:, -1] / metrics[f"{name}/alternating"][:, 0] for name in RIVALS)
    corrected, published = (100 * (float(np.nanmean(ratio)) - 1) for ratio in moved)
    rates.set(xscale="log", xlabel="learning rate", ylabel="loss after / before")
    ends = f"all epochs, with phases: {corrected:+.1f} % (as published: {published:+.1f} %)"
    rates.set_title(f"{LABELS['nvi']}, first epoch\n{ends}", fontsize=11)
    rates.legend(frameon=False, loc="upper left")
    figure.legend(*one.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
    _title(figure, metrics)
    return figure


def plot_spectrograms(metrics: Mapping[str, np.ndarray]) -> Any:
    """Frames of the test split, their reconstructions from both layers, and a dream, all from the first seed."""
    import matplotlib.pyplot as plt

    scale, floor = metrics["data/scale"][0, 0], metrics["data/floor"][0, 0]
    pictures = {
        "Data": metrics["data/picture"][0, 0],
        "Reconstruction from layer 1": metrics["il/picture_r1"][0, -1],
        "Reconstruction from layer 2": metrics["il/picture_r2"][0, -1],
        "Dream": metrics["il/picture_dream"][0, -1],
        "Dream of the untrained network": metrics["il/picture_dream"][0, 0],
    }
    figure, axes = plt.subplots(2, 3, figsize=(10.5, 7), sharey=True, constrained_layout=True)
    for axis, (title, picture) in zip(axes.flat, pictures.items(), strict=False):
        decibels = scale * picture + floor
        axis.imshow(
            decibels.T,
            origin="lower",
            aspect="auto",
            extent=(0, PICTURE_FRAMES * FRAME_MS, -0.5, BINS - 0.5),
            vmin=QUIET,
            vmax=0,
            cmap="magma",
            interpolation="nearest",
        )
        axis.set(title=f"{title}\n{decibels.min():.0f} to {decibels.max():.0f} dB", xlabel="time (ms)")
    ticks = (0.25, 0.5, 1, 1.5, 2, 3)
    for axis in axes[:, 0]:
        axis.set_yticks([bin_of(1000 * tick) for tick in ticks], [f"{tick:g}" for tick in ticks])
        axis.set_ylabel("frequency (kHz)")
    axes[1, 2].axis("off")
    words = (
        f"Black is {QUIET} dB and less.\nRecordings are clipped there; what the\nnetwork makes is not, but drawn so."
    )
    axes[1, 2].text(0.05, 0.95, words, transform=axes[1, 2].transAxes, va="top")
    bar = figure.colorbar(axes[0, 0].images[0], ax=axes[1, 2], location="bottom", fraction=0.1, aspect=12)
    bar.set_label("dB below the recording's loudest")
    figure.suptitle("Bredenberg et al. (2021), Figure 4: spectrograms of spoken digits, one network after training")
    return figure


def plot_statistics(metrics: Mapping[str, np.ndarray], summary: Mapping[str, float]) -> Any:
    """Correlations between frequencies in data and dreams, and autocorrelations of layer 2."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 2, figsize=(10.5, 9.4), constrained_layout=True)
    scores = [
        f"cosine {summary[f'{name}/cosine']:.4f}, Pearson {summary[f'{name}/pearson']:.3f}"
        for name in ("il", "untrained")
    ]
    matrices = {
        f"Data\na matrix of ones: cosine {summary['data/cosine']:.4f}": metrics["data/correlation"][0, 0],
        f"Dreams\n{scores[0]}": metrics["il/correlation"][0, -1],
        f"Dreams, untrained\n{scores[1]}": metrics["il/correlation"][0, 0],
    }
    ticks = (0.25, 0.5, 1, 2, 3)
    places = [bin_of(1000 * tick) for tick in ticks]
    *squares, last = axes.flat
    for axis, (title, matrix) in zip(squares, matrices.items(), strict=True):
        axis.imshow(matrix, origin="lower", vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
        axis.set(title=title, xlabel="frequency (kHz)", ylabel="frequency (kHz)")
        axis.set_xticks(places, [f"{tick:g}" for tick in ticks])
        axis.set_yticks(places, [f"{tick:g}" for tick in ticks])
        figure.colorbar(axis.images[0], ax=axis, label="correlation (below 0: as 0)", pad=0.01, shrink=0.8)
    x = FRAME_MS * np.arange(LAGS + 1)
    curves = {
        "layer 2, awake": (metrics["il/acf_wake"][:, -1], {"color": COLOURS["il"]}),
        "layer 2, dreaming": (metrics["il/acf_dream"][:, -1], {"color": COLOURS["il"], "ls": "--"}),
        "untrained, dreaming": (metrics["il/acf_dream"][:, 0], {"color": COLOURS["untrained"], "ls": "--"}),
        "frames": (metrics["data/acf"][:, 0], {"color": "k", "ls": ":"}),
    }
    for label, (curve, style) in curves.items():
        draw(last, x, curve, label=label, **style)
    last.axhline(0, color="0.7", lw=0.8)
    last.set(xlabel="lag (ms)", ylabel="autocorrelation", title="Autocorrelation", xlim=(0, x[-1]))
    last.legend(frameon=False)
    seeds = len(metrics["il/wake"])
    figure.suptitle(
        "Bredenberg et al. (2021), Figure 4: statistics of dreams\n"
        f"matrices of one network; numbers are means and bands standard errors over {seeds} seeds"
    )
    return figure


def bin_of(hertz: float) -> float:
    """Position of a frequency on the mel axis; filter m peaks at m."""
    last, mel = (f * 3 / 200 if f < 1000 else 15 + 27 * np.log(f / 1000) / np.log(6.4) for f in (RATE / 2, hertz))
    return mel / last * (MELS + 1) - 1


def plot_digits(metrics: Mapping[str, np.ndarray], summary: Mapping[str, float]) -> Any:
    """Share of digits read out from the layers, before and after training, and from frames and principal components."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 1, figsize=(10.5, 8), sharex=True, constrained_layout=True)
    for axis, (suffix, title) in zip(
        axes, {"": "as they are", "_z": "each feature scaled to variance 1"}.items(), strict=True
    ):
        for place, feature in enumerate(FEATURES):
            bars = {"untrained": -0.2, "il": 0.2} if feature.split("_")[0] in LAYERS else {"data": 0.0}
            for stage, shift in bars.items():
                name = f"{stage}/digits_{feature}{suffix}"
                colour = COLOURS["pca"] if stage == "data" else COLOURS[stage]
                axis.bar(
                    place + shift,
                    100 * summary[name],
                    0.4,
                    yerr=100 * np.nan_to_num(summary[f"{name}_sem"]),
                    color=colour,
                    capsize=2,
                )
        axis.axhline(10, color="0.5", ls=":", lw=1)
        axis.set_xticks(range(len(FEATURES)), [label.replace(", ", ",\n") for label in FEATURES.values()])
        axis.set(title=f"Means over a recording, {title}", ylim=(0, 100))
        axis.annotate("chance", (1.005, 10), xycoords=("axes fraction", "data"), color="0.4", va="center")
        axis.set_ylabel("digits told right (%)")
    for name, label in (("untrained", "untrained"), ("il", LABELS["il"]), ("pca", "no network")):
        axes[1].bar(0, 0, color=COLOURS[name], label=label)
    axes[1].legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.16))
    _title(figure, metrics)
    return figure


def _title(figure: Any, metrics: Mapping[str, np.ndarray]) -> None:
    seeds = len(metrics["il/wake"])
    figure.suptitle(f"Bredenberg et al. (2021), Figure 4: spoken digits; mean ± standard error of {seeds} seeds")


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Losses and the share of digits read out, in Markdown; means are over the seeds that did not diverge."""
    summary = summarise(metrics)

    seeds = len(metrics["il/wake"])

    def cell(name: str, form: str) -> str:
        finite_seeds = summary[f"{name}_n"]
        lost = "" if finite_seeds == seeds else f", {seeds - finite_seeds} of {seeds} seeds diverged"
        return f"{summary[name]:{form}} ± {summary[f'{name}_sem']:{form}}{lost}"

    rows = [("method", "with phases", "awake", "with phases (nats)", "awake (nats)"), ("---",) * 5]
    for name in ("untrained", *methods(metrics)):
        loss_names = ("alternating", "wake", "alternating_nats", "wake_nats")
        rows.append((LABELS_HERE[name], *(cell(f"{name}/{loss}", ".3e") for loss in loss_names)))
    more = [("digits from", "untrained", "trained", "untrained, scaled", "trained, scaled"), ("---",) * 5]
    for feature, label in FEATURES.items():
        if feature in LAYERS or feature.endswith("noiseless"):
            names = (f"{stage}/digits_{feature}{z}" for z in ("", "_z") for stage in ("untrained", "il"))
            more.append((label, *(cell(name, ".3f") for name in names)))
        else:
            shares = (f"{summary[f'data/digits_{feature}{z}']:.3f}" for z in ("", "_z"))
            more.append((label, *(part for value in shares for part in ("-", value))))
    return "\n\n".join("\n".join("| " + " | ".join(row) + " |" for row in each) for each in (rows, more))
