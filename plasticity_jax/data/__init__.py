"""Data sets on disk as arrays, and minibatches of them. Apart from `run`, no other room reads or writes files."""

from typing import TYPE_CHECKING

from plasticity_jax.data.datasets import MissingData, load
from plasticity_jax.data.images import by_class, check_disjoint, resize
from plasticity_jax.data.mel_spectrogram import mel_spectrogram
from plasticity_jax.data.minibatches import looking_up, minibatches
from plasticity_jax.data.spoken_digits import SpokenDigits, load_spoken_digits
from plasticity_jax.ops.rooms import suggesting

__all__ = [
    "MissingData",
    "SpokenDigits",
    "by_class",
    "check_disjoint",
    "load",
    "load_spoken_digits",
    "looking_up",
    "mel_spectrogram",
    "minibatches",
    "resize",
]


def __dir__() -> list[str]:
    return list(__all__)


if not TYPE_CHECKING:  # a type checker would take any name to be there
    __getattr__ = suggesting(__name__, __all__)
