"""Recordings of spoken digits, or synthetic ones, as trials of different lengths, split into training and test."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import eval_context

from plasticity_jax.data import load, minibatches
from plasticity_jax.data.mel_spectrogram import HOP, MELS, RATE, mel_spectrogram
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key, PyTree

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
DIGITS = 10
JUDGES = 5
"""Number of recordings of each speaker and digit, the first ones, in the customary test."""
FRAME = 1000 * HOP / RATE
"""Length of a frame in milliseconds."""
MERGED, BANDS = 3, 30
"""Mels in a band, and number of bands, up to the 4 kHz of recordings at 8 kHz."""
MADE_SPEAKERS, MADE_TAKES, MADE_FRAMES = 3, 10, 12


class Sounds(NamedTuple):
    """Recordings by speaker, digit and take, end to end in that order, cut or padded to the same number of frames.

    Attributes:
      x: (N, S, bands), input of a network; 0 after the end.
      length: (N,), int32, number of frames.
      speakers: number of speakers.
      takes: number for each digit and speaker.
    """

    x: Array
    length: Array
    speakers: int
    takes: int

    def digit(self, index: Array) -> Array:
        """The digits spoken in recordings."""
        return index // self.takes % DIGITS

    def trials(self, index: Array) -> Example:
        """Recordings (B,) as trials, leaves (B, S, ...).

        A trial starts with its first frame. Its digit is due in the second half of the recording, whose frames share a
        weight of 1; the weight is 0 before that half and after the end.
        """
        x, length = self.x[index], self.length[index][:, None]
        at = jnp.broadcast_to(jnp.arange(x.shape[1]), x.shape[:2])
        due = (at >= length // 2) & (at < length)
        weight = due / (length - length // 2).astype(x.dtype)
        return Example(x, jnp.broadcast_to(self.digit(index)[:, None], at.shape), at == 0, weight.astype(x.dtype))

    def indices(self, speaker: Array, first: int, last: int) -> Array:
        """All recordings by speakers (k,) with takes from `first` up to, not including, `last`."""
        begin = (speaker[:, None] * DIGITS + jnp.arange(DIGITS)) * self.takes
        return (begin[..., None] + jnp.arange(first, last)).reshape(-1)

    def roles(self, left_out: Array, held: int) -> tuple[Array, Array, Array]:
        """Recordings for training, for tests with the same speakers, and for tests with the speaker who is left out.

        Args:
          left_out: (), the speaker without recordings in training.
          held: number of takes after the first five that are held out of training and replace them in the test.
        """
        others = (left_out + 1 + jnp.arange(self.speakers - 1)) % self.speakers
        test_takes = (JUDGES, JUDGES + held) if held else (0, JUDGES)
        training_set = self.indices(others, JUDGES + held, self.takes)
        return training_set, self.indices(others, *test_takes), self.indices(left_out[None], 0, self.takes)


class Listening(NamedTuple):
    """State of the stream. Attributes: left_out: (), int32, see `Sounds.roles`. draw: of the recordings."""

    left_out: Array
    draw: PyTree


def listening(sounds: Sounds, held: int, batch: int) -> Stream:
    """Batches of trials, leaves (steps, B, S, ...): recordings from the training set, with one speaker left out."""
    draws = minibatches((sounds.speakers - 1) * DIGITS * (sounds.takes - JUDGES - held), batch)

    def init(key: Key) -> Listening:
        key_speaker, key_draw = jax.random.split(key)
        return Listening(jax.random.randint(key_speaker, (), 0, sounds.speakers, jnp.int32), draws.init(key_draw))

    def take(state: Listening, steps: int) -> tuple[Listening, Example]:
        draw, index = draws.take(state.draw, steps)
        recordings = sounds.roles(state.left_out, held)[0][index]
        return state._replace(draw=draw), jax.vmap(sounds.trials)(recordings)  # pyright: ignore[reportArgumentType]

    return Stream(init, take)


@eval_context()  # a sweep traces the function that makes the parts
def sounds_of(data: str, frames: int) -> Sounds:
    """A data set by name, on the device, in JAX's default float.

    Args:
      data: "spoken_digit", or "made" (gliding resonances, which need no files).
      frames: S, after which a recording is cut.

    Raises:
      ValueError: if the data set is unknown or incomplete.
      MissingData: if the data set is not on this machine.
    """
    if data == "made":
        parts, speakers, takes = made(), MADE_SPEAKERS, MADE_TAKES
    elif data == "spoken_digit":
        parts, speakers, takes = recorded(), len(SPEAKERS), 50
    else:
        raise ValueError(f"data={data!r} is not known; use 'spoken_digit' or 'made' (which needs no files)")
    if sorted(parts) != [(s, d, t) for s in range(speakers) for d in range(DIGITS) for t in range(takes)]:
        raise ValueError(f"{data} must have {takes} recordings of each digit by each of {speakers} speakers")
    x = np.zeros((len(parts), frames, BANDS))
    for row, name in zip(x, sorted(parts), strict=True):
        row[: len(parts[name])] = scaled_bands(parts[name])[:frames]
    length = np.array([min(frames, len(parts[name])) for name in sorted(parts)], np.int32)
    return Sounds(jnp.asarray(x, jnp.zeros(()).dtype), jnp.asarray(length), speakers, takes)


def scaled_bands(decibels: np.ndarray) -> np.ndarray:
    """A spectrogram (T, mels) from -80 to 0 dB in bands (T, bands) from -2 to 2, by constants, not by statistics."""
    return decibels[:, : MERGED * BANDS].reshape(len(decibels), BANDS, MERGED).mean(-1) / 20 + 2


def recorded() -> dict[tuple[int, int, int], np.ndarray]:
    """Spectrograms of both splits, by (speaker, digit, take)."""
    parts = {}
    for split in ("train", "test"):
        data = load("spoken_digit", split)
        for audio, length, file in zip(data["audio"], data["length"], data["filename"], strict=True):
            digit, speaker, take = str(file).removesuffix(".wav").split("_")
            parts[SPEAKERS.index(speaker), int(digit), int(take)] = mel_spectrogram(audio[:length])
    return parts


def made() -> dict[tuple[int, int, int], np.ndarray]:
    """Spectrograms of ten synthetic words, each with two gliding resonances; speakers differ by some mels."""
    words = np.random.default_rng(0).uniform(10, 80, (DIGITS, 2, 2))  # word, resonance, begin or end
    parts = {}
    for name in np.ndindex(MADE_SPEAKERS, DIGITS, MADE_TAKES):
        speaker, digit, take = map(int, name)
        rng = np.random.default_rng([1, speaker, digit, take])
        length = int(rng.integers(7, MADE_FRAMES + 1))
        at = np.linspace(0, 1, length)[:, None]
        begin, end = words[digit].T
        centres = begin + at * (end - begin) + 3 * speaker + rng.normal(0, 2, 2)
        bumps = np.exp(-(((np.arange(MELS) - centres[:, :, None]) / 6) ** 2) / 2).sum(1)
        parts[speaker, digit, take] = np.minimum(0, 80 * bumps - 80 + 5 * rng.random((length, MELS)))
    return parts
