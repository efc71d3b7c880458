"""Learning to learn: lifetimes under a scan, and the rules over their meta-parameters, one per file."""

from typing import TYPE_CHECKING

from plasticity_jax.meta.es import es
from plasticity_jax.meta.flp import flp_life
from plasticity_jax.meta.gradient import meta_gradient
from plasticity_jax.meta.lifetime import Life, birth, lifetime, live, outcome
from plasticity_jax.meta.oml import first_order, gradient_life
from plasticity_jax.meta.pes import pes
from plasticity_jax.meta.supervised import supervised_life
from plasticity_jax.meta.truncated import truncated
from plasticity_jax.ops.rooms import suggesting

__all__ = [
    "Life",
    "birth",
    "es",
    "first_order",
    "flp_life",
    "gradient_life",
    "lifetime",
    "live",
    "meta_gradient",
    "outcome",
    "pes",
    "supervised_life",
    "truncated",
]


def __dir__() -> list[str]:
    return list(__all__)


if not TYPE_CHECKING:  # or a type checker would accept any name
    __getattr__ = suggesting(__name__, __all__)
