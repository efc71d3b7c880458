"""What several experiments do with metrics that lead with a seed axis."""

import numpy as np


def mean_sem(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard error over seeds, ignoring seeds that diverged; the error of fewer than two is NaN."""
    kept = np.asarray(values, float)[np.isfinite(values)]
    if kept.size == 0:
        return float("nan"), float("nan")
    sem = kept.std(ddof=1) / kept.size**0.5 if kept.size > 1 else float("nan")
    return float(kept.mean()), float(sem)


def put(summary: dict[str, float], name: str, values: np.ndarray) -> None:
    """Adds a mean over seeds and its standard error to a summary, as `name` and `name_sem`."""
    summary[name], summary[f"{name}_sem"] = mean_sem(values)


def smooth(curves: np.ndarray, width: int) -> np.ndarray:
    """Running average along axis 1, (seeds, points, ...), the ends repeated as in `scipy.ndimage.uniform_filter1d`."""
    left, right = width // 2, width - 1 - width // 2
    padded = np.concatenate([curves[:, :1].repeat(left, 1), curves, curves[:, -1:].repeat(right, 1)], 1)
    return np.stack([padded[:, i : i + curves.shape[1]] for i in range(width)]).mean(0)
