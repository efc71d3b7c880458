"""Rules that learn a generative model of the stimulus and its inference, one per file.

They are those of Bredenberg et al. (2021), and `adversarial` of Benjamin & Kording (2021).
"""

from plasticity_jax.rules.generative.adversarial import adversarial
from plasticity_jax.rules.generative.impression import impression
from plasticity_jax.rules.generative.neural_variational import neural_variational
from plasticity_jax.rules.generative.reparameterised import reparameterised
from plasticity_jax.rules.generative.schedules import Schedule, alternating, always, held, independent
from plasticity_jax.rules.generative.wake_sleep import wake_sleep

__all__ = [
    "Schedule",
    "adversarial",
    "alternating",
    "always",
    "held",
    "impression",
    "independent",
    "neural_variational",
    "reparameterised",
    "wake_sleep",
]


def __dir__() -> list[str]:
    return list(__all__)
