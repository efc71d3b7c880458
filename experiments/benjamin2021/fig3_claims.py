"""Summary of Figure 3, its table, and the claims on it."""

import math
from collections.abc import Callable, Mapping

import numpy as np

from experiments.benjamin2021.common import LABELS
from experiments.benjamin2021.tables import cell, table
from experiments.shared.claims import all_within, clear
from plasticity_jax.run import Claim, gap, put, within

Summary = Mapping[str, float]

METHODS = (
    "wake_sleep",
    "combined",
    "wake_sleep_no_recurrence",
    "combined_no_recurrence",
    "marginals",
    "combined_per_layer",
)
STEADY = ("identity", "mse", "sleep_frechet")  # of which stability is asked
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
    "blank": "black",
}


def jumps(curve: np.ndarray) -> np.ndarray:
    """Jumps of a curve (seeds, points) of positive numbers about its trend, (seeds,).

    The root mean square of second differences of its logarithm from the first quarter on, over the square root of 6:
    the standard deviation of what is independent from point to point.
    """
    late = np.log(curve[:, curve.shape[1] // 4 :])
    return np.sqrt((np.diff(late, 2, axis=1) ** 2).mean(1) / 6)


def spread(values: np.ndarray) -> float:
    """Standard deviation over the seeds that did not diverge; NaN of fewer than two."""
    whole = values[np.isfinite(values)]
    return float(np.std(whole, ddof=1)) if len(whole) > 1 else math.nan


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Numbers at the end ("method/..."), baselines ("data/..."), and paired differences ("gap/one-other/...").

    ``spread_...`` are standard deviations over seeds; ``jumps_...`` see `jumps`. Of divergences of
    patterns, ``above_floor`` and ``below_shuffled`` are sleep's, ``pairs`` what it costs wake to have x and z unpaired.
    """
    summary: dict[str, float] = {}
    last = {key: values[:, -1] for key, values in metrics.items() if values.ndim == 2}
    for key, values in last.items():
        if key.split("/")[1] not in ("step", "bad_step"):
            put(summary, key, values)
    for method in METHODS:
        summary[f"{method}/diverged"] = float((metrics[f"{method}/bad_step"][:, -1] >= 0).sum())
        for what in STEADY:
            summary[f"{method}/spread_{what}"] = spread(last[f"{method}/{what}"])
            put(summary, f"{method}/jumps_{what}", jumps(metrics[f"{method}/{what}"]))
        asleep = last[f"{method}/sleep_frechet"]
        put(summary, f"{method}/frechet_over_sleep", last[f"{method}/frechet"] / asleep)
        put(summary, f"{method}/frechet_under_untrained", last["untrained/sleep_frechet"] / asleep)
        put(summary, f"{method}/over_real", asleep / last["data/frechet_real"])
    for network in (*METHODS, "untrained"):
        js = {kind: last[f"{network}/js_{kind}"] for kind in ("sleep", "floor", "shuffled", "unpaired")}
        put(summary, f"{network}/above_floor", js["sleep"] - js["floor"])
        put(summary, f"{network}/below_shuffled", js["shuffled"] - js["sleep"])
        put(summary, f"{network}/pairs", js["unpaired"] - js["floor"])

    def value(name: str, what: str) -> np.ndarray:
        return last[f"{name}/{what}"] if name in (*METHODS, "untrained") else last[f"data/{what}_{name}"]

    for one, other, what in GAPS:
        put(summary, f"gap/{one}-{other}/{what}", value(one, what) - value(other, what))
    for what in STEADY:
        rough, calm = (jumps(metrics[f"{method}/{what}"]) for method in ("wake_sleep", "combined"))
        put(summary, f"gap/wake_sleep-combined/jumps_{what}", rough - calm)
    harm = [value(f"{name}_no_recurrence", "identity") - value(name, "identity") for name in ("wake_sleep", "combined")]
    put(summary, "gap/harm", harm[0] - harm[1])
    return summary


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Table of every method at the end, beside the baselines, in Markdown."""
    summary, seeds = summarise(metrics), len(metrics["data/identity"])

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
        "js_sleep": "JS (bits)",
        "js_floor": "its floor",
        "js_unpaired": "unpaired",
        "js_shuffled": "shuffled",
    }
    rows = [
        [LABELS.get(method, method), *(of(f"{method}/{what}") for what in columns)]
        for method in (*METHODS, "untrained")
    ]
    rows += [[label, *(of(f"data/{what}_{rival}") for what in columns)] for rival, label in RIVALS.items()]
    real = f"{of('data/identity')} of real digits are taken for what they are; as many others are "
    return f"{table(('method', *columns.values()), rows)}\n\n{real}{of('data/frechet_real')} away (Frechet)."


def _lead(
    id: str,
    statement: str,
    paper: str | None,
    one: str,
    other: str,
    what: str,
    trivial: Callable[[Summary], bool] | None = None,
) -> Claim:
    """One of `GAPS` is above 0; the experiment's own where the paper has no words for it."""
    return gap(id, statement, paper, f"gap/{one}-{other}/{what}", own=paper is None, trivial=trivial)


def _of_both(what: str) -> tuple[str, str]:
    return f"wake_sleep/{what}", f"combined/{what}"


GOOD, OTHERS, ELSEWHERE = "good reconstructions", "different digits than those input", "on the manifold, but elsewhere"
WORSE, QUALITY, BERKES, STABLE = "exacerbates", "good quality", "as closely as Berkes et al.", "much more stable"

CLAIMS = [
    _lead(
        "identity",
        "Combined keeps the digit's identity more often than wake/sleep",
        GOOD,
        "combined",
        "wake_sleep",
        "identity",
        lambda s: s["data/identity_pca"] > s["wake_sleep/identity"],
    ),
    within(
        "good",
        "Combined: at least 80 % keep it",
        GOOD,
        "combined/identity",
        0.8,
        math.inf,
        trivial=lambda s: s["data/identity_pca"] >= 0.8,
    ),
    within(
        "different",
        "Wake/sleep lands on different digits: under half keep their identity",
        OTHERS,
        "wake_sleep/identity",
        0.0,
        0.5,
        trivial=lambda s: s["data/identity_mean"] <= 0.5,
    ),
    _lead(
        "above-chance",
        "Wake/sleep keeps it more often than the mean image does, which is always taken for the same digit",
        None,
        "wake_sleep",
        "mean",
        "identity",
        clear("gap/untrained-mean/identity"),
    ),
    within(
        "manifold",
        "Wake/sleep's reconstructions are as near to digits as its samples are (ratio of Frechet distances, at most "
        "1.5)",
        ELSEWHERE,
        "wake_sleep/frechet_over_sleep",
        -math.inf,
        1.5,
        trivial=lambda s: s["untrained/frechet"] <= 1.5 * s["untrained/sleep_frechet"],
    ),
    _lead(
        "worse-than-mean",
        "Its squared error is above the mean image's",
        None,
        "wake_sleep",
        "mean",
        "mse",
        lambda s: s["data/mse_other"] > s["data/mse_mean"],
    ),
    _lead(
        "better-than-mean",
        "Combined: squared error below the mean image's",
        GOOD,
        "mean",
        "combined",
        "mse",
        lambda s: s["data/mse_pca"] < s["data/mse_mean"],
    ),
    _lead(
        "better-than-pca",
        "And below that of as many principal components as the code has units",
        None,
        "pca",
        "combined",
        "mse",
        lambda s: s["data/mse_mean"] < s["data/mse_pca"],
    ),
    _lead(
        "identity-pca",
        "And identity kept more often than by them",
        None,
        "combined",
        "pca",
        "identity",
        lambda s: max(s["data/identity_mean"], s["untrained/identity"]) > s["data/identity_pca"],
    ),
    _lead(
        "recurrence",
        "Recurrence makes wake/sleep keep the identity less often",
        WORSE,
        "wake_sleep_no_recurrence",
        "wake_sleep",
        "identity",
    ),
    _lead(
        "recurrence-mse",
        "Recurrence raises wake/sleep's squared error",
        WORSE,
        "wake_sleep",
        "wake_sleep_no_recurrence",
        "mse",
    ),
    gap(
        "recurrence-combined",
        "It takes less of the identity from the combined objective",
        None,
        "gap/harm",
        own=True,
    ),
    _lead(
        "without",
        "Without it, too, wake/sleep keeps less than combined",
        WORSE,
        "combined_no_recurrence",
        "wake_sleep_no_recurrence",
        "identity",
        lambda s: s["data/identity_pca"] > s["wake_sleep_no_recurrence/identity"],
    ),
    all_within(
        "generation",
        "Samples of both are 5 times nearer to digits than an untrained network's (ratio of Frechet distances)",
        QUALITY,
        5,
        math.inf,
        *_of_both("frechet_under_untrained"),
        trivial=lambda s: s["untrained/sleep_frechet"] >= 5 * s["data/frechet_mean"],
    ),
    all_within(
        "generation-real",
        "Samples of both are within 10 times the distance of other real digits (ratio of Frechet distances)",
        QUALITY,
        -math.inf,
        10,
        *_of_both("over_real"),
        trivial=lambda s: s["data/frechet_mean"] <= 10 * s["data/frechet_real"],
    ),
    all_within(
        "classes",
        "Samples of both are of all digits: above 3 bits, of 3.32",
        QUALITY,
        3,
        math.inf,
        *_of_both("sleep_entropy"),
        trivial=lambda s: s["untrained/sleep_entropy"] >= 3,
    ),
    gap(
        "aligned",
        "Sleep of both is nearer to wake than units shuffled are (least gap of divergence, bits)",
        BERKES,
        *_of_both("below_shuffled"),
        trivial=clear("untrained/below_shuffled"),
    ),
    *(
        within(
            f"aligned-{method.replace('_', '-')}",
            f"{title} aligns patterns of wake and sleep: index against shuffled units at least 0.8",
            BERKES,
            f"{method}/index_shuffled",
            0.8,
            math.inf,
            trivial=lambda s: s["untrained/index_shuffled"] >= 0.8,
        )
        for method, title in (("wake_sleep", "Wake/sleep"), ("combined", "Combined"))
    ),
    within(
        "pairs-combined",
        "And against x and z that are not paired, at least 0.8",
        BERKES,
        "combined/index_unpaired",
        0.8,
        math.inf,
        trivial=lambda s: s["untrained/index_unpaired"] >= 0.8,
    ),
    within(
        "pairs-wake-sleep",
        "Wake/sleep has no pairs to align: x and z unpaired are within 0.01 bits of the floor",
        None,
        "wake_sleep/pairs",
        -math.inf,
        0.01,
        own=True,
        trivial=lambda s: s["untrained/pairs"] <= 0.01,
    ),
    within(
        "untold",
        "Its code is not told the image: under 5 % of its variance",
        None,
        "wake_sleep/told",
        -math.inf,
        0.05,
        own=True,
        trivial=lambda s: s["untrained/told"] <= 0.05,
    ),
    *(
        _lead(
            f"stable-{name}",
            f"Combined is more stable: {of} jumps less",
            STABLE,
            "wake_sleep",
            "combined",
            f"jumps_{key}",
        )
        for name, of, key in (
            ("generation", "the Frechet distance of its samples", "sleep_frechet"),
            ("error", "its squared error", "mse"),
        )
    ),
    all_within("diverged", "No seed of either diverges (number)", None, 0, 0, *_of_both("diverged"), own=True),
    _lead(
        "marginals",
        "Local discriminators at gamma = 1 keep less than combined",
        None,
        "combined",
        "marginals",
        "identity",
        lambda s: s["data/identity_pca"] > s["marginals/identity"],
    ),
    within(
        "marginals-untold",
        "And leave the code untold: under 5 % of its variance",
        None,
        "marginals/told",
        -math.inf,
        0.05,
        own=True,
        trivial=lambda s: s["untrained/told"] <= 0.05,
    ),
    within(
        "per-layer",
        "Combined without credit through layers: the code is taught its prior alone, at most 20 % keep the identity",
        None,
        "combined_per_layer/identity",
        0.0,
        0.2,
        own=True,
        trivial=lambda s: s["data/identity_mean"] <= 0.2,
    ),
]
