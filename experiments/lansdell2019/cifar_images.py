"""Coloured or grey images of the data sets, on the device, and their form as inputs of a network."""

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


@eval_context()  # a sweep traces the function that makes the parts
def pictures(data: str, held: int) -> Pictures:
    """The images for training and those for evaluation.

    Args:
      data: "cifar10", "mnist", or "prototypes": ten random images under noise, which need no files.
      held: number of training images, the last ones, that are held out and replace the test images.

    Raises:
      ValueError: if no training image is left.
      MissingData: if the data set is not on this machine.
    """
    if data == "prototypes":
        flat, shape = images(data, 3 * SIDE**2), (-1, SIDE, SIDE, 3)
        whole = Pictures(flat.train.reshape(shape), flat.train_label, flat.test.reshape(shape), flat.test_label)
    else:
        name: Literal["cifar10", "mnist"] = "mnist" if data == "mnist" else "cifar10"
        train, test = load(name, "train"), load(name, "test")
        whole = Pictures(*(jnp.asarray(part[key]) for part in (train, test) for key in ("image", "label")))
    if not held:
        return whole
    if held >= len(whole.train):
        raise ValueError(f"held={held} leaves none of {len(whole.train)} training images to learn from")
    learned = len(whole.train) - held
    return Pictures(
        whole.train[:learned], whole.train_label[:learned], whole.train[learned:], whole.train_label[learned:]
    )


def standardised(image: Array) -> Array:
    """uint8 images, each with its mean subtracted and divided by its standard deviation, in JAX's default float."""
    value = image.astype(jnp.zeros(()).dtype)
    axes = tuple(range(1, image.ndim))
    centred = value - jnp.mean(value, axes, keepdims=True)
    return centred / jnp.maximum(jnp.std(value, axes, keepdims=True), 1.0)


def example(image: Array, label: Array) -> Example:
    """Images with targets of 1 for their class and 0 for the others."""
    return Example(standardised(image), jax.nn.one_hot(label, 10))
