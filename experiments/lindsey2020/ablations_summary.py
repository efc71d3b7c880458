"""Numbers for the claims on the choices of Lindsey & Litwin-Kumar (2020)."""

from collections.abc import Mapping

import numpy as np

from plasticity_jax.run import put
from plasticity_jax.tasks.incremental_sines import no_lifetime_learning

CHOICES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "regression": {
        "error": {"signal": "error"},
        "target": {"signal": "target"},
        "after": {"signal": "error", "presynaptic": "after"},
    },
    "classification": {
        "target": {"signal": "target"},
        "error": {"signal": "error"},
        "after": {"signal": "target", "presynaptic": "after"},
    },
}
"""Options of `flp_life` by problem and name; the first is the paper's choice."""
BETAS = {
    "regression": {"learned": (0.5, 1.0), "held_0": (0.0, 0.0), "held_0.5": (0.5, 0.0), "held_1": (1.0, 0.0)},
    "classification": {"held_1": (1.0, 0.0), "learned": (1.0, 1.0), "learned_from_0.5": (0.5, 1.0)},
}
"""beta of the hidden layer at the start, and 1 if it is learned; the first is the paper's choice."""
JUDGED = {"regression": "median", "classification": "mean"}


def errors(metrics: Mapping[str, np.ndarray], problem: str, choice: str, beta: str | None = None) -> np.ndarray:
    """Error at the end of meta-training by seed and rate of alpha, (seeds, rates).

    Args:
      metrics: of the run.
      problem: "regression" or "classification".
      choice: see `CHOICES`.
      beta: see `BETAS`; the paper's if None.
    """
    values = np.asarray(metrics[f"{problem}/{choice}/{JUDGED[problem]}"])[:, -1]
    betas = list(BETAS[problem])
    count = len(betas) if choice == next(iter(CHOICES[problem])) else 1
    return values.reshape(len(values), -1, count)[..., betas.index(beta) if beta else 0]


def chosen(values: np.ndarray, sign: float = 1.0) -> np.ndarray:
    """Each seed's value at the rate with the least mean over the other seeds (the greatest, if the sign is -1).

    Args:
      values: (seeds, rates), errors or their logarithms; a value that is not finite is worse than all others.
      sign: 1 or -1.

    Returns:
      (seeds,).
    """
    finite = np.where(np.isfinite(values), values, np.inf)
    rows = range(len(finite))
    others = [[k for k in rows if k != seed] or [seed] for seed in rows]
    at = [int(np.argmin(sign * finite[other].mean(0))) for other in others]
    return np.array([values[seed, k] for seed, k in enumerate(at)])


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Errors at the rates that the other seeds choose, and paired gaps: powers of ten, or percent in classification."""
    summary: dict[str, float] = {"no_lifetime_learning": no_lifetime_learning()}
    for problem, choices in CHOICES.items():
        first = next(iter(choices))
        if f"{problem}/{first}/mean" not in metrics:
            continue
        scale, back = (np.log10, lambda x: 10**x) if problem == "regression" else (np.asarray, np.asarray)
        names = {choice: (choice, None) for choice in choices}
        names |= {f"beta/{beta}": (first, beta) for beta in BETAS[problem]}
        final = {name: chosen(scale(errors(metrics, problem, *of))) for name, of in names.items()}
        for name, values in final.items():
            put(summary, f"{problem}/{name}", back(values))
        for choice in choices:
            if choice != first:
                put(summary, f"gap/{problem}/{choice}-{first}", final[choice] - final[first])
        papers = next(iter(BETAS[problem]))
        for beta in BETAS[problem]:
            if beta != papers:
                put(summary, f"gap/{problem}/beta/{beta}-{papers}", final[f"beta/{beta}"] - final[f"beta/{papers}"])
                put(summary, f"gap/{problem}/beta/{papers}-{beta}", final[f"beta/{papers}"] - final[f"beta/{beta}"])
        swept = scale(errors(metrics, problem, first))
        put(summary, f"gap/{problem}/rates/worst-best", chosen(swept, -1.0) - chosen(swept))
        best = int(np.argmin(np.where(np.isfinite(swept), swept, np.inf).mean(0)))
        summary[f"{problem}/best_rate_is_inside"] = float(0 < best < swept.shape[1] - 1)
        betas = np.asarray(metrics[f"{problem}/{first}/beta"])[:, -1].reshape(len(swept), -1, len(BETAS[problem]))
        learned = list(BETAS[problem]).index("learned")
        put(summary, f"{problem}/beta_found", betas[:, best, learned])
    return summary
