"""Cells of flax modules: their tier, weights converted both ways, rules against autodiff of the module, refusals."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from plasticity_jax.cells import (
    Cell,
    Neurons,
    advance,
    from_flax,
    gru,
    init_params,
    leaky,
    lstm,
    neurons,
    weights_from_flax,
    weights_to_flax,
)
from plasticity_jax.cells.neurons import start_of
from plasticity_jax.rules import online
from tests.cells import modules as flax
from tests.cells.modules import N_IN, N_OUT, N, all_close, held, summed

HALF = nn.initializers.constant(0.5)


class TwoLayers(nn.RNNCellBase):
    """An MGU on a GRU of the same step; y is computed from both, and no part of the carry equals it."""

    features: int

    @nn.compact
    def __call__(self, carry, x):
        low, h = nn.GRUCell(3)(carry["low"], x)
        high, k = nn.MGUCell(self.features)(carry["high"], h)
        return {"low": low, "high": high}, nn.Dense(self.features)(h) * k

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        return {"low": jnp.full((3,), 0.1), "high": jnp.zeros((self.features,))}

    @property
    def num_feature_axes(self):
        return 1


class Integrator(nn.Module):
    """A module that is no RNNCellBase, with its own parameters."""

    features: int

    def setup(self):
        self.drive = nn.Dense(self.features)
        self.keep = self.param("keep", nn.initializers.constant(0.5), (self.features,))

    def __call__(self, carry, x):
        h = jnp.tanh(self.keep * carry + self.drive(jnp.concatenate([carry, x])))
        return h, h

    @nn.nowrap
    def initialize_carry(self, rng, input_shape):
        return jnp.zeros((self.features,))


KNOWN = {
    "gru": nn.GRUCell(N),
    "gru, of other functions": nn.GRUCell(N, activation_fn=jax.nn.softplus, gate_fn=nn.hard_sigmoid),
    "gru, from one half": nn.GRUCell(N, carry_init=HALF),
    "lstm": nn.LSTMCell(N),
    "lstm, of other functions": nn.LSTMCell(N, activation_fn=nn.relu, gate_fn=jnp.sin),
    "optimised lstm": nn.OptimizedLSTMCell(N, gate_fn=nn.tanh),
    "simple": nn.SimpleCell(N),
    "simple, of another function": nn.SimpleCell(N, activation_fn=nn.sigmoid),
    "residual": nn.SimpleCell(N, residual=True, carry_init=HALF),
}
ANY = {"mgu": nn.MGUCell(4), "two layers": TwoLayers(3), "integrator": Integrator(4)}


def outputs(cell, w, xs):
    s, read = start_of(cell, w.dtype), []
    for x in xs:
        s = advance(cell, {"w": w}, s, x)
        read.append(cell.read(s))
    return jnp.stack(read)


@pytest.mark.parametrize("name", KNOWN)
def test_known_modules_are_neurons(name):
    """Outputs over twenty steps and gradients of RTRL agree, and weights convert both ways."""
    module = KNOWN[name]
    cell = from_flax(module, N_IN, N_OUT)
    assert isinstance(cell, Neurons)
    params, w_out, examples = flax.flax_params(module), flax.readout(N), flax.stream(steps=20)
    w = weights_from_flax(cell, {"params": params})
    back = weights_to_flax(cell, w)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, strict=True), back, params)
    np.testing.assert_array_equal(weights_from_flax(cell, back), w, strict=True)

    expected = flax.flax_outputs(module, params, examples.x[:, 0])
    all_close(outputs(cell, w, examples.x[:, 0]), expected, 1e-13)
    of_module, of_readout = flax.flax_gradients(module, params, w_out, examples)
    gradients = summed(held(online.rtrl(cell), {"forward": {"w": w, "w_out": w_out}}, examples))
    all_close(weights_to_flax(cell, gradients["w"]), of_module)
    all_close(gradients["w_out"], of_readout)


@pytest.mark.parametrize("name", ["gru", "lstm", "simple"])
def test_options_change_the_outputs(name):
    """Other functions, or another start, give other outputs on the same weights."""
    plain = KNOWN[name]
    others = [each for key, each in KNOWN.items() if key.startswith(f"{name},")]
    assert others
    w, xs = weights_from_flax(from_flax(plain, N_IN, N_OUT), flax.flax_params(plain)), flax.stream().x[:, 0]
    for other in others:
        apart = outputs(from_flax(other, N_IN, N_OUT), w, xs) - outputs(from_flax(plain, N_IN, N_OUT), w, xs)
        assert jnp.abs(apart).max() > 0.01


def test_cells_built_by_hand_exchange_weights():
    for cell, module in (
        (gru(N_IN, N, N_OUT), nn.GRUCell(N)),
        (lstm(N_IN, N, N_OUT), nn.OptimizedLSTMCell(N)),
        (leaky(N_IN, N, N_OUT, alpha=1.0), nn.SimpleCell(N)),
    ):
        w = init_params(jax.random.key(0), cell, jnp.float64)["forward"]["w"]
        xs = flax.stream().x[:, 0]
        all_close(outputs(cell, w, xs), flax.flax_outputs(module, weights_to_flax(cell, w), xs), 1e-13)


def test_each_kernel_has_its_place_in_w():
    """One weight of each kind is at its entry."""
    params = flax.flax_params(KNOWN["gru"])
    w = weights_from_flax(gru(N_IN, N, N_OUT), params)
    assert w[0, 1, 2] == params["hr"]["kernel"][2, 1]
    assert w[1, 1, N + 2] == params["iz"]["kernel"][2, 1]
    assert w[2, 1, -1] == params["in"]["bias"][1]
    assert w[3, 1, -1] == params["hn"]["bias"][1]
    assert w[2, 1, 2] == w[3, 1, N] == 0
    params = flax.flax_params(KNOWN["lstm"])
    w = weights_from_flax(lstm(N_IN, N, N_OUT), params)
    for g, gate in enumerate("ifgo"):
        assert w[g, 1, 2] == params[f"h{gate}"]["kernel"][2, 1]
        assert w[g, 1, N + 2] == params[f"i{gate}"]["kernel"][2, 1]
        assert w[g, 1, -1] == params[f"h{gate}"]["bias"][1]


def test_connections_that_do_not_exist_stay_zero():
    exists = np.random.default_rng(4).random((N, N)) < 0.5
    cell, params = lstm(N_IN, N, N_OUT, mask=exists), flax.flax_params(KNOWN["lstm"])
    w = weights_from_flax(cell, params)
    np.testing.assert_array_equal(w[:, :, :N] != 0, np.broadcast_to(exists, (4, N, N)))
    np.testing.assert_array_equal(weights_to_flax(cell, w)["ho"]["kernel"] != 0, exists.T)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", ["gru", "optimised lstm", "simple", "residual"])
def test_initial_weights_are_the_modules(name, dtype):
    module = KNOWN[name].clone(kernel_init=nn.initializers.constant(0.25), bias_init=nn.initializers.constant(-1.0))
    cell = from_flax(module, N_IN, N_OUT)
    w = init_params(jax.random.key(0), cell, dtype)["forward"]["w"]
    assert w.dtype == dtype
    made = weights_to_flax(cell, w)
    for layer, leaves in made.items():
        if layer.startswith("i"):
            assert jnp.all(leaves["kernel"] == 0.25)
        else:
            product = (leaves["kernel"] @ leaves["kernel"].T).astype(float)
            np.testing.assert_allclose(product, np.eye(N), atol=0.05 if dtype == jnp.bfloat16 else 1e-5)
        assert jnp.all(leaves.get("bias", jnp.float32(-1.0)) == -1.0)
    others = [init_params(jax.random.key(seed), cell, dtype)["forward"]["w"] for seed in (0, 1)]
    np.testing.assert_array_equal(others[0], w)
    assert jnp.any(others[1] != w)


@functools.cache
def any_problem(name):
    """``(cell, params of a rule, examples)`` and the gradient of the module in a loop."""
    module = ANY[name]
    cell = from_flax(module, N_IN, N_OUT)
    of_cell, w_out = flax.flax_params(module), flax.readout(module.features)
    examples = flax.stream(steps=5)
    of_module, of_readout = flax.flax_gradients(module, of_cell, w_out, examples)
    expected = {"cell": of_module, "w_out": of_readout}
    return cell, {"forward": {"cell": of_cell, "w_out": w_out}}, examples, expected


@pytest.mark.parametrize("name", ANY)
def test_exact_rules_give_the_gradient_of_any_module(name):
    cell, params, examples, expected = any_problem(name)
    assert isinstance(cell, Cell)
    steps = len(examples.x)
    for rule in (online.rtrl(cell), online.snap(cell, n=9), online.bptt(cell, window=steps)):
        all_close(summed(held(rule, params, examples)), expected)
    late = held(online.future_facing_bptt(cell, window=steps), params, flax.stream(steps=steps, silent=steps - 1))
    all_close(summed(late), expected)
    short = summed(held(online.rtrl(cell, decay=0.5), params, examples))
    apart = jax.tree.map(lambda a, b: jnp.linalg.norm(a - b) / jnp.linalg.norm(b), short["cell"], expected["cell"])
    assert max(jax.tree.leaves(apart)) > 0.01


@pytest.mark.parametrize("name", ["mgu", "two layers"])
def test_uoro_is_unbiased_on_any_module(name):
    """Fewer than 200 tests at five sigma: false alarm 1.2e-4. A gradient with half of its carried part fails."""
    cell, params, examples, _ = any_problem(name)
    samples = flax.estimates(online.uoro(cell), params, examples, 6000)["cell"]
    exact, short = (
        jax.tree.map(lambda leaf: leaf[-1], held(online.rtrl(cell, decay=decay), params, examples)["cell"])
        for decay in (1.0, 0.5)
    )
    z = flax.z_scores(samples, exact)
    assert np.abs(z).max() < 5
    assert np.sqrt(np.mean(z**2)) < 2
    assert np.abs(flax.z_scores(samples, short)).max() > 5


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", ["gru", "optimised lstm", "residual", "mgu", "two layers", "integrator"])
def test_two_steps_keep_the_dtype_and_reach_every_weight(name, dtype):
    """No shape is broadcast implicitly, and every weight has a gradient from the initial weights on."""
    cell = from_flax({**KNOWN, **ANY}[name], N_IN, N_OUT)
    batch = jax.tree.map(lambda leaf: leaf[0].astype(dtype), flax.stream())
    rule = online.bptt(cell, window=2)
    with jax.numpy_rank_promotion("raise"):
        params = init_params(jax.random.key(0), cell, dtype)
        traces = rule.init(params, jax.random.key(1), batch)
        for _ in range(2):
            updates, traces, info = jax.jit(rule.update)(params, traces, jax.random.key(2), batch)
    assert all(leaf.dtype == dtype for leaf in jax.tree.leaves((params, updates, traces.state, info.loss)))
    assert jnp.isfinite(info.loss)
    assert all(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(updates["forward"]))


def test_a_subclass_is_not_taken_for_its_parent():
    class Negative(nn.GRUCell):
        @nn.compact
        def __call__(self, carry, inputs):
            return -carry, -carry

    class Plain(Negative):
        pass

    with pytest.raises(ValueError, match="Plain has the collections none"):
        from_flax(Plain(N), N_IN, N_OUT)  # its step has no params, unlike its parent's


class Counter(nn.Module):
    features: int = 4

    def initialize_carry(self, rng, input_shape):
        return jnp.zeros((), jnp.int32)

    @nn.compact
    def __call__(self, carry, x):
        return carry + 1, nn.Dense(self.features)(x)


class Normalised(nn.RNNCellBase):
    @nn.compact
    def __call__(self, carry, x):
        y = nn.BatchNorm(use_running_average=True)(nn.Dense(4)(x))
        return y, y

    def initialize_carry(self, rng, input_shape):
        return jnp.zeros(4)

    num_feature_axes = 1


class Scalar(nn.Module):
    def initialize_carry(self, rng, input_shape):
        return jnp.zeros(4)

    @nn.compact
    def __call__(self, carry, x):
        h = nn.Dense(4)(x)
        return h, h[0]


class Growing(Scalar):
    @nn.compact
    def __call__(self, carry, x):
        h = nn.Dense(5)(x)
        return h, h


class Alone(Scalar):
    @nn.compact
    def __call__(self, carry, x):
        return nn.Dense(4)(x)


@pytest.mark.parametrize(
    ("module", "error", "match"),
    [
        (nn.GRUCell, TypeError, r"GRUCell is a class: build it first, as in GRUCell\(features=32\)"),
        (nn.Dense(4), TypeError, "module is a Dense: give a recurrent module of flax.linen"),
        (
            nnx.Linear(2, 2, rngs=nnx.Rngs(0)),
            TypeError,
            "module is a Linear of flax.nnx: give a recurrent module of flax.linen",
        ),
        (nn.GRUCell(N, dtype=jnp.bfloat16), ValueError, "GRUCell: dtype=bfloat16 computes in another precision"),
        (nn.LSTMCell(N, carry_init=nn.initializers.normal()), ValueError, "LSTMCell: carry_init starts neurons from"),
        (nn.ConvLSTMCell(4, (2,)), ValueError, "ConvLSTMCell: its inputs have 2 axes"),
        (Counter(), ValueError, "Counter: its carry has a leaf of dtype int32"),
        (Normalised(), ValueError, "Normalised has the collections batch_stats; a cell has params, and no others"),
        (Scalar(), ValueError, r"Scalar: y has shape \(\); the readout receives a vector"),
        (Growing(), ValueError, r"Growing: the carry after a step, \(5,\), is not as before it, \(4,\)"),
        (Alone(), ValueError, r"Alone: __call__\(carry, x\) returns a ShapeDtypeStruct"),
    ],
)
def test_modules_that_are_no_cells_are_refused(module, error, match):
    with pytest.raises(error, match=match):
        from_flax(module, N_IN, N_OUT)


def test_weights_that_do_not_fit_are_refused():
    cell, params = gru(N_IN, N, N_OUT), flax.flax_params(KNOWN["gru"])
    with pytest.raises(ValueError, match="gru has the layers hn, hr, hz, in, ir, iz in flax; given were hf, hg"):
        weights_from_flax(cell, flax.flax_params(KNOWN["lstm"]))
    with pytest.raises(ValueError, match="layer 'hr' has kernel in flax; given were bias, kernel"):
        weights_from_flax(cell, {**params, "hr": params["hn"]})
    with pytest.raises(ValueError, match=r"n_in=2 and n=5: ir/kernel must be \(2, 5\), not \(3, 5\)"):
        weights_from_flax(gru(2, N, N_OUT), params)
    with pytest.raises(TypeError, match="flax_params is a list"):
        weights_from_flax(cell, [])
    with pytest.raises(ValueError, match=r"w has shape \(1, 5, 9\); gru has \(gates, n, m\) = \(4, 5, 9\)"):
        weights_to_flax(cell, jnp.zeros((1, 5, 9)))
    with pytest.raises(ValueError, match="only alpha=1, which does not learn"):
        weights_to_flax(leaky(N_IN, N, N_OUT, alpha=0.5), jnp.zeros((1, 5, 9)))
    with pytest.raises(ValueError, match="only alpha=1, which does not learn"):
        weights_to_flax(leaky(N_IN, N, N_OUT, alpha=1.0, learn="alpha"), jnp.zeros((1, 5, 9)))
    mine = neurons(n_in=N_IN, n=N, n_out=N_OUT, update=lambda own, s, v: jnp.tanh(v), name="mine")
    with pytest.raises(ValueError, match="flax has no module with the equations of mine"):
        weights_to_flax(mine, jnp.zeros((1, 5, 9)))
    with pytest.raises(TypeError, match="MGUCell keeps its params as the module made them: use params"):
        weights_from_flax(from_flax(nn.MGUCell(4), N_IN, N_OUT), {})
    with pytest.raises(TypeError, match=r"cell is a GRUCell: give pj\.cells\.gru"):
        weights_to_flax(nn.GRUCell(4), jnp.zeros((1, 5, 9)))
