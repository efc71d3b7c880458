"""The vanilla recurrent network and its credit in plain NumPy: one stream, every pair of steps (t, j) by itself.

h^t = tanh(U x^t + W h^{t-1} + b) + zeta^t,  yhat^t = V h^t + b_out,  L^t = 1/2 |yhat^t - y^t|^2
delta_{t,t} = (V^T e^t) * phi'^t,  delta_{t,j} = (B^T delta_{t,j+1}) * phi'^j
dU += delta_{t,j} x^j^T,  dW += delta_{t,j} h^{j-1}^T  for all j <= t;  dV += e^t h^t^T
"""

from types import SimpleNamespace

import numpy as np


def run(weights, h_0, x, y, noise=None):
    """Activities h[0..S], h[0] the carried one; slopes, errors, losses and outputs of the S steps."""
    path = SimpleNamespace(h=[h_0], slope=[], error=[], loss=[], output=[], x=x)
    for t in range(len(x)):
        phi = np.tanh(weights["u"] @ x[t] + weights["w"] @ path.h[-1] + weights["bias"])
        path.h.append(phi if noise is None else phi + noise[t])
        path.slope.append(1 - phi**2)
        path.output.append(weights["v"] @ path.h[-1] + weights["bias_out"])
        path.error.append(path.output[-1] - y[t])
        path.loss.append(0.5 * np.sum(path.error[-1] ** 2))
    return path


def credit(weights, path, back):
    """delta[t, j]; zero where t < j."""
    steps, n = len(path.x), len(weights["w"])
    delta = np.zeros((steps, steps, n))
    for t in range(steps):
        delta[t, t] = weights["v"].T @ path.error[t] * path.slope[t]
        for j in reversed(range(t)):
            delta[t, j] = back.T @ delta[t, j + 1] * path.slope[j]
    return delta


def gradients(weights, path, delta):
    found = {name: np.zeros_like(weights[name]) for name in weights}
    for t in range(len(path.x)):
        found["v"] += np.outer(path.error[t], path.h[t + 1])
        found["bias_out"] += path.error[t]
        for j in range(t + 1):
            found["u"] += np.outer(delta[t, j], path.x[j])
            found["w"] += np.outer(delta[t, j], path.h[j])
            found["bias"] += delta[t, j]
    return found


def effects(path, noisy, zeta, sigma, p, legacy=False):
    """lam[t, j]: the estimate that delta[t, j] @ B is to meet; zero where there is none."""
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


def moments(delta, lam, first):
    """Sums over first <= j <= t of delta^T delta and delta^T lam."""
    n = delta.shape[-1]
    second, cross = np.zeros((n, n)), np.zeros((n, n))
    for t in range(len(delta)):
        for j in range(first, t + 1):
            second += np.outer(delta[t, j], delta[t, j])
            cross += np.outer(delta[t, j], lam[t, j])
    return second, cross


def signed(delta, sign):
    """eta[j] = sum over t of sign[t] delta[t, j]."""
    return np.einsum("t,tjn->jn", sign, delta)
