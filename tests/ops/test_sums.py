"""Running sums in float32 against float64, where plain sums drift; forgetting; the derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.ops.sums import add, empty_sum, leading_mean, mean_of
from tests.laws.common import compiled


def test_a_regression_with_a_weak_direction_does_not_drift():
    """Plain float32 sums lose V's smallest eigenvalue, of a direction of .02 and an offset of one, in 2e5 steps.

    Rounding to nearest leaves a plain sum of 2e5 wrong by up to half of 2^-23 of it at each step, compensation by
    2^-23 of the whole: relative to the weak direction's 2e5 * 4e-4 = 80 that is below 1e-3.
    """
    steps, n = 200_000, 4

    def moments(key):
        key, now = jax.random.split(key)
        z = jax.random.normal(now, (n,), jnp.float32)
        e = jnp.ones(n, jnp.float32) + 0.02 * z
        return key, jnp.outer(e, e)

    @compiled
    def run(key):
        def body(carry, _):
            key, plain, running, exact = carry
            key, x = moments(key)
            return (key, plain + x, add(running, x), exact + x.astype(jnp.float64)), None

        start = (key, jnp.zeros((n, n), jnp.float32), empty_sum((n, n), jnp.float32), jnp.zeros((n, n), jnp.float64))
        return jax.lax.scan(body, start, None, length=steps)[0][1:]

    plain, running, exact = run(jax.random.key(0))
    assert running.total.dtype == running.rest.dtype == jnp.float32
    weak = np.linalg.eigvalsh(np.asarray(exact))[:-1]
    assert np.all(np.abs(weak / (steps * 4e-4) - 1) < 0.05)  # by construction
    np.testing.assert_allclose(np.linalg.eigvalsh(np.float64(running.total))[:-1], weak, rtol=1e-3)
    assert np.abs(np.linalg.eigvalsh(np.float64(plain))[:-1] / weak - 1).max() > 0.02


def test_a_sum_with_forgetting_and_its_derivative_are_right():
    xs = jax.random.normal(jax.random.key(1), (9,))

    def total(xs, keep):
        running = empty_sum((), xs.dtype)
        for x in xs:
            running = add(running, x, keep)
        return running.total

    powers = 0.7 ** np.arange(9)[::-1]
    np.testing.assert_allclose(total(xs, 0.7), powers @ np.asarray(xs), rtol=1e-14)
    np.testing.assert_allclose(jax.grad(total)(xs, 0.7), powers, rtol=1e-14)


@pytest.mark.parametrize("count", [1, 2, 3, 6, 7, 20, 31])
def test_leading_mean_is_the_mean(count):
    x = np.random.default_rng(count).normal(size=(count, 3, 2))
    expected = sum(x[k] for k in range(count)) / count
    for mean in (leading_mean, jax.jit(leading_mean)):
        np.testing.assert_allclose(mean(jnp.asarray(x)), expected, rtol=1e-13)
    np.testing.assert_allclose(jax.vmap(leading_mean, 1)(jnp.asarray(x)), [expected[k] for k in range(3)], rtol=1e-13)
    slope = jax.grad(lambda x: jnp.sum(leading_mean(x) ** 2))(jnp.asarray(x))
    np.testing.assert_allclose(slope, np.broadcast_to(2 * expected / count, x.shape), rtol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 14, 15, 31])
def test_mean_of_a_function_is_the_mean_of_its_values(count):
    rng = np.random.default_rng(count)
    c, trace = rng.normal(size=(count, 3)), {"w": rng.normal(size=(count, 3, 4)), "own": rng.normal(size=(count, 3))}
    expected = {name: np.mean(c.reshape(c.shape + (1,) * (leaf.ndim - 2)) * leaf, 0) for name, leaf in trace.items()}

    def collect(c, trace):
        return {"w": c[:, None] * trace["w"], "own": c * trace["own"]}

    def mean(c, trace):
        return mean_of(collect, c, trace)

    lane = jax.tree.map(lambda leaf: leaf[None], trace)
    means = mean(c, trace), jax.jit(mean)(c, trace), jax.tree.map(lambda leaf: leaf[0], jax.vmap(mean)(c[None], lane))
    for name, leaf in expected.items():
        for each in means:
            np.testing.assert_allclose(each[name], leaf, rtol=1e-12, atol=1e-15)
    slope = jax.grad(lambda c: jnp.sum(mean(c, trace)["w"]))(jnp.asarray(c))
    np.testing.assert_allclose(slope, trace["w"].sum(-1) / count, rtol=1e-12, atol=1e-15)


def test_leading_mean_of_half_precision_does_not_overflow():
    x = jnp.full((100, 2), 60_000, jnp.float16)
    for mean in (leading_mean(x), leading_mean(x[:1])):
        assert (mean.dtype, mean.tolist()) == (jnp.float16, [60_000, 60_000])
