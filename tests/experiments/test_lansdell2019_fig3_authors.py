"""Figure 3's backpropagation against the authors' update, written from their equations in plain NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lansdell2019.fig3 import Config, methods, start
from plasticity_jax.base import learner
from plasticity_jax.networks import mlp
from plasticity_jax.typing import Example
from tests.laws.common import compiled

AUTHORS = Config(data="prototypes", sizes=(64, 20, 2, 20, 64), bp_rate=2e-3)


def authors_step(w, x, rate):
    """One step of the authors' backpropagation: bias rows below the weights, a loss summed over the batch."""
    ones, h, slope = np.ones((len(x), 1)), [x], []
    for layer, rows in enumerate(w):
        v = np.hstack([h[-1], ones]) @ rows
        h.append((np.tanh(v), v, np.tanh(v), np.where(v > 0, v, 0))[layer])
        slope.append((1 - np.tanh(v) ** 2, 1, 1 - np.tanh(v) ** 2, v > 0)[layer])
    error, after = h[4] - x, []
    for layer in (3, 2, 1, 0):
        error = error * slope[layer]
        after.insert(0, w[layer] - rate * np.hstack([h[layer], ones]).T @ error)
        error = error @ w[layer][:-1].T
    return after, h[4]


def test_backpropagation_is_the_authors_step_by_step():
    """300 steps from the same start on the same batches, while outputs fall silent; another rate must differ."""
    net = mlp(AUTHORS.sizes, ("tanh", "identity", "tanh", "relu"))
    x = np.random.default_rng(4).uniform(0, 1, (300, 32, 64)) ** 3
    learn = learner(*methods(AUTHORS, net)["bp_tuned"])

    def ours(key):
        params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), start(key, net, AUTHORS.sizes))
        batches = Example(jnp.asarray(x), jnp.asarray(x))
        state = learn.init(params, key, jax.tree.map(lambda leaf: leaf[0], batches))
        return params["forward"], jax.lax.scan(learn.step, state, batches)[0].params["forward"]

    first, last = jax.tree.map(np.asarray, compiled(ours)(jax.random.key(3)))

    def rows(weights):
        return [np.vstack([w.T, bias]) for w, bias in zip(weights["w"], weights["bias"], strict=True)]

    assert [w.std() / (2 / n) ** 0.5 for w, n in zip(rows(first), AUTHORS.sizes[:-1], strict=True)] == pytest.approx(
        [1, 1, 1, 1], abs=0.25
    )
    w, slower = rows(first), rows(first)
    outputs = []
    for batch in x:
        w, output = authors_step(w, batch, AUTHORS.bp_rate)
        slower, _ = authors_step(slower, batch, AUTHORS.bp_rate / 32)
        outputs.append((output > 0).any(0).sum())
    assert outputs[-1] < outputs[0] - 5
    for ours_at_end, wanted, other in zip(rows(last), w, slower, strict=True):
        np.testing.assert_allclose(ours_at_end, wanted, rtol=1e-4, atol=1e-6)
        assert np.abs(ours_at_end - other).max() > 0.01
