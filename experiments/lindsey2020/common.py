"""Names and colours of the learners of Lindsey & Litwin-Kumar (2020), a kind of claim, and a cell of their tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from plasticity_jax.run import Claim, mean_sem, t_value
from plasticity_jax.run.summary import mean_in
from plasticity_jax.tasks.episodes import Order

ORDERS: tuple[Order, ...] = ("iid", "continual")
WORDS = {"iid": "i.i.d.", "continual": "continual", "mini_imagenet": "mini-ImageNet"}

COLOURS = {
    "reuse": "#7f7f7f",
    "flp2": "#0072b2",
    "flp3": "#56b4e9",
    "gradient_first": "#d55e00",
    "gradient_second": "#b79f00",
    "gradient_warm": "#cc79a7",
    "oml": "#000000",
}
"""Colours of the learners, the same in every figure; the colour-blind can distinguish them (after Okabe and Ito)."""

LABELS = {
    "reuse": "feature reuse (1)",
    "flp2": "FLP (2)",
    "flp3": "FLP (3)",
    "gradient_first": "gradient, first order",
    "gradient_second": "gradient, second order",
    "gradient_warm": "gradient, first order, from FLP",
    "oml": "OML",
}


def not_above(
    id: str,
    statement: str,
    paper: float | None,
    *names: str,
    **options: Any,
) -> Claim:
    """Claim that none of these paired differences is above 0; it measures the largest.

    It fails if one is above 0 at 95 %, by Student's t; it holds if none is above 0 by more than its standard error; in
    between it is undecided. A few seeds cannot show that there is no difference, only that they find none.
    """

    def measure(summary: Mapping[str, float]) -> tuple[float, bool | None]:
        means = [mean_in(summary, name) for name in names]
        if any(np.isnan(mean.value) for mean in means):
            return np.nan, False
        largest = max(mean.value for mean in means)
        if any(mean.seeds == 1 for mean in means):
            return largest, None
        if any(mean.value > t_value(mean.seeds) * mean.sem for mean in means):
            return largest, False
        return largest, True if all(mean.value <= mean.sem for mean in means) else None

    return Claim(id, statement, paper, measure, **options)


def cell(values: np.ndarray, digits: int) -> str:
    """Mean over seeds with its standard error, and the number of finite seeds if some diverged; values (seeds,)."""
    mean, sem = mean_sem(values)
    finite, seeds = int(np.isfinite(values).sum()), len(values)
    if not finite:
        return f"none of {seeds} seeds finite"
    kind = "g" if mean > 1e4 else "f"
    return f"{mean:.{digits}{kind}} ({sem:.{digits}{kind}})" + (
        "" if finite == seeds else f", {finite} of {seeds} seeds"
    )
