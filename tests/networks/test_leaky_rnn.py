"""The leaky network: derivatives against autodiff of its equations, written here; initial weights; refusals."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.networks import leaky_rnn as lr

PHI = {
    "tanh": jnp.tanh,
    "relu": lambda v: jnp.maximum(v, 0),
    "leaky_relu": lambda v: jnp.where(v > 0, v, 0.2 * v),
    "sigmoid": lambda v: 1 / (1 + jnp.exp(-v)),
    "identity": lambda v: v,
}
N, N_IN = 5, 3
M = N + N_IN + 1


def dynamics(w, r, x, alpha, activation):
    v = w[:, :N] @ r + w[:, N : N + N_IN] @ x + w[:, -1]
    return (1 - alpha) * r + alpha * PHI[activation](v)


def given(seed=0):
    rng = np.random.default_rng(seed)
    return [jnp.asarray(rng.standard_normal(shape)) for shape in ((N, M), (N,), (N_IN,), (N,))]


@pytest.mark.parametrize("alpha", [0.3, 1.0])
@pytest.mark.parametrize("activation", sorted(PHI))
def test_derivatives_against_autodiff(activation, alpha):
    w, r, x, probe = given()
    net = lr.leaky_rnn(alpha, activation)
    activity = lr.advance(net, w, r, x)
    np.testing.assert_allclose(activity.r, dynamics(w, r, x, alpha, activation), atol=1e-14)
    np.testing.assert_array_equal(activity.rhat, np.concatenate([r, x, [1.0]]))
    j = jax.jacobian(dynamics, 1)(w, r, x, alpha, activation)
    np.testing.assert_allclose(lr.jacobian(net, w, activity.slope), j, atol=1e-14)
    np.testing.assert_allclose(lr.jacobian_vector(net, w, activity.slope, probe), j @ probe, atol=1e-13)
    np.testing.assert_allclose(lr.vector_jacobian(net, w, activity.slope, probe), probe @ j, atol=1e-13)
    assert np.abs(j - j.T).max() > 0.05  # so that J a and a J differ
    influence = jax.jacobian(dynamics, 0)(w, r, x, alpha, activation)
    block = (net.alpha * activity.slope)[:, None] * activity.rhat
    np.testing.assert_allclose(jnp.einsum("ki,ij->kij", jnp.eye(N), block), influence, atol=1e-14)


@pytest.mark.parametrize("width", [N, M, 4 * N])
def test_products_with_the_jacobian_at_any_number_of_inputs(width):
    rng = np.random.default_rng(1)
    w, slope, probe = (jnp.asarray(rng.standard_normal(shape)) for shape in ((N, width), (N,), (N,)))
    j = 0.7 * np.eye(N) + 0.3 * np.diag(slope) @ np.asarray(w)[:, :N]
    np.testing.assert_allclose(lr.jacobian_vector(lr.leaky_rnn(0.3), w, slope, probe), j @ probe, atol=1e-13)
    np.testing.assert_allclose(lr.vector_jacobian(lr.leaky_rnn(0.3), w, slope, probe), probe @ j, atol=1e-13)


def test_all_activations_are_tested():
    assert set(lr.ACTIVATIONS) == set(PHI)


@pytest.mark.parametrize("readout", lr.READOUTS)
def test_loss_and_error(readout):
    z, y = jnp.array([0.3, -1.2, 2.0]), jnp.array([0.2, 0.5, 0.3])

    def loss(z):
        if readout == "softmax":
            return -jnp.sum(y * jnp.log(jnp.exp(z) / jnp.sum(jnp.exp(z))))
        return jnp.sum((z - y) ** 2) / 2

    value, error = lr.loss_and_error(lr.leaky_rnn(readout=readout), z, y)
    np.testing.assert_allclose(value, loss(z), atol=1e-14)
    np.testing.assert_allclose(error, jax.grad(loss)(z), atol=1e-14)


def test_the_loss_is_finite_at_extreme_outputs():
    value, error = lr.loss_and_error(lr.leaky_rnn(), jnp.array([800.0, -800.0]), jnp.array([0.0, 1.0]))
    np.testing.assert_allclose(value, 1600)
    np.testing.assert_allclose(error, [1, -1])


def test_read_out_and_parts():
    w, r, _, _ = given()
    w_out = jnp.arange(12.0).reshape(2, 6)
    np.testing.assert_allclose(lr.read_out(w_out, r), w_out[:, :5] @ r + w_out[:, 5])
    np.testing.assert_array_equal(lr.with_bias(r), np.append(r, 1.0))
    np.testing.assert_array_equal(lr.recurrent(w), w[:, :N])


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_initial_weights(dtype):
    """Bounds of five standard errors on mean and variance; false alarm below 1e-5 together, and the seed is fixed."""
    n, n_in, n_out = 60, 50, 40
    init = jax.jit(lambda key: lr.init_params(key, n_in, n, n_out, dtype))
    params = init(jax.random.key(3))
    w, w_out, w_fb = params["forward"]["w"], params["forward"]["w_out"], params["feedback"]["w_fb"]
    chex.assert_shape([w, w_out, w_fb], [(n, n + n_in + 1), (n_out, n + 1), (n_out, n)])
    chex.assert_type([w, w_out, w_fb], dtype)
    rec = np.asarray(w[:, :n], np.float64)
    np.testing.assert_allclose(rec @ rec.T, np.eye(n), atol=1e-5 if dtype == jnp.float32 else 1e-12)
    assert abs(np.trace(rec)) < 5  # a Haar-random matrix has trace N(0, 1); the identity, n
    np.testing.assert_array_equal(w[:, -1], np.zeros(n))
    np.testing.assert_array_equal(w_out[:, -1], np.zeros(n_out))
    for part in (w[:, n:-1] * n_in**0.5, w_out[:, :n] * n**0.5, w_fb * n_out**0.5):
        assert abs(part.mean()) < 5 / part.size**0.5
        assert abs(part.var() - 1) < 5 * (2 / part.size) ** 0.5
    # A key of its own for each matrix.
    assert abs(np.corrcoef(np.ravel(w_out[:, :n]), np.ravel(w_fb))[0, 1]) < 5 / w_fb.size**0.5
    assert np.abs(init(jax.random.key(4))["forward"]["w"] - w).max() > 0.1


def test_default_dtype():
    shapes = jax.eval_shape(lambda key: lr.init_params(key, 2, 3, 2), jax.random.key(0))
    assert shapes["forward"]["w"].dtype == jnp.zeros(()).dtype


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.01, float("nan")])
def test_alpha_out_of_range(alpha):
    with pytest.raises(ValueError, match="alpha"):
        lr.leaky_rnn(alpha)


def test_alpha_may_be_an_array_or_a_tracer():
    assert lr.leaky_rnn(jnp.float32(0.5)).alpha == 0.5
    w, r, x, _ = given()
    slope = jax.grad(lambda alpha: lr.advance(lr.leaky_rnn(alpha), w, r, x).r.sum())(0.5)
    np.testing.assert_allclose(slope, (jnp.tanh(w @ jnp.concatenate([r, x, jnp.ones(1)])) - r).sum(), atol=1e-13)


def test_unknown_names():
    with pytest.raises(ValueError, match=r"activation='selu' is not known; use one of tanh"):
        lr.leaky_rnn(activation="selu")
    with pytest.raises(ValueError, match=r"readout='mse' is not known; use one of softmax"):
        lr.leaky_rnn(readout="mse")
