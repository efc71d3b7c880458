"""Pattern generation: the sinusoids by least squares, fixed inputs, draws, cuts, the cost of silence."""

import functools

import jax
import numpy as np
import pytest
from scipy import stats

from plasticity_jax.tasks.pattern_generation import pattern_generation
from tests.laws.common import compiled

FREQUENCIES = (1, 2, 3, 5)


@functools.cache
def program(steps, **options):
    task = pattern_generation(**options)
    return compiled(lambda key: task.take(task.init(key), steps)[1])


def stream(steps, key=0, **options):
    return jax.tree.map(np.asarray, program(steps, **options)(jax.random.key(key)))


def sines(y, dt):
    """Amplitude and phase at each frequency, by least squares on a column y (steps,), and the largest residual."""
    seconds = np.arange(len(y)) * dt / 1000
    waves = [2 * np.pi * f * seconds for f in FREQUENCIES]
    design = np.stack([*map(np.sin, waves), *map(np.cos, waves)], -1)
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    a, b = coefficients.reshape(2, -1)
    return np.hypot(a, b), np.arctan2(b, a), np.abs(design @ coefficients - y).max()


def test_the_target_is_the_sum_of_four_sinusoids():
    """This holds for every output of every stream, also at other steps than 1 ms and other trials than 1 s."""
    for trial, dt in ((250, 4.0), (300, 2.0)):
        example = stream(2 * trial, trial=trial, dt=dt, n_out=3, batch=2)
        assert example.y.shape == (2 * trial, 2, 3)
        np.testing.assert_array_equal(example.y[:trial], example.y[trial:])
        np.testing.assert_allclose(np.abs(example.y).max(0), 1, rtol=1e-12)
        shapes = set()
        for b, k in np.ndindex(2, 3):
            amplitude, phase, residual = sines(example.y[:trial, b, k], dt)
            assert residual < 1e-10
            assert amplitude.max() < 4 * amplitude.min()  # U[0.5, 2), all of one scale
            shapes.add(round(float(phase[0]), 9))
            t = 17
            by_hand = sum(
                a * np.sin(2 * np.pi * f * t * dt / 1000 + p)
                for a, f, p in zip(amplitude, FREQUENCIES, phase, strict=True)
            )
            assert example.y[t, b, k] == pytest.approx(by_hand)
        assert len(shapes) == 6


def test_amplitudes_and_phases_are_uniform():
    """Amplitudes are tested by their ratios, which do not depend on the scale: Kolmogorov-Smirnov, false alarm 2e-6."""
    y = stream(100, trial=100, dt=10.0, n_in=1, n_out=40, batch=30).y
    fits = [sines(y[:, b, k], 10.0) for b, k in np.ndindex(30, 40)]
    phases = np.array([phase for _, phase, _ in fits]) % (2 * np.pi) / (2 * np.pi)
    assert stats.kstest(phases.ravel(), "uniform").pvalue > 1e-6
    ratio = np.array([a[0] / (a[0] + a[1]) for a, *_ in fits])
    draws = np.random.default_rng(0).uniform(0.5, 2, (2, 20_000))
    assert stats.ks_2samp(ratio, draws[0] / draws.sum(0)).pvalue > 1e-6


def test_the_cost_of_silence_follows_parseval():
    """The best constant over a whole second is 0, and its half squared error the sum of A^2 / 4."""
    y = stream(250, trial=250, dt=4.0, n_out=5, batch=3).y
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-12)
    for b, k in np.ndindex(3, 5):
        amplitude, *_ = sines(y[:, b, k], 4.0)
        assert np.mean(y[:, b, k] ** 2) / 2 == pytest.approx(np.sum(amplitude**2) / 4)


def test_poisson_trains_are_drawn_once():
    """They have their rate and are independent over time, channels and streams, at five sigma."""
    trial, channels, p = 500, 80, 0.2
    x = stream(2 * trial, trial=trial, dt=4.0, n_in=channels, batch=2).x
    assert set(np.unique(x)) == {0, 1}
    np.testing.assert_array_equal(x[:trial], x[trial:])
    x = x[:trial] - p
    sem = p * (1 - p) / (trial * channels) ** 0.5
    assert abs(x.mean()) < 5 * (p * (1 - p) / x.size) ** 0.5
    for one, other in ((x[1:, 0], x[:-1, 0]), (x[:, 0, 1:], x[:, 0, :-1]), (x[:, 0], x[:, 1])):
        assert abs(np.mean(one * other)) < 5 * sem
    assert (stream(50, key=1, trial=500, n_in=80).x != stream(50, trial=500, n_in=80).x).any()


def test_channels_of_the_clock_take_turns():
    x = stream(60, trial=60, dt=5.0, n_in=4, rate=100.0, spikes="clock", batch=2).x  # every second step
    np.testing.assert_array_equal(x[:, 0], x[:, 1])
    expected = np.zeros((60, 4))
    for t in range(60):
        if (t % 15) % 2 == 0:
            expected[t, t // 15] = 1
    np.testing.assert_array_equal(x[:, 0], expected)
    with jax.numpy_rank_promotion("raise"):
        seldom = stream(100, trial=100, dt=1.0, n_in=10, rate=5.0, spikes="clock").x[:, 0]
    np.testing.assert_array_equal(np.argmax(seldom, 0), 10 * np.arange(10))
    np.testing.assert_array_equal(seldom.sum(0), 1)


def test_a_cut_stream_equals_the_whole_and_trials_are_marked():
    options = {"trial": 7, "dt": 100.0, "n_in": 3, "rate": 5.0, "batch": 2}
    task = pattern_generation(**options)

    def taken(key):
        state = task.init(key)
        whole = task.take(state, 20)[1]
        state, first = task.take(state, 9)
        return whole, first, task.take(state, 11)

    whole, first, (state, second) = compiled(taken)(jax.random.key(3))
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), first, second)
    jax.tree.map(np.testing.assert_array_equal, joined, jax.tree.map(np.asarray, whole))
    assert int(state.step) == 20
    assert whole.weight is None
    assert whole.start.dtype == bool
    np.testing.assert_array_equal(np.asarray(whole.start), np.repeat(np.arange(20)[:, None] % 7 == 0, 2, 1))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"trial": 0}, "trial=0"),
        ({"n_out": 0}, "n_out=0"),
        ({"dt": 0.0}, "dt=0 is outside"),
        ({"dt": 30.0}, r"rate=1.5 is outside \[0, 1\]"),
        ({"spikes": "gauss"}, "spikes='gauss' is not known"),
    ],
)
def test_bad_arguments_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        pattern_generation(**options)
