"""The two-stream network in plain NumPy: a walk of any depth, and two learning loops of one layer.

Written from the equations of the paper as the authors' code has them, not from the library.

    inference             s = z + sigma xi,  r = f(W s) + sigma eta
    generation            r = D r_tm1 + sigma eta,  s = D_s r + sigma xi
    impression learning   asleep dW = (r - f(W s)) f' s^T;  awake dD_s = (s - D_s r) r^T, dD = (r - D r_tm1) r_tm1
    NVI*                  the other stream's score (l - Lbar) g,  l = log p~ - log q~,  g the trace of the sampled one's

`walk` takes weights and fixed properties in the library's form, and works in complex numbers too, so that a derivative
is a complex step. The loops are of one layer, one stream and the scores times sigma^2, with SGD in the loop:
`impression` and `neural_variational` (w, d_s, d, z, wake, noise=(xi, eta), ...) -> dict of the final weights and of the
losses (T,).
"""

import math
from typing import Any, NamedTuple

import numpy as np

PHI = {
    "tanh": (np.tanh, lambda v: 1 / np.cosh(v) ** 2),
    "sigmoid": (lambda v: 1 / (1 + np.exp(-v)), lambda v: 0.25 / np.cosh(v / 2) ** 2),
    "identity": (lambda v: v, lambda v: np.ones_like(v)),
}


class Step(NamedTuple):
    """States, means, and slopes where a mean has a drive, by layer from the sensory one; log densities (B,)."""

    x: list
    inferred: list
    generated: list
    inferred_slope: list
    generated_slope: list
    log_q: np.ndarray
    log_p: np.ndarray


def _sample(poisson, mean, sigma, innovation):
    """A sample; the innovation of Poisson noise is a function of the rates."""
    if not poisson:
        return mean + sigma * innovation
    return sigma**2 * innovation((np.maximum(mean, 0) + 0.01) / sigma**2)


def _log_density(poisson, x, mean, sigma):
    if not poisson:
        return np.sum(-((x - mean) ** 2) / (2 * sigma**2) - np.log(sigma * math.sqrt(2 * math.pi)), -1)
    count, rate = np.rint(x / sigma**2), (np.maximum(mean, 0) + 0.01) / sigma**2
    return np.sum(count * np.log(rate) - rate - np.vectorize(math.lgamma)(count + 1), -1)


def step(net, params, wake, onset, top_tm1, z, innovations):
    """One step of streams (B, ...): samples of the stream that is active, awake or dreaming."""
    up, down = params["inference"], params["generation"]
    depth, (f, slope), (g, g_slope) = len(up["w"]), PHI[net.activation], PHI[net.output]
    poisson = [False] + [net.noise == "poisson"] * depth
    top = top_tm1 if onset else down["transition"] * top_tm1

    def rise(layer, below):
        v = below @ up["w"][layer - 1].T
        return v + up["bias"][layer - 1] if layer < depth else v

    def fall(layer, above):
        v = above @ down["w"][layer].T
        return v + down["bias"][layer - 1] if layer > 0 else v

    x: list[Any] = [None] * (depth + 1)
    if wake:
        for layer in range(depth + 1):
            mean = f(rise(layer, x[layer - 1])) if layer > 0 else z
            x[layer] = _sample(poisson[layer], mean, net.sigma_inf[layer], innovations[layer])
    else:
        for layer in reversed(range(depth + 1)):
            mean = top if layer == depth else (f if layer > 0 else g)(fall(layer, x[layer + 1]))
            x[layer] = _sample(poisson[layer], mean, net.sigma_gen[layer], innovations[layer])
    rises = [rise(layer, x[layer - 1]) for layer in range(1, depth + 1)]
    falls = [fall(layer, x[layer + 1]) for layer in range(depth)]
    inferred = [z] + [f(v) for v in rises]
    generated = [g(falls[0])] + [f(v) for v in falls[1:]] + [top]
    log_q = sum(_log_density(*each) for each in zip(poisson, x, inferred, net.sigma_inf, strict=True))
    log_p = sum(_log_density(*each) for each in zip(poisson, x, generated, net.sigma_gen, strict=True))
    slopes = [slope(v) for v in rises], [g_slope(falls[0])] + [slope(v) for v in falls[1:]]
    return Step(x, inferred, generated, *slopes, np.asarray(log_q), np.asarray(log_p))


def walk(net, params, z, wake, innovations):
    """The steps of z (T, B, n_0) from r = 0, as if awake before; innovations[t] is a list by layer."""
    top, wake_tm1, steps = np.zeros((z.shape[1], len(params["generation"]["transition"]))), True, []
    for t, awake in enumerate(wake):
        steps.append(step(net, params, awake, awake and not wake_tm1, top, z[t], innovations[t]))
        top, wake_tm1 = steps[-1].x[-1], awake
    return steps


def losses(net, params, z, wake, innovations):
    """log q~_t - log p~_t of each step and stream, (T, B)."""
    signs = [1 if awake else -1 for awake in wake]
    steps = walk(net, params, z, wake, innovations)
    return np.array([sign * (s.log_q - s.log_p) for sign, s in zip(signs, steps, strict=True)])


def derivative(function, params):
    """Derivatives of an array-valued function by every weight, by complex steps: (*value's shape, *weight's shape)."""
    size = 1e-30

    def by(path):
        leaf = _get(params, path)
        columns = []
        for index in np.ndindex(leaf.shape):
            moved = leaf.astype(complex)
            moved[index] += 1j * size
            columns.append(np.imag(function(_put(params, path, moved))) / size)
        value = columns[0].shape
        return np.stack(columns, -1).reshape(*value, *leaf.shape)

    return _map(params, by, ())


def _map(tree, function, path):
    if isinstance(tree, dict):
        return {k: _map(v, function, (*path, k)) for k, v in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_map(v, function, (*path, i)) for i, v in enumerate(tree))
    return function(path)


def _get(tree, path):
    return _get(tree[path[0]], path[1:]) if path else tree


def _put(tree, path, leaf):
    if not path:
        return leaf
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))
    moved = [(k, _put(v, path[1:], leaf) if k == path[0] else v) for k, v in items]
    return dict(moved) if isinstance(tree, dict) else tuple(v for _, v in moved)


def _begin(w, d_s, d, z, noise, seed):
    w, d_s, d, z = (np.array(array, np.float64) for array in (w, d_s, d, z))
    if noise is None:
        rng = np.random.default_rng(seed)
        noise = rng.standard_normal(z.shape), rng.standard_normal((len(z), len(d)))
    return w, d_s, d, z, noise


def _advance(w, d_s, d, r_tm1, z, awake, onset, xi, eta, sigma_inf, sigma_gen):
    """State, errors and slope of one step, and half the squares of log q~ - log p~."""
    (si_s, si_r), (sg_s, sg_r) = sigma_inf, sigma_gen
    ahead = r_tm1 if onset else d * r_tm1
    if awake:
        s = z + si_s * xi
        f = np.tanh(w @ s)
        r = f + si_r * eta
        s_gen = d_s @ r
    else:
        r = ahead + sg_r * eta
        s_gen = d_s @ r
        s = s_gen + sg_s * xi
        f = np.tanh(w @ s)
    error_s, error_r, error_top = s - s_gen, r - f, r - ahead
    energy = error_s @ error_s / sg_s**2 + error_top @ error_top / sg_r**2
    energy = (energy - (s - z) @ (s - z) / si_s**2 - error_r @ error_r / si_r**2) / 2
    return s, r, error_s, error_r * (1 - f * f), error_top, energy


def impression(w, d_s, d, z, wake, *, sigma_inf, sigma_gen, lr, noise=None, seed=0):
    """Impression learning; losses without the normalisers, in wake and in sleep."""
    w, d_s, d, z, (xi, eta) = _begin(w, d_s, d, z, noise, seed)
    losses, awake_tm1, r_tm1 = np.zeros(len(z)), True, np.zeros(len(d))
    for t, awake in enumerate(wake):
        onset = awake and not awake_tm1
        s, r, error_s, error_r, error_top, energy = _advance(
            w, d_s, d, r_tm1, z[t], awake, onset, xi[t], eta[t], sigma_inf, sigma_gen
        )
        losses[t] = energy if awake else -energy
        if awake:
            d_s += lr * np.outer(error_s, r)
            if not onset:
                d += lr * error_top * r_tm1
        else:
            w += lr * np.outer(error_r, s)
        awake_tm1, r_tm1 = awake, r
    return {"w": w, "d_s": d_s, "d": d, "losses": losses}


def neural_variational(
    w, d_s, d, z, wake, *, sigma_inf, sigma_gen, lr, gamma_g=0.9, gamma_baseline=0.01, noise=None, seed=0
):
    """NVI*, with the baseline of the last step; losses log q~ - log p~ with the normalisers."""
    w, d_s, d, z, (xi, eta) = _begin(w, d_s, d, z, noise, seed)
    n, n_s = w.shape
    constant = n_s * math.log(sigma_gen[0] / sigma_inf[0]) + n * math.log(sigma_gen[1] / sigma_inf[1])
    trace_w, trace_ds, trace_d = np.zeros_like(w), np.zeros_like(d_s), np.zeros(n)
    losses, awake_tm1, r_tm1, baseline = np.zeros(len(z)), True, np.zeros(n), 0.0
    for t, awake in enumerate(wake):
        onset = awake and not awake_tm1
        s, r, error_s, error_r, error_top, energy = _advance(
            w, d_s, d, r_tm1, z[t], awake, onset, xi[t], eta[t], sigma_inf, sigma_gen
        )
        losses[t] = energy + constant if awake else -energy - constant
        score_w, score_ds, score_d = np.outer(error_r, s), np.outer(error_s, r), (not onset) * error_top * r_tm1
        trace_w, trace_ds, trace_d = gamma_g * trace_w, gamma_g * trace_ds, gamma_g * trace_d
        if awake:
            trace_w += score_w
            d_s += lr * score_ds
            d += lr * score_d
        else:
            trace_ds += score_ds
            trace_d += score_d
            w += lr * score_w
        third = lr * (-losses[t] - baseline)
        baseline += gamma_baseline * (-losses[t] - baseline)
        w += third * trace_w
        d_s += third * trace_ds
        d += third * trace_d
        awake_tm1, r_tm1 = awake, r
    return {"w": w, "d_s": d_s, "d": d, "losses": losses}
