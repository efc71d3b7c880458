"""Recordings of spoken digits, or synthetic ones, as frames on the device."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from plasticity_jax.data import SpokenDigits, load_spoken_digits
from plasticity_jax.data.mel_spectrogram import MELS
from plasticity_jax.typing import Array


class Sounds(NamedTuple):
    """Both splits on the device.

    Attributes:
      frames: (N, 128), of training and of test.
      recordings: (N,), the recording that each frame belongs to, likewise.
      labels: (files,), the digits, likewise.
    """

    frames: tuple[Array, Array]
    recordings: tuple[Array, Array]
    labels: tuple[Array, Array]


def load(data: str) -> tuple[SpokenDigits, SpokenDigits]:
    """Training and test split of a data set by name.

    Raises:
      ValueError: if the set is not known.
      MissingData: if it is not on this machine.
    """
    if data == "made":
        return made_sounds(100, 0), made_sounds(40, 1)
    if data != "spoken_digit":
        raise ValueError(f"data={data!r} is not known; use 'spoken_digit' or 'made' (which needs no files)")
    return load_spoken_digits("train"), load_spoken_digits("test")


def made_sounds(recordings: int, seed: int) -> SpokenDigits:
    """Recordings of ten synthetic words, each with two gliding resonances of its own; no two recordings are alike."""
    rng = np.random.default_rng(seed)
    words = np.random.default_rng(0).uniform(5, 95, (10, 2, 2))  # word, resonance, begin or end
    labels, lengths = np.arange(recordings, dtype=np.int32) % 10, rng.integers(8, 13, recordings, dtype=np.int32)
    parts = []
    for label, length in zip(labels, lengths, strict=True):
        at = np.linspace(0, 1, length)[:, None]
        centres = words[label, :, 0] + at * (words[label, :, 1] - words[label, :, 0]) + rng.normal(0, 2, 2)
        bumps = np.exp(-(((np.arange(MELS) - centres[:, :, None]) / 10) ** 2) / 2).sum(1)
        parts.append(3 * np.sin(np.pi * (at + 0.1) / 1.2) * bumps + 0.2 * rng.random((length, MELS)))
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int32)
    return SpokenDigits(np.concatenate(parts).astype(np.float32), starts, lengths, labels, 22.0, -80.0)


def sounds_on_device(splits: tuple[SpokenDigits, SpokenDigits]) -> Sounds:
    """Both splits on the device, in JAX's default float type."""
    frames = [jnp.asarray(split.frames, jnp.zeros(()).dtype) for split in splits]
    recordings = [jnp.asarray(np.repeat(np.arange(len(split.lengths)), split.lengths)) for split in splits]
    return Sounds(*(tuple(arrays) for arrays in (frames, recordings, [jnp.asarray(s.labels) for s in splits])))  # pyright: ignore
