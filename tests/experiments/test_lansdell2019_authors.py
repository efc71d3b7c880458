"""The rule of the authors' code: windows as a loop over pairs in NumPy, and the limit of B."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lansdell2019.authors import own_step_perturbation
from plasticity_jax import cells
from plasticity_jax.cells.window import run_window, time_first
from plasticity_jax.typing import Example
from tests.laws.textbook_feedback_recurrent import draws
from tests.oracles import feedback_recurrent as oracle
from tests.rules.helpers import close, differ

STREAMS, WINDOW, N, SIGMA, P = 3, 4, 5, 0.2, 0.5
KEY = jax.random.key(3)


def vanilla(n=N, n_out=2):
    return cells.leaky(2, n, n_out, alpha=1.0, loss="squared")


def weights(cell):
    return {**cells.init_params(jax.random.key(0), cell), "feedback": cells.init_feedback(jax.random.key(1), cell)}


@pytest.mark.parametrize("options", [{}, {"clip": 0.05}, {"ridge": 2.0}, {"warm_up": 2}], ids=str)
def test_two_windows_are_the_loop_over_pairs(options):
    cell = vanilla()
    params, rng = weights(cell), np.random.default_rng(5)
    rule = own_step_perturbation(cell, sigma=SIGMA, p=P, **options)
    batches = [
        Example(rng.standard_normal((STREAMS, WINDOW, 2)), rng.standard_normal((STREAMS, WINDOW, 2))) for _ in range(2)
    ]
    traces, update = rule.init(params, KEY, batches[0]), jax.jit(rule.update)
    forward, back = jax.tree.map(np.asarray, (params["forward"], params["feedback"]["w_back"]))
    second, cross = np.zeros((N, N)), np.zeros((N, N))
    for number, batch in enumerate(batches):
        key = jax.random.fold_in(KEY, number)
        unit, _ = draws(key, STREAMS, WINDOW, N, P)
        if "ridge" not in options:
            second, cross = 0 * second, 0 * cross
        grads, ends = [], []
        for b in range(STREAMS):
            window = np.asarray(traces.state[b]), batch.x[b], batch.y[b]
            path = oracle.run(oracle.leaky(), forward, *window)
            noisy = oracle.run(oracle.leaky(), forward, *window, SIGMA * unit[:, b])
            delta = oracle.credit(path, back)
            lam = oracle.effects(path, noisy, SIGMA * unit[:, b], SIGMA, P, legacy=True)
            pairs, effects = oracle.moments(oracle.flat(delta), lam, 0)
            second, cross = second + pairs, cross + effects
            grads.append(oracle.gradients(path, delta))
            ends.append(path.s[-1])
        if "ridge" in options:
            want = back[0] - np.linalg.solve(second + options["ridge"] * np.eye(N), cross)
        else:
            bound = options.get("clip", np.inf)
            want = np.clip((second @ back[0] - cross) / STREAMS, -bound, bound)
        updates, traces, info = update(params, traces, key, batch)
        close(updates["feedback"]["w_back"][0], want)
        for name in forward:
            close(updates["forward"][name], np.mean([grad[name] for grad in grads], 0))
        close(traces.state, np.stack(ends))
        assert not jax.tree.leaves(info.ready)[0] if "warm_up" in options else bool(info.ready)
    differ(want, 0 * want)
    differ(effects, oracle.moments(oracle.flat(delta), oracle.effects(path, noisy, SIGMA * unit[:, b], SIGMA, P), 1)[1])
    if "clip" in options:
        assert 0 < np.mean(np.abs(want) == options["clip"]) < 1


def test_b_becomes_diagonal():
    """Noise of step j, on delta_{t,j} = phi'^j dL^t/dh^j: B is p E[phi'] / E[phi'^2] on the diagonal, not W."""
    n, streams, p = 6, 100, 0.1
    cell = vanilla(n, n)
    params = weights(cell)
    every_way = jax.random.orthogonal(KEY, n)  # errors reach every direction alike
    params["forward"]["w_out"] = params["forward"]["w_out"].at[:, :-1].set(every_way)
    rule = own_step_perturbation(cell, sigma=0.05, p=p, ridge=10.0)

    def batch(t):
        key_x, key_y = jax.random.split(jax.random.fold_in(KEY, t))
        x = jax.random.normal(key_x, (streams, WINDOW, 2))
        return Example(x, jax.random.normal(key_y, (streams, WINDOW, n)))

    def body(carry, t):
        w_back, traces = carry
        at = {**params, "feedback": {"w_back": w_back}}
        updates, traces, _ = rule.update(at, traces, jax.random.fold_in(KEY, 1000 + t), batch(t))
        return (w_back - updates["feedback"]["w_back"], traces), None

    start = params["feedback"]["w_back"], rule.init(params, KEY, batch(0))
    (w_back, _), _ = jax.jit(lambda: jax.lax.scan(body, start, jnp.arange(1000)))()
    window = run_window(cell, params, jnp.zeros((streams, 1, n)), time_first(batch(0)))
    slope = np.asarray(window.local.gain)[:, :, 0, 0]
    diagonal = np.diag(p * slope.mean((0, 1)) / (slope**2).mean((0, 1)))[None]
    w = np.asarray(params["forward"]["w"])[:, :, :n]
    assert np.linalg.norm(w_back - diagonal) < 0.2 * np.linalg.norm(diagonal)
    assert np.linalg.norm(w_back - w) > 0.9 * np.linalg.norm(w)
