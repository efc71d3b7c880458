"""The feedforward feedback family in plain NumPy, with SGD in the loop: the reference of tests and benchmarks.

Written from the paper's equations, not from the library, in the dtype of the weights that it is given, and for whole
batches as matrix products. Rows are examples.

    e~^L = yhat - y,  c^i = e~^{i+1} B^{i+1} (or e^L B^i),  e~^i = c^i phi'(v^i),  W^i -= lr mean e~^i h^{i-1}^T

The network's last layer is linear and its loss is half the summed squared error; every hidden layer has one activation.
`train` returns a dict: losses (T,), final w, bias and w_fb, and with ``record=True`` each step's errors e~ and lam.
"""

import numpy as np

PHI = {
    "tanh": (np.tanh, lambda h: 1 - h * h),
    "sigmoid": (lambda v: 1 / (1 + np.exp(-v)), lambda h: h * (1 - h)),
    "identity": (lambda v: v, lambda h: 1.0),
}
RULES = ("backprop", "feedback_alignment", "matching", "sgd", "ridge")


def forward(w, bias, x, phi, noise=None):
    h = [x]
    for i in range(len(w)):
        v = h[-1] @ w[i].T + bias[i]
        if i < len(w) - 1:
            v = phi(v)
            v = v if noise is None else v + noise[i]
        h.append(v)
    return h


def train(
    rule, w, bias, w_fb, x, y, *, lr, activation="tanh", lr_fb=0.0, sigma=1e-2, xi=None, decay=0.0, ridge=0.1,
    direct=False, record=False,
):  # fmt: skip
    """One step for each entry of x (T, B, n_0) and y (T, B, n_L); xi is a list of arrays (T, B, n_i)."""
    if rule not in RULES:
        raise ValueError(f"rule={rule!r} is not one of {RULES}")
    phi, slope = PHI[activation]
    w, bias, w_fb = ([np.array(a) for a in group] for group in (w, bias, w_fb))
    layers, batch = len(w), x.shape[1]
    second = [ridge * np.eye(len(b), dtype=b.dtype) for b in w_fb]
    cross = [np.zeros_like(b) for b in w_fb]
    losses, errors, effects = [], [], []
    for t in range(len(x)):
        h = forward(w, bias, x[t], phi)
        e = [h[-1] - y[t]]
        loss = 0.5 * np.sum(e[0] ** 2, 1)
        credit, source = [], []
        back = w[1:] if rule == "backprop" else w_fb
        for i in reversed(range(layers - 1)):
            source.insert(0, e[-1] if direct else e[0])
            credit.insert(0, source[0] @ back[i])
            e.insert(0, credit[0] * slope(h[i + 1]))
        if rule in ("sgd", "ridge"):
            noisy = forward(w, bias, x[t], phi, [sigma * each[t] for each in xi])
            change = 0.5 * np.sum((noisy[-1] - y[t]) ** 2, 1) - loss
            lam = [change[:, None] * each[t] / sigma for each in xi]
            for i in range(layers - 1):
                if rule == "sgd":
                    w_fb[i] -= lr_fb / batch * source[i].T @ (credit[i] - lam[i])
                else:
                    second[i] += source[i].T @ source[i]
                    cross[i] += source[i].T @ lam[i]
                    w_fb[i] = np.linalg.solve(second[i], cross[i])
            if record:
                errors.append(source)
                effects.append(lam)
        for i in range(layers):
            step = e[i].T @ h[i] / batch
            if rule == "matching":
                if i > 0:
                    w_fb[i - 1] -= lr * (step + decay * w_fb[i - 1])
                step = step + decay * w[i]
            w[i] -= lr * step
            bias[i] -= lr * e[i].mean(0)
        losses.append(loss.mean())
    out = {"losses": np.array(losses), "w": w, "bias": bias, "w_fb": w_fb}
    return {**out, "errors": errors, "effects": effects} if record else out
