"""Summary of learning from spoken digits, and the claims on it."""

from collections.abc import Callable, Mapping

import numpy as np

from experiments.bredenberg2021.fig4_measures import LAYERS
from experiments.shared.claims import Summary, surely
from plasticity_jax.run import above, gap, put, within

METHODS = ("il", "il_authors", "il_slow", "nvi", "published")
LOSSES = {"alternating": "with phases", "wake": "awake"}


def methods(metrics: Mapping[str, np.ndarray]) -> list[str]:
    """The `METHODS` that were run; early runs lack "il_slow"."""
    return [method for method in METHODS if f"{method}/wake" in metrics]


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Numbers before ("untrained/...") and after impression learning ("il/..."), the rivals' losses, and gaps.

    "fall/..." is a loss before over the same loss after, "..._moved" and "rates/..." are the inverse, "..._behind" is a
    loss over that of impression learning; "gap/..." are paired differences; "components_..." is the number of principal
    components with a lower R2.
    """
    summary: dict[str, float] = {}
    il = {name[3:]: metrics[name] for name in metrics if name.startswith("il/")}
    first, last = ({name: v[:, at] for name, v in il.items() if v.ndim == 2} for at in (0, -1))
    data = {name[5:]: metrics[name][:, 0] for name in metrics if name.startswith("data/")}
    for stage in (first, last):
        stage["rmse_r1"] = data["scale"] * stage["mse_r1"] ** 0.5
    for name in first:
        if name not in ("loss", "bad_step"):
            put(summary, f"untrained/{name}", first[name])
            put(summary, f"il/{name}", last[name])
    for name in ("acf_wake", "acf_dream"):
        put(summary, f"il/{name}_5", metrics[f"il/{name}"][:, -1, 5])
    for stage, at in (("", -1), ("_untrained", 0)):
        put(summary, f"gap/acf{stage}", metrics["il/acf_dream"][:, at, 5] - metrics["il/acf_wake"][:, at, 5])
    for loss in LOSSES:
        put(summary, f"fall/{loss}", first[loss] / last[loss])
        for method in methods(metrics)[1:]:
            ends = metrics[f"{method}/{loss}"][:, -1]
            put(summary, f"{method}/{loss}", ends)
            put(summary, f"{method}/{loss}_nats", metrics[f"{method}/{loss}_nats"][:, -1])
            put(summary, f"{method}/{loss}_moved", ends / metrics[f"{method}/{loss}"][:, 0])
            put(summary, f"{method}/{loss}_behind", ends / last[loss])
        moved = metrics[f"rates/{loss}"][:, -1] / metrics[f"rates/{loss}"][:, 0]
        put(summary, f"rates/{loss}_best", np.where(np.isfinite(moved), moved, np.inf).min(1))
        for rate, column in zip(metrics["data/rates"][0, 0], moved.T, strict=True):
            put(summary, f"rates/{rate:.3g}/{loss}", column)
    put(summary, "il_authors/variance", metrics["il_authors/variance"][:, -1])
    pairs = {
        "onset": ("il_authors/alternating", "il/alternating"),
        "onset_wake": ("il_authors/wake", "il/wake"),
        "onset_variance": ("il/variance", "il_authors/variance"),
        "rate": ("il_slow/alternating", "il_authors/alternating"),
        "published": ("published/alternating", "il/alternating"),
    }
    for name, (upper, lower) in pairs.items():
        if upper in metrics:
            put(summary, f"gap/{name}", np.log(metrics[upper] / metrics[lower])[:, -1])
    for name, values in data.items():
        if values.ndim == 1:
            put(summary, f"data/{name}", values)
    sizes = metrics["data/sizes"][0, 0].astype(int)
    for layer, size, own in zip(LAYERS, sizes, data["pca_own"].T, strict=True):
        share = data["pca"][:, size - 1]
        put(summary, f"data/pca_{layer}", share)
        put(summary, f"data/pca_own_{layer}", own)
        put(summary, f"gap/r2_r1-pca_{layer}", last["r2_r1"] - share)
        put(summary, f"il/components_{layer}", (data["pca"] < last[f"r2_{layer}"][:, None]).sum(1))
    for name in ("pearson", "pearson_all", *(name for name in first if name.startswith("digits"))):
        put(summary, f"gap/{name}", last[name] - first[name])
    return summary


def _any_above(bound: float, *names: str) -> Callable[[Summary], bool]:
    """Returns a test of whether the best of some trivial baselines is above a bound, too."""
    return lambda summary: max(summary[name] for name in names) > bound


def _inside(low: float, high: float, name: str) -> Callable[[Summary], bool]:
    """Returns a test of whether a trivial baseline lies in an interval, too."""
    return lambda summary: low <= summary[name] <= high


def _frames_decode_better(layer: str) -> Callable[[Summary], bool]:
    """Returns a test of whether frames or their principal components are decoded better than an untrained layer."""
    scaled = "_z" if layer.endswith("_z") else ""
    names = [f"data/digits_{feature}{scaled}" for feature in ("raw", "pca_r1", "pca_r2")]
    return lambda summary: max(summary[name] for name in names) > summary[f"untrained/digits_{layer}"]


THEIRS, THEIRS_AWAKE = 1.973e5, 16774 - 140  # their log adds the number of neurons to a step of wake
CLAIMS = [
    above("learns", "The loss with phases falls by more than 10 times", 15.8, "fall/alternating", 10),
    above("learns-awake", "The loss awake falls by more than 10 times", 188, "fall/wake", 10, own=True),
    within(
        "loss",
        "With layer 1 at rest on waking it ends within 15 % of what the authors' code gives",
        THEIRS,
        "il_authors/alternating",
        0.85 * THEIRS,
        1.15 * THEIRS,
    ),
    within(
        "loss-awake",
        "Awake likewise, within 15 %",
        THEIRS_AWAKE,
        "il_authors/wake",
        0.85 * THEIRS_AWAKE,
        1.15 * THEIRS_AWAKE,
        own=True,
    ),
    gap(
        "loss-onset",
        "Taught on waking, as the density has it, it ends lower than that (log)",
        None,
        "gap/onset",
        own=True,
    ),
    gap("loss-onset-awake", "Awake it does (log)", None, "gap/onset_wake", own=True),
    gap(
        "dreams-onset",
        "But its dreams vary more than with layer 1 at rest on waking (log)",
        None,
        "gap/onset_variance",
        own=True,
    ),
    surely(
        "onset-is-rate",
        "Taught on waking at half the rate for layer 1, it ends as at rest on waking (log, within 0.02)",
        None,
        -0.02,
        0.02,
        "gap/rate",
        own=True,
    ),
    above(
        "reconstructs",
        "Stimuli are reconstructed from layer 1: R2 above 0.9",
        0.962,
        "il/r2_r1",
        0.9,
        trivial=_any_above(0.9, "data/pca_r1", "data/pca_r2", "untrained/r2_r1"),
    ),
    above(
        "reconstructs-deep",
        "And from layer 2 alone: R2 above 0.7",
        0.839,
        "il/r2_r2",
        0.7,
        own=True,
        trivial=_any_above(0.7, "data/pca_r2", "untrained/r2_r2"),
    ),
    gap(
        "reconstructs-as-40",
        "From layer 1, better than from 40 principal components, as many as layer 2 has neurons (R2)",
        "0.962 / 0.986",
        "gap/r2_r1-pca_r2",
        own=True,
    ),
    gap(
        "reconstructs-as-100",
        "From layer 1, better than from 100 principal components, as many as it has neurons (R2)",
        None,
        "gap/r2_r1-pca_r1",
        own=True,
    ),
    above(
        "dreams",
        "Dreamed frequencies correlate like the data's: Pearson above 0.9",
        0.962,
        "il/pearson",
        0.9,
        trivial=_any_above(0.9, "untrained/pearson"),
    ),
    gap("dreams-untrained", "And better than an untrained network's (Pearson)", None, "gap/pearson", own=True),
    above(
        "dreams-mean",
        "The dreams' spectrum is the data's: correlation above 0.95",
        0.999,
        "il/bin_mean",
        0.95,
        own=True,
        trivial=_any_above(0.95, "untrained/bin_mean"),
    ),
    *(
        within(id, statement, 0.87, name, 0.75, 1.25, own=True, trivial=_inside(0.75, 1.25, "untrained/variance"))
        for id, statement, name in (
            ("dreams-variance", "And so is its variance, within a quarter (ratio)", "il/variance"),
            (
                "dreams-variance-authors",
                "With layer 1 at rest on waking, too (ratio)",
                "il_authors/variance",
            ),
        )
    ),
    within(
        "dreams-time",
        "Dreams change as fast as waking activity: lag 5, within 0.1",
        0.031,
        "gap/acf",
        -0.1,
        0.1,
        trivial=_inside(-0.1, 0.1, "gap/acf_untrained"),
    ),
    above(
        "cosine",
        "The authors' cosine is nearly trivial: ones have above 0.95",
        0.973,
        "data/cosine",
        0.95,
        own=True,
    ),
    above(
        "nvi-behind",
        "NVI* at the largest rate that raises the loss by less than 1 % an epoch ends at 5 times IL's loss (ratio)",
        None,
        "nvi/alternating_behind",
        5,
        trivial=lambda s: s["untrained/alternating"] > 5 * s["il/alternating"],
    ),
    above(
        "nvi-stalls",
        "At no rate does an epoch of NVI* lower the loss by 5 % (best, after over before)",
        None,
        "rates/alternating_best",
        0.95,
        own=True,
    ),
    gap(
        "published-behind",
        "The published NVI* at the authors' rate ends above IL (log)",
        None,
        "gap/published",
        trivial=lambda s: s["untrained/alternating"] > s["il/alternating"],
    ),
    above(
        "published-climbs",
        "The published NVI* at the authors' rate raises the loss (after over before)",
        None,
        "published/alternating_moved",
        1,
        own=True,
    ),
    *(
        gap(
            f"digits-{name}".replace("_", "-"),
            f"Digits are read out better than untrained: {what}",
            paper,
            f"gap/digits_{name}",
            own=True,
            trivial=_frames_decode_better(name),
        )
        for name, what, paper in (
            ("r2", "layer 2", "0.86 / 0.33"),
            ("r2_z", "layer 2, scaled", "0.86 / 0.54"),
            ("r2_noiseless_z", "layer 2, scaled and without noise", None),
            ("r1", "layer 1", "0.87 / 0.70"),
            ("r1_z", "layer 1, scaled", "0.87 / 0.893"),
        )
    ),
]
