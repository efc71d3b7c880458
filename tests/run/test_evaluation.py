"""Evaluation of fixed weights, compared with NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import Example, cells, networks
from plasticity_jax.run import evaluate, evaluated
from tests.run import toy


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("labels", [True, False])
def test_a_chain(labels):
    net = networks.mlp((4, 5, 3), ("tanh", "identity"), "softmax")
    params = networks.init_params(jax.random.key(0), net)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((6, 7, 4)), rng.integers(0, 3, (6, 7))
    weight = rng.integers(0, 2, (6, 7)).astype(float)
    given = jnp.asarray(y if labels else np.eye(3)[y])
    scores = evaluate(net, params, Example(jnp.asarray(x), given, weight=jnp.asarray(weight)))
    w, b = ([np.asarray(a, float) for a in params["forward"][name]] for name in ("w", "bias"))
    z = np.tanh(x @ w[0].T + b[0]) @ w[1].T + b[1]
    loss = -np.log(np.take_along_axis(softmax(z), y[..., None], -1))[..., 0]
    np.testing.assert_allclose(scores["loss"], (weight * loss).sum() / weight.sum(), rtol=1e-5)
    np.testing.assert_allclose(scores["accuracy"], (weight * (z.argmax(-1) == y)).sum() / weight.sum(), rtol=1e-6)
    assert 0 < scores["accuracy"] < 1


def test_a_cell_begins_at_rest_and_keeps_its_state():
    cell = cells.leaky(2, 6, 1, alpha=0.5, loss="squared")
    params = cells.init_params(jax.random.key(0), cell)
    x, y = np.random.default_rng(0).standard_normal((2, 9, 3, 2))
    scores = evaluate(cell, params, Example(jnp.asarray(x), jnp.asarray(y[..., :1])))
    w, w_out = (np.asarray(params["forward"][name], float) for name in ("w", "w_out"))
    h, losses, ones = np.zeros((3, 6)), [], np.ones((3, 1))
    for x_t, y_t in zip(x, y[..., :1], strict=True):
        h = 0.5 * h + 0.5 * np.tanh(np.hstack([h, x_t, ones]) @ w[0].T)
        losses.append(((np.hstack([h, ones]) @ w_out.T - y_t) ** 2 / 2).sum(-1).mean())
    np.testing.assert_allclose(scores["loss"], np.mean(losses), rtol=1e-5)
    assert set(scores) == {"loss"}


def test_metrics_of_the_state_that_a_chunk_ends_in():
    program = evaluated(toy.program(chunks=12), lambda state: {"w": state.learner.params["w"], "n": state.learner.step})
    lane = jax.tree.map(lambda leaf: leaf[0], toy.lanes())
    metrics = jax.jit(program.train)(lane)
    assert metrics["n"].tolist() == list(range(2, 26, 2))
    state, first = program.chunk(program.init(lane))
    np.testing.assert_allclose(metrics["w"][0], state.learner.params["w"], rtol=1e-6)
    assert first["w"].shape == (1, 3)
    with pytest.raises(ValueError, match="one point"):
        evaluated(toy.program(), lambda state: {})
