"""Spiking networks and their rules after Bellec et al.: trials, traces without adaptation, rates, small helpers."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.bellec2020.common import (
    build_rule,
    check_points,
    decay_factor,
    in_steps,
    optimiser,
    over_trials,
    spiking,
    tail,
    trial_of,
    unless_diverged,
)
from plasticity_jax.cells import init_params, leaky_readout, lif
from plasticity_jax.rules import online
from plasticity_jax.typing import Example
from tests.laws.common import compiled

SIZES = (3, 6, 2)
DECAYS = {"decay": 0.8, "readout_decay": 0.7, "adaptation_decay": 0.95}
B, S = 2, 25


def network(kind="alif", method="eprop", **options):
    settings = {**DECAYS, "strength": 0.5, "scale": 1.2, "loss": "squared", **options}
    return spiking(kind, SIZES, method=method, **settings)


@functools.cache
def problem():
    """Weights for all of these networks, with biases that make them fire, and a batch of trials."""
    rng = np.random.default_rng(0)
    params = init_params(jax.random.key(0), network(), jnp.float64)
    w = params["forward"]["w"].at[:, :, -1].set(0.25)
    params["forward"]["w"] = w
    x = rng.integers(0, 2, (B, S, SIZES[0])).astype(float)
    y = rng.normal(size=(B, S, SIZES[2]))
    start, weight = np.zeros((B, S), bool), rng.uniform(0.5, 2, (B, S))
    start[:, 0] = True
    return params, jax.tree.map(jnp.asarray, Example(x, y, start, weight))


def updates_of(rule, params, batch):
    key = jax.random.key(1)

    def run(params, batch):
        return rule.update(params, rule.init(params, key, batch), key, batch)

    updates, _, info = compiled(run)(params, batch)
    return jax.tree.map(np.asarray, (updates, info.loss, info.aux["output"]))


def loop(params, batch, *, slow):
    """E-prop on ALIF neurons with squared errors, written out; `slow` keeps the adaptation's part of the traces."""
    w, w_out = (np.asarray(params["forward"][name]) for name in ("w", "w_out"))
    w, n, n_in = w[0], SIZES[1], SIZES[0]
    alpha, kappa, rho = DECAYS["decay"], DECAYS["readout_decay"], DECAYS["adaptation_decay"]
    beta = np.where(np.arange(n) < n // 2, 0, 0.5)
    grad_w, grad_out, loss, spikes = np.zeros_like(w), np.zeros_like(w_out), 0.0, 0
    for b in range(B):
        u, a, z, f = (np.zeros(n) for _ in range(4))
        bar, eps_a, filtered = np.zeros((n, n + n_in + 1)), np.zeros((n, n + n_in + 1)), np.zeros((n, n + n_in + 1))
        psi = np.zeros(n)
        for t in range(S):
            source = np.concatenate([z, np.asarray(batch.x)[b, t], [1.0]])
            eps_a = psi[:, None] * bar + (rho - beta * psi)[:, None] * eps_a if slow else eps_a
            bar = alpha * bar + source[None]
            u, a = alpha * u + w @ source - z, rho * a + beta * z
            z = (u - 1 - a > 0).astype(float)
            psi = 0.3 * np.maximum(0, 1 - np.abs(u - 1 - a))
            filtered = kappa * filtered + psi[:, None] * (bar - beta[:, None] * eps_a)
            f = kappa * f + z
            error = np.asarray(batch.weight)[b, t] * (w_out @ [*f, 1.0] - np.asarray(batch.y)[b, t])
            loss += float(error @ error) / 2 / float(np.asarray(batch.weight)[b, t]) / B
            grad_w += (w_out[:, :-1].T @ error)[:, None] * filtered / B
            grad_out += np.outer(error, [*f, 1.0]) / B
            spikes += z.sum()
    np.fill_diagonal(grad_w[:, :n], 0)  # no neuron has a synapse onto itself
    return grad_w, grad_out, loss, spikes


@pytest.mark.parametrize(("method", "slow"), [("eprop", True), ("blind", False)])
def test_traces_with_and_without_adaptation_by_a_loop(method, slow):
    params, batch = problem()
    params = jax.tree.map(lambda leaf: leaf, params)
    w = params["forward"]["w"]
    params["forward"]["w"] = jnp.where(jnp.eye(*w.shape[1:], dtype=bool)[None], 0, w)
    updates, loss, _ = updates_of(build_rule(network(method=method), method), params, batch)
    grad_w, grad_out, wanted, spikes = loop(params, batch, slow=slow)
    assert 0.1 < spikes / (B * S * SIZES[1]) < 0.7
    np.testing.assert_allclose(updates["forward"]["w"][0], grad_w, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(updates["forward"]["w_out"], grad_out, rtol=1e-9)
    assert loss == pytest.approx(wanted)
    other = loop(params, batch, slow=not slow)[0]
    assert np.abs(other - grad_w)[SIZES[1] // 2 :].max() > 0.01 * np.abs(grad_w).max()
    np.testing.assert_allclose(other[: SIZES[1] // 2], grad_w[: SIZES[1] // 2])  # half of them do not adapt


def test_without_recurrent_weights_eprop_over_trials_is_backpropagation():
    params, batch = problem()
    cell = leaky_readout(lif(*SIZES, decay=0.8, loss="squared"), 0.7)
    alone = jax.tree.map(lambda leaf: leaf, params)
    alone["forward"]["w"] = params["forward"]["w"].at[:, :, : SIZES[1]].set(0)
    for weights, same in ((alone, True), (params, False)):
        local, loss, output = updates_of(over_trials(online.eprop(cell)), weights, batch)
        exact, wanted, exact_output = updates_of(online.bptt(cell, window=None), weights, batch)
        assert loss == pytest.approx(float(wanted))
        np.testing.assert_allclose(output, exact_output, atol=1e-12)
        inputs = np.s_[0, :, SIZES[1] :]
        distance = np.abs(local["forward"]["w"][inputs] - exact["forward"]["w"][inputs]).max()
        assert (distance < 1e-10) == same
        np.testing.assert_allclose(local["forward"]["w_out"], exact["forward"]["w_out"], rtol=1e-9)


def test_methods_differ_in_what_they_teach():
    params, batch = problem()
    updates = {
        m: updates_of(build_rule(network(method=m), m), params, batch)[0] for m in ("random", "adaptive", "frozen")
    }
    assert not updates["frozen"]["forward"]["w"].any()
    assert updates["frozen"]["forward"]["w_out"].any(0).sum() > 4
    np.testing.assert_allclose(updates["random"]["forward"]["w"], updates["adaptive"]["forward"]["w"])
    assert not updates["random"]["feedback"]["w_fb"].any()
    np.testing.assert_allclose(updates["adaptive"]["feedback"]["w_fb"], updates["adaptive"]["forward"]["w_out"][:, :-1])


def test_a_trial_is_that_of_the_rule():
    params, batch = problem()
    cell = network(method="bptt")
    _, _, output = updates_of(build_rule(cell, "bptt"), params, batch)
    spikes, outputs = compiled(lambda x: trial_of(cell, params, x))(batch.x[1])
    np.testing.assert_allclose(outputs, output[1], atol=1e-12)
    assert spikes.shape == (S, SIZES[1])
    assert set(np.unique(spikes)) == {0, 1}


def test_networks():
    """Checks the scale of the initial weights, the neurons that adapt, and the derivative through the reset."""
    n = 200
    cell = spiking("alif", (50, n, 2), **DECAYS, strength=0.4, scale=1.6, loss="softmax", method="eprop")
    fired = jnp.zeros((3, n)).at[0].set(1.5)
    reset = {method: network(method=method) for method in ("bptt", "eprop")}

    def made(key):
        slopes = {m: cell.partials({}, fired[:, :6], jnp.zeros((1, 6))).decay[0, 0] for m, cell in reset.items()}
        return init_params(key, cell)["forward"]["w"][0], cell.update({}, fired, jnp.zeros((1, n))), slopes

    w, after, slopes = jax.tree.map(np.asarray, compiled(made)(jax.random.key(0)))
    assert w[:, :n].std() * n**0.5 == pytest.approx(1.6, rel=0.03)
    assert w[:, n:-1].std() * 50**0.5 == pytest.approx(1.6, rel=0.05)
    assert not w[:, -1].any()
    assert not np.diag(w[:, :n]).any()
    np.testing.assert_allclose(after[1], np.where(np.arange(n) < n // 2, 0, 0.4))
    assert network("lif").variables == ("voltage", "filtered")
    np.testing.assert_allclose(slopes["eprop"], 0.8)
    np.testing.assert_allclose(slopes["bptt"], 0.8 - 0.3 * 0.5)


def test_adaptive_feedback_comes_to_be_the_readout():
    """Equal gradients and decay shrink the difference by 1 - rate * decay an update; random feedback stays."""
    rate, decay, steps = 0.1, 0.5, 7
    ones = {
        "forward": {"w": jnp.ones((1, 2, 4)), "w_out": jnp.full((1, 3), 2.0)},
        "feedback": {"w_fb": jnp.ones((1, 2))},
    }
    grads = {"forward": {"w": jnp.ones((1, 2, 4)), "w_out": jnp.array([[3.0, -1.0, 2.0]])}}
    grads["feedback"] = {"w_fb": grads["forward"]["w_out"][:, :-1]}

    def learned(method):
        tx = optimiser(rate, method, decay)

        def step(carry, _):
            updates, state = tx.update(grads, carry[1], carry[0])
            return (optax.apply_updates(carry[0], updates), state), None

        return jax.lax.scan(step, (ones, tx.init(ones)), length=steps)[0][0]

    params = jax.tree.map(np.asarray, compiled(lambda: (learned("adaptive"), learned("random")))())
    gap = params[0]["forward"]["w_out"][:, :-1] - params[0]["feedback"]["w_fb"]
    np.testing.assert_allclose(gap, (1 - rate * decay) ** steps)
    np.testing.assert_allclose(params[0]["forward"]["w"], 1 - rate * steps, rtol=1e-6)  # Adam, of a constant gradient
    np.testing.assert_array_equal(params[1]["feedback"]["w_fb"], ones["feedback"]["w_fb"])
    np.testing.assert_allclose(params[1]["forward"]["w_out"], 2 - rate * steps * np.array([[1, -1, 1]]), rtol=1e-6)


def test_small_helpers():
    assert decay_factor(20.0, 10.0) == pytest.approx(math.exp(-0.5))
    assert in_steps("gap", 50.0, 10.0) == 5
    assert in_steps("gap", 0.3, 0.1) == 3
    with pytest.raises(ValueError, match="gap=55 ms must be a multiple of dt=10 ms"):
        in_steps("gap", 55.0, 10.0)
    for points in (0, 3):
        with pytest.raises(ValueError, match="must divide updates=8"):
            check_points(8, points)
    np.testing.assert_allclose(tail(np.arange(40.0).reshape(2, 20)), [18.5, 38.5])
    np.testing.assert_allclose(tail(np.arange(4.0).reshape(1, 4)), [3])
    loss = np.array([[1.0, np.nan], [np.nan, 1.0]])
    np.testing.assert_array_equal(unless_diverged(np.array([5.0, 6.0]), loss), [np.nan, 6])
