"""L7 for the Hebbian family: one step of each rule in plain NumPy, one example and one synapse at a time.

A rule's function returns a weight's change for one example, from what its synapse can read.
"""

from types import SimpleNamespace

import numpy as np

PHI = {"tanh": np.tanh, "relu": lambda v: v if v > 0 else 0.0, "identity": lambda v: v}
RECTIFIED, SATURATING = ("relu", "relu", "identity"), ("tanh", "tanh", "tanh")


def run(params, x, activations):
    """The activities of all layers for one example, the input's included."""
    h = [list(x)]
    for name, w, bias in zip(activations, params["forward"]["w"], params["forward"]["bias"], strict=True):
        h.append([PHI[name](sum(a * b for a, b in zip(row, h[-1], strict=True)) + c) for row, c in zip(w, bias)])  # noqa: B905
    return h


def textbook(weight, activations=RECTIFIED, layers=(0, 1, 2), classification=False, mean=False, back=None):
    """``(params, traces, key, batch, coefficients) -> (params, traces, loss)`` after one step at a rate of one."""

    def one_step(params, traces, key, batch, coefficients):
        c = SimpleNamespace(**coefficients)
        forward = {"w": [np.array(w) for w in params["forward"]["w"]], "bias": params["forward"]["bias"]}
        after = {**params, "forward": forward}
        if back is not None:
            after["feedback"] = {**params["feedback"], "w_fb": [np.array(b) for b in params["feedback"]["w_fb"]]}
        losses, share = [], 1 / len(batch.x) if mean else 1
        for x, y in zip(batch.x, batch.y, strict=True):
            h = run(params, x, activations)
            yhat = np.array(h[-1])
            signal = y if classification else y - yhat
            p = np.exp(yhat) / np.sum(np.exp(yhat))
            losses.append(-np.sum(y * np.log(p)) if classification else 0.5 * np.sum((yhat - y) ** 2))

            def feedback(i, j, signal=signal):
                drive = sum(s * b[j] for s, b in zip(signal, params["feedback"]["w_fb"][i], strict=True))
                return max(0.0, drive + params["feedback"]["bias"][i][j])

            for i in layers:
                w = params["forward"]["w"][i]
                for j, k in np.ndindex(w.shape):
                    s = SimpleNamespace(i=i, j=j, k=k, w=w[j, k], h=h, feedback=feedback, target=y, last=i == 2)
                    forward["w"][i][j, k] += share * weight(c, s)
                if back is not None:
                    for k, j in np.ndindex(params["feedback"]["w_fb"][i].shape):
                        s = SimpleNamespace(
                            i=i, j=j, w=params["feedback"]["w_fb"][i][k, j], pre=signal[k], h=h, feedback=feedback
                        )
                        after["feedback"]["w_fb"][i][k, j] += share * back(c, s)
        for group in (forward, after.get("feedback", {})):
            for name in ("w", "w_fb"):
                if name in group:
                    group[name] = tuple(group[name])
        return after, traces, np.mean(losses)

    return one_step


def hebb(c, s):
    return c.alpha * s.h[s.i + 1][s.j] * s.h[s.i][s.k]


def oja(c, s):
    post = s.h[s.i + 1][s.j]
    return c.alpha * (post * s.h[s.i][s.k] - post**2 * s.w)


def mixed(c, s, i, j):
    return c.beta * s.feedback(i, j) + (1 - c.beta) * s.h[i + 1][j]


def flp(c, s):
    post = mixed(c, s, s.i, s.j)
    return c.alpha * (post * s.h[s.i][s.k] - post**2 * s.w)


def flp_classification(c, s):
    post = s.target[s.j] if s.last else mixed(c, s, s.i, s.j)
    return c.alpha * (post * s.h[s.i][s.k] - post**2 * s.w)


def flp_after(c, s):
    pre = mixed(c, s, s.i - 1, s.k) if s.i > 0 else s.h[0][s.k]
    return c.alpha * mixed(c, s, s.i, s.j) * pre


def half(s):
    """beta = 1/2, the default."""
    return (s.feedback(s.i, s.j) + s.h[s.i + 1][s.j]) / 2


def plastic_half(c, s):
    return c.alpha * (half(s) * s.h[s.i][s.k] - half(s) ** 2 * s.w)


def of_feedback(c, s):
    return c.alpha_fb * (half(s) * s.pre - half(s) ** 2 * s.w)


def taylor(c, s):
    pre, post, f = s.h[s.i][s.k], s.h[s.i + 1][s.j], s.feedback(s.i, s.j)
    first = pre * (c.hebb * post + c.fed * f)
    return first + s.w * (c.oja * post * post + c.mixed * post * f + c.fed_oja * f * f)


def bcm(params, traces, key, batch, coefficients):
    """Neuron by neuron: phi(y, theta) = y (y - theta), summed synapse by synapse, and then the threshold slides."""
    c, examples = SimpleNamespace(**coefficients), len(batch.x)
    paths = [run(params, x, RECTIFIED) for x in batch.x]
    w, thetas = [np.array(each) for each in params["forward"]["w"]], [np.array(each) for each in traces.threshold]
    for i, j in ((layer, neuron) for layer in range(3) for neuron in range(len(w[layer]))):
        theta = traces.threshold[i][j]
        for h in paths:
            y = h[i + 1][j]
            for k, x in enumerate(h[i]):
                w[i][j, k] += c.alpha * y * (y - theta) * x / examples
        squares = sum(h[i + 1][j] ** 2 for h in paths) / examples
        thetas[i][j] = (1 - c.threshold_rate) * theta + c.threshold_rate * squares
    loss = np.mean([0.5 * np.sum((np.array(h[-1]) - y) ** 2) for h, y in zip(paths, batch.y, strict=True)])
    return {**params, "forward": {**params["forward"], "w": tuple(w)}}, traces._replace(threshold=tuple(thetas)), loss


TEXTBOOK = {
    "bcm": bcm,
    "hebb": textbook(hebb, SATURATING),
    "oja": textbook(oja),
    "flp": textbook(flp, layers=(1, 2)),
    "flp_classification": textbook(flp_classification, layers=(1, 2), classification=True),
    "flp_after": textbook(flp_after, SATURATING, mean=True),
    "plastic_feedback": textbook(plastic_half, back=of_feedback),
    "taylor": textbook(taylor),
}
