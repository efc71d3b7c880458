"""Summary of Figure 3, and its table."""

import math
from collections.abc import Mapping

import numpy as np

from experiments.benjamin2021.common import LABELS
from experiments.benjamin2021.tables import cell, table
from plasticity_jax.run import put

Summary = Mapping[str, float]

METHODS = (
    "wake_sleep",
    "combined",
    "wake_sleep_no_recurrence",
    "combined_no_recurrence",
    "marginals",
    "combined_per_layer",
)
STEADY = ("identity", "mse", "sleep_frechet")  # scores that are judged for stability
GAPS = (
    ("combined", "wake_sleep", "identity"),
    ("combined", "wake_sleep", "told"),
    ("combined", "pca", "identity"),
    ("combined", "marginals", "identity"),
    ("combined", "combined_per_layer", "identity"),
    ("combined", "combined_no_recurrence", "identity"),
    ("wake_sleep", "mean", "identity"),
    ("untrained", "mean", "identity"),
    ("wake_sleep_no_recurrence", "wake_sleep", "identity"),
    ("wake_sleep_no_recurrence", "wake_sleep", "told"),
    ("combined_no_recurrence", "wake_sleep_no_recurrence", "identity"),
    ("wake_sleep", "mean", "mse"),
    ("wake_sleep", "wake_sleep_no_recurrence", "mse"),
    ("mean", "combined", "mse"),
    ("pca", "combined", "mse"),
    ("pca_64", "combined", "mse"),
    ("wake_sleep", "other", "mse"),
)
RIVALS = {
    "pca": "principal components, as many as the code",
    "pca_64": "64 principal components",
    "mean": "mean image",
    "other": "another digit",
    "gauss": "Gaussian samples with the covariance of digits",
    "blank": "black",
}


def jumps(curve: np.ndarray) -> np.ndarray:
    """Jumps of a curve (seeds, points) of positive numbers about its trend, (seeds,).

    The root mean square of second differences of its logarithm from the first quarter on, over the square root of 6:
    the standard deviation of scatter that is independent from point to point.
    """
    late = np.log(curve[:, curve.shape[1] // 4 :])
    return np.sqrt((np.diff(late, 2, axis=1) ** 2).mean(1) / 6)


def spread(values: np.ndarray) -> float:
    """Standard deviation over the seeds that did not diverge; NaN if these are fewer than two."""
    finite = values[np.isfinite(values)]
    return float(np.std(finite, ddof=1)) if len(finite) > 1 else math.nan


def ran(metrics: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Those of `METHODS` that the metrics have, in this order."""
    return tuple(method for method in METHODS if f"{method}/step" in metrics)


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Numbers at the end ("method/..."), baselines ("data/..."), and paired differences ("gap/one-other/...").

    ``spread_...`` are standard deviations over seeds; for ``jumps_...``, see `jumps`. Of the divergences of patterns,
    ``above_floor`` and ``below_shuffled`` are sleep's, and ``pairs`` is the cost of unpairing x and z awake.
    ``diagonal`` is the correlation of their frequencies awake and asleep, as a share of that of two halves of wake.
    """
    summary: dict[str, float] = {}
    methods = ran(metrics)
    last = {key: values[:, -1] for key, values in metrics.items() if values.ndim == 2}
    for key, values in last.items():
        if key.split("/")[1] not in ("step", "bad_step"):
            put(summary, key, values)
    for method in methods:
        summary[f"{method}/diverged"] = float((metrics[f"{method}/bad_step"][:, -1] >= 0).sum())
        for what in STEADY:
            summary[f"{method}/spread_{what}"] = spread(last[f"{method}/{what}"])
            put(summary, f"{method}/jumps_{what}", jumps(metrics[f"{method}/{what}"]))
        asleep = last[f"{method}/sleep_frechet"]
        put(summary, f"{method}/frechet_over_sleep", last[f"{method}/frechet"] / asleep)
        put(summary, f"{method}/frechet_under_untrained", last["untrained/sleep_frechet"] / asleep)
        put(summary, f"{method}/over_real", asleep / last["data/frechet_real"])
    for network in (*methods, "untrained"):
        js = {kind: last[f"{network}/js_{kind}"] for kind in ("sleep", "floor", "shuffled", "unpaired")}
        put(summary, f"{network}/above_floor", js["sleep"] - js["floor"])
        put(summary, f"{network}/below_shuffled", js["shuffled"] - js["sleep"])
        put(summary, f"{network}/pairs", js["unpaired"] - js["floor"])
        rounded = last[f"{network}/js_shuffled_rounded"] - last[f"{network}/js_sleep_rounded"]
        put(summary, f"{network}/below_shuffled_rounded", rounded)
        for end in ("", "_rounded"):
            asleep, floor = (last[f"{network}/correlation_{kind}{end}"] for kind in ("sleep", "floor"))
            put(summary, f"{network}/diagonal{end}", asleep / floor)

    def value(name: str, what: str) -> np.ndarray:
        return last[f"{name}/{what}"] if name in (*METHODS, "untrained") else last[f"data/{what}_{name}"]

    absent = set(METHODS) - set(methods)
    for one, other, what in GAPS:
        if not absent & {one, other}:
            put(summary, f"gap/{one}-{other}/{what}", value(one, what) - value(other, what))
    pair = ("wake_sleep", "combined")
    if not absent & set(pair):
        for what in STEADY:
            rough, calm = (jumps(metrics[f"{method}/{what}"]) for method in pair)
            put(summary, f"gap/wake_sleep-combined/jumps_{what}", rough - calm)
    if not absent & {*pair, *(f"{name}_no_recurrence" for name in pair)}:
        harm = [value(f"{name}_no_recurrence", "identity") - value(name, "identity") for name in pair]
        put(summary, "gap/harm", harm[0] - harm[1])
    return summary


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Table of all methods at the end, and of the baselines, in Markdown."""
    summary, seeds, methods = summarise(metrics), len(metrics["data/identity"]), ran(metrics)

    def of(name: str) -> str:
        return cell(summary, name, seeds)

    columns = {
        "identity": "identity kept",
        "identity_mean": "of the mean of 10",
        "mse": "squared error",
        "mse_mean": "of the mean of 10",
        "frechet": "Frechet, reconstructions",
        "sleep_frechet": "Frechet, samples",
        "sleep_entropy": "classes of samples (bits)",
        "told": "code told by image",
        "code_variance": "its variance",
        "js_sleep": "JS (bits)",
        "js_floor": "its floor",
        "js_unpaired": "unpaired",
        "js_shuffled": "shuffled",
        "diagonal": "correlation, of the floor's",
        "js_sleep_rounded": "rounded: JS",
        "js_floor_rounded": "its floor",
        "js_shuffled_rounded": "shuffled",
        "diagonal_rounded": "correlation",
    }
    rows = [
        [LABELS.get(method, method), *(of(f"{method}/{what}") for what in columns)]
        for method in (*methods, "untrained")
    ]
    rows += [[label, *(of(f"data/{what}_{rival}") for what in columns)] for rival, label in RIVALS.items()]
    real = f"{of('data/identity')} of real digits are taken for what they are; as many others are "
    told = "; ".join(f"{LABELS[method]} {of(f'{method}/told')}" for method in methods)
    return (
        f"{table(('method', *columns.values()), rows)}\n\n{real}{of('data/frechet_real')} away (Frechet).\n\n"
        f"Share of the code's variance that the image explains (told): {told}. A code that is told nothing has another "
        "sample for a reconstruction, and no pairs of image and code: `different`, `above-chance`, `manifold`, "
        "`worse-than-mean`, `aligned-wake-sleep` and `pairs-wake-sleep` then say nothing."
    )
