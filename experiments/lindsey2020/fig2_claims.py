"""Claims on Figure 2 of Lindsey & Litwin-Kumar (2020).

The gradient-based learner is the paper's, of first order from FLP's weights; claims against the one of second order
are ours. The paper calls the updates in D "larger" and "smaller" without a scale: claims relative to the weights are
ours, and so is the comparison of the control with FLP. The trivial baseline is the best answer without learning in a
life.
"""

from collections.abc import Callable, Mapping

from experiments.lindsey2020.common import ORDERS, not_above
from experiments.lindsey2020.fig2_summary import WEAK
from plasticity_jax.run import Claim, gap

Summary = Mapping[str, float]


def of_both_orders(id: str, statement: str, kind: str, least: float) -> Claim:
    """Claims that a fraction is above a bound in both orders; measured is the lesser of the two."""

    def measure(summary: Summary) -> tuple[float, bool]:
        measured = min(summary[f"{kind}/{order}"] for order in ORDERS)
        return measured, measured > least

    return Claim(id, statement, None, measure)


def diverse_trends(summary: Summary) -> tuple[float, bool]:
    """The lesser of the fractions of rising and of falling layers, in i.i.d. lives."""
    lesser = min(summary["rising/iid"], summary["falling/iid"])
    return lesser, lesser > 0


def learning_nothing_beats(name: str) -> Callable[[Summary], bool]:
    """Returns whether the best answer without learning in the life has a smaller error than a network."""
    return lambda summary: summary["no_lifetime_learning"] < summary[f"error/{name}"]


def learning_nothing_is_worse_than(name: str) -> Callable[[Summary], bool]:
    """Returns whether the best answer without learning in the life has at least the error of a network."""
    return lambda summary: summary["no_lifetime_learning"] >= summary[f"error/{name}"]


UPSTREAM, READOUT = ("third_from_end", "penultimate"), ("readout",)
SIZES = (
    (
        "larger_updates_upstream",
        "norm",
        "",
        UPSTREAM,
        "FLP's updates are larger than the gradient's in each layer but the readout (norm, powers of ten)",
    ),
    ("smaller_updates_of_readout", "norm", "-", READOUT, "and smaller in the readout (norm)"),
    ("larger_relative_upstream", "relative", "", UPSTREAM, "larger upstream, relative to the norm of the weights"),
    ("smaller_relative_of_readout", "relative", "-", READOUT, "and smaller in the readout, relative"),
)
"""Claims on panel D: id, metric, sign, layers and sentence."""

CLAIMS = [
    gap(
        "frozen_features_get_worse",
        "A: with more plastic layers (1, 2, 3), a readout of the frozen initial features does worse",
        None,
        "gap/frozen/2-1",
        "gap/frozen/3-2",
    ),
    gap(
        "two_layers_adapt_better",
        "A: two plastic layers do better than a plastic readout alone",
        None,
        "gap/error/1-2",
        trivial=learning_nothing_beats("iid/reuse"),
    ),
    gap(
        "three_layers_adapt_better",
        "A: three plastic layers do better than two",
        None,
        "gap/error/2-3",
        trivial=learning_nothing_beats("iid/flp2"),
    ),
    not_above(
        "upstream_does_not_help_reuse",
        "Control: FLP upstream of a feature-reuse network whose initial weights are kept does not improve it beyond "
        "feature reuse of as many meta-steps",
        None,
        "gap/error/reuse_longer-upstream",
        trivial=learning_nothing_is_worse_than("iid/reuse_longer"),
    ),
    not_above(
        "upstream_adds_nothing_to_the_readout",
        "Control: nor beyond what further meta-steps of the readout's feedback, alpha and beta give, weights kept",
        None,
        "gap/error/readout-upstream",
        own=True,
        trivial=learning_nothing_is_worse_than("iid/readout"),
    ),
    gap(
        "control_misses_flp",
        "Control: it stays worse than a network that was meta-trained with as many plastic layers from the start",
        None,
        "gap/error/upstream-flp3",
        own=True,
        trivial=learning_nothing_is_worse_than("iid/flp3"),
    ),
    gap(
        "less_interference",
        "B: FLP changes the answers to earlier functions less than the gradient-based learner (powers of ten)",
        None,
        "gap/interference/gradient_warm-flp3",
    ),
    gap(
        "less_interference_than_second_order",
        "B: the same against the gradient-based learner of second order, from scratch",
        None,
        "gap/interference/gradient-flp3",
        own=True,
    ),
    of_both_orders("often_weak", f"C: most cosines with the negative gradient are below {WEAK} in size", "weak", 0.5),
    gap(
        "layers_differ",
        "C: the mean cosine differs between the layers of a network, in both orders",
        None,
        "spread/iid",
        "spread/continual",
    ),
    of_both_orders("some_negative", "C: some layers' updates point against the gradient's, on average", "negative", 0),
    not_above(
        "no_upward_trend",
        "C: the cosine does not rise in the course of a life, in either order (mean over layers of slope times steps)",
        None,
        "rise/iid/mean",
        "rise/continual/mean",
    ),
    Claim(
        "diverse_trends",
        "C: i.i.d., it rises in some layers and falls in others (the lesser of the two fractions)",
        None,
        diverse_trends,
    ),
    gap(
        "periodic",
        "C: continual, it has the blocks' period: autocorrelation there, above that half a block away on both sides",
        None,
        "periodicity",
    ),
    *(
        gap(
            f"{word}{ending}",
            f"D: {sentence}{against}",
            None,
            *(f"{sign}{metric}/{other}/{layer}" for layer in places),
            own=metric == "relative" or other == "gradient",
        )
        for other, ending, against in (
            ("gradient_warm", "", ""),
            ("gradient", "_than_second_order", "; against the learner of second order"),
        )
        for word, metric, sign, places, sentence in SIZES
    ),
]
