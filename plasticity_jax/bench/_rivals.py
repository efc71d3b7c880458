"""Plain NumPy loops of some rules, against which these are timed: one stream, one step after the other.

Written from the equations, in the dtype of the weights, and with buffers where they save time. The tests hold each of
them to the rule's own numbers, so that a ratio is one of the same work.

    rhat = [r; x; 1],  v = W rhat,  r <- (1 - alpha) r + alpha tanh(v),  z = W_out [r; 1],  c = (softmax(z) - y) W_out
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Credit: TypeAlias = Callable[[int, Array, Array, Array], Array]
"""``(t, rhat, alpha phi'(v), c) -> gradient of W``."""

GUARD = 1e-7
"""On both sides of a ratio of norms, as the rules have it."""


def rflo(w: Array, w_out: Array, x: Array, y: Array, *, alpha: float, rate: float) -> tuple[Array, Array, Array]:
    """RFLO with SGD: B <- (1 - alpha) B + alpha phi' rhat^T, gradient c B.

    Args:
      w: (n, m).
      w_out: (n_out, n + 1).
      x: (T, n_in).
      y: (T, n_out).
      alpha: inverse time constant.
      rate: of learning.

    Returns:
      w and w_out at the end, and the losses (T,).
    """
    trace, fresh, gradient = np.zeros_like(w), np.empty_like(w), np.empty_like(w)

    def credit(t: int, rhat: Array, gain: Array, c: Array) -> Array:
        np.multiply(trace, 1 - alpha, out=trace)
        np.multiply(gain[:, None], rhat, out=fresh)
        np.add(trace, fresh, out=trace)
        return np.multiply(c[:, None], trace, out=gradient)

    return _learned(credit, w.copy(), w_out, x, y, alpha, rate)


def uoro(
    w: Array, w_out: Array, x: Array, y: Array, *, alpha: float, rate: float, a: Array, b: Array, nu: Array
) -> tuple[Array, Array, Array]:
    """UORO with SGD: A <- rho_0 J A + rho_1 nu, B <- B / rho_0 + (nu phi') rhat^T / rho_1, gradient (c . A) B.

    Args:
      w: and the others as in `rflo`.
      w_out: see `rflo`.
      x: see `rflo`.
      y: see `rflo`.
      alpha: see `rflo`.
      rate: see `rflo`.
      a: (n,), A at first.
      b: (n, m), B at first.
      nu: (T, n), signs.

    Returns:
      As `rflo`.
    """
    w, a, b = w.copy(), a.copy(), b.copy()
    n, fresh, gradient = len(w), np.empty_like(w), np.empty_like(w)
    recurrent = w[:, :n]

    def credit(t: int, rhat: Array, gain: Array, c: Array) -> Array:
        nonlocal a
        ahead = gain * (recurrent @ a)
        ahead += (1 - alpha) * a
        post = nu[t] * gain
        keep = _balance(_norm(b), _norm(ahead))
        write = _balance(_norm(post) * _norm(rhat), _norm(nu[t]))
        a = keep * ahead + write * nu[t]
        post *= 1 / write
        np.multiply(b, 1 / keep, out=b)
        np.multiply(post[:, None], rhat, out=fresh)
        np.add(b, fresh, out=b)
        return np.multiply(b, c @ a, out=gradient)

    return _learned(credit, w, w_out, x, y, alpha, rate)


def kf_rtrl(
    w: Array, w_out: Array, x: Array, y: Array, *, alpha: float, rate: float, a: Array, b: Array, nu: Sequence[Any]
) -> tuple[Array, Array, Array]:
    """KF-RTRL with SGD: A <- nu_0 rho_0 A + nu_1 rho_1 rhat, B <- nu_0 J B / rho_0 + nu_1 D / rho_1, gradient (c B) A.

    Args:
      w: and the others as in `rflo`.
      w_out: see `rflo`.
      x: see `rflo`.
      y: see `rflo`.
      alpha: see `rflo`.
      rate: see `rflo`.
      a: (m,), A at first.
      b: (n, n), B at first.
      nu: (T, 2), signs.

    Returns:
      As `rflo`.
    """
    w, a, b = w.copy(), a.copy(), b.copy()
    n, jacobian, ahead, gradient = len(w), np.empty_like(b), np.empty_like(b), np.empty_like(w)
    recurrent = w[:, :n]

    def credit(t: int, rhat: Array, gain: Array, c: Array) -> Array:
        nonlocal a
        np.multiply(gain[:, None], recurrent, out=jacobian)
        jacobian.reshape(-1)[:: n + 1] += 1 - alpha
        np.dot(jacobian, b, out=ahead)
        keep, write = _balance(_norm(ahead), _norm(a)), _balance(_norm(gain), _norm(rhat))
        old, new = nu[t]
        a = (old * keep) * a + (new * write) * rhat
        np.multiply(ahead, old / keep, out=b)
        b.reshape(-1)[:: n + 1] += (new / write) * gain
        return np.multiply((c @ b)[:, None], a, out=gradient)

    return _learned(credit, w, w_out, x, y, alpha, rate)


def impression(
    w: Array,
    d_s: Array,
    d: Array,
    z: Array,
    *,
    sigma_inf: tuple[float, float],
    sigma_gen: tuple[float, float],
    rate: float,
    xi: Array,
    eta: Array,
) -> tuple[Array, Array, Array]:
    """Impression learning with SGD, two steps awake and two asleep.

    Awake s = z + sigma xi, r = tanh(W s) + sigma eta, and D_s and D learn; asleep r = D r + sigma eta,
    s = D_s r + sigma xi, and W does; each by the other stream's error.

    Args:
      w: (n, n_s), W.
      d_s: (n_s, n), D_s.
      d: (n,), D.
      z: (T, n_s), the stimulus.
      sigma_inf: of inference, sensory layer first.
      sigma_gen: of generation.
      rate: of learning.
      xi: (T, n_s), normals.
      eta: (T, n), normals.

    Returns:
      W, D_s and D at the end.
    """
    w, d_s, d = w.copy(), d_s.copy(), d.copy()
    r, awake = np.zeros_like(d), True
    for t, stimulus in enumerate(z):
        onset, awake = t % 4 < 2 and not awake, t % 4 < 2
        if awake:
            s = stimulus + sigma_inf[0] * xi[t]
            top, r = r, np.tanh(w @ s) + sigma_inf[1] * eta[t]
            d_s += (rate * (s - d_s @ r))[:, None] * r
            if not onset:
                d += rate * (r - d * top) * top
        else:
            r = d * r + sigma_gen[1] * eta[t]
            s = d_s @ r + sigma_gen[0] * xi[t]
            mean = np.tanh(w @ s)
            w += (rate * (r - mean) * (1 - mean * mean))[:, None] * s
    return w, d_s, d


def _learned(
    credit: Credit, w: Array, w_out: Array, x: Array, y: Array, alpha: float, rate: float
) -> tuple[Array, Array, Array]:
    """Runs the network, whose w is changed in place, and teaches it."""
    w_out, losses, n = w_out.copy(), np.empty(len(x), w.dtype), len(w)
    rhat, read, readout = np.ones(w.shape[1], w.dtype), np.ones(n + 1, w.dtype), w_out[:, :n]
    r = read[:n]
    r[:] = 0
    for t in range(len(x)):
        rhat[:n], rhat[n:-1] = r, x[t]
        h = np.tanh(w @ rhat)
        r *= 1 - alpha
        r += alpha * h
        p = np.exp(w_out @ read)  # the outputs are small
        p /= p.sum()
        losses[t] = -(y[t] @ np.log(p))
        error = p - y[t]
        gradient = credit(t, rhat, alpha * (1 - h * h), error @ readout)
        w_out -= (rate * error)[:, None] * read
        gradient *= rate
        w -= gradient
    return w, w_out, losses


def _norm(values: Array) -> float:
    return math.sqrt(np.vdot(values, values))


def _balance(above: float, below: float) -> float:
    return math.sqrt((above + GUARD) / (below + GUARD))
