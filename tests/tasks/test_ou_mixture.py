"""Ornstein-Uhlenbeck mixtures: the recursion as a loop, cuts, closed forms, statistics, worlds, refusals."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.tasks.ou_mixture import ou_mixture, ou_moments
from tests.laws.common import compiled

SMALL = {"latents": 3, "stimuli": 7, "batch": 2}
KEY = jax.random.key(0)


@functools.cache
def program(steps, **options):
    task = ou_mixture(**options)
    return compiled(lambda state: task.take(state, steps))


def stream(steps, key=KEY, **options):
    state, example = program(steps, **options)(ou_mixture(**options).init(key))
    return state, jax.tree.map(np.asarray, example)


@pytest.mark.parametrize("dt", [0.1, 1.0, 4.0])
def test_the_stream_equals_the_recursion(dt):
    """The recursion is in NumPy, from the same start with the same normals."""
    options = {**SMALL, "dt": dt}
    start = ou_mixture(**options).init(KEY)
    state, example = stream(9, **options)
    z = np.asarray(start.z)
    for t in range(9):
        eta = np.asarray(jax.random.normal(jax.random.fold_in(start.key, t), (6,))).reshape(2, 3)
        z = (1 - dt / 4) * z + 0.5 * dt**0.5 * eta
        np.testing.assert_allclose(example.y[t], z, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(example.x[t], [start.mixing @ one for one in z], rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(state.z, example.y[-1])
    assert int(state.step) == 9


def test_a_cut_stream_equals_the_whole():
    """The bits are equal in programs compiled as users do; without optimisation no product is fused with a sum."""
    task = ou_mixture(5, 4)
    settings = {"xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False}
    take = {n: jax.jit(lambda state, n=n: task.take(state, n), compiler_options=settings) for n in (1, 5, 7, 8)}
    start = task.init(KEY)
    whole_state, whole = take[8](start)
    assert len(np.unique(whole.y)) == whole.y.size
    for pieces in [(1, 1, 1, 5), (7, 1)]:
        state, parts = start, []
        for steps in pieces:
            state, example = take[steps](state)
            parts.append(example)
        jax.tree.map(lambda w, *p: np.testing.assert_array_equal(np.concatenate(p), w), whole, *parts)
        np.testing.assert_array_equal(state.z, whole_state.z)
        assert int(state.step) == 8
    still, nothing = task.take(start, 0)
    np.testing.assert_array_equal(still.z, start.z)
    assert nothing.x.shape == (0, 1, 4)


@pytest.mark.parametrize("dt", [0.01, 0.1, 2.0])
def test_moments_are_those_of_the_recursion(dt):
    """The variance is the limit of its recursion."""
    s, rho, variance = ou_moments(dt)
    v = 0.0
    for _ in range(20_000):
        v = rho**2 * v + s**2
    assert variance == pytest.approx(v, rel=1e-12)
    assert (s**2, rho) == pytest.approx((dt / 4, 1 - dt / 4))


def test_latents_have_their_moments():
    """6,000 independent latents have their mean and variance at the first step and the last, and lagged covariances.

    9 z-tests at five sigma: false alarm 5e-6. The variance of a product of two normals of correlation r is 1 + r^2, of
    a square 2, in units of the variance squared.
    """
    count = 6000
    _, example = stream(41, latents=20, stimuli=1, batch=count // 20)
    y = example.y.reshape(41, count) / ou_moments(0.1).variance ** 0.5
    for t in (0, 40):
        assert abs(y[t].mean()) < 5 / count**0.5
        assert abs((y[t] ** 2).mean() - 1) < 5 * (2 / count) ** 0.5
    for lag in (1, 5, 20, 40):
        r = 0.975**lag
        assert abs((y[40] * y[40 - lag]).mean() - r) < 5 * ((1 + r**2) / count) ** 0.5
    first, second = y[40, ::2], y[40, 1::2]
    assert abs((first * second).mean()) < 5 / (count / 2) ** 0.5


def test_the_mixing_matrix_has_its_distribution():
    """Its standard deviation is 1 / latents, independent of start and innovations; 4 z-tests at five sigma, 2.3e-6."""
    state = ou_mixture(20, 400).init(KEY)
    unit = 20 * np.asarray(state.mixing)
    assert unit.shape == (400, 20)
    assert abs(unit.mean()) < 5 / 8000**0.5
    assert abs((unit**2).mean() - 1) < 5 * (2 / 8000) ** 0.5
    _, example = stream(1, latents=20, stimuli=400, batch=400)
    start = ou_mixture(20, 400, batch=400).init(KEY)
    eta = np.asarray(example.y[0] - 0.975 * start.z) / 0.025**0.5
    for other in (eta, np.asarray(start.z) / ou_moments(0.1).variance ** 0.5):
        assert abs((20 * np.asarray(start.mixing) * other).mean()) < 5 / 8000**0.5


def test_a_world_may_be_shared():
    """Another key gives other latents; in a jit over lanes each has its own world."""

    def lane(key):
        train = ou_mixture(**SMALL).init(key)
        task = ou_mixture(**SMALL, mixing=train.mixing)
        return train, task.take(task.init(jax.random.fold_in(key, 1)), 5)

    train, (test, example) = compiled(jax.vmap(lane))(jax.random.split(KEY, 3))
    np.testing.assert_array_equal(test.mixing, train.mixing)
    np.testing.assert_allclose(example.x, np.einsum("ksl,ktbl->ktbs", train.mixing, example.y), atol=1e-14)
    assert (np.asarray(jax.random.key_data(test.key)) != np.asarray(jax.random.key_data(train.key))).any(1).all()
    assert len(np.unique(train.mixing)) == 3 * 21


def test_a_vmap_over_seeds_and_time_steps_equals_single_ones():
    keys, dts = jax.random.split(KEY, 3), jnp.array([0.1, 0.5, 4.0])

    def run(key, dt):
        task = ou_mixture(**SMALL, dt=dt)
        return task.take(task.init(key), 6)[1]

    many = compiled(jax.vmap(run))(keys, dts)
    for i, dt in enumerate(dts.tolist()):
        _, one = stream(6, keys[i], **SMALL, dt=dt)
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-12, atol=1e-14), many, one)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"latents": 0}, "latents=0 must be at least 1"),
        ({"batch": 0}, "batch=0"),
        ({"dt": 0}, "dt=0 must be above 0 and at most 4"),
        ({"dt": 4.1}, "dt=4.1"),
        ({"dt": float("nan")}, "dt=nan"),
        ({"mixing": np.zeros((20, 100))}, r"mixing has shape \(20, 100\).* = \(100, 20\)"),
    ],
)
def test_bad_arguments_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        ou_mixture(**options)
