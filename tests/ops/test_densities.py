"""Log densities against scipy.stats, scores against their derivatives, samples against their moments."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from plasticity_jax.ops.densities import check_density, log_density, sample, score

MEANS = jnp.array([-0.7, 0.0, 0.02, 0.4, 1.3])


def test_the_gaussian_log_density_and_score_are_right():
    x, sigma = MEANS[::-1] + 0.1, 0.3
    expected = scipy.stats.norm.logpdf(x, MEANS, sigma)
    np.testing.assert_allclose(log_density("gaussian", x, MEANS, sigma), expected, rtol=0, atol=1e-13)
    slope = jax.grad(lambda m: jnp.sum(log_density("gaussian", x, m, sigma)))(MEANS)
    np.testing.assert_allclose(score("gaussian", x, MEANS), sigma**2 * slope, rtol=0, atol=1e-14)


def test_the_poisson_log_probability_and_score_are_right():
    """Values are counts of quanta; a mean that is not positive has the floor's rate, with a score of zero."""
    counts, sigma = np.array([0, 1, 3, 7, 0]), 0.3
    x, rate = jnp.asarray(counts * sigma**2), (np.maximum(MEANS, 0) + 0.01) / sigma**2
    expected = scipy.stats.poisson.logpmf(counts, rate)
    np.testing.assert_allclose(log_density("poisson", x, MEANS, sigma), expected, rtol=0, atol=1e-12)
    h = 1e-3 * 0.02  # differences of fourth order, far from the kink at 0
    f = [scipy.stats.poisson.logpmf(counts, (np.maximum(MEANS + k * h, 0) + 0.01) / sigma**2) for k in (-2, -1, 1, 2)]
    slope = (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h)
    scores = score("poisson", x, MEANS)
    np.testing.assert_allclose(scores[2:], sigma**2 * slope[2:], rtol=1e-8)
    np.testing.assert_array_equal(scores[:2], 0)


@pytest.mark.parametrize("noise", ["gaussian", "poisson"])
def test_samples_have_the_mean_and_the_variance(noise):
    """Ten tests at five standard errors each have a false alarm below 1e-5; the seed is fixed.

    A Poisson sample has the variance sigma^2 m+ and the fourth central moment sigma^4 m+^2 (3 + sigma^2 / m+).
    """
    n, sigma = 20_000, 0.3
    means = jnp.broadcast_to(MEANS, (n, len(MEANS)))
    key = jax.random.key(1)
    innovation = jax.random.normal(key, means.shape) if noise == "gaussian" else key
    x = np.asarray(sample(noise, means, sigma, innovation))
    floored = np.maximum(MEANS, 0) + 0.01
    mean = MEANS if noise == "gaussian" else floored
    variance = np.full(len(MEANS), sigma**2) if noise == "gaussian" else sigma**2 * floored
    kurtosis = np.full(len(MEANS), 3.0) if noise == "gaussian" else 3 + sigma**2 / floored
    assert (np.abs(x.mean(0) - mean) < 5 * np.sqrt(variance / n)).all()
    assert (np.abs(((x - mean) ** 2).mean(0) - variance) < 5 * variance * np.sqrt((kurtosis - 1) / n)).all()
    if noise == "poisson":
        counts = x / sigma**2
        np.testing.assert_allclose(counts, np.rint(counts), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("noise", ["gaussian", "poisson"])
def test_dtypes_are_kept(noise, dtype):
    mean = MEANS.astype(dtype)
    x = sample(noise, mean, 0.3, mean if noise == "gaussian" else jax.random.key(0))
    assert x.dtype == log_density(noise, x, mean, 0.3).dtype == score(noise, x, mean).dtype == dtype


def test_many_quanta_approach_a_gaussian():
    """log P(count) -> log density of N(m+, sigma^2 m+) plus log sigma^2, with an error that falls as sigma does."""
    for sigma in (0.01, 0.001):
        m = 0.5 - 0.01
        x = jnp.round(0.5 * (1 + 1.5 * sigma / math.sqrt(0.5)) / sigma**2) * sigma**2
        actual = float(log_density("poisson", x, jnp.asarray(m), sigma))
        expected = scipy.stats.norm.logpdf(float(x), 0.5, sigma * math.sqrt(0.5)) + math.log(sigma**2)
        assert abs(actual - expected) < 2 * sigma


def test_unknown_noise_is_refused():
    with pytest.raises(ValueError, match="noise='cauchy' is not known; use one of gaussian, poisson"):
        check_density("cauchy")


def test_counts_beyond_float16_are_sampled_in_float16():
    """A mean of 8 in quanta of 1e-4 is 80,000 counts, which float16 does not hold; its standard deviation is 0.03."""
    mean = jnp.full(100, 8, jnp.float16)
    drawn = sample("poisson", mean, 0.01, jax.random.key(0))
    assert drawn.dtype == jnp.float16
    np.testing.assert_allclose(drawn.astype(float), 8.01, atol=0.2)
