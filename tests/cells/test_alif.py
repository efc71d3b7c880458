"""ALIF neurons against plain loops, autodiff with straight-through spikes, and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import learner
from plasticity_jax.cells import advance, alif, init_params, lif
from plasticity_jax.cells.neurons import by_autodiff, derivatives
from plasticity_jax.rules import online
from tests.cells.spiking import (
    KEY,
    N_IN,
    N_OUT,
    STEPS,
    N,
    by_autodiff_of,
    close,
    diagonal_derivatives,
    differ,
    lively,
    problem,
    slope_by_differences,
    updates_of,
)

OWN = {"decay": 0.8, "threshold": 0.9, "adaptation_decay": 0.95, "strength": 0.3}
ALL = tuple(OWN)
CASES = [
    ({}, ALL),
    ({}, ()),
    ({"reset_derivative": False}, ("strength", "decay")),
    ({"reset": "zero", "refractory": 1}, ALL),
]


@pytest.mark.parametrize(("options", "learn"), CASES, ids=str)
def test_rtrl_and_bptt_equal_autodiff_with_straight_through_spikes(options, learn):
    cell = alif(N_IN, N, N_OUT, **OWN, learn=learn, **options)
    params, examples = problem(cell)
    fixed = {name: value for name, value in OWN.items() if name not in learn}
    as_loop = {
        "blind": not options.get("reset_derivative", True),
        "zero": options.get("reset") == "zero",
        "refractory": options.get("refractory", 0),
    }
    expected, z = by_autodiff_of(params, examples, fixed, **as_loop)
    lively(z)
    close(updates_of(online.rtrl(cell), params, examples), expected)
    if not learn:
        differ(by_autodiff_of(params, examples, {**fixed, "strength": 1e-9}, **as_loop)[0], expected)
    window = updates_of(online.bptt(cell, window=STEPS), params, examples)
    summed = {name: leaf for name, leaf in expected.items() if name != "w_out"}
    close(
        jax.tree.map(lambda leaf: leaf[-1], {name: window[name] for name in summed}),
        jax.tree.map(lambda leaf: leaf.sum(0), summed),
    )


def test_snap_is_exact_with_autapses_only_and_rflo_without_synapses():
    for mask, rule, exact in ((np.eye(N), online.snap, True), (np.eye(N), online.rflo, False), (0, online.rflo, True)):
        cell = alif(N_IN, N, N_OUT, **OWN, learn=ALL, mask=mask * np.ones((N, N)))
        params, examples = problem(cell)
        params["forward"]["w"] = jnp.where(cell.mask, params["forward"]["w"], 0)
        expected, z = by_autodiff_of(params, examples, {})
        lively(z)
        expected["w"] = jnp.where(cell.mask, expected["w"], 0)
        (close if exact else differ)(updates_of(rule(cell), params, examples), expected)


@pytest.mark.parametrize(("options", "learn"), [({}, ()), ({"reset": "zero", "refractory": 2}, ALL)], ids=str)
def test_the_derivatives_written_out_are_those_of_update(options, learn):
    cell = alif(N_IN, N, N_OUT, **OWN, learn=learn, **options)
    rng = np.random.default_rng(0)
    own = {name: jnp.asarray(rng.uniform(0.5, 0.9, N)) for name in learn}
    rows = len(cell.variables)
    s, v = jnp.asarray(rng.normal(1, 0.5, (rows, N))), jnp.asarray(rng.standard_normal((1, N)))
    s = s.at[1].set(0.2 * (s[1] - 1))
    if rows > 2:
        s = s.at[2].set(jnp.arange(N) % 3)
    written, taken = jax.jit(lambda *a: (derivatives(cell, *a), by_autodiff(cell, *a)))(own, s, v)
    dense = diagonal_derivatives(cell, own, s, v)
    for a, b, c in zip(written, taken, (cell.update(own, s, v), *dense), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)
        np.testing.assert_allclose(b, c, rtol=0, atol=1e-14)
    assert np.abs(written.decay[0, 1]).max() > 0.1  # through the reset
    assert np.abs(written.decay[1, 0]).max() > 0.05  # a spike adds to the adaptation
    blind = derivatives(alif(N_IN, N, N_OUT, **OWN, learn=learn, reset_derivative=False, **options), own, s, v)
    assert not np.any(blind.decay[0, 1])
    np.testing.assert_allclose(blind.decay[1], written.decay[1], rtol=0, atol=1e-14)


def test_a_threshold_follows_the_equations_by_hand():
    cell = alif(1, 1, 1, decay=0.8, threshold=0.5, adaptation_decay=0.9, strength=0.7)
    weights = {"w": jnp.array([[[0.0, 1.0, 0.0]]])}
    s, v, b, z, fired = jnp.zeros((2, 1)), 0.0, 0.0, 0, []
    for x in np.abs(np.random.default_rng(1).standard_normal(40)):
        s = advance(cell, weights, s, jnp.array([x]))
        b = 0.9 * b + z  # in volts, as Bellec et al. have them: beta = strength threshold
        v = 0.8 * v + x - 0.5 * z
        z = int(v > 0.5 + 0.7 * 0.5 * b)
        np.testing.assert_allclose(s[:, 0], [v / 0.5, 0.7 * b], rtol=1e-12)
        assert float(cell.output(s)[0]) == z
        fired.append(z)
    assert 5 < sum(fired) < 35


def test_without_adaptation_it_is_lif():
    cell = alif(N_IN, N, N_OUT, decay=0.8, strength=0.0, refractory=1)
    params, examples = problem(cell)
    of_lif = updates_of(online.rtrl(lif(N_IN, N, N_OUT, decay=0.8, refractory=1)), params, examples)
    close(updates_of(online.rtrl(cell), params, examples), of_lif, 1e-12)
    of_some = alif(N_IN, N, N_OUT, decay=0.8, strength=np.array([0.5] * 3 + [0.0] * 3), refractory=1)
    differ(updates_of(online.rtrl(of_some), params, examples), of_lif)


def test_uoro_runs_and_learns():
    cell = alif(N_IN, 20, N_OUT, learn=("adaptation_decay",))
    params = init_params(KEY, cell, jnp.float64)
    _, examples = problem(cell, 1)
    batch = jax.tree.map(lambda leaf: leaf[0], examples)
    learn = learner(online.uoro(cell), optax.sgd(0.05))
    run = jax.jit(lambda state: jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=300))
    state, info = run(learn.init(params, KEY, batch))
    entropy = -jnp.sum(batch.y * jnp.log(batch.y))
    assert info.loss[-30:].mean() - entropy < 0.5 * (info.loss[:30].mean() - entropy)
    assert np.any(state.params["forward"]["own"]["adaptation_decay"] != 0.98)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_states_keep_the_dtype_of_the_weights(dtype):
    cell = alif(3, 4, 2, strength=np.linspace(0, 1, 4), adaptation_decay=np.float64(0.9), learn=("strength",))
    with jax.numpy_rank_promotion("raise"):
        weights = init_params(KEY, cell, dtype)["forward"]
        s = advance(cell, weights, jnp.zeros((2, 4), dtype), jnp.ones(3, dtype))
        d = derivatives(cell, weights["own"], s, jnp.ones((1, 4), dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves((weights, s, cell.output(s), d))} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("options", [{}, {"reset_derivative": False}], ids=str)
def test_meta_gradients_with_smooth_spikes_are_finite_differences(options):
    params, examples = problem(alif(N_IN, N, N_OUT), 10)

    def life(coefficients):
        cell = alif(N_IN, N, N_OUT, **coefficients, spike=lambda x: jax.nn.sigmoid(4 * x), **options)
        learn = learner(online.rflo(cell), optax.sgd(0.3, momentum=0.5))
        state = learn.init(params, KEY, jax.tree.map(lambda leaf: leaf[0], examples))
        return jax.lax.scan(learn.step, state, examples)[1].loss.sum()

    outcome, grads = jax.jit(life), jax.jit(jax.grad(life))(OWN)
    for name in OWN:
        expected = slope_by_differences(lambda value, name=name: outcome({**OWN, name: value}), OWN[name])
        assert abs(expected) > 1e-3
        np.testing.assert_allclose(grads[name], expected, rtol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"adaptation_decay": 1.2}, "adaptation_decay=1.2 is outside"),
        ({"strength": -0.1}, "strength=-0.1 is outside"),
        ({"decay": -1.0}, "decay=-1 is outside"),
        ({"learn": "beta"}, "adaptation_decay, strength"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        alif(2, 3, 2, **arguments)
