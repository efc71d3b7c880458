r"""Errors of a predicted video, frame by frame: squared error, and structural similarity.

    SSIM = (2 m_x m_y + c_1) (2 s_xy + c_2) / ((m_x^2 + m_y^2 + c_1) (s_x^2 + s_y^2 + c_2)),   averaged over places

with means m, variances s^2 and covariance s_xy under a Gaussian window of 11 x 11 pixels and deviation 1.5 that sums to
one, c_1 = 0.01^2 and c_2 = 0.03^2 for pixels in [0, 1]. Only windows inside the frame count, as in the authors'
code; scikit-image, with gaussian_weights and without sample covariances, leaves out the same edge of 5 pixels.
Source: Wang et al. (2004), equation 13. Both measures reward blurred predictions: a blank frame scores better than the
last frame.
"""

import chex
import jax.numpy as jnp
import numpy as np

from plasticity_jax.typing import Array

WIDTH, DEVIATION = 11, 1.5
C1, C2 = 0.01**2, 0.03**2


def squared_error(predicted: Array, true: Array) -> Array:
    """Squared error of a frame, summed over its pixels, mean over the batch.

    Args:
      predicted: (B, T, H, W, 1).
      true: (B, T, H, W, 1).

    Returns:
      Shape (T,), for each step of the prediction.

    Example:
      >>> import jax.numpy as jnp
      >>> squared_error(jnp.zeros((5, 2, 64, 64, 1)), jnp.ones((5, 2, 64, 64, 1))).tolist()
      [4096.0, 4096.0]
    """
    _check(predicted, true)
    return jnp.mean(jnp.sum((predicted - true) ** 2, (2, 3, 4)), 0)


def ssim(predicted: Array, true: Array) -> Array:
    """Structural similarity, mean over the batch: 1 for equal frames.

    Args:
      predicted: (B, T, H, W, 1), about in [0, 1].
      true: (B, T, H, W, 1), in [0, 1].

    Returns:
      Shape (T,), for each step of the prediction.

    Raises:
      ValueError: if a frame is smaller than the window.

    Example:
      >>> import jax.numpy as jnp
      >>> blank = jnp.zeros((5, 2, 64, 64, 1))
      >>> [round(float(similarity), 4) for similarity in ssim(blank, blank + 1)]
      [0.0001, 0.0001]

    Reference:
      Wang, Bovik, Sheikh & Simoncelli, "Image quality assessment: from error visibility to structural similarity",
      IEEE Transactions on Image Processing 2004.
    """
    _check(predicted, true)
    if min(true.shape[2:4]) < WIDTH:
        raise ValueError(f"frames are {true.shape[2]} x {true.shape[3]}, smaller than the window of {WIDTH} pixels")
    x, y = predicted[..., 0], true[..., 0]
    mean_x, mean_y, xx, yy, xy = (_windowed(image) for image in (x, y, x * x, y * y, x * y))
    product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    luminance = (2 * product + C1) / (squares + C1)
    structure = (2 * (xy - product) + C2) / (xx + yy - squares + C2)
    return jnp.mean(luminance * structure, (0, 2, 3))


def _windowed(image: Array) -> Array:
    """Weighted means of (B, T, H, W) under every window inside the frame, by two products with a banded matrix."""
    weights = np.exp(-0.5 * ((np.arange(WIDTH) - WIDTH // 2) / DEVIATION) ** 2)
    weights /= weights.sum()
    for length in image.shape[2:]:  # each pass takes the third axis and puts its means last
        offset = np.arange(length) - np.arange(length - WIDTH + 1)[:, None]
        inside = (offset >= 0) & (offset < WIDTH)
        band = np.where(inside, weights[np.clip(offset, 0, WIDTH - 1)], 0)
        image = jnp.tensordot(image, jnp.asarray(band, image.dtype), ((2,), (1,)), precision="highest")
    return image


def _check(predicted: Array, true: Array) -> None:
    chex.assert_rank(true, 5, custom_message="frames are (B, T, H, W, 1)")
    chex.assert_shape(true, (..., 1), custom_message="frames are (B, T, H, W, 1), of a single channel")
    chex.assert_equal_shape([predicted, true], custom_message="predicted and true frames must be as many and as large")
