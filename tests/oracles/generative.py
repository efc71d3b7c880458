"""The two-stream network in plain NumPy: a walk of any depth, written to be read, and two learning loops, to be fast.

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
import time
from typing import Any, NamedTuple

import numpy as np

add, copyto, dot, multiply, subtract = np.add, np.copyto, np.dot, np.multiply, np.subtract
PHI = {
    "tanh": (np.tanh, lambda v: 1 / np.cosh(v) ** 2),
    "sigmoid": (lambda v: 1 / (1 + np.exp(-v)), lambda v: 0.25 / np.cosh(v / 2) ** 2),
    "identity": (lambda v: v, lambda v: np.ones_like(v)),
}


class Step(NamedTuple):
    """By layer from the sensory one: states, means, and slopes where a mean has a drive; log densities (B,)."""

    x: list
    inferred: list
    generated: list
    inferred_slope: list
    generated_slope: list
    log_q: np.ndarray
    log_p: np.ndarray


def _sample(poisson, mean, sigma, innovation):
    """Where the noise is Poisson's the innovation is a function of the rates."""
    if not poisson:
        return mean + sigma * innovation
    return sigma**2 * innovation((np.maximum(mean, 0) + 0.01) / sigma**2)


def _log_density(poisson, x, mean, sigma):
    if not poisson:
        return np.sum(-((x - mean) ** 2) / (2 * sigma**2) - np.log(sigma * math.sqrt(2 * math.pi)), -1)
    count, rate = np.rint(x / sigma**2), (np.maximum(mean, 0) + 0.01) / sigma**2
    return np.sum(count * np.log(rate) - rate - np.vectorize(math.lgamma)(count + 1), -1)


def step(net, params, wake, onset, top_tm1, z, innovations):
    """One step of streams (B, ...): only the stream that is awake, or dreams, is sampled."""
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
    """Of an array-valued function by every weight, by complex steps: arrays (*value's shape, *weight's shape)."""
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


def impression(w, d_s, d, z, wake, *, sigma_inf, sigma_gen, lr, noise=None, seed=0):
    """Impression learning; losses without the normalisers, those of wake and of sleep alike."""
    w, d_s, d, z, (xi, eta) = _begin(w, d_s, d, z, noise, seed)
    n, n_s = w.shape
    (si_s, si_r), (sg_s, sg_r) = sigma_inf, sigma_gen
    iq_s, iq_r, ip_s, ip_r = 0.5 / si_s**2, 0.5 / si_r**2, 0.5 / sg_s**2, 0.5 / sg_r**2
    s, s_gen, error_s = np.zeros(n_s), np.zeros(n_s), np.zeros(n_s)
    r, r_tm1, f, ahead, error_r = (np.zeros(n) for _ in range(5))
    rate, turn_w, turn_d = np.array(lr, float), np.zeros_like(w), np.zeros_like(d_s)
    error_r_col, error_s_col, s_row, r_row = error_r[:, None], error_s[:, None], s[None], r[None]
    found, awake_tm1 = np.zeros(len(z)), True
    xi_inf, eta_inf, xi_gen, eta_gen = xi * si_s, eta * si_r, xi * sg_s, eta * sg_r
    for t, awake in enumerate(wake):
        copyto(r_tm1, r)
        onset = awake and not awake_tm1
        multiply(r_tm1, 1.0 if onset else d, ahead)
        if awake:
            add(z[t], xi_inf[t], s)
            dot(w, s, f)
            np.tanh(f, f)
            add(f, eta_inf[t], r)
            dot(d_s, r, s_gen)
        else:
            add(ahead, eta_gen[t], r)
            dot(d_s, r, s_gen)
            add(s_gen, xi_gen[t], s)
            dot(w, s, f)
            np.tanh(f, f)
        subtract(s, s_gen, error_s)
        subtract(r, ahead, ahead)  # what generation leaves
        subtract(r, f, error_r)
        subtract(s, z[t], s_gen)
        loss = ip_s * dot(error_s, error_s) + ip_r * dot(ahead, ahead)
        loss -= iq_s * dot(s_gen, s_gen) + iq_r * dot(error_r, error_r)
        found[t] = loss if awake else -loss
        if awake:
            multiply(error_s, rate, error_s)
            dot(error_s_col, r_row, turn_d)
            add(d_s, turn_d, d_s)
            if not onset:
                multiply(ahead, r_tm1, ahead)
                multiply(ahead, rate, ahead)
                add(d, ahead, d)
        else:
            multiply(f, f, f)
            subtract(1.0, f, f)
            multiply(error_r, f, error_r)
            multiply(error_r, rate, error_r)
            dot(error_r_col, s_row, turn_w)
            add(w, turn_w, w)
        awake_tm1 = awake
    return {"w": w, "d_s": d_s, "d": d, "losses": found}


def neural_variational(
    w, d_s, d, z, wake, *, sigma_inf, sigma_gen, lr, gamma_g=0.9, gamma_baseline=0.01, noise=None, seed=0
):
    """NVI*, with the baseline of the step before; losses log q~ - log p~ with the normalisers."""
    w, d_s, d, z, (xi, eta) = _begin(w, d_s, d, z, noise, seed)
    n, n_s = w.shape
    (si_s, si_r), (sg_s, sg_r) = sigma_inf, sigma_gen
    iq_s, iq_r, ip_s, ip_r = 0.5 / si_s**2, 0.5 / si_r**2, 0.5 / sg_s**2, 0.5 / sg_r**2
    constant = n_s * math.log(sg_s / si_s) + n * math.log(sg_r / si_r)  # of log q - log p
    s, s_gen, error_s = np.zeros(n_s), np.zeros(n_s), np.zeros(n_s)
    r, r_tm1, f, ahead, error_r = (np.zeros(n) for _ in range(5))
    rate, turn_w, turn_d = np.array(lr, float), np.zeros_like(w), np.zeros_like(d_s)
    trace_w, trace_ds, trace_d = np.zeros_like(w), np.zeros_like(d_s), np.zeros(n)
    error_r_col, error_s_col, s_row, r_row = error_r[:, None], error_s[:, None], s[None], r[None]
    found, awake_tm1, baseline = np.zeros(len(z)), True, 0.0
    xi_inf, eta_inf, xi_gen, eta_gen = xi * si_s, eta * si_r, xi * sg_s, eta * sg_r
    for t, awake in enumerate(wake):
        copyto(r_tm1, r)
        onset = awake and not awake_tm1
        multiply(r_tm1, 1.0 if onset else d, ahead)
        if awake:
            add(z[t], xi_inf[t], s)
            dot(w, s, f)
            np.tanh(f, f)
            add(f, eta_inf[t], r)
            dot(d_s, r, s_gen)
        else:
            add(ahead, eta_gen[t], r)
            dot(d_s, r, s_gen)
            add(s_gen, xi_gen[t], s)
            dot(w, s, f)
            np.tanh(f, f)
        subtract(s, s_gen, error_s)
        subtract(r, ahead, ahead)
        subtract(r, f, error_r)
        subtract(s, z[t], s_gen)
        loss = ip_s * dot(error_s, error_s) + ip_r * dot(ahead, ahead) + constant
        loss -= iq_s * dot(s_gen, s_gen) + iq_r * dot(error_r, error_r)
        found[t] = loss = loss if awake else -loss
        third = rate * (-loss - baseline)
        baseline += gamma_baseline * (-loss - baseline)
        multiply(f, f, f)
        subtract(1.0, f, f)
        multiply(error_r, f, error_r)
        multiply(ahead, 0.0 if onset else r_tm1, ahead)
        dot(error_r_col, s_row, turn_w)  # the scores
        dot(error_s_col, r_row, turn_d)
        multiply(trace_w, gamma_g, trace_w)
        multiply(trace_ds, gamma_g, trace_ds)
        multiply(trace_d, gamma_g, trace_d)
        if awake:
            add(trace_w, turn_w, trace_w)
            multiply(turn_d, rate, turn_d)
            add(d_s, turn_d, d_s)
            multiply(ahead, rate, ahead)
            add(d, ahead, d)
        else:
            add(trace_ds, turn_d, trace_ds)
            add(trace_d, ahead, trace_d)
            multiply(turn_w, rate, turn_w)
            add(w, turn_w, w)
        multiply(trace_w, third, turn_w)
        add(w, turn_w, w)
        multiply(trace_ds, third, turn_d)
        add(d_s, turn_d, d_s)
        multiply(trace_d, third, ahead)
        add(d, ahead, d)
        awake_tm1 = awake
    return {"w": w, "d_s": d_s, "d": d, "losses": found}


SPEEDS = {"impression": (impression, 1e-3), "neural_variational": (neural_variational, 1e-6)}
"""Loops and learning rates, by the rule's name."""


def speed(name: str, neurons: int, stimuli: int, steps: int) -> float:
    """Steps per second of wall time with the paper's noise and phases of two steps; the drawing of noise is counted.

    On one BLAS thread where threadpoolctl is installed; else set OPENBLAS_NUM_THREADS=1 before NumPy is imported.
    """
    rng, (loop, lr) = np.random.default_rng(0), SPEEDS[name]
    w, d_s = rng.standard_normal((neurons, stimuli)) / stimuli, rng.standard_normal((stimuli, neurons)) / neurons
    z, wake = 0.1 * rng.standard_normal((steps, stimuli)), [t % 4 < 2 for t in range(steps)]

    def timed():
        start = time.perf_counter()
        loop(w, d_s, np.full(neurons, 0.6), z, wake, sigma_inf=(0.01, 0.01), sigma_gen=(0.01, 0.158), lr=lr)
        return steps / (time.perf_counter() - start)

    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return timed()
    with threadpool_limits(1):
        return timed()
