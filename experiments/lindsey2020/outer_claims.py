"""Claims on section 8 of Lindsey & Litwin-Kumar (2020), which conjectures, and measures nothing.

Only the paper's conjectures are marked as its claims. The trivial baseline is the best answer without learning in life.
"""

from collections.abc import Callable, Mapping

from experiments.lindsey2020.common import not_above
from plasticity_jax.run import Claim, gap

Summary = Mapping[str, float]


def learning_nothing_beats(name: str) -> Callable[[Summary], bool]:
    """Returns whether the best answer without learning in the life has a smaller error than a network."""
    return lambda summary: summary["no_lifetime_learning"] < summary[f"{name}/0"]


def learns(name: str, words: str) -> Claim:
    """Claim that errors are below the best without learning in the life."""
    statement = f"{words}: networks learn in their lives, their error is below the best without, powers of ten"
    return gap(f"{name}_learns", statement, None, f"gap/nothing-{name}", own=True)


def keeps(name: str, words: str) -> Claim:
    """Claim that errors in the longest lives are finite, and not above those in lives of meta-training."""
    rise = not_above("", "", None, f"gap/{name}/longer-shorter")

    def measure(summary: Summary) -> tuple[float, bool | None]:
        measured, holds = rise.measure(summary)
        lost = summary[f"{name}/diverged"]
        return (measured, holds) if not lost else (float("inf"), False)

    statement = f"{words}: the error in the longest lives is not greater than in those of meta-training, powers of ten"
    return Claim(f"{name}_keeps_in_longer_lives", statement, None, measure, own=True)


CLAIMS = [
    learns("flp", "FLP by the exact meta-gradient"),
    gap(
        "meta_learned_rule_pays",
        "A meta-learned rule of the family is better than FLP's, from which it started (8.1: could provide advantages)",
        None,
        "gap/flp-taylor",
        trivial=learning_nothing_beats("flp"),
    ),
    gap(
        "plastic_feedback_pays",
        "Plastic feedback is better than fixed feedback",
        None,
        "gap/flp-plastic_feedback",
        own=True,
        trivial=learning_nothing_beats("flp"),
    ),
    learns("plastic_feedback", "Plastic feedback"),
    learns("es", "Evolution strategies (8.2: alternatives to backpropagation)"),
    learns("pes", "Persistent evolution strategies"),
    learns("truncated", "Truncated backpropagation"),
    gap(
        "exact_beats_es",
        "After as many lives in sequence, the exact meta-gradient is better than evolution strategies",
        None,
        "gap/es-flp",
        own=True,
        trivial=learning_nothing_beats("es"),
    ),
    gap(
        "exact_beats_truncated",
        "It is better than truncation",
        None,
        "gap/truncated-flp",
        own=True,
        trivial=learning_nothing_beats("truncated"),
    ),
    gap(
        "pes_beats_es",
        "Persistent evolution strategies are better than evolution strategies",
        None,
        "gap/es-pes",
        own=True,
        trivial=learning_nothing_beats("es"),
    ),
    *(
        keeps(name, words)
        for name, words in (("flp", "FLP"), ("plastic_feedback", "plastic feedback"), ("taylor", "the family"))
    ),
]
