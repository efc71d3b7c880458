"""Credit assignment through separate feedback (Lansdell, Prakash & Kording 2020), one rule per file."""

from plasticity_jax.rules.feedback.backprop import backprop
from plasticity_jax.rules.feedback.common import feedback_rule
from plasticity_jax.rules.feedback.direct_feedback_alignment import direct_feedback_alignment
from plasticity_jax.rules.feedback.feedback_alignment import feedback_alignment
from plasticity_jax.rules.feedback.matching import kolen_pollack, matching
from plasticity_jax.rules.feedback.node_perturbation import node_perturbation
from plasticity_jax.rules.feedback.recurrent_common import windowed_rule
from plasticity_jax.rules.feedback.recurrent_feedback_alignment import recurrent_feedback_alignment
from plasticity_jax.rules.feedback.recurrent_node_perturbation import recurrent_node_perturbation
from plasticity_jax.rules.feedback.sign_symmetry import sign_symmetry
from plasticity_jax.rules.feedback.spsa import spsa
from plasticity_jax.rules.feedback.truncated_to_one_step import truncated_to_one_step
from plasticity_jax.rules.feedback.weight_mirror import weight_mirror
from plasticity_jax.rules.feedback.weight_perturbation import weight_perturbation

__all__ = [
    "backprop",
    "direct_feedback_alignment",
    "feedback_alignment",
    "feedback_rule",
    "kolen_pollack",
    "matching",
    "node_perturbation",
    "recurrent_feedback_alignment",
    "recurrent_node_perturbation",
    "sign_symmetry",
    "spsa",
    "truncated_to_one_step",
    "weight_mirror",
    "weight_perturbation",
    "windowed_rule",
]


def __dir__() -> list[str]:
    return list(__all__)
