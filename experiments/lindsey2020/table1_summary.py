"""Numbers that the claims on Table 1 of Lindsey & Litwin-Kumar (2020) read, from its metrics."""

from collections.abc import Mapping

import numpy as np

from experiments.lindsey2020.common import ORDERS
from plasticity_jax.run import put
from plasticity_jax.tasks.incremental_sines import no_lifetime_learning, predict_zero

PLASTIC = {"reuse": 1, "flp2": 2, "flp3": 3}
GRADIENT = ("gradient_first", "gradient_second", "gradient_warm")
METHODS = (*PLASTIC, *GRADIENT)
PAPER = {
    "iid": {"reuse": 0.050, "flp2": 0.00093, "flp3": 0.00051, "gradient_warm": 0.00057, "oml": 0.072},
    "continual": {"reuse": 0.035, "flp2": 0.0016, "flp3": 0.0068, "gradient_warm": 0.069, "oml": 0.40},
}
"""Mean squared errors."""
GAPS = (
    ("reuse", "flp2"),
    ("reuse", "flp3"),
    ("flp2", "flp3"),
    ("flp3", "flp2"),
    ("reuse", "gradient_first"),
    ("reuse", "gradient_warm"),
    ("gradient_first", "gradient_warm"),
    ("gradient_first", "gradient_second"),
    ("gradient_warm", "gradient_second"),
    ("gradient_first", "flp2"),
    ("gradient_warm", "flp2"),
    ("gradient_second", "flp2"),
    ("gradient_warm", "flp3"),
    ("oml", "reuse"),
    ("oml", "gradient_warm"),
)
"""(worse, better): paired differences of the logarithms of errors."""


def part_of(order: str, method: str) -> str:
    """The part that meta-trains a learner for an order; OML's is trained on continual data alone."""
    return f"{'continual' if method == 'oml' else order}/{method}"


def final(metrics: Mapping[str, np.ndarray], order: str, method: str, what: str = "median") -> np.ndarray:
    """Error on an order at the end of meta-training, by seed."""
    return np.asarray(metrics[f"{part_of(order, method)}/{what}_{order}"])[:, -1]


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final errors (medians over lives), and the paired gaps that the claims read, in powers of ten."""
    summary: dict[str, float] = {"predict_zero": predict_zero(), "no_lifetime_learning": no_lifetime_learning()}
    for order in ORDERS:
        for method in (*METHODS, "oml"):
            put(summary, f"{order}/{method}", final(metrics, order, method))
            put(summary, f"{order}/{method}/mean", final(metrics, order, method, "test"))
            put(summary, f"{order}/{method}/diverged", final(metrics, order, method, "diverged"))
    for method in METHODS:
        put(summary, f"iid_tried_on_continual/{method}", np.asarray(metrics[f"iid/{method}/median_continual"])[:, -1])

    for order in ORDERS:
        for worse, better in GAPS:
            ratio = np.log10(final(metrics, order, worse)) - np.log10(final(metrics, order, better))
            put(summary, f"gap/{order}/{worse}-{better}", ratio)
    summary["full_problem"] = float(np.max(metrics["iid/flp2/full_problem"]))
    return summary
