"""Numbers for the claims on Table 2 of Lindsey & Litwin-Kumar (2020), from its metrics."""

from collections.abc import Mapping

import numpy as np

from experiments.lindsey2020.common import LABELS, ORDERS
from plasticity_jax.run import put

METHODS = ("reuse", "flp2", "gradient_first", "gradient_second", "oml")
PLASTIC = {"reuse": 1, "flp2": 2, "gradient_first": 2, "gradient_second": 2, "oml": 2, "untrained": 1}
WAYS = 5
"""Classes of a life."""
CHANCE = 100 * (1 - 1 / WAYS)
"""Percent of wrong answers at chance."""
PAPER = {
    "iid": {"reuse": 4.6, "flp2": 3.0, "gradient_first": 3.2, "oml": 3.5},
    "continual": {"reuse": 5.0, "flp2": 2.7, "gradient_first": 3.4, "oml": 7.0},
    "mini_imagenet": {"reuse": 48.2, "flp2": 42.5, "gradient_first": 42.5, "oml": 52.0},
}
"""Percent of wrong answers in the paper. Its gradient-based learner is of first order; mini-ImageNet is i.i.d."""
NAMES = {
    **LABELS,
    "gradient_first": "gradient (2), first order",
    "gradient_second": "gradient (2), second order",
    "oml": "original OML (2)",
    "untrained": "untrained features (1)",
}
GAPS = (
    ("untrained", "flp2"),
    ("reuse", "flp2"),
    ("gradient_first", "flp2"),
    ("gradient_second", "flp2"),
    ("gradient_first", "gradient_second"),
    ("oml", "gradient_first"),
    ("oml", "reuse"),
    ("reuse", "oml"),
)
"""(worse, better): paired differences of errors."""


def final(metrics: Mapping[str, np.ndarray], order: str, method: str, what: str = "test") -> np.ndarray:
    """Percent of wrong answers at the end of meta-training, by seed: the mean over lives, or the "median"."""
    return np.asarray(metrics[f"{method}/{what}"])[:, -1, ORDERS.index(order)]


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final errors in percent, means and medians over lives, and the paired gaps that the claims read."""
    summary = {name: float(np.max(metrics[f"untrained/{name}"])) for name in ("full_problem", "mini_imagenet")}
    run = [method for method in (*METHODS, "untrained") if f"{method}/test" in metrics]
    for order in ORDERS:
        for method in run:
            put(summary, f"{order}/{method}", final(metrics, order, method))
            if f"{method}/median" in metrics:
                put(summary, f"{order}/{method}/median", final(metrics, order, method, "median"))
        for worse, better in GAPS:
            if worse in run and better in run:
                gap = final(metrics, order, worse) - final(metrics, order, better)
                put(summary, f"gap/{order}/{worse}-{better}", gap)
        if "flp2" in run:
            put(summary, f"gap/{order}/chance-flp2", CHANCE - final(metrics, order, "flp2"))
    for method in run:
        cost = final(metrics, "continual", method) - final(metrics, "iid", method)
        put(summary, f"gap/continual-iid/{method}", cost)
    return summary
