"""Local rules of pre- and postsynaptic activity (Lindsey & Litwin-Kumar 2020), one rule per file."""

from plasticity_jax.rules.hebbian.bcm import bcm
from plasticity_jax.rules.hebbian.common import Activity, local_rule
from plasticity_jax.rules.hebbian.flp import flp, flp_feedback
from plasticity_jax.rules.hebbian.hebb import hebb
from plasticity_jax.rules.hebbian.oja import oja
from plasticity_jax.rules.hebbian.plastic_feedback import plastic_feedback
from plasticity_jax.rules.hebbian.taylor import flp_terms, taylor
from plasticity_jax.rules.hebbian.three_factor import three_factor

__all__ = [
    "Activity",
    "bcm",
    "flp",
    "flp_feedback",
    "flp_terms",
    "hebb",
    "local_rule",
    "oja",
    "plastic_feedback",
    "taylor",
    "three_factor",
]


def __dir__() -> list[str]:
    return list(__all__)
