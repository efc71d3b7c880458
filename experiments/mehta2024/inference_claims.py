"""Claims on rules inferred from recordings, after Mehta et al. (2024).

The paper's text was not at hand. Its abstract states, without numbers, that Oja's rule and one with reward-modulated
terms are recovered; the criterion for recovery, and all else, is ours. Settings are those of `summarise`: "0.0" is the
least noise with every neuron observed.
"""

from collections.abc import Callable

from experiments.shared.claims import INF, Summary, clear, named, surely
from plasticity_jax.run import Claim, gap, within

BOTH = ("oja", "reward")
WORDS = {"oja": "Oja's rule", "reward": "The reward-modulated rule"}


def in_every_setting(id: str, statement: str, *patterns: str, **options) -> Claim:
    """Claims that all paired differences that match are above 0, each at 95 % by t; measured is the least."""

    def measure(summary: Summary) -> tuple[float, bool | None]:
        return gap("", "", None, *named(summary, *patterns)).measure(summary)

    return Claim(id, statement, None, measure, own=True, **options)


def clear_in_every_setting(*patterns: str) -> Callable[[Summary], bool]:
    """Returns a check that all of these differences are above 0, by the test of `in_every_setting`."""
    return lambda summary: clear(*named(summary, *patterns))(summary)


def recovered(rule: str) -> list[Claim]:
    """Claims that a rule's terms are found, and their coefficients."""
    return [
        within(
            f"{rule}_terms",
            f"{WORDS[rule]} is recovered: at the least noise, with all neurons observed, its two terms have the two "
            "largest coefficients in every network (share of networks)",
            None,
            f"{rule}/fitted/right_terms/0.0",
            1,
            1,
        ),
        surely(
            f"{rule}_coefficients",
            f"{WORDS[rule]}: there the worse of its two coefficients is significantly within a fifth of the true one",
            None,
            -INF,
            0.2,
            f"{rule}/fitted/worst_true_term/0.0",
            own=True,
        ),
    ]


CLAIMS = [
    *recovered("oja"),
    *recovered("reward"),
    surely(
        "predicts",
        "At the least noise, with all neurons observed, the rule that was found surely explains more than 90 % of the "
        "variance of held-out activity, for both rules (the lesser share)",
        None,
        0.9,
        INF,
        *(f"{rule}/fitted/r2/0.0" for rule in BOTH),
        own=True,
    ),
    surely(
        "predicts_weights",
        "And more than 90 % of that of the weights, which nobody has seen",
        None,
        0.9,
        INF,
        *(f"{rule}/fitted/r2_weights/0.0" for rule in BOTH),
        own=True,
    ),
    in_every_setting(
        "beats_no_plasticity",
        "It explains more of held-out activity than a network without plasticity, for both rules in every setting "
        "(least gain)",
        "gap/*/none-fitted/?.?",
        trivial=clear_in_every_setting("gap/*/none-drift/?.?"),
    ),
    in_every_setting(
        "beats_drift",
        "It explains more than a constant drift of each weight, for both rules in every setting (least gain)",
        "gap/*/drift-fitted/?.?",
    ),
    in_every_setting(
        "reward_is_needed",
        "Of the reward-modulated rule the family with reward explains more than that without, in every setting (least "
        "gain)",
        "gap/reward/blind-fitted/?.?",
    ),
    gap(
        "noise_lowers_prediction",
        "All neurons observed, less of held-out activity (without noise) is explained at the greatest noise than at "
        "the least, for both rules (lesser loss)",
        None,
        *(f"gap/{rule}/noise/r2" for rule in BOTH),
        own=True,
    ),
    gap(
        "noise_blurs_rules",
        "There coefficients are farther from the true ones, for both rules (lesser rise of the relative error)",
        None,
        *(f"gap/{rule}/noise/error" for rule in BOTH),
        own=True,
    ),
    in_every_setting(
        "few_neurons_blur_rules",
        "With the fewest neurons observed coefficients are farther from the true ones than with all, for both rules at "
        "every noise (least rise)",
        "gap/*/share/error/?",
    ),
    gap(
        "penalty_pays",
        "At the greatest noise, all neurons observed, coefficients are nearer to the true ones with the penalty than "
        "without, for both rules (lesser gain)",
        None,
        *(f"gap/{rule}/penalty/error" for rule in BOTH),
        own=True,
    ),
]
