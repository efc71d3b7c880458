"""L7 for the feedback family: one step of each rule in plain NumPy, one example at a time, sums written out.

A rule's `teach` takes a `Step`, the results of one step's passes, and gives the gradients of the weights, the feedback
weights after the step, and the traces. Dense layers and convolutions are loops of `tests.oracles.chains`.
"""

from types import SimpleNamespace

import jax
import numpy as np

from plasticity_jax.ops.noise import stored_noise
from tests.oracles import chains
from tests.oracles.chains import Conv, Dense, Flatten, Pool

CURVED = [Dense("tanh"), Dense("sigmoid"), Dense()]
LINEAR = [Dense(), Dense(), Dense()]
IMAGES = [Conv("tanh"), Pool(2), Conv("sigmoid", padding="VALID"), Flatten(), Dense()]


def loss_of(net, forward, batch, b, noise=None):
    """Half the squared error of one example, times its weight."""
    share = 1.0 if batch.weight is None else batch.weight[b]
    return share * np.sum((chains.run(net, forward, batch.x[b], noise).h[-1] - batch.y[b]) ** 2) / 2


def example(net, params, back, batch, b, direct):
    """Both passes of one example."""
    share = 1.0 if batch.weight is None else batch.weight[b]
    activity = chains.run(net, params["forward"], batch.x[b])
    e, credit = chains.errors(net, activity, back, share * (activity.h[-1] - batch.y[b]), direct)
    w, bias = chains.gradients(net, params["forward"], activity, e)
    loss = loss_of(net, params["forward"], batch, b)
    return SimpleNamespace(activity=activity, e=e, credit=credit, w=w, bias=bias, loss=loss)


def means(trees):
    """Mean of each layer's arrays over the examples."""
    return [np.mean(leaves, 0) for leaves in zip(*trees, strict=True)]


def textbook(back, teach=None, direct=False, net=CURVED):
    """``(params, traces, key, batch, coefficients) -> (params, traces, loss)`` after one step at a rate of one."""

    def one_step(params, traces, key, batch, coefficients):
        c = SimpleNamespace(**coefficients)
        matrices = back(params, c)
        each = [example(net, params, matrices, batch, b, direct) for b in range(len(batch.x))]
        w_step, bias_step = means([one.w for one in each]), means([one.bias for one in each])
        w, bias, w_fb = params["forward"]["w"], params["forward"]["bias"], params["feedback"]["w_fb"]
        if teach is not None:
            step = SimpleNamespace(params=params, traces=traces, key=key, batch=batch, c=c, each=each, w=w_step)
            w_step, w_fb, traces = teach(net, step)
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


def matched(net, step):
    decay = step.c.decay
    w_fb = [b - (dw + decay * b) for b, dw in zip(step.params["feedback"]["w_fb"], step.w[1:], strict=True)]
    return [dw + decay * w for dw, w in zip(step.w, step.params["forward"]["w"], strict=True)], w_fb, step.traces


def drawn(key, shapes, kind):
    """Noise in arrays of these shapes, from one draw."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    flat = np.asarray(stored_noise(key, sum(sizes), np.dtype(np.float64), kind))
    cuts = np.split(flat, np.cumsum(sizes)[:-1])
    return [cut.reshape(shape) for cut, shape in zip(cuts, shapes, strict=True)]


def mirrored(net, step):
    """Each layer except the first responds to noise, from rest; a kernel's response is shared by all its windows."""
    layers, _ = chains.parts(net)
    forward, c, inputs = step.params["forward"], step.c, step.each[0].activity.inputs
    noise = drawn(step.key, [(len(step.each), *h.shape) for h in inputs[1:]], "gaussian")
    w_fb = []
    for i, (b, xi) in enumerate(zip(step.params["feedback"]["w_fb"], noise, strict=True)):
        layer, w, bias = layers[i + 1], forward["w"][i + 1], forward["bias"][i + 1]
        phi, _ = chains.PHI[layer.phi]
        products = []
        for one in xi:
            v = layer.forward(w, c.sigma * one) + bias
            response = (phi(v) - phi(bias)) / c.sigma
            products.append(layer.gradient(w, one, response) / np.prod(response.shape[:-1]))
        w_fb.append(b - c.decay * b + np.mean(products, 0))
    return step.w, w_fb, step.traces


def weights_perturbed(antithetic=False, kind="gaussian", net=CURVED):
    """All weights of the group "forward", those of its biases drawn first."""

    def one_step(params, traces, key, batch, coefficients):
        forward, sigma = params["forward"], coefficients["sigma"]
        names = [(name, i) for name in ("bias", "w") for i in range(len(forward[name]))]
        xi = dict(zip(names, drawn(key, [forward[name][i].shape for name, i in names], kind), strict=True))

        def moved(by):
            return {name: tuple(w + by * xi[name, i] for i, w in enumerate(forward[name])) for name in forward}

        def loss(by):
            return np.mean([loss_of(net, moved(by), batch, b) for b in range(len(batch.x))])

        change = (loss(sigma) - loss(-sigma)) / 2 if antithetic else loss(sigma) - loss(0.0)
        return {**params, "forward": moved(-change / sigma)}, traces, loss(0.0)

    return one_step


def by_signs(params, traces, keys, loss, coefficients):
    """Every leaf moves by its sign, all at once; one key for each draw."""
    steps = traces.steps + 1
    size = coefficients["c"] * steps ** -coefficients["gamma"]
    leaves, form = jax.tree.flatten(params)

    def moved(signs, by):
        return jax.tree.unflatten(form, [leaf + by * sign for leaf, sign in zip(leaves, signs, strict=True)])

    step, losses = [np.zeros_like(leaf) for leaf in leaves], []
    for key in keys:
        signs = drawn(key, [leaf.shape for leaf in leaves], "rademacher")
        plus, minus = loss(moved(signs, size)), loss(moved(signs, -size))
        step = [a + (plus - minus) / (2 * size * sign) / len(keys) for a, sign in zip(step, signs, strict=True)]
        losses += [plus, minus]
    return moved(step, -1), traces._replace(steps=steps), np.mean(losses)


def signs_on_a_chain(params, traces, key, batch, coefficients):
    """One draw; in a tree of the forward weights the biases come first."""

    def loss(forward):
        return np.mean([loss_of(CURVED, forward, batch, b) for b in range(len(batch.x))])

    forward, traces, value = by_signs(params["forward"], traces, [key], loss, coefficients)
    return {**params, "forward": forward}, traces, value


def signs_on_a_curve(params, traces, key, batch, coefficients):
    """Two draws."""

    def loss(params):
        total = 0.0
        for x, y, weight in zip(batch.x, batch.y, batch.weight, strict=True):
            terms = zip(params["curve"]["height"], params["curve"]["slope"], strict=True)
            total += weight * (params["offset"] + sum(a * np.tanh(s * x) for a, s in terms) - y) ** 2 / 2
        return total / len(batch.x)

    return by_signs(params, traces, [jax.random.fold_in(key, draw) for draw in range(2)], loss, coefficients)


def effects(net, step, kind, antithetic):
    """lam^ of every example and hidden layer."""
    shapes = [h.shape for h in step.each[0].activity.h[1:-1]]
    xi = drawn(step.key, [(len(step.each), *shape) for shape in shapes], kind)
    forward, sigma, lam = step.params["forward"], step.c.sigma, []
    for b, one in enumerate(step.each):

        def loss(size, b=b):
            return loss_of(net, forward, step.batch, b, [size * layer[b] for layer in xi])

        change = (loss(sigma) - loss(-sigma)) / 2 if antithetic else loss(sigma) - one.loss
        lam.append([change * layer[b] / sigma for layer in xi])
    return lam


def perturbed(estimator, kind="gaussian", antithetic=False, direct=False, solve_every=1, net=CURVED):
    def teach(net, step):
        lam, c, traces = effects(net, step, kind, antithetic), step.c, step.traces
        w_fb = list(step.params["feedback"]["w_fb"])
        steps = traces.steps + 1
        if estimator == "sgd":
            w_fb = [
                b - np.mean([descent(net, i, b, one, lam[n][i], direct) for n, one in enumerate(step.each)], 0)
                for i, b in enumerate(w_fb)
            ]
            return step.w, w_fb, traces._replace(steps=steps)
        from_output = direct or estimator == "offline"
        pairs = [
            [(one.e[-1] if from_output else one.e[i + 1], lam[b][i]) for b, one in enumerate(step.each)]
            for i in range(len(w_fb))
        ]
        second = [sum(np.outer(e, e) for e, _ in pair) for pair in (pairs[:1] if from_output else pairs)]
        second = [c.forgetting * v.total + dv for v, dv in zip(traces.second, second, strict=True)]
        cross = [sum(np.outer(e, to) for e, to in pair) for pair in pairs]
        cross = [c.forgetting * s.total + ds for s, ds in zip(traces.cross, cross, strict=True)]
        if steps % solve_every == 0:
            w_fb = solutions(second, cross, c.ridge, estimator)

        def summed(sums, totals):  # in float64 the rounding error that `rest` carries is negligible
            return tuple(a._replace(total=t, rest=a.rest) for a, t in zip(sums, totals, strict=True))

        return (
            step.w,
            w_fb,
            traces._replace(steps=steps, second=summed(traces.second, second), cross=summed(traces.cross, cross)),
        )

    return textbook(own, teach, direct, net)


def descent(net, i, b, one, lam, direct):
    """The gradient of 1/2 |c - lam|^2 by B: c carries e back, so B meets e where c - lam would have come forward."""
    wrong = one.credit[i] - lam
    if direct:
        return np.outer(one.e[-1], wrong)
    layers, between = chains.parts(net)
    return layers[i + 1].gradient(b, chains.passed(between[i + 1], wrong)[-1], one.e[i + 1])


def solutions(second, cross, ridge, estimator):
    if estimator == "offline":
        w_fb, r = [], np.eye(len(second[0]))
        for s in reversed(cross):
            b = np.linalg.inv(r @ second[0] @ r.T + ridge * np.eye(len(r))) @ r @ s
            w_fb.insert(0, b)
            r = b.T @ r
        return w_fb
    second = second * len(cross) if len(second) == 1 else second
    return [np.linalg.inv(v + ridge * np.eye(len(v))) @ s for v, s in zip(second, cross, strict=True)]


TEXTBOOK = {
    "backprop": textbook(transposes),
    "feedback_alignment": textbook(own),
    "direct_feedback_alignment": textbook(own, direct=True),
    "sign_symmetry": textbook(signs_of_weights),
    "matching": textbook(own, matched),
    "kolen_pollack": textbook(own, matched),
    "weight_mirror": textbook(own, mirrored),
    "weight_perturbation": weights_perturbed(),
    "weight_perturbation_antithetic": weights_perturbed(antithetic=True, kind="rademacher"),
    "spsa": signs_on_a_chain,
    "spsa_params": signs_on_a_curve,
    "node_perturbation": perturbed("sgd"),
    "node_perturbation_antithetic": perturbed("sgd", antithetic=True),
    "node_perturbation_direct": perturbed("sgd", "rademacher", direct=True),
    "node_perturbation_ridge": perturbed("ridge", solve_every=2),
    "node_perturbation_ridge_direct": perturbed("ridge", direct=True),
    "node_perturbation_offline": perturbed("offline", net=LINEAR),
    "backprop_conv": textbook(transposes, net=IMAGES),
    "feedback_alignment_conv": textbook(own, net=IMAGES),
    "direct_feedback_alignment_conv": textbook(own, direct=True, net=IMAGES),
    "sign_symmetry_conv": textbook(signs_of_weights, net=IMAGES),
    "matching_conv": textbook(own, matched, net=IMAGES),
    "kolen_pollack_conv": textbook(own, matched, net=IMAGES),
    "weight_mirror_conv": textbook(own, mirrored, net=IMAGES),
    "weight_perturbation_conv": weights_perturbed(net=IMAGES),
    "node_perturbation_conv": perturbed("sgd", net=IMAGES),
}
