"""Claims on Table 2 of Lindsey & Litwin-Kumar (2020).

The paper has no learner of second order, and no untrained features: claims on them are ours. A plastic readout of
untrained features is also the trivial baseline.
"""

from collections.abc import Callable, Mapping

from experiments.lindsey2020.common import ORDERS, WORDS, not_above
from experiments.lindsey2020.table2_summary import NAMES, PAPER, PLASTIC
from plasticity_jax.run import Claim, gap

PAR = 1.25
"""Factor within which two errors are on a par."""

Summary = Mapping[str, float]


def untrained_beats(name: str) -> Callable[[Summary], bool]:
    """Returns whether a plastic readout of untrained features has a smaller error than a learner, "order/method"."""
    order = name.partition("/")[0]
    return lambda summary: summary[f"{order}/untrained"] < summary[name]


def beats(id: str, statement: str, pair: str, *, own: bool = False) -> Claim:
    """Claims that the worse learner of a pair, order/worse-better, has the greater error, in percent of the answers."""
    return gap(id, statement, None, f"gap/{pair}", own=own, trivial=untrained_beats(pair.partition("-")[0]))


def parity(method: str) -> Callable[[Summary], tuple[float, bool]]:
    """``summary -> (ratio of a learner's error and that of the first-order one, whether they are on a par)``."""

    def measure(summary: Summary) -> tuple[float, bool]:
        ratio = summary[f"iid/{method}"] / summary["iid/gradient_first"]
        return ratio, 1 / PAR < ratio < PAR

    return measure


NO_COST = not_above("", "", None, "gap/continual-iid/untrained")


def printed(column: str, method: str) -> Claim:
    """Claim that an error of the table is reached; open on a problem that is not the column's, or after fewer lives."""
    order = "iid" if column == "mini_imagenet" else column

    def error(summary: Summary, method: str) -> float | None:
        if bool(summary["mini_imagenet"]) != (column == "mini_imagenet") or not summary["full_problem"]:
            return None
        return summary[f"{order}/{method}"]

    def measure(summary: Summary) -> tuple[float, bool | None]:
        measured = error(summary, method)
        return (float("nan"), None) if measured is None else (measured, measured <= PAPER[column][method])

    def trivial(summary: Summary) -> bool:
        measured = error(summary, "untrained")
        return measured is not None and measured <= PAPER[column][method]

    statement = f"{NAMES[method]}, {WORDS[column]}: the printed error or less (full problem), in percent"
    return Claim(f"printed_{column}_{method}", statement, PAPER[column][method], measure, trivial=trivial)


CLAIMS = [
    gap(
        "learns",
        "Both orders: FLP (2) answers better than chance, and than a plastic readout of untrained features",
        None,
        *(f"gap/{order}/{base}-flp2" for order in ORDERS for base in ("chance", "untrained")),
        own=True,
    ),
    beats("deep_plasticity_pays_iid", "i.i.d.: FLP (2) beats feature reuse", "iid/reuse-flp2"),
    beats("deep_plasticity_pays_continual", "continual: FLP (2) beats feature reuse", "continual/reuse-flp2"),
    Claim(
        "gradient_matches_iid",
        "i.i.d.: FLP (2) is on a par with the gradient-based learner (first order), within a factor of 1.25",
        3.0 / 3.2,
        parity("flp2"),
        trivial=lambda summary: parity("untrained")(summary)[1],
    ),
    beats(
        "flp_beats_gradient_continual",
        "continual: FLP (2) beats the gradient-based learner, as the authors had it (first order)",
        "continual/gradient_first-flp2",
    ),
    beats(
        "flp_beats_second_order_continual",
        "continual: FLP (2) beats the gradient-based learner of second order",
        "continual/gradient_second-flp2",
        own=True,
    ),
    not_above(
        "continual_is_free",
        "FLP (2): the continual order costs nothing, in percent",
        2.7 - 3.0,
        "gap/continual-iid/flp2",
        trivial=lambda summary: bool(NO_COST.measure(summary)[1]),
    ),
    beats(
        "baseline_beats_oml_iid",
        "i.i.d.: the gradient-based learner (first order) exceeds the unmodified OML",
        "iid/oml-gradient_first",
    ),
    beats(
        "baseline_beats_oml_continual",
        "continual: the gradient-based learner (first order) exceeds the unmodified OML",
        "continual/oml-gradient_first",
    ),
    beats(
        "oml_beats_reuse_iid",
        "i.i.d.: the unmodified OML beats feature reuse (Omniglot)",
        "iid/reuse-oml",
    ),
    beats(
        "reuse_beats_oml_continual",
        "continual: feature reuse beats the unmodified OML (Omniglot)",
        "continual/oml-reuse",
    ),
    *(printed(column, method) for column, row in PAPER.items() for method in row if method in PLASTIC),
]
