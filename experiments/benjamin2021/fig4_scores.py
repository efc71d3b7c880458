"""Scores of a hierarchy on coloured images, of its reconstructions, dreams and layers, and of baselines without it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.sparse.linalg import cg

from experiments.benjamin2021.cifar import Pictures, judged, signed
from experiments.benjamin2021.common import CLASSES, frechet, gaussian_pictures, verdict
from experiments.benjamin2021.fig3_scores import explained
from experiments.benjamin2021.fig4_waves import waves
from experiments.shared.images import unfolded
from plasticity_jax.networks.dcgan import Dcgan
from plasticity_jax.networks.hierarchy import reconstruct
from plasticity_jax.run.program import Metrics
from plasticity_jax.typing import Array, Key, Params

SHOWN = 10
"""Images of a row of pictures."""

OSCILLATING, CYCLES = 400, 4
"""Number of test images that drive an oscillation, and number of its cycles."""

MEASURED = (
    "mse",
    "nearer",
    "kept",
    "kept_chance",
    "frechet_dream",
    "frechet_reconstruction",
    "entropy",
    "confidence",
    "right",
    "told",
)


class Probe(NamedTuple):
    """Images and judge with which networks are tested.

    Attributes:
      shown: as many images of training as of test.
      weights: the judge's.
    """

    shown: Pictures
    weights: Params


def tested(net: Dcgan, probe: Probe, params: Params, key: Key) -> Metrics:
    """Measurements at fixed weights.

    Args:
      net: the network.
      params: its weights.
      probe: images and judge.
      key: consumed.

    Returns:
      By the layer at which reconstructions turn, (L,): their ``mse``; ``nearer``, how often one is nearer to its own
      image than to another; and ``kept``, how often the judge finds the image's class in it. ``kept_chance``, how often
      it finds the class of another image in those from the top; ``frechet_dream`` and ``frechet_reconstruction`` (from
      the top), distances from test images; ``entropy`` and ``confidence`` of dreams; ``right``, (L + 1,), the share of
      test images whose class is read out linearly; ``told``, (L,), the share of a layer's variance that the image
      explains; the metrics of `waves`; and pictures.
    """
    probe = unfolded(probe)
    key_up, key_train, key_recall = jax.random.split(key, 3)
    x = signed(probe.shown.test)
    phases = net.phases(params, x, key_up, oscillate=False)
    train_phases = net.phases(params, signed(probe.shown.train), key_train, oscillate=False)
    second_wake = net.phases(params, x, key_train, oscillate=False).wake
    reconstructed = jnp.stack([reconstruct(net, params, x, key_recall, top)[0] for top in range(1, net.depth + 1)])
    pictures = jnp.concatenate([x[None], phases.sleep[0][None], reconstructed])  # one call of the judge compiles faster
    judgements = judged(probe.weights, pictures.reshape(-1, *x.shape[1:]))
    logits, features = (leaf.reshape(len(pictures), len(x), -1) for leaf in judgements)
    classes = jnp.argmax(logits, -1)
    distances = jax.vmap(lambda made: frechet(made, features[0]))(features[jnp.asarray([1, -1])])
    dream_verdict = verdict(logits[1])
    return {
        "mse": jnp.mean((reconstructed - x) ** 2, (1, 2, 3, 4)),
        "nearer": jax.vmap(lambda made: nearer(made, x))(reconstructed),
        "kept": jnp.mean(classes[2:] == classes[0], 1),
        "kept_chance": jnp.mean(classes[-1] == jnp.roll(classes[0], 1)),
        "frechet_dream": distances[0],
        "frechet_reconstruction": distances[1],
        "entropy": dream_verdict["entropy"],
        "confidence": dream_verdict["confidence"],
        "right": jnp.stack([
            readable(train.reshape(len(train), -1), test.reshape(len(test), -1), probe.shown)
            for train, test in zip(train_phases.wake, phases.wake, strict=True)
        ]),
        "told": jnp.stack([
            explained(*(h.reshape(len(x), -1) for h in pair))
            for pair in zip(phases.wake[1:], second_wake[1:], strict=True)
        ]),
        **waves(net, params, x[:OSCILLATING], key_recall, CYCLES),
        "picture_recalled": reconstructed[:, :SHOWN],
        "picture_dream": phases.sleep[0][: 2 * SHOWN],
    }  # fmt: skip


def nearer(made: Array, x: Array) -> Array:
    """The share of pairs (i, j), i != j, in which made_i is nearer to x_i than to x_j, (N, ...) both; chance is 1/2."""
    a, b = made.reshape(len(made), -1), x.reshape(len(x), -1)
    distances = jnp.sum(b * b, 1) - 2 * a @ b.T  # squared distances, less a term that a row shares
    return jnp.sum(jnp.diag(distances)[:, None] < distances) / (len(a) * (len(a) - 1))


def readable(train: Array, test: Array, images: Pictures, ridge: float = 0.1) -> Array:
    """Share of test images whose class ridge regression reads out of features (N, n), each scaled to a variance of 1.

    Conjugate gradients solve the normal equations, because there may be thousands of features.
    """
    middle, scale = jnp.mean(train, 0), jnp.maximum(jnp.std(train, 0), 1e-6)
    x, targets = (train - middle) / scale, jax.nn.one_hot(images.train_label, CLASSES, dtype=train.dtype)
    gram, mean = x.T @ x / len(x), jnp.mean(targets, 0)
    w = cg(lambda w: gram @ w + ridge * w, x.T @ (targets - mean) / len(x), tol=1e-4, maxiter=200)[0]
    return jnp.mean(jnp.argmax((test - middle) / scale @ w + mean, -1) == images.test_label)


def baselines(axes: np.ndarray, probe: Probe) -> Metrics:
    """Squared errors, Frechet distances and classes of baselines that need no network.

    Args:
      axes: (pixels, n), the strongest principal components of training.
      probe: images and judge.
    """
    probe = unfolded(probe)
    train, x = (signed(part) for part in (probe.shown.train, probe.shown.test))
    logits, features = judged(probe.weights, x)
    middle, basis = jnp.mean(train, 0), jnp.asarray(axes, x.dtype)
    code_train, code = ((part - middle).reshape(len(part), -1) @ basis for part in (train, x))
    recalled = (code @ basis.T).reshape(x.shape) + middle
    noise = jax.random.uniform(jax.random.key(22), x.shape, x.dtype, -1, 1)
    drawn = jnp.clip(gaussian_pictures(jax.random.key(23), train, len(x)), -1, 1)
    pca_logits, pca_features = judged(probe.weights, recalled)
    return {
        "mse_mean": jnp.mean((x - middle) ** 2),
        "mse_other": jnp.mean((x - jnp.roll(x, 1, 0)) ** 2),
        "mse_pca": jnp.mean((x - recalled) ** 2),
        "kept_pca": jnp.mean(jnp.argmax(pca_logits, -1) == jnp.argmax(logits, -1)),
        "frechet_real": frechet(judged(probe.weights, train)[1], features),
        "frechet_noise": frechet(judged(probe.weights, noise)[1], features),
        "frechet_gauss": frechet(judged(probe.weights, drawn)[1], features),
        "frechet_pca": frechet(pca_features, features),
        "entropy_real": verdict(logits)["entropy"],
        "accuracy": jnp.mean(jnp.argmax(logits, -1) == probe.shown.test_label),
        "right_pca": readable(code_train, code, probe.shown),
        "picture": x[:SHOWN],
    }


def components(images: np.ndarray, count: int) -> np.ndarray:
    """(pixels, count), the strongest principal components of images."""
    pixels = images.reshape(len(images), -1)
    centred = pixels.astype(np.float32) - pixels.mean(0, dtype=np.float32)
    return np.linalg.eigh(centred.T @ centred)[1][:, : -count - 1 : -1]
