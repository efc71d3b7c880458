"""Learning rules, one per file, in four wings that do not know each other."""

from plasticity_jax.rules import feedback, generative, hebbian, online

__all__ = ["feedback", "generative", "hebbian", "online"]
