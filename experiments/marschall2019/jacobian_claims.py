"""Claims on DNI(b) of Marschall, Cho & Savin (2019), taken apart.

The paper claims that DNI(b) is worse than DNI and better than fixed W, tested for the code's DNI(b) and for the text's,
which has no random feedback; and that synapses that learn to predict the network give access to its Jacobian. The
claims on the cost of each change, and on guesses that learn nothing, are ours.
"""

from collections.abc import Mapping

from plasticity_jax.run import Claim, gap

FULL, TEXT = "jacobian+tanh+random", "jacobian+tanh"
"""DNI(b) in the code and in the text."""
WORSE = "DNI(b) performs worse than original DNI"
BETTER = "still much better than the fixed-W baseline"
ACCESS = "accessing the Jacobian for learning is possible"
LINEAR = "synapses trained to linearly approximate the network's own dynamics"

Summary = Mapping[str, float]


def cost(change: str, words: str) -> Claim:
    """Claim that a change makes the final loss worse, averaged over the other two changes."""
    statement = f"{words} costs DNI loss (mean of its four paired differences, the other two changes in and out)"
    return gap(f"{change}-costs", statement, None, f"effect/{change}", own=True)


def start_is_nearer_than_zero(summary: Summary) -> bool:
    """Returns whether the initial W_rec, without learning, is nearer to J than no Jacobian is."""
    return summary["watched/start_error"] < 1


CLAIMS = [
    gap("dni_b-worse-than-dni", "Add: DNI(b), as the code has it, ends worse than DNI", WORSE, f"{FULL}-dni"),
    gap("dni_b-beats-fixed", "Add: DNI(b), as the code has it, ends better than fixed W", BETTER, f"fixed-{FULL}"),
    gap("text-worse-than-dni", "Add: DNI(b), as the text has it, ends worse than DNI", WORSE, f"{TEXT}-dni"),
    gap("text-beats-fixed", "Add: DNI(b), as the text has it, ends better than fixed W", BETTER, f"fixed-{TEXT}"),
    cost("jacobian", "A learned Jacobian"),
    cost("tanh", "A tanh in the forecast"),
    cost("random", "Random feedback"),
    gap(
        "nearer-than-zero",
        "The learned Jacobian ends nearer to J than no Jacobian (1 - relative error)",
        ACCESS,
        "watched/lead-on-zero",
        trivial=start_is_nearer_than_zero,
    ),
    gap(
        "nearer-than-start",
        "The learned Jacobian ends nearer to J than its start, W_rec (difference of relative errors)",
        None,
        "watched/lead-on-start",
        own=True,
    ),
    gap(
        "nearer-than-mean",
        "The learned Jacobian ends nearer to J than the running mean of J (difference of relative errors)",
        None,
        "watched/lead-on-mean",
        own=True,
    ),
    gap(
        "passes-credit-on",
        "Credit passed through the learned Jacobian ends nearer in angle to that through J than credit left as it is "
        "(difference of cosines)",
        None,
        "watched/pull-lead-on-identity",
        own=True,
    ),
    gap(
        "predicts",
        "The learned Jacobian predicts the next rates better than the last ones do (1 - ratio of squared errors)",
        LINEAR,
        "watched/lead-on-still",
    ),
]
