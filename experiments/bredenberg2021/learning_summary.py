"""Access to the metrics of `experiments.bredenberg2021.learning`, and their summary."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from experiments.bredenberg2021.common import LAGS, METHODS
from plasticity_jax.run import put

SCALARS = ("wake", "alternating", "r2", "decoding", "decoding_noiseless", "transition", "correlation", "dispersion")
SLOPES = ("slope_wake", "slope_sleep")
"""The exact gradient by the transitions, of the hybrid loss also for methods with another loss."""
LAG = 20
IN_DIMENSIONS = ("il", "bp", "nvi", "published")
"""The `METHODS` that are run at every number of latents."""


def tasks_of(metrics: Mapping[str, np.ndarray]) -> list[str]:
    """Names of the tasks in the metrics, in the order of their programs."""
    return list(dict.fromkeys(name.partition(".")[0] for name in metrics if "." in name.partition("/")[0]))


def ran(metrics: Mapping[str, np.ndarray], task: str, *methods: str) -> bool:
    """Returns whether all given methods were run on a task."""
    return all(f"{task}.{method}/wake" in metrics for method in methods)


def final(metrics: Mapping[str, np.ndarray], task: str, method: str, name: str) -> np.ndarray:
    """A measurement at the end of training (seeds, ...), for NVI* at its best rate and for `published` at its last."""
    column = best(metrics, task) if method == "nvi" else -1
    return np.asarray(metrics[f"{task}.{method}/{name}"])[:, -1, column]


def best(metrics: Mapping[str, np.ndarray], task: str) -> int:
    """Index of NVI*'s rate with the lowest final mean loss awake among those without divergence; 0 if there is none."""
    losses = np.asarray(metrics[f"{task}.nvi/wake"])[:, -1].mean(0)
    return int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))


def largest_stable(losses: np.ndarray, untrained: np.ndarray, rates: Sequence[float]) -> float:
    """The largest rate up to which every seed ends with a finite loss that is not above the untrained network's.

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


def drift(metrics: Mapping[str, np.ndarray], part: str, column: int) -> np.ndarray:
    """Distance by which a rule that follows the exact gradient of its loss would move a mean transition, (seeds,).

    The distance is -rate times the gradient of `transition_slopes`, integrated by trapezoids along the rule's path of
    weights, starting from the untrained ones.
    """
    start = part.partition(".")[0] + ".untrained"
    total = 0
    for name in ("slope_wake", "slope_sleep"):
        first = np.asarray(metrics[f"{start}/{name}"])[:, -1:, -1]
        total = total + np.c_[first, np.asarray(metrics[f"{part}/{name}"])[:, :, column]]
    steps = np.r_[0, np.asarray(metrics[f"{part}/step"])[0, :, column]]
    rate = np.asarray(metrics[f"{part}/rate"])[0, -1, column]
    return -rate * ((total[:, 1:] + total[:, :-1]) / 2 * np.diff(steps)).sum(1)


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Means over seeds at the end of training, named "task/method/...", and the comparisons that the claims read.

    Progress is the fall of a loss from the untrained network's, as a fraction of another method's in the same seed.
    """
    summary: dict[str, float] = {}
    for task in tasks_of(metrics):
        if task == "standard" or task.startswith("d"):
            _task(summary, metrics, task)
    if ran(metrics, "standard", "il"):
        _standard(summary, metrics)
    if "identity/pca" in metrics:
        put(summary, "pca/r2", np.asarray(metrics["identity/pca"])[:, -1])
        summary["identity/difference"] = float(np.max(metrics["identity/difference"]))
    _phases(summary, metrics)
    _rates(summary, metrics)
    return summary


def _task(summary: dict[str, float], metrics: Mapping[str, np.ndarray], task: str) -> None:
    """Adds the numbers of Figure 1 and of the dimensions of Figure 2d."""

    def ends(method: str, name: str) -> np.ndarray:
        return final(metrics, task, method, name)

    for method in ("untrained", *METHODS):
        if not ran(metrics, task, method):
            continue
        for name in SCALARS:
            put(summary, f"{task}/{method}/{name}", ends(method, name))
        for which in ("wake", "stimulus", "dream"):
            acf = ends(method, f"acf_{which}")[:, LAGS.index(LAG)]
            put(summary, f"{task}/{method}/acf_{which}_{LAG}", acf)
        for name in SLOPES:
            put(summary, f"{task}/{method}/{name}", ends(method, name))
        put(summary, f"{task}/{method}/slope", np.sum([ends(method, name) for name in SLOPES], 0))
    for method, other, loss in (
        ("il", "bp", "wake"),
        ("nvi", "bp", "wake"),
        ("nvi", "il", "wake"),
        ("nvi", "il", "alternating"),
    ):
        if ran(metrics, task, method, other):
            start, ours, theirs = (ends(name, loss) for name in ("untrained", method, other))
            put(summary, f"{task}/{method}/{loss}_progress_over_{other}", (start - ours) / (start - theirs))
    if ran(metrics, task, "published"):
        start = ends("untrained", "alternating")
        published = np.asarray(metrics[f"{task}.published/alternating"])[:, -1]
        put(summary, f"{task}/published/rise_at_authors_rate", published[:, 0] / start - 1)
        if published.shape[1] > 1:
            put(summary, f"{task}/published/rise_at_largest_rate", published[:, -1] / start - 1)
    if ran(metrics, task, "nvi"):
        column = best(metrics, task)
        summary[f"{task}/nvi/rate"] = float(np.asarray(metrics[f"{task}.nvi/rate"])[0, -1, column])
        moved = ends("nvi", "transition") - ends("untrained", "transition")
        put(summary, f"{task}/nvi/transition_moved", moved)
        put(summary, f"{task}/nvi/transition_moved_over_gradient", moved / drift(metrics, f"{task}.nvi", column))


def _standard(summary: dict[str, float], metrics: Mapping[str, np.ndarray]) -> None:
    """Adds the gains of impression learning in Figure 1."""
    start, end = (final(metrics, "standard", method, "alternating") for method in ("untrained", "il"))
    put(summary, "standard/il/alternating_fall", start / end)
    for method in ("bp", "ws"):
        if ran(metrics, "standard", method):
            put(summary, f"standard/{method}-il/alternating", final(metrics, "standard", method, "alternating") - end)
    for name in ("decoding", "decoding_noiseless"):
        gain = final(metrics, "standard", "il", "decoding") - final(metrics, "standard", "untrained", name)
        put(summary, f"standard/il-untrained/{name}", gain)


def _phases(summary: dict[str, float], metrics: Mapping[str, np.ndarray]) -> None:
    """Adds the numbers of Figure 3."""
    phases = sorted((task for task in tasks_of(metrics) if task.startswith("K")), key=lambda task: int(task[1:]))
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


def _rates(summary: dict[str, float], metrics: Mapping[str, np.ndarray]) -> None:
    """Adds the numbers of Figure 2d's rates: losses of the seeds that did not diverge, and how many diverged."""
    if not ran(metrics, "rates", "untrained"):
        return
    untrained = final(metrics, "rates", "untrained", "alternating")
    put(summary, "rates/untrained", untrained)
    for method in ("il", "nvi"):
        if not ran(metrics, "rates", method):
            continue
        rates, losses = (np.asarray(metrics[f"rates.{method}/{name}"])[:, -1] for name in ("rate", "alternating"))
        summary[f"rates/{method}/largest_stable"] = largest_stable(losses, untrained, rates[0])
        for rate, column in zip(rates[0], losses.T, strict=True):
            put(summary, f"rates/{method}/{rate:.3g}", column)
            summary[f"rates/{method}/{rate:.3g}/diverged"] = int((~np.isfinite(column)).sum())
    if ran(metrics, "rates", "il", "nvi"):
        summary["rates/ratio"] = summary["rates/il/largest_stable"] / summary["rates/nvi/largest_stable"]
