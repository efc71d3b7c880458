"""Divisive normalisation across channels."""

import jax
import jax.numpy as jnp

from plasticity_jax.typing import Array, Scalar

EPSILON = 1e-4
"""Pixels with a root mean square well below 0.01 stay faint, and no slope exceeds 100.

Karras et al. print 1e-8, with a slope of up to 1e4 where all channels are silent, which is harmless in their generator.
But a critic that normalises twice, with a penalty that holds its slope to 1, has a slope of 1e7 at a grey image (pixels
0) with its initial weights; with 1e-4 the slope is 1e3. At an image of noise this changes the slope by two parts in a
thousand; at an image that is half nearly grey (0.004), by a quarter.
"""


def divisive(x: Array, epsilon: Scalar = EPSILON) -> Array:
    """y_c = x_c / sqrt(mean over c' of x_c'^2 + epsilon), at every pixel.

    Args:
      x: (..., C), the channels last.
      epsilon: positive; the slope at x = 0 is its inverse square root.

    Returns:
      An array of x's shape; derivatives of every order are finite, at x = 0 too.

    Example:
      >>> import jax.numpy as jnp
      >>> divisive(jnp.asarray([2.0, 0.0, 0.0, 0.0]), epsilon=3.0).tolist()
      [1.0, 0.0, 0.0, 0.0]

    Reference:
      Karras, Aila, Laine & Lehtinen, "Progressive growing of GANs", ICLR 2018, section 4.2.
    """
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + jnp.asarray(epsilon, x.dtype))
