"""UORO, KF-RTRL and reverse KF-RTRL on the LSTM, whose neurons have two variables and four gates, and with parameters
of their own: unbiased, by a z-test against RTRL, which other tests compare with autodiff.

Some 200 entries at five sigma: a correct rule fails with a probability below 200 * 5.8e-7 = 1.2e-4; seeds are fixed.
"""

import functools

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import cells
from plasticity_jax.rules import online
from plasticity_jax.typing import Example

KEYS, STEPS = 8000, 5
CELLS = {"lstm": cells.lstm(2, 4, 2), "leaky that learns alpha": cells.leaky(2, 4, 2, alpha=0.4, learn=("alpha",))}


def last_gradient(rule, cell, key):
    params = cells.init_params(jax.random.key(5), cell, jnp.float64)
    params["forward"]["w"] = 1.5 * params["forward"]["w"]
    x = jax.random.normal(jax.random.key(6), (STEPS, 1, 2), jnp.float64)
    y = jax.nn.softmax(2 * jax.random.normal(jax.random.key(7), (STEPS, 1, 2), jnp.float64))
    key_init, key_run = jax.random.split(key)
    traces = rule.init(params, key_init, Example(x[0], y[0]))
    for t in range(STEPS):
        updates, traces, _ = rule.update(params, traces, jax.random.fold_in(key_run, t), Example(x[t], y[t]))
    forward = {name: leaf for name, leaf in updates["forward"].items() if name != "w_out"}
    return jax.flatten_util.ravel_pytree(forward)[0]


@functools.cache
def exact(name, decay=1.0):
    return np.asarray(
        jax.jit(lambda: last_gradient(online.rtrl(CELLS[name], decay=decay), CELLS[name], jax.random.key(0)))()
    )


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("rule", ["uoro", "kf_rtrl", "reverse_kf_rtrl"])
def test_estimates_are_right_on_average(rule, name):
    cell = CELLS[name]
    sample = jax.jit(jax.vmap(lambda key: last_gradient(getattr(online, rule)(cell), cell, key)))
    samples = np.asarray(sample(jax.random.split(jax.random.key(8), KEYS)))
    error = samples.std(0) / KEYS**0.5
    z = (samples.mean(0) - exact(name)) / error
    assert np.abs(z).max() < 5
    assert 0.6 < np.sqrt(np.mean(z**2)) < 1.6
    # The test has power: it finds a gradient whose carried part is a fifth too small.
    short = exact(name, 0.8)
    assert np.abs((samples.mean(0) - short) / error).max() > 5
