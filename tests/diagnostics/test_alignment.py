"""Angles, signs and errors against NumPy by hand; the true gradient by autodiff; ranks of B's regressors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import diagnostics as al
from plasticity_jax.layers import chain, conv, dense, flatten, forward, init_params, pool
from plasticity_jax.networks.mlp import mlp
from plasticity_jax.rules.feedback import node_perturbation
from plasticity_jax.typing import Example
from tests.laws.common import compiled

NET = mlp((4, 6, 5, 3), ["tanh", "sigmoid", "identity"])


def degrees(a, b):
    """The angles row by row, by the law of cosines on unit vectors."""
    units = [row / np.linalg.norm(row, axis=1, keepdims=True) for row in (np.asarray(a), np.asarray(b))]
    return np.mean(np.degrees(2 * np.arcsin(np.linalg.norm(units[0] - units[1], axis=1) / 2)))


def given(pathway="chain"):
    keys = jax.random.split(jax.random.key(0), 3)
    batch = Example(jax.random.normal(keys[0], (7, 4)), jax.random.normal(keys[1], (7, 3)))
    return init_params(keys[2], NET, pathway=pathway), batch


def test_errors_and_signs_of_matrices_equal_those_by_hand():
    w, b = jnp.array([[3.0, -4.0], [0.0, 1.0]]), jnp.array([[3.0, 4.0], [2.0, 1.0]])
    assert float(al.relative_error(w, b)) == pytest.approx(np.sqrt(68 / 26))
    assert float(al.sign_congruence(w, b)) == (1 + 0 + 0.5 + 1) / 4


def test_angles_are_not_folded_and_safe_at_zero():
    a = jnp.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
    assert float(al.angle(a, -a)) == pytest.approx((180 + 180 + 90) / 3, abs=1e-5)
    assert np.all(np.isfinite(jax.grad(lambda a: al.angle(a, jnp.array([[0.3, 0.4]])))(jnp.zeros((1, 2)))))


@pytest.mark.parametrize("pathway", ["chain", "direct"])
def test_angles_equal_those_of_autodiff(pathway):
    params, batch = given(pathway)
    w, w_fb = params["forward"]["w"], params["feedback"]["w_fb"]
    angles = compiled(lambda params: al.alignment(NET, params, batch, pathway))(params)

    h = forward(NET, params["forward"], batch.x).h

    def above(i, h_i):
        for k in range(i, 3):
            v = h_i @ w[k].T
            h_i = [jnp.tanh(v), jax.nn.sigmoid(v), v][k]
        return jnp.sum((h_i - batch.y) ** 2) / 2

    lam = [jax.grad(lambda z, i=i: above(i, z))(h[i]) for i in (1, 2)]
    e3 = h[3] - batch.y
    e2 = (e3 @ w_fb[1]) * h[2] * (1 - h[2])  # the error that the feedback carries back
    sources = [e2, e3] if pathway == "chain" else [e3, e3]
    jacobians = [w[1], w[2]] if pathway == "chain" else [w[2] @ w[1], w[2]]
    for i in range(2):
        credit = sources[i] @ w_fb[i]
        np.testing.assert_allclose(angles.true_angle[i], degrees(credit, lam[i]), rtol=1e-9)
        np.testing.assert_allclose(angles.local_angle[i], degrees(credit, sources[i] @ jacobians[i]), rtol=1e-9)
        np.testing.assert_allclose(
            angles.relative_error[i], np.linalg.norm(jacobians[i] - w_fb[i]) / np.linalg.norm(jacobians[i]), rtol=1e-12
        )
    assert abs(angles.true_angle[0] - angles.local_angle[0]) > 1


def test_weight_transport_has_an_angle_of_zero():
    params, batch = given()
    angles = al.alignment(NET, params, batch, back=params["forward"]["w"][1:])
    np.testing.assert_allclose(angles.true_angle, 0, atol=1e-5)
    np.testing.assert_array_equal(angles.relative_error, 0)
    np.testing.assert_array_equal(angles.sign_congruence, 1)


def test_the_rank_shows_a_chain_that_breaks_a3():
    """The errors of a linear 6 - 5 - 4 - 2 have full rank 2 in the third layer and at most 2 of 4 in the second."""
    net = mlp((6, 5, 4, 2), ["identity"] * 3)
    params = init_params(jax.random.key(1), net)
    rule = node_perturbation(net, estimator="ridge", solve_every=1000)
    keys = jax.random.split(jax.random.key(2), 2)
    batch = Example(jax.random.normal(keys[0], (64, 6)), jax.random.normal(keys[1], (64, 2)))
    _, traces, _ = rule.update(params, rule.init(params, keys[0], batch), keys[1], batch)
    np.testing.assert_array_equal(al.feedback_rank(traces), [2, 2])
    assert [len(v.total) for v in traces.second] == [4, 2]


def test_direct_feedback_past_other_layers_has_a_true_angle_only():
    net = chain((4, 4, 1), [conv(2, 3, "tanh"), pool(2), flatten(), dense(4, "tanh"), dense(2)])
    params = init_params(jax.random.key(0), net, pathway="direct")
    keys = jax.random.split(jax.random.key(1))
    batch = Example(jax.random.normal(keys[0], (3, 4, 4, 1)), jax.random.normal(keys[1], (3, 2)))
    angles = al.alignment(net, params, batch, pathway="direct")
    assert all(np.isnan(each).all() for each in angles[:3])

    def loss(shift):
        weights = params["forward"]
        h_1 = forward(net, weights, batch.x).h[1] + shift[0]
        rows = h_1.reshape(3, 2, 2, 2, 2, 2).mean((2, 4)).reshape(3, -1)
        h_2 = jnp.tanh(rows @ weights["w"][1].T + weights["bias"][1][None]) + shift[1]
        return jnp.sum((h_2 @ weights["w"][2].T + weights["bias"][2][None] - batch.y) ** 2) / 2

    true = jax.grad(loss)((jnp.zeros((3, 4, 4, 2)), jnp.zeros((3, 4))))
    error = forward(net, params["forward"], batch.x).h[-1] - batch.y
    expected = [degrees(error @ b, c.reshape(3, -1)) for b, c in zip(params["feedback"]["w_fb"], true, strict=True)]
    np.testing.assert_allclose(angles.true_angle, expected, rtol=1e-9)
    assert np.ptp(expected) > 1
