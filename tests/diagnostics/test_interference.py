"""Interference against the plain loop over tasks, and what must not enter it."""

import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.diagnostics.interference import interference

K, Q, OUT = 4, 5, 2


def test_against_the_loop_over_tasks():
    answers = np.random.default_rng(0).standard_normal((K, K, Q, OUT))
    want = []
    for n in range(1, K):
        moved = [answers[n, j, k] - answers[n - 1, j, k] for j in range(n) for k in range(Q)]
        want.append(np.mean([delta @ delta for delta in moved]))
    np.testing.assert_allclose(interference(jnp.asarray(answers)), want, rtol=1e-12)


def test_answers_to_later_tasks_do_not_count():
    answers = np.random.default_rng(1).standard_normal((K, K, Q, OUT))
    want = interference(jnp.asarray(answers))
    answers[np.triu_indices(K, 1)] = np.nan
    np.testing.assert_array_equal(interference(jnp.asarray(answers)), want)


def test_shapes_that_do_not_fit():
    with pytest.raises(AssertionError, match="as many tasks as were learned"):
        interference(jnp.zeros((3, 4, 5, 1)))
