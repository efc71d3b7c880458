"""The GRU: outputs and gradients against flax's module, derivatives against whole Jacobians, masks, dtypes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax import learner
from plasticity_jax.cells import advance, gru, init_params, weights_from_flax
from plasticity_jax.cells.neurons import by_autodiff, derivatives, start_of
from plasticity_jax.rules import online
from plasticity_jax.tasks.add import add
from tests.cells import modules as flax
from tests.cells.modules import N_IN, N_OUT, N, all_close, held, summed

MODULE = nn.GRUCell(features=N)
CELL = gru(N_IN, N, N_OUT)
PARAMS = flax.flax_params(MODULE)
W, W_OUT = weights_from_flax(CELL, PARAMS), flax.readout(N)
GIVEN = {"forward": {"w": W, "w_out": W_OUT}}


def test_a_step_equals_the_equations_and_the_flax_module():
    """One step in NumPy, from the equations and flax's kernels, and twenty steps of flax's module."""
    rng = np.random.default_rng(0)
    h, x = rng.standard_normal(N), rng.standard_normal(N_IN)
    p = jax.tree.map(np.asarray, PARAMS)

    def sig(v):
        return 1 / (1 + np.exp(-v))

    def weighted(layer, activity):
        return activity @ p[layer]["kernel"] + p[layer].get("bias", 0)

    r, z = sig(weighted("ir", x) + weighted("hr", h)), sig(weighted("iz", x) + weighted("hz", h))
    k = np.tanh(weighted("in", x) + r * weighted("hn", h))
    state = advance(CELL, {"w": W}, jnp.asarray(h)[None], jnp.asarray(x))
    np.testing.assert_allclose(state[0], (1 - z) * k + z * h, atol=1e-14)

    xs, s, outputs = flax.stream(steps=20).x[:, 0], start_of(CELL, W.dtype), []
    for x in xs:
        s = advance(CELL, {"w": W}, s, x)
        outputs.append(CELL.read(s))
    all_close(jnp.stack(outputs), flax.flax_outputs(MODULE, PARAMS, xs), 1e-13)


@pytest.mark.parametrize(
    ("activation", "gate"), [("tanh", "sigmoid"), (jax.nn.softplus, jax.nn.hard_sigmoid), ("leaky_relu", "identity")]
)
def test_derivatives_are_those_of_the_update(activation, gate):
    cell = gru(N_IN, N, N_OUT, activation=activation, gate_activation=gate)
    rng = np.random.default_rng(2)
    s, v = jnp.asarray(rng.standard_normal((1, N))), jnp.asarray(rng.standard_normal((4, N)))
    by_s, by_v = flax.whole_jacobians(cell, s, v)
    for partials in (derivatives(cell, {}, s, v), by_autodiff(cell, {}, s, v)):
        all_close(partials.s, cell.update({}, s, v), 1e-14)
        all_close(partials.decay, flax.diagonal(by_s), 1e-13)
        all_close(partials.gain, flax.diagonal(by_v), 1e-13)
        assert partials.own_gain.shape == (1, 0, N)
    assert cell.partials is not None


def expected(examples, params=PARAMS):
    of_module, of_readout = flax.flax_gradients(MODULE, params, W_OUT, examples)
    return {"w": weights_from_flax(CELL, of_module), "w_out": of_readout}


def test_exact_rules_give_the_gradient_of_the_flax_module():
    examples = flax.stream()
    gradients, steps = expected(examples), len(examples.x)
    for rule in (online.rtrl(CELL), online.snap(CELL, n=4), online.bptt(CELL, window=steps)):
        all_close(summed(held(rule, GIVEN, examples)), gradients)
    late = held(online.future_facing_bptt(CELL, window=steps), GIVEN, flax.stream(silent=steps - 1))
    all_close(summed(late), gradients)
    for rule in (online.rflo(CELL), online.snap(CELL), online.bptt(CELL, window=steps // 2)):
        off = summed(held(rule, GIVEN, examples))["w"] - gradients["w"]
        assert jnp.linalg.norm(off) > 0.01 * jnp.linalg.norm(gradients["w"])


@pytest.mark.parametrize("name", ["uoro", "kf_rtrl", "reverse_kf_rtrl"])
def test_stochastic_rules_are_unbiased(name):
    """Some 140 tests at five sigma: false alarm below 1e-4. A gradient with 80 % of its carried part fails."""
    examples = flax.stream()
    samples = flax.estimates(getattr(online, name)(CELL), GIVEN, examples, 6000)["w"]
    exact, short = (held(online.rtrl(CELL, decay=decay), GIVEN, examples)["w"][-1] for decay in (1.0, 0.8))
    z = flax.z_scores(samples, exact)
    assert np.abs(z).max() < 5
    assert np.sqrt(np.mean(z**2)) < 2
    assert np.abs(flax.z_scores(samples, short)).max() > 5


def test_masked_connections_do_not_learn():
    exists = np.random.default_rng(4).random((N, N)) < 0.5
    cell = gru(N_IN, N, N_OUT, mask=exists)
    dense = W + 0.3  # with weights where there is no connection too
    examples = flax.stream()

    def cut(layer, leaves):
        if not layer.startswith("h"):
            return leaves
        return {**leaves, "kernel": jnp.where(exists.T, leaves["kernel"], 0)}

    sparse = {layer: cut(layer, jax.tree.map(lambda a: a + 0.3, leaves)) for layer, leaves in PARAMS.items()}
    masked = np.where(cell.mask, expected(examples, params=sparse)["w"], 0)
    given = {"forward": {"w": dense, "w_out": W_OUT}}
    for rule in (online.rtrl(cell), online.bptt(cell, window=len(examples.x)), online.snap(cell, n=9)):
        gradients = summed(held(rule, given, examples))["w"]
        assert not np.asarray(gradients)[~cell.mask].any()
        all_close(gradients, masked)
    of_all = np.asarray(expected(examples, params=sparse)["w"])
    assert np.abs(of_all[:2, :, :N][:, ~exists]).min() > 0  # the mask alone keeps them at zero


def test_the_candidates_sums_lack_their_absent_weights():
    """The candidate's sums receive the input or the recurrent activity, never both, and each has a bias."""
    mask = CELL.mask
    assert mask[:2].all()
    assert not mask[2, :, :N].any()
    assert mask[2, :, N:].all()
    assert not mask[3, :, N:-1].any()
    assert mask[3, :, :N].all()
    assert mask[3, :, -1].all()
    made = np.asarray(init_params(jax.random.key(0), CELL)["forward"]["w"])
    np.testing.assert_array_equal(made[:, :, :-1] != 0, mask[:, :, :-1])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
def test_learning_keeps_the_dtype_of_the_weights(dtype):
    """Two steps of learning broadcast no shape implicitly."""
    params = init_params(jax.random.key(0), CELL, dtype)
    batch = jax.tree.map(lambda leaf: leaf[0].astype(dtype), flax.stream())
    for make in (online.rflo, online.rtrl, online.uoro, online.snap):
        learn = learner(make(CELL), optax.sgd(0.1))
        with jax.numpy_rank_promotion("raise"):
            state = learn.init(params, jax.random.key(1), batch)
            after, info = jax.jit(learn.step)(state, batch)
            after, info = jax.jit(learn.step)(after, batch)  # from h = 0 nothing reaches the reset gate
        assert all(leaf.dtype == dtype for leaf in jax.tree.leaves((after.params, after.traces.state, info.loss)))
        assert jnp.isfinite(info.loss)
        assert jnp.all(jnp.any(after.params["forward"]["w"] != state.params["forward"]["w"], (1, 2)))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="activation='swish' is not known"):
        gru(N_IN, N, N_OUT, gate_activation="swish")
    with pytest.raises(ValueError, match=r"gru: mask has shape \(2, 2\)"):
        gru(N_IN, N, N_OUT, mask=np.ones((2, 2)))


def test_rflo_learns_from_the_cells_memory():
    """RFLO learns Add with a lag of one symbol, below the least loss without memory."""
    cell = gru(2, 16, 2)
    task = add(lags=(1, 2), tau=1)
    learn = learner(online.rflo(cell), optax.sgd(0.3))
    _, examples = task.take(task.init(jax.random.key(0)), 3000)
    examples = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), examples)

    @jax.jit
    def life():
        batch = jax.tree.map(lambda leaf: leaf[0], examples)
        state = learn.init(init_params(jax.random.key(1), cell, jnp.float32), jax.random.key(2), batch)
        return jax.lax.scan(learn.step, state, examples)[1].loss

    loss, blind = np.asarray(life()), 0.6616  # the entropy of p's mean, 5/8
    assert loss[:100].mean() > 0.6
    assert loss[-500:].mean() < blind - 0.1
