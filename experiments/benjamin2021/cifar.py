"""Coloured images for Figure 4, and the small classifier that judges them."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import eval_context

from experiments.benjamin2021.common import CLASSES
from experiments.shared.images import images
from plasticity_jax.data import load, minibatches
from plasticity_jax.ops.convolution import convolve
from plasticity_jax.typing import Array, Params


class Pictures(NamedTuple):
    """Coloured images on the device, uint8, and their classes.

    Attributes:
      train: (N, side, side, 3).
      train_label: (N,), int32.
      test: (M, side, side, 3).
      test_label: (M,).
    """

    train: Array
    train_label: Array
    test: Array
    test_label: Array


@functools.cache
@eval_context()  # a sweep makes its parts under a trace
def pictures(data: str, side: int) -> Pictures:
    """A set by name.

    Raises:
      ValueError: if the set is not known.
      MissingData: if it is not on this machine.
    """
    if data == "prototypes":
        flat, shape = images(data, 3 * side**2), (-1, side, side, 3)
        return Pictures(flat.train.reshape(shape), flat.train_label, flat.test.reshape(shape), flat.test_label)
    if data != "cifar10":
        raise ValueError(f"data={data!r} is not known; use 'cifar10' or 'prototypes' (which needs no files)")
    train, test = load(data, "train"), load(data, "test")
    pooled = [averaged(part["image"], side) for part in (train, test)]
    return Pictures(*map(jnp.asarray, (pooled[0], train["label"], pooled[1], test["label"])))


def averaged(image: np.ndarray, side: int) -> np.ndarray:
    """(N, n, n, 3) uint8 to (N, side, side, 3), means over squares."""
    by = image.shape[1] // side
    sums = image.reshape(len(image), side, by, side, by, 3).sum((2, 4), dtype=np.uint32)
    return np.round(sums / by**2).astype(np.uint8)


def signed(image: Array) -> Array:
    """uint8 to [-1, 1], in JAX's default float."""
    return image.astype(jnp.zeros(()).dtype) / 127.5 - 1


@functools.cache
@eval_context()  # a sweep makes its parts under a trace
def judge(data: str, side: int, steps: int) -> Params:
    """Trains a classifier, by Adam on its cross-entropy, from a key of its own, so that all seeds share one judge."""
    examples = pictures(data, side)
    key_weights, key_stream = jax.random.split(jax.random.key(21))
    tx = optax.adam(optax.linear_schedule(2e-3, 0, steps))

    @jax.jit
    def train(examples: Pictures) -> Params:
        def step(state: tuple[Params, optax.OptState], index: Array) -> tuple[tuple[Params, optax.OptState], None]:
            def loss(weights: Params) -> Array:
                logits = judged(weights, signed(examples.train[index]))[0]
                return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, examples.train_label[index]))

            weights, moments = state
            updates, moments = tx.update(jax.grad(loss)(weights), moments)
            return (optax.apply_updates(weights, updates), moments), None

        shapes = {"first": (4, 4, 3, 32), "second": (4, 4, 32, 64), "third": (4 * side**2, 64), "last": (64, CLASSES)}
        keys = jax.random.split(key_weights, len(shapes))
        weights = {
            name: {
                "w": jax.random.normal(key, shape) * (2 / np.prod(shape[:-1])) ** 0.5,
                "bias": jnp.zeros((shape[-1],)),
            }
            for key, (name, shape) in zip(keys, shapes.items(), strict=True)
        }
        stream = minibatches(len(examples.train), 128)
        index = stream.take(stream.init(key_stream), steps)[1]
        return jax.lax.scan(step, (weights, tx.init(weights)), jnp.asarray(index))[0][0]

    return train(examples)


def judged(weights: Params, x: Array) -> tuple[Array, Array]:
    """Logits (N, 10) that the classifier gives pictures (N, side, side, 3), and its last hidden layer (N, 64)."""
    h = x
    for name in ("first", "second"):
        h = jax.nn.relu(convolve(h, weights[name]["w"], 2, 1) + weights[name]["bias"])
    h = jax.nn.relu(h.reshape(len(h), -1) @ weights["third"]["w"] + weights["third"]["bias"])
    return h @ weights["last"]["w"] + weights["last"]["bias"], h
