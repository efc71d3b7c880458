"""Incremental sines: every function is recovered from its points; draws, orders, pools, cuts, levels."""

import functools

import jax
import numpy as np
import pytest

from plasticity_jax.tasks.incremental_sines import incremental_sines, no_lifetime_learning, predict_zero
from tests.laws.common import compiled

SMALL = {"functions": 4, "batches": 3, "batch": 8, "query": 6, "pool": 9}


@functools.cache
def program(steps, **options):
    task = incremental_sines(**options)
    return compiled(lambda state: task.take(state, steps))


def stream(steps, key=0, **options):
    episode = program(steps, **options)(incremental_sines(**options).init(jax.random.key(key)))[1]
    return jax.tree.map(np.asarray, episode)


def slots_of(x):
    """The slot of each point, from its one-hot code, which is checked."""
    code = x[..., :-1]
    assert set(np.unique(code)) == {0, 1}
    np.testing.assert_array_equal(code.sum(-1), 1)
    return code.argmax(-1)


def fitted(x, y):
    """Amplitude and phase of the sine through all points, y = a sin x + b cos x, and the largest residual."""
    design = np.stack([np.sin(x), np.cos(x)], -1)
    (a, b), *_ = np.linalg.lstsq(design, y, rcond=None)
    return np.hypot(a, b), np.arctan2(b, a), np.abs(design @ [a, b] - y).max()


def functions_of(steps, key=0, **options):
    """(steps, B, functions, 2): each lifetime's amplitudes and phases, slot by slot, from its query."""
    query = stream(steps, key, **options).query
    n, points = query.x.shape[-1] - 1, options["query"]
    x, y = query.x[..., -1], query.y[..., 0]
    functions = np.empty((*x.shape[:2], n, 2))
    for place in np.ndindex(*functions.shape[:3]):
        own = np.s_[place[0], place[1], place[2] * points : (place[2] + 1) * points]
        *functions[place], residual = fitted(x[own], y[own])
        assert residual < 1e-12
    return functions


@pytest.mark.parametrize("order", ["iid", "continual"])
def test_support_and_query_are_of_the_same_sines(order):
    options = {**SMALL, "order": order, "episodes": 2}
    episode, known = stream(3, **options), functions_of(3, **options)
    support, query = episode.support, episode.query
    assert support.x.shape == (3, 2, 12, 8, 5)
    assert support.y.shape == (3, 2, 12, 8, 1)
    assert query.x.shape == (3, 2, 24, 5)
    assert query.y.shape == (3, 2, 24, 1)
    np.testing.assert_array_equal(slots_of(query.x), np.broadcast_to(np.repeat(np.arange(4), 6), (3, 2, 24)))
    slots = slots_of(support.x)
    np.testing.assert_array_equal(slots, np.broadcast_to(slots[..., :1], slots.shape))  # one function to a batch
    for s, b in np.ndindex(3, 2):
        amplitude, phase = np.moveaxis(known[s, b][slots[s, b]], -1, 0)
        expected = amplitude * np.sin(support.x[s, b, ..., -1] + phase)
        np.testing.assert_allclose(support.y[s, b, ..., 0], expected, atol=1e-12)
        np.testing.assert_array_equal(np.bincount(slots[s, b, :, 0]), 3)
        if order == "continual":
            np.testing.assert_array_equal(slots[s, b, :, 0], np.repeat(np.arange(4), 3))
    points = np.concatenate([support.x[..., -1].ravel(), query.x[..., -1].ravel()])
    assert len(np.unique(points)) == points.size  # the query's points are new
    if order == "iid":
        assert len(np.unique(slots[..., 0].reshape(6, 12), axis=0)) == 6


def test_the_shuffle_is_uniform():
    """Chi-squared of each slot's counts at each place is below mean plus 5.5 deviations; false alarm about 2e-6."""
    slots = slots_of(stream(400, functions=3, batches=2, batch=1, query=1, pool=None).support.x)[:, 0, :, 0]
    counts = np.stack(
        [(slots == k).sum(0) for k in range(3)]
    )  # each column has 2 degrees of freedom, each row is fixed
    assert np.sum((counts - 400 / 3) ** 2 / (400 / 3)) < 12 + 5.5 * 24**0.5


def test_draws_have_the_papers_distributions():
    """Amplitude, phase and point are uniform, and independent of one another: z-tests at five sigma, 9 of them.

    The false alarm is 5e-6; the ranges are checked at their ends, which 8,000 draws come within 0.2 % of.
    """
    options = {"functions": 4, "batches": 1, "batch": 4, "query": 4, "pool": None}
    amplitude, phase = functions_of(2000, **options).reshape(-1, 2).T
    x = stream(2000, **options).support.x[:, :, :, 0, -1].ravel()
    unit = np.stack([(amplitude - 0.1) / 5, phase / np.pi, (x + 5) / 10])
    assert (unit.min(1) > -1e-12).all()
    assert (unit.max(1) < 1).all()
    assert (unit.min(1) < 0.002).all()
    assert (unit.max(1) > 0.998).all()
    centred = (unit - 0.5) * 12**0.5
    count = unit.shape[1]
    assert np.abs(centred.mean(1) * count**0.5).max() < 5
    assert np.abs((centred**2).mean(1) - 1).max() < 5 * (0.8 / count) ** 0.5  # the square's variance is 4/5
    correlations = (centred @ centred.T / count)[np.triu_indices(3, 1)]  # x is of the support, in another order
    assert np.abs(correlations).max() < 5 / count**0.5


def test_a_pool_is_shared_and_drawn_without_replacement():
    """All lifetimes draw from nine functions, none twice, in any slot; another stream has others."""
    known = functions_of(40, episodes=2, **SMALL)
    pool, which = np.unique(known.reshape(-1, 2).round(9), axis=0, return_inverse=True)
    assert len(pool) == 9
    which = which.reshape(80, 4)
    assert all(len(set(lifetime)) == 4 for lifetime in which)
    assert all(len(set(slot)) == 9 for slot in which.T)  # (8/9)^80 < 1e-4 for each of 36 to be missing
    others = np.unique(functions_of(40, key=1, episodes=2, **SMALL).reshape(-1, 2).round(9), axis=0)
    assert len(np.unique(np.concatenate([pool, others]), axis=0)) == 18
    fresh = functions_of(40, **{**SMALL, "pool": None}).reshape(-1, 2)
    assert len(np.unique(fresh.round(9), axis=0)) == 160


@pytest.mark.parametrize("pool", [None, 9])
def test_a_cut_stream_equals_the_whole(pool):
    options = {**SMALL, "pool": pool, "episodes": 2}
    start = incremental_sines(**options).init(jax.random.key(3))
    _, whole = program(5, **options)(start)
    state, first = program(2, **options)(start)
    state, second = program(3, **options)(state)
    jax.tree.map(lambda w, *parts: np.testing.assert_array_equal(np.concatenate(parts), w), whole, first, second)
    assert int(state.step) == 5
    assert len(np.unique(whole.query.x[..., -1])) == whole.query.x[..., -1].size  # all of them differ


def test_levels_equal_those_by_quadrature():
    """The levels are the mean square of y, and its mean variance given the point, by the midpoint rule."""
    middle = (np.arange(200) + 0.5) / 200
    amplitude, phase = 0.1 + 5 * middle[:, None, None], np.pi * middle[:, None]
    y = amplitude * np.sin(10 * middle - 5 + phase)
    assert predict_zero() == pytest.approx((y**2).mean(), rel=1e-4)
    assert no_lifetime_learning() == pytest.approx(y.var((0, 1)).mean(), rel=1e-4)


def test_levels_equal_those_of_a_regression():
    """The error of a table of 50 bins of x on 8,000 new functions is within five standard errors of the level.

    The table's bins cost 0.15 % of the level and its fit on 24,000 points 0.2 %; five standard errors, of the mean over
    4,000 functions' errors, make 8 %, where the two levels are 29 % apart. False alarm 1e-6 for both.
    """
    query = stream(2000, functions=4, batches=1, batch=1, query=6, pool=None).query
    x, y = query.x[:, 0, :, -1], query.y[:, 0, :, 0]
    bins = ((x + 5) * 5).astype(int)
    train, test = np.s_[:1000], np.s_[1000:]
    total, count = (np.bincount(bins[train].ravel(), w, 50) for w in (y[train].ravel(), None))
    errors = ((y[test] - (total / count)[bins[test]]) ** 2).reshape(4000, 6).mean(1)  # of one function each
    assert abs(errors.mean() - no_lifetime_learning()) < 5 * errors.std() / len(errors) ** 0.5
    squares = (y**2).reshape(8000, 6).mean(1)
    assert abs(squares.mean() - predict_zero()) < 5 * squares.std() / len(squares) ** 0.5


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"order": "random"}, "order='random' is not known; use one of iid, continual"),
        ({"batch": 0}, "batch=0 must be at least 1"),
        ({"episodes": 0}, "episodes=0"),
        ({"functions": 10, "pool": 9}, "pool=9 has too few functions for lifetimes of 10"),
    ],
)
def test_bad_arguments_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        incremental_sines(**options)
