r"""The spoken digits as spectrogram frames, normalised over a split.

    X <- (X + |min X|) / std X        X: all frames of a split, in decibels

Source: Bredenberg et al. (2021), Figure 4 and the authors' code; the Free Spoken Digit Dataset, Jackson et al. (2018).
"""

from typing import Literal, NamedTuple

import numpy as np

from plasticity_jax.data.datasets import load
from plasticity_jax.data.mel_spectrogram import mel_spectrogram


class SpokenDigits(NamedTuple):
    """One split on the host; frames of a recording are contiguous and in order.

    Attributes:
      frames: (N, 128), float32, normalised: 0 is silence.
      starts: (files,), int32, index of the first frame of each recording.
      lengths: (files,), int32, the number of its frames.
      labels: (files,), int32, the digit.
      scale: decibels of a unit of `frames`.
      floor: decibels of 0: ``scale * frames + floor`` is the spectrogram.
    """

    frames: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    scale: float
    floor: float


def load_spoken_digits(split: Literal["train", "test"] = "train") -> SpokenDigits:
    """The recordings as mel spectrograms, each relative to its own loudest entry, normalised over the split.

    Args:
      split: "train", 2,700 recordings, which take some seconds to compute, or "test", 300.

    Returns:
      A `SpokenDigits`, of 52,326 or 5,713 frames.

    Raises:
      ValueError: if the split is not known.
      MissingData: if the set is not prepared, or tensorflow-datasets is not installed.
    """
    data = load("spoken_digit", split)
    parts = [mel_spectrogram(audio[:n]) for audio, n in zip(data["audio"], data["length"], strict=True)]
    decibels = np.concatenate(parts)
    lengths = np.array([len(part) for part in parts], np.int32)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int32)
    scale, floor = float(decibels.std(dtype=np.float64)), float(decibels.min())
    frames = ((decibels - floor) / scale).astype(np.float32)
    return SpokenDigits(frames, starts, lengths, data["label"], scale, floor)
