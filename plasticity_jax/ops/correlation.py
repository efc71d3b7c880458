r"""A correlation of images with a kernel, and its two transposes, fast inside a loop on a CPU, too.

    v[n, r, c, o] = sum over u, v, i of h[n, s r + u - p, s c + v - p, i] kernel[u, v, i, o],   zeros outside

Its transpose in h is a correlation of the dilated error with the flipped kernel; that in the kernel is a correlation of
the images with the dilated error, with images as channels and channels as images. JAX writes both with their axes in
another order, for which XLA on a CPU runs plain loops inside `jax.lax.scan`, 15 to 70 times slower than outside (jaxlib
0.10): a learning step with two layers took 142 ms inside and 5 ms outside. With the axes moved first, as here, it takes
5 ms in both. On an accelerator, with libraries for JAX's form, that form is used.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from plasticity_jax.typing import Array

Pads = tuple[tuple[int, int], tuple[int, int]]

_lax = functools.partial(jax.lax.conv_general_dilated, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def correlation(h: Array, kernel: Array, strides: Sequence[int], padding: str) -> Array:
    """v, by the formula above.

    Args:
      h: (N, H, W, C).
      kernel: (k, k', C, C').
      strides: s, two numbers.
      padding: "SAME" or "VALID".

    Returns:
      Shape (N, R, S, C').

    Example:
      >>> import jax.numpy as jnp
      >>> correlation(jnp.ones((1, 5, 5, 2)), jnp.ones((3, 3, 2, 4)), (2, 2), "VALID").shape
      (1, 2, 2, 4)
    """
    return _lax(h, kernel, strides, padding)


def correlation_credit(h: Array, kernel: Array, error: Array, strides: Sequence[int], padding: str) -> Array:
    """The transpose of `correlation` in h, of an error (N, R, S, C'): (N, H, W, C); only the shape of h is read."""
    pads = _pads(h, kernel, strides, padding)

    def on_cpu(kernel: Array, error: Array) -> Array:
        before = [k - 1 - low for k, (low, _) in zip(kernel.shape, pads, strict=False)]
        sizes = zip(h.shape[1:3], kernel.shape, error.shape[1:3], strides, before, strict=False)
        edges = [(low, side + k - 2 - (r - 1) * s - low) for side, k, r, s, low in sizes]
        return _lax(error, jnp.flip(kernel, (0, 1)).swapaxes(2, 3), (1, 1), edges, lhs_dilation=strides)

    def on_accelerator(kernel: Array, error: Array) -> Array:
        return jax.linear_transpose(lambda h: _lax(h, kernel, strides, pads), h)(error)[0]

    return jax.lax.platform_dependent(kernel, error, cpu=on_cpu, default=on_accelerator)


def correlation_gradient(h: Array, kernel: Array, error: Array, strides: Sequence[int], padding: str) -> Array:
    """The transpose of `correlation` in the kernel, of an error (N, R, S, C'); only the kernel's shape is read."""
    pads = _pads(h, kernel, strides, padding)

    def on_cpu(h: Array, error: Array) -> Array:
        sizes = zip(h.shape[1:3], kernel.shape, error.shape[1:3], strides, pads, strict=False)
        edges = [(low, (r - 1) * s + k - side - low) for side, k, r, s, (low, _) in sizes]
        images, windows = h.transpose(3, 1, 2, 0), error.transpose(1, 2, 0, 3)
        return _lax(images, windows, (1, 1), edges, rhs_dilation=strides).transpose(1, 2, 0, 3)

    def on_accelerator(h: Array, error: Array) -> Array:
        return jax.linear_transpose(lambda kernel: _lax(h, kernel, strides, pads), kernel)(error)[0]

    return jax.lax.platform_dependent(h, error, cpu=on_cpu, default=on_accelerator)


def _pads(h: Array, kernel: Array, strides: Sequence[int], padding: str) -> Pads:
    """Zeros in front of and behind each side."""
    low_high = jax.lax.padtype_to_pads(h.shape[1:3], kernel.shape[:2], strides, padding)
    return tuple((int(low), int(high)) for low, high in low_high)  # pyright: ignore[reportReturnType]
