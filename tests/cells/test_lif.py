"""LIF neurons and surrogate slopes against plain loops, autodiff with straight-through spikes, and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import learner
from plasticity_jax.cells import advance, init_params, lif, spike_function
from plasticity_jax.cells.neurons import by_autodiff, derivatives, slope_of
from plasticity_jax.cells.surrogate import SLOPES
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

OWN = {"decay": 0.8, "threshold": 0.9}
OPTIONS = [
    {},
    {"reset_derivative": False},
    {"reset": "zero"},
    {"reset": "zero", "reset_derivative": False},
    {"refractory": 2},
    {"refractory": 1, "reset": "zero", "reset_derivative": False},
]


def as_loop(options):
    """Options of the plain loop, from those of the cell."""
    blind, zero = not options.get("reset_derivative", True), options.get("reset") == "zero"
    return {"blind": blind, "zero": zero, "refractory": options.get("refractory", 0)}


ALL = ("decay", "threshold")


@pytest.mark.parametrize(
    ("options", "learn"), [*((option, ALL) for option in OPTIONS), ({}, ()), ({}, ALL[1:])], ids=str
)
def test_rtrl_and_bptt_equal_autodiff_with_straight_through_spikes(options, learn):
    cell = lif(N_IN, N, N_OUT, **OWN, learn=learn, **options)
    params, examples = problem(cell)
    fixed = {name: value for name, value in OWN.items() if name not in learn}
    expected, z = by_autodiff_of(params, examples, fixed, **as_loop(options))
    lively(z)
    close(updates_of(online.rtrl(cell), params, examples), expected)
    summed = {name: leaf for name, leaf in expected.items() if name != "w_out"}
    window = updates_of(online.bptt(cell, window=STEPS), params, examples)
    close(
        jax.tree.map(lambda leaf: leaf[-1], {name: window[name] for name in summed}),
        jax.tree.map(lambda leaf: leaf.sum(0), summed),
    )
    local = updates_of(online.rflo(cell), params, examples)
    differ(local, expected)
    if "refractory" not in options:
        other = {**options, "reset_derivative": not options.get("reset_derivative", True)}
        differ(by_autodiff_of(params, examples, fixed, **as_loop(other))[0], expected)


@pytest.mark.parametrize(("options", "learn"), [({}, ()), ({"reset": "zero"}, ALL), ({"refractory": 2}, ALL)], ids=str)
def test_the_derivatives_written_out_are_those_of_update(options, learn):
    cell = lif(N_IN, N, N_OUT, **OWN, learn=learn, **options)
    rng = np.random.default_rng(0)
    own = {name: jnp.asarray(rng.uniform(0.5, 0.9, N)) for name in learn}
    rows = len(cell.variables)
    s, v = jnp.asarray(rng.normal(1, 0.5, (rows, N))), jnp.asarray(rng.standard_normal((1, N)))
    if rows > 1:
        s = s.at[1].set(jnp.arange(N) % 3)
    written, taken = jax.jit(lambda *a: (derivatives(cell, *a), by_autodiff(cell, *a)))(own, s, v)
    dense = diagonal_derivatives(cell, own, s, v)
    for a, b, c in zip(written, taken, (cell.update(own, s, v), *dense), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)
        np.testing.assert_allclose(b, c, rtol=0, atol=1e-14)
    assert np.abs(written.decay[0, 0] - OWN["decay"]).max() > 0.1  # the reset is in it
    blind = lif(N_IN, N, N_OUT, **OWN, learn=learn, reset_derivative=False, **options)
    without = derivatives(blind, own, s, v)
    np.testing.assert_allclose(without.s, written.s, rtol=0, atol=1e-14)
    np.testing.assert_allclose(without.gain, written.gain, rtol=0, atol=1e-14)
    decay = own.get("decay", OWN["decay"]) * ((1 - cell.output(s)) if options.get("reset") == "zero" else 1)
    np.testing.assert_allclose(without.decay[0, 0], decay * np.ones(N), rtol=0, atol=1e-14)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("refractory", [0, 3])
def test_a_voltage_follows_the_equations_by_hand(reset, refractory):
    cell = lif(1, 1, 1, decay=0.8, threshold=0.5, reset=reset, refractory=refractory)
    weights = {"w": jnp.array([[[0.0, 1.0, 0.0]]])}
    drive = np.abs(np.random.default_rng(1).standard_normal(40))
    s, u, z, quiet, fired = jnp.zeros((len(cell.variables), 1)), 0.0, 0, 0, []
    for x in drive:
        s = advance(cell, weights, s, jnp.array([x]))
        quiet = refractory if z else max(quiet - 1, 0)
        u = 0.8 * (0.0 if reset == "zero" and z else u) + x / 0.5 - (z if reset == "subtract" else 0)
        z = int(u > 1 and quiet == 0)
        np.testing.assert_allclose(s[0, 0], u, rtol=1e-12)
        assert float(cell.output(s)[0]) == z
        fired.append(z)
    assert 5 < sum(fired) < 35


@pytest.mark.parametrize("refractory", [0, 1, 4])
def test_a_neuron_that_has_fired_stays_silent(refractory):
    cell = lif(1, 1, 1, refractory=refractory, slope=jnp.ones_like)  # 1 where the neuron is not silenced
    weights = {"w": jnp.array([[[0.0, 9.0, 0.0]]])}  # enough to fire at every step

    def step(s, x):
        s = advance(cell, weights, s, x)
        return s, (cell.output(s)[0], slope_of(cell.output, s)[0, 0])

    _, (z, slope) = jax.lax.scan(step, jnp.zeros((len(cell.variables), 1)), jnp.ones((20, 1)))
    period = refractory + 1
    expected = (np.arange(20) % period == 0).astype(float)
    np.testing.assert_array_equal(z, expected)
    np.testing.assert_array_equal(slope, expected if refractory else np.ones(20))


PSI = {  # by their formulas
    "triangle": lambda x: 0.3 * max(0.0, 1 - abs(x)),
    "sigmoid": lambda x: 4 * np.exp(-4 * x) / (1 + np.exp(-4 * x)) ** 2,
    "fast_sigmoid": lambda x: (1 + 10 * abs(x)) ** -2.0,
    "arctan": lambda x: 1 / (1 + np.pi**2 * x**2),
}
POINTS = (-1.3, -0.7, -0.2, 0.3, 0.6, 1.2)


@pytest.mark.parametrize("name", list(SLOPES))
def test_a_spike_has_the_named_slope_and_its_derivative(name):
    spike, psi = spike_function(name), PSI[name]
    for x in POINTS:
        assert float(spike(x)) == float(x > 0)
        np.testing.assert_allclose(jax.grad(spike)(x), psi(x), rtol=1e-12)
        by_difference = slope_by_differences(psi, x, 1e-4)
        for second in (jax.grad(jax.grad(spike)), jax.jacfwd(jax.grad(spike)), jax.jit(jax.hessian(spike))):
            np.testing.assert_allclose(second(x), by_difference, rtol=1e-6, atol=1e-9)
    assert float(spike(jnp.zeros(()))) == 0
    assert PSI.keys() == SLOPES.keys()


def test_coefficients_of_a_custom_slope_are_differentiated():
    def through(width, x):
        spike = spike_function(lambda x: jnp.exp(-((x / width) ** 2)))
        z, dz = jax.jvp(spike, (x,), (jnp.ones_like(x),))
        return jnp.sum(jnp.sin(x) * z + jnp.cos(x) * dz)

    def expected(width, x):  # dz/dx is the slope; only the slope is differentiated further
        psi = jnp.exp(-((x / width) ** 2))
        return jnp.sum(jnp.cos(x) * psi)

    x = jnp.asarray(POINTS)
    for transform in (
        lambda f: f,
        jax.jit,
        lambda f: lambda width, x: jax.vmap(f, (None, 0))(width, x[:, None]).sum(0),
    ):
        np.testing.assert_allclose(transform(jax.grad(through))(0.7, x), jax.grad(expected)(0.7, x), rtol=1e-12)
    psi = np.exp(-((x / 0.7) ** 2))
    by_x = np.cos(x) * (x > 0) + np.sin(x) * psi - np.sin(x) * psi + np.cos(x) * psi * (-2 * x / 0.49)
    np.testing.assert_allclose(jax.grad(through, 1)(0.7, x), by_x, rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
@pytest.mark.parametrize("n_in", [0, 3])
def test_states_keep_the_dtype_of_the_weights(dtype, n_in):
    cell = lif(n_in, 4, 2, decay=np.full(4, 0.9), threshold=np.float64(0.5), refractory=2, learn=("threshold",))
    with jax.numpy_rank_promotion("raise"):
        weights = init_params(KEY, cell, dtype)["forward"]
        s = advance(cell, weights, jnp.zeros((2, 4), dtype), jnp.ones(n_in, dtype))
        d = derivatives(cell, weights["own"], s, jnp.ones((1, 4), dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves((weights, s, cell.output(s), d))} == {jnp.dtype(dtype)}


@pytest.mark.parametrize("decay", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("kind", ["noise", "constant"])
def test_initial_weights_make_a_network_spike(decay, kind):
    cell = lif(20, 100, 2, decay=decay, threshold=0.2)

    def rate(key):
        weights = init_params(key, cell)["forward"]
        x = jax.random.normal(jax.random.fold_in(key, 1), (300, 20))
        x = x if kind == "noise" else jnp.broadcast_to(x[:1], x.shape)

        def step(s, x):
            s = advance(cell, weights, s, x)
            return s, cell.output(s)

        z = jax.lax.scan(step, jnp.zeros((1, 100)), x)[1]
        return z.mean(), z.any(0).mean()

    rates, active = jax.jit(jax.vmap(rate))(jax.random.split(KEY, 5))
    assert np.all((rates > 0.01) & (rates < 0.3))
    assert np.all(active > (0.95 if kind == "noise" else 0.2))


def life(coefficients, params, options, steps=10):
    """The summed loss of a network with smooth spikes that learns."""
    cell = lif(N_IN, N, N_OUT, **coefficients, spike=lambda x: jax.nn.sigmoid(4 * x), **options)
    _, examples = problem(lif(N_IN, N, N_OUT), steps)
    learn = learner(online.rflo(cell), optax.sgd(0.3, momentum=0.5))
    state = learn.init(params, KEY, jax.tree.map(lambda leaf: leaf[0], examples))
    return jax.lax.scan(learn.step, state, examples)[1].loss.sum()


@pytest.mark.parametrize("options", [{}, {"reset_derivative": False}, {"reset": "zero", "refractory": 1}], ids=str)
def test_meta_gradients_with_smooth_spikes_are_finite_differences(options):
    params = problem(lif(N_IN, N, N_OUT))[0]
    outcome = jax.jit(lambda c, params: life(c, params, options))
    grads, by_params = jax.jit(jax.grad(lambda c, params: life(c, params, options), (0, 1)))(OWN, params)
    for name in OWN:
        expected = slope_by_differences(lambda value, name=name: outcome({**OWN, name: value}, params), OWN[name])
        assert abs(expected) > 1e-3
        np.testing.assert_allclose(grads[name], expected, rtol=1e-7)
    way = jax.tree.map(lambda leaf: jnp.asarray(np.random.default_rng(5).standard_normal(leaf.shape)), params)
    moved = lambda h: outcome(OWN, jax.tree.map(lambda a, b: a + h * b, params, way))  # noqa: E731
    along = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(by_params), jax.tree.leaves(way), strict=True))
    np.testing.assert_allclose(along, slope_by_differences(moved, 0.0, 1e-4), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decay": 1.2}, "decay=1.2 is outside"),
        ({"threshold": 0.0}, "threshold=0 is outside"),
        ({"reset": "half"}, "use one of subtract, zero"),
        ({"slope": "square"}, "use one of triangle"),
        ({"refractory": -1}, "whole number of steps"),
        ({"refractory": 1.5}, "whole number of steps"),
        ({"learn": ("strength",)}, "decay, threshold"),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        lif(2, 3, 2, **arguments)
