"""Small problems, and runs of a rule with and without learning. Everything is float64."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import learner
from plasticity_jax.rules import online
from plasticity_jax.typing import Example
from tests.laws.common import factories

F64 = jnp.float64
ONLINE = [name for name in online.__all__ if name in factories()]


def problem(seed, n=6, n_in=3, n_out=2, steps=40, streams=1, loss="softmax", gain=1.0):
    """Params of a cell of one gate, an orthogonal W_rec times gain and biases that are not zero, and a stream."""
    rng = np.random.default_rng(seed)
    w_rec = gain * np.linalg.qr(rng.standard_normal((n, n)))[0]
    w = np.concatenate([w_rec, rng.standard_normal((n, n_in)) / n_in**0.5, 0.3 * rng.standard_normal((n, 1))], 1)
    w_out = np.concatenate([rng.standard_normal((n_out, n)) / n**0.5, 0.3 * rng.standard_normal((n_out, 1))], 1)
    w_fb = rng.standard_normal((n_out, n)) / n_out**0.5
    params = {"forward": {"w": w[None], "w_out": w_out}, "feedback": {"w_fb": w_fb}}
    y = rng.standard_normal((steps, streams, n_out))
    y = np.exp(2 * y) / np.exp(2 * y).sum(-1, keepdims=True) if loss == "softmax" else y
    examples = Example(rng.standard_normal((steps, streams, n_in)), y)
    return jax.tree.map(jnp.asarray, (params, examples))


def first(examples):
    return jax.tree.map(lambda a: a[0], examples)


def with_immediate_gain(cell, alpha, gain=1.0):
    """The leaky cell of the authors' 2019 code: `gain` is in alpha's place in the immediate influence, but not in J.

    The slope of the activity that neurons receive is divided by the factor of the gain; its value is unchanged.
    """
    scale = gain / alpha

    def partials(own, s, v):
        derivatives = cell.partials(own, s, v)
        return derivatives._replace(gain=scale * derivatives.gain)

    def output(s):
        return s[0] / scale + jax.lax.stop_gradient(s[0] - s[0] / scale)

    return cell._replace(partials=partials, output=output)


def train(rule, lr, start, examples):
    """Results of learning by SGD from a learner's state: the last state, losses, states, and w after each step."""
    learn = learner(rule, optax.sgd(lr))

    def body(state, batch):
        state, info = learn.step(state, batch)
        return state, (info.loss, state.traces.state, state.params["forward"]["w"])

    end, (loss, s, w) = jax.lax.scan(body, start, examples)
    return end, loss, s, w


def hold(rule, params, examples, key, traces=None):
    """The rule's updates, traces and infos at every step, with fixed weights."""
    key_init, key_run = jax.random.split(key)
    traces = rule.init(params, key_init, first(examples)) if traces is None else traces

    def body(traces, at):
        t, batch = at
        updates, traces, info = rule.update(params, traces, jax.random.fold_in(key_run, t), batch)
        return traces, (updates["forward"]["w"], updates["forward"]["w_out"], traces, info)

    _, out = jax.lax.scan(body, traces, (jnp.arange(examples.x.shape[0]), examples))
    return out


def close(actual, expected, tolerance=1e-10):
    """Asserts equality to a tolerance relative to the largest expected entry."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * max(1e-3, np.abs(expected).max()))


def differ(actual, expected, least=1e-2):
    """Asserts a distance above `least`, relative to the larger, so that an equality nearby is not vacuous."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert np.linalg.norm(actual - expected) > least * max(np.linalg.norm(actual), np.linalg.norm(expected))
