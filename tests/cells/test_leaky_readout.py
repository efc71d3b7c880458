"""The leaky readout against a filter, autodiff of plain loops, and the derivatives of its update."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.cells import advance, alif, init_params, leaky, leaky_readout, lif, neurons
from plasticity_jax.cells.neurons import by_autodiff, derivatives
from plasticity_jax.rules import online
from tests.cells.spiking import (
    KEY,
    N_IN,
    N_OUT,
    N,
    by_autodiff_of,
    close,
    differ,
    lively,
    problem,
    updates_of,
)


def two_variables():
    """A cell whose readout and neurons receive different activity, with parameters before and after the decay."""

    def update(own, s, v):
        return jnp.stack([jnp.tanh(own["a"] * s[0] + v[0] + s[1]), own["z"] * s[1] + s[0] * jax.nn.sigmoid(v[1])])

    return neurons(
        n_in=N_IN,
        n=N,
        n_out=N_OUT,
        update=update,
        read=lambda s: s[0] * s[1],
        variables=("fast", "slow"),
        gates=("drive", "gate"),
        own={"a": 0.5, "z": 0.8},
        start=(0.1, 0.2),
    )


CELLS = {
    "leaky": lambda: leaky(N_IN, N, N_OUT, learn=("alpha",)),
    "lif": lambda: lif(N_IN, N, N_OUT, learn=("threshold",), refractory=1),
    "alif": lambda: alif(N_IN, N, N_OUT, learn=("decay", "strength")),
    "two_variables": two_variables,
}


@pytest.mark.parametrize("name", list(CELLS))
@pytest.mark.parametrize("learn", [False, True])
def test_the_readout_receives_filtered_activity(name, learn):
    plain = CELLS[name]()
    cell = leaky_readout(plain, 0.7, learn=learn)
    params, examples = problem(cell)
    weights = params["forward"]
    decay = np.asarray(weights["own"]["readout_decay"] if learn else 0.7)

    def run(cell, weights):
        def step(s, x):
            s = advance(cell, weights, s, x[0])
            return s, (s, cell.output(s), cell.read(s))

        start = jnp.broadcast_to(jnp.asarray(cell.start)[:, None], (len(cell.variables), N))
        return jax.jit(lambda x: jax.lax.scan(step, start, x))(examples.x)[1]

    own = {name: value for name, value in weights.get("own", {}).items() if name != "readout_decay"}
    s, output, read = run(cell, weights)
    s_plain, output_plain, read_plain = run(plain, {**weights, "own": own})
    np.testing.assert_array_equal(s[:, :-1], s_plain)
    np.testing.assert_array_equal(output, output_plain)
    f = np.zeros(N)
    for t in range(len(read)):
        f = decay * f + np.asarray(read_plain[t])
        np.testing.assert_allclose(read[t], f, rtol=1e-12, atol=1e-15)
    assert np.abs(read - read_plain).max() > 0.1


@pytest.mark.parametrize("name", list(CELLS))
@pytest.mark.parametrize("learn", [False, True])
def test_the_derivatives_written_out_are_those_of_update(name, learn):
    cell = leaky_readout(CELLS[name](), np.linspace(0.2, 0.9, N), learn=learn)
    own = problem(cell)[0]["forward"]["own"]
    rng = np.random.default_rng(2)
    s = jnp.asarray(rng.normal(0.8, 0.4, (len(cell.variables), N)))
    if name == "lif":
        s = s.at[1].set(jnp.arange(N) % 2)
    v = jnp.asarray(rng.standard_normal((len(cell.gates), N)))
    written, taken = jax.jit(lambda *a: (derivatives(cell, *a), by_autodiff(cell, *a)))(own, s, v)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-14), written, taken)
    assert np.abs(written.gain[-1]).max() > 0.01
    assert written.own_gain.shape == (len(cell.variables), len(cell.own), N)
    if learn:
        place = sorted(cell.own).index("readout_decay")
        np.testing.assert_array_equal(written.own_gain[-1, place], s[-1])
        assert not np.any(written.own_gain[:-1, place])


@pytest.mark.parametrize("learn", [("readout_decay",), ("strength", "readout_decay", "threshold")], ids=str)
def test_rtrl_equals_autodiff_through_the_filter(learn):
    own = {"decay": 0.8, "threshold": 0.9, "adaptation_decay": 0.95, "strength": 0.3}
    inner = alif(N_IN, N, N_OUT, **own, learn=[name for name in learn if name in own])
    cell = leaky_readout(inner, 0.8, learn=True)
    params, examples = problem(cell)
    fixed = {name: value for name, value in own.items() if name not in learn}
    expected, z = by_autodiff_of(params, examples, fixed)
    lively(z)
    close(updates_of(online.rtrl(cell), params, examples), expected)
    differ(updates_of(online.rflo(cell), params, examples), expected)


def test_the_reset_stays_out_of_the_derivatives_of_the_filtered_cell_too():
    own = {"decay": 0.8, "threshold": 0.9}
    cell = leaky_readout(lif(N_IN, N, N_OUT, **own, reset_derivative=False), 0.8)
    params, examples = problem(cell)
    expected, _ = by_autodiff_of(params, examples, {**own, "readout_decay": 0.8}, blind=True)
    close(updates_of(online.rtrl(cell), params, examples), expected)
    differ(by_autodiff_of(params, examples, {**own, "readout_decay": 0.8})[0], expected)


def test_a_decay_of_zero_filters_nothing():
    plain = lif(N_IN, N, N_OUT)
    params, examples = problem(plain)
    expected = updates_of(online.rtrl(plain), params, examples)
    close(updates_of(online.rtrl(leaky_readout(plain, 0.0)), params, examples), expected, 1e-12)
    differ(updates_of(online.rtrl(leaky_readout(plain, 0.5)), params, examples), expected)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_states_keep_the_dtype_of_the_weights(dtype):
    cell = leaky_readout(lif(3, 4, 2), np.full(4, 0.9))
    with jax.numpy_rank_promotion("raise"):
        weights = init_params(KEY, cell, dtype)["forward"]
        s = advance(cell, weights, jnp.zeros((2, 4), dtype), jnp.ones(3, dtype))
        d = derivatives(cell, {}, s, jnp.ones((1, 4), dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves((s, cell.read(s), d))} == {jnp.dtype(dtype)}


def test_bad_arguments_are_refused():
    cell = lif(2, 3, 2)
    with pytest.raises(ValueError, match=r"decay=1.5 is outside \[0, 1\]"):
        leaky_readout(cell, 1.5)
    with pytest.raises(ValueError, match="filtered readout already"):
        leaky_readout(leaky_readout(cell, 0.5), 0.5)
    with pytest.raises(TypeError, match="not a function"):
        leaky_readout(lif, 0.5)
