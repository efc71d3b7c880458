"""Figure S7 of Bellec et al. (2020): ends of training, and the claims on them.

Marked as the paper's is what it says as far as we remember it; the factors and levels are ours, set before the run.
"""

from collections.abc import Mapping

import numpy as np

from experiments.bellec2020.common import tail, unless_diverged
from experiments.shared.claims import Summary
from plasticity_jax.run import Claim, below, gap, put

METHODS = ("bptt", "eprop", "random", "adaptive", "frozen")
PAIRS = (("eprop", "frozen"), ("random", "frozen"), ("adaptive", "frozen"), ("eprop", "random"))
"""Methods whose paired differences in error are put in the summary, as "better-worse", above 0 if it is better."""
FACTOR = 2.0
"""Between errors that are close."""
FOLLOWS = 0.1
"""Share of the pattern's power that a network misses which follows it."""


def finals(metrics: Mapping[str, np.ndarray], method: str) -> dict[str, np.ndarray]:
    """Means over the last tenth of training, (seeds,): "error", "rate", and "aligned" where feedback has it."""
    loss = metrics[f"{method}/loss"]
    names = [name for name in ("error", "rate", "aligned") if f"{method}/{name}" in metrics]
    return {name: unless_diverged(tail(metrics[f"{method}/{name}"]), loss) for name in names}


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final values by "method/name", and leads as "better-worse/error"."""
    ended = {method: finals(metrics, method) for method in METHODS if f"{method}/loss" in metrics}
    summary: dict[str, float] = {}
    for method, found in ended.items():
        for name, values in found.items():
            put(summary, f"{method}/{name}", values)
    for better, worse in PAIRS:
        if better in ended and worse in ended:
            put(summary, f"{better}-{worse}/error", ended[worse]["error"] - ended[better]["error"])
    if {"adaptive", "random"} <= ended.keys():
        put(summary, "adaptive-random/aligned", ended["adaptive"]["aligned"] - ended["random"]["aligned"])
    return summary


def close(method: str, other: str, statement: str, *, own: bool = False) -> Claim:
    """The mean error of a method is at most `FACTOR` times another's."""

    def measure(summary: Summary) -> tuple[float, bool]:
        ratio = summary[f"{method}/error"] / summary[f"{other}/error"]
        return ratio, ratio <= FACTOR

    return Claim(
        f"{method}-near-{other}",
        f"{statement} (ratio of errors, at most {FACTOR:g})",
        None,
        measure,
        own=own,
        trivial=lambda summary: summary["frozen/error"] <= FACTOR * summary[f"{other}/error"],
    )


CLAIMS = [
    below(
        "eprop-follows",
        f"E-prop learns to follow the pattern (share of its power that is missed, below {FOLLOWS:g})",
        None,
        "eprop/error",
        FOLLOWS,
        trivial=lambda summary: summary["frozen/error"] < FOLLOWS,
    ),
    close("eprop", "bptt", "E-prop comes close to BPTT"),
    close("random", "eprop", "Random feedback is not far behind symmetric feedback"),
    close("adaptive", "eprop", "Adaptive feedback is not far from symmetric feedback", own=True),
    gap(
        "random-behind",
        "Random feedback is behind symmetric feedback (share of power)",
        None,
        "eprop-random/error",
        own=True,
    ),
    gap(
        "adaptive-aligns",
        "Adaptive feedback comes nearer to the readout's weights than random feedback (cosine)",
        None,
        "adaptive-random/aligned",
        own=True,
    ),
    gap(
        "beats-readout",
        "E-prop by symmetric, random and adaptive feedback misses less than a trained readout of random recurrent "
        "weights (share of power, the least gap)",
        None,
        "eprop-frozen/error",
        "random-frozen/error",
        "adaptive-frozen/error",
        own=True,
    ),
]
