"""Angles of credit by lag against the plain NumPy loop over pairs of steps, and against autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.cells import gru, init_feedback, init_params, leaky
from plasticity_jax.diagnostics.recurrent_alignment import angles_by_lag
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.oracles import feedback_recurrent as oracle

STEPS, STREAMS, N = 5, 2, 6
SIZES = (2, N, 3)
CELLS = {
    "vanilla": (leaky(*SIZES, alpha=1.0, loss="squared"), oracle.leaky()),
    "leaky": (leaky(*SIZES, alpha=0.4, loss="squared"), oracle.leaky(0.4)),
    "gru": (gru(*SIZES, loss="squared"), oracle.gru),
}


def given(cell):
    rng = np.random.default_rng(0)
    params = {**init_params(jax.random.key(0), cell), "feedback": init_feedback(jax.random.key(1), cell)}
    s, x, y = (rng.standard_normal(shape) for shape in ((STREAMS, 1, N), (STREAMS, STEPS, 2), (STREAMS, STEPS, 3)))
    return params, jnp.asarray(s), Example(jnp.asarray(x), jnp.asarray(y))


def degrees(a, b):
    return np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))


@pytest.mark.parametrize("start_at", [None, 2])
@pytest.mark.parametrize("name", CELLS)
def test_angles_equal_the_loop_over_pairs(name, start_at):
    """Pairs on both sides of a trial's start in the window do not count."""
    cell, update = CELLS[name]
    params, s, batch = given(cell)
    forward, back = jax.tree.map(np.asarray, (params["forward"], params["feedback"]["w_back"]))
    trials = [(0, STEPS)] if start_at is None else [(0, start_at), (start_at, STEPS)]
    angles = [[] for _ in range(STEPS)]
    for stream in range(STREAMS):
        for begin, end in trials:
            s_0 = np.asarray(s)[stream] if begin == 0 else np.zeros((1, N))
            path = oracle.run(update, forward, s_0, *(np.asarray(leaf)[stream, begin:end] for leaf in batch[:2]))
            carried, true = oracle.states(path, back), oracle.states(path, forward["w"][:, :, :N])
            for t in range(end - begin):
                for k in range(1, t + 1):
                    angles[k].append(degrees(carried[t, t - k].ravel(), true[t, t - k].ravel()))
    longest = max(end - begin for begin, end in trials)
    if start_at is not None:
        batch = batch._replace(start=jnp.zeros((STREAMS, STEPS), bool).at[:, start_at].set(True))
    result = np.asarray(compiled(lambda params: angles_by_lag(cell, params, s, batch))(params))
    np.testing.assert_allclose(result[: longest - 1], [np.mean(each) for each in angles[1:longest]], rtol=1e-9)
    assert np.isnan(result[longest - 1 :]).all()
    assert np.ptp(result[: longest - 1]) > 0.1


def test_the_true_credit_equals_autodiffs():
    """One step's angle with B = I is that between unchanged credit and the derivative of the last loss."""
    cell, _ = CELLS["vanilla"]
    params, s, batch = given(cell)
    w, w_out = params["forward"]["w"][0], params["forward"]["w_out"]
    one = jnp.ones((STREAMS, 1))

    def step(h, t):
        return jnp.tanh(jnp.concatenate([h, batch.x[:, t], one], 1) @ w.T)

    def error(h):
        return jnp.concatenate([h, one], 1) @ w_out.T - batch.y[:, 1]

    h_0 = step(s[:, 0], 0)
    h_1 = step(h_0, 1)
    true = np.asarray(jax.grad(lambda h: jnp.sum(error(step(h, 1)) ** 2) / 2)(h_0))
    plain = np.asarray(error(h_1) @ w_out[:, :-1] * (1 - h_1**2))
    two = Example(batch.x[:, :2], batch.y[:, :2])
    angles = compiled(lambda params: angles_by_lag(cell, params, s, two, back=jnp.eye(N)[None]))(params)
    np.testing.assert_allclose(angles, [np.mean([degrees(a, b) for a, b in zip(plain, true, strict=True)])], rtol=1e-9)


def test_shapes_that_do_not_fit_are_refused():
    cell, _ = CELLS["gru"]
    params, s, batch = given(cell)
    with pytest.raises(AssertionError, match=r"back must be \(gates, n, n\) = \(4, 6, 6\)"):
        angles_by_lag(cell, params, s, batch, back=jnp.eye(N)[None])
    with pytest.raises(AssertionError, match=r"s_0 must be \(B, variables, n\)"):
        angles_by_lag(cell, params, s[:, 0], batch)
