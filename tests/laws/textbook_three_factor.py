"""L7 for the rules of three factors: one step in NumPy, of a chain synapse by synapse, of a cell by its equations.

Both use the numbers that the rule draws; averages are weighted sums over sums of weights.
"""

from types import SimpleNamespace

import jax
import numpy as np

from plasticity_jax.ops.noise import noise_of_shapes
from tests.laws.textbook_hebbian import PHI, RECTIFIED, SATURATING
from tests.laws.textbook_online import CELLS, connections, parameters


def mean_of(average):
    """The weighted mean; None before the first value."""
    return average.total / average.share if average.share > 0 else None


def faded(average, rate, value):
    return average._replace(
        total=(1 - rate) * average.total + rate * value, share=(1 - rate) * average.share + rate * 1.0
    )


def third_factors(average, losses):
    """M of each example: the expected loss less its own."""
    expected = mean_of(average)
    return [0.0 if expected is None else expected - loss for loss in losses]


def chain(activations, layers=(0, 1, 2), post="noise", mean=True):
    """``(params, traces, key, batch, coefficients) -> (params, traces, loss)`` after one step at a rate of one."""

    def one_step(params, traces, key, batch, coefficients):
        c, examples = SimpleNamespace(**coefficients), len(batch.x)
        w, bias = params["forward"]["w"], params["forward"]["bias"]
        drawn = noise_of_shapes(key, [(examples, len(w[i])) for i in layers], np.dtype(np.float64), "gaussian")
        xi = {i: np.asarray(each) for i, each in zip(layers, drawn, strict=True)}
        paths = []
        for b, x in enumerate(batch.x):
            h = [list(x)]
            for i, phi in enumerate(activations):
                shaken = [c.sigma * xi[i][b, j] if i in xi else 0.0 for j in range(len(w[i]))]
                h.append(
                    [
                        PHI[phi](sum(p * q for p, q in zip(w[i][j], h[-1], strict=True)) + bias[i][j] + shaken[j])
                        for j in range(len(w[i]))
                    ]
                )
            paths.append(h)
        losses = [0.5 * np.sum((np.array(h[-1]) - y) ** 2) for h, y in zip(paths, batch.y, strict=True)]
        third = third_factors(traces.loss, losses)
        new, eligibility, activity = [np.array(each) for each in w], [], []
        for k, i in enumerate(layers):
            eligible = np.zeros((examples, *w[i].shape))
            if "decay" in coefficients:
                eligible = c.decay * traces.eligibility[k]
            usual = None if post == "noise" else mean_of(traces.activity[k])
            for b, h in enumerate(paths):
                for j, x in np.ndindex(w[i].shape):
                    if post == "noise":
                        factor = xi[i][b, j] / c.sigma
                    else:
                        factor = 0.0 if usual is None else h[i + 1][j] - usual[j]
                    eligible[b, j, x] += factor * h[i][x]
                    new[i][j, x] += c.alpha * third[b] * eligible[b, j, x] / (examples if mean else 1)
            if "decay" in coefficients:
                eligibility.append(eligible)
            if post == "activity":
                activity.append(faded(traces.activity[k], c.average, np.mean([h[i + 1] for h in paths], 0)))
        after = traces._replace(
            eligibility=tuple(eligibility),
            loss=faded(traces.loss, c.baseline, np.mean(losses)),
            activity=tuple(activity),
        )
        return {**params, "forward": {**params["forward"], "w": tuple(new)}}, after, np.mean(losses)

    return one_step


def recurrent(cell, post="noise", rule_decay=None):
    """The same for a cell; `rule_decay` where the coefficient of that name is the cell's."""

    def one_step(params, traces, key, batch, coefficients):
        c = SimpleNamespace(**coefficients)
        p, (step, output, _) = parameters(cell, params, coefficients), CELLS[cell]
        decay = c.decay if rule_decay is None else rule_decay
        w, w_out = params["forward"]["w"], params["forward"]["w_out"]
        mask = connections(cell, w.shape)
        states, losses, activities, grads_out, presynaptic, noise = [], [], [], [], [], []
        for key_b, s, x, y in zip(jax.random.split(key, len(batch.x)), traces.state, batch.x, batch.y, strict=True):
            count = w.shape[0] * w.shape[1]
            xi = np.asarray(jax.random.normal(jax.random.split(key_b)[1], (count,), np.float64)).reshape(w.shape[:2])
            rhat = np.concatenate([output(s)[0], x, [1.0]])
            after = np.stack(step(p, s, np.einsum("gij,j->gi", mask * w, rhat) + c.sigma * xi)[0])
            read = np.append(output(after)[0], 1.0)
            share = np.exp(w_out @ read) / np.exp(w_out @ read).sum()
            states.append(after)
            losses.append(-np.sum(y * np.log(share)))
            grads_out.append(np.outer(share - y, read))
            for values, each in ((activities, read[:-1]), (presynaptic, rhat), (noise, xi)):
                values.append(each)
        usual = None if post == "noise" else mean_of(traces.shared.activity)
        change, eligibility = np.zeros_like(w), []
        for b, third in enumerate(third_factors(traces.shared.loss, losses)):
            factor = noise[b] / c.sigma
            if post == "activity":
                factor = np.tile(0 * activities[b] if usual is None else activities[b] - usual, (len(w), 1))
            eligibility.append(decay * traces.own.eligibility[b] + np.einsum("gi,j->gij", factor, presynaptic[b]))
            change += mask * third * eligibility[b] / len(losses)
        shared = traces.shared._replace(loss=faded(traces.shared.loss, c.baseline, np.mean(losses)))
        if post == "activity":
            shared = shared._replace(activity=faded(shared.activity, c.average, np.mean(activities, 0)))
        own = traces.own._replace(eligibility=np.stack(eligibility))
        after = traces._replace(state=np.stack(states), own=own, shared=shared)
        forward = {**params["forward"], "w": w + change, "w_out": w_out - np.mean(grads_out, 0)}
        return {**params, "forward": forward}, after, np.mean(losses)

    return one_step


TEXTBOOK = {
    "three_factor": chain(SATURATING),
    "three_factor_eligible": chain(RECTIFIED, (1, 2), mean=False),
    "three_factor_activity": chain(SATURATING, post="activity"),
    "recurrent_three_factor": recurrent("leaky"),
    "recurrent_three_factor_alif": recurrent("alif", rule_decay=0.9),
    "recurrent_three_factor_activity_gru": recurrent("gru", "activity"),
}
