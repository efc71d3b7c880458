"""Figure 3 of Bellec et al. (2020): ends of training, and the claims on them.

Claims marked as the paper's are from memory; the factors and levels are ours, and were set before the run.
"""

from collections.abc import Mapping
from functools import partial

import numpy as np

from experiments.bellec2020.common import LABELS, last_tenth, near
from experiments.shared.claims import Summary, beyond
from plasticity_jax.run import Claim, gap, put
from plasticity_jax.run.summary import mean_in
from plasticity_jax.tasks.evidence_accumulation import evidence_levels

PARTS = (
    "alif.bptt",
    "alif.eprop",
    "alif.random",
    "alif.adaptive",
    "alif.blind",
    "alif.frozen",
    "lif.bptt",
    "lif.eprop",
)
PAIRS = (
    ("alif.eprop", "alif.frozen"),
    ("alif.random", "alif.frozen"),
    ("alif.adaptive", "alif.frozen"),
    ("alif.eprop", "alif.blind"),
    ("alif.eprop", "alif.random"),
    ("alif.bptt", "lif.bptt"),
    ("alif.eprop", "lif.eprop"),
)
"""Parts whose paired differences in right answers, and in losses with the opposite sign, are put in the summary."""
ONE_CUE = evidence_levels()["one"]
"""Share of right answers from one of seven cues; a higher share needs accumulation."""
finals = partial(last_tenth, names=("loss", "right", "rate", "aligned"))
close = partial(near, name="loss", frozen="alif.frozen")


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final values by "part/name", and leads as "better-worse/right" and "better-worse/loss"."""
    final = {part: finals(metrics, part) for part in PARTS if f"{part}/loss" in metrics}
    summary: dict[str, float] = {}
    for part, by_name in final.items():
        for name, values in by_name.items():
            put(summary, f"{part}/{name}", values)
    for better, worse in PAIRS:
        if better in final and worse in final:
            put(summary, f"{better}-{worse}/right", final[better]["right"] - final[worse]["right"])
            put(summary, f"{better}-{worse}/loss", final[worse]["loss"] - final[better]["loss"])
    if {"alif.adaptive", "alif.random"} <= final.keys():
        lead = final["alif.adaptive"]["aligned"] - final["alif.random"]["aligned"]
        put(summary, "alif.adaptive-alif.random/aligned", lead)
    return summary


def accumulates(part: str, *, own: bool = False) -> Claim:
    """Claims that a network uses more than one cue, at 95 %."""
    name = f"{part}/right"

    def measure(summary: Summary) -> tuple[float, bool | None]:
        mean = mean_in(summary, name)
        return mean.value, None if mean.seeds == 1 else beyond(summary, 1, name, ONE_CUE)

    return Claim(
        f"{part}-learns",
        f"{_words(part)} learns the task: more right answers than one cue allows, {ONE_CUE:.3f}",
        None,
        measure,
        own=own,
        trivial=lambda summary: beyond(summary, 1, "alif.frozen/right", ONE_CUE),
    )


def _words(part: str) -> str:
    kind, method = part.split(".")
    return f"{LABELS[method]}, {kind.upper()},"


def _fails(summary: Summary) -> tuple[float, bool | None]:
    mean = mean_in(summary, "lif.bptt/right")
    return mean.value, None if mean.seeds == 1 else beyond(summary, -1, "lif.bptt/right", ONE_CUE)


CLAIMS = [
    accumulates("alif.eprop"),
    accumulates("alif.random"),
    accumulates("alif.adaptive", own=True),
    close("alif.eprop", "alif.bptt", "E-prop comes close to BPTT"),
    gap(
        "alif-beats-lif",
        "Networks with adapting neurons have more right answers than those without, by BPTT and by e-prop "
        "(share of trials, the lesser gap)",
        None,
        "alif.bptt-lif.bptt/right",
        "alif.eprop-lif.eprop/right",
    ),
    Claim(
        "lif-fails",
        "Without adapting neurons BPTT does not learn the task: fewer right answers than one cue allows, "
        f"{ONE_CUE:.3f}",
        None,
        _fails,
    ),
    gap(
        "random-behind",
        "Random feedback is behind symmetric feedback (nats)",
        None,
        "alif.eprop-alif.random/loss",
        own=True,
    ),
    close("alif.random", "alif.eprop", "Random feedback is not far behind symmetric feedback"),
    close("alif.adaptive", "alif.eprop", "Adaptive feedback is not far from symmetric feedback", own=True),
    gap(
        "adaptive-aligns",
        "Adaptive feedback comes nearer to the readout's weights than random feedback (cosine)",
        None,
        "alif.adaptive-alif.random/aligned",
        own=True,
    ),
    gap(
        "slow-trace-matters",
        "The adaptation's part of the eligibility traces is needed: e-prop has more right answers with it than without "
        "(share of trials)",
        None,
        "alif.eprop-alif.blind/right",
        own=True,
    ),
    gap(
        "beats-readout",
        "E-prop by symmetric, random and adaptive feedback has more right answers than a trained readout of random "
        "recurrent weights (share of trials, the least gap)",
        None,
        "alif.eprop-alif.frozen/right",
        "alif.random-alif.frozen/right",
        "alif.adaptive-alif.frozen/right",
        own=True,
    ),
]
