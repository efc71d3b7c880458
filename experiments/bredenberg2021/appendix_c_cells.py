"""Measured variances on the toy of appendix C, method by method, and their closed forms."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from experiments.bredenberg2021.toy import DRAWN, Moment, gradient, methods, mse_printed, printed_17, printed_18

Settings = Sequence[tuple[float, float]]


class Cells(NamedTuple):
    """Measurements of one moment of one method, and their settings; arrays (cells,), n varies slowest.

    Attributes:
      n: number of steps.
      s2: sigma^2.
      gap: D.
      value: mean over seeds and chunks.
      error: its standard error.
    """

    n: np.ndarray
    s2: np.ndarray
    gap: np.ndarray
    value: np.ndarray
    error: np.ndarray

    def at(self, closed: Moment) -> np.ndarray:
        """Values of a closed form at every cell."""
        return np.array([closed(int(n), s2, gap) for n, s2, gap in zip(self.n, self.s2, self.gap, strict=True)])


def lengths(metrics: Mapping[str, np.ndarray]) -> list[int]:
    """The lengths n that were run, increasing."""
    return sorted(int(name[2:-4]) for name in metrics if name.endswith("/gap"))


def settings(metrics: Mapping[str, np.ndarray]) -> Settings:
    """The pairs (sigma, D) that were run."""
    part = f"n={lengths(metrics)[0]}"
    pairs = zip(metrics[f"{part}/sigma"][0, 0], metrics[f"{part}/gap"][0, 0], strict=True)
    return tuple((round(float(sigma), 6), round(float(gap), 6)) for sigma, gap in pairs)  # undoes float32's rounding


def cells(metrics: Mapping[str, np.ndarray], method: str, moment: str) -> Cells:
    """One moment ("mean", "variance") of a method, at every n where it is defined and all settings."""
    rows = []
    for n in lengths(metrics):
        if f"n={n}/{method}/{moment}" in metrics:
            values = np.asarray(metrics[f"n={n}/{method}/{moment}"], float)
            errors = np.asarray(metrics[f"n={n}/{method}/{moment}_error"], float)
            error = np.sqrt(np.mean(errors**2, (0, 1)) / (errors.shape[0] * errors.shape[1]))
            for i, (sigma, gap) in enumerate(settings(metrics)):
                rows.append((n, sigma**2, gap, values[..., i].mean(), error[i]))
    return Cells(*np.array(rows).T)


def error_about_gradient(metrics: Mapping[str, np.ndarray], method: str) -> Cells:
    """Mean squared error about the gradient: variance plus squared bias."""
    mean, variance = cells(metrics, method, "mean"), cells(metrics, method, "variance")
    bias = mean.value - mean.at(gradient)
    return variance._replace(value=variance.value + bias**2, error=variance.error + 2 * np.abs(bias) * mean.error)


UNBIASED = ("bp", "il_marginal", *(f"il_{drawn}" for drawn in DRAWN), "nvi_no_baseline")
EQUALITIES: Mapping[str, str] = {
    "unbiased": "IL, BP and NVI* (c = 1) all have the gradient as their mean",
    "eq17": "Eq. 17, T = n: BP and the lambda-marginalised IL have variance T/s2",
    "eq17-count": "Eq. 17, T = n - 1, as sums from 0 to T have n terms",
    "eq17-online": "Eq. 17, T = n: the IL of an online network (lambda alternating) has variance T/s2",
    "il": "Corrected: online IL has variance 2n/s2, + nD2/s2^2 if lambda is iid, + n^2 D2/s2^2 if global",
    "eq27": "Eq. 27 as printed (c = 2) is unbiased",
    "eq26": "Eq. 27 with the 1/(4 sigma^4) of Eq. 26 (c = 4) is unbiased",
    "nvi-means": "Corrected: NVI* has mean (1 + 1/c)/2 of the gradient, c = 2 and 4",
    "eq18": "Eq. 18, T = n, is the variance of the unbiased NVI* (c = 1)",
    "eq18-count": "Eq. 18, T = n - 1, is the variance of the unbiased NVI* (c = 1)",
    "eq18-printed": "Eq. 18, T = n, is the variance of NVI* as Eq. 27 prints it (c = 2)",
    "eq32": "Eq. 32, T = n, is the mean squared error of NVI* as Eq. 27 prints it (c = 2)",
    "eq32-corrected": "Corrected: that error is n/(2 s2) + 3L(n+1)/(8 s2)",
    "nvi": "Corrected: NVI* has variance n/(2 s2) + L(n+3)/(2 s2) (c = 1, global), and its like for all others",
}


def equalities(metrics: Mapping[str, np.ndarray]) -> dict[str, list[tuple[Cells, np.ndarray]]]:
    """Measured and expected values, by id of EQUALITIES."""
    last = methods(lengths(metrics)[-1])
    scores = [name for name in last if name.startswith("nvi")]

    def pair(measured: Cells, closed: Moment) -> tuple[Cells, np.ndarray]:
        return measured, measured.at(closed)

    def means(names: Iterable[str], closed: Moment | None = None) -> list[tuple[Cells, np.ndarray]]:
        return [pair(cells(metrics, name, "mean"), closed or last[name].mean) for name in names]

    def variances(names: Iterable[str], closed: Moment | None = None) -> list[tuple[Cells, np.ndarray]]:
        return [pair(cells(metrics, name, "variance"), closed or last[name].variance) for name in names]

    def count_17(n: int, s2: float, gap: float) -> float:
        return printed_17(n - 1, s2, gap)

    def count_18(n: int, s2: float, gap: float) -> float:
        return printed_18(n - 1, s2, gap)

    squares = error_about_gradient(metrics, "nvi_global_c2")
    return {
        "unbiased": means([*UNBIASED, *(name for name in scores if name.endswith("c1"))], gradient),
        "eq17": variances(("bp", "il_marginal"), printed_17),
        "eq17-count": variances(("bp", "il_marginal"), count_17),
        "eq17-online": variances(("il_alternating",), printed_17),
        "il": variances(f"il_{drawn}" for drawn in DRAWN),
        "eq27": means(("nvi_global_c2",), gradient),
        "eq26": means(("nvi_global_c4",), gradient),
        "nvi-means": means(name for name in scores if name.endswith(("c2", "c4"))),
        "eq18": variances(("nvi_global_c1",), printed_18),
        "eq18-count": variances(("nvi_global_c1",), count_18),
        "eq18-printed": variances(("nvi_global_c2",), printed_18),
        "eq32": [pair(squares, printed_18)],
        "eq32-corrected": [pair(squares, mse_printed)],
        "nvi": variances(scores),
    }
