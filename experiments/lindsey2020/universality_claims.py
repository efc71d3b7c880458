"""Numbers and claims on the universality theorem of Lindsey & Litwin-Kumar (2020).

The trivial baseline is the network before it learns, with counts of 0; for the smoother it is the mean of the training
set's y.
"""

from collections.abc import Callable, Mapping

import numpy as np

from experiments.lindsey2020.construction import PRINTS
from experiments.shared.claims import all_within
from plasticity_jax.run import Claim, gap, put, within

RULES = ("hebb", "oja")
NAMES = {"hebb": "Hebb's rule", "oja": "Oja's rule"}
HALF = 0.5
"""Counts that are nearer than this round to the right ones."""


def slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Exponent of y (seeds, n) as a power of x (n,), from the two smallest x: (seeds,)."""
    last = np.argsort(x)[:2]
    rise = np.log(y[:, last[1]]) - np.log(y[:, last[0]])
    return rise / (np.log(x[last[1]]) - np.log(x[last[0]]))


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Errors of counts, the share of lives and queries after which all counts are right, exponents, and the smoother's.

    All are over seeds, which are training sets.
    """
    summary: dict[str, float] = {}
    for rule in RULES:
        errors = metrics[f"values/{rule}/error"]
        for k, J in enumerate(metrics["values/J"]):
            put(summary, f"error/{rule}/{J}", errors[:, -1, k])
        put(summary, f"right/{rule}", share_right(errors))
        put(summary, f"shields/{rule}/error", metrics[f"shields/{rule}/error"].max(1))
        put(summary, f"shields/{rule}/right", share_right(metrics[f"shields/{rule}/error"]))
        put(summary, f"exponent/equations/{rule}", slope(metrics["alpha/alpha"], metrics[f"equations/{rule}/rest"]))
    put(summary, "exponent/epsilon", slope(metrics["epsilon/epsilon"], metrics["epsilon/error"]))
    for slips in PRINTS:
        put(summary, f"right/print/{slips}", share_right(metrics[f"print/{slips}/error"]))
    put(summary, "right/untrained", share_right(metrics["untrained/error"]))

    J = metrics["smoother/J"]
    for name in ("flp", "binned", "mean"):
        for k, values in enumerate(J):
            put(summary, f"smoother/{name}/{values}", metrics[f"smoother/{name}"][:, k])
    flp = metrics["smoother/flp"]
    put(summary, "gap/smoother/coarse-fine", flp[:, 0] - flp[:, -1])
    put(summary, "gap/smoother/mean-flp", metrics["smoother/mean"][:, -1] - flp[:, -1])
    put(summary, "smoother/beyond", np.abs(flp - metrics["smoother/binned"]).max(1))
    return summary


def share_right(errors: np.ndarray) -> np.ndarray:
    """Share of the counts of each seed whose nearest whole number is right; NaN if one is not a number."""
    right = np.where(np.isnan(errors), np.nan, errors < HALF)
    return right.reshape(len(errors), -1).mean(1)


def nothing_learned(summary: Mapping[str, float]) -> bool:
    """Returns whether counts of 0 are right for every query and after every example."""
    return summary["right/untrained"] == 1


def right(id: str, statement: str, *names: str, own: bool = False) -> Claim:
    """Claim that all counts are right, for every query, after every example, in every training set."""
    return all_within(id, statement, None, 1.0, 1.0, *names, own=own, trivial=nothing_learned)


def only(slips: str) -> Callable[[Mapping[str, float]], tuple[float, bool]]:
    """``summary -> (share of counts that are right with these slips left in, whether some are not)``."""
    return lambda summary: (summary[f"right/print/{slips}"], summary[f"right/print/{slips}"] < 1)


CLAIMS = [
    right(
        "training_set_is_read",
        "The training set and x* are decoded from z*, by either rule, for every J, x* and number of examples (mended)",
        *(f"right/{rule}" for rule in RULES),
    ),
    right(
        "as_printed",
        "They are, with the matrices and the decoding as printed (equations 6 and 7)",
        "right/print/printed",
    ),
    Claim(
        "block_alone",
        "The block of equation 6 in every G is enough to make counts wrong",
        None,
        only("block"),
        own=True,
    ),
    Claim(
        "layers_alone",
        "J^2 matrices for J^2 pairs are enough to make counts wrong",
        None,
        only("layers"),
        own=True,
    ),
    right(
        "shielded",
        "They are with shields and presynaptic activity after feedback, as in the proof",
        *(f"shields/{rule}/right" for rule in RULES),
    ),
    all_within(
        "equations",
        "Equations 1 to 3: what z* has beyond them falls as alpha^2, by either rule (exponent 1.9 to 2.1)",
        2.0,
        1.9,
        2.1,
        *(f"exponent/equations/{rule}" for rule in RULES),
    ),
    within(
        "epsilon",
        "The error that makes the G invertible falls as epsilon^2 (exponent 1.9 to 2.1)",
        None,
        "exponent/epsilon",
        1.9,
        2.1,
        own=True,
    ),
    gap(
        "any_precision",
        "A learning algorithm of real numbers, a smoother, is nearer the finer x and y are told apart",
        None,
        "gap/smoother/coarse-fine",
    ),
    gap(
        "better_than_mean",
        "Where they are told apart finest, it is nearer than the mean of the y met",
        None,
        "gap/smoother/mean-flp",
        own=True,
    ),
    Claim(
        "only_bins_cost",
        "All of its error is that of telling few x and y apart: the true counts give the same, to 1e-6",
        None,
        lambda summary: (summary["smoother/beyond"], summary["smoother/beyond"] < 1e-6),
        own=True,
    ),
]
