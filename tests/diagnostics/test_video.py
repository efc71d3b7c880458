"""Squared error and structural similarity by horizon: the formula as loops in SciPy, closed cases, refusals."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage, signal

from plasticity_jax.diagnostics.video import squared_error, ssim

SHAPE = (2, 3, 20, 26, 1)


def frames(seed=0):
    true = np.random.default_rng(seed).random(SHAPE)
    noise = np.random.default_rng(seed + 1).standard_normal(SHAPE)
    return true + np.array([0.05, 0.3, 2.0])[:, None, None, None] * noise, true


def inside(image):
    """Every window of 11 x 11 pixels under the printed weights, which sum to one."""
    squares = np.add.outer(np.arange(-5, 6) ** 2, np.arange(-5, 6) ** 2)
    window = np.exp(-squares / (2 * 1.5**2))
    return signal.convolve2d(image, window / window.sum(), mode="valid")


def cropped(image):
    """The mean as in scikit-image: over the whole frame, reflected at its edges, less 5 pixels on each side."""
    return ndimage.gaussian_filter(image, 1.5, truncate=3.5)[5:-5, 5:-5]


@pytest.mark.parametrize("mean", [inside, cropped])
def test_ssim_equals_equation_13(mean):
    predicted, true = frames()
    expected = np.zeros(SHAPE[:2])
    for place in np.ndindex(*SHAPE[:2]):
        x, y = predicted[place][..., 0], true[place][..., 0]
        m_x, m_y = mean(x), mean(y)
        s_xy, s_xx, s_yy = mean(x * y) - m_x * m_y, mean(x * x) - m_x**2, mean(y * y) - m_y**2
        c_1, c_2 = (0.01 * 1) ** 2, (0.03 * 1) ** 2
        similar = (2 * m_x * m_y + c_1) * (2 * s_xy + c_2) / ((m_x**2 + m_y**2 + c_1) * (s_xx + s_yy + c_2))
        expected[place] = similar.mean()
    assert expected.min() < 0.1 < 0.9 < expected.max()
    np.testing.assert_allclose(ssim(jnp.asarray(predicted), jnp.asarray(true)), expected.mean(0), rtol=1e-10)


def test_ssim_of_equal_and_of_grey_frames_is_in_closed_form():
    """Equal frames give 1; grey frames have no structure."""
    predicted, true = (jnp.asarray(part) for part in frames(2))
    np.testing.assert_allclose(ssim(true, true), 1, rtol=1e-12)
    a, b = np.array([0.0, 0.2, 1.0]), np.array([0.0, 0.7, 0.3])
    grey_a, grey_b = (jnp.broadcast_to(grey[:, None, None, None], SHAPE) for grey in (a, b))
    np.testing.assert_allclose(ssim(grey_a, grey_b), (2 * a * b + 1e-4) / (a**2 + b**2 + 1e-4), rtol=1e-10)
    single = ssim(predicted.astype(jnp.float32), true.astype(jnp.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, ssim(predicted, true), atol=1e-4)  # 1e-7 of a square, over c_2 = 1e-3


def test_squared_error_is_the_sum_over_a_frame():
    predicted, true = frames(3)
    expected = [np.mean([((predicted[b, t] - true[b, t]) ** 2).sum() for b in range(2)]) for t in range(3)]
    np.testing.assert_allclose(squared_error(jnp.asarray(predicted), jnp.asarray(true)), expected, rtol=1e-12)


@pytest.mark.parametrize("measure", [squared_error, ssim])
def test_frames_that_do_not_fit_are_refused(measure):
    frame = jnp.zeros(SHAPE)
    with pytest.raises(AssertionError, match="as many and as large"):
        measure(frame[:, :2], frame)
    with pytest.raises(AssertionError, match=r"\(B, T, H, W, 1\)"):
        measure(frame[0], frame[0])
    with pytest.raises(AssertionError, match="of a single channel"):
        measure(*2 * (jnp.zeros((*SHAPE[:-1], 3)),))


def test_frames_smaller_than_the_window_are_refused():
    with pytest.raises(ValueError, match="frames are 20 x 10, smaller than the window of 11"):
        ssim(*2 * (jnp.zeros(SHAPE)[:, :, :, :10],))
