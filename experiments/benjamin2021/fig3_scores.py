"""Scores of a network of digits, its reconstructions, samples and patterns, and of baselines that need no network."""

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benjamin2021.common import CLASSES, Classifier, frechet, gaussian_pictures, judged, verdict
from experiments.shared.images import Images, scaled, unfolded
from plasticity_jax.diagnostics.pattern_overlap import BITS, Quantise, pattern_counts, pattern_overlap
from plasticity_jax.networks.autoencoder import Autoencoder
from plasticity_jax.networks.hierarchy import reconstruct
from plasticity_jax.run.program import Metrics
from plasticity_jax.typing import Array, Key, Params

AGAIN = 10
"""Samples of a reconstruction, for their mean; the first one is judged alone, too."""

UNITS = (8, 8)
"""Units of x and of z in a pattern, as in the paper."""

DRAWS = 10
"""Draws of units, over which the numbers on patterns are averaged."""

QUANTISERS: dict[str, Quantise] = {"": "binary", "_rounded": "round"}
"""Quantisers by the suffix of a metric's name."""

Patterns: TypeAlias = tuple[Array, ...]
"""x and z; a row of both is one sample."""


class Sizes(NamedTuple):
    """Numbers of images that are measured.

    Attributes:
      tested: test images.
      rows: training images for patterns; half as many further ones give the floor, the best that sleep can reach.
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
      For reconstructions: ``identity``, the share that the judge assigns to the image's class, and ``mse`` (both also
      ``_mean``, for the mean of 10 samples); ``confidence``; ``frechet``, from the test images. For samples:
      ``sleep_confidence``, ``sleep_frechet``, and ``sleep_entropy`` of their classes in bits (at most 3.32). For the
      code: ``told``, the share of its variance that the image explains, and ``code_variance`` (the prior's is 1). For
      patterns of 8 + 8 units, binary (x > 0.5 and z > 0) and "rounded" (to the nearest integer, as in the paper):
      ``js_sleep`` in bits, with its floor and controls, and indices of alignment; for the `common_patterns`,
      ``correlation_sleep`` and ``_floor``, means over draws of units, and the ``frequencies`` of one draw. Pictures are
      uint8.
    """
    key_recon, key_codes, key_phases, key_overlap = jax.random.split(key, 4)
    index = np.concatenate([first_of_each(np.asarray(data.test_label)), np.arange(size.tested)])
    data = unfolded(data)
    x, label = scaled(data.test[index]), data.test_label[index]
    reconstructions = jax.lax.map(lambda key: reconstruct(net, params, x, key)[0], jax.random.split(key_recon, AGAIN))
    phases = net.phases(params, scaled(data.train[: 3 * size.rows // 2]), key_phases, oscillate=False)
    pictures = jnp.stack([x, reconstructions[0], jnp.mean(reconstructions, 0), phases.sleep[0][: len(x)]])[:, CLASSES:]
    logits, features = jax.vmap(lambda x: judged(judge.weights, x))(pictures)
    right = jnp.mean(jnp.argmax(logits, -1) == label[CLASSES:], 1)
    of_recon, of_sleep = (jax.tree.map(lambda leaf, i=i: leaf[i], jax.vmap(verdict)(logits[1::2])) for i in range(2))
    distances = jax.vmap(lambda other: frechet(other, features[0]))(features[1::2])
    codes = jax.vmap(lambda key: net.infer(params["inference"], 1, x, key))(jax.random.split(key_codes))

    half = size.rows // 2
    wake, other = (
        jax.tree.map(lambda h, at=at: h[at], phases.wake) for at in (slice(size.rows), slice(size.rows, None))
    )
    sleep = phases.sleep[0], phases.sleep[1]
    patterns: Metrics = {}
    for end, quantise in QUANTISERS.items():
        overlap = pattern_overlap(key_overlap, wake, sleep, units=UNITS, quantise=quantise)
        patterns |= {
            f"js_{kind}{end}": getattr(overlap, kind).js for kind in ("sleep", "floor", "unpaired", "shuffled")
        }
        patterns |= {f"index_{kind}{end}": getattr(overlap, f"index_{kind}") for kind in ("shuffled", "unpaired")}

        def common(key: Key, quantise: Quantise = quantise) -> Array:
            first_wake, first_sleep = (jax.tree.map(lambda h: h[:half], of) for of in (wake, sleep))
            second_wake = jax.tree.map(lambda h: h[half:], wake)
            return common_patterns(key, first_wake, first_sleep, other, second_wake, quantise)

        frequencies = jax.lax.map(common, jax.random.split(key_overlap, DRAWS))
        awake, asleep, again_awake = jnp.moveaxis(frequencies, -1, 0)
        patterns[f"correlation_sleep{end}"] = jnp.mean(jax.vmap(correlation)(awake, asleep))
        patterns[f"correlation_floor{end}"] = jnp.mean(jax.vmap(correlation)(awake, again_awake))
        patterns[f"frequencies{end}"] = frequencies[0]
    return {
        "identity": right[1],
        "identity_mean": right[2],
        "mse": jnp.mean((pictures[1] - pictures[0]) ** 2),
        "mse_mean": jnp.mean((pictures[2] - pictures[0]) ** 2),
        "told": explained(*codes),
        "code_variance": jnp.mean(jnp.var(wake[1], 0)),
        "confidence": of_recon["confidence"],
        "frechet": distances[0],
        "sleep_confidence": of_sleep["confidence"],
        "sleep_entropy": of_sleep["entropy"],
        "sleep_frechet": distances[1],
        **patterns,
        "reconstructed": picture(reconstructions[0, :CLASSES]),
        "dreamed": picture(phases.sleep[0][: 2 * CLASSES]),
    }


def common_patterns(
    key: Key,
    wake: Patterns,
    sleep: Patterns,
    other: Patterns,
    chosen_in: Patterns,
    quantise: Quantise,
    top: int = 256,
) -> Array:
    """Frequencies of patterns of 8 pixels and 8 units of the code, drawn as `pattern_overlap` draws them.

    Patterns are the most frequent ones in separate rows: if they were chosen in the rows where they are counted, they
    would be those that chance made frequent in one phase, and would be rarer in the other.

    Args:
      key: of the draw of units.
      wake: x (n, n_x) and z (n, n_z).
      sleep: likewise.
      other: likewise, awake on other images.
      chosen_in: likewise, awake; rows from which the patterns are chosen.
      quantise: "binary" or "round", see `pattern_overlap`.
      top: patterns to return.

    Returns:
      Shape (top, 3): frequencies awake, asleep, and awake in the other rows.
    """
    key_x, key_z = jax.random.split(key)
    frequent = jnp.mean(wake[0] > 0.5, 0) > 0.05
    of_x = jnp.argsort(-(jax.random.gumbel(key_x, frequent.shape) + jnp.where(frequent, 1000, 0)))[: UNITS[0]]
    of_z = jax.random.permutation(key_z, wake[1].shape[1])[: UNITS[1]]
    rows = jnp.stack([
        integers(x[:, of_x], z[:, of_z], quantise) for x, z in (chosen_in, wake, sleep, other)
    ])  # fmt: skip
    counts = pattern_counts(rows, BITS[quantise]).astype(jnp.float32)
    return counts[1:, jax.lax.top_k(counts[0], top)[1]].T / len(wake[0])


def integers(x: Array, z: Array, quantise: Quantise) -> Array:
    """Patterns (n, units) of integers from 0: whether x > 0.5 and z > 0, or both rounded, -8 to 7, plus 8."""
    if quantise == "binary":
        return jnp.concatenate([x > 0.5, z > 0], 1).astype(jnp.uint32)
    return (jnp.clip(jnp.round(jnp.concatenate([x, z], 1)), -8, 7) + 8).astype(jnp.uint32)


def correlation(first: Array, second: Array) -> Array:
    """Pearson's correlation of two vectors; 0 if one of them is constant."""
    a, b = (values - jnp.mean(values) for values in (first, second))
    scale = jnp.sqrt(jnp.sum(a**2) * jnp.sum(b**2))
    return jnp.sum(a * b) / jnp.where(scale > 0, scale, 1)


def explained(first: Array, second: Array) -> Array:
    """Share of a code's variance that its input explains, from two samples (N, n) of it for the same inputs."""
    centred = [sample - jnp.mean(sample, 0) for sample in (first, second)]
    return jnp.sum(centred[0] * centred[1]) / jnp.sqrt(jnp.sum(centred[0] ** 2) * jnp.sum(centred[1] ** 2))


def picture(x: Array) -> Array:
    """Pixels of [0, 1] as bytes."""
    return jnp.round(255 * jnp.clip(x, 0, 1)).astype(jnp.uint8)


def baselines(size: Sizes, latent: int, key: Key, data: Images, judge: Classifier) -> Metrics:
    """Scores of baselines that need no network.

    Returns:
      ``mse_...``, ``identity_...`` and ``confidence_...`` of the mean image, of another test image at random, of a
      black image, of principal components, as many as the code has units (``pca``) and 64, and of samples of a Gaussian
      with the mean and covariance of images (``gauss``); ``entropy_gauss`` of the samples' classes, in bits;
      ``identity``, ``confidence`` and ``entropy`` of real images; ``frechet_...``, the distance from the test images of
      as many ``real`` training images and of all those; pictures.
    """
    first = first_of_each(np.asarray(data.test_label))
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
        "gauss": jnp.clip(gaussian_pictures(jax.random.fold_in(key, 1), train[: size.tested], len(x)), 0, 1),
    }
    logits, features = judged(judge.weights, x)
    real = verdict(logits)
    metrics = {
        "identity": jnp.mean(jnp.argmax(logits, -1) == label),
        "judge": judge.accuracy,
        "confidence": real["confidence"],
        "entropy": real["entropy"],
        "frechet_real": frechet(judged(judge.weights, train[: size.tested])[1], features),
        "shown": data.test[first],
    }
    for name, images in rivals.items():
        logits, others = judged(judge.weights, images)
        metrics[f"mse_{name}"] = jnp.mean((images - x) ** 2)
        metrics[f"identity_{name}"] = jnp.mean(jnp.argmax(logits, -1) == label)
        metrics[f"confidence_{name}"] = verdict(logits)["confidence"]
        metrics[f"frechet_{name}"] = frechet(others, features)
        if name == "gauss":
            metrics["entropy_gauss"] = verdict(logits)["entropy"]
    return metrics
