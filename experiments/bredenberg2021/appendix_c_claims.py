"""Summary of the measurements on the toy of appendix C, and the claims on it."""

from collections.abc import Callable, Mapping
from statistics import NormalDist

import numpy as np

from experiments.bredenberg2021.appendix_c_cells import EQUALITIES, cells, equalities, lengths, settings
from experiments.bredenberg2021.toy import loss, methods
from experiments.shared.claims import Summary
from plasticity_jax.run import Claim, above, below, put, within

ALARM = 1e-3
"""Probability of rejecting an equality that is true."""
RIVALS = {  # IL and NVI* under the same lambda
    "marginal": ("il_marginal", "nvi_global_c1"),
    "alternating": ("il_alternating", "nvi_alternating_full_c1"),
    "iid": ("il_iid", "nvi_iid_full_c1"),
    "global": ("il_global", "nvi_global_c1"),
}
BOUNDS: Mapping[str, tuple[str, str, Callable[[int], float]]] = {  # L below which NVI* varies less than IL
    "printed": ("il_marginal", "nvi_global_c1", lambda n: 4 * n / (3 * n + 5)),
    "marginal": ("il_marginal", "nvi_global_c1", lambda n: n / (n + 3)),
    "alternating": ("il_alternating", "nvi_alternating_c1", lambda n: 6 * n / (n + 6)),
}


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Worst z of every equality, its limit and its ratio; variances, growth and comparisons at the first setting."""
    summary: dict[str, float] = {}
    ns, (sigma, gap) = lengths(metrics), settings(metrics)[0]
    longest, no_gap = ns[-1], [gap for _, gap in settings(metrics)].index(0)
    for name, pairs in equalities(metrics).items():
        z = np.concatenate([(measured.value - expected) / measured.error for measured, expected in pairs])
        measured, expected = pairs[0]
        here = int(np.flatnonzero(measured.n == ns[1])[0])  # the second n, the first setting
        summary[f"{name}/z_max"] = float(np.abs(z).max())
        summary[f"{name}/z_limit"] = NormalDist().inv_cdf(1 - ALARM / len(z) / 2)
        summary[f"{name}/comparisons"] = len(z)
        summary[f"{name}/ratio"] = float(measured.value[here] / expected[here])
    by_seed = {
        name: np.stack([metrics[f"n={n}/{name}/variance"].mean(1) for n in ns if f"n={n}/{name}/variance" in metrics])
        for name in methods(longest)
    }  # (lengths, seeds, settings)
    for name, values in by_seed.items():
        for n, row in zip(ns[-len(values) :], values, strict=True):
            put(summary, f"{name}/variance,n={n},sigma={sigma:g},D={gap:g}", row[:, 0])
        later = slice(-max(2, len(values) // 2), None)
        slopes = np.polyfit(np.log(ns[later]), np.log(values[later, :, 0]), 1)[0]
        put(summary, f"{name}/slope", slopes)
    for drawn, (il, rival) in RIVALS.items():
        put(summary, f"nvi_over_il/{drawn}", by_seed[rival][-1, :, 0] / by_seed[il][-1, :, 0])
    put(summary, "nvi_over_il/no_loss", (by_seed["nvi_global_c1"] / by_seed["il_marginal"])[:, :, no_gap].max(0))
    for name, (il, rival, bound) in BOUNDS.items():
        il_cells, rival_cells = cells(metrics, il, "variance"), cells(metrics, rival, "variance")
        predicted = il_cells.at(loss) < np.array([bound(int(n)) for n in il_cells.n])
        summary[f"bound/{name}"] = float(np.sum((rival_cells.value < il_cells.value) != predicted))
    return summary


def _equality(name: str, statement: str) -> Claim:
    """Claim by a z-test over all n and settings; for a printed form the measured number is its ratio to the print."""
    printed = name.startswith("eq") and not name.endswith("corrected")

    def measure(summary: Summary) -> tuple[float, bool]:
        holds = summary[f"{name}/z_max"] < summary[f"{name}/z_limit"]
        return summary[f"{name}/ratio" if printed else f"{name}/z_max"], holds

    what = "measured over printed, second n, first setting" if printed else "largest |z|"
    return Claim(name, f"{statement} ({what})", 1 if printed else None, measure, own=name in OWN)


def _growth(summary: Summary) -> tuple[float, bool]:
    difference = summary["nvi_global_c1/slope"] - summary["bp/slope"]
    return difference, difference > 0.5


OWN = ("eq17-online", "il", "nvi-means", "eq32-corrected", "nvi")
"""Those of EQUALITIES that are not in the paper."""
LESS = "NVI* varies less than IL if and only if"
WHERE = "cells of n and setting where it is not so"
CLAIMS = [
    *(_equality(*item) for item in EQUALITIES.items()),
    Claim(
        "nvi-grows",
        "The variance of NVI* grows faster with T than that of BP (slopes of log variance, difference above 0.5)",
        None,
        _growth,
    ),
    *(
        above(
            f"il-below-nvi-{drawn}",
            f"{which}: IL outperforms NVI* (variances, NVI* over IL, largest n, first setting; above 1)",
            None,
            f"nvi_over_il/{drawn}",
            1,
            own=drawn != "marginal",
        )
        for drawn, which in (
            ("marginal", "As printed, lambda marginal for IL, global for NVI*"),
            ("alternating", "Lambda alternating"),
            ("iid", "Lambda iid"),
            ("global", "Lambda global"),
        )
    ),
    below(
        "no-loss", "NVI* outperforms IL and BP as L -> 0 (variances at D = 0, below 1)", None, "nvi_over_il/no_loss", 1
    ),
    *(
        within(f"bound-{name}", f"{statement} ({WHERE})", 0, f"bound/{name}", 0, 0, own=True)
        for name, statement in (
            ("printed", f"{LESS} L < 4T/(3T + 5), T = n, from Eq. 17 and 18"),
            ("marginal", f"Corrected: {LESS} L < n/(n + 3), lambda marginalised for IL"),
            ("alternating", f"Corrected: {LESS} L < 6n/(n + 6), the same alternating lambda, not full"),
        )
    ),
]
