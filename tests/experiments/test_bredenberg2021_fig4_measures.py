"""Measures of Figure 4 compared with NumPy: digits, components, correlations, units of loss, pictures; made sounds."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.bredenberg2021 import fig4_measures as measures
from experiments.bredenberg2021.fig4 import PRESETS
from experiments.bredenberg2021.fig4_figures import bin_of
from experiments.bredenberg2021.fig4_sounds import Sounds, load, made_sounds, sounds_on_device
from plasticity_jax.data.mel_spectrogram import RATE, WINDOW, mel_filters
from plasticity_jax.networks.two_stream import Sample, init_params, two_stream
from tests.laws.common import compiled

CONFIG = PRESETS["smoke"]
RNG = np.random.default_rng(3)


def sounds():
    return sounds_on_device(load("made"))


def test_digits_are_read_out_as_in_numpy():
    splits = load("made")
    mixing, scales, ridge = RNG.normal(size=(128, 5)), np.array([1, 0.01, 1, 1, 0.1]), 30.0
    responses = [(split.frames @ mixing + RNG.normal(size=(len(split.frames), 5))) * scales for split in splits]
    train, test = (
        np.stack([r[i : i + n].mean(0) for i, n in zip(split.starts, split.lengths, strict=True)])
        for split, r in zip(splits, responses, strict=True)
    )
    accuracies = compiled(measures.digits)(
        sounds_on_device(splits), tuple(jnp.asarray(r, jnp.float32) for r in responses), ridge
    )
    targets = np.eye(10)[splits[0].labels]
    for suffix, scale in (("", 1), ("_z", train.std(0))):
        x, unseen = (train - train.mean(0)) / scale, (test - train.mean(0)) / scale
        w = np.linalg.solve(x.T @ x + ridge * np.eye(5), x.T @ (targets - targets.mean(0)))
        accuracy = np.mean(np.argmax(unseen @ w + targets.mean(0), 1) == splits[1].labels)
        assert 0.2 < accuracy < 1
        # Two classes may be closer to each other than single precision: one of 40 recordings.
        np.testing.assert_allclose(accuracies[suffix], accuracy, atol=1 / 40 + 1e-6)


def test_components_are_fitted_to_training_and_judged_on_test():
    train, test = (RNG.normal(size=(300, 6)) * [3, 1, 2, 0.5, 0.2, 1] + 4 for _ in range(2))
    axes, share = measures.components(train, test)
    mean, total = train.mean(0), ((test - test.mean(0)) ** 2).sum()
    singular = np.linalg.svd(train - mean)[2]
    for k in range(1, 7):
        rebuilt = mean + (test - mean) @ singular[:k].T @ singular[:k]
        np.testing.assert_allclose(share[k - 1], 1 - ((test - rebuilt) ** 2).sum() / total, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.abs(singular @ axes), np.eye(6), atol=1e-9)


def test_correlations_and_their_measures():
    a, b = (RNG.normal(size=(50, 4)) @ RNG.normal(size=(4, 4)) + 3 for _ in range(2))
    mean, variance, correlation = measures.statistics(jnp.asarray(a))
    np.testing.assert_allclose(mean, a.mean(0), rtol=1e-5)
    np.testing.assert_allclose(variance, a.var(0), rtol=1e-4)
    np.testing.assert_allclose(correlation, np.corrcoef(a.T), atol=1e-5)
    p, q = np.corrcoef(a.T), np.corrcoef(b.T)
    above = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    pearson = np.corrcoef([p[i] for i in above], [q[i] for i in above])[0, 1]
    np.testing.assert_allclose(measures.off_diagonal_pearson(jnp.asarray(p), jnp.asarray(q)), pearson, atol=1e-5)
    cosine = np.trace(p @ q) / np.linalg.norm(p) / np.linalg.norm(q)
    np.testing.assert_allclose(measures.cosine_of(jnp.asarray(p), jnp.asarray(q)), cosine, rtol=1e-5)
    constant_column = measures.statistics(jnp.asarray(a).at[:, 1].set(2.0))[2]
    np.testing.assert_array_equal(constant_column[1], 0)


def test_units_of_the_loss():
    net = two_stream((128, 12, 6), CONFIG.sigma_inf, CONFIG.sigma_gen)
    params = init_params(jax.random.key(0), net)
    frames = sounds().frames[1][:41]  # the last frame is not in a whole cycle

    def both(frames):
        walked, wake = measures.walks(net, params, jax.random.key(1), frames)
        return measures.losses(net, walked, wake), wake

    measure = compiled(both)
    (quiet, wake), (loud, _) = measure(1e-3 * frames), measure(frames)
    t = np.arange(41)
    np.testing.assert_array_equal(wake, [t >= 0, t % 4 < 2, t == 0])
    constant = 2 * 6 * np.log(0.13 / 0.01)
    # Terms are up to about ten, in either precision.
    np.testing.assert_allclose(quiet["wake"], 2 * quiet["wake_nats"] - constant, atol=1e-2)
    np.testing.assert_allclose(quiet["alternating"], 2 * quiet["alternating_nats"], atol=1e-2)
    # Before learning the loss is the energy of the stimuli, because the network generates nearly nothing.
    energy = np.mean(np.sum(frames[:40] ** 2, 1)) / 0.01**2
    np.testing.assert_allclose([loud["wake"], loud["alternating"]], energy, rtol=0.15)


@pytest.mark.parametrize("mel", [10, 40, 84, 120])
def test_axis_of_mels(mel):
    peak = np.argmax(mel_filters()[mel]) * RATE / WINDOW
    bin_hz = RATE / WINDOW
    assert bin_of(peak - bin_hz) < mel < bin_of(peak + bin_hz)


def test_dreams_beside_data():
    data, dreamed = (RNG.normal(size=(40, 90)) @ RNG.normal(size=(90, 90)) + 5 * RNG.normal(size=90) for _ in range(2))
    metrics = compiled(measures.resemblance)(jnp.asarray(data), jnp.asarray(dreamed))
    p, q = np.corrcoef(data.T), np.corrcoef(dreamed.T)
    expected = {
        "correlation": q[:85, :85],
        "bin_mean": np.corrcoef(data.mean(0), dreamed.mean(0))[0, 1],
        "variance": dreamed.var(0).sum() / data.var(0).sum(),
        "variance_by_bin": sum(dreamed[:, i].var() / data[:, i].var() for i in range(85)) / 85,
    }
    for name, bins in (("", 85), ("_all", 90)):
        pairs = [(p[i, j], q[i, j]) for i in range(bins) for j in range(i + 1, bins)]
        expected[f"pearson{name}"] = np.corrcoef(np.transpose(pairs))[0, 1]
        a, b = p[:bins, :bins].ravel(), q[:bins, :bins].ravel()
        expected[f"cosine{name}"] = a @ b / math.sqrt((a @ a) * (b @ b))
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-9, atol=1e-9, err_msg=name)


def summed(sounds, responses, ridge=1.0):
    """Sums of the responses of each split, in place of the share of digits read out."""
    return {"": jnp.sum(responses[0]), "_z": jnp.sum(responses[1])}


def sounds_with_frames(train, test):
    """Sounds with given frames; recordings and labels are not used."""
    nothing = jnp.zeros(1)
    return Sounds((jnp.asarray(train), jnp.asarray(test)), (nothing, nothing), (nothing, nothing))


def test_baselines_have_no_network(monkeypatch):
    """Baselines on the test split; digits from the frames and from as many components as there are neurons."""
    monkeypatch.setattr(measures, "digits", summed)
    train, test = RNG.normal(size=(60, 128)), RNG.normal(size=(150, 128)) @ RNG.normal(size=(128, 128))
    axes = np.linalg.qr(RNG.normal(size=(128, 128)))[0]
    metrics = compiled(lambda sounds: measures.baselines((7, 3), sounds, axes))(sounds_with_frames(train, test))
    p = np.corrcoef(test.T)
    expected = {"correlation": p[:85, :85], "picture": test[-30:, :85]}
    for name, bins in (("cosine", 85), ("cosine_all", 128)):
        part = p[:bins, :bins]
        expected[name] = part.sum() / math.sqrt((part**2).sum()) / bins
    middle = test - test.mean(0)
    shifted = [(middle[:110], middle[lag : 110 + lag]) for lag in range(41)]
    expected["acf"] = [(a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()) for a, b in shifted]
    for name, turned in (("raw", np.eye(128)), ("pca_r1", axes[:, :7]), ("pca_r2", axes[:, :3])):
        expected |= {f"digits_{name}": (train @ turned).sum(), f"digits_{name}_z": (test @ turned).sum()}
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-8, atol=1e-9, err_msg=name)


def test_a_network_is_tested_on_its_own_walks(monkeypatch):
    """Pictures, reconstructions and autocorrelations are from their own walk, digits from their split and layer."""
    net = two_stream((128, 5, 3), CONFIG.sigma_inf, CONFIG.sigma_gen)
    params = jax.tree.map(lambda leaf: 3.0 * leaf, init_params(jax.random.key(4), net))
    train, test = RNG.normal(size=(60, 128)), RNG.normal(size=(150, 128))
    x, generated = (tuple(RNG.normal(size=(3, 150, 1, n)) for n in net.sizes) for _ in range(2))
    walked = Sample(x, generated, generated, (), (), np.zeros((3, 150, 1)))
    monkeypatch.setattr(measures, "digits", summed)
    monkeypatch.setattr(measures, "losses", lambda net, walked, wake: {"wake": jnp.sum(walked.x[2])})
    monkeypatch.setattr(measures, "walks", lambda net, params, key, frames: (walked, jnp.sum(frames)))

    def both():
        args = net, params, jax.random.key(2)
        return measures.measurements(*args, sounds_with_frames(train, test)), measures.losses_and_variance(
            *args, jnp.asarray(test)
        )

    metrics, few_metrics = compiled(both)()
    decoder = np.asarray(params["generation"]["w"][0])
    from_r1, from_r2 = generated[0][0, :, 0], generated[1][0, :, 0] @ decoder.T
    dreamed, total = x[0][2, :, 0], test.var(0).sum()
    expected = {
        "wake": x[2].sum(),
        "r2_r1": 1 - ((from_r1 - test) ** 2).mean(0).sum() / total,
        "r2_r2": 1 - ((from_r2 - test) ** 2).mean(0).sum() / total,
        "mse_r1": ((from_r1 - test) ** 2).mean(),
        "transition": np.mean(params["generation"]["transition"]),
        "picture_r1": from_r1[-30:, :85],
        "picture_r2": from_r2[-30:, :85],
        "picture_dream": dreamed[-30:, :85],
        "variance": dreamed[100:].var(0).sum() / total,
        "bin_mean": np.corrcoef(test.mean(0), dreamed[100:].mean(0))[0, 1],
    }
    for name, row in (("wake", 0), ("dream", 2)):
        r = x[2][row, 100:, 0] - x[2][row, 100:, 0].mean(0)
        pairs = [(r[:10], r[lag : lag + 10]) for lag in range(41)]
        expected[f"acf_{name}"] = [(a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()) for a, b in pairs]
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-7, atol=1e-9, err_msg=name)
    w_1, w_2 = (np.asarray(w) for w in params["inference"]["w"])
    bias = np.asarray(params["inference"]["bias"][0])
    for suffix, frames in (("", train), ("_z", test)):
        quiet = np.tanh(frames @ w_1.T + bias)
        for layer, r in (("r1", quiet), ("r2", np.tanh(quiet @ w_2.T))):
            np.testing.assert_allclose(metrics[f"digits_{layer}_noiseless{suffix}"], r.sum(), rtol=1e-9, atol=1e-9)
            noise = float(metrics[f"digits_{layer}{suffix}"]) - r.sum()
            assert 1e-3 < abs(noise) < 5  # noise of 0.01 in at most 750 numbers
    assert few_metrics.keys() == {"wake", "variance"}
    assert all(float(few_metrics[name]) == pytest.approx(float(metrics[name]), rel=1e-9) for name in few_metrics)


def test_made_sounds_are_ten_words_in_turn_and_no_two_alike():
    sounds_made = made_sounds(20, 3)
    assert sounds_made.labels.tolist() == [*range(10)] * 2
    assert sounds_made.frames.shape == (sounds_made.lengths.sum(), 128)
    np.testing.assert_array_equal(sounds_made.starts, np.cumsum(sounds_made.lengths) - sounds_made.lengths)
    assert 8 <= sounds_made.lengths.min() < sounds_made.lengths.max() <= 12
    spoken = [
        sounds_made.frames[i : i + n].mean(0) for i, n in zip(sounds_made.starts, sounds_made.lengths, strict=True)
    ]
    alike = np.corrcoef(spoken)
    assert all(alike[k, k + 10] > 0.8 for k in range(10))
    assert len({frame.tobytes() for frame in sounds_made.frames}) == len(sounds_made.frames)
    both = sounds_on_device((sounds_made, made_sounds(10, 4)))
    np.testing.assert_array_equal(both.recordings[0], np.repeat(np.arange(20), sounds_made.lengths))
    np.testing.assert_array_equal(both.labels[1], np.arange(10))
    with pytest.raises(ValueError, match="'noise' is not known"):
        load("noise")
