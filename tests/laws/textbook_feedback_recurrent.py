"""L7 for the recurrent rules of the feedback family: one window in plain NumPy, pair of steps by pair of steps."""

from types import SimpleNamespace

import jax
import numpy as np

from plasticity_jax.ops.noise import rademacher
from tests.oracles import feedback_recurrent as oracle
from tests.oracles.feedback_recurrent import credit, effects, flat, gradients, moments, run, signed


def draws(key, streams, steps, n, p):
    """xi where a unit is perturbed, else 0, (S, B, n); and the signs, (S, B)."""
    count = streams * steps * n
    xi = np.asarray(jax.random.normal(jax.random.fold_in(key, 0), (count,), np.float64))
    uniform = np.asarray(jax.random.bits(jax.random.fold_in(key, 1), (count,), np.uint32) >> 8) / 2.0**24
    sign = np.asarray(rademacher(jax.random.fold_in(key, 2), steps * streams, np.float64))
    return np.where(uniform < p, xi, 0).reshape(steps, streams, n), sign.reshape(steps, streams)


def existing(update, params):
    """1 where connections exist: all, except in the two parts of a GRU's candidate."""
    exist = np.ones_like(params["forward"]["w"])
    if update is oracle.gru:
        n = exist.shape[1]
        exist[2, :, :n] = exist[3, :, n:-1] = 0
    return exist


def textbook(back, cell=lambda c: oracle.leaky(), teach=None, loss=oracle.half_square):
    """``(params, traces, key, batch, coefficients) -> (params, traces, loss)`` after one step at a rate of one."""

    def one_step(params, traces, key, batch, coefficients):
        c = SimpleNamespace(**coefficients)
        update, forward, matrix = cell(c), params["forward"], back(params)
        windows = list(zip(traces.state, batch.x, batch.y, strict=True))
        paths = [run(update, forward, *each, loss=loss) for each in windows]
        deltas = [credit(path, matrix) for path in paths]
        grads = [gradients(path, delta) for path, delta in zip(paths, deltas, strict=True)]
        mean = {name: np.mean([grad[name] for grad in grads], 0) for name in forward}
        mean["w"] = mean["w"] * existing(update, params)
        feedback, after = params["feedback"], traces
        if teach is not None:
            w_back, after = teach(update, params, traces, key, windows, c, paths, deltas)
            there = np.broadcast_to(existing(update, params), forward["w"].shape)[:, :, : w_back.shape[-1]] > 0
            feedback = {"w_back": np.where(there, w_back, own(params))}  # no feedback where nothing goes forward
        after = after._replace(state=np.stack([path.s[-1] for path in paths]))
        new = {"forward": {name: forward[name] - mean[name] for name in forward}, "feedback": feedback}
        return new, after, np.mean([np.sum(path.loss) for path in paths])

    return one_step


def node_perturbation(p, clip=np.inf, ridge=False):
    def teach(update, params, traces, key, windows, c, paths, deltas):
        shape = params["feedback"]["w_back"].shape
        w_back = params["feedback"]["w_back"].reshape(-1, shape[-1])
        streams, steps = len(windows), len(windows[0][1])
        unit, sign = draws(key, streams, steps, shape[-1], p)
        second, cross = np.zeros((len(w_back),) * 2), np.zeros_like(w_back)
        for b, (path, delta) in enumerate(zip(paths, map(flat, deltas), strict=True)):
            zeta = c.sigma * unit[:, b]
            noisy = run(update, params["forward"], *windows[b], zeta)
            _, products = moments(delta, effects(path, noisy, zeta, c.sigma, p), 1)
            eta = signed(delta, sign[:, b])[1:]
            second += eta.T @ eta
            cross += products
        traces = traces._replace(steps=traces.steps + 1)
        if not ridge:
            w_back = w_back - np.clip((second @ w_back - cross) / streams, -clip, clip)
            return w_back.reshape(shape), traces
        second = c.forgetting * traces.second.total + second
        cross = c.forgetting * traces.cross.total + cross
        if traces.steps % 2 == 0:
            w_back = np.linalg.solve(second + c.ridge * np.eye(len(w_back)), cross)
        # The textbook carries no rounding error: it is zero, to the tolerance.
        return w_back.reshape(shape), traces._replace(
            second=traces.second._replace(total=second, rest=np.zeros_like(second)),
            cross=traces.cross._replace(total=cross, rest=np.zeros_like(cross)),
        )

    return teach


def own(params):
    return params["feedback"]["w_back"]


def recurrent(params):
    w = params["forward"]["w"]
    return w[:, :, : w.shape[1]]


def nothing(params):
    return None


def gru(c):
    return oracle.gru


BY_SGD, BY_RIDGE = node_perturbation(0.5, clip=0.5), node_perturbation(0.5, ridge=True)

TEXTBOOK = {
    "bptt_windows": textbook(recurrent, lambda c: oracle.leaky(c.alpha), loss=oracle.cross_entropy),
    "bptt_windows_gru": textbook(recurrent, gru, loss=oracle.cross_entropy),
    "recurrent_feedback_alignment": textbook(own),
    "recurrent_feedback_alignment_gru": textbook(own, gru),
    "truncated_to_one_step": textbook(nothing),
    "truncated_to_one_step_gru": textbook(nothing, gru),
    "recurrent_node_perturbation": textbook(own, teach=BY_SGD),
    "recurrent_node_perturbation_gru": textbook(own, gru, BY_SGD),
    "recurrent_node_perturbation_ridge": textbook(own, teach=BY_RIDGE),
    "recurrent_node_perturbation_ridge_gru": textbook(own, gru, BY_RIDGE),
}
