"""A window of steps: its path with and without noise against a NumPy loop, the sweep against autodiff, random B."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import cells
from plasticity_jax.cells import window as win
from plasticity_jax.cells.door import cell_weights
from plasticity_jax.cells.neurons import neurons
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.oracles import feedback_recurrent as oracle
from tests.rules.helpers import close, differ

N_IN, N, N_OUT, STREAMS = 3, 5, 2, 2
SIZES = (N_IN, N, N_OUT)
CELLS = {
    "vanilla": (cells.leaky(*SIZES, alpha=1.0, loss="squared"), oracle.leaky()),
    "leaky": (cells.leaky(*SIZES, alpha=0.4, loss="squared"), oracle.leaky(0.4)),
    "gru": (cells.gru(*SIZES, loss="squared"), oracle.gru),
}


def given(cell, steps, seed=0):
    """Params whose biases are not zero, a state, and a window, time first."""
    rng = np.random.default_rng(seed)
    params = cells.init_params(jax.random.key(seed), cell)
    forward = params["forward"]
    forward["w"] = forward["w"].at[..., -1].set(rng.standard_normal(forward["w"].shape[:2]))
    forward["w_out"] = forward["w_out"].at[:, -1].set(rng.standard_normal(N_OUT))
    s_0 = jnp.asarray(rng.standard_normal((STREAMS, len(cell.variables), N)))
    x, y = rng.standard_normal((steps, STREAMS, N_IN)), rng.standard_normal((steps, STREAMS, N_OUT))
    return params, s_0, Example(jnp.asarray(x), jnp.asarray(y)), rng.standard_normal((steps, STREAMS, N))


@pytest.mark.parametrize("steps", [1, 6, 20])
@pytest.mark.parametrize("name", CELLS)
def test_the_path_follows_the_equations(name, steps):
    cell, update = CELLS[name]
    params, s_0, example, noise = given(cell, steps)

    @compiled
    def everything(params, s_0, example, noise):
        window = win.run_window(cell, params, s_0, example)
        noisy = win.noisy_readout_input(cell, params, s_0, example, noise)
        return window, noisy, win.answers(cell, params["forward"]["w_out"], noisy, example)

    window, noisy, (output, loss, _) = everything(params, s_0, example, jnp.asarray(noise))
    forward = jax.tree.map(np.asarray, params["forward"])
    for b in range(STREAMS):
        stream = forward, np.asarray(s_0)[b], np.asarray(example.x)[:, b], np.asarray(example.y)[:, b]
        clean, rough = oracle.run(update, *stream), oracle.run(update, *stream, noise[:, b])
        close(window.s[:, b], clean.s[1:])
        close(window.local.rhat[:, b], clean.rhat)
        close(np.broadcast_to(window.local.decay[:, b], (steps, 1, 1, N)), clean.decay)
        close(window.local.gain[:, b], clean.gain)
        close(window.output[:, b], clean.output)
        close(window.loss[:, b], clean.loss)
        close(window.error[:, b], clean.error)
        close(window.credit[:, b], clean.q)
        close(noisy[:, b], np.array(rough.readout_input)[:, :-1])
        close(output[:, b], rough.output)
        close(loss[:, b], rough.loss)
        differ(rough.output, clean.output)


def adaptive():
    """A cell of two variables, one for the readout and one for the neurons, with a callable loss and own parameters."""

    def update(own, s, v):
        a = own["keep"] * s[0] + 0.3 * jnp.tanh(s[1]) + v[0]
        return jnp.stack([a, 0.8 * s[1] + jnp.sin(v[1] + s[0])])

    return neurons(
        n_in=N_IN,
        n=N,
        n_out=N_OUT,
        update=update,
        output=lambda s: jnp.tanh(s[0] - 0.5 * s[1]),
        read=lambda s: s[1] ** 2,
        variables=("a", "b"),
        gates=("one", "two"),
        own={"keep": 0.4},
        loss=lambda z, y: jnp.sum(jnp.cosh(z - y)),
        mask=np.random.default_rng(0).random((2, N, N + N_IN + 1)) < 0.7,
    )


def two_layers():
    return cells.Cell(
        init_params=lambda key: 0.5 * jax.random.normal(key, (2, 3, 3)),
        init_state=lambda: (0.1 * jnp.ones(3), jnp.zeros(3)),
        step=lambda w, s, x: (h := jnp.tanh(w[0] @ s[0] + x), jnp.tanh(w[1] @ h + s[1])),
        read=lambda s: s[1],
        n_in=3,
        n_out=N_OUT,
        loss="squared",
    )


def loss_of(cell, forward, s_0, example):
    """The window's loss, one stream and one step at a time, from `advance` or the cell's own step."""
    total = 0
    for b in range(example.x.shape[1]):
        state = s_0[b]
        for t in range(len(example.x)):
            if isinstance(cell, cells.Neurons):
                if example.start is not None:
                    state = jnp.where(example.start[t, b], jnp.zeros_like(state), state)
                state = cells.advance(cell, forward, state, example.x[t, b])
                readout_input = cell.read(state)
            else:
                parts = (state[:3], state[3:])
                if example.start is not None:
                    parts = jax.tree.map(
                        lambda a, r, on=example.start[t, b]: jnp.where(on, r, a), parts, cell.init_state()
                    )
                parts = cell.step(forward["cell"], parts, example.x[t, b])
                state, readout_input = jnp.concatenate(parts), cell.read(parts)
            z = cells.read_out(forward["w_out"], readout_input)
            each = cell.loss(z, example.y[t, b]) if callable(cell.loss) else jnp.sum((z - example.y[t, b]) ** 2) / 2
            total += each * (1 if example.weight is None else example.weight[t, b])
    return total / example.x.shape[1]


@pytest.mark.parametrize("edges", [False, True], ids=["whole", "starts and weights"])
@pytest.mark.parametrize("make", [adaptive, two_layers])
def test_the_sweep_equals_autodiff(make, edges):
    cell, rng = make(), np.random.default_rng(3)
    params = cells.init_params(jax.random.key(2), cell)
    size = (2, N) if make is adaptive else (6,)
    s_0, steps = jnp.asarray(rng.standard_normal((STREAMS, *size))), 5
    x, y = rng.standard_normal((steps, STREAMS, N_IN)), rng.standard_normal((steps, STREAMS, N_OUT))
    example = Example(jnp.asarray(x), jnp.asarray(y))
    if edges:
        start = jnp.zeros((steps, STREAMS), bool).at[0, 0].set(True).at[2, 1].set(True)
        example = example._replace(start=start, weight=jnp.asarray(rng.random((steps, STREAMS))).at[3].set(0))

    @compiled
    def ours(params):
        window = win.run_window(cell, params, s_0, example)
        credit = win.carry_back(cell, cell_weights(cell, params), window.local, window.credit)
        return win.window_report(window)[0], win.gradients(cell, params, window, credit), credit

    loss, gradients, credit = ours(params)
    expected_loss, (expected, by_state) = compiled(
        jax.value_and_grad(lambda forward, s: loss_of(cell, forward, s, example), argnums=(0, 1))
    )(params["forward"], s_0)
    close(loss, expected_loss)
    jax.tree.map(close, gradients, expected)
    assert all(np.abs(leaf).max() > 1e-2 for leaf in jax.tree.leaves(expected))
    if edges:
        assert not np.asarray(by_state)[0].any(), "credit crosses the start of a trial"
        assert np.asarray(by_state)[1].any()
        differ(credit[0, 0], credit[0, 1])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
def test_random_feedback_has_the_scale_of_w_rec(dtype):
    """The mean square is within five standard errors, false alarm below 1e-5 together; B is not W."""
    n = 60
    cell = cells.gru(2, n, 2)
    w_back = compiled(lambda key: cells.init_feedback(key, cell, dtype)["w_back"])(jax.random.key(3))
    assert w_back.shape == (4, n, n)
    assert w_back.dtype == dtype
    square = np.mean(np.asarray(w_back, np.float64) ** 2, (1, 2))
    assert square[2] == 0, "the candidate's input has no recurrent connections"
    assert np.abs(n * square[[0, 1, 3]] - 1).max() < 5 * (2 / n**2) ** 0.5 + 0.01
    w = cells.init_params(jax.random.key(3), cell, dtype)["forward"]["w"][:, :, :n]
    for gate in (0, 1, 3):
        assert abs(np.corrcoef(np.ravel(w[gate]).astype(float), np.ravel(w_back[gate]).astype(float))[0, 1]) < 5 / n


def test_random_feedback_takes_the_scale_and_the_mask_of_the_cell():
    mask = np.random.default_rng(0).random((N, N)) < 0.5

    def wide(key, cell, dtype):
        return 7 * jnp.ones((1, cell.n, cell.m), dtype)  # no number in it is random: B must not be W

    cell = neurons(n_in=1, n=N, n_out=1, update=lambda own, s, v: jnp.tanh(v), mask=mask, init_w=wide)
    draws = jax.vmap(lambda key: cells.init_feedback(key, cell)["w_back"])(jax.random.split(jax.random.key(0), 1000))
    assert not np.asarray(draws)[:, 0][:, ~mask].any()
    count = 1000 * mask.sum()
    assert abs(np.mean(np.asarray(draws)[:, 0][:, mask] ** 2) / 49 - 1) < 5 * (2 / count) ** 0.5


def test_random_feedback_is_for_neurons():
    with pytest.raises(TypeError, match="init_feedback needs a cell of neurons"):
        cells.init_feedback(jax.random.key(0), two_layers())
