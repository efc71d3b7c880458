"""A correlation of images with a kernel, whose gradient is quick on a CPU too.

There XLA computes the gradient by the kernel as a correlation with windows as large as the image, at half the rate of
the forward pass. As k x k products of shifted images with the error it takes less than half the time, and a forward and
backward pass through six layers of 128 channels 1.6 times less, for more memory (630 MB, not 250, at 50 images of 84).
"""

import functools

import jax
import jax.numpy as jnp

from plasticity_jax.typing import Array


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def correlate(images: Array, kernel: Array, stride: int) -> Array:
    """y[n, r, c, o] = sum over u, v, i of images[n, s r + u, s c + v, i] kernel[u, v, i, o], nothing padded.

    Differentiable in both modes, to any order.

    Args:
      images: (N, H, W, C).
      kernel: (k, k, C, C').
      stride: s.

    Returns:
      Shape (N, (H - k) // s + 1, (W - k) // s + 1, C').
    """
    return _by_lax(images, kernel, stride)


@correlate.defjvp
def _correlate_jvp(stride: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    """Of the products reverse mode runs the transpose alone, which is the kernel's gradient."""
    (images, kernel), (d_images, d_kernel) = primals, tangents
    by_kernel = _by_products if jax.default_backend() == "cpu" else _by_lax
    tangent = correlate(d_images, kernel, stride) + by_kernel(images, d_kernel, stride)
    return correlate(images, kernel, stride), tangent


def _by_lax(images: Array, kernel: Array, stride: int) -> Array:
    layout = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(images, kernel, (stride, stride), "VALID", dimension_numbers=layout)


def _by_products(images: Array, kernel: Array, stride: int) -> Array:
    n, height, width, channels = images.shape
    k = kernel.shape[0]
    rows, columns = (height - k) // stride + 1, (width - k) // stride + 1

    def product(u: int, v: int) -> Array:
        last = (u + stride * (rows - 1) + 1, v + stride * (columns - 1) + 1)
        shifted = images[:, u : last[0] : stride, v : last[1] : stride]
        return shifted.reshape(-1, channels) @ kernel[u, v]  # of matrices: twice as fast as of tensors

    total = sum((product(u, v) for u in range(k) for v in range(k)), jnp.zeros((), images.dtype))
    return total.reshape(n, rows, columns, -1)
