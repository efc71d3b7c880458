"""A gradient in two factors is their product, for custom rules on arrays and on trees; it needs neurons."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.cells import Cell, init_params, leaky, neurons
from plasticity_jax.rules.online import Collected, Credit, online_rule
from plasticity_jax.typing import Example
from tests.laws.common import compiled

STREAMS = 20


def owned():
    def update(own, s, v):
        return jnp.tanh(own["keep"] * s + v)

    return neurons(n_in=2, n=4, n_out=3, update=update, own={"keep": 0.5})


def traces_times_credit(cell, factors, tree):
    """RFLO without a leak, its gradient written out or in two factors; of the tree or of "w" alone."""

    def init(key, sizes):
        return jnp.zeros((sizes.variables, sizes.gates, sizes.n, sizes.m), sizes.dtype)

    def step(moment, e, shared, key):
        e = e + moment.local.gain[..., None] * moment.local.rhat[None, None, None]
        if factors:
            return Credit(Collected(moment.credit, {"w": e} if tree else e), e)
        w = jnp.sum(moment.credit[:, None, :, None] * e, 0)
        return Credit({"w": w} if tree else w, e)

    return online_rule(cell, init, step)


def updates_of(rule, cell):
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (STREAMS, cell.n_in))
    y = jax.nn.softmax(jax.random.normal(keys[1], (STREAMS, cell.n_out)))
    params = init_params(keys[2], cell)

    @compiled
    def learned(params):
        traces = rule.init(params, keys[0], Example(x, y))
        _, traces, _ = rule.update(params, traces, keys[1], Example(x, y))
        return rule.update(params, traces, keys[1], Example(x, y))[0]["forward"]

    return learned(params)


@pytest.mark.parametrize("tree", [False, True], ids=["array", "tree"])
@pytest.mark.parametrize("build", [lambda: leaky(2, 4, 3, alpha=0.5), owned], ids=["leaky", "own"])
def test_two_factors_are_their_product(build, tree):
    cell = build()
    updates, expected = (updates_of(traces_times_credit(cell, factors, tree), cell) for factors in (True, False))
    assert np.abs(expected["w"]).max() > 1e-3
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), updates, expected)


def test_two_factors_need_neurons():
    cell = Cell(
        lambda key: {"w": jnp.ones((2, 2))}, lambda: jnp.zeros(2), lambda w, s, x: w["w"] @ s + x, lambda s: s, 2, 2
    )

    def step(moment, e, shared, key):
        return Credit(Collected(moment.credit, {"w": e}), e)

    rule = online_rule(cell, lambda key, sizes: jnp.zeros((1, 2, 2)), step)
    with pytest.raises(ValueError, match="needs a cell of neurons"):
        updates_of(rule, cell)
