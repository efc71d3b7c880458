"""Claims on Figure 3."""

import math
from collections.abc import Callable, Mapping

from experiments.shared.claims import all_within, clear
from plasticity_jax.run import Claim, gap, within

Summary = Mapping[str, float]


def _lead(
    id: str,
    statement: str,
    paper: str | None,
    one: str,
    other: str,
    what: str,
    trivial: Callable[[Summary], bool] | None = None,
) -> Claim:
    """Claim that one of `GAPS` is above 0; it is our own if the paper does not state it."""
    return gap(id, statement, paper, f"gap/{one}-{other}/{what}", own=paper is None, trivial=trivial)


def untold(summary: Summary) -> bool:
    """Returns whether the image explains 5 % of wake/sleep's code or less: reconstructions are unrelated samples."""
    return summary["wake_sleep/told"] <= 0.05


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
        trivial=lambda s: untold(s) or s["data/identity_mean"] <= 0.5,
    ),
    _lead(
        "above-chance",
        "Wake/sleep keeps it more often than the mean image does, which is always taken for the same digit",
        None,
        "wake_sleep",
        "mean",
        "identity",
        lambda s: untold(s) or clear("gap/untrained-mean/identity")(s),
    ),
    within(
        "manifold",
        "Wake/sleep's reconstructions are as near to digits as its samples are (ratio of Frechet distances, at most "
        "1.5)",
        ELSEWHERE,
        "wake_sleep/frechet_over_sleep",
        -math.inf,
        1.5,
        trivial=lambda s: untold(s) or s["untrained/frechet"] <= 1.5 * s["untrained/sleep_frechet"],
    ),
    _lead(
        "worse-than-mean",
        "Its squared error is above the mean image's",
        None,
        "wake_sleep",
        "mean",
        "mse",
        lambda s: untold(s) or s["data/mse_other"] > s["data/mse_mean"],
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
        trivial=lambda s: s["untrained/sleep_frechet"] >= 5 * min(s["data/frechet_mean"], s["data/frechet_gauss"]),
    ),
    all_within(
        "generation-real",
        "Samples of both are within 10 times the distance of other real digits (ratio of Frechet distances)",
        QUALITY,
        -math.inf,
        10,
        *_of_both("over_real"),
        trivial=lambda s: min(s["data/frechet_mean"], s["data/frechet_gauss"]) <= 10 * s["data/frechet_real"],
    ),
    all_within(
        "classes",
        "Both sample every digit: above 3 bits, of 3.32",
        QUALITY,
        3,
        math.inf,
        *_of_both("sleep_entropy"),
        trivial=lambda s: max(s["untrained/sleep_entropy"], s["data/entropy_gauss"]) >= 3,
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
            trivial=lambda s, hollow=hollow: hollow(s) or s["untrained/index_shuffled"] >= 0.8,
        )
        for method, title, hollow in (("wake_sleep", "Wake/sleep", untold), ("combined", "Combined", lambda s: False))
    ),
    gap(
        "rounded",
        "With the paper's rounding, too, sleep of both is nearer to wake than units shuffled are (least gap, bits)",
        BERKES,
        *_of_both("below_shuffled_rounded"),
        trivial=clear("untrained/below_shuffled_rounded"),
    ),
    *(
        within(
            f"diagonal-{method.replace('_', '-')}",
            f"{title}: frequencies of rounded patterns lie along the diagonal: correlation awake and asleep at least "
            "0.8 of that of two halves of wake",
            BERKES,
            f"{method}/diagonal_rounded",
            0.8,
            math.inf,
            trivial=lambda s: s["untrained/diagonal_rounded"] >= 0.8,
        )
        for method, title in (("wake_sleep", "Wake/sleep"), ("combined", "Combined"))
    ),
    all_within(
        "rounded-rare",
        "Rounded patterns are so rare that two halves of wake hardly share any: above 0.8 bits apart",
        None,
        0.8,
        1.0,
        *_of_both("js_floor_rounded"),
        own=True,
        trivial=lambda s: s["untrained/js_floor_rounded"] >= 0.8,
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
        trivial=lambda s: untold(s) or s["untrained/pairs"] <= 0.01,
    ),
    within(
        "untold",
        "Its code carries no information about the image: under 5 % of its variance",
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
    all_within(
        "diverged",
        "No seed of either diverges (number)",
        None,
        0,
        0,
        *_of_both("diverged"),
        own=True,
        trivial=lambda s: s["marginals/diverged"] == 0,
    ),
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
        "And its code carries no information about the image: under 5 % of its variance",
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
