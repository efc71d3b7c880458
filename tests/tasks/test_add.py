"""Add: floors, the label's equation, cuts, statistics, lags."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.tasks.add import add, add_entropy_floors, check_lags

KEY = jax.random.key(4)
PRINTED = {"nothing": 0.6616, "second": 0.6277, "first": 0.5192, "linear": 0.4719, "both": 0.4545}


@functools.cache
def compiled(steps, **options):
    task = add(**options)
    return jax.jit(lambda state: task.take(state, steps))


def stream(steps, key=KEY, start=0, **options):
    state = add(**options).init(key)
    return jax.tree.map(np.asarray, compiled(steps, **options)(state._replace(step=state.step + start))[1])


def test_floors_equal_those_of_the_paper():
    floors = add_entropy_floors()
    assert {name: round(value, 4) for name, value in floors.items()} == PRINTED


def test_floors_equal_those_by_hand():
    """H(p) of p = 1/2 + x_1 / 2 - x_2 / 4 in {1/2, 1/4, 1, 3/4}, written with base-two logarithms."""

    def h(p):
        return -sum(q * np.log2(q) for q in (p, 1 - p) if q > 0) * np.log(2)

    floors = add_entropy_floors()
    assert floors["nothing"] == pytest.approx(h(5 / 8))
    assert floors["second"] == pytest.approx((h(3 / 4) + h(1 / 2)) / 2)
    assert floors["first"] == pytest.approx((h(3 / 8) + h(7 / 8)) / 2)
    assert floors["both"] == pytest.approx((np.log(2) + h(1 / 4) + 0 + h(3 / 4)) / 4)


def descend(features, p, steps=4000):
    """Least cross-entropy of a logistic regression on soft labels, by gradient descent with momentum."""
    weights, velocity = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for _ in range(steps):
        guess = 1 / (1 + np.exp(-features @ weights))
        velocity = 0.9 * velocity - 0.1 * features.T @ (guess - p) / len(p)
        weights = weights + velocity
    guess = 1 / (1 + np.exp(-features @ weights))
    return -np.mean(p * np.log(guess) + (1 - p) * np.log(1 - guess))


@pytest.mark.parametrize(
    ("name", "columns", "tolerance"),
    [("nothing", "", 2e-5), ("second", "b", 2e-5), ("first", "a", 2e-5), ("linear", "ab", 2e-5), ("both", "abc", 2e-3)],
)
def test_floors_equal_those_of_logistic_regression(name, columns, tolerance):
    """The features are the label's table, with an interaction for "both", whose last logit still grows."""
    a, b = np.array([0.0, 0, 1, 1]), np.array([0.0, 1, 0, 1])
    known = {"a": a, "b": b, "c": a * b}
    features = np.stack([np.ones(4), *(known[column] for column in columns)], 1)
    loss = descend(features, 0.5 + 0.5 * a - 0.25 * b)
    assert add_entropy_floors()[name] - 1e-9 < loss < add_entropy_floors()[name] + tolerance


@pytest.mark.parametrize(("lags", "tau"), [((3, 5), 2), ((5, 9), 1), ((2, 4), 3), ((0, 1), 4), ((4, 1), 2)])
@pytest.mark.parametrize("batch", [1, 3])
def test_labels_depend_on_symbols_at_the_lags_in_every_phase(lags, tau, batch):
    """The dependencies lie exactly tau t_1 and tau t_2 steps back in every phase of a symbol of tau steps."""
    example = stream(151, lags=lags, tau=tau, batch=batch)
    assert example.x.shape == example.y.shape == (151, batch, 2)
    bits, p = example.x[..., 0], example.y[..., 0]
    np.testing.assert_array_equal(example.x.sum(-1), 1)
    np.testing.assert_array_equal(example.y.sum(-1), 1)
    assert set(np.unique(bits)) == {0, 1}
    back = tau * max(lags)
    expected = 0.5 + 0.5 * bits[back - tau * lags[0] : 151 - tau * lags[0]] - 0.25 * (
        bits[back - tau * lags[1] : 151 - tau * lags[1]]
    )  # fmt: skip
    np.testing.assert_array_equal(p[back:], expected)
    for phase in range(tau):
        t = np.arange(back + phase, 151, tau)
        np.testing.assert_array_equal(p[t], 0.5 + 0.5 * bits[t - tau * lags[0]] - 0.25 * bits[t - tau * lags[1]])
    # Symbols last tau steps.
    changes = np.flatnonzero((bits[1:] != bits[:-1]).any(1)) + 1
    assert not (changes % tau).any()
    assert len(changes) > 0.3 * 150 / tau
    # The labels before the first full lag come from symbols, too.
    assert set(np.unique(p[:back])) <= {0.25, 0.5, 0.75, 1.0}


@pytest.mark.parametrize("tau", [1, 2, 3])
@pytest.mark.parametrize("pieces", [(1, 1, 1, 5), (3, 5), (5, 3), (1, 3, 3, 1)])
def test_a_cut_stream_equals_the_whole(pieces, tau):
    options = {"lags": (3, 5), "tau": tau, "batch": 2}
    start = add(**options).init(KEY)
    state, parts = start, []
    for steps in pieces:
        state, example = compiled(steps, **options)(state)
        parts.append(example)
        assert example.x.shape == (steps, 2, 2)
    whole_state, whole = compiled(sum(pieces), **options)(start)
    joined = jax.tree.map(lambda *a: np.concatenate(a), *parts)
    jax.tree.map(np.testing.assert_array_equal, joined, jax.tree.map(np.asarray, whole))
    assert int(state.step) == int(whole_state.step) == sum(pieces)


def test_a_long_stream_is_not_periodic():
    """Two far cuts are different draws, and the label's lags reach over the cut."""
    near, far = stream(64), stream(64, start=1 << 16)
    assert (near.x != far.x).any()
    joined = stream(80, start=(1 << 16) - 16)
    np.testing.assert_array_equal(joined.x[16:], far.x)
    np.testing.assert_array_equal(joined.y[16:], far.y)


def test_symbols_are_fair_and_independent():
    """They have the mean 1/2 and do not depend on each other, on other streams or on the key: z-tests at five sigma.

    False alarm: 2 + 8 + 1 + 1 tests at 5.8e-7, below 1e-5. The four labels' shares, at 0.02, are beyond five sigma too.
    """
    count = 40_000
    example = stream(count, tau=1, batch=2)
    sign = 2 * example.x[..., 0] - 1
    for one in sign.T:
        assert abs(one.mean()) < 5 / count**0.5
    for lag in range(1, 9):
        assert abs(np.mean(sign[lag:, 0] * sign[:-lag, 0])) < 5 / (count - lag) ** 0.5
    assert abs(np.mean(sign[:, 0] * sign[:, 1])) < 5 / count**0.5
    other = 2 * stream(count, key=jax.random.key(5), tau=1, batch=2).x[..., 0] - 1
    assert abs(np.mean(sign[:, 0] * other[:, 0])) < 5 / count**0.5
    p = example.y[:, 0, 0]
    np.testing.assert_allclose([np.mean(p == value) for value in (0.25, 0.5, 0.75, 1)], 0.25, atol=0.02)


def test_the_mean_entropy_of_labels_is_the_floor():
    p = stream(40_000, tau=1).y[:, 0, 0]
    inner = p[p < 1]
    entropy = -np.sum(inner * np.log(inner) + (1 - inner) * np.log(1 - inner)) / p.size
    assert entropy == pytest.approx(PRINTED["both"], abs=0.01)


def test_lags_may_be_tracers_under_vmap():
    pairs = jnp.array([[1, 2], [3, 5], [0, 9]])

    @jax.jit
    @functools.partial(jax.vmap, in_axes=(0, None))
    def run(lags, key):
        task = add(lags=(lags[0], lags[1]), tau=2)
        return task.take(task.init(key), 41)[1]

    many = run(pairs, KEY)
    for i, lags in enumerate(pairs.tolist()):
        one = stream(41, lags=tuple(lags), tau=2)
        np.testing.assert_array_equal(many.x[i], one.x)
        np.testing.assert_array_equal(many.y[i], one.y)
    assert (many.y[0] != many.y[1]).any()
    assert (many.x[0] == many.x[1]).all()


@pytest.mark.parametrize(
    ("options", "match"),
    [({"lags": (-1, 5)}, "lags"), ({"lags": (3, -5)}, "lags"), ({"tau": 0}, "tau=0"), ({"batch": 0}, "batch=0")],
)
def test_bad_arguments_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        add(**options)


def test_check_lags_refuses_lags_beyond_the_stream():
    check_lags((3, 5), 2, 11)
    check_lags((0, 0), 1, 1)
    with pytest.raises(ValueError, match=r"\(3, 5\) at tau=2 reach back 10 steps, but the stream has 10"):
        check_lags((3, 5), 2, 10)
    with pytest.raises(ValueError, match=r"lags=\(-1, 5\)"):
        check_lags((-1, 5), 1, 100)
