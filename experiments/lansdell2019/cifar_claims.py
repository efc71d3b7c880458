"""CIFAR-10, after Lansdell, Prakash & Kording (2020): final accuracies and angles by layer, and the claims on them."""

from collections.abc import Callable, Mapping

import numpy as np

from experiments.lansdell2019.common import unless_diverged
from experiments.shared.claims import INF, Summary, clear, named, surely
from plasticity_jax.run import Claim, gap, put

METHODS = ("bp", "sign", "kp", "mirror", "np_chain", "np_direct", "fa", "dfa", "frozen", "readout")
FED_BACK = ("sign", "kp", "mirror", "np_chain", "np_direct", "fa", "dfa")
"""Methods whose feedback is not the transpose of the forward weights."""
DIRECT = ("np_direct", "dfa")
TAUGHT = ("bp", *FED_BACK)
"""Methods that teach the convolutions."""
PAPER = {"bp": 76.9, "np_direct": 74.8, "dfa": 72.4}
"""Per cent right on CIFAR-10 in the published table, quoted from memory."""
NEAR = 3.0
"""Points within which an accuracy counts as close to backpropagation's."""
CHANCE = 10.0

LABELS = {
    "bp": "backpropagation",
    "sign": "sign symmetry",
    "kp": "Kolen-Pollack",
    "mirror": "weight mirror",
    "np_chain": "layerwise node perturbation",
    "np_direct": "direct node perturbation",
    "fa": "feedback alignment",
    "dfa": "direct feedback alignment",
    "frozen": "frozen convolutions",
    "readout": "readout alone",
}
PAIRS = (
    *(("bp", method) for method in FED_BACK),
    ("np_direct", "dfa"),
    ("np_chain", "fa"),
    *((method, "frozen") for method in TAUGHT),
    ("frozen", "dfa"),
)
"""Methods whose paired differences in accuracy are put in the summary, as "one-other/accuracy"."""
NEARER = (("dfa", "np_direct"), ("fa", "np_chain"), ("fa", "mirror"), ("fa", "kp"), ("fa", "sign"))
"""Methods whose paired differences in angles are put in the summary, as "one-other/angle_1" from the lowest layer."""


def ran(metrics: Mapping[str, np.ndarray]) -> list[str]:
    """The methods that were run, in order."""
    return [method for method in METHODS if f"{method}/accuracy" in metrics]


def finals(metrics: Mapping[str, np.ndarray], method: str) -> dict[str, np.ndarray]:
    """Final values of a method, (seeds,): "accuracy", and "angle_1", "weight_angle_1" and on, from the lowest layer."""
    by_name = {"accuracy": metrics[f"{method}/accuracy"][:, -1]}
    for name in ("angle", "weight_angle"):
        if f"{method}/{name}" in metrics:
            by_layer = metrics[f"{method}/{name}"][:, -1]
            by_name |= {f"{name}_{k + 1}": by_layer[:, k] for k in range(by_layer.shape[1])}
    return {name: unless_diverged(values, metrics[f"{method}/loss"]) for name, values in by_name.items()}


def layers_of(by_name: Mapping[str, np.ndarray]) -> list[str]:
    """Names of a method's angles to the gradient, from the lowest layer."""
    return [name for name in by_name if name.startswith("angle_")]


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final values by "method/name", paired differences by "one-other/name", and "method/distortion"."""
    summary: dict[str, float] = {}
    final = {method: finals(metrics, method) for method in ran(metrics)}
    for method, by_name in final.items():
        for name, values in by_name.items():
            put(summary, f"{method}/{name}", values)
        if angles := layers_of(by_name):
            put(summary, f"{method}/distortion", by_name[angles[0]] - by_name[angles[-1]])
    for one, other in PAIRS:
        if {one, other} <= set(final):
            put(summary, f"{one}-{other}/accuracy", final[one]["accuracy"] - final[other]["accuracy"])
    for one, other in NEARER:
        if {one, other} <= set(final):
            for name in layers_of(final[one]):
                put(summary, f"{one}-{other}/{name}", final[one][name] - final[other][name])
    return summary


def _opening(method: str) -> str:
    """The name of a method at the beginning of a sentence."""
    return LABELS[method][0].upper() + LABELS[method][1:]


def _close(method: str) -> Claim:
    """Claims that a method ends less than `NEAR` points below backpropagation; trivial if feedback alignment does."""

    def of(method: str, **options: Callable[[Summary], bool]) -> Claim:
        statement = f"{_opening(method)} ends less than {NEAR:g} points below backpropagation"
        return surely(f"{method}-close", statement, None, -INF, NEAR, f"bp-{method}/accuracy", own=True, **options)

    return of(method, trivial=lambda summary: of("fa").measure(summary)[1] is True)


def _nearer(id: str, statement: str, one: str, other: str) -> Claim:
    """Claims that in every layer the other method's angle to the gradient is smaller (least gap, degrees)."""

    def measure(summary: Summary) -> tuple[float, bool | None]:
        return gap("", "", None, *named(summary, f"{one}-{other}/angle_*[0-9]")).measure(summary)

    return Claim(id, f"{statement} (least gap of the layers, degrees)", None, measure, own=True)


CLAIMS = [
    gap("bp-above-np", "Backpropagation ends above direct node perturbation (points)", 2.1, "bp-np_direct/accuracy"),
    gap(
        "np-above-dfa",
        "Direct node perturbation ends above direct feedback alignment (points)",
        2.4,
        "np_direct-dfa/accuracy",
        trivial=clear("frozen-dfa/accuracy"),
    ),
    gap("bp-above-dfa", "Backpropagation ends above direct feedback alignment (points)", 4.5, "bp-dfa/accuracy"),
    gap(
        "np-above-fa",
        "Layerwise node perturbation ends above feedback alignment: feedback through convolutions is better learned "
        "than fixed (points)",
        None,
        "np_chain-fa/accuracy",
        own=True,
    ),
    surely(
        "fa-far",
        f"Feedback alignment ends more than {NEAR:g} points below backpropagation",
        None,
        NEAR,
        INF,
        "bp-fa/accuracy",
        own=True,
    ),
    *map(_close, ("sign", "kp", "mirror")),
    _nearer(
        "np-nearer-than-dfa",
        "The credit by direct node perturbation is nearer to the gradient than that by direct feedback alignment, in "
        "every layer",
        "dfa",
        "np_direct",
    ),
    *(
        _nearer(
            f"{method}-nearer-than-fa",
            f"The credit by {LABELS[method]} is nearer to the gradient than that by feedback alignment, in every layer",
            "fa",
            method,
        )
        for method in ("np_chain", "mirror", "kp", "sign")
    ),
    gap(
        "accumulates",
        "Distortion accumulates from top to bottom through convolutions too: by layerwise node perturbation the "
        "lowest layer's credit is farther from the gradient than the top one's (degrees)",
        None,
        "np_chain/distortion",
        trivial=clear("fa/distortion"),
        own=True,
    ),
    *(
        gap(
            f"{method}-teaches-convolutions",
            f"{_opening(method)} ends above dense layers that learn on convolutions that do not (points)",
            None,
            f"{method}-frozen/accuracy",
            own=True,
        )
        for method in TAUGHT
    ),
]
