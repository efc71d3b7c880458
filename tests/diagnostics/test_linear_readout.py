"""The closed-form readout against NumPy's lstsq in double precision, also on ill-conditioned features."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.diagnostics.linear_readout import linear_readout
from tests.laws.common import compiled

N, WIDTH, OUT = 40, 6, 2


def given(scale=1.0):
    rng = np.random.default_rng(0)
    features = 3 + rng.standard_normal((N, WIDTH)) * np.logspace(0, -scale, WIDTH)
    return features, rng.standard_normal((N, OUT))


def lstsq(features, targets, ridge):
    """Least squares on a column of ones and the features, with rows below that penalise all but the intercept."""
    n = features.shape[1]
    rows = np.hstack([np.ones((len(features), 1)), features])
    below = np.hstack([np.zeros((n, 1)), (len(features) * ridge) ** 0.5 * np.eye(n)])
    values = np.vstack([targets, np.zeros((n, targets.shape[1]))])
    solution = np.linalg.lstsq(np.vstack([rows, below]), values, rcond=None)[0]
    return solution[1:].T, solution[0]


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_the_readout_equals_lstsqs(ridge):
    features, targets = given()
    readout = compiled(linear_readout)(jnp.asarray(features), jnp.asarray(targets), ridge)
    w, bias = lstsq(features, targets, ridge)
    np.testing.assert_allclose(readout.w, w, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(readout.bias, bias, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(readout(jnp.asarray(features)), features @ w.T + bias, rtol=1e-9, atol=1e-12)


def test_single_precision_does_not_square_the_condition_number():
    """The condition number is 1e4, and normal equations would lose the solution at 1e8 > 2^23."""
    features, _ = given(scale=4.0)
    w = np.ones((OUT, WIDTH))
    targets = features @ w.T
    single = [jnp.asarray(leaf, jnp.float32) for leaf in (features, targets)]
    readout = compiled(lambda f, y: linear_readout(f, y, 0.0))(*single)
    assert readout.w.dtype == readout.bias.dtype == jnp.float32
    # The inputs are rounded at 3 * 6e-8 and 18 * 6e-8; the least column is 1e-4 of the first.
    np.testing.assert_allclose(readout.w, w, atol=0.1)
    np.testing.assert_allclose(readout(single[0]), targets, atol=1e-4)


def test_dead_features_get_no_weight_and_the_gradient_is_finite():
    features, targets = given()
    features[:, 2] = 0
    solve = lambda f: linear_readout(f, jnp.asarray(targets), 1e-3)  # noqa: E731
    np.testing.assert_array_equal(solve(jnp.asarray(features)).w[:, 2], 0)
    gradient = jax.grad(lambda f: jnp.sum(solve(f)(f) ** 2))(jnp.asarray(features))
    assert np.all(np.isfinite(gradient))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(AssertionError, match="one row an example"):
        linear_readout(jnp.ones((4, 2)), jnp.ones((3, 1)), 0.1)
