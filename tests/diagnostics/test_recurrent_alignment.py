"""Angles of credit by lag against the plain NumPy loop over pairs of steps, and against autodiff."""

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.diagnostics.recurrent_alignment import angles_by_lag
from plasticity_jax.networks.vanilla_rnn import init_params, vanilla_rnn
from plasticity_jax.typing import Example
from tests.laws.common import compiled
from tests.oracles.feedback_recurrent import credit, run

NET, STEPS, STREAMS, N = vanilla_rnn(), 5, 2, 6


def given():
    rng = np.random.default_rng(0)
    params = init_params(jax.random.key(0), 2, N, 3)
    h, x, y = (rng.standard_normal(shape) for shape in ((STREAMS, N), (STREAMS, STEPS, 2), (STREAMS, STEPS, 3)))
    return params, jnp.asarray(h), Example(jnp.asarray(x), jnp.asarray(y))


def degrees(a, b):
    return np.degrees(np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))


def test_against_the_loop_over_pairs():
    params, h, batch = given()
    weights, back = jax.tree.map(np.asarray, (params["forward"], params["feedback"]["w_fb"]))
    want = np.zeros((STEPS - 1, STREAMS))
    for stream in range(STREAMS):
        path = run(weights, *(np.asarray(leaf)[stream] for leaf in (h, batch.x, batch.y)))
        carried, true = credit(weights, path, back), credit(weights, path, weights["w"])
        for k in range(1, STEPS):
            pairs = [(t, t - k + 1) for t in range(k, STEPS)]
            want[k - 1, stream] = np.mean([degrees(carried[p] @ back, true[p] @ weights["w"]) for p in pairs])
    got = compiled(lambda params: angles_by_lag(NET, params, h, batch))(params)
    np.testing.assert_allclose(got, want.mean(1), rtol=1e-9)
    assert np.ptp(got) > 1


def test_true_credit_is_autodiff():
    """B chosen so that one step's angle is that between credit unchanged and the derivative of the last loss."""
    params, h, batch = given()
    w = params["forward"]

    def loss(h_tm1):
        h_t = jnp.tanh(batch.x[:, 1] @ w["u"].T + h_tm1 @ w["w"].T + w["bias"])
        return jnp.sum((h_t @ w["v"].T + w["bias_out"] - batch.y[:, 1]) ** 2) / 2

    h_0 = jnp.tanh(batch.x[:, 0] @ w["u"].T + h @ w["w"].T + w["bias"])
    h_1 = jnp.tanh(batch.x[:, 1] @ w["u"].T + h_0 @ w["w"].T + w["bias"])
    true = np.asarray(jax.grad(loss)(h_0))
    plain = np.asarray((h_1 @ w["v"].T + w["bias_out"] - batch.y[:, 1]) @ w["v"] * (1 - h_1**2))
    two = Example(batch.x[:, :2], batch.y[:, :2])
    got = compiled(lambda params: angles_by_lag(NET, params, h, two, back=jnp.eye(N)))(params)
    np.testing.assert_allclose(got, [np.mean([degrees(a, b) for a, b in zip(plain, true, strict=True)])], rtol=1e-9)
