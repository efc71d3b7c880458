"""Measures of a rule's credit against the exact credit, computed alongside learning and never part of it."""

from typing import TYPE_CHECKING

from plasticity_jax.diagnostics.alignment import (
    Alignment,
    alignment,
    angle,
    feedback_rank,
    relative_error,
    sign_congruence,
)
from plasticity_jax.diagnostics.alignment_meter import (
    AlignmentMeter,
    MeterState,
    Reading,
    alignment_meter,
    hidden_weights,
)
from plasticity_jax.diagnostics.bias_variance import BiasVariance, Moments, bias_variance, moments, updates_along
from plasticity_jax.diagnostics.comparison import Comparison, comparison
from plasticity_jax.diagnostics.interference import interference
from plasticity_jax.diagnostics.linear_readout import Readout, linear_readout
from plasticity_jax.diagnostics.pattern_overlap import PatternDivergence, PatternOverlap, pattern_overlap
from plasticity_jax.diagnostics.recurrent_alignment import angles_by_lag
from plasticity_jax.diagnostics.video import squared_error, ssim
from plasticity_jax.ops.norms import cosine
from plasticity_jax.ops.rooms import suggesting

__all__ = [
    "Alignment",
    "AlignmentMeter",
    "BiasVariance",
    "Comparison",
    "MeterState",
    "Moments",
    "PatternDivergence",
    "PatternOverlap",
    "Reading",
    "Readout",
    "alignment",
    "alignment_meter",
    "angle",
    "angles_by_lag",
    "bias_variance",
    "comparison",
    "cosine",
    "feedback_rank",
    "hidden_weights",
    "interference",
    "linear_readout",
    "moments",
    "pattern_overlap",
    "relative_error",
    "sign_congruence",
    "squared_error",
    "ssim",
    "updates_along",
]


def __dir__() -> list[str]:
    return list(__all__)


if not TYPE_CHECKING:  # a type checker would take any name to be there
    __getattr__ = suggesting(__name__, __all__)
