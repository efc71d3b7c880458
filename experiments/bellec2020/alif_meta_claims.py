"""Time constants and broadcast weights from an outer loop: numbers of the summary, and the claims on them.

All claims are our own and were set before the run. Lives by broadcast are "random", each arm with its own broadcast.
"""

from collections.abc import Callable, Mapping

import numpy as np

from experiments.shared.claims import Summary, beyond, clear
from plasticity_jax.run import Claim, gap, put, t_value
from plasticity_jax.run.summary import mean_in

ARMS = ("constants", "broadcast", "both", "innate")
"""Parts of theta that an outer loop learns; the last is the broadcast alone, with the same readout for every life."""
METHODS = ("random", "eprop", "bptt", "frozen")
THETAS = ("start", "grid", *ARMS, "start.innate")
NAMES = ("loss", "right")
PAIRS = (
    ("constants", "start"),
    ("broadcast", "start"),
    ("both", "start"),
    ("grid", "start"),
    ("both", "constants"),
    ("constants", "grid"),
    ("both", "grid"),
    ("innate", "start.innate"),
)
"""Thetas whose paired differences in loss and right answers are put in the summary; above 0, the first is better."""
CHANCE = 0.5


def ends(metrics: Mapping[str, np.ndarray], theta: str) -> dict[str, np.ndarray]:
    """A theta's numbers at the end of the outer loop, (seeds, ...); nothing if it was not run."""
    part, number = {"start": ("start", 0), "start.innate": ("start", 1), "grid": ("grid", None)}.get(
        theta, ("meta", ARMS.index(theta) if theta in ARMS else None)
    )
    of_part = {key.split("/", 1)[1]: np.asarray(value) for key, value in metrics.items() if key.startswith(f"{part}/")}
    at = (slice(None), -1) if number is None else (slice(None), -1, number)
    return {name: value[at] for name, value in of_part.items() if name != "bad_step"}


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Loss, right answers and spikes by "theta/name/length", the other methods', and paired leads "better-worse/name".

    Lengths are those of held-out lives, in lives of the outer loop.
    """
    summary: dict[str, float] = {}
    final = {theta: values for theta in THETAS if (values := ends(metrics, theta))}
    for theta, values in final.items():
        for name in (*NAMES, "rate"):
            for k in range(values[name].shape[1]):
                put(summary, f"{theta}/{name}/{k + 1}", values[name][:, k])
        for method in METHODS[1:]:
            for name in NAMES:
                if f"{method}_{name}" in values:
                    put(summary, f"{theta}/{method}/{name}", values[f"{method}_{name}"])
        if "aligned" in values:
            put(summary, f"{theta}/aligned", values["aligned"][:, 0])
        put(summary, f"{theta}/longer", values["loss"][:, 0] - values["loss"][:, -1])
    for better, worse in PAIRS:
        if better in final and worse in final:
            leads(summary, better, worse, final[better], final[worse])
    return summary


def leads(summary: dict[str, float], better: str, worse: str, a: Mapping[str, np.ndarray], b: Mapping) -> None:
    """Adds the paired differences of two thetas, and those of the other methods at their constants, to a summary."""
    pair = f"{better}-{worse}"
    put(summary, f"{pair}/loss", b["loss"][:, 0] - a["loss"][:, 0])
    put(summary, f"{pair}/right", a["right"][:, 0] - b["right"][:, 0])
    put(summary, f"{pair}/loss/longest", b["loss"][:, -1] - a["loss"][:, -1])
    if "aligned" in a and "aligned" in b:
        put(summary, f"{pair}/aligned", a["aligned"][:, 0] - b["aligned"][:, 0])
    for method in ("eprop", "bptt"):
        if f"{method}_loss" in a and f"{method}_loss" in b:
            put(summary, f"{pair}/{method}/loss", b[f"{method}_loss"] - a[f"{method}_loss"])
            if method == "eprop":
                put(summary, f"{pair}/random-eprop/loss", b["eprop_loss"] - a["loss"][:, 0])


def pays(id: str, statement: str, *pairs: str, trivial: Callable[[Summary], bool] | None = None) -> Claim:
    """Claims leads in loss on held-out lives, in nats."""
    return gap(id, f"{statement} (nats)", None, *pairs, own=True, trivial=trivial)


def _learns(summary: Summary) -> tuple[float, bool | None]:
    mean = mean_in(summary, "both/right/1")
    return mean.value, None if mean.seeds == 1 else beyond(summary, 1, "both/right/1", CHANCE)


def _keeps(summary: Summary) -> tuple[float, bool | None]:
    mean = mean_in(summary, "both/longer")
    half = t_value(mean.seeds) * mean.sem
    return mean.value, None if mean.seeds == 1 or abs(mean.value) <= half else mean.value > 0


CLAIMS = [
    Claim(
        "both-learns",
        "With time constants and broadcast weights from the outer loop, held-out lives end above chance (share of "
        "right answers)",
        None,
        _learns,
        own=True,
        trivial=lambda summary: beyond(summary, 1, "start/frozen/right", CHANCE),
    ),
    pays(
        "constants-pay",
        "Time constants from the outer loop lower the loss of held-out lives",
        "constants-start/loss",
        trivial=clear("grid-start/loss"),
    ),
    pays("broadcast-pays", "Broadcast weights from the outer loop lower it, too", "broadcast-start/loss"),
    pays("broadcast-adds", "Both together lower it more than time constants alone", "both-constants/loss"),
    pays(
        "beats-grid",
        "Both together are better than the best of a grid of shared time constants, of as many lives",
        "both-grid/loss",
    ),
    pays("constants-beat-grid", "So are the time constants alone", "constants-grid/loss"),
    pays(
        "constants-serve-others",
        "Time constants that were learned with a random broadcast serve symmetric e-prop and BPTT as well (lesser lead "
        "over those at the start)",
        "constants-start/eprop/loss",
        "constants-start/bptt/loss",
    ),
    pays(
        "both-beats-symmetric",
        "Lives by broadcast with both end below those by symmetric e-prop at the constants of the start",
        "both-start/random-eprop/loss",
        trivial=clear("constants-start/random-eprop/loss"),
    ),
    pays("lead-lasts", "Both are still better than the start in the longest held-out lives", "both-start/loss/longest"),
    Claim(
        "longer-lives-learn-more",
        "With both, lives longer than those of the outer loop end with a smaller loss (nats)",
        None,
        _keeps,
        own=True,
    ),
    pays(
        "innate-pays",
        "Where all lives begin with the same readout, broadcast weights from the outer loop lower the loss",
        "innate-start.innate/loss",
    ),
    gap(
        "innate-aligns",
        "There they come to lie along the readout's weights (rise of the cosine at the end of a life)",
        None,
        "innate-start.innate/aligned",
        own=True,
    ),
    gap(
        "new-readouts-align",
        "Where each life has a readout of its own, it and the broadcast are more alike at its end, too (rise of the "
        "cosine)",
        None,
        "broadcast-start/aligned",
        own=True,
    ),
]
