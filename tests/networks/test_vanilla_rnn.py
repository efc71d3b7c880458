"""The vanilla network: its path against a NumPy loop, slopes and errors against autodiff, initial weights, refusals."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.networks import vanilla_rnn as vr
from plasticity_jax.ops.activations import ACTIVATIONS
from tests.laws.common import compiled
from tests.oracles.feedback_recurrent import run

N_IN, N, N_OUT, STREAMS = 3, 5, 2, 2


def given(steps, seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"u": (N, N_IN), "w": (N, N), "bias": (N,), "v": (N_OUT, N), "bias_out": (N_OUT,)}
    weights = {name: 0.6 * rng.standard_normal(shape) for name, shape in shapes.items()}
    h_0, x = rng.standard_normal((STREAMS, N)), rng.standard_normal((steps, STREAMS, N_IN))
    return weights, h_0, x, rng.standard_normal((steps, STREAMS, N)), rng.standard_normal((steps, STREAMS, N_OUT))


@pytest.mark.parametrize("noisy", [False, True], ids=["clean", "noisy"])
@pytest.mark.parametrize("steps", [1, 6, 20])
def test_the_path_is_that_of_the_equations(steps, noisy):
    weights, h_0, x, noise, y = given(steps)

    @compiled
    def everything(weights, h_0, x, noise, y):
        path = vr.trajectory(vr.vanilla_rnn(), weights, h_0, x, noise if noisy else None)
        output = vr.read_out(weights, path.h)
        return path, output, vr.loss_and_error(output, y)

    path, output, (loss, error) = everything(weights, h_0, x, noise, y)
    for b in range(STREAMS):
        want = run(weights, h_0[b], x[:, b], y[:, b], noise[:, b] if noisy else None)
        np.testing.assert_allclose(path.h[:, b], want.h[1:], atol=1e-12)
        np.testing.assert_allclose(path.slope[:, b], want.slope, atol=1e-12)
        np.testing.assert_allclose(output[:, b], want.output, atol=1e-12)
        np.testing.assert_allclose(loss[:, b], want.loss, atol=1e-12)
        np.testing.assert_allclose(error[:, b], want.error, atol=1e-12)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_slopes_are_derivatives(activation):
    """Of h^1 by the bias, which is added to v."""
    weights, h_0, x, _, _ = given(1)

    def h(bias):
        return vr.trajectory(vr.vanilla_rnn(activation), {**weights, "bias": bias}, h_0, x).h[0]

    slope = vr.trajectory(vr.vanilla_rnn(activation), weights, h_0, x).slope[0]
    derivative = jnp.diagonal(jax.jacobian(h)(jnp.asarray(weights["bias"])), axis1=1, axis2=2)
    np.testing.assert_allclose(slope, derivative, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_initial_weights(dtype):
    """Uniform within Glorot's bounds: mean and variance at five standard errors, false alarm below 1e-5 together."""
    n_in, n, n_out = 30, 60, 40
    init = jax.jit(lambda key: vr.init_params(key, n_in, n, n_out, dtype))
    params = init(jax.random.key(3))
    forward, w_fb = params["forward"], params["feedback"]["w_fb"]
    chex.assert_type(jax.tree.leaves(params), dtype)
    matrices = {"u": (n, n_in), "w": (n, n), "v": (n_out, n)}
    for name, shape in matrices.items():
        chex.assert_shape(forward[name], shape)
    for part in (*(forward[name] for name in matrices), w_fb):
        bound = (6 / sum(part.shape)) ** 0.5
        unit = np.asarray(part, np.float64) / bound
        assert np.abs(unit).max() <= 1
        assert abs(unit.mean()) < 5 * (1 / 3 / unit.size) ** 0.5
        assert abs((unit**2).mean() - 1 / 3) < 5 * (4 / 45 / unit.size) ** 0.5
    chex.assert_shape([forward["bias"], forward["bias_out"]], [(n,), (n_out,)])
    assert not forward["bias"].any()
    assert not forward["bias_out"].any()
    # A key of its own for each matrix.
    assert abs(np.corrcoef(np.ravel(forward["w"]), np.ravel(w_fb))[0, 1]) < 5 / n
    assert np.abs(init(jax.random.key(4))["forward"]["w"] - forward["w"]).max() > 0.1


def test_default_dtype():
    shapes = jax.eval_shape(lambda key: vr.init_params(key, 2, 3, 2), jax.random.key(0))
    assert shapes["forward"]["w"].dtype == jnp.zeros(()).dtype


def test_unknown_activation():
    with pytest.raises(ValueError, match=r"activation='selu' is not known; use one of tanh"):
        vr.vanilla_rnn("selu")
