"""Lifetimes of feedback and local plasticity in plain NumPy, float64: the reference of tests.

Written from the equations, not from the library. Theta is a dict of lists, one entry for each of L layers, None where
nothing reads it: W (n_out, n_in), b (n_out,), B (n_out, n_y), c (n_out,), alpha (n_out, n_in), beta (). Rows are
examples.

    z_i = W_i a_i + b_i,  a_{i+1} = relu(z_i), the last linear
    regression       s = y - yhat, every plastic layer is mixed;  loss: mean of (yhat - y)^2 over the query
    classification   s = y (one-hot), the output is clamped to y;  loss: mean cross-entropy of the query
    post_i = beta_i relu(s B_i^T + c_i) + (1 - beta_i) a_{i+1}
    W_i += alpha_i (post_i^T a_i - (sum_batch post_i^2)[:, None] W_i)
"""

import numpy as np


def forward(w, b, x, units=None):
    """a_0, ..., a_L; `units` collects the rectified units that are on."""
    a = [x]
    for i in range(len(w)):
        z = a[-1] @ w[i].T + b[i]
        if i < len(w) - 1:
            if units is not None:
                units.append(z > 0)
            z = np.maximum(z, 0)
        a.append(z)
    return a


def cross_entropy(yhat, y):
    top = yhat.max(1, keepdims=True)
    log_p = yhat - top - np.log(np.exp(yhat - top).sum(1, keepdims=True))
    return np.mean(-np.sum(y * log_p, 1))


def live(theta, x, y, query_x, query_y, plastic, classification=False):
    """A step for each of x (T, b, n_0), y (T, b, n_y): (query loss, final W, inner losses (T,), units that were on)."""
    w = [np.array(each) for each in theta["W"]]
    inner, units = [], []
    for t in range(len(x)):
        a = forward(w, theta["b"], x[t], units)
        yhat = a[-1]
        inner.append(cross_entropy(yhat, y[t]) if classification else 0.5 * np.mean(np.sum((yhat - y[t]) ** 2, 1)))
        s = y[t] if classification else y[t] - yhat
        steps = {}
        for i in plastic:
            if classification and i == len(w) - 1:
                post = y[t]
            else:
                drive = s @ theta["B"][i].T + theta["c"][i]
                units.append(drive > 0)
                post = theta["beta"][i] * np.maximum(drive, 0) + (1 - theta["beta"][i]) * a[i + 1]
            steps[i] = post.T @ a[i] - np.sum(post**2, 0)[:, None] * w[i]
        for i, step in steps.items():
            w[i] = w[i] + theta["alpha"][i] * step
    yhat = forward(w, theta["b"], query_x, units)[-1]
    loss = cross_entropy(yhat, query_y) if classification else np.mean((yhat - query_y) ** 2)
    return loss, w, np.array(inner), np.concatenate([each.ravel() for each in units])


def differences(theta, h, *life, **options):
    """The gradient of the query loss by every entry of theta: central differences, error h^4 f^(5) / 30.

    Raises where a rectified unit switches within the stencil: there is no derivative there.
    """
    here = live(theta, *life, **options)[3]

    def loss():
        value, _, _, units = live(theta, *life, **options)
        if not np.array_equal(units, here):
            raise ValueError("a rectified unit switches within the stencil: take another seed, or a smaller h")
        return value

    gradient = {}
    for name, arrays in theta.items():
        gradient[name] = []
        for array in arrays:
            slope = None if array is None else np.zeros_like(array)
            for index in np.ndindex(array.shape) if array is not None else ():
                value, f = array[index], {}
                for k in (-2, -1, 1, 2):
                    array[index] = value + k * h
                    f[k] = loss()
                array[index] = value
                slope[index] = (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * h)
            gradient[name].append(slope)
    return gradient
