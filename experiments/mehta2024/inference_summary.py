"""The numbers behind the claims on rules inferred from recordings (Mehta et al. 2024)."""

import itertools
from collections.abc import Mapping

import numpy as np

from experiments.mehta2024.recordings import RULES
from plasticity_jax.rules.hebbian.taylor import Term
from plasticity_jax.run import put

MODELS = ("fitted", "dense", "blind", "drift", "none", "true")
"""The family, the family without the penalty and without reward, constant drift, no plasticity, and the true rule."""
WITH_RULE = ("fitted", "dense", "blind")
"""Models with fitted coefficients of terms."""


def family(powers: tuple[int, ...]) -> list[Term]:
    """All terms of at most these powers."""
    return [(a, b, c, d) for a, b, c, d in itertools.product(*(range(power + 1) for power in powers))]


def terms_of(powers: tuple[int, ...], model: str) -> list[Term]:
    """The terms with fitted coefficients in a model."""
    terms = family(powers) if model in WITH_RULE else []
    return [term for term in terms if model != "blind" or term[3] == 0]


def name_of(term: Term) -> str:
    """The powers of a term in a row."""
    return "".join(map(str, term))


def grid(metrics: Mapping[str, np.ndarray], part: str, name: str) -> np.ndarray:
    """A metric at the end of the fit, (seeds, noises, shares, ...)."""
    noises = len(np.unique(np.asarray(metrics[f"{part}/noise"])[0, -1]))
    end = np.asarray(metrics[f"{part}/{name}"])[:, -1]
    return end.reshape(len(end), noises, -1, *end.shape[2:])


def right_terms(fitted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Returns whether every true term has a larger coefficient than all others; (..., terms) -> (...,), 1 or 0."""
    size = np.abs(fitted)
    least = np.where(true != 0, size, np.inf).min(-1)
    most = np.where(true != 0, -np.inf, size).max(-1)
    return (least > most) * 1.0


def relative_error(fitted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Norm of the coefficients' errors over the norm of the true ones; (..., terms) -> (...,)."""
    return np.linalg.norm(fitted - true, axis=-1) / np.linalg.norm(true, axis=-1)


def worst_true_term(fitted: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Largest relative error of a true term's coefficient; (..., terms) -> (...,)."""
    safe = np.where(true != 0, true, 1.0)
    return np.where(true != 0, np.abs(fitted - true) / np.abs(safe), 0.0).max(-1)


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Explained variance and coefficients by setting, and paired differences.

    Settings are counted from 0: "1.2" is the second noise and the third share of neurons.
    """
    summary: dict[str, float] = {}
    for rule in RULES:
        run = [model for model in MODELS if f"{rule}/{model}/r2" in metrics]
        r2 = {model: grid(metrics, f"{rule}/{model}", "r2") for model in run}
        error = {}
        for model in run:
            each(summary, f"{rule}/{model}/r2", r2[model])
            each(summary, f"{rule}/{model}/r2_weights", grid(metrics, f"{rule}/{model}", "r2_weights"))
            if f"{rule}/{model}/coefficients" in metrics:
                coefficients, true = (grid(metrics, f"{rule}/{model}", name) for name in ("coefficients", "true"))
                error[model] = relative_error(coefficients, true)
                each(summary, f"{rule}/{model}/error", error[model])
                each(summary, f"{rule}/{model}/right_terms", right_terms(coefficients, true))
                each(summary, f"{rule}/{model}/worst_true_term", worst_true_term(coefficients, true))
        if "fitted" in run:
            for model in run[1:]:
                each(summary, f"gap/{rule}/{model}-fitted", r2["fitted"] - r2[model])
            put(summary, f"gap/{rule}/noise/r2", r2["fitted"][:, 0, 0] - r2["fitted"][:, -1, 0])
            put(summary, f"gap/{rule}/noise/error", error["fitted"][:, -1, 0] - error["fitted"][:, 0, 0])
            for i in range(r2["fitted"].shape[1]):
                put(summary, f"gap/{rule}/share/error/{i}", error["fitted"][:, i, -1] - error["fitted"][:, i, 0])
        if {"fitted", "dense"} <= {*run}:
            put(summary, f"gap/{rule}/penalty/error", error["dense"][:, -1, 0] - error["fitted"][:, -1, 0])
        if {"none", "drift"} <= {*run}:
            each(summary, f"gap/{rule}/none-drift", r2["drift"] - r2["none"])
    return summary


def each(summary: dict[str, float], name: str, values: np.ndarray) -> None:
    """Adds the mean over seeds in every setting to the summary; values are (seeds, noises, shares)."""
    for i, j in np.ndindex(values.shape[1:]):
        put(summary, f"{name}/{i}.{j}", values[:, i, j])
