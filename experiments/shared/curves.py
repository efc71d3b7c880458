"""Curves over seeds: smoothed, and drawn with their errors."""

from typing import Any

import numpy as np


def draw(axis: Any, x: np.ndarray, curves: np.ndarray, **style: Any) -> Any:
    """Draws the mean over seeds that did not diverge, with a band of one standard error; curves are (seeds, points)."""
    mean, error = mean_and_error(curves)
    (line,) = axis.plot(x, mean, lw=1.6, marker="o" if len(x) < 15 else None, ms=3, **style)
    axis.fill_between(x, mean - error, mean + error, color=line.get_color(), alpha=0.2, lw=0)
    return line


def mean_and_error(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over seeds and its standard error (0 for a single seed), over finite values alone; (seeds, ...)."""
    finite = np.isfinite(values)
    count = finite.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(finite, values, 0).sum(0) / count
        square = np.where(finite, (values - mean) ** 2, 0).sum(0)
        return mean, (square / np.maximum(count - 1, 1) / count) ** 0.5


def smooth(curves: np.ndarray, width: int) -> np.ndarray:
    """Running average along axis 1, (seeds, points, ...), the ends repeated as in `scipy.ndimage.uniform_filter1d`."""
    left, right = width // 2, width - 1 - width // 2
    padded = np.concatenate([curves[:, :1].repeat(left, 1), curves, curves[:, -1:].repeat(right, 1)], 1)
    return np.stack([padded[:, i : i + curves.shape[1]] for i in range(width)]).mean(0)
