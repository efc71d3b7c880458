"""The measures of Figure 4 against NumPy: readout of digits, components, correlations, units of loss, axis of mels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bredenberg2021 import fig4
from experiments.bredenberg2021.fig4_figures import bin_of
from plasticity_jax.data.mel_spectrogram import RATE, WINDOW, mel_filters
from plasticity_jax.networks.two_stream import init_params, two_stream
from tests.laws.common import compiled

CONFIG = fig4.PRESETS["smoke"]
RNG = np.random.default_rng(3)


def sounds():
    return fig4.resident(fig4.load("made"))


def test_digits_are_told_as_by_a_readout_in_numpy():
    splits = fig4.load("made")
    mixing, scales, ridge = RNG.normal(size=(128, 5)), np.array([1, 0.01, 1, 1, 0.1]), 30.0
    responses = [(split.frames @ mixing + RNG.normal(size=(len(split.frames), 5))) * scales for split in splits]
    train, test = (
        np.stack([r[i : i + n].mean(0) for i, n in zip(split.starts, split.lengths, strict=True)])
        for split, r in zip(splits, responses, strict=True)
    )
    found = compiled(fig4.digits)(fig4.resident(splits), tuple(jnp.asarray(r, jnp.float32) for r in responses), ridge)
    targets = np.eye(10)[splits[0].labels]
    for suffix, scale in (("", 1), ("_z", train.std(0))):
        x, unseen = (train - train.mean(0)) / scale, (test - train.mean(0)) / scale
        w = np.linalg.solve(x.T @ x + ridge * np.eye(5), x.T @ (targets - targets.mean(0)))
        right = np.mean(np.argmax(unseen @ w + targets.mean(0), 1) == splits[1].labels)
        assert 0.2 < right < 1
        # Two answers may be closer to each other than single precision: one of 40 recordings.
        np.testing.assert_allclose(found[suffix], right, atol=1 / 40 + 1e-6)


def test_components_are_fitted_to_training_and_judged_on_test():
    train, test = (RNG.normal(size=(300, 6)) * [3, 1, 2, 0.5, 0.2, 1] + 4 for _ in range(2))
    axes, share = fig4.components(train, test)
    mean, total = train.mean(0), ((test - test.mean(0)) ** 2).sum()
    singular = np.linalg.svd(train - mean)[2]
    for k in range(1, 7):
        rebuilt = mean + (test - mean) @ singular[:k].T @ singular[:k]
        np.testing.assert_allclose(share[k - 1], 1 - ((test - rebuilt) ** 2).sum() / total, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.abs(singular @ axes), np.eye(6), atol=1e-9)


def test_correlations_and_their_measures():
    a, b = (RNG.normal(size=(50, 4)) @ RNG.normal(size=(4, 4)) + 3 for _ in range(2))
    mean, variance, correlation = fig4.statistics(jnp.asarray(a))
    np.testing.assert_allclose(mean, a.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, a.var(0), rtol=1e-4)
    np.testing.assert_allclose(correlation, np.corrcoef(a.T), atol=1e-5)
    p, q = np.corrcoef(a.T), np.corrcoef(b.T)
    above = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    pearson = np.corrcoef([p[i] for i in above], [q[i] for i in above])[0, 1]
    np.testing.assert_allclose(fig4.off_diagonal_pearson(jnp.asarray(p), jnp.asarray(q)), pearson, atol=1e-5)
    cosine = np.trace(p @ q) / np.linalg.norm(p) / np.linalg.norm(q)
    np.testing.assert_allclose(fig4.cosine_of(jnp.asarray(p), jnp.asarray(q)), cosine, rtol=1e-5)
    still = fig4.statistics(jnp.asarray(a).at[:, 1].set(2.0))[2]
    np.testing.assert_array_equal(still[1], 0)


def test_units_of_the_loss():
    net = two_stream((128, 12, 6), CONFIG.sigma_inf, CONFIG.sigma_gen)
    params = init_params(jax.random.key(0), net)
    frames = sounds().frames[1][:41]  # the last one has no cycle of its own
    measure = compiled(lambda frames: fig4.losses(net, *fig4.walks(net, params, jax.random.key(1), frames)))
    quiet, found = measure(1e-3 * frames), measure(frames)
    constant = 2 * 6 * np.log(0.13 / 0.01)
    # Terms of up to about ten, in whichever precision.
    np.testing.assert_allclose(quiet["wake"], 2 * quiet["wake_nats"] - constant, atol=1e-2)
    np.testing.assert_allclose(quiet["alternating"], 2 * quiet["alternating_nats"], atol=1e-2)
    # Before learning the loss is the energy of the stimuli, for the network generates next to nothing.
    energy = np.mean(np.sum(frames[:40] ** 2, 1)) / 0.01**2
    np.testing.assert_allclose([found["wake"], found["alternating"]], energy, rtol=0.15)


@pytest.mark.parametrize("mel", [10, 40, 84, 120])
def test_axis_of_mels(mel):
    peak = np.argmax(mel_filters()[mel]) * RATE / WINDOW
    bin_hz = RATE / WINDOW
    assert bin_of(peak - bin_hz) < mel < bin_of(peak + bin_hz)
