"""Mimic: the label is the output of a network written here in NumPy."""

import functools

import jax
import numpy as np
import pytest

from plasticity_jax.cells import leaky
from plasticity_jax.tasks.mimic import mimic

KEY = jax.random.key(9)


def begin(task, steps):
    """The target's arrays and the first steps of a stream."""

    def run(key):
        start = task.init(key)
        return start._replace(key=None), task.take(start, steps)[1]

    return jax.jit(run)


@pytest.mark.parametrize(("alpha", "tau", "batch"), [(0.5, 2, 1), (1.0, 1, 2), (0.3, 3, 2)])
def test_labels_are_the_output_of_the_target(alpha, tau, batch):
    n, n_in, n_out, steps = 7, 3, 4, 40
    task = mimic(leaky(n_in, n, n_out, alpha=alpha), tau=tau, batch=batch)
    start, example = jax.tree.map(np.asarray, begin(task, steps)(KEY))
    assert example.x.shape == (steps, batch, n_in)
    w, w_out = start.weights["w"][0], start.weights["w_out"]
    for stream in range(batch):
        r = np.zeros(n)
        for t in range(steps):
            v = w[:, :n] @ r + w[:, n : n + n_in] @ example.x[t, stream] + w[:, -1]
            r = (1 - alpha) * r + alpha * np.tanh(v)
            np.testing.assert_allclose(example.y[t, stream], w_out[:, :n] @ r + w_out[:, n], atol=1e-12)
    assert np.isin(example.x, [0, 1]).all()
    changes = np.flatnonzero((example.x[1:] != example.x[:-1]).any((1, 2))) + 1
    assert not (changes % tau).any()
    assert len(changes) > 0.5 * (steps / tau - 1)
    assert example.y.std(0).min() > 0.05
    if batch > 1:
        assert (example.x[:, 0] != example.x[:, 1]).any()


def test_a_cut_stream_equals_the_whole():
    task = mimic(leaky(3, 5, 2), tau=2, batch=2)
    compiled = {k: jax.jit(functools.partial(task.take, steps=k)) for k in (1, 3, 4, 12)}
    start = jax.jit(task.init)(KEY)
    whole = compiled[12](start)[1]
    for pieces in ((3, 1, 1, 4, 3), (1,) * 12, (4, 4, 4)):
        state, parts = start, []
        for steps in pieces:
            state, example = compiled[steps](state)
            parts.append(example)
        joined = jax.tree.map(lambda *a: np.concatenate(a), *parts)
        np.testing.assert_array_equal(joined.x, whole.x)
        np.testing.assert_allclose(joined.y, whole.y, atol=1e-13)


def test_target_and_symbols_have_their_distributions():
    """W_rec is orthogonal, W_in ~ N(0, 1/n_in), W_out ~ N(0, 1/n), biases N(0, 0.1^2), symbols fair and independent.

    Bounds of five standard errors: false alarm below 1e-5 together, and the seed is fixed.
    """
    n, n_in, n_out, steps = 60, 50, 40, 2000
    task = mimic(leaky(n_in, n, n_out), tau=1)
    run = begin(task, steps)
    start, example = jax.tree.map(np.asarray, run(KEY))
    w, w_out = start.weights["w"][0], start.weights["w_out"]
    np.testing.assert_allclose(w[:, :n] @ w[:, :n].T, np.eye(n), atol=1e-12)
    parts = {
        "in": w[:, n:-1] * n_in**0.5,
        "out": w_out[:, :n] * n**0.5,
        "bias": w[:, -1] * 10,
        "bias_out": w_out[:, -1] * 10,
    }
    for part in parts.values():
        assert abs(part.mean()) < 5 / part.size**0.5
        assert abs(part.var() - 1) < 5 * (2 / part.size) ** 0.5
    np.testing.assert_array_equal(start.s, np.zeros((1, 1, n)))
    sign = 2 * example.x[:, 0] - 1
    assert abs(sign.mean()) < 5 / sign.size**0.5
    assert abs(np.mean(sign[1:] * sign[:-1])) < 5 / sign[1:].size ** 0.5
    assert abs(np.mean(sign[:, 1:] * sign[:, :-1])) < 5 / sign[:, 1:].size ** 0.5
    assert np.abs(run(jax.random.key(10))[0].weights["w"][0] - w).max() > 0.1


@pytest.mark.parametrize("options", [{"tau": 0}, {"batch": 0}])
def test_bad_arguments_are_refused(options):
    with pytest.raises(ValueError, match="at least 1"):
        mimic(leaky(3, 5, 2), **options)
