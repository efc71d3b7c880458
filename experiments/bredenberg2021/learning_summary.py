"""Numbers of `experiments.bredenberg2021.learning`: how its metrics are read, and what is made of them."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.bredenberg2021.common import LAGS, METHODS
from plasticity_jax.run import put

SCALARS = ("wake", "alternating", "r2", "decoding", "decoding_noiseless", "transition", "correlation", "dispersion")
LAG = 20
IN_DIMENSIONS = ("il", "bp", "nvi", "published")
"""Those of `METHODS` that are run at every number of latents."""


def tasks_of(metrics: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the tasks that there are, in the order of their programs."""
    return list(dict.fromkeys(name.partition(".")[0] for name in metrics if "." in name.partition("/")[0]))


def final(metrics: Mapping[str, np.ndarray], task: str, method: str, name: str) -> np.ndarray:
    """A measurement at the end of training (seeds, ...); of NVI* at its best rate, of `published` at its last."""
    if method == "untrained":
        return np.asarray(metrics[f"{task}.published/{name}"])[:, -1, 0]
    column = best(metrics, task) if method == "nvi" else -1
    return np.asarray(metrics[f"{task}.{method}/{name}"])[:, -1, column]


def best(metrics: Mapping[str, np.ndarray], task: str) -> int:
    """Which rate of NVI* ends at the lowest mean loss awake, of those that no seed diverged at; the lowest, if none."""
    losses = np.asarray(metrics[f"{task}.nvi/wake"])[:, -1].mean(0)
    return int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))


def largest_stable(losses: np.ndarray, untrained: np.ndarray, rates: Sequence[float]) -> float:
    """The largest of ascending rates up to which every seed's loss ends finite and not above the untrained network's.

    Args:
      losses: (seeds, rates).
      untrained: (seeds,).
      rates: ascending.

    Returns:
      The rate; NaN if there is none.
    """
    stable = (np.isfinite(losses) & (losses <= untrained[:, None])).all(0)
    count = len(rates) if stable.all() else int(np.argmin(stable))
    return float(rates[count - 1]) if count else float("nan")


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Means over seeds at the end of training, by "task/method/what", and what the claims compare.

    Progress is a fall of a loss from the untrained network's, as a fraction of another method's, in the same seed.
    """
    summary: dict[str, float] = {}
    tasks = tasks_of(metrics)
    dims = [task for task in tasks if task.startswith("d")]
    phases = sorted((task for task in tasks if task.startswith("K")), key=lambda task: int(task[1:]))

    def progress(task: str, method: str, other: str, loss: str) -> None:
        start, ours, theirs = (final(metrics, task, name, loss) for name in ("untrained", method, other))
        put(summary, f"{task}/{method}/{loss}_progress_over_{other}", (start - ours) / (start - theirs))

    for task in ("standard", *dims):
        methods = METHODS if task == "standard" else IN_DIMENSIONS
        for method in (*methods, "untrained"):
            for name in SCALARS:
                put(summary, f"{task}/{method}/{name}", final(metrics, task, method, name))
            for which in ("wake", "stimulus", "dream"):
                acf = final(metrics, task, method, f"acf_{which}")[:, LAGS.index(LAG)]
                put(summary, f"{task}/{method}/acf_{which}_{LAG}", acf)
        for method, other in (("il", "bp"), ("nvi", "bp"), ("nvi", "il")):
            progress(task, method, other, "wake")
        progress(task, "nvi", "il", "alternating")
        start = final(metrics, task, "untrained", "alternating")
        published = np.asarray(metrics[f"{task}.published/alternating"])[:, -1]
        for column, name in ((1, "authors"), (-1, "largest")):
            put(summary, f"{task}/published/rise_at_{name}_rate", published[:, column] / start - 1)
        rates = np.asarray(metrics[f"{task}.nvi/rate"])[0, -1]
        summary[f"{task}/nvi/rate"] = float(rates[best(metrics, task)])

    start, end = (final(metrics, "standard", method, "alternating") for method in ("untrained", "il"))
    put(summary, "standard/il/alternating_fall", start / end)
    for method in ("bp", "ws"):
        put(summary, f"standard/{method}-il/alternating", final(metrics, "standard", method, "alternating") - end)
    for name in ("decoding", "decoding_noiseless"):
        gain = final(metrics, "standard", "il", "decoding") - final(metrics, "standard", "untrained", name)
        put(summary, f"standard/il-untrained/{name}", gain)
    put(summary, "pca/r2", np.asarray(metrics["identity/pca"])[:, -1])
    summary["identity/difference"] = float(np.max(metrics["identity/difference"]))

    for task in phases:
        for name in SCALARS:
            put(summary, f"{task}/{name}", final(metrics, task, "il", name))
        summary[f"{task}/transition_moved"] = float(np.abs(final(metrics, task, "il", "transition") - 0.6).min())
        summary[f"{task}/transition_most"] = float(np.abs(final(metrics, task, "il", "transition") - 0.6).max())
    for short, long in itertools.pairwise(phases):
        fall = final(metrics, short, "il", "correlation") - final(metrics, long, "il", "correlation")
        put(summary, f"gap/{short}-{long}/correlation", fall)
    if "K2" in phases:
        rise = final(metrics, phases[-1], "il", "wake") - final(metrics, "K2", "il", "wake")
        put(summary, f"gap/{phases[-1]}-K2/wake", rise)

    untrained = np.asarray(metrics["rates.il/alternating"])[:, -1, 0]
    for method in ("il", "nvi"):
        losses, rates = (np.asarray(metrics[f"rates.{method}/{name}"]) for name in ("alternating", "rate"))
        kept = rates[0, -1] > 0
        tried = rates[0, -1][kept]
        summary[f"rates/{method}/largest_stable"] = largest_stable(losses[:, -1, kept], untrained, tried)
        for rate, column in zip(tried, losses[:, -1, kept].T, strict=True):
            put(summary, f"rates/{method}/{rate:.3g}", column)
    summary["rates/ratio"] = summary["rates/il/largest_stable"] / summary["rates/nvi/largest_stable"]
    return summary
