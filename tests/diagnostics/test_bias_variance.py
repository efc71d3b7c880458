"""Moments against NumPy on the stacked samples and a Gaussian's; cases without variance, mean or reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.diagnostics.bias_variance import bias_variance, moments, updates_along
from tests.laws.common import compiled

KEY = jax.random.key(0)


def flat(tree):
    """The leaves of a dictionary in the order of their names, as one row."""
    return np.concatenate([np.ravel(tree[name]) for name in sorted(tree)])


def test_moments_equal_numpys_on_the_stacked_samples():
    groups, per_group = 5, 7
    keys = jax.random.split(KEY, (groups, per_group))
    reference = {"a": jnp.array([[1.0, -2.0, 0.5], [3.0, 1.0, 1.0]]), "b": jnp.array([0.3, 4.0])}

    def estimate(key):
        key_a, key_b = jax.random.split(key)
        return {"a": 1 + jax.random.normal(key_a, (2, 3)), "b": jax.random.exponential(key_b, (2,))}

    result = compiled(lambda keys: bias_variance(estimate, keys, reference))(keys)
    samples = np.array([[flat(estimate(key)) for key in row] for row in keys])
    every, target = samples.reshape(groups * per_group, -1), flat(reference)
    mean, variance = every.mean(0), every.var(0, ddof=1)
    error = samples.mean(1).std(0, ddof=1) / np.sqrt(groups)
    for tree, expected in (
        (result.mean, mean),
        (result.variance, variance),
        (result.standard_error, error),
        (result.bias, mean - target),
        (result.z, (mean - target) / error),
    ):
        np.testing.assert_allclose(flat(tree), expected, rtol=1e-10)
    np.testing.assert_allclose(result.snr, np.mean(mean**2 / variance), rtol=1e-10)
    np.testing.assert_allclose(result.snr_total, np.sum(mean**2) / np.sum(variance), rtol=1e-10)
    lengths = np.linalg.norm(mean), np.linalg.norm(target)
    np.testing.assert_allclose(result.cosine, mean @ target / (lengths[0] * lengths[1]), rtol=1e-10)
    np.testing.assert_allclose(result.norm_ratio, lengths[0] / lengths[1], rtol=1e-10)
    np.testing.assert_allclose(result.rms_error, np.sqrt(np.mean(np.sum((every - target) ** 2, 1))), rtol=1e-10)


def test_single_precision_is_right_far_from_zero():
    """The mean is 1,000 standard deviations, at which sums of raw squares would lose the variance.

    Numbers near 1,000 are rounded by 3e-5: against group means that spread by 1/sqrt(250) = 0.06 that is 1e-3 for each
    of their mean's two roundings. The variance is about means, which cost it 1e-9, and its sums some 1e-6.
    """
    keys = jax.random.split(KEY, (40, 250))

    def estimate(key):
        return 1000 + jax.random.normal(key, (3,), jnp.float32)

    result, samples = compiled(lambda keys: (moments(estimate, keys), jax.vmap(jax.vmap(estimate))(keys)))(keys)
    samples = np.asarray(samples, float)
    np.testing.assert_allclose(result.variance, samples.var((0, 1), ddof=1), rtol=1e-5)
    np.testing.assert_allclose(result.standard_error, samples.mean(1).std(0, ddof=1) / 40**0.5, rtol=4e-3)
    assert {leaf.dtype for leaf in jax.tree.leaves(result)} == {jnp.dtype(jnp.float32)}


def test_a_gaussian_estimator_has_its_known_moments():
    """Bounds are five standard deviations: with 200 entries, one false alarm in 1e4 keys."""
    groups, per_group, entries = 40, 100, 200
    count = groups * per_group
    mean, scale = jnp.linspace(-1, 2, entries), jnp.geomspace(0.1, 10, entries)
    shift = scale  # a bias of one standard deviation

    def run(keys):
        def estimate(key):
            return mean + scale * jax.random.normal(key, (entries,))

        return bias_variance(estimate, keys, mean), bias_variance(estimate, keys, mean - shift)

    fair, biased = compiled(run)(jax.random.split(KEY, (groups, per_group)))
    assert np.abs((fair.mean - mean) / scale).max() * count**0.5 < 5
    assert np.abs(fair.variance / scale**2 - 1).max() * (count / 2) ** 0.5 < 5
    # z is Student's t of 39 degrees: E z^2 = 39 / 37, Var z^2 = 2.5
    assert abs(np.mean(fair.z**2) - 39 / 37) < 5 * (2.5 / entries) ** 0.5
    # 1 / standard error is off by 1 / sqrt(2 * 39) = 0.11, the bias by 1 / sqrt(count)
    assert np.abs(biased.z / count**0.5 - 1).max() < 0.9
    assert abs(float(np.mean(count**0.5 / biased.z)) - 1) < 5 * 0.115 / entries**0.5


def test_a_constant_estimate_has_no_variance():
    keys = jax.random.split(KEY, (7, 1001))
    value = jnp.array([0.1, -3.3e-12, 0.0], jnp.float32)

    def same_always(key):
        return value + 0 * jax.random.normal(key, (3,), jnp.float32)  # the compiler cannot tell that it is zero

    same = compiled(lambda keys: bias_variance(same_always, keys, value))(keys)
    np.testing.assert_array_equal(same.mean, value)
    for exact in (same.variance, same.standard_error, same.bias, same.z, same.rms_error):
        np.testing.assert_array_equal(exact, 0)
    wrong = jnp.array([0.2, 3e-12, 0.0], jnp.float32)
    off = compiled(lambda keys: bias_variance(same_always, keys, wrong))(keys)
    np.testing.assert_array_less(1e6, np.abs(off.z[:2]))  # biases of the size of the values, against rounding
    for result in (same, off):
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))
        assert float(result.snr_total) == pytest.approx(2.0**46)  # 1 / eps^2
        assert float(result.snr) == pytest.approx(2.0**46 * 2 / 3)


@pytest.mark.parametrize("zero", ["estimate", "reference", "both"])
def test_ratios_are_zero_where_an_estimate_or_reference_vanishes(zero):
    keys = jax.random.split(KEY, (3, 4))
    scale, reference = (0.0 if zero != "reference" else 1.0), jnp.full(2, 0.0 if zero != "estimate" else 1.0)
    result = bias_variance(lambda key: scale * jax.random.normal(key, (2,)), keys, reference)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result))
    assert (float(result.cosine), float(result.norm_ratio)) == (0, 0)
    assert (float(result.snr) > 0) == (zero == "reference")


def test_keys_and_references_that_do_not_fit_are_refused():
    keys = jax.random.split(KEY, (3, 2))
    for wrong in (KEY, keys[0], keys[:1]):
        with pytest.raises(ValueError, match="give \\(groups, per_group\\)"):
            moments(jax.random.normal, wrong)
    with pytest.raises(ValueError, match="not floating"):
        moments(lambda key: jax.random.bits(key), keys)
    with pytest.raises(AssertionError, match="structure and shapes of an estimate"):
        bias_variance(jax.random.normal, keys, jnp.zeros(2))


def test_updates_along_a_stream_equal_those_of_the_loop():
    """The rule's update depends on its key, its traces and its batch: noise plus a fading sum of batches."""

    def init(params, key, batch):
        return jax.random.normal(key) + 0 * batch.sum()

    def update(params, traces, key, batch):
        traces = 0.5 * traces + batch.sum()
        return params * jax.random.normal(key) + traces, traces, Info(traces, jnp.array(True), {})

    params, batches = jnp.array([1.0, -2.0]), jnp.arange(8.0).reshape(4, 2)
    updates = updates_along(LearningRule(init, update), params, KEY, batches)
    traces = jax.random.normal(KEY)
    for t in range(4):
        traces = 0.5 * traces + np.sum(batches[t])
        expected = params * jax.random.normal(jax.random.fold_in(KEY, t)) + traces
        np.testing.assert_allclose(updates[t], expected, rtol=1e-12)
