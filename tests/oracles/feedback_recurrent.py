"""Recurrent networks of neurons and their credit in plain NumPy: one stream, one pair of steps (t, j) at a time.

v_g^t = W_g [s_0^{t-1} + zeta^{t-1}; x^t; 1],  s^t = update(s^{t-1}, v^t),  z^t = W_out [s_0^t + zeta^t; 1]
c_{t,t} = (W_out^T e^t) for s_0,  c_{t,j} = D^T c_{t,j+1} + (sum_g B_g^T delta_{t,j+1,g}) for s_0
delta_{t,j} = b c_{t,j}
dW_g += delta_{t,j,g} rhat^j^T for all j <= t;  dW_out += e^t [s_0^t; 1]^T

D = ds'/ds and b = ds'/dv of a neuron come from steps of i 1e-30, exact to rounding.
"""

from types import SimpleNamespace

import numpy as np


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def leaky(alpha=1.0):
    """alpha = 1 is the vanilla network."""
    return lambda s, v: (1 - alpha) * s + alpha * np.tanh(v)


def gru(s, v):
    reset, keep = sigmoid(v[0]), sigmoid(v[1])
    return ((1 - keep) * np.tanh(v[2] + reset * v[3]) + keep * s[0])[None]


def half_square(z, y):
    return 0.5 * np.sum((z - y) ** 2), z - y


def cross_entropy(z, y):
    """The cross-entropy of softmax z, for y that sums to one."""
    p = np.exp(z - z.max())
    p /= p.sum()
    return -np.sum(y * np.log(p)), p - y


def derivative(f, at, by):
    """df_a / d at_b, (a, b, n), of a function of neurons."""
    tilted = at.astype(complex)
    tilted[by] += 1e-30j
    return np.imag(f(tilted)) / 1e-30


def run(update, forward, s_0, x, y, noise=None, loss=half_square):
    """The path of S steps: states s[0..S], s[0] the carried one, and the values of each step."""
    n = s_0.shape[-1]
    noise = np.zeros((len(x), n)) if noise is None else noise
    path = SimpleNamespace(s=[s_0], rhat=[], decay=[], gain=[], error=[], loss=[], output=[], q=[], readout_input=[])
    for t in range(len(x)):
        before = path.s[-1]
        rhat = np.concatenate([before[0] + (noise[t - 1] if t else 0), x[t], [1.0]])
        v = forward["w"] @ rhat
        s = update(before, v)
        path.readout_input.append(np.append(s[0] + noise[t], 1.0))
        path.output.append(forward["w_out"] @ path.readout_input[-1])
        value, error = loss(path.output[-1], y[t])
        path.loss.append(value)
        path.error.append(error)
        path.q.append(np.zeros_like(s))
        path.q[-1][0] = forward["w_out"][:, :-1].T @ error
        path.rhat.append(rhat)
        path.decay.append(np.stack([derivative(lambda s, v=v: update(s, v), before, b) for b in range(len(s))], 1))
        path.gain.append(np.stack([derivative(lambda v, s=before: update(s, v), v, g) for g in range(len(v))], 1))
        path.s.append(s)
    return path


def states(path, back):
    """c[t, j]; zero where t < j. back (G, n, n)."""
    steps = len(path.q)
    c = np.zeros((steps, steps, *path.q[0].shape))
    for t in range(steps):
        c[t, t] = path.q[t]
        for j in reversed(range(t)):
            later = c[t, j + 1]
            c[t, j] = np.einsum("abn,an->bn", path.decay[j + 1], later)
            for matrix, delta in zip(back, np.einsum("agn,an->gn", path.gain[j + 1], later), strict=True):
                c[t, j, 0] += matrix.T @ delta
    return c


def sums(path, c):
    """delta[t, j], (G, n) each, of c[t, j]."""
    return np.stack([np.einsum("agn,tan->tgn", gain, c[:, j]) for j, gain in enumerate(path.gain)], 1)


def credit(path, back):
    """delta[t, j]; zero where t < j; without back only the diagonal is not."""
    return sums(path, alone(path) if back is None else states(path, back))


def alone(path):
    c = np.zeros((len(path.q), len(path.q), *path.q[0].shape))
    for t, q in enumerate(path.q):
        c[t, t] = q
    return c


def gradients(path, delta):
    """The gradients of "w" and "w_out"."""
    w = sum(np.einsum("gn,m->gnm", delta[t, j], path.rhat[j]) for t in range(len(path.q)) for j in range(t + 1))
    return {
        "w": w,
        "w_out": sum(np.outer(*pair) for pair in zip(path.error, path.readout_input, strict=True)),
    }


def effects(path, noisy, zeta, sigma, p, legacy=False):
    """lam[t, j]: the target of delta[t, j] @ B; zero where there is none."""
    steps, n = zeta.shape
    lam = np.zeros((steps, steps, n))
    for t in range(steps):
        rise = noisy.loss[t] - path.loss[t]
        for j in range(t + 1):
            if legacy:
                lam[t, j] = rise * zeta[j] / sigma**2
            elif j > 0:
                lam[t, j] = rise * zeta[j - 1] / (p * sigma**2)
    return lam


def flat(delta):
    """delta with its gates concatenated, (T, S, G n)."""
    return delta.reshape(*delta.shape[:2], -1)


def moments(delta, lam, first):
    """Sums over first <= j <= t of delta^T delta and delta^T lam, for delta (T, S, G n)."""
    second, cross = np.zeros((delta.shape[-1],) * 2), np.zeros((delta.shape[-1], lam.shape[-1]))
    for t in range(len(delta)):
        for j in range(first, t + 1):
            second += np.outer(delta[t, j], delta[t, j])
            cross += np.outer(delta[t, j], lam[t, j])
    return second, cross


def signed(delta, sign):
    """eta[j] = sum over t of sign[t] delta[t, j]."""
    return np.einsum("t,tjn->jn", sign, delta)
