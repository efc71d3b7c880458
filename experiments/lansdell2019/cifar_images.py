"""Coloured or grey images of the data sets, on the device, and how a network sees them."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.core import eval_context

from experiments.shared.images import images
from plasticity_jax.data import load
from plasticity_jax.typing import Array, Example

SIDE = 8  # of "prototypes"


class Pictures(NamedTuple):
    """Images on the device, (N, height, width, channels) uint8, and their classes (N,)."""

    train: Array
    train_label: Array
    test: Array
    test_label: Array


@eval_context()  # a sweep traces what makes the parts
def pictures(data: str, held: int) -> Pictures:
    """The images that are learned from, and those that judge.

    Args:
      data: "cifar10", "mnist", or "prototypes": ten random images under noise, which need no files.
      held: the last training images, which judge in place of the test images and are not learned from; 0 is none.

    Raises:
      ValueError: if none is left to learn from.
      MissingData: if the set is not on this machine.
    """
    if data == "prototypes":
        made, shape = images(data, 3 * SIDE**2), (-1, SIDE, SIDE, 3)
        found = Pictures(made.train.reshape(shape), made.train_label, made.test.reshape(shape), made.test_label)
    else:
        name: Literal["cifar10", "mnist"] = "mnist" if data == "mnist" else "cifar10"
        train, test = load(name, "train"), load(name, "test")
        found = Pictures(*(jnp.asarray(part[key]) for part in (train, test) for key in ("image", "label")))
    if not held:
        return found
    if held >= len(found.train):
        raise ValueError(f"held={held} leaves none of {len(found.train)} training images to learn from")
    kept = len(found.train) - held
    return Pictures(found.train[:kept], found.train_label[:kept], found.train[kept:], found.train_label[kept:])


def standardised(image: Array) -> Array:
    """uint8 images, each less its mean over its standard deviation, in JAX's default float."""
    value = image.astype(jnp.zeros(()).dtype)
    axes = tuple(range(1, image.ndim))
    centred = value - jnp.mean(value, axes, keepdims=True)
    return centred / jnp.maximum(jnp.std(value, axes, keepdims=True), 1.0)


def example(image: Array, label: Array) -> Example:
    """Images with targets of 1 for their class and 0 for the others."""
    return Example(standardised(image), jax.nn.one_hot(label, 10))
