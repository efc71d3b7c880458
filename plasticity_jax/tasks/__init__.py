"""Tasks as endless streams of batches, generated on the device from a key."""

from typing import TYPE_CHECKING

from plasticity_jax.ops.rooms import suggesting
from plasticity_jax.tasks.add import add, add_entropy_floors, check_lags
from plasticity_jax.tasks.delayed_xor import check_delays, delayed_xor, delayed_xor_bounds, responses
from plasticity_jax.tasks.episodes import Order, episode_stream
from plasticity_jax.tasks.evidence_accumulation import evidence_accumulation, evidence_levels, evidence_steps
from plasticity_jax.tasks.few_shot import few_shot
from plasticity_jax.tasks.incremental_sines import incremental_sines, no_lifetime_learning, predict_zero
from plasticity_jax.tasks.mimic import mimic
from plasticity_jax.tasks.moving_mnist import Scene, moving_mnist, render
from plasticity_jax.tasks.ou_mixture import ou_mixture, ou_moments
from plasticity_jax.tasks.pattern_generation import pattern_generation
from plasticity_jax.tasks.spoken_digits import spoken_digits
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.tasks.windows import windows

__all__ = [
    "Order",
    "Scene",
    "Stream",
    "add",
    "add_entropy_floors",
    "check_delays",
    "check_lags",
    "delayed_xor",
    "delayed_xor_bounds",
    "episode_stream",
    "evidence_accumulation",
    "evidence_levels",
    "evidence_steps",
    "few_shot",
    "incremental_sines",
    "mimic",
    "moving_mnist",
    "no_lifetime_learning",
    "ou_mixture",
    "ou_moments",
    "pattern_generation",
    "predict_zero",
    "render",
    "responses",
    "spoken_digits",
    "windows",
]


def __dir__() -> list[str]:
    return list(__all__)


if not TYPE_CHECKING:  # a type checker would take any name to be there
    __getattr__ = suggesting(__name__, __all__)
