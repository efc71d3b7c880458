"""Supplementary figure 1 of Lansdell, Prakash & Kording (2020): the ends of its curves, and the claims on them."""

import fnmatch
from collections.abc import Callable, Mapping

import numpy as np

from experiments.shared.claims import INF, Summary, every
from plasticity_jax.run import Claim, put

METRICS = ("relative_error", "sign_congruence", "local_angle", "true_angle")


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Ends of all curves by "part/Wk", with c in panels a to c; those of theory; ratios of measured to expected."""
    summary: dict[str, float] = {}
    for name in [name for name in metrics if name.endswith("/relative_error")]:
        part = name.removesuffix("/relative_error")
        sigmas, layers = metrics[f"{part}/sigma"][0, 0], metrics[name].shape[3]
        for k in range(layers):
            for i, sigma in enumerate(sigmas):
                where = f"{part}/c={sigma:.3g}/W{k + 2}" if part == "noise" else f"{part}/W{k + 2}"
                for metric in METRICS:
                    put(summary, f"{where}/{metric}", metrics[f"{part}/{metric}"][:, -1, i, k])
                if f"{part}/expected_error" in metrics:
                    ratio = metrics[name][:, -1, i, k] / metrics[f"{part}/expected_error"][:, -1, i, k]
                    put(summary, f"{where}/over_expected", ratio)
            for metric in ("error", "angle"):
                for when in ("", "_at_paper"):
                    if f"{part}/expected_{metric}{when}" in metrics:
                        values = metrics[f"{part}/expected_{metric}{when}"][:, -1, 0, k]
                        put(summary, f"{part}/W{k + 2}/expected_{metric}{when}", values)
    errors = metrics["noise/relative_error"][:, -1, :, -1]
    put(summary, "noise/W3/spread_over_c", errors.max(1) / errors.min(1))
    summary["noise/W3/spread_over_draws"] = float((errors.max(0) / errors.min(0)).mean())
    if "noise/spectrum_W2" in metrics:
        outputs, spectrum = metrics["noise/spectrum_W3"].shape[1], metrics["noise/spectrum_W2"]
        if outputs < spectrum.shape[1]:
            put(summary, "noise/W2/eigenvalue_beyond_outputs", spectrum[:, outputs])
    return summary


def _same_over_c(summary: Summary) -> tuple[float, bool | None]:
    """Spread over the noise levels; a single level decides nothing."""
    spread, levels = summary["noise/W3/spread_over_c"], fnmatch.filter(summary, "noise/c=*/W3/relative_error")
    return spread, 0 < spread < 1.1 if len(levels) > 1 else None


def _wider(metric: str) -> Callable[[Summary], tuple[float, bool | None]]:
    """Returns a measure of a number that should grow with N: its ratio between the largest and the smallest N."""

    def check(summary: Summary) -> tuple[float, bool | None]:
        keys = fnmatch.filter(summary, f"shallow.*/W2/{metric}")
        if not keys:
            raise KeyError(metric)
        values = [summary[key] for key in sorted(keys, key=lambda key: int(key.split("/")[0].partition(".")[2]))]
        grows = bool(np.all(np.diff(values) >= 0))
        return values[-1] / values[0], grows if len(values) > 1 else None

    return check


CLAIMS = [
    every(
        "top-error",
        "B3 becomes W3 to 0.8 % (error at the end of the run, any c; below 1.6 %)",
        0.008,
        -INF,
        0.016,
        "noise/c=*/W3/relative_error",
    ),
    every(
        "top-expected",
        "The same, as theory has it at the paper's 3.2e7 samples",
        0.008,
        -INF,
        0.016,
        "noise/W3/expected_error_at_paper",
        own=True,
    ),
    every(
        "top-theory",
        "Error of B3 over theory's with terms of order c^2, all c, within (0.9, 1.1) (sampling error 7 %: one weak "
        "direction has most of it)",
        None,
        0.9,
        1.1,
        "noise/c=*/W3/over_expected",
        own=True,
    ),
    Claim("same-over-c", "Noise levels give equal accuracy (largest B3 error over least)", None, _same_over_c),
    every(
        "lower-worse",
        "B2 is less accurate (its error, any c, above 0.5)",
        0.6,
        0.5,
        INF,
        "noise/c=*/W2/relative_error",
    ),
    every(
        "lower-rank",
        "Why: the 11th eigenvalue of the errors that B2 is regressed on is below 1e-3 of the first",
        None,
        -INF,
        1e-3,
        "noise/W2/eigenvalue_beyond_outputs",
        own=True,
    ),
    every("angle-top", "W3's credit is within 2 degrees of the gradient", 0.2, -INF, 2, "noise/c=*/W3/true_angle"),
    every("angle-lower", "W2's credit is within 10 degrees of the gradient", 1.0, -INF, 10, "noise/c=*/W2/true_angle"),
    every(
        "signs-top",
        "Signs of B3 are those of W3 (fraction, above 0.9)",
        0.99,
        0.9,
        INF,
        "noise/c=*/W3/sign_congruence",
    ),
    every(
        "signs-lower",
        "Signs of B2 are W2's in part (above 0.55)",
        0.82,
        0.55,
        INF,
        "noise/c=*/W2/sign_congruence",
    ),
    every(
        "width-theory",
        "784-N-10: error over theory's, all N, (0.9, 1.1)",
        None,
        0.9,
        1.1,
        "shallow.*/W2/over_expected",
        own=True,
    ),
    every(
        "width-theory-deep",
        "784-N-50-10: the same for W3",
        None,
        0.9,
        1.1,
        "deep.*/W3/over_expected",
        own=True,
    ),
    every(
        "width-useful",
        "784-N-50-10: W2's credit is of use at all N (angle below 80)",
        None,
        -INF,
        80,
        "deep.*/W2/true_angle",
    ),
    Claim("width-error", "784-N-10: error grows with N (N = 1000 over 30)", 10.8, _wider("relative_error")),
    Claim("width-angle", "784-N-10: angle grows with N (N = 1000 over 30)", 6.5, _wider("true_angle")),
]
