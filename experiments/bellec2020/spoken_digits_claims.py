"""Spoken digits with the rule of Bellec et al. (2020): ends of training, and our own claims on them."""

from collections.abc import Mapping

import numpy as np

from experiments.bellec2020.common import LABELS, last_tenth, near
from experiments.shared.claims import clear, surely
from plasticity_jax.run import Claim, gap, put

LOCAL = {"gru": "rflo", "alif": "eprop"}
"""The rule with a neuron's own traces, by its name on each network."""
NETWORKS = {"gru": "GRU", "alif": "ALIF network", "mel": "none"}
METHODS = {
    **LABELS,
    "rflo": "RFLO, symmetric",
    "snap": "SnAp-1",
    "uoro": "UORO",
    "ridge": "best readout",
    "mean": "best readout of mean frame",
    "whole": "best readout of whole spectrogram",
}
RANDOM = {"gru": "RFLO, random", "alif": METHODS["random"]}
PARTS = (
    "gru.bptt",
    "gru.rflo",
    "gru.random",
    "gru.snap",
    "gru.uoro",
    "gru.frozen",
    "gru.ridge",
    "alif.bptt",
    "alif.eprop",
    "alif.random",
    "alif.blind",
    "alif.snap",
    "alif.uoro",
    "alif.frozen",
    "alif.ridge",
    "mel.mean",
    "mel.whole",
)
PAIRS = (
    *((f"{kind}.{local}", f"{kind}.{other}") for kind, local in LOCAL.items() for other in ("frozen", "ridge")),
    *((f"{kind}.{local}", f"mel.{other}") for kind, local in LOCAL.items() for other in ("mean", "whole")),
    *((f"{kind}.{local}", f"{kind}.{other}") for kind, local in LOCAL.items() for other in ("random", "uoro")),
    *((f"{kind}.snap", f"{kind}.{local}") for kind, local in LOCAL.items()),
    *((f"{kind}.uoro", f"{kind}.frozen") for kind in LOCAL),
    ("alif.eprop", "alif.blind"),
    ("gru.bptt", "alif.bptt"),
    ("gru.rflo", "alif.eprop"),
    ("mel.whole", "mel.mean"),
)
"""Parts whose paired differences in right answers are put in the summary, as "better-worse"."""
SHARES = ("right", "stranger")
"""Shares of right answers on the test, and on the speaker who is left out."""
FEW = 0.03
"""Difference in the share of right answers that counts as negligible."""


def method_name(part: str) -> str:
    """A part's method in words."""
    kind, method = part.split(".")
    return RANDOM[kind] if method == "random" else METHODS[method]


def finals(metrics: Mapping[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    """Final values, (seeds,), NaN for seeds that diverged; closed forms cannot diverge and have no loss."""
    whole = metrics if f"{part}/loss" in metrics else {**metrics, f"{part}/loss": metrics[f"{part}/right"]}
    return last_tenth(whole, part, ("loss", "heard", "judged", "right", "stranger", "error", "rate"))


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final values by "part/name", leads as "better-worse/right", and "part/lost", the cost of a new speaker."""
    final = {part: finals(metrics, part) for part in PARTS if f"{part}/right" in metrics}
    summary: dict[str, float] = {}
    for part, by_name in final.items():
        for name in [name for name in by_name if f"{part}/{name}" in metrics]:
            put(summary, f"{part}/{name}", by_name[name])
        put(summary, f"{part}/lost", by_name["right"] - by_name["stranger"])
    for better, worse in PAIRS:
        if better in final and worse in final:
            for name in SHARES:
                put(summary, f"{better}-{worse}/{name}", final[better][name] - final[worse][name])
    return summary


def leads(id: str, statement: str, *pairs: str, share: str = "right", trivial: str = "") -> Claim:
    """Claims that every one of these pairs, "better-worse", has a lead in right answers."""
    names = [f"{pair}/{share}" for pair in pairs]
    least = ", the least gap" if len(names) > 1 else ""
    met = clear(f"{trivial}/{share}") if trivial else None
    return gap(id, f"{statement} (share of right answers{least})", None, *names, own=True, trivial=met)


def close(kind: str) -> Claim:
    """Claims that the local rule comes close to BPTT."""
    part, other = f"{kind}.{LOCAL[kind]}", f"{kind}.bptt"
    words = f"{method_name(part)}, comes close to BPTT on the {NETWORKS[kind]}"
    return near(part, other, words, "error", f"{kind}.frozen", own=True)


CLAIMS = [
    *(
        leads(
            f"{kind}-hears-order",
            f"{METHODS[local]}, on the {NETWORKS[kind]}, has more right answers than a readout of the mean frame",
            f"{kind}.{local}-mel.mean",
            trivial="mel.whole-mel.mean",
        )
        for kind, local in LOCAL.items()
    ),
    leads(
        "beats-whole",
        "Both networks, by RFLO and e-prop, have more right answers than a linear readout of the whole spectrogram",
        "gru.rflo-mel.whole",
        "alif.eprop-mel.whole",
    ),
    leads(
        "beats-readout",
        "RFLO and e-prop have more right answers than readouts of the same networks frozen, trained online or the best",
        *(f"{kind}.{local}-{kind}.{other}" for kind, local in LOCAL.items() for other in ("frozen", "ridge")),
    ),
    leads(
        "beats-readout-of-stranger",
        "The same on the speaker who is left out",
        *(f"{kind}.{local}-{kind}.{other}" for kind, local in LOCAL.items() for other in ("frozen", "ridge")),
        share="stranger",
    ),
    close("gru"),
    close("alif"),
    leads(
        "random-behind",
        "Random feedback is behind symmetric feedback on both networks",
        "gru.rflo-gru.random",
        "alif.eprop-alif.random",
    ),
    surely(
        "snap-adds-little",
        "A neuron's synapse on itself adds little: SnAp-1 has as many right answers as RFLO and e-prop (difference in "
        f"share, within {FEW:g})",
        None,
        -FEW,
        FEW,
        "gru.snap-gru.rflo/right",
        "alif.snap-alif.eprop/right",
        own=True,
    ),
    leads(
        "uoro-behind",
        "UORO, unbiased but noisy, is behind RFLO and e-prop, biased but without noise",
        "gru.rflo-gru.uoro",
        "alif.eprop-alif.uoro",
    ),
    leads(
        "uoro-beats-readout",
        "UORO has more right answers than a readout of the same networks frozen, trained online",
        "gru.uoro-gru.frozen",
        "alif.uoro-alif.frozen",
    ),
    leads(
        "slow-trace-matters",
        "The adaptation's part of the eligibility traces is needed: e-prop is better with it than without",
        "alif.eprop-alif.blind",
    ),
    leads(
        "gru-ahead",
        "The GRU is ahead of the spiking network, by BPTT and by the local rule",
        "gru.bptt-alif.bptt",
        "gru.rflo-alif.eprop",
    ),
    gap(
        "strangers-are-harder",
        "A speaker who is left out is harder to tell, by RFLO and e-prop (share of right answers, the lesser gap)",
        None,
        "gru.rflo/lost",
        "alif.eprop/lost",
        own=True,
        trivial=clear("mel.mean/lost"),
    ),
]
