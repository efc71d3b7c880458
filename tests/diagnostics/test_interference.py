"""Interference against the plain loop over tasks, and the outputs that must not enter it."""

import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.diagnostics.interference import interference

K, Q, OUT = 4, 5, 2


def test_interference_equals_the_loop_over_tasks():
    outputs = np.random.default_rng(0).standard_normal((K, K, Q, OUT))
    expected = []
    for n in range(1, K):
        moved = [outputs[n, j, k] - outputs[n - 1, j, k] for j in range(n) for k in range(Q)]
        expected.append(np.mean([delta @ delta for delta in moved]))
    np.testing.assert_allclose(interference(jnp.asarray(outputs)), expected, rtol=1e-12)


def test_outputs_for_later_tasks_do_not_count():
    outputs = np.random.default_rng(1).standard_normal((K, K, Q, OUT))
    expected = interference(jnp.asarray(outputs))
    outputs[np.triu_indices(K, 1)] = np.nan
    np.testing.assert_array_equal(interference(jnp.asarray(outputs)), expected)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(AssertionError, match="as many tasks as were learned"):
        interference(jnp.zeros((3, 4, 5, 1)))
