"""Figure 4 of Lansdell, Prakash & Kording (2020): numbers over the end of training, and the claims on them."""

from collections.abc import Callable, Mapping

import numpy as np

from experiments.lansdell2019.common import unless_diverged
from experiments.shared.claims import INF, Summary, beyond
from plasticity_jax.run import Claim, below, put, within
from plasticity_jax.run.summary import mean_in
from plasticity_jax.tasks.delayed_xor import delayed_xor_bounds

METHODS = ("bp", "np", "legacy", "fa", "fa_unfair", "none", "readout")
TASKS = {"short": METHODS, "long": tuple(method for method in METHODS if method != "legacy")}
WITH_B = ("np", "legacy", "fa", "fa_unfair")
LAGS = 6
STREAMS = 200  # in the authors' units a loss is the sum over so many


def ran(metrics: Mapping[str, np.ndarray], task: str) -> tuple[str, ...]:
    """The methods that were run on a task, in order."""
    return tuple(method for method in TASKS[task] if f"{task}.{method}/loss" in metrics)


def tail(curve: np.ndarray) -> np.ndarray:
    """The last tenth of a curve, (seeds, points, ...)."""
    return curve[:, -max(1, curve.shape[1] // 10) :]


def accuracy(metrics: Mapping[str, np.ndarray], where: str) -> np.ndarray:
    """Share of right signs at response times, (seeds, points)."""
    return metrics[f"{where}/right"] / np.maximum(metrics[f"{where}/due"], 1e-9)


def time_to_learn(curve: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Fraction of training after which a curve (seeds, points) first reaches a level, (seeds,); 1 if it never does."""
    reached = curve >= level
    return np.where(reached.any(1), reached.argmax(1) + 1, curve.shape[1]) / curve.shape[1]


def finals(metrics: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    """Results of "task.method", (seeds,), by name: means over the last tenth, except "best_accuracy" and "time"."""
    right = accuracy(metrics, where)
    by_name = {
        "accuracy": tail(right).mean(1),
        "best_accuracy": right.max(1),
        "time": time_to_learn(right),
        "loss": tail(metrics[f"{where}/loss"]).mean(1),
    }
    if f"{where}/angles" in metrics:
        angles = metrics[f"{where}/angles"]
        by_name["cosine"] = tail(metrics[f"{where}/cosine"]).mean(1)
        by_name |= {f"angle_{lag + 1}": tail(angles[:, :, lag]).mean(1) for lag in range(LAGS)}
        by_name["angle"] = tail(angles.mean(2)).mean(1)
    return {name: unless_diverged(values, metrics[f"{where}/loss"]) for name, values in by_name.items()}


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Losses, accuracies and angles by lag over the last tenth; best accuracies; differences between methods.

    A number is named "task/method/name", and a difference "task/one-other/name". Bounds are those of the authors' task;
    they hold for the other task, too, though its least loss may not be attainable.
    """
    bounds = delayed_xor_bounds()
    summary = {
        "bounds/accuracy": bounds.accuracy,
        "bounds/loss": STREAMS * bounds.loss,
        "bounds/silent": STREAMS * bounds.silent,
    }
    for task in TASKS:
        final = {method: finals(metrics, f"{task}.{method}") for method in ran(metrics, task)}
        for method in final:
            for name, values in final[method].items():
                put(summary, f"{task}/{method}/{name}", values)
        best = {method: final[method]["best_accuracy"] for method in final}
        for one, other in [*(("np", other) for other in final if other != "np"), ("fa", "none")]:
            if {one, other} <= set(best):
                put(summary, f"{task}/{one}-{other}/best_accuracy", best[one] - best[other])
    return summary


def _at_least(
    task: str, method: str, bound: float, statement: str, paper: str | None = None, *, against: str | None = None
) -> Claim:
    """Claims that a network learns; trivial if `against`, a method without such feedback, learns as much."""

    def trivial(summary: Summary) -> bool:
        return summary[f"{task}/{against}/accuracy"] >= bound

    return within(
        f"{task}-{method}-learns",
        statement,
        paper,
        f"{task}/{method}/accuracy",
        bound,
        INF,
        own=paper is None,
        trivial=trivial if against else None,
    )


def _fails(task: str, method: str, bound: float, statement: str) -> Claim:
    """Claims that accuracy is below a bound at every point of training, on average over seeds."""
    return below(f"{task}-{method}-fails", statement, None, f"{task}/{method}/best_accuracy", bound, own=True)


def _is_ahead(summary: Summary, task: str, pair: str) -> bool:
    name = f"{task}/{pair}/best_accuracy"
    return summary[name] > 0.02 and beyond(summary, 1, name)


def _ahead(task: str, other: str, statement: str, trivial: Callable[[Summary], bool] | None = None) -> Claim:
    """Claims a lead of 2 points at the best point of each run, since some methods decline again."""

    def measure(summary: Summary) -> tuple[float, bool | None]:
        lead = mean_in(summary, f"{task}/np-{other}/best_accuracy")
        return lead.value, _is_ahead(summary, task, f"np-{other}") if lead.seeds > 1 else None

    return Claim(f"{task}-np-above-{other}", statement, None, measure, own=True, trivial=trivial)


def _angle(
    task: str,
    method: str,
    name: str,
    low: float,
    high: float,
    statement: str,
    paper: str | None,
    *,
    against: str | None = None,
) -> Claim:
    """Claims an angle between bounds; trivial if that of `against`, feedback that is never learned, is there, too."""

    def trivial(summary: Summary) -> bool:
        return low <= summary[f"{task}/{against}/{name}"] <= high

    return within(
        f"{task}-{method}-{name.replace('_', '-')}",
        statement,
        paper,
        f"{task}/{method}/{name}",
        low,
        high,
        own=paper is None,
        trivial=trivial if against else None,
    )


def _comparable(name: str, statement: str, paper: str) -> Claim:
    """Claims at most twice BPTT's number; trivial if a network without credit through time meets this, too."""

    def ratio(summary: Summary, method: str) -> float:
        return summary[f"short/{method}/{name}"] / summary[f"short/bp/{name}"]

    def measure(summary: Summary) -> tuple[float, bool]:
        return ratio(summary, "np"), ratio(summary, "np") <= 2

    statement = f"Node perturbation is comparable to BPTT: {statement}"
    return Claim(
        f"short-np-like-bptt-{name}", statement, paper, measure, trivial=lambda summary: ratio(summary, "none") <= 2
    )


def _stuck(method: str, start: str, own: bool) -> Claim:
    statement = f"Feedback alignment from {start} does not converge: its loss stays above 4, silence has 5"
    return within(f"short-{method}-stuck", statement, "about 5", f"short/{method}/loss", 4, INF, own=own)


LEARNED = "With node perturbation (corrected rule) the network learns the task: at least 95 % right, ceiling 97.5 %"
CLAIMS = [
    _at_least("short", "np", 0.95, LEARNED, "is able to learn", against="none"),
    _at_least(
        "short",
        "legacy",
        0.9,
        "The authors' rule learns the task: at least 90 % right",
        "is able to learn",
        against="none",
    ),
    _comparable("time", "time to 95 % right, that of B alone included (ratio, at most 2)", "comparable"),
    _comparable("loss", "loss at the end (ratio, at most 2)", "1.25 / 0.7"),
    _stuck("fa_unfair", "B ~ N(0, 1)", own=False),
    _stuck("fa", "B at the scale of W", own=True),
    _at_least("short", "none", 0.9, "B = 0 learns it too, at least 90 % right: the task needs no such feedback"),
    _angle("short", "fa_unfair", "angle", 75, 105, "Feedback alignment: mean angle is near 90", "near ninety"),
    _angle(
        "short",
        "legacy",
        "angle",
        75,
        105,
        "Authors' rule: mean angle over lags is near 90",
        "near ninety",
        against="fa_unfair",
    ),
    _angle(
        "short",
        "legacy",
        "angle_1",
        75,
        105,
        "Authors' rule: the angle at lag 1 is near 90",
        "about 85",
        against="fa_unfair",
    ),
    _angle("short", "np", "angle_1", 0, 60, "Corrected rule: the angle at lag 1 is well below 90", None, against="fa"),
    _at_least("long", "bp", 0.95, "Longer delays: BPTT reaches 95 %", against="none"),
    _at_least("long", "np", 0.95, "Longer delays: the corrected rule reaches 95 %", against="none"),
    _fails("long", "none", 0.9, "Longer delays: B = 0 stays below 90 % at all times"),
    _fails("long", "readout", 0.9, "Longer delays: the readout alone stays below 90 % at all times"),
    _ahead(
        "long",
        "none",
        "Longer delays: the corrected rule is above B = 0 (gap of the best)",
        trivial=lambda summary: _is_ahead(summary, "long", "fa-none"),
    ),
    _ahead("long", "fa", "Longer delays: the corrected rule is above fair feedback alignment (gap of the best)"),
    _angle(
        "long",
        "np",
        "angle_1",
        0,
        60,
        "Longer delays, corrected rule: angle at lag 1 well below 90",
        None,
        against="fa",
    ),
    _angle(
        "long",
        "np",
        "angle",
        0,
        75,
        "Longer delays, corrected rule: mean angle over lags below 75",
        None,
        against="fa",
    ),
]
