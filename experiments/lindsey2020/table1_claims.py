"""Claims on Table 1 of Lindsey & Litwin-Kumar (2020).

The paper has no learner of second order, does not compare the first-order one from scratch with FLP, and does not state
how low an error can be without learning in a life: those claims are ours. That bound is also the trivial baseline of
claims that one learner beats another.
"""

from collections.abc import Callable, Mapping

from experiments.lindsey2020.common import ORDERS, WORDS, not_above
from experiments.lindsey2020.table1_summary import NAMES, PAPER
from plasticity_jax.run import Claim, gap, t_value
from plasticity_jax.run.summary import mean_in

Summary = Mapping[str, float]


def learning_nothing_beats(*names: str) -> Callable[[Summary], bool]:
    """Returns whether the best answer without learning in the life has a smaller error than each of these learners."""
    return lambda summary: all(summary["no_lifetime_learning"] < summary[name] for name in names)


def gaps(id: str, statement: str, *pairs: str, own: bool = False) -> Claim:
    """Claims that the worse learner of each pair, order/worse-better, has the greater error, in powers of ten."""
    worse = [pair.partition("-")[0] for pair in pairs]
    trivial = learning_nothing_beats(*worse)
    return gap(id, statement, None, *(f"gap/{pair}" for pair in pairs), own=own, trivial=trivial)


def learns(order: str) -> Claim:
    """Claim that plastic layers learn in a life: their error is, at 95 %, below the best without learning."""

    def measure(summary: Summary) -> tuple[float, bool | None]:
        error = mean_in(summary, f"{order}/flp2")
        if error.seeds == 1:
            return error.value, None
        return error.value, error.value + t_value(error.seeds) * error.sem < summary["no_lifetime_learning"]

    statement = f"{order}: FLP(2) learns in its life: its error is below that of the best answer without learning"
    return Claim(f"learns_{order}", statement, None, measure, own=True, trivial=predicting_zero_is_below)


def predicting_zero_is_below(summary: Summary) -> bool:
    """Returns whether 0 as the answer to everything has a smaller error than the best answer without learning."""
    return summary["predict_zero"] < summary["no_lifetime_learning"]


def on_a_par(summary: Summary) -> tuple[float, bool]:
    """Ratio of the errors' geometric means over seeds."""
    ratio = 10 ** summary["gap/iid/gradient_warm-flp3"]
    return ratio, 1 / 2 < ratio < 2


def learning_nothing_is_on_a_par(summary: Summary) -> bool:
    """Returns whether the best answer without learning in the life is within that factor, too."""
    return 1 / 2 < summary["no_lifetime_learning"] / summary["iid/flp3"] < 2


def printed(order: str, method: str, paper: float) -> Claim:
    """Claim that an error of the table is reached and no life diverges; open on other problems, or with fewer lives."""

    def measure(summary: Summary) -> tuple[float, bool | None]:
        if not summary["full_problem"]:
            return float("nan"), None
        error = summary[f"{order}/{method}/mean"]
        return error, error <= paper and not summary[f"{order}/{method}/diverged"]

    statement = f"{NAMES[method]}, {WORDS[order]}: the printed error or less, mean over lives (full problem)"
    return Claim(
        f"printed_{order}_{method}",
        statement,
        paper,
        measure,
        trivial=lambda summary: summary["no_lifetime_learning"] <= paper,
    )


CLAIMS = [
    learns("iid"),
    learns("continual"),
    gaps(
        "deep_plasticity_pays_iid",
        "i.i.d.: plastic hidden layers beat feature reuse",
        "iid/reuse-flp2",
        "iid/reuse-flp3",
    ),
    gaps(
        "deep_plasticity_pays_continual",
        "continual: plastic hidden layers beat feature reuse",
        "continual/reuse-flp2",
        "continual/reuse-flp3",
    ),
    gaps("three_beat_two_iid", "i.i.d.: FLP (3) is better than FLP (2)", "iid/flp2-flp3"),
    gaps("two_beat_three_continual", "continual: FLP (2) is better than FLP (3)", "continual/flp3-flp2"),
    Claim(
        "gradient_matches_iid",
        "i.i.d.: the gradient-based learner (first order, from FLP) is on a par with FLP (3), within a factor of 2",
        None,
        on_a_par,
        trivial=learning_nothing_is_on_a_par,
    ),
    gaps(
        "flp_beats_gradient_continual",
        "continual: FLP (2) beats the gradient-based learner, as the authors had it (first order, from FLP)",
        "continual/gradient_warm-flp2",
    ),
    gaps(
        "flp_beats_second_order_continual",
        "continual: FLP (2) beats the gradient-based learner of second order",
        "continual/gradient_second-flp2",
        own=True,
    ),
    gaps(
        "flp_beats_gradient_from_scratch",
        "FLP (2) beats the first-order learner from scratch, on both orders",
        "iid/gradient_first-flp2",
        "continual/gradient_first-flp2",
        own=True,
    ),
    not_above(
        "naive_gradient_is_reuse",
        "i.i.d.: from scratch, the first-order learner does not exceed feature reuse (appendix B.2)",
        None,
        "gap/iid/reuse-gradient_first",
        trivial=lambda summary: summary["no_lifetime_learning"] >= summary["iid/reuse"],
    ),
    gaps(
        "warm_start_helps",
        "Starting from FLP's weights improves the first-order learner, on both orders (appendix B.2)",
        "iid/gradient_first-gradient_warm",
        "continual/gradient_first-gradient_warm",
    ),
    gaps(
        "second_order_helps",
        "Second order improves the gradient-based learner from scratch, on both orders",
        "iid/gradient_first-gradient_second",
        "continual/gradient_first-gradient_second",
        own=True,
    ),
    gaps("oml_is_worst", "OML is worse than feature reuse, on both orders", "iid/oml-reuse", "continual/oml-reuse"),
    gaps(
        "baseline_beats_oml",
        "The gradient-based learner (first order, from FLP) exceeds the unmodified OML, on both orders",
        "iid/oml-gradient_warm",
        "continual/oml-gradient_warm",
    ),
    *(printed(order, method, value) for order in ORDERS for method, value in PAPER[order].items()),
]
