"""Depth, after Lansdell, Prakash & Kording (2020): final errors and angles by layer, and the claims on them."""

from collections.abc import Callable, Mapping

import numpy as np

from experiments.lansdell2019.common import unless_diverged
from experiments.shared.claims import Summary, beyond, named
from plasticity_jax.run import Claim, gap, put

METHODS = ("bp", "np_chain", "np_direct", "fa", "dfa")
DIRECT = ("np_direct", "dfa")
PAIRS = (("np_chain", "np_direct"), ("fa", "np_chain"), ("dfa", "np_direct"), ("fa", "dfa"))
"""Methods whose paired differences are put in the summary, as "worse-better"."""


def depths_of(metrics: Mapping[str, np.ndarray], method: str) -> list[int]:
    """The depths at which a method was run, increasing."""
    names = {key.split("/")[0] for key in metrics}
    return sorted(int(name.split(".")[1]) for name in names if name.startswith(f"{method}."))


def finals(metrics: Mapping[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    """Final values of "method.depth", (seeds,): "error", angles "angle_1" (lowest layer) and on, and "distortion"."""
    loss = metrics[f"{part}/loss"]
    by_name = {"error": metrics[f"{part}/error"][:, -1]}
    if f"{part}/angle" in metrics:
        angles = metrics[f"{part}/angle"][:, -1]
        by_name |= {f"angle_{k + 1}": angles[:, k] for k in range(angles.shape[1])}
        by_name["distortion"] = angles[:, 0] - angles[:, -1]
    return {name: unless_diverged(values, loss) for name, values in by_name.items()}


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final values by "method.depth/name"; "worse-better.deepest/name"; "method.deepest-shallowest/angle_1"."""
    summary: dict[str, float] = {}
    final = {
        (method, depth): finals(metrics, f"{method}.{depth}")
        for method in METHODS
        for depth in depths_of(metrics, method)
    }
    for (method, depth), by_name in final.items():
        for name, values in by_name.items():
            put(summary, f"{method}.{depth}/{name}", values)
    depths = sorted({depth for _, depth in final})
    low, high = depths[0], depths[-1]
    for worse, better in PAIRS:
        if {(worse, high), (better, high)} <= set(final):
            for name in ("error", "angle_1", "distortion"):
                put(summary, f"{worse}-{better}.deepest/{name}", final[worse, high][name] - final[better, high][name])
    for method in METHODS[1:]:
        if {(method, low), (method, high)} <= set(final) and high > low:
            deeper = final[method, high]["angle_1"] - final[method, low]["angle_1"]
            put(summary, f"{method}.deepest-shallowest/angle_1", deeper)
        if (method, high) in final:
            put(summary, f"{method}.deepest/distortion", final[method, high]["distortion"])
    return summary


def _accumulates(summary: Summary) -> tuple[float, bool | None]:
    """Least distortion by layerwise feedback over depths, and whether it is above 0 at each, at 95 % by t."""
    return gap("", "", None, *named(summary, "np_chain.[0-9]*/distortion")).measure(summary)


def _same_of(name: str) -> Callable[[Summary], bool]:
    """Returns a check that the same difference is above 0 between networks with fixed feedback, too."""
    return lambda summary: beyond(summary, 1, name)


CLAIMS = [
    Claim(
        "accumulates",
        "Distortion accumulates from top to bottom: with layerwise feedback the lowest layer's credit is farther from "
        "the gradient than the top one's, at all depths (least gap, degrees)",
        None,
        _accumulates,
        trivial=_same_of("fa.deepest/distortion"),
    ),
    gap(
        "deeper-is-worse",
        "With layerwise feedback the lowest layer's credit is farther from the gradient in the deepest network than in "
        "the shallowest (degrees)",
        None,
        "np_chain.deepest-shallowest/angle_1",
        trivial=_same_of("fa.deepest-shallowest/angle_1"),
    ),
    gap(
        "direct-accumulates-less",
        "Direct feedback helps: in the deepest network its angle grows less from the top layer to the lowest than "
        "that of layerwise feedback (degrees)",
        None,
        "np_chain-np_direct.deepest/distortion",
        trivial=_same_of("fa-dfa.deepest/distortion"),
    ),
    gap(
        "direct-is-nearer",
        "In the deepest network the lowest layer's credit is nearer to the gradient by direct than by layerwise "
        "feedback (degrees)",
        None,
        "np_chain-np_direct.deepest/angle_1",
        trivial=_same_of("fa-dfa.deepest/angle_1"),
        own=True,
    ),
    gap(
        "direct-errs-less",
        "In the deepest network direct feedback ends with a lower test error than layerwise feedback (points)",
        None,
        "np_chain-np_direct.deepest/error",
        trivial=_same_of("fa-dfa.deepest/error"),
        own=True,
    ),
    gap(
        "learned-beats-fixed",
        "In the deepest network learned feedback ends with a lower test error than fixed feedback, layerwise and "
        "direct (points, the lesser gap)",
        None,
        "fa-np_chain.deepest/error",
        "dfa-np_direct.deepest/error",
        own=True,
    ),
]
