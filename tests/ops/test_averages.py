"""Running averages against the weighted mean, and before the first value."""

import jax.numpy as jnp
import numpy as np

from plasticity_jax.ops.averages import beyond, moved, no_average


def test_an_average_is_the_weighted_mean_of_past_values():
    rng = np.random.default_rng(0)
    values, weights, rate = rng.standard_normal((7, 3)) + 5, np.array([1.0, 0.5, 0, 2, 1, 0, 3]), 0.3
    average = no_average((3,), jnp.float64)
    for t in range(7):
        average = moved(average, rate, weights[t] * values[t], weights[t])
        fading = weights[: t + 1] * (1 - rate) ** np.arange(t, -1, -1)
        expected = fading @ values[: t + 1] / fading.sum()
        np.testing.assert_allclose(beyond(average, jnp.zeros((2, 3))), -np.stack([expected, expected]), rtol=1e-13)
        share = jnp.array([[2.0], [0.0]])
        np.testing.assert_allclose(beyond(average, jnp.ones((2, 3)), share), 1 - share * expected, rtol=1e-12)
    assert np.abs(expected - values.mean(0)).max() > 0.05


def test_deviations_from_an_empty_average_are_zero():
    average = moved(no_average((), jnp.float32), 0.5, jnp.float32(0), 0.0)
    assert beyond(average, jnp.full(3, 7.0, jnp.float32)).tolist() == [0.0, 0.0, 0.0]
