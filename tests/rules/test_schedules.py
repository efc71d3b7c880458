"""Schedules of wake and sleep: phases, coins and their independence, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.networks.two_stream import draw, two_stream
from plasticity_jax.rules.generative import alternating, always, held, independent
from tests.laws.common import seed


def wakes(schedule, steps):
    def body(state, t):
        wake, state = schedule.step(state, jax.random.fold_in(seed(160), t))
        return state, wake

    return np.asarray(jax.lax.scan(body, schedule.init(), jnp.arange(steps))[1])


@pytest.mark.parametrize("period", [1, 2, 5])
def test_phases_alternate_with_the_period(period):
    np.testing.assert_array_equal(wakes(alternating(period), 23), [(t // period) % 2 == 0 for t in range(23)])


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_coins_have_their_probability_and_are_independent(p):
    """Wake has probability p, and phases of the given length are independent; 5 standard errors of 4,000 coins.

    Four counts: a false alarm below 3e-6; the seed is fixed.
    """
    phases, n = 3, 4000
    coins = wakes(held(phases, p), phases * n).reshape(n, phases)
    np.testing.assert_array_equal(coins, np.repeat(coins[:, :1], phases, 1))
    for each in (coins[:, 0], wakes(independent(p), n)):
        pairs = each[1:] & each[:-1]  # neighbours share a coin: the variance is below three times the binomial's
        assert abs(each.mean() - p) < 5 * np.sqrt(p * (1 - p) / n)
        assert abs(pairs.mean() - p * p) < 5 * np.sqrt(3 * p * p * (1 - p * p) / n)


def test_the_coin_is_independent_of_the_networks_numbers():
    """Correlations of wake with the numbers of the same step are below five standard errors; 13 tests, fixed seed.

    The dtype is float32, in which equal keys would give both the same bits.
    """
    keys = jax.random.split(seed(161), 4000)
    wake = jax.vmap(lambda key: independent().step(independent().init(), key)[0])(keys)
    drawn = jax.vmap(lambda key: draw(two_stream((9, 4)), key, 1, jnp.dtype(jnp.float32)))(keys)
    normals = np.concatenate([np.asarray(a)[:, 0] for a in drawn], 1)
    assert np.abs((2 * np.asarray(wake) - 1) @ normals).max() < 5 * 4000**0.5


def test_always_has_one_phase():
    assert wakes(always(), 5).all()
    assert not wakes(always(False), 5).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: alternating(0), "period=0 must be a positive whole number"),
        (lambda: alternating(1.5), "period=1.5 must be a positive whole number"),
        (lambda: held(True), "period=True must be a positive whole number"),
        (lambda: independent(1.0), "p_wake=1.0 must be a probability between 0 and 1"),
        (lambda: held(3, 0.0), "p_wake=0.0 must be a probability"),
        (lambda: held(3, jnp.float32(2)), "p_wake=2.0 must be a probability"),
    ],
)
def test_schedules_that_make_no_sense_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_coin_of_a_small_dtype_has_its_probability():
    for dtype in (jnp.float16, jnp.bfloat16):
        share = wakes(independent(jnp.asarray(0.25, dtype)), 4000).mean()
        assert abs(share - 0.25) < 5 * (0.25 * 0.75 / 4000) ** 0.5
