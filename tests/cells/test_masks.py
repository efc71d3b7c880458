"""Masked cells: missing connections have no effect and no gradient, and a stack equals its layers written out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import cells
from plasticity_jax.rules import online
from plasticity_jax.typing import Example

LAYERS, N_IN, N_OUT, STEPS = (4, 3), 2, 2, 7
N = sum(LAYERS)
MASK = cells.stack_mask(LAYERS, N_IN)
CELL = cells.leaky(N_IN, N, N_OUT, alpha=0.6, mask=MASK)


@functools.cache
def problem():
    params = cells.init_params(jax.random.key(0), CELL, jnp.float64)
    full = jax.random.normal(jax.random.key(1), (1, N, N + N_IN + 1), jnp.float64) / 2
    params["forward"]["w"] = full  # also where there is no connection, which the rule must not read
    x = jax.random.normal(jax.random.key(2), (STEPS, 1, N_IN), jnp.float64)
    y = jax.nn.softmax(jax.random.normal(jax.random.key(3), (STEPS, 1, N_OUT), jnp.float64))
    return params, Example(x, y)


def losses(w, w_out, examples):
    """Losses of two layers with their own weights; the second receives the first's activity of the last step."""
    low, high = np.arange(LAYERS[0]), LAYERS[0] + np.arange(LAYERS[1])
    a, b, values = jnp.zeros(LAYERS[0]), jnp.zeros(LAYERS[1]), []
    for x, y in zip(examples.x[:, 0], examples.y[:, 0], strict=True):
        of_a = w[low][:, low] @ a + w[low, N : N + N_IN] @ x + w[low, -1]
        of_b = w[high][:, high] @ b + w[high][:, low] @ a + w[high, -1]
        a, b = 0.4 * a + 0.6 * jnp.tanh(of_a), 0.4 * b + 0.6 * jnp.tanh(of_b)
        z = w_out[:, :N] @ jnp.concatenate([a, b]) + w_out[:, N]
        values.append(jax.nn.logsumexp(z) - y @ z)
    return jnp.stack(values)


def held(rule):
    params, examples = problem()

    def body(traces, at):
        updates, traces, info = rule.update(params, traces, jax.random.key(0), at)
        return traces, (updates["forward"], info.loss)

    start = rule.init(params, jax.random.key(0), jax.tree.map(lambda leaf: leaf[0], examples))
    return jax.jit(lambda: jax.lax.scan(body, start, examples)[1])()


def test_rtrl_and_bptt_give_the_gradient_of_a_stack():
    params, examples = problem()
    w, w_out = params["forward"]["w"][0], params["forward"]["w_out"]
    each = jax.jacrev(losses, (0, 1))(w, w_out, examples)
    updates, loss = held(online.rtrl(CELL))
    np.testing.assert_allclose(loss, losses(w, w_out, examples), atol=1e-12)
    np.testing.assert_allclose(updates["w"][:, 0], each[0], atol=1e-12)
    np.testing.assert_allclose(updates["w_out"], each[1], atol=1e-12)
    window, _ = held(online.bptt(CELL, window=STEPS))
    np.testing.assert_allclose(window["w"][-1, 0], each[0].sum(0), atol=1e-12)
    assert not np.any(each[0][:, ~MASK])
    low = slice(0, LAYERS[0])  # credit that reaches the lower layer through the upper one is not small
    assert np.linalg.norm(each[0][:, low]) > 0.1 * np.linalg.norm(each[0])


RULES = {
    name: functools.partial(getattr(online, name))
    for name in ("rtrl", "bptt", "uoro", "kf_rtrl", "reverse_kf_rtrl", "kernl", "rflo", "snap", "dni", "dni_b")
}
RULES["bptt"] = functools.partial(online.bptt, window=3)
RULES["snap 2"] = functools.partial(online.snap, n=2)


@pytest.mark.parametrize("name", RULES)
def test_no_rule_teaches_a_connection_that_does_not_exist(name):
    updates, _ = held(RULES[name](CELL))
    assert not np.any(np.asarray(updates["w"])[:, 0, ~MASK])
    assert np.abs(np.asarray(updates["w"])[-2:, 0, MASK]).max() > 1e-4


def test_snap_reaches_as_far_as_the_connections():
    """The first of three layers of one neuron reaches the third after two steps, and n = 3 is RTRL."""
    cell = cells.leaky(1, 3, 2, mask=cells.stack_mask([1, 1, 1], 1))
    params = cells.init_params(jax.random.key(4), cell, jnp.float64)
    params["forward"]["w"] = jnp.where(cell.mask, 0.8, 0.0)
    examples = Example(jnp.ones((5, 1, 1)), jnp.tile(jnp.array([[[0.9, 0.1]]]), (5, 1, 1)))

    def grads(rule):
        def body(traces, at):
            updates, traces, _ = rule.update(params, traces, jax.random.key(0), at)
            return traces, updates["forward"]["w"]

        start = rule.init(params, jax.random.key(0), jax.tree.map(lambda leaf: leaf[0], examples))
        return np.asarray(jax.lax.scan(body, start, examples)[1])

    exact = grads(online.rtrl(cell))
    np.testing.assert_allclose(grads(online.snap(cell, n=3)), exact, atol=1e-14)
    for n in (1, 2):
        assert np.abs(grads(online.snap(cell, n=n)) - exact).max() > 1e-5  # a billion times rounding
    np.testing.assert_allclose(grads(online.snap(cell, n=2))[:, :, 1:], exact[:, :, 1:], atol=1e-14)


def test_masks_are_refused_by_shape_and_key():
    with pytest.raises(ValueError, match=r"mask has shape \(2, 2\)"):
        cells.leaky(N_IN, N, N_OUT, mask=np.ones((2, 2)))
    with pytest.raises(ValueError, match="at least one layer"):
        cells.stack_mask([], 1)
    with pytest.raises(ValueError, match="share=2"):
        cells.sparse_mask(jax.random.key(0), 3, 2)
    with pytest.raises(ValueError, match="traced"):
        jax.jit(lambda key: cells.sparse_mask(key, 3, 0.5))(jax.random.key(0))
    assert cells.sparse_mask(jax.random.key(0), 5, 0.0).tolist() == np.eye(5, dtype=bool).tolist()
