"""Images of Omniglot and mini-ImageNet, class by class, as input to the network of Lindsey & Litwin-Kumar (2020)."""

from typing import NamedTuple, cast

import jax.numpy as jnp
import numpy as np

from experiments.shared.images import scaled
from plasticity_jax.data import by_class, check_disjoint, load, resize
from plasticity_jax.data.datasets import Name
from plasticity_jax.typing import Array

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's colours, with which the authors normalise mini-ImageNet."""


class Bank(NamedTuple):
    """Images on the device, class by class.

    Attributes:
      images: (classes * per_class, side, side, channels), uint8.
      classes: their number.
      per_class: images of each.
    """

    images: Array
    classes: int
    per_class: int


def banks(data: str, side: int) -> tuple[Bank, Bank]:
    """Images of the classes for meta-training, and of those for evaluation."""
    if data == "prototypes":
        rng = np.random.default_rng(0)
        prototypes = rng.random((20, 1, side, side, 1)) + 0.2 * rng.standard_normal((20, 12, side, side, 1))
        images = (255 * np.clip(prototypes, 0, 1)).astype(np.uint8)
        rows = images[:12], images[12:]
    else:
        name = cast(Name, data)
        parts = load(name, "train"), load(name, "test")
        check_disjoint(parts[0]["label"], parts[1]["label"])
        rows = [by_class(resize(part["image"], side), part["label"]) for part in parts]
    train, test = (Bank(jnp.asarray(row.reshape(-1, *row.shape[2:])), *row.shape[:2]) for row in rows)
    return train, test


def network_input(images: Array, data: str, inverted: bool) -> Array:
    """Network input from uint8 images: normalised colours, or grey values, with ink 1 on paper 0 if inverted."""
    values = scaled(images)
    if data == "mini_imagenet":
        return (values - jnp.asarray(MEAN)) / jnp.asarray(STD)
    return 1 - values if inverted else values
