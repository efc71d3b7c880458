"""Figure 2 of Lansdell, Prakash & Kording (2020): final values of its curves, and the claims on them."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from experiments.lansdell2019.common import unless_diverged
from experiments.shared.claims import INF, Summary, beyond, every
from plasticity_jax.run import Claim, below, gap, mean_sem, put

SIGMAS = (1e-4, 1e-3, 1e-2, 1e-1)
LAYERS = ("W2", "W3")
RANK_TOLERANCE = 1e-2  # a direction of the errors counts if its power is above this fraction of the strongest's
NO_FEEDBACK = {"relative_error": 1.0, "local_angle": 90.0, "true_angle": 90.0, "sign_congruence": 0.5}
"""The metrics of the feedback matrices, with their values for B = 0: 0 has either sign, and no credit no direction."""


def np_name(sigma: float) -> str:
    """Name of node perturbation at a noise level."""
    return f"np_c{sigma:g}"


METHODS = ("bp", "fa", "matching", "np", "np_forget", "np_held", "np_sgd")


def method_of(name: str) -> str:
    """The method that a name belongs to: "np" at all noise levels."""
    return "np" if name.startswith("np_c") else name


MIDDLE = np_name(1e-2)
NP = [np_name(sigma) for sigma in SIGMAS]


def finals(metrics: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Final values of each method, (seeds,), by method and then "error" or "relative_error_W2"."""
    by_method: dict[str, dict[str, np.ndarray]] = {}
    for key, values in metrics.items():
        method, metric = key.split("/")
        if metric in NO_FEEDBACK:
            entries = {f"{metric}_{layer}": values[:, -1, i] for i, layer in enumerate(LAYERS)}
        else:
            entries = {metric: values[:, -1]} if metric in ("error", "noisy_error") else {}
        loss = metrics[f"{method}/loss"]
        by_method.setdefault(method, {}).update({name: unless_diverged(v, loss) for name, v in entries.items()})
    return by_method


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final values by "method/metric", the paired differences that claims read, and ranks."""
    summary: dict[str, float] = {}
    final = finals(metrics)
    for method, by_metric in final.items():
        for metric, values in by_metric.items():
            put(summary, f"{method}/{metric}", values)
            if "fa" in final and method != "fa" and metric != "noisy_error":
                sign = -1 if metric.startswith("sign") else 1
                put(summary, f"{method}/{metric}_better_than_fa", sign * (final["fa"][metric] - values))
    if set(NP) <= set(final):
        low, high = NP[0], NP[-1]
        for layer in LAYERS:
            put(summary, f"optimum/{layer}", lead_of_the_middle([final[c][f"relative_error_{layer}"] for c in NP]))
        for metric in ("error", "noisy_error"):
            put(summary, f"{high}-{low}/{metric}", final[high][metric] - final[low][metric])
    if MIDDLE in final:
        put(summary, "layers_apart", np.abs(final[MIDDLE]["sign_congruence_W3"] - final[MIDDLE]["sign_congruence_W2"]))
    if {MIDDLE, "np_forget"} <= set(final):
        metric = "relative_error_W3"
        put(summary, f"{MIDDLE}-np_forget/{metric}", final[MIDDLE][metric] - final["np_forget"][metric])
    if {MIDDLE, "np_held"} <= set(final):
        for metric in (f"{metric}_{layer}" for metric in NO_FEEDBACK for layer in LAYERS):
            sign = -1 if metric.startswith("sign") else 1
            put(summary, f"np_held-{MIDDLE}/{metric}", sign * (final["np_held"][metric] - final[MIDDLE][metric]))
        held, learning = (final[name]["relative_error_W3"] for name in ("np_held", MIDDLE))
        put(summary, f"{MIDDLE}-np_held/relative_error_W3", learning - held)
    for method in final:
        if f"{method}/rank" in metrics:
            for i, layer in enumerate(LAYERS):
                summary[f"{method}/rank_{layer}"] = float(metrics[f"{method}/rank"][:, -1, i].mean())
                summary[f"{method}/rank_full_{layer}"] = float(metrics[f"{method}/rank_full"][0, -1, i])
    return summary


def lead_of_the_middle(errors: list[np.ndarray]) -> np.ndarray:
    """Errors at the better of the two extreme levels minus those at the best level between them, (seeds,).

    Args:
      errors: (seeds,) for each of at least three levels, in order; the better and the best have the lowest mean.
    """
    mean = np.array([mean_sem(error)[0] for error in errors])
    inner, outer = 1 + int(mean[1:-1].argmin()), (0 if mean[0] < mean[-1] else -1)
    return errors[outer] - errors[inner]


def _better_without(metric: str, layer: str) -> Callable[[Summary], bool]:
    """Returns a check that no feedback at all is better than feedback alignment, too."""
    sign = -1 if metric == "sign_congruence" else 1
    return lambda summary: beyond(summary, sign, f"fa/{metric}_{layer}", NO_FEEDBACK[metric])


def _above_fa() -> Iterator[Claim]:
    """Claims that compare each metric of the matrices in each layer with feedback alignment's."""
    for metric, words in (
        ("relative_error", "the relative error of B is lower than feedback alignment's"),
        ("local_angle", "the local angle is smaller than feedback alignment's (degrees)"),
        ("true_angle", "the angle to the true gradient is smaller than feedback alignment's (degrees)"),
        ("sign_congruence", "the signs of B agree more with W's than feedback alignment's"),
    ):
        for layer in LAYERS:
            yield gap(
                f"{metric}-{layer}".replace("_", "-"),
                f"{layer}, node perturbation at every c: {words} (least paired gap)",
                None,
                *(f"{method}/{metric}_{layer}_better_than_fa" for method in NP),
                trivial=_better_without(metric, layer),
            )


def _apart_in_fa(summary: Summary) -> float:
    return abs(summary["fa/sign_congruence_W3"] - summary["fa/sign_congruence_W2"])


def _above_backprop(method: str) -> Callable[[Summary], float]:
    return lambda summary: summary[f"{method}/error"] - summary["bp/error"]


def _near_backprop(summary: Summary) -> tuple[float, bool]:
    lost = _above_backprop(MIDDLE)(summary)
    return lost, lost < 1


def _rank_deficient(summary: Summary) -> tuple[float, bool]:
    (low, all_low), (top, all_top) = [
        (summary[f"{MIDDLE}/rank_{layer}"], summary[f"{MIDDLE}/rank_full_{layer}"]) for layer in LAYERS
    ]
    return low, low < all_low and top == all_top


CLAIMS = [
    *_above_fa(),
    every(
        "close-in-both-layers",
        "B comes close to W in both layers at c = 0.01: relative errors below 1, that of no feedback (the larger)",
        0.9,
        -INF,
        1.0,
        *(f"{MIDDLE}/relative_error_{layer}" for layer in LAYERS),
        trivial=lambda summary: all(summary[f"fa/relative_error_{layer}"] < 1 for layer in LAYERS),
    ),
    *(
        gap(
            f"optimal-noise-{layer}",
            f"{layer}: an intermediate noise level has the lowest relative error (lead on the better extreme)",
            None,
            f"optimum/{layer}",
        )
        for layer in LAYERS
    ),
    below(
        "sign-in-both-layers",
        "Sign congruence is comparable between layers (difference)",
        0.1,
        "layers_apart",
        0.1,
        trivial=lambda summary: _apart_in_fa(summary) < 0.1,
    ),
    gap(
        "error-below-fa",
        "Node perturbation at c = 0.01 ends with a lower test error than feedback alignment (points)",
        0.64,
        f"{MIDDLE}/error_better_than_fa",
    ),
    Claim(
        "error-near-bp",
        "Node perturbation at c = 0.01 ends within 1 point of backpropagation's test error (points)",
        0.99,
        _near_backprop,
        trivial=lambda summary: _above_backprop("fa")(summary) < 1,
    ),
    below(
        "error-3",
        "Test error of node perturbation at c = 0.01 comes close to 3 % (below 4)",
        3.64,
        f"{MIDDLE}/error",
        4.0,
        trivial=lambda summary: summary["fa/error"] < 4,
    ),
    every(
        "all-converge",
        "All methods converge: test error below 15 % (the worst; printed is c = 0.1)",
        15.92,
        -INF,
        15.0,
        *(f"{method}/error" for method in ("bp", "fa", *NP)),
    ),
    gap(
        "large-noise-hurts",
        "At c = 0.1 the network errs more than at c = 1e-4 (points, clean forward pass)",
        12.41,
        f"{NP[-1]}-{NP[0]}/error",
    ),
    gap(
        "large-noise-is-read-out",
        "At c = 0.1 it errs more where, as in the authors' code, the noise is left on (points)",
        12.41,
        f"{NP[-1]}-{NP[0]}/noisy_error",
        own=True,
    ),
    gap(
        "forgetting-ends-the-lag",
        "A ridge that forgets follows W3 more closely than one that does not (relative error, paired gap)",
        None,
        f"{MIDDLE}-np_forget/relative_error_W3",
        own=True,
    ),
    Claim(
        "rank-deficient",
        "The errors that W2's feedback is regressed on leave directions out, W3's do not (rank of 20, W2)",
        None,
        _rank_deficient,
        own=True,
    ),
    gap(
        "co-adaptation",
        "W2 and its feedback come to correspond from both sides: B is closer to a W2 that learns than to one that is "
        "held, after the same samples (relative error)",
        None,
        f"np_held-{MIDDLE}/relative_error_W2",
        trivial=lambda summary: summary["fa/relative_error_W2"] < summary["np_held/relative_error_W2"],
    ),
    gap(
        "co-adaptation-signs",
        "The same of the signs of W2 and B (fraction more alike)",
        None,
        f"np_held-{MIDDLE}/sign_congruence_W2",
        own=True,
    ),
    gap(
        "held-corresponds-at-the-top",
        "At the top it needs none: B3 is closer to a W3 that is held than to one that learns (relative error)",
        None,
        f"{MIDDLE}-np_held/relative_error_W3",
        own=True,
    ),
]
