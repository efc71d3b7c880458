"""L7 for the recurrent rules of the feedback family: one window in plain NumPy, pair of steps by pair of steps."""

from types import SimpleNamespace

import jax
import numpy as np

from plasticity_jax.ops.noise import rademacher
from tests.oracles.feedback_recurrent import credit, effects, gradients, moments, run, signed


def draws(key, streams, steps, n, p):
    """xi where a unit is perturbed, else 0, (S, B, n); and the signs, (S, B)."""
    count = streams * steps * n
    xi = np.asarray(jax.random.normal(jax.random.fold_in(key, 0), (count,), np.float64))
    uniform = np.asarray(jax.random.bits(jax.random.fold_in(key, 1), (count,), np.uint32) >> 8) / 2.0**24
    sign = np.asarray(rademacher(jax.random.fold_in(key, 2), steps * streams, np.float64))
    return np.where(uniform < p, xi, 0).reshape(steps, streams, n), sign.reshape(steps, streams)


def textbook(back, teach=None):
    """``(params, traces, key, batch, coefficients) -> (params, traces, loss)`` after one step at a rate of one."""

    def one_step(params, traces, key, batch, coefficients):
        weights = params["forward"]
        matrix = back(params)
        paths = [run(weights, h, x, y) for h, x, y in zip(traces.h, batch.x, batch.y, strict=True)]
        deltas = [credit(weights, path, matrix) for path in paths]
        grads = [gradients(weights, path, delta) for path, delta in zip(paths, deltas, strict=True)]
        forward = {name: weights[name] - np.mean([grad[name] for grad in grads], 0) for name in weights}
        w_fb, after = params["feedback"]["w_fb"], traces
        if teach is not None:
            w_fb, after = teach(params, traces, key, batch, SimpleNamespace(**coefficients), paths, deltas)
        after = after._replace(h=np.stack([path.h[-1] for path in paths]))
        loss = np.mean([np.sum(path.loss) for path in paths])
        return {"forward": forward, "feedback": {"w_fb": w_fb}}, after, loss

    return one_step


def node_perturbation(p, legacy=False, clip=np.inf, ridge=False):
    def teach(params, traces, key, batch, c, paths, deltas):
        w_fb = params["feedback"]["w_fb"]
        streams, steps = batch.x.shape[:2]
        unit, sign = draws(key, streams, steps, len(w_fb), p)
        second, cross = np.zeros_like(w_fb), np.zeros_like(w_fb)
        for b, (path, delta) in enumerate(zip(paths, deltas, strict=True)):
            zeta = c.sigma * unit[:, b]
            noisy = run(params["forward"], traces.h[b], batch.x[b], batch.y[b], zeta)
            pairs, heard = moments(delta, effects(path, noisy, zeta, c.sigma, p, legacy), 0 if legacy else 1)
            eta = signed(delta, sign[:, b])[1:]
            second += pairs if legacy else eta.T @ eta
            cross += heard
        traces = traces._replace(steps=traces.steps + 1)
        if not ridge:
            return w_fb - np.clip((second @ w_fb - cross) / streams, -clip, clip), traces
        second = c.forgetting * traces.second.total + second
        cross = c.forgetting * traces.cross.total + cross
        if traces.steps % 2 == 0:
            w_fb = np.linalg.solve(second + c.ridge * np.eye(len(w_fb)), cross)
        # What is left of rounding is not the textbook's matter: zero, to the tolerance.
        zero = np.zeros_like(second)
        return w_fb, traces._replace(
            second=traces.second._replace(total=second, rest=zero), cross=traces.cross._replace(total=cross, rest=zero)
        )

    return teach


def own(params):
    return params["feedback"]["w_fb"]


TEXTBOOK = {
    "recurrent_backprop": textbook(lambda params: params["forward"]["w"]),
    "recurrent_feedback_alignment": textbook(own),
    "truncated_to_one_step": textbook(lambda params: 0 * params["forward"]["w"]),
    "recurrent_node_perturbation": textbook(own, node_perturbation(0.5, clip=0.5)),
    "recurrent_node_perturbation_ridge": textbook(own, node_perturbation(0.5, ridge=True)),
    "recurrent_node_perturbation_legacy": textbook(own, node_perturbation(0.5, legacy=True)),
}
