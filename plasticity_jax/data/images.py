"""Labelled images on the host: grouped by class, resized, and checks that two splits share no class."""

import jax
import jax.numpy as jnp
import numpy as np

CHUNK = 1024
"""Images that are resized at a time, as float32."""


def by_class(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Images grouped by class, one row for each class, on the host.

    Args:
      images: (N, ...).
      labels: (N,), any integers.

    Returns:
      Shape (classes, per_class, ...): classes in ascending order of labels, images of a class in the given order.

    Raises:
      ValueError: if the classes differ in size, or the numbers of labels and images differ.

    Example:
      >>> by_class(np.arange(6), np.array([7, 2, 2, 7, 2, 7]))
      array([[1, 2, 4],
             [0, 3, 5]])
    """
    if len(images) != len(labels):
        raise ValueError(f"{len(images)} images with {len(labels)} labels: give each image its own")
    names, counts = np.unique(labels, return_counts=True)
    least, most = counts.argmin(), counts.argmax()
    if counts[least] < counts[most]:
        raise ValueError(
            f"every class must have as many images, but {names[least]} has {counts[least]} and {names[most]} has "
            f"{counts[most]}: leave some out"
        )
    return images[np.argsort(labels, kind="stable")].reshape(len(names), counts[0], *images.shape[1:])


def check_disjoint(train_labels: np.ndarray, test_labels: np.ndarray) -> None:
    """Refuses training and test splits that share a class.

    Args:
      train_labels: of the classes of meta-training, (N,).
      test_labels: of the classes of the test, (M,).

    Raises:
      ValueError: if a class is in both.
    """
    shared = np.intersect1d(train_labels, test_labels)
    if shared.size:
        raise ValueError(
            f"{shared.size} classes are in both the training and the test split, such as {shared[0]}: the test would "
            "not be of new classes"
        )


def resize(images: np.ndarray, side: int) -> np.ndarray:
    """Square images of another size; each new pixel is a weighted mean of nearby pixels (bilinear, antialiased).

    Args:
      images: (N, H, W, C) uint8.
      side: new height and width.

    Returns:
      Shape (N, side, side, C) uint8, on the host.

    Example:
      >>> resize(np.full((2, 105, 105, 1), 255, np.uint8), 84).shape
      (2, 84, 84, 1)
    """
    resized = np.empty((len(images), side, side, images.shape[-1]), np.uint8)
    for start in range(0, len(images), CHUNK):
        part = jnp.asarray(images[start : start + CHUNK], jnp.float32)
        shape = (len(part), side, side, images.shape[-1])
        exact = jax.image.resize(part, shape, "linear", antialias=True)
        resized[start : start + CHUNK] = np.clip(np.round(np.asarray(exact)), 0, 255)
    return resized
