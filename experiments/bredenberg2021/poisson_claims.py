"""Poisson neurons (Bredenberg et al. 2021, appendix B.2): final losses, gradients by quantum, and claims on them."""

from collections.abc import Mapping

import numpy as np

from experiments.shared.claims import INF, Summary, beyond, surely
from plasticity_jax.run import gap, put

RULES = ("il", "ws", "nvi", "bp_blind", "bp_additive", "bp_exact")
"""Rules that teach inference, the exact one last."""
METHODS = ("frozen", "random", *RULES)
"""All methods that are trained, baselines first."""
NAMES = {"il": "Impression learning", "ws": "Wake-sleep", "nvi": "NVI*"}
WHENS = ("before", "after")
MEASURED = ("loss", "r2", "decoding", "transition")


def quanta_of(metrics: Mapping[str, np.ndarray]) -> np.ndarray:
    """All quanta, descending."""
    return np.asarray(metrics["gradients/quantum"])[0, 0]


def gradients(metrics: Mapping[str, np.ndarray], method: str, name: str) -> np.ndarray:
    """A measurement of a rule's mean update, (seeds, quanta, whens)."""
    return np.asarray(metrics[f"gradients/{method}/{name}"], float)[:, 0]


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Measurements after learning, "method/...", and differences of losses, "worse-better/loss"; gains as a share of
    the exact reading's gain over frozen inference, "share/..."; gradients, "when.q=../method/..."; and "when/slope",
    the slope of the additive reading's bias against the quantum.
    """
    summary: dict[str, float] = {}
    ends = {
        method: {name: np.asarray(metrics[f"{method}/{name}"], float)[:, -1] for name in MEASURED}
        for method in ("untrained", *METHODS)
    }
    for method, measurements in ends.items():
        for name, values in measurements.items():
            put(summary, f"{method}/{name}", values)
    loss = {method: measurements["loss"] for method, measurements in ends.items()}
    pairs = [("untrained", method) for method in METHODS]
    pairs += [(other, method) for other in ("bp_blind", "random") for method in NAMES]
    pairs.append(("bp_blind", "random"))
    pairs += [(method, "bp_exact") for method in ("frozen", *NAMES)]
    for worse, better in pairs:
        put(summary, f"{worse}-{better}/loss", loss[worse] - loss[better])
    for method in METHODS[1:-1]:
        put(summary, f"share/{method}", (loss["frozen"] - loss[method]) / (loss["frozen"] - loss["bp_exact"]))

    quanta = quanta_of(metrics)
    for j, when in enumerate(WHENS):
        for i, quantum in enumerate(quanta):
            at = f"{when}.q={quantum:.3g}"
            for method in RULES:
                for name in ("cosine", "along"):
                    put(summary, f"{at}/{method}/{name}", gradients(metrics, method, name)[:, i, j])
                put(summary, f"{at}/{method}/log_steps", np.log10(gradients(metrics, method, "steps")[:, i, j]))
            put(summary, f"{at}/bp_additive/bias", gradients(metrics, "bp_additive", "bias")[:, i, j])
            for other in ("il", "bp_exact"):
                ratio = gradients(metrics, "nvi", "steps") / gradients(metrics, other, "steps")
                put(summary, f"{at}/nvi-{other}/log_steps", np.log10(ratio[:, i, j]))
        bias = np.log(gradients(metrics, "bp_additive", "bias")[:, :, j])
        put(summary, f"{when}/slope", np.polyfit(np.log(quanta), bias.T, 1)[0])
    return summary


def _frozen_learns(summary: Summary) -> bool:
    """Returns whether learning generation alone, with fixed random inference, is better than no learning."""
    return beyond(summary, 1, "untrained-frozen/loss")


CLAIMS = [
    surely(
        "bp-fails-blind",
        "BP can fail: where nothing comes back from a count, it gains less than a tenth of what the exact gradient "
        "gains over frozen inference",
        "can fail",
        -INF,
        0.1,
        "share/bp_blind",
    ),
    surely(
        "bp-fails-additive",
        "BP can fail: with the noise taken for additive, it gains less than a tenth of what the exact gradient gains "
        "over frozen inference",
        "can fail",
        -INF,
        0.1,
        "share/bp_additive",
    ),
    *(
        gap(
            f"{method}-does-not-fail",
            f"{name} does not fail: it ends below the untrained network's loss",
            "will not",
            f"untrained-{method}/loss",
            trivial=_frozen_learns,
        )
        for method, name in NAMES.items()
    ),
    *(
        gap(
            f"{method}-below-blind",
            f"{name} does not fail where BP does: it ends below the loss of blind BP",
            "will not",
            f"bp_blind-{method}/loss",
        )
        for method, name in NAMES.items()
    ),
    *(
        gap(
            f"{method}-below-random",
            f"{name} ends below the loss of fixed random weights that are a hundred times the authors'",
            None,
            f"random-{method}/loss",
            own=True,
        )
        for method, name in NAMES.items()
    ),
    gap(
        "random-below-blind",
        "So large random weights, which never learn, end below the loss of blind BP, too",
        None,
        "bp_blind-random/loss",
        own=True,
    ),
    surely(
        "blind-teaches-nothing",
        "Blind BP's mean update of W has no part along the gradient (below 5 % of it, at all quanta)",
        None,
        -0.05,
        0.05,
        "*.q=*/bp_blind/along",
        own=True,
    ),
    surely(
        "additive-near",
        "Additive BP's mean update has a cosine above 0.9 to the exact gradient, at all quanta, before and after",
        None,
        0.9,
        INF,
        "*.q=*/bp_additive/cosine",
        own=True,
    ),
    surely(
        "additive-biased",
        "Additive BP is biased: by more than 1 % of the gradient at a quantum of 1",
        None,
        0.01,
        INF,
        *(f"{when}.q=1/bp_additive/bias" for when in WHENS),
        own=True,
    ),
    surely(
        "bias-falls",
        "Its bias falls with the quantum, where counts come near to additive noise (slope of logarithms above 0.5)",
        None,
        0.5,
        INF,
        *(f"{when}/slope" for when in WHENS),
        own=True,
    ),
    surely(
        "additive-works",
        "Additive BP gains more than 90 % of what the exact gradient gains over frozen inference",
        None,
        0.9,
        INF,
        "share/bp_additive",
        own=True,
    ),
    gap(
        "exact-best",
        "Exact BP ends below impression learning, wake-sleep and NVI*, as BP does with Gaussian noise",
        None,
        *(f"{method}-bp_exact/loss" for method in NAMES),
        own=True,
    ),
    surely(
        "il-positive",
        "Impression learning's mean update has a positive cosine to the exact gradient at all quanta, before and after",
        None,
        0,
        INF,
        "*.q=*/il/cosine",
        own=True,
    ),
    surely(
        "nvi-noisier",
        "NVI* needs more steps than impression learning for its mean to stand out of its noise (log10 of the ratio "
        "above 0 at all quanta, before and after)",
        "high variance",
        0,
        INF,
        "*.q=*/nvi-il/log_steps",
    ),
]
