"""Layers without weights: the mean over windows, and the activity as a row."""

import functools

import jax.numpy as jnp

from plasticity_jax.layers.layer import Layer, Linear
from plasticity_jax.ops.checks import whole
from plasticity_jax.typing import Array, PyTree


def pool(size: int) -> Layer:
    """The mean over adjacent windows of size x size pixels; pixels left over at the edge are dropped.

    A maximum is not linear: it belongs in the nonlinearity of the layer before, as `conv` shows.

    Args:
      size: of a window's side.

    Returns:
      A `Layer` without weights, from (B, H, W, C) to (B, H // size, W // size, C).

    Raises:
      ValueError: if the size is not a whole number of at least 1.

    Example:
      >>> import jax.numpy as jnp
      >>> pool(2).linear((), jnp.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0].tolist()
      [[2.5, 4.5], [10.5, 12.5]]
    """
    whole("size", size, 1, "pixel")
    return Layer(f"pool({size})", _mean(size), None, trusted=True)


def flatten() -> Layer:
    """The activity of every example as one row, (B, H, W, C) to (B, H W C), for the dense layers that follow.

    Example:
      >>> import jax.numpy as jnp
      >>> flatten().linear((), jnp.ones((3, 4, 4, 2))).shape
      (3, 32)
    """
    return Layer("flatten()", _rows, None, trusted=True)


@functools.cache  # one function for all pools of a size: networks built alike compare equal
def _mean(size: int) -> Linear:
    def linear(w: PyTree, h: Array) -> Array:
        if h.ndim != 4 or min(h.shape[1:3]) < size:
            raise ValueError(f"pool({size}) takes images (B, H, W, C) of at least {size} x {size}, not {h.shape}")
        rows, columns = h.shape[1] // size, h.shape[2] // size
        # Term by term: XLA's sums over a short axis, and its windows, are slow on a CPU.
        real = h.astype(jnp.promote_types(h.dtype, jnp.float32))  # sums in bfloat16 lose digits
        terms = [real[:, u : rows * size : size, v : columns * size : size] for u in range(size) for v in range(size)]
        return (sum(terms[1:], terms[0]) / size**2).astype(h.dtype)

    return linear


def is_flatten(layer: Layer) -> bool:
    """Returns whether a layer only lays its activity out as rows."""
    return layer.linear is _rows


def _rows(w: PyTree, h: Array) -> Array:
    return h.reshape(h.shape[0], -1)
