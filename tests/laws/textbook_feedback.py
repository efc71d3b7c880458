"""L7 for the feedback family: one step of each rule in plain NumPy, one example at a time, sums written out.

A rule's function takes the params, the traces, the passes of all examples, the noise's key and the coefficients, and
gives the matrices that carry errors back, the changes of the feedback weights from the errors so carried, what is added
to the weights' gradients, and the traces.
"""

from types import SimpleNamespace

import numpy as np

from plasticity_jax.ops.noise import stored_noise

PHI = {
    "tanh": (np.tanh, lambda v: 1 / np.cosh(v) ** 2),
    "sigmoid": (lambda v: 1 / (1 + np.exp(-v)), lambda v: 0.25 / np.cosh(v / 2) ** 2),
    "identity": (lambda v: v, lambda v: np.ones_like(v)),
}
CURVED, LINEAR = ("tanh", "sigmoid", "identity"), ("identity", "identity", "identity")


def run(params, x, activations, noise=None):
    """One example, forward: activities and slopes of all layers. Noise is added to those of the hidden layers."""
    h, slope = [x], []
    for i, name in enumerate(activations):
        v = params["forward"]["w"][i] @ h[-1] + params["forward"]["bias"][i]
        phi, derivative = PHI[name]
        added = noise[i] if noise is not None and i < len(activations) - 1 else 0
        h.append(phi(v) + added)
        slope.append(derivative(v))
    return h, slope


def errors_of(params, back, x, y, activations, direct):
    """One example, backward: e~^1, ..., e~^L, and its activities and loss."""
    h, slope = run(params, x, activations)
    e = [(h[-1] - y) * slope[-1]]
    for i in reversed(range(len(activations) - 1)):
        e.insert(0, (back[i].T @ (e[-1] if direct else e[0])) * slope[i])
    return SimpleNamespace(e=e, h=h, loss=0.5 * np.sum((h[-1] - y) ** 2))


def textbook(back, teach=None, direct=False, activations=CURVED):
    """``(params, traces, key, batch, coefficients) -> (params, traces, loss)`` after one step at a rate of one."""

    def one_step(params, traces, key, batch, coefficients):
        c = SimpleNamespace(**coefficients)
        matrices = back(params, c)
        each = [errors_of(params, matrices, x, y, activations, direct) for x, y in zip(batch.x, batch.y, strict=True)]
        layers = range(len(activations))
        w_step = [np.mean([np.outer(one.e[i], one.h[i]) for one in each], 0) for i in layers]
        bias_step = [np.mean([one.e[i] for one in each], 0) for i in layers]
        w, bias, w_fb = params["forward"]["w"], params["forward"]["bias"], params["feedback"]["w_fb"]
        if teach is not None:
            w_step, w_fb, traces = teach(params, traces, key, batch, c, each, w_step)
        forward = {
            "w": tuple(a - da for a, da in zip(w, w_step, strict=True)),
            "bias": tuple(a - da for a, da in zip(bias, bias_step, strict=True)),
        }
        return {"forward": forward, "feedback": {"w_fb": tuple(w_fb)}}, traces, np.mean([one.loss for one in each])

    return one_step


def transposes(params, c):
    return params["forward"]["w"][1:]


def own(params, c):
    return params["feedback"]["w_fb"]


def signs_of_weights(params, c):
    return [np.where(w > 0, c.scale, -c.scale) for w in params["forward"]["w"][1:]]


def matched(params, traces, key, batch, c, each, w_step):
    w_fb = [b - (dw + c.decay * b) for b, dw in zip(params["feedback"]["w_fb"], w_step[1:], strict=True)]
    return [dw + c.decay * w for dw, w in zip(w_step, params["forward"]["w"], strict=True)], w_fb, traces


def effects(params, key, batch, c, each, activations, kind, antithetic):
    """lam^ of every example and hidden layer."""
    widths = [len(h) for h in each[0].h[1:-1]]
    flat = np.asarray(stored_noise(key, len(each) * sum(widths), np.dtype(np.float64), kind))
    cuts = np.split(flat, np.cumsum([len(each) * n for n in widths])[:-1])
    xi = [cut.reshape(len(each), n) for cut, n in zip(cuts, widths, strict=True)]

    def loss(b, size):
        h, _ = run(params, batch.x[b], activations, [size * layer[b] for layer in xi])
        return 0.5 * np.sum((h[-1] - batch.y[b]) ** 2)

    lam = []
    for b, one in enumerate(each):
        change = (loss(b, c.sigma) - loss(b, -c.sigma)) / 2 if antithetic else loss(b, c.sigma) - one.loss
        lam.append([change * layer[b] / c.sigma for layer in xi])
    return lam


def perturbed(estimator, kind="gaussian", antithetic=False, direct=False, solve_every=1, activations=CURVED):
    def teach(params, traces, key, batch, c, each, w_step):
        lam = effects(params, key, batch, c, each, activations, kind, antithetic)
        w_fb = list(params["feedback"]["w_fb"])
        from_output = direct or estimator == "offline"
        pairs = [
            [(one.e[-1] if from_output else one.e[i + 1], lam[b][i]) for b, one in enumerate(each)]
            for i in range(len(w_fb))
        ]
        steps = traces.steps + 1
        if estimator == "sgd":
            w_fb = [
                b - np.mean([np.outer(e, b.T @ e - to) for e, to in pair], 0)
                for b, pair in zip(w_fb, pairs, strict=True)
            ]
            return w_step, w_fb, traces._replace(steps=steps)
        second = [sum(np.outer(e, e) for e, _ in pair) for pair in (pairs[:1] if from_output else pairs)]
        second = [c.forgetting * v.total + dv for v, dv in zip(traces.second, second, strict=True)]
        cross = [sum(np.outer(e, to) for e, to in pair) for pair in pairs]
        cross = [c.forgetting * s.total + ds for s, ds in zip(traces.cross, cross, strict=True)]
        if steps % solve_every == 0:
            w_fb = solutions(second, cross, c.ridge, estimator)

        def summed(sums, totals):  # in float64 what rounding has kept out is nothing to speak of
            return tuple(a._replace(total=t, rest=a.rest) for a, t in zip(sums, totals, strict=True))

        return (
            w_step,
            w_fb,
            traces._replace(steps=steps, second=summed(traces.second, second), cross=summed(traces.cross, cross)),
        )

    return textbook(own, teach, direct, activations)


def solutions(second, cross, ridge, estimator):
    if estimator == "offline":
        found, r = [], np.eye(len(second[0]))
        for s in reversed(cross):
            b = np.linalg.inv(r @ second[0] @ r.T + ridge * np.eye(len(r))) @ r @ s
            found.insert(0, b)
            r = b.T @ r
        return found
    second = second * len(cross) if len(second) == 1 else second
    return [np.linalg.inv(v + ridge * np.eye(len(v))) @ s for v, s in zip(second, cross, strict=True)]


TEXTBOOK = {
    "backprop": textbook(transposes),
    "feedback_alignment": textbook(own),
    "direct_feedback_alignment": textbook(own, direct=True),
    "sign_symmetry": textbook(signs_of_weights),
    "matching": textbook(own, matched),
    "kolen_pollack": textbook(own, matched),
    "node_perturbation": perturbed("sgd"),
    "node_perturbation_antithetic": perturbed("sgd", antithetic=True),
    "node_perturbation_direct": perturbed("sgd", "rademacher", direct=True),
    "node_perturbation_ridge": perturbed("ridge", solve_every=2),
    "node_perturbation_ridge_direct": perturbed("ridge", direct=True),
    "node_perturbation_offline": perturbed("offline", activations=LINEAR),
}
