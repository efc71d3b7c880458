"""Scores of a network of digits, of its reconstructions, samples and patterns, and of rivals that need no network."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benjamin2021.common import CLASSES, Classifier, frechet, judged, verdict
from experiments.shared.images import Images, scaled, unfolded
from plasticity_jax.diagnostics.pattern_overlap import pattern_overlap
from plasticity_jax.networks.autoencoder import Autoencoder
from plasticity_jax.networks.hierarchy import reconstruct
from plasticity_jax.run.program import Metrics
from plasticity_jax.typing import Array, Key, Params

AGAIN = 10
"""Samples of a reconstruction, for their mean."""


class Sizes(NamedTuple):
    """Numbers of images that are measured.

    Attributes:
      tested: test images.
      rows: training images for patterns; as many again, halved, are what the best that sleep can do is taken from.
    """

    tested: int
    rows: int


def check_sizes(size: Sizes, data: Images) -> None:
    """Refuses more images than there are.

    Raises:
      ValueError: if there are too few, or rows is odd.
    """
    if not 2 * CLASSES <= size.tested <= len(data.test):
        raise ValueError(f"tested={size.tested} must be from {2 * CLASSES} to the {len(data.test)} test images")
    most = 2 * len(data.train) // 3
    if not 2 * CLASSES <= size.rows <= most or size.rows % 2:
        raise ValueError(
            f"rows={size.rows} must be even, from {2 * CLASSES} to {most}, two thirds of the training images"
        )


def first_of_each(labels: np.ndarray) -> np.ndarray:
    """Index of the first image of every class."""
    return np.array([int(np.argmax(labels == label)) for label in range(CLASSES)])


def assessed(size: Sizes, net: Autoencoder, params: Params, key: Key, data: Images, judge: Classifier) -> Metrics:
    """Scores of a network's reconstructions of test images, and of its samples asleep.

    Returns:
      Of reconstructions: ``identity``, the share that the judge takes for the digit shown, and ``mse`` (both also
      ``_mean``, of the mean of 10 samples); ``confidence``; ``frechet``, from the images shown. Of samples:
      ``sleep_confidence``, ``sleep_frechet``, ``sleep_entropy`` of classes, bits, of 3.32. ``told``: the share of the
      code's variance that the image explains. Of patterns of 8 + 8 units (x > 0.5, z > 0): ``js_sleep``, bits, with its
      floor and controls, and indices of alignment; ``frequencies``, awake and asleep, and ``_floor``, awake twice.
      Pictures, uint8.
    """
    key_recon, key_codes, key_phases, key_overlap = jax.random.split(key, 4)
    index = np.concatenate([first_of_each(np.asarray(data.test_label)), np.arange(size.tested)])
    data = unfolded(data)
    x, label = scaled(data.test[index]), data.test_label[index]
    again = jax.lax.map(lambda key: reconstruct(net, params, x, key)[0], jax.random.split(key_recon, AGAIN))
    phases = net.phases(params, scaled(data.train[: 3 * size.rows // 2]), key_phases, oscillate=False)
    pictures = jnp.stack([x, again[0], jnp.mean(again, 0), phases.sleep[0][: len(x)]])[:, CLASSES:]
    logits, features = jax.vmap(lambda x: judged(judge.weights, x))(pictures)
    right = jnp.mean(jnp.argmax(logits, -1) == label[CLASSES:], 1)
    of_shown, of_sleep = (jax.tree.map(lambda leaf, i=i: leaf[i], jax.vmap(verdict)(logits[1::2])) for i in range(2))
    apart = jax.vmap(lambda other: frechet(other, features[0]))(features[1::2])
    codes = jax.vmap(lambda key: net.infer(params["inference"], 1, x, key))(jax.random.split(key_codes))

    wake, other = (
        jax.tree.map(lambda h, at=at: h[at], phases.wake) for at in (slice(size.rows), slice(size.rows, None))
    )
    asleep = jax.tree.map(lambda *h: jnp.stack(h), tuple(h[: size.rows // 2] for h in phases.sleep), other)
    both = jax.vmap(lambda sleep: pattern_overlap(key_overlap, wake, sleep, units=(8, 8)))(asleep)
    overlap, best = (jax.tree.map(lambda leaf, i=i: leaf[i], both) for i in range(2))
    return {
        "identity": right[1],
        "identity_mean": right[2],
        "mse": jnp.mean((pictures[1] - pictures[0]) ** 2),
        "mse_mean": jnp.mean((pictures[2] - pictures[0]) ** 2),
        "told": explained(*codes),
        "confidence": of_shown["confidence"],
        "frechet": apart[0],
        "sleep_confidence": of_sleep["confidence"],
        "sleep_entropy": of_sleep["entropy"],
        "sleep_frechet": apart[1],
        **{f"js_{kind}": getattr(overlap, kind).js for kind in ("sleep", "floor", "unpaired", "shuffled")},
        "index_shuffled": overlap.index_shuffled,
        "index_unpaired": overlap.index_unpaired,
        "frequencies": overlap.frequencies[0],
        "frequencies_floor": best.frequencies[0],
        "reconstructed": picture(again[0, :CLASSES]),
        "dreamed": picture(phases.sleep[0][: 2 * CLASSES]),
    }


def explained(first: Array, second: Array) -> Array:
    """Share of a code's variance that its input explains, from two samples (N, n) of it for the same inputs."""
    centred = [sample - jnp.mean(sample, 0) for sample in (first, second)]
    return jnp.sum(centred[0] * centred[1]) / jnp.sqrt(jnp.sum(centred[0] ** 2) * jnp.sum(centred[1] ** 2))


def picture(x: Array) -> Array:
    """Pixels of [0, 1] as bytes."""
    return jnp.round(255 * jnp.clip(x, 0, 1)).astype(jnp.uint8)


def baselines(size: Sizes, latent: int, key: Key, data: Images, judge: Classifier) -> Metrics:
    """Scores of what needs no network.

    Returns:
      ``mse_...`` and ``identity_...`` of the mean image, of another test image at random, of black and of principal
      components, as many as the code has units (``pca``) and 64; ``identity``, ``confidence`` and ``entropy`` of real
      images; ``frechet_...``, from the images, of as many ``real`` ones for training and of all those; pictures.
    """
    show = first_of_each(np.asarray(data.test_label))
    data = unfolded(data)
    train, x, label = scaled(data.train), scaled(data.test[: size.tested]), data.test_label[: size.tested]
    mean = jnp.mean(train, 0)
    _, axes = jnp.linalg.eigh(jnp.cov(train, rowvar=False))

    def components(count: int) -> Array:
        of_count = axes[:, -min(count, train.shape[1]) :]
        return mean + (x - mean) @ of_count @ of_count.T

    rivals = {
        "mean": jnp.broadcast_to(mean, x.shape),
        "other": x[jax.random.permutation(key, len(x))],
        "blank": jnp.zeros_like(x),
        "pca": components(latent),
        "pca_64": components(64),
    }
    logits, features = judged(judge.weights, x)
    real = verdict(logits)
    found = {
        "identity": jnp.mean(jnp.argmax(logits, -1) == label),
        "judge": judge.accuracy,
        "confidence": real["confidence"],
        "entropy": real["entropy"],
        "frechet_real": frechet(judged(judge.weights, train[: size.tested])[1], features),
        "shown": data.test[show],
    }
    for name, images in rivals.items():
        logits, others = judged(judge.weights, images)
        found[f"mse_{name}"] = jnp.mean((images - x) ** 2)
        found[f"identity_{name}"] = jnp.mean(jnp.argmax(logits, -1) == label)
        found[f"confidence_{name}"] = verdict(logits)["confidence"]
        found[f"frechet_{name}"] = frechet(others, features)
    return found
