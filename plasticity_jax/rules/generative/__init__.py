"""Rules that learn a model of the stimulus and its inference (Bredenberg et al. 2021), one rule per file."""

from plasticity_jax.rules.generative.impression import impression
from plasticity_jax.rules.generative.neural_variational import neural_variational
from plasticity_jax.rules.generative.reparameterised import reparameterised
from plasticity_jax.rules.generative.schedules import alternating, always, held, independent
from plasticity_jax.rules.generative.wake_sleep import wake_sleep

__all__ = [
    "alternating",
    "always",
    "held",
    "impression",
    "independent",
    "neural_variational",
    "reparameterised",
    "wake_sleep",
]
