"""Cells of neurons built by hand: derivatives against finite differences, the input of gates, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.cells import advance, init_params, neurons
from plasticity_jax.cells.dynamics import NeuronsDynamics
from plasticity_jax.cells.neurons import derivatives

N, N_IN, N_OUT = 4, 2, 3
M = N + N_IN + 1


def update(own, s, v):
    """Two variables, two gates and two parameters, all coupled."""
    a, b = s
    return jnp.stack([own["keep"] * a + jnp.tanh(v[0] - b) * v[1], jnp.sin(a * b) + own["gain"] * v[1] ** 2])


def output(s):
    return jnp.tanh(s[0] + 2 * s[1])


def read(s):
    return s[1] * s[0]


def build(**options):
    given = {
        **{"n_in": N_IN, "n": N, "n_out": N_OUT, "update": update, "output": output, "read": read},
        **{"variables": ("fast", "slow"), "gates": ("drive", "scale")},
        "own": {"keep": 0.3, "gain": np.linspace(0.5, 1.0, N)},
    }
    return neurons(**{**given, **options})


def integrate(own, s, v):
    return s + v


def plain(**options):
    return neurons(**{"n_in": N_IN, "n": N, "n_out": N_OUT, "update": integrate, **options})


def drawn(seed, *shapes):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape) for shape in shapes]


def slopes(f, x, move=1e-6):
    """Central differences of an array by an array, (result's axes, x's axes)."""
    differences = np.zeros((*np.shape(f(x)), *x.shape))
    for index in np.ndindex(*x.shape):
        ends = []
        for sign in (1, -1):
            there = x.copy()
            there[index] += sign * move
            ends.append(np.asarray(f(there)))
        differences[(..., *index)] = (ends[0] - ends[1]) / (2 * move)
    return differences


def test_derivatives_are_finite_differences():
    """Each of S, G and P rows agrees, neuron by neuron, and nothing couples two neurons."""
    cell = build()
    s, v, keep, gain = drawn(0, (2, N), (2, N), N, N)
    own = {"keep": keep, "gain": gain}
    partials = derivatives(cell, {k: jnp.asarray(p) for k, p in own.items()}, jnp.asarray(s), jnp.asarray(v))
    np.testing.assert_allclose(partials.s, update(own, s, v), atol=1e-15)
    assert (partials.decay.shape, partials.gain.shape, partials.own_gain.shape) == ((2, 2, N), (2, 2, N), (2, 2, N))
    expected = {
        "decay": slopes(lambda s: update(own, s, v), s),
        "gain": slopes(lambda v: update(own, s, v), v),
        "own_gain": np.stack(
            [slopes(lambda p, k=k: update({**own, k: p}, s, v), own[k]) for k in ("gain", "keep")], axis=2
        ),
    }
    for name, full in expected.items():
        actual = np.asarray(getattr(partials, name))
        np.testing.assert_allclose(actual, np.einsum("aibi->abi", full), atol=1e-8, err_msg=name)
        off = full - np.einsum("abi,ik->aibk", np.einsum("aibi->abi", full), np.eye(N))
        np.testing.assert_allclose(off, 0, atol=1e-8)
        assert np.abs(actual).min(-1).max() > 1e-3


def test_the_jacobian_and_the_influence_are_finite_differences():
    cell = build()
    s, w, x = drawn(1, (2, N), (2, N, M), N_IN)
    own = {"keep": jnp.full(N, 0.3), "gain": jnp.linspace(0.5, 1.0, N)}

    def after(s, w):
        rhat = np.concatenate([output(s), x, [1.0]])
        return np.asarray(update(own, s, np.einsum("gij,j->gi", w, rhat)))

    dyn = NeuronsDynamics(cell)
    weights = {"w": jnp.asarray(w), "own": own}
    s_next, local = dyn.step(weights, jnp.asarray(s), jnp.asarray(x))
    np.testing.assert_allclose(s_next, after(s, w), atol=1e-14)
    np.testing.assert_array_equal(advance(cell, weights, jnp.asarray(s), jnp.asarray(x)), s_next)
    j = slopes(lambda s: after(s, w), s).reshape(2 * N, 2 * N)
    np.testing.assert_allclose(dyn.jacobian(weights, local), j, atol=1e-8)
    by_w = slopes(lambda w: after(s, w), w)  # (a, i, g, k, j)
    influence = dyn.influence(local)["w"]
    np.testing.assert_allclose(jnp.einsum("agij,ik->aigkj", influence, jnp.eye(N)), by_w, atol=1e-8)
    c = jnp.asarray(drawn(2, (2, N))[0])
    np.testing.assert_allclose(dyn.unread(jnp.asarray(s), c[0]), slopes(read, s).sum(0) * c[0], atol=1e-8)


def test_a_gate_receives_only_the_named_sources():
    """Weights that do not exist start at zero, are read as zero, and connect nothing."""
    ring = np.roll(np.eye(N), 1, 0)
    cell = build(receives=[(True, False, True), (False, True, False)], mask=ring)
    expected = np.zeros((2, N, M), bool)
    expected[0, :, :N], expected[0, :, -1], expected[1, :, N:-1] = ring, True, True
    np.testing.assert_array_equal(cell.mask, expected)
    w = init_params(jax.random.key(0), cell, jnp.float64)["forward"]["w"]
    assert not np.asarray(w)[~expected].any()
    s, x = map(jnp.asarray, drawn(3, (2, N), N_IN))
    weights = {"w": jnp.ones((2, N, M)), "own": {"keep": jnp.ones(N), "gain": jnp.ones(N)}}
    v = np.stack([np.roll(output(s), 1) + 1, np.full(N, x.sum())])
    np.testing.assert_allclose(advance(cell, weights, s, x), update(weights["own"], s, v), atol=1e-14)
    noise = jnp.asarray(drawn(4, (2, N))[0])
    np.testing.assert_allclose(advance(cell, weights, s, x, noise), update(weights["own"], s, v + noise), atol=1e-14)
    full = build(mask=expected)
    np.testing.assert_array_equal(full.mask, expected)
    assert build().mask is None
    assert build(mask=np.ones((N, N))).mask is None


def test_each_gate_has_its_own_weights():
    """W_rec is orthogonal in each, and all differ."""
    w = np.asarray(init_params(jax.random.key(0), build(), jnp.float64)["forward"]["w"])
    for rec in w[:, :, :N]:
        np.testing.assert_allclose(rec @ rec.T, np.eye(N), atol=1e-13)
    assert np.abs(w[0] - w[1]).max() > 0.3


def test_custom_initial_weights_are_masked():
    cell = build(init_w=lambda key, cell, dtype: jnp.full((2, cell.n, cell.m), 0.25, dtype), mask=np.eye(N))
    w = init_params(jax.random.key(0), cell, jnp.float32)["forward"]["w"]
    assert w.dtype == jnp.float32
    np.testing.assert_array_equal(w, np.where(cell.mask, 0.25, 0))


def test_variables_have_the_given_start():
    cell = build(start=(0.5, -1.0))
    start = NeuronsDynamics(cell).start(jnp.float64)
    np.testing.assert_array_equal(start, np.repeat([[0.5], [-1.0]], N, 1))
    np.testing.assert_array_equal(NeuronsDynamics(build()).start(jnp.float64), np.zeros((2, N)))


def test_learned_parameters_have_their_initial_values():
    own = init_params(jax.random.key(0), build(), jnp.float32)["forward"]["own"]
    assert {name: leaf.dtype for name, leaf in own.items()} == dict.fromkeys(("keep", "gain"), jnp.dtype("float32"))
    np.testing.assert_allclose(own["keep"], np.full(N, 0.3), rtol=1e-7)
    np.testing.assert_allclose(own["gain"], np.linspace(0.5, 1.0, N), rtol=1e-7)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"n": 0}, r"n=0 must be a whole number of at least 1"),
        ({"n_out": 1.5}, r"n_out=1\.5 must be a whole number"),
        ({"n_in": -1}, r"n_in=-1 must be a whole number of at least 0"),
        (
            {"receives": [(True, True, True)] * 3},
            r"receives has 3 entries for 1 gates: give \(recurrent, input, b",
        ),
        ({"gates": 2}, r"gates=2 must be names, one for each, as in gates=\('first', 'second'\)"),
        ({"variables": "rate"}, "variables='rate' must be names"),
        ({"update": lambda own, s, v: s + v[1] - v[0]}, "update reads more than the 1 variables .* and 1 gates"),
        ({"start": (0.0, 1.0)}, r"start has 2 values for the 1 variables state"),
        ({"mask": np.ones((N, N + 1))}, r"mask has shape \(4, 5\); give \(n, n\) = \(4, 4\).*or \(gates, n, m\)"),
        ({"own": {"keep": np.ones(3)}}, r"own\['keep'\] has shape \(3,\); give a number or \(4,\)"),
        ({"loss": "mse"}, r"loss='mse' is not known; use one of softmax, squared, or a callable"),
        ({"update": lambda own, s, v: s[0] + v[0]}, r"update returns \(4,\) for s of shape \(1, 4\)"),
        ({"output": lambda s: s}, r"output returns shape \(1, 4\) for s of shape \(1, 4\); it must be \(4,\)"),
        ({"read": lambda s: s[0, :2]}, r"read returns shape \(2,\)"),
        ({"update": lambda own, s, v: jnp.roll(s, 1, 1) + v}, r"update mixes neurons: .*use pj\.cells\.Cell"),
        ({"update": lambda own, s, v: s + v - v.mean()}, r"update mixes neurons"),
        ({"output": lambda s: jax.nn.softmax(s[0])}, r"output mixes neurons"),
        ({"read": lambda s: s[0] - s[0].mean()}, r"read mixes neurons"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(options, match):
    with pytest.raises(ValueError, match=f"^neurons: {match}|^{match}") as refusal:
        plain(**options)
    assert "\n" not in str(refusal.value)


def test_a_traced_mask_is_refused():
    with pytest.raises(ValueError, match="the mask is traced"):
        jax.jit(lambda mask: plain(mask=mask) and 0)(jnp.ones((N, N)))


def test_an_update_of_single_neurons_is_taken():
    """The update need not be smooth, or finite."""
    plain(update=lambda own, s, v: jnp.where(v > 0, s, -s) * jnp.sign(v))
    plain(update=lambda own, s, v: jnp.log(s) + v)
    jax.jit(lambda decay: plain(update=lambda own, s, v: decay * s + v) and 0)(0.5)
