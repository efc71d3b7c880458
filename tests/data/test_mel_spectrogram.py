"""Mel spectrograms against librosa's numbers; the resampler against sines; refusals.

librosa_mel.npz was made with librosa 0.11.0 (NumPy 2.4.6, soxr 1.1.0), in float64 except for the filters:

    t = np.arange(6000) / 6000
    sweep = 0.6 * np.sin(2 * np.pi * (300 * t + 1100 * t**2)) + 0.2 * np.sin(2 * np.pi * (2400 * t - 900 * t**2))
    noise = 2e-3 * np.random.default_rng(0).standard_normal(6000)
    sound = np.where(t < 0.8, np.sin(np.pi * t / 0.8) ** 2 * sweep + t * noise, 0)
    audio = np.round(2**15 * sound).astype(np.int16)

    def decibels(sound):
        power = librosa.feature.melspectrogram(y=sound, sr=22050, dtype=np.float64)
        return librosa.power_to_db(power, ref=np.max).T.astype(np.float32)

    filters = librosa.filters.mel(sr=22050, n_fft=2048)
    at_22050 = decibels(audio / 2**15)
    at_8000 = decibels(librosa.resample(audio / 2**15, orig_sr=8000, target_sr=22050))
"""

from pathlib import Path

import numpy as np
import pytest

from plasticity_jax.data.mel_spectrogram import mel_filters, mel_spectrogram, resampled


@pytest.fixture(scope="module")
def librosa():
    with np.load(Path(__file__).with_name("librosa_mel.npz")) as stored:
        return dict(stored)


def test_the_filters_equal_librosas(librosa):
    """The tolerance is for librosa, which rounds them to float32 twice."""
    np.testing.assert_allclose(mel_filters(), librosa["filters"], rtol=2**-22, atol=1e-12)


def test_decibels_without_resampling_equal_librosas(librosa):
    """Decibels of up to 80 are rounded to float32: 4e-6 each."""
    decibels = mel_spectrogram(librosa["audio"], 22050)
    np.testing.assert_allclose(decibels, librosa["at_22050"], rtol=0, atol=1e-5, strict=True)
    assert 0.1 < np.mean(decibels == -80) < 0.9


def test_decibels_with_resampling_are_near_librosas(librosa):
    """Leakage at -126 dB is half a percent of an entry at -80 dB: 0.04 dB.

    In the transition band, from 3,652 to 4,000 Hz, two filters of the same edges differ: by 0.2 dB here. SciPy's own
    filter is 15 dB off.
    """
    gap = np.abs(mel_spectrogram(librosa["audio"], 8000) - librosa["at_8000"])
    assert gap.shape == (33, 128)
    assert gap[:, 86:91].max() < 0.3
    assert np.delete(gap, np.s_[86:91], 1).max() < 0.05


@pytest.mark.parametrize("frequency", [50, 1000, 3600])
def test_a_sine_stays_a_sine(frequency):
    """Errors away from the edges are the filter's ripple: 126 dB is 5e-7, for the pass band and for the images."""
    sine = np.sin(2 * np.pi * frequency * np.arange(2001) / 8000)
    expected = np.sin(2 * np.pi * frequency * np.arange(5516) / 22050)
    inner = np.s_[400:-400]  # the filter is 189 samples long at 8,000 Hz
    np.testing.assert_allclose(resampled(sine)[inner], expected[inner], rtol=0, atol=1e-6)


def test_tones_beyond_the_recorded_band_are_removed():
    """An impulse has all frequencies; from 4,000 Hz on they are below -126 dB of the pass band."""
    impulse = np.zeros(2000)
    impulse[1000] = 1
    spectrum = np.abs(np.fft.rfft(resampled(impulse)))
    frequency = np.fft.rfftfreq(5513, 1 / 22050)
    assert spectrum[frequency > 4000].max() < 10 ** (-126 / 20) * spectrum[frequency < 3652].min()


def test_units_do_not_matter_and_silence_is_zero():
    audio = np.random.default_rng(0).integers(-9, 9, 3000).astype(np.int16)
    np.testing.assert_array_equal(mel_spectrogram(audio), mel_spectrogram((audio / 2**15).astype(np.float32)))
    np.testing.assert_array_equal(mel_spectrogram(np.zeros(600, np.int16)), np.zeros((4, 128), np.float32))
    assert mel_spectrogram(np.ones(1)).shape == (1, 128)


@pytest.mark.parametrize(
    ("audio", "rate", "match"),
    [
        (np.zeros(9), 16000, "rate=16000: audio must be sampled at 8000 or 22050 Hz; resample it first"),
        (np.zeros(0), 8000, r"audio has shape \(0,\), but must be one channel"),
        (np.zeros((9, 2)), 8000, r"audio has shape \(9, 2\)"),
    ],
)
def test_bad_audio_is_refused(audio, rate, match):
    with pytest.raises(ValueError, match=match):
        mel_spectrogram(audio, rate)
