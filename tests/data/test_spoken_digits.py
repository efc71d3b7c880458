"""Spoken digits: the frames of synthetic recordings, and facts of the real set."""

import numpy as np
import pytest

from plasticity_jax.data import MissingData, load_spoken_digits, mel_spectrogram
from plasticity_jax.data import spoken_digits as module
from tests.real_data import real


@pytest.fixture
def made(monkeypatch):
    """Three recordings of noise, of 1, 2 and 3 frames."""
    audio = np.random.default_rng(0).integers(-3000, 3000, (3, 500)).astype(np.int16)
    data = {"audio": audio, "length": np.array([100, 200, 500], np.int32), "label": np.array([7, 0, 3], np.int32)}
    monkeypatch.setattr(module, "load", lambda name, split: data)
    return data


def test_recordings_become_frames(made):
    digits = load_spoken_digits("test")
    parts = [mel_spectrogram(audio[:n]) for audio, n in zip(made["audio"], made["length"], strict=True)]
    assert digits.lengths.tolist() == [1, 2, 3]
    assert digits.starts.tolist() == [0, 1, 3]
    assert digits.labels.tolist() == [7, 0, 3]
    assert digits.frames.dtype == np.float32
    np.testing.assert_allclose(digits.scale * digits.frames + digits.floor, np.concatenate(parts), atol=2e-5)
    assert digits.floor == np.concatenate(parts).min()
    assert digits.frames.min() == 0
    assert digits.frames.std() == pytest.approx(1, rel=1e-5)


def test_the_real_recordings_have_the_known_numbers():
    """The numbers of librosa 0.11: 5,713 frames, 21.989 dB, at most 3.638, and beyond 3,500 Hz 86.5 % silence."""
    real("spoken_digit")
    digits = load_spoken_digits("test")
    assert digits.frames.shape == (5713, 128)
    assert len(digits.starts) == len(digits.lengths) == len(digits.labels) == 300
    assert digits.starts[-1] + digits.lengths[-1] == 5713
    assert digits.floor == -80
    assert digits.scale == pytest.approx(21.989, abs=0.005)
    assert digits.frames.max() == pytest.approx(3.638, abs=0.001)
    assert np.mean(digits.frames[:, 85:] == 0) == pytest.approx(0.865, abs=0.002)


def test_a_missing_set_is_named_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(MissingData, match=r"spoken_digit is not in .*TFDS_DATA_DIR") as error:
        load_spoken_digits()
    assert "\n" not in str(error.value)
