"""Images of the data sets, flat and on the device."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.data import load
from plasticity_jax.typing import Array, PyTree


class Images(NamedTuple):
    """Grey images on the device, flat, and their classes.

    Attributes:
      train: (N, pixels), uint8.
      train_label: (N,), int32.
      test: (M, pixels), uint8.
      test_label: (M,), int32.
    """

    train: Array
    train_label: Array
    test: Array
    test_label: Array


def images(data: str, pixels: int) -> Images:
    """A data set by name.

    Args:
      data: "mnist", or "prototypes": ten random images under noise, which need no files.
      pixels: the number that an image must have.

    Raises:
      ValueError: if the data set is unknown, or its images have another size.
      MissingData: if the data set is not on this machine.
    """
    if data == "prototypes":
        rng = np.random.default_rng(0)
        prototype = rng.random((10, pixels))
        label = rng.integers(0, 10, 1500).astype(np.int32)
        image = np.clip(prototype[label] + 0.3 * rng.standard_normal((1500, pixels)), 0, 1)
        image = (255 * image).astype(np.uint8)
        return Images(*map(jnp.asarray, (image[:1000], label[:1000], image[1000:], label[1000:])))
    if data != "mnist":
        raise ValueError(f"data={data!r} is not known; use 'mnist' or 'prototypes' (which needs no files)")
    train, test = load(data, "train"), load(data, "test")
    flat = [part["image"].reshape(len(part["image"]), -1) for part in (train, test)]
    if flat[0].shape[1] != pixels:
        raise ValueError(f"{data} has images of {flat[0].shape[1]} pixels, but the network takes {pixels}")
    return Images(*map(jnp.asarray, (flat[0], train["label"], flat[1], test["label"])))


def scaled(image: Array) -> Array:
    """uint8 to [0, 1], in JAX's default float."""
    return image.astype(jnp.zeros(()).dtype) / 255


def unfolded(data: PyTree) -> PyTree:
    """The same arrays behind a barrier, which keeps the compiler from constant-folding a whole data set."""
    return jax.lax.optimization_barrier(data)
