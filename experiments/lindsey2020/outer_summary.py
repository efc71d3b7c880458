"""Numbers for the claims on section 8 of Lindsey & Litwin-Kumar (2020)."""

from collections.abc import Mapping

import numpy as np

from plasticity_jax.rules.hebbian.taylor import Term
from plasticity_jax.run import put
from plasticity_jax.tasks.incremental_sines import no_lifetime_learning

RULES = ("flp", "plastic_feedback", "taylor")
LOOPS = ("es", "pes", "truncated")
"""Outer loops besides the exact meta-gradient, which trains the rules."""
OF_FLP: tuple[Term, ...] = ((1, 1, 0, 0), (1, 0, 0, 1), (0, 2, 1, 0), (0, 1, 1, 1), (0, 0, 1, 2))
"""Terms of FLP's own rule, Oja's."""
TERMS: tuple[Term, ...] = (*OF_FLP, (1, 0, 0, 0), (0, 0, 1, 0), (1, 0, 1, 1), (1, 1, 0, 1))
"""Powers of presynaptic and postsynaptic activity, weight and feedback; the first five are FLP's."""


def name_of(term: Term) -> str:
    """Powers of a term, in a row."""
    return "".join(map(str, term))


def part_of(name: str) -> str:
    """The part of a rule or of an outer loop; the exact one is FLP's."""
    if name in RULES or name == "exact":
        return f"rule/{'flp' if name == 'exact' else name}"
    return f"loop/{name}"


def final(metrics: Mapping[str, np.ndarray], name: str, length: int = 0) -> np.ndarray:
    """Median error at the end of meta-training, by seed, in lives of the length with that index."""
    return np.asarray(metrics[f"{part_of(name)}/median"])[:, -1, length]


def flp_nearest(coefficients: np.ndarray) -> np.ndarray:
    """Share of a rule's square that the point of FLP (Oja's) nearest to it explains, at any alpha and beta.

    Coefficients of FLP's terms are linear in alpha once beta is given: the search for beta is on a grid.

    Args:
      coefficients: (..., terms), in the order of `TERMS`.

    Returns:
      (...,), from 0 to 1.
    """
    beta = np.linspace(-1, 2, 301)
    own = np.stack([1 - beta, beta, -((1 - beta) ** 2), -2 * beta * (1 - beta), -(beta**2)], -1)
    direction = np.concatenate([own, np.zeros((len(beta), len(TERMS) - len(OF_FLP)))], -1)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    along = np.einsum("...t,bt->...b", coefficients, direction)
    return (along**2).max(-1) / (coefficients**2).sum(-1)


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Median errors by length of life, paired gaps in powers of ten, costs, and the learned rules."""
    summary: dict[str, float] = {"no_lifetime_learning": no_lifetime_learning()}
    run = [name for name in (*RULES, *LOOPS) if f"{part_of(name)}/median" in metrics]
    for name in run:
        lengths = np.asarray(metrics[f"{part_of(name)}/median"]).shape[2]
        for k in range(lengths):
            put(summary, f"{name}/{k}", final(metrics, name, k))
        summary[f"{name}/diverged"] = float((~np.isfinite(final(metrics, name, lengths - 1))).mean())
        if lengths > 1:
            longer = np.log10(final(metrics, name, lengths - 1)) - np.log10(final(metrics, name, 0))
            put(summary, f"gap/{name}/longer-shorter", longer)
        learned = np.log10(no_lifetime_learning()) - np.log10(final(metrics, name))
        put(summary, f"gap/nothing-{name}", learned)
        if name != "flp" and "flp" in run:
            put(summary, f"gap/flp-{name}", np.log10(final(metrics, "flp")) - np.log10(final(metrics, name)))
            put(summary, f"gap/{name}-flp", np.log10(final(metrics, name)) - np.log10(final(metrics, "flp")))
    if {"es", "pes"} <= {*run}:
        put(summary, "gap/es-pes", np.log10(final(metrics, "es")) - np.log10(final(metrics, "pes")))
    for loop in ("exact", *LOOPS):
        if f"seconds/{loop}" in metrics:
            summary[f"seconds/{loop}"] = float(metrics[f"seconds/{loop}"])
    if "taylor" in run:
        coefficients = np.asarray(metrics["rule/taylor/coefficients"])[:, -1]  # (seeds, terms, layers)
        for k, term in enumerate(TERMS):
            for layer, words in enumerate(("hidden", "readout")):
                put(summary, f"taylor/{words}/{name_of(term)}", coefficients[:, k, layer])
        for layer, words in enumerate(("hidden", "readout")):
            put(summary, f"taylor/{words}/flp", flp_nearest(coefficients[:, :, layer]))
    if "plastic_feedback" in run:
        alpha_fb = np.asarray(metrics["rule/plastic_feedback/alpha_fb"])[:, -1]
        for layer, words in enumerate(("hidden", "readout")):
            put(summary, f"plastic_feedback/{words}/alpha_fb", alpha_fb[:, layer])
    return summary
