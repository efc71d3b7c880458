"""Claims on the choices of Lindsey & Litwin-Kumar (2020): feedback, presynaptic activity, rates of alpha, beta.

The trivial baseline of regression is the best answer without learning in the life; that of classification is chance.
"""

from collections.abc import Callable, Mapping

from experiments.lindsey2020.common import not_above
from plasticity_jax.run import Claim, gap

Summary = Mapping[str, float]
CHANCE = 80.0
SIMILAR = {"regression": 2.0, "classification": 1.25}
"""Factors within which two errors are similar, those of `lindsey2020_table1` and `lindsey2020_table2`."""


def learning_nothing_beats(name: str) -> Callable[[Summary], bool]:
    """Returns whether a network that learns nothing in its life has a smaller error."""
    return lambda summary: _nothing(name, summary) < summary[name]


def similar(problem: str) -> Claim:
    """Claim that presynaptic activity after the feedback gives an error similar to that before it."""

    def measure(summary: Summary) -> tuple[float, bool]:
        before = "error" if problem == "regression" else "target"
        ratio = summary[f"{problem}/after"] / summary[f"{problem}/{before}"]
        return ratio, 1 / SIMILAR[problem] < ratio < SIMILAR[problem]

    def trivial(summary: Summary) -> bool:
        before = "error" if problem == "regression" else "target"
        ratio = _nothing(problem, summary) / summary[f"{problem}/{before}"]
        return 1 / SIMILAR[problem] < ratio < SIMILAR[problem]

    return Claim(
        f"presynaptic_{problem}",
        f"{problem}: presynaptic activity from after the feedback gives similar errors, within {SIMILAR[problem]:g}",
        1.0,
        measure,
        trivial=trivial,
    )


def _nothing(name: str, summary: Summary) -> float:
    return summary["no_lifetime_learning"] if name.startswith("regression") else CHANCE


def inside(problem: str) -> Claim:
    """Claim that the best rate has a worse one on either side."""
    name = f"{problem}/best_rate_is_inside"
    return Claim(
        f"alpha_rate_{problem}_inside",
        f"{problem}: the best rate of alpha is inside of those tried",
        None,
        lambda summary: (summary[name], summary[name] == 1),
        own=True,
    )


CLAIMS = [
    gap(
        "errors_for_regression",
        "regression: errors as feedback give a smaller error than targets, powers of ten",
        None,
        "gap/regression/target-error",
        trivial=learning_nothing_beats("regression/target"),
    ),
    gap(
        "targets_for_classification",
        "classification: targets as feedback give a smaller error than errors, percent",
        None,
        "gap/classification/error-target",
        trivial=learning_nothing_beats("classification/error"),
    ),
    *(similar(problem) for problem in SIMILAR),
    *(
        gap(
            f"alpha_rate_matters_{problem}",
            f"{problem}: the rate of alpha matters: the worst of those tried has a greater error than the best",
            None,
            f"gap/{problem}/rates/worst-best",
        )
        for problem in SIMILAR
    ),
    *(inside(problem) for problem in SIMILAR),
    not_above(
        "beta_gains_nothing_in_classification",
        "classification: nothing is gained by learning beta, from 1 or from 0.5, over holding it at 1, percent",
        None,
        "gap/classification/beta/held_1-learned",
        "gap/classification/beta/held_1-learned_from_0.5",
    ),
    gap(
        "beta_pays_in_regression",
        "regression: learning the hidden layer's beta gives a smaller error than holding it at 0.5, powers of ten",
        None,
        "gap/regression/beta/held_0.5-learned",
        own=True,
    ),
    gap(
        "feedback_pays",
        "regression: it gives a smaller error than no feedback to the hidden layer (beta held at 0), powers of ten",
        None,
        "gap/regression/beta/held_0-learned",
        own=True,
        trivial=learning_nothing_beats("regression/beta/held_0"),
    ),
    gap(
        "forward_activity_pays",
        "regression: it gives a smaller error than feedback alone (beta held at 1), powers of ten",
        None,
        "gap/regression/beta/held_1-learned",
        own=True,
    ),
]
