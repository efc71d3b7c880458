"""A convolution: neurons of one channel share their weights, and each reads its own window of the image."""

import functools
from typing import Literal

import jax.numpy as jnp

from plasticity_jax.layers.layer import Init, Layer, Linear, Phi, Transpose, he_normal
from plasticity_jax.ops.activations import check_activation
from plasticity_jax.ops.checks import one_of, whole
from plasticity_jax.ops.correlation import correlation, correlation_credit, correlation_gradient
from plasticity_jax.typing import Array, Key


def conv(
    channels: int,
    kernel: int | tuple[int, int],
    phi: Phi = "relu",
    *,
    stride: int | tuple[int, int] = 1,
    padding: Literal["SAME", "VALID"] = "SAME",
) -> Layer:
    """A convolutional layer over images (B, H, W, C), as `flax.linen.Conv` computes it.

    Args:
      channels: C', of the output.
      kernel: height and width of a window, or one number for both.
      phi: a nonlinearity by name, or any function of a batch: ``lambda v: nn.max_pool(nn.relu(v), (2, 2), (2, 2))``.
      stride: steps of the window, or one number for both directions.
      padding: "SAME", with zeros around the image, so that stride 1 keeps its size, or "VALID", without.

    Returns:
      A `Layer` with W (height, width, C, C') ~ N(0, 2 / (height width C)).

    Raises:
      ValueError: if a number is not whole and at least 1, or phi or padding is not known.

    Example:
      >>> import plasticity_jax as pj
      >>> layers = [conv(8, 5, stride=2), conv(16, 3, "tanh"), pj.layers.flatten(), pj.layers.dense(10)]
      >>> pj.layers.chain((28, 28, 1), layers).h_shapes
      ((28, 28, 1), (14, 14, 8), (14, 14, 16), (10,))
    """
    whole("channels", channels, 1, "channel")
    kernels = _pair("kernel", kernel)
    strides = _pair("stride", stride)
    one_of("padding", padding, ("SAME", "VALID"))
    check_activation(phi)
    linear, credit, gradient = _maps(strides, padding)
    name = f"conv({channels}, {kernel})"
    return Layer(name, linear, _init(name, channels, kernels, padding), phi, credit, gradient, trusted=True)


@functools.cache  # one function for all equal layers, so that networks built alike compare equal; below likewise
def _maps(strides: tuple[int, int], padding: str) -> tuple[Linear, Transpose, Transpose]:
    def linear(w: Array, h: Array) -> Array:
        dtype = jnp.result_type(w, h)
        return correlation(h.astype(dtype), w.astype(dtype), strides, padding)

    def credit(b: Array, h: Array, error: Array) -> Array:
        dtype = jnp.result_type(b, error)
        return correlation_credit(h, b.astype(dtype), error.astype(dtype), strides, padding)

    def gradient(w: Array, h: Array, error: Array) -> Array:
        dtype = jnp.result_type(h, error)
        return correlation_gradient(h.astype(dtype), w, error.astype(dtype), strides, padding)

    return linear, credit, gradient


@functools.cache
def _init(name: str, channels: int, kernels: tuple[int, int], padding: str) -> Init:
    def init(key: Key, shape: tuple[int, ...], dtype: object) -> Array:
        if len(shape) != 3:
            axes = ", ".join(map(str, shape))
            raise ValueError(f"{name} takes images (B, H, W, C), not (B, {axes}): give the chain an in_shape (H, W, C)")
        if padding == "VALID" and (shape[0] < kernels[0] or shape[1] < kernels[1]):
            raise ValueError(
                f"{name} gets images of {shape[0]} x {shape[1]}, smaller than its kernel: use padding='SAME', a "
                "smaller kernel or larger images"
            )
        fan_in = kernels[0] * kernels[1] * shape[2]
        return he_normal(key, (*kernels, shape[2], channels), fan_in, dtype)  # pyright: ignore[reportArgumentType]

    return init


def _pair(name: str, value: int | tuple[int, int]) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, list | tuple) else (value, value)
    if len(pair) != 2:
        raise ValueError(f"{name}={value!r} must be one whole number, or two")
    for each in pair:
        whole(name, each, 1, "pixel")
    return pair
