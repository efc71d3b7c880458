"""Numbers for the claims on Table 1 of Lindsey & Litwin-Kumar (2020), from its metrics."""

from collections.abc import Mapping

import numpy as np

from experiments.lindsey2020.common import ORDERS
from experiments.lindsey2020.sines import PLASTIC
from plasticity_jax.run import put
from plasticity_jax.tasks.incremental_sines import no_lifetime_learning, predict_zero

LEARNERS = (*PLASTIC, "gradient_first", "gradient_second", "gradient_warm", "oml")
PAPER = {
    "iid": {"reuse": 0.050, "flp2": 0.00093, "flp3": 0.00051, "gradient_warm": 0.00057, "oml": 0.072},
    "continual": {"reuse": 0.035, "flp2": 0.0016, "flp3": 0.0068, "gradient_warm": 0.069, "oml": 0.40},
}
"""Mean squared errors in the paper."""
NAMES = {
    "reuse": "Feature reuse (1)",
    "flp2": "FLP (2)",
    "flp3": "FLP (3)",
    "gradient_first": "ours: gradient (3), first order, from scratch",
    "gradient_second": "ours: gradient (3), second order, from scratch",
    "gradient_warm": "Gradient-based (3): first order, from FLP",
    "oml": "Original OML (3)",
}
"""The paper's names, and our own for the learners that it lacks."""
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


def ran(metrics: Mapping[str, np.ndarray], order: str) -> tuple[str, ...]:
    """The learners that were run for an order."""
    return tuple(name for name in LEARNERS if f"{part_of(order, name)}/median_{order}" in metrics)


def final(metrics: Mapping[str, np.ndarray], order: str, method: str, what: str = "median") -> np.ndarray:
    """Error on an order at the end of meta-training, by seed."""
    return np.asarray(metrics[f"{part_of(order, method)}/{what}_{order}"])[:, -1]


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final errors, medians and means over lives, and their paired gaps in powers of ten; of the learners that ran."""
    summary: dict[str, float] = {"predict_zero": predict_zero(), "no_lifetime_learning": no_lifetime_learning()}
    for order in ORDERS:
        names = ran(metrics, order)
        for name in names:
            put(summary, f"{order}/{name}", final(metrics, order, name))
            put(summary, f"{order}/{name}/mean", final(metrics, order, name, "test"))
            put(summary, f"{order}/{name}/diverged", final(metrics, order, name, "diverged"))
        for worse, better in [pair for pair in GAPS if set(pair) <= set(names)]:
            for what, ending in (("median", ""), ("test", "/mean")):
                errors = [np.log10(final(metrics, order, name, what)) for name in (worse, better)]
                put(summary, f"gap/{order}/{worse}-{better}{ending}", errors[0] - errors[1])
    for name in [name for name in ran(metrics, "iid") if name != "oml"]:
        put(summary, f"iid_tried_on_continual/{name}", np.asarray(metrics[f"iid/{name}/median_continual"])[:, -1])
    summary["full_problem"] = float(max(np.max(v) for k, v in metrics.items() if k.endswith("/full_problem")))
    return summary
