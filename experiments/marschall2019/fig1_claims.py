"""Claims on Figure 1 of Marschall, Cho & Savin (2019).

The paper orders RTRL and BPTT, RFLO, DNI, DNI(b) and fixed W. Claims on the other rules and on the discriminating
setting are ours. The trivial baselines are a network that only learns its readout (fixed W), and the best prediction on
Add without knowledge of the input.
"""

from collections.abc import Callable, Mapping

import numpy as np

from experiments.marschall2019.common import EXACT, LABELS, READINGS, RULES, STOCHASTIC, TASKS
from plasticity_jax.run import Claim, above, below, gap

PAIRS = (
    *((worse, better) for worse in ("rflo", "dni") for better in EXACT),
    *(("fixed_recurrent", better) for better in ("rflo", "dni", "dni_b", *EXACT)),
    ("rtrl", "future_facing_bptt"),
    ("dni_b", "dni"),
    *((stochastic, "rtrl") for stochastic in STOCHASTIC),
    *(("rflo", stochastic) for stochastic in STOCHASTIC),
    ("uoro", "fixed_recurrent"),
)
"""(worse, better): paired differences of final losses."""

Summary = Mapping[str, float]


def worse_than(task: str, reading: str, worse: str, *better: str) -> Claim:
    """Claim that a rule ends worse than each of `better`."""
    where = f"{task}/{reading}"
    names = " and ".join(LABELS[one] for one in better)
    fixed = worse == "fixed_recurrent"
    return gap(
        f"{task}-{reading}-{worse}-worse-than-{'-'.join(better)}",
        f"{task.capitalize()}, as {reading}: {LABELS[worse]} ends worse than {names} (least paired gap)",
        None,
        *(f"{where}/{worse}-{one}" for one in better),
        trivial=knowing_nothing_beats_fixed(task, where) if fixed else fixed_is_worse(where, better),
    )


def fixed_is_worse(where: str, better: tuple[str, ...]) -> Callable[[Summary], bool]:
    """Returns a test of whether fixed W, too, ends worse than each of `better`."""
    claim = gap("", "", None, *(f"{where}/fixed_recurrent-{one}" for one in better))
    return lambda summary: bool(claim.measure(summary)[1])


def knowing_nothing_beats_fixed(task: str, where: str) -> Callable[[Summary], bool] | None:
    """Returns a test of whether a prediction without knowledge of the input also beats fixed W; None except for Add."""
    if task != "add":
        return None
    return lambda summary: summary["floor/nothing"] < summary[f"{where}/fixed_recurrent"]


def same_loss(task: str, reading: str) -> Claim:
    """Claim that RTRL and BPTT end within a tenth of RTRL's lead on fixed W."""
    where = f"{task}/{reading}"

    def measure(summary: Summary) -> tuple[float, bool]:
        difference = abs(summary[f"{where}/rtrl-future_facing_bptt"])
        return difference, difference <= 0.1 * summary[f"{where}/fixed_recurrent-rtrl"]

    statement = (
        f"{task.capitalize()}, as {reading}: RTRL and BPTT reach the same loss (gap, at most a tenth of their lead)"
    )
    return Claim(f"{task}-{reading}-rtrl-equals-bptt", statement, None, measure, own=True)


def exact_best(task: str, reading: str) -> Claim:
    """Claim that RTRL and BPTT end below all other rules; a rule that always diverges does not count."""
    where = f"{task}/{reading}"

    def measure(summary: Summary) -> tuple[float, bool]:
        exact = max(summary[f"{where}/{rule}"] for rule in EXACT)
        others = [summary[f"{where}/{rule}"] for rule in RULES if rule not in EXACT]
        lead = float(np.nanmin(others)) - exact
        return lead, lead > 0

    statement = (
        f"{task.capitalize()}, as {reading}: RTRL and BPTT are the best (lead of the worse of them on all others)"
    )
    return Claim(f"{task}-{reading}-exact-best", statement, None, measure)


def near_rtrl(reading: str, rule: str, bound: float) -> Claim:
    """Claim that a stochastic rule ends near RTRL, and below RFLO."""

    where = f"add/{reading}"

    def near(excess: float, lead: float) -> bool:
        return abs(excess) <= bound and lead > 0

    def measure(summary: Summary) -> tuple[float, bool]:
        excess = summary[f"{where}/{rule}-rtrl"]
        return excess, near(excess, summary[f"{where}/rflo-{rule}"])

    def trivial(summary: Summary) -> bool:
        return near(summary[f"{where}/fixed_recurrent-rtrl"], -summary[f"{where}/fixed_recurrent-rflo"])

    statement = f"Add, as {reading}: {LABELS[rule]} ends within {bound} nats of RTRL, and below RFLO (excess over RTRL)"
    return Claim(f"add-{reading}-{rule}-near-rtrl", statement, None, measure, own=True, trivial=trivial)


def above_floor(rule: str, bound: float, kind: Callable[..., Claim]) -> Claim:
    """Claim on a rule's final loss over the entropy floor at the long lags; kind is `above` or `below`."""
    verb = f"stays more than {bound} nats above" if kind is above else f"reaches to within {bound} nats of"
    fixed_claim = kind("", "", None, "long/exact/fixed_recurrent_above_floor", bound)
    return kind(
        f"long-{rule}",
        f"Lags 5 and 9, alpha 1: {LABELS[rule]} {verb} the entropy floor",
        None,
        f"long/exact/{rule}_above_floor",
        bound,
        own=True,
        trivial=lambda summary: bool(fixed_claim.measure(summary)[1]),
    )


CLAIMS = [
    *(
        claim
        for task in TASKS
        for reading in READINGS
        for claim in (
            same_loss(task, reading),
            exact_best(task, reading),
            worse_than(task, reading, "rflo", *EXACT),
            worse_than(task, reading, "dni", *EXACT),
            worse_than(task, reading, "fixed_recurrent", "rflo", "dni"),
            worse_than(task, reading, "dni_b", "dni"),
            worse_than(task, reading, "fixed_recurrent", "dni_b"),
        )
    ),
    *(
        near_rtrl(reading, rule, bound)
        for reading in READINGS
        for rule, bound in (("kf_rtrl", 0.01), ("reverse_kf_rtrl", 0.03), ("uoro", 0.03))
    ),
    gap(
        "mimic-uoro",
        "Mimic: UORO ends worse than fixed W at this rate (paired gap)",
        None,
        "mimic/written/uoro-fixed_recurrent",
        own=True,
    ),
    above_floor("rtrl", 0.01, below),
    above_floor("future_facing_bptt", 0.01, below),
    above_floor("rflo", 0.03, above),
]
