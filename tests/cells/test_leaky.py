"""The leaky network: derivatives against autodiff of its equations, written here; initial weights; refusals."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.cells import advance, init_params, leaky, read_out
from plasticity_jax.cells.dynamics import NeuronsDynamics
from plasticity_jax.cells.neurons import by_autodiff, derivatives, with_bias
from plasticity_jax.ops.activations import ACTIVATIONS
from plasticity_jax.ops.losses import LOSSES, loss_and_error

PHI = {
    "tanh": jnp.tanh,
    "relu": lambda v: jnp.maximum(v, 0),
    "leaky_relu": lambda v: jnp.where(v > 0, v, 0.2 * v),
    "sigmoid": lambda v: 1 / (1 + jnp.exp(-v)),
    "identity": lambda v: v,
}
N, N_IN, N_OUT = 5, 3, 2
M = N + N_IN + 1


def dynamics(w, r, x, alpha, activation):
    v = w[:, :N] @ r + w[:, N : N + N_IN] @ x + w[:, -1]
    return (1 - alpha) * r + alpha * PHI[activation](v)


def given(seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.standard_normal(shape)) for shape in ((N, M), (N,), (N_IN,), (N,))]


@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("activation", sorted(PHI))
def test_derivatives_equal_autodiff(activation, alpha):
    w, r, x, probe = given()
    cell = leaky(N_IN, N, N_OUT, alpha=alpha, activation=activation)
    dyn, weights = NeuronsDynamics(cell), {"w": w[None]}
    s, local = dyn.step(weights, r[None], x)
    np.testing.assert_allclose(s[0], dynamics(w, r, x, alpha, activation), atol=1e-14)
    np.testing.assert_array_equal(advance(cell, weights, r[None], x), s)
    np.testing.assert_array_equal(local.rhat, np.concatenate([r, x, [1.0]]))
    j = jax.jacobian(dynamics, 1)(w, r, x, alpha, activation)
    np.testing.assert_allclose(dyn.jacobian(weights, local), j, atol=1e-14)
    np.testing.assert_allclose(dyn.push(weights, local, probe[None])[0], j @ probe, atol=1e-13)
    np.testing.assert_allclose(dyn.pull(weights, local, probe[None])[0], probe @ j, atol=1e-13)
    assert np.abs(j - j.T).max() > 0.05  # so that J a and a J differ
    influence = jax.jacobian(dynamics, 0)(w, r, x, alpha, activation)
    block = local.gain[0, 0][:, None] * local.rhat
    np.testing.assert_allclose(jnp.einsum("ki,ij->kij", jnp.eye(N), block), influence, atol=1e-14)


@pytest.mark.parametrize("n_in", [0, N_IN, 3 * N])
def test_products_with_the_jacobian_are_right_at_any_number_of_inputs(n_in):
    rng = np.random.default_rng(1)
    w, r, x, probe = (jnp.asarray(rng.standard_normal(shape)) for shape in ((N, N + n_in + 1), (N,), (n_in,), (N,)))
    dyn, weights = NeuronsDynamics(leaky(n_in, N, N_OUT, alpha=0.3)), {"w": w[None]}
    local = dyn.step(weights, r[None], x)[1]
    slope = 1 - np.tanh(np.asarray(w) @ np.concatenate([r, x, [1.0]])) ** 2
    j = 0.7 * np.eye(N) + 0.3 * np.diag(slope) @ np.asarray(w)[:, :N]
    np.testing.assert_allclose(dyn.push(weights, local, probe[None])[0], j @ probe, atol=1e-13)
    np.testing.assert_allclose(dyn.pull(weights, local, probe[None])[0], probe @ j, atol=1e-13)


def test_all_activations_are_tested():
    assert set(ACTIVATIONS) == set(PHI)


@pytest.mark.parametrize("activation", sorted(PHI))
def test_an_activation_given_as_a_callable_is_the_named_one(activation):
    """The slope of a callable comes from autodiff."""
    w, r, x, _ = given()
    v = (w @ jnp.concatenate([r, x, jnp.ones(1)]))[None]
    named, called = (leaky(N_IN, N, N_OUT, activation=phi) for phi in (activation, PHI[activation]))
    for actual, expected in zip(derivatives(called, {}, r[None], v), derivatives(named, {}, r[None], v), strict=True):
        np.testing.assert_allclose(actual, expected, atol=1e-15, strict=True)


@pytest.mark.parametrize("learn", [(), ("alpha",), "alpha"])
def test_partials_are_those_of_autodiff(learn):
    w, r, x, probe = given()
    cell = leaky(N_IN, N, N_OUT, alpha=0.3, learn=learn)
    own = {"alpha": jax.nn.sigmoid(probe)} if learn else {}
    v = (w @ jnp.concatenate([r, x, jnp.ones(1)]))[None]
    partials, expected = derivatives(cell, own, r[None], v), by_autodiff(cell, own, r[None], v)
    assert partials.own_gain.shape == (1, len(own), N)
    for written, autodiff in zip(partials, expected, strict=True):
        np.testing.assert_allclose(
            np.broadcast_to(written, autodiff.shape), autodiff, atol=1e-14
        )  # (1,): of all neurons


def test_alpha_learns_on_request():
    cell = leaky(N_IN, N, N_OUT, alpha=0.3, learn=("alpha",))
    forward = init_params(jax.random.key(0), cell, jnp.float64)["forward"]
    np.testing.assert_array_equal(forward["own"]["alpha"], np.full(N, 0.3))
    assert "own" not in init_params(jax.random.key(0), leaky(N_IN, N, N_OUT))["forward"]
    with pytest.raises(ValueError, match=r"learn='beta' is not one of its parameters; they are alpha"):
        leaky(N_IN, N, N_OUT, learn=("beta",))


def written_out(loss, z, y):
    if loss == "softmax":
        return -jnp.sum(y * jnp.log(jnp.exp(z) / jnp.sum(jnp.exp(z))))
    return jnp.sum((z - y) ** 2) / 2


@pytest.mark.parametrize("loss", LOSSES)
def test_the_error_is_the_derivative_of_the_loss(loss):
    z, y = jnp.array([0.3, -1.2, 2.0]), jnp.array([0.2, 0.5, 0.3])
    value, error = loss_and_error(loss, z, y)
    np.testing.assert_allclose(value, written_out(loss, z, y), atol=1e-14)
    np.testing.assert_allclose(error, jax.grad(written_out, 1)(loss, z, y), atol=1e-14)


def test_the_loss_is_finite_at_extreme_outputs():
    value, error = loss_and_error("softmax", jnp.array([800.0, -800.0]), jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(value, 1600)
    np.testing.assert_allclose(error, [1, -1])


def test_the_readout_is_linear_with_a_bias():
    r = given()[1]
    w_out = jnp.arange(12.0).reshape(2, 6)
    np.testing.assert_allclose(read_out(w_out, r), w_out[:, :5] @ r + w_out[:, 5])
    np.testing.assert_array_equal(with_bias(r), np.append(r, 1.0))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_initial_weights_have_their_moments(dtype):
    """Bounds of five standard errors on mean and variance; false alarm below 1e-5 together, and the seed is fixed."""
    n, n_in, n_out = 60, 50, 40
    init = jax.jit(lambda key: init_params(key, leaky(n_in, n, n_out), dtype))
    params = init(jax.random.key(3))
    w, w_out, w_fb = params["forward"]["w"], params["forward"]["w_out"], params["feedback"]["w_fb"]
    chex.assert_shape([w, w_out, w_fb], [(1, n, n + n_in + 1), (n_out, n + 1), (n_out, n)])
    chex.assert_type([w, w_out, w_fb], dtype)
    w = w[0]
    rec = np.asarray(w[:, :n], np.float64)
    np.testing.assert_allclose(rec @ rec.T, np.eye(n), atol=1e-5 if dtype == jnp.float32 else 1e-12)
    assert abs(np.trace(rec)) < 5  # a Haar-random matrix has trace N(0, 1); the identity, n
    np.testing.assert_array_equal(w[:, -1], np.zeros(n))
    np.testing.assert_array_equal(w_out[:, -1], np.zeros(n_out))
    for part in (w[:, n:-1] * n_in**0.5, w_out[:, :n] * n**0.5, w_fb * n_out**0.5):
        assert abs(part.mean()) < 5 / part.size**0.5
        assert abs(part.var() - 1) < 5 * (2 / part.size) ** 0.5
    # Each matrix has its own key.
    assert abs(np.corrcoef(np.ravel(w_out[:, :n]), np.ravel(w_fb))[0, 1]) < 5 / w_fb.size**0.5
    assert np.abs(init(jax.random.key(4))["forward"]["w"][0] - w).max() > 0.1


def test_the_default_dtype_is_jaxs():
    shapes = jax.eval_shape(lambda key: init_params(key, leaky(2, 3, 2)), jax.random.key(0))
    assert shapes["forward"]["w"].dtype == jnp.zeros(()).dtype


def test_weights_in_bfloat16_are_rounded_float32():
    """QR has no bfloat16: the orthogonal part is that of float32, rounded."""
    params = init_params(jax.random.key(0), leaky(N_IN, 8, N_OUT), jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}
    rec = np.asarray(params["forward"]["w"][0, :, :8], np.float64)
    assert 1e-6 < np.abs(rec @ rec.T - np.eye(8)).max() < 2**-6
    full = init_params(jax.random.key(0), leaky(N_IN, 8, N_OUT), jnp.float32)["forward"]["w"][0, :, :8]
    np.testing.assert_array_equal(rec, np.asarray(full.astype(jnp.bfloat16), np.float64))


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.01, float("nan"), np.array([0.5, 0.5, 2.0, 0.5, 0.5])])
def test_alpha_out_of_range_is_refused(alpha):
    with pytest.raises(ValueError, match=r"alpha=.* is outside \(0, 1\]"):
        leaky(N_IN, N, N_OUT, alpha=alpha)


def test_alpha_may_be_an_array_or_a_tracer():
    w, r, x, probe = given()
    weights, s = {"w": w[None]}, r[None]

    def after(alpha):
        return advance(leaky(N_IN, N, N_OUT, alpha=alpha), weights, s, x)

    np.testing.assert_array_equal(after(np.full(N, 0.5)), after(0.5))
    np.testing.assert_allclose(after(jnp.float32(0.5)), after(0.5), atol=1e-15)
    phi = jnp.tanh(w @ jnp.concatenate([r, x, jnp.ones(1)]))
    np.testing.assert_allclose(jax.grad(lambda alpha: after(alpha).sum())(0.5), (phi - r).sum(), atol=1e-13)
    each = jax.nn.sigmoid(probe)
    np.testing.assert_allclose(jax.jit(after)(each)[0], (1 - each) * r + each * phi, atol=1e-14)
    np.testing.assert_allclose(jax.grad(lambda alpha: after(alpha).sum())(each), phi - r, atol=1e-13)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"activation='selu' is not known; use one of tanh"):
        leaky(N_IN, N, N_OUT, activation="selu")
    with pytest.raises(ValueError, match=r"loss='mse' is not known; use one of softmax"):
        leaky(N_IN, N, N_OUT, loss="mse")
