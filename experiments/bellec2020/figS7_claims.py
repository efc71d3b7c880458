"""Figure S7 of Bellec et al. (2020): ends of training, and the claims on them.

Claims marked as the paper's are from memory; the factors and levels are ours, and were set before the run.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from experiments.bellec2020.common import last_tenth, near
from plasticity_jax.run import below, gap, put

METHODS = ("bptt", "eprop", "random", "adaptive", "frozen")
PAIRS = (("eprop", "frozen"), ("random", "frozen"), ("adaptive", "frozen"), ("eprop", "random"))
"""Methods whose paired differences in error are put in the summary, as "better-worse"; above 0, the first is better."""
FOLLOWS = 0.1
"""Share of the pattern's power; a network that misses less follows the pattern."""
finals = partial(last_tenth, names=("error", "rate", "aligned"))
close = partial(near, name="error", frozen="frozen")


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final values by "method/name", and leads as "better-worse/error"."""
    final = {method: finals(metrics, method) for method in METHODS if f"{method}/loss" in metrics}
    summary: dict[str, float] = {}
    for method, by_name in final.items():
        for name, values in by_name.items():
            put(summary, f"{method}/{name}", values)
    for better, worse in PAIRS:
        if better in final and worse in final:
            put(summary, f"{better}-{worse}/error", final[worse]["error"] - final[better]["error"])
    if {"adaptive", "random"} <= final.keys():
        put(summary, "adaptive-random/aligned", final["adaptive"]["aligned"] - final["random"]["aligned"])
    return summary


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
