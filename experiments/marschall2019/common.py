"""Names of the rules, tasks and readings of Marschall, Cho & Savin (2019), and access to their curves."""

from collections.abc import Mapping

import numpy as np

RULES = (
    "fixed_recurrent",
    "rflo",
    "kernl",
    "dni",
    "dni_b",
    "uoro",
    "reverse_kf_rtrl",
    "kf_rtrl",
    "future_facing_bptt",
    "rtrl",
)
STOCHASTIC = ("uoro", "kf_rtrl", "reverse_kf_rtrl")
EXACT = ("rtrl", "future_facing_bptt")
ALIGNED = tuple(rule for rule in RULES if rule != "fixed_recurrent")
"""Rules that have a recurrent gradient."""
LONG_RULES = ("fixed_recurrent", "rflo", "future_facing_bptt", "rtrl")
"""Rules that are run at the long lags."""

LABELS = {
    "fixed_recurrent": "fixed W",
    "rflo": "RFLO",
    "kernl": "KeRNL",
    "dni": "DNI",
    "dni_b": "DNI(b)",
    "uoro": "UORO",
    "reverse_kf_rtrl": "R-KF",
    "kf_rtrl": "KF-RTRL",
    "future_facing_bptt": "BPTT",
    "rtrl": "RTRL",
}

TASKS = ("add", "mimic")
READINGS = ("written", "run")
PANELS = (*((task, reading) for task in TASKS for reading in READINGS), ("long", "exact"))
"""(task, reading) of the panels of Figure 1; the discriminating setting has one reading, "exact"."""


def rules_of(task: str) -> tuple[str, ...]:
    """Rules that are run on a task."""
    return LONG_RULES if task == "long" else RULES


def curve(metrics: Mapping[str, np.ndarray], task: str, reading: str, rule: str, metric: str = "loss") -> np.ndarray:
    """Curve of a rule at one reading, (seeds, points)."""
    return metrics[f"{task}.{rule}/{metric}"][:, :, READINGS.index(reading) if reading in READINGS else 0]


def running_mean(curves: np.ndarray, width: int = 10) -> np.ndarray:
    """Running average along axis 1 of (seeds, points); at the ends it narrows and stays symmetric."""
    points = curves.shape[1]

    def at(point: int) -> np.ndarray:
        side = min(point, points - 1 - point)
        return curves[:, point - min(width // 2, side) : point + min(width - 1 - width // 2, side) + 1].mean(1)

    return np.stack([at(point) for point in range(points)], 1)
