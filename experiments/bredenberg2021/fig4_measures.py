"""Tests of a network that has learned sounds: losses, reconstruction, dreams, and digits read out from it."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bredenberg2021.common import authors_loss, autocorrelation, r_squared
from experiments.bredenberg2021.fig4_sounds import Sounds
from experiments.shared.images import unfolded
from plasticity_jax.data.mel_spectrogram import MELS
from plasticity_jax.diagnostics.linear_readout import linear_readout
from plasticity_jax.networks.two_stream import Sample, TwoStream, advance, draw, log_p, log_q, trajectory
from plasticity_jax.run.program import Metrics
from plasticity_jax.typing import Array, Key, Params

PERIOD = 2
"""Frames of a phase."""
SETTLE, LAGS, PICTURE_FRAMES, BINS = 100, 40, 30, 85
"""Frames in which a dream forgets its start, lags, frames of a picture, and bins below the recordings' 3.5 kHz."""
LAYERS = ("r1", "r2")


def walks(net: TwoStream, params: Params, key: Key, frames: Array) -> tuple[Sample, Array]:
    """Walks over frames (T, 128) under the same noise: awake, with phases, and in deep sleep from the second frame on.

    Returns:
      A `Sample` whose arrays lead with (3, T, 1), and lambda (3, T).
    """
    t = jnp.arange(len(frames))
    wake = jnp.stack([t >= 0, t % (2 * PERIOD) < PERIOD, t < 1])
    return jax.vmap(lambda each: trajectory(net, params, key, frames[:, None], each))(wake), wake


def losses(net: TwoStream, walked: Sample, wake: Array) -> Metrics:
    """Mean loss of a step, awake and with phases, in the authors' units and (``_nats``) as log q~ - log p~."""
    cycles = slice(0, wake.shape[1] - wake.shape[1] % (2 * PERIOD))  # as much wake as sleep, so that constants cancel
    units = jax.vmap(lambda *each: authors_loss(net, *each))(walked, wake)[:2, cycles, 0]
    nats = (jnp.where(wake, 1, -1) * (log_q(net, walked) - log_p(net, walked))[..., 0])[:2, cycles]
    means = zip(("wake", "alternating"), jnp.mean(units, 1), jnp.mean(nats, 1), strict=True)
    return {f"{name}{unit}": value for name, *both in means for unit, value in zip(("", "_nats"), both, strict=True)}


def losses_and_variance(net: TwoStream, params: Params, key: Key, frames: Array) -> Metrics:
    """`losses`, and ``variance``, that of dreams over that of the data, on frames (T, 128)."""
    walked, wake = walks(net, params, key, frames)
    dreamed = walked.x[0][2, SETTLE:, 0]
    return {**losses(net, walked, wake), "variance": jnp.sum(jnp.var(dreamed, 0)) / jnp.sum(jnp.var(frames, 0))}


def measurements(net: TwoStream, params: Params, key: Key, sounds: Sounds) -> Metrics:
    """Measurements at fixed weights.

    Args:
      net: the network.
      params: its weights.
      key: consumed.
      sounds: both splits; only the linear readouts are trained on training frames.

    Returns:
      Those of `losses`; ``r2_r1`` and ``r2_r2``, R2 awake of D_s r1 and of D_s f(D_1 r2 + b) against the frames, and
      ``mse_r1``; ``correlation``, the correlation matrix of dreamed frequencies below 3.5 kHz; ``pearson`` and
      ``cosine`` between it and the data's, over those bins and (``_all``) over all bins; ``bin_mean``, correlation
      between the bins' means in dreams and in data; ``variance``, that of dreams over that of the data;
      autocorrelations ``acf_wake`` and ``acf_dream`` of r2; ``digits_...``, the share of test recordings that a linear
      readout classifies correctly; and pictures.
    """
    key_walk, *key_features = jax.random.split(key, 3)
    sounds = unfolded(sounds)
    frames = sounds.frames[1]
    walked, wake = walks(net, params, key_walk, frames)
    awake, dream = (jax.tree.map(lambda leaf, i=i: leaf[i], walked) for i in (0, 2))
    dreamed = dream.x[0][SETTLE:, 0]
    decoder = params["generation"]["w"][0].T
    from_r1, from_r2 = awake.generated[0][:, 0], awake.generated[1][:, 0] @ decoder
    acf = jax.vmap(lambda r: autocorrelation(r - jnp.mean(r, 0), range(LAGS + 1)))(walked.x[2][:, SETTLE:])
    metrics = {
        **losses(net, walked, wake),
        "r2_r1": r_squared(from_r1, frames),
        "r2_r2": r_squared(from_r2, frames),
        "mse_r1": jnp.mean((from_r1 - frames) ** 2),
        "transition": jnp.mean(params["generation"]["transition"]),
        **resemblance(frames, dreamed),
        "acf_wake": acf[0],
        "acf_dream": acf[2],
        "picture_r1": from_r1[-PICTURE_FRAMES:, :BINS],
        "picture_r2": from_r2[-PICTURE_FRAMES:, :BINS],
        "picture_dream": dreamed[-PICTURE_FRAMES:, :BINS],
    }

    def responses(frames: Array, key: Key) -> tuple[Array, ...]:
        """Activity of both layers awake, (2, N, n) each, with and without noise."""
        innovations = draw(net, key, len(frames), frames.dtype)
        scaled = jax.tree.map(lambda leaf: jnp.stack([leaf, jnp.zeros_like(leaf)]), innovations)
        # Inference is feedforward, so all frames can form one batch.
        still = jnp.zeros((len(frames), net.sizes[-1]), frames.dtype)
        return jax.vmap(lambda xi: advance(net, params, True, False, still, frames, xi).x[1:])(scaled)

    pairs = zip(*(responses(*each) for each in zip(sounds.frames, key_features, strict=True)), strict=True)
    for layer, pair in zip(LAYERS, pairs, strict=True):
        accuracies = jax.vmap(lambda *each: digits(sounds, each))(*pair)
        metrics |= {f"digits_{layer}{name}": values[0] for name, values in accuracies.items()}
        metrics |= {f"digits_{layer}_noiseless{name}": values[1] for name, values in accuracies.items()}
    return metrics


def digits(sounds: Sounds, responses: tuple[Array, Array], ridge: float = 1.0) -> Metrics:
    """Share of test recordings that a linear readout of means over the recording classifies correctly.

    Args:
      sounds: sounds with their recordings and labels.
      responses: (N, n), to the frames of training and of test.
      ridge: penalty on the squared weights, relative to the sum of squared errors over recordings.

    Returns:
      Shares by name: "" for the responses as they are, "_z" with each response first scaled to a variance of 1.
    """
    train, test = (
        jax.ops.segment_sum(r, of, len(label)) / jax.ops.segment_sum(jnp.ones_like(r[:, :1]), of, len(label))
        for r, of, label in zip(responses, sounds.recordings, sounds.labels, strict=True)
    )
    targets, middle = jax.nn.one_hot(sounds.labels[0], 10, dtype=train.dtype), jnp.mean(train, 0)

    def accuracy(scale: Array) -> Array:
        readout = linear_readout((train - middle) / scale, targets, ridge / len(train))
        return jnp.mean(jnp.argmax(readout((test - middle) / scale), -1) == sounds.labels[1])

    scales = jnp.stack([jnp.ones(train.shape[1], train.dtype), jnp.maximum(jnp.std(train, 0), 1e-12)])
    return dict(zip(("", "_z"), jax.vmap(accuracy)(scales), strict=True))


def resemblance(data: Array, dreamed: Array) -> Metrics:
    """Agreement between the statistics of dreamed frames and of data, both (frames, 128); see `measurements`."""
    (mean, variance, correlation), (mean_d, variance_d, correlation_d) = map(statistics, (data, dreamed))
    metrics = {
        "correlation": correlation_d[:BINS, :BINS],
        "bin_mean": jnp.corrcoef(mean, mean_d)[0, 1],
        "variance": jnp.sum(variance_d) / jnp.sum(variance),
        "variance_by_bin": jnp.mean((variance_d / variance)[:BINS]),
    }
    for name, bins in (("", BINS), ("_all", len(mean))):
        a, b = correlation[:bins, :bins], correlation_d[:bins, :bins]
        metrics |= {f"pearson{name}": off_diagonal_pearson(a, b), f"cosine{name}": cosine_of(a, b)}
    return metrics


def statistics(frames: Array) -> tuple[Array, Array, Array]:
    """Mean, variance and correlations of the bins of (frames, bins); a constant bin has correlations of 0."""
    mean = jnp.mean(frames, 0)
    covariance = (frames - mean).T @ (frames - mean) / len(frames)
    variance = jnp.diag(covariance)
    scale = jnp.sqrt(jnp.maximum(variance, 1e-12))
    return mean, variance, covariance / (scale[:, None] * scale)


def off_diagonal_pearson(a: Array, b: Array) -> Array:
    """Pearson's correlation between the entries above the diagonals of two symmetric matrices."""
    above = np.triu_indices(len(a), 1)
    return jnp.corrcoef(a[above], b[above])[0, 1]


def cosine_of(a: Array, b: Array) -> Array:
    """The authors' measure of similarity of two correlation matrices: their cosine, diagonals included."""
    return jnp.sum(a * b) / jnp.sqrt(jnp.sum(a**2) * jnp.sum(b**2))


def components(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of training frames as columns, strongest first, and R2 on test of the first 1 to 128."""
    centred = train.astype(np.float64) - train.mean(0, dtype=np.float64)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    energy = (((test - train.mean(0, dtype=np.float64)) @ axes) ** 2).mean(0)
    return axes, 1 - (energy.sum() - energy.cumsum()) / test.astype(np.float64).var(0).sum()


def baselines(sizes: tuple[int, int], sounds: Sounds, axes: np.ndarray) -> Metrics:
    """Measures without a network: digits read out from the frames, statistics of the data, and a matrix of ones.

    Returns:
      ``digits_...``, from all bins and from as many components as the layers have neurons; ``cosine`` between a matrix
      of ones and the data's correlations, and ``cosine_all``; ``correlation``; ``acf``; ``picture``.
    """
    sounds = unfolded(sounds)
    test = sounds.frames[1]
    correlation = statistics(test)[2]
    metrics = {
        "correlation": correlation[:BINS, :BINS],
        "cosine": cosine_of(correlation[:BINS, :BINS], jnp.ones((BINS, BINS))),
        "cosine_all": cosine_of(correlation, jnp.ones_like(correlation)),
        "acf": autocorrelation((test - jnp.mean(test, 0))[:, None], range(LAGS + 1)),
        "picture": test[-PICTURE_FRAMES:, :BINS],
    }
    rotations = {"raw": np.eye(MELS)} | {f"pca_{name}": axes[:, :k] for name, k in zip(LAYERS, sizes, strict=True)}
    for name, rotation in rotations.items():
        train, test = (frames @ jnp.asarray(rotation, frames.dtype) for frames in sounds.frames)
        metrics |= {f"digits_{name}{suffix}": value for suffix, value in digits(sounds, (train, test)).items()}
    return metrics
