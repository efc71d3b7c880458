"""Claims on Table 1 of Marschall, Cho & Savin (2019).

The paper's claims are on memory; on updates that need matrix-matrix products (criterion iv), and so on the operations
of the rules that it discusses there; and on the stochastic rules being unbiased. Memory and operations are counted, not
timed: they follow from the arrays' sizes and the compiler's count. The paper also lists the rules that meet all
criteria, but here each rule declares this and the claims only read it. Those claims are therefore ours, like the claims
on other counts of operations and on alignments.
"""

from collections.abc import Mapping

import numpy as np

from experiments.marschall2019.common import ALIGNED, LABELS, STOCHASTIC
from plasticity_jax.run import Claim, below, gap, within

NEARER = {
    "rflo": ("rtrl", "future_facing_bptt"),
    "kernl": ("rtrl", "future_facing_bptt"),
    "kf_rtrl": ("rtrl", "future_facing_bptt"),
    "dni": ("future_facing_bptt", "rtrl"),
}
"""The exact rule that a rule is nearer to, and the other exact rule."""
SETTINGS = ("short", "long")

Summary = Mapping[str, float]


def grows(rule: str, metric: str, power: int, tolerance: float, *, own: bool = False) -> Claim:
    """Claim that a cost grows as a power of the number of neurons."""
    words = {"memory": "numbers carried", "flops": "operations per step"}[metric]
    counted = {"memory": "of its arrays' sizes", "flops": "of the compiler's count"}[metric]
    return within(
        f"{rule}-{metric}",
        f"{LABELS[rule]}: {words} grow as n^{power} (exponent {counted})",
        None if own else f"O(n^{power})",
        f"cost/{rule}/{metric}_exponent",
        power - tolerance,
        power + tolerance,
        own=own,
    )


def unbiased(rule: str) -> Claim:
    """Claim that a stochastic rule's mean is RTRL's gradient."""
    statement = f"{LABELS[rule]} is unbiased at fixed weights (worst seed's RMS of the entries' z, below 2)"
    return below(f"{rule}-unbiased", statement, "unbiased", f"bias/{rule}/z_rms_worst", 2)


def more_aligned(setting: str, rule: str) -> Claim:
    """Claim that a rule's gradient is nearer to one exact rule's than to the other's."""
    nearer, farther = NEARER[rule]
    statement = f"Alignment, {setting} setting: {LABELS[rule]} is nearer to {LABELS[nearer]} than to {LABELS[farther]}"
    return gap(f"align-{setting}-{rule}", statement, None, f"align/{setting}/{rule}~{nearer}-{farther}", own=True)


def matrix_products(summary: Summary) -> tuple[float, bool]:
    """Number of rules with a declaration on matrix-matrix products that disagrees with their operations."""
    exponents = [summary[f"cost/{rule}/flops_exponent"] for rule in ALIGNED]
    counted = [exponent > 2.5 for exponent in exponents]
    declared = [summary[f"plausibility/{rule}/fails_iv"] > 0 for rule in ALIGNED]
    wrong = sum(one != other for one, other in zip(counted, declared, strict=True))
    return wrong, wrong == 0 and not np.isnan(exponents).any()


def kernl_like_rflo(summary: Summary) -> tuple[float, bool]:
    """Alignment of KeRNL and RFLO, the smaller of the two settings'."""
    value = min(summary[f"align/{setting}/kernl~rflo"] for setting in SETTINGS)
    return value, value > 0.9


def uoro_unaligned(summary: Summary) -> tuple[float, bool]:
    """Alignment of UORO and RTRL, the larger of the two settings'."""
    value = max(summary[f"align/{setting}/rtrl~uoro"] for setting in SETTINGS)
    return value, value < 0.15


QUADRATIC = ("rflo", "kernl", "dni", "dni_b", "uoro", "kf_rtrl", "reverse_kf_rtrl")

CLAIMS = [
    grows("rtrl", "memory", 3, 0.1),
    *(grows(rule, "memory", 2, 0.1) for rule in QUADRATIC),
    grows("rtrl", "flops", 4, 0.2, own=True),
    *(grows(rule, "flops", 3, 0.2) for rule in ("kf_rtrl", "reverse_kf_rtrl")),
    *(
        grows(rule, "flops", 2, 0.2, own=rule == "kernl")  # the paper does not discuss KeRNL's operations
        for rule in ("rflo", "kernl", "dni", "dni_b", "uoro")
    ),
    *(unbiased(rule) for rule in STOCHASTIC),
    Claim(
        "criterion-iv",
        "Matrix-matrix products are declared where operations grow faster than n^2.5, and only there (mismatches)",
        None,
        matrix_products,
        own=True,
    ),
    *(more_aligned(setting, rule) for setting in SETTINGS for rule in NEARER),
    Claim("kernl-like-rflo", "KeRNL and RFLO give nearly the same gradient", None, kernl_like_rflo, own=True),
    Claim("uoro-unaligned", "UORO is hardly aligned with RTRL at any one step", None, uoro_unaligned, own=True),
]
