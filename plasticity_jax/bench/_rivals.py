"""Plain NumPy loops of some rules, against which the rules are timed: one stream, one step after another.

They are written from the equations, in the dtype of the weights, and with buffers for all results, about as fast as
NumPy allows. The tests compare each of them with the rule's numbers, so that both sides of a ratio do the same work.

    rhat = [r; x; 1],  v = W rhat,  r <- (1 - alpha) r + alpha tanh(v),  z = W_out [r; 1],  c = (softmax(z) - y) W_out
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Credit: TypeAlias = Callable[[int, Array, Array, Array], Array]
"""``(t, rhat (m,), alpha phi'(v) (n, 1), rate times c (n, 1)) -> decrease of W (n, m)``."""

GUARD = 1e-7
"""Added to both sides of a ratio of norms, as in the rules."""


def rflo(w: Array, w_out: Array, x: Array, y: Array, *, alpha: float, rate: float) -> tuple[Array, Array, Array]:
    """RFLO with SGD: B <- (1 - alpha) B + alpha phi' rhat^T, gradient c B.

    Args:
      w: (n, m).
      w_out: (n_out, n + 1).
      x: (T, n_in).
      y: (T, n_out).
      alpha: inverse time constant.
      rate: learning rate.

    Returns:
      The final w and w_out, and the losses (T,).
    """
    trace, fresh, change = np.zeros_like(w), np.empty_like(w), np.empty_like(w)
    keep = np.array(1 - alpha, w.dtype)

    def credit(t: int, rhat: Array, gain: Array, c: Array) -> Array:
        np.multiply(trace, keep, trace)
        np.multiply(gain, rhat, fresh)
        np.add(trace, fresh, trace)
        return np.multiply(c, trace, change)

    return _learned(credit, w.copy(), w_out, x, y, alpha, rate)


def uoro(
    w: Array, w_out: Array, x: Array, y: Array, *, alpha: float, rate: float, a: Array, b: Array, nu: Array
) -> tuple[Array, Array, Array]:
    """UORO with SGD: A <- rho_0 J A + rho_1 nu, B <- B / rho_0 + (nu phi') rhat^T / rho_1, gradient (c . A) B.

    Args:
      w: see `rflo`.
      w_out: see `rflo`.
      x: see `rflo`.
      y: see `rflo`.
      alpha: see `rflo`.
      rate: see `rflo`.
      a: (n,), initial A.
      b: (n, m), initial B.
      nu: (T, n), signs.

    Returns:
      The same as `rflo`.
    """
    w, a, b = w.copy(), a.copy(), b.copy()
    n, post, fresh, change = len(w), np.empty((len(w), 1), w.dtype), np.empty_like(w), np.empty_like(w)
    recurrent, ahead, row, leak = w[:, :n], np.empty_like(a), post[:, 0], np.array(1 - alpha, w.dtype)

    def credit(t: int, rhat: Array, gain: Array, c: Array) -> Array:
        np.dot(recurrent, a, ahead)
        np.multiply(ahead, gain[:, 0], ahead)
        np.multiply(a, leak, a)
        np.add(ahead, a, ahead)
        np.multiply(gain[:, 0], nu[t], row)
        keep = _balance(_norm(b), _norm(ahead))
        write = _balance(_norm(row) * _norm(rhat), _norm(nu[t]))
        np.multiply(ahead, keep, ahead)
        np.multiply(nu[t], write, a)
        np.add(a, ahead, a)
        np.multiply(b, 1 / keep, b)
        np.multiply(row, 1 / write, row)
        np.multiply(post, rhat, fresh)
        np.add(b, fresh, b)
        return np.multiply(b, np.dot(c[:, 0], a), change)

    return _learned(credit, w, w_out, x, y, alpha, rate)


def kf_rtrl(
    w: Array, w_out: Array, x: Array, y: Array, *, alpha: float, rate: float, a: Array, b: Array, nu: Sequence[Any]
) -> tuple[Array, Array, Array]:
    """KF-RTRL with SGD: A <- nu_0 rho_0 A + nu_1 rho_1 rhat, B <- nu_0 J B / rho_0 + nu_1 D / rho_1, gradient (c B) A.

    Args:
      w: see `rflo`.
      w_out: see `rflo`.
      x: see `rflo`.
      y: see `rflo`.
      alpha: see `rflo`.
      rate: see `rflo`.
      a: (m,), initial A.
      b: (n, n), initial B.
      nu: (T, 2), signs.

    Returns:
      The same as `rflo`.
    """
    w, a, b = w.copy(), a.copy(), b.copy()
    n, row, left, change = len(w), np.empty_like(a), np.empty_like(b[:1]), np.empty_like(w)
    recurrent, leak, jacobian, ahead = w[:, :n], np.array(1 - alpha, w.dtype), np.empty_like(b), np.empty_like(b)
    diagonal_of_jacobian, diagonal_of_b = (matrix.reshape(-1)[:: n + 1] for matrix in (jacobian, b))

    def credit(t: int, rhat: Array, gain: Array, c: Array) -> Array:
        np.multiply(gain, recurrent, jacobian)
        np.add(diagonal_of_jacobian, leak, diagonal_of_jacobian)
        np.dot(jacobian, b, ahead)
        keep, write = _balance(_norm(ahead), _norm(a)), _balance(_norm(gain), _norm(rhat))
        old, new = nu[t]
        np.multiply(a, old * keep, a)
        np.multiply(rhat, new * write, row)
        np.add(a, row, a)
        np.multiply(ahead, old / keep, b)
        np.add(diagonal_of_b, (new / write) * gain[:, 0], diagonal_of_b)
        np.dot(c.T, b, left)
        return np.multiply(left.T, a, change)

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
    s = D_s r + sigma xi, and W learns; each by the other stream's error.

    Args:
      w: (n, n_s), W.
      d_s: (n_s, n), D_s.
      d: (n,), D.
      z: (T, n_s), the stimulus.
      sigma_inf: standard deviations of the noise of inference, sensory layer first.
      sigma_gen: standard deviations of the noise of generation.
      rate: learning rate.
      xi: (T, n_s), normals.
      eta: (T, n), normals.

    Returns:
      The final W, D_s and D.
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
    """Runs the network and trains it; w is changed in place."""
    dtype, (n, m), w_out, p = w.dtype, w.shape, w_out.copy(), np.empty_like(y)
    keep, leak, step = (np.array(value, dtype) for value in (1 - alpha, alpha, rate))
    rhat, read, h, risen = np.ones(m, dtype), np.ones(n + 1, dtype), np.empty(n, dtype), np.empty(n, dtype)
    gain, c, error, change = (np.empty(size, dtype) for size in ((n, 1), (n, 1), (y.shape[1], 1), w_out.shape))
    r_tm1, inputs, r, readout = rhat[:n], rhat[n:-1], read[:n], w_out[:, :n]
    r[:] = 0
    for t in range(len(x)):
        np.copyto(r_tm1, r)
        np.copyto(inputs, x[t])
        np.tanh(np.dot(w, rhat, h), h)
        np.multiply(h, leak, risen)
        np.multiply(r, keep, r)
        np.add(r, risen, r)
        np.multiply(h, risen, h)
        np.subtract(leak, h, gain[:, 0])
        z = p[t]
        np.exp(np.dot(w_out, read, z), z)  # the outputs are small
        np.divide(z, np.add.reduce(z), z)
        np.subtract(z, y[t], error[:, 0])
        np.multiply(error, step, error)
        np.dot(error[:, 0], readout, c[:, 0])
        np.subtract(w, credit(t, rhat, gain, c), w)
        np.multiply(error, read, change)
        np.subtract(w_out, change, w_out)
    return w, w_out, -np.sum(y * np.log(p), 1)


def _norm(values: Array) -> float:
    values = values.reshape(-1)
    return math.sqrt(np.dot(values, values))


def _balance(above: float, below: float) -> float:
    return math.sqrt((above + GUARD) / (below + GUARD))
