"""E-prop against a NumPy loop of the equations of Bellec et al. (2020), in volts, which learns as it goes.

The loop does not use the library's variables: voltages against a threshold v_th, adaptation in counts of spikes,
filtered presynaptic activity, eligibility vectors and filtered traces, symbol by symbol.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import learner
from plasticity_jax.cells import alif, leaky_readout, lif
from plasticity_jax.cells.cell import Cell
from plasticity_jax.rules.online import eprop, rflo, rtrl
from plasticity_jax.typing import Example
from tests.cells.spiking import close, differ, straight_through, updates_of

N_IN, N, N_OUT, STREAMS, STEPS = 3, 6, 2, 2, 50
ALPHA, RHO, V_TH, BETA, KAPPA, GAMMA = 0.85, 0.95, 0.7, 0.25, 0.8, 0.3
KEY = jax.random.key(0)
RATE = {"softmax": 0.05, "squared": 0.02}


def cell_of(kind, loss="softmax", kappa=KAPPA, mask=None):
    """The library's cell; the reset is left out of the derivatives, as in the paper."""
    shared = {"decay": ALPHA, "threshold": V_TH, "reset_derivative": False, "loss": loss, "mask": mask}
    if kind == "lif":
        cell = lif(N_IN, N, N_OUT, **shared)
    else:
        cell = alif(N_IN, N, N_OUT, adaptation_decay=RHO, strength=BETA / V_TH, **shared)
    return cell if kappa is None else leaky_readout(cell, kappa)


def problem(loss, seed=1):
    rng = np.random.default_rng(seed)
    w = np.concatenate(
        [rng.standard_normal((N, N)), 1.2 * rng.standard_normal((N, N_IN)), 0.2 * np.ones((N, 1))], axis=1
    )
    np.fill_diagonal(w[:, :N], 0)  # no neuron has a synapse onto itself
    w_out = np.concatenate([rng.standard_normal((N_OUT, N)) / N, 0.1 * rng.standard_normal((N_OUT, 1))], axis=1)
    w_fb = rng.standard_normal((N_OUT, N))
    x = rng.standard_normal((STEPS, STREAMS, N_IN))
    y = rng.standard_normal((STEPS, STREAMS, N_OUT))
    if loss == "softmax":
        y = np.exp(2 * y) / np.exp(2 * y).sum(-1, keepdims=True)
    start = np.zeros((STEPS, STREAMS), bool)
    start[17, 0] = start[30, 1] = True
    return w, w_out, w_fb, x, y, start


def bellec(kind, loss, feedback):
    """Weights after each step, losses, spikes, and the least distance of a voltage from its threshold."""
    w, w_out, w_fb, x, y, start = problem(loss)
    rate = RATE[loss]
    beta = BETA if kind == "alif" else 0.0
    v, a = np.zeros((STREAMS, N)), np.zeros((STREAMS, N))
    z, psi, f = np.zeros((STREAMS, N)), np.zeros((STREAMS, N)), np.zeros((STREAMS, N_OUT, N))
    z_bar = np.zeros((STREAMS, N + N_IN + 1))
    eps_a, e_bar = np.zeros((2, STREAMS, N, N + N_IN + 1))
    history, losses, spikes, margin = [], [], [], np.inf
    for t in range(STEPS):
        d_w, d_out, loss_t = np.zeros_like(w), np.zeros_like(w_out), 0.0
        for b in range(STREAMS):
            if start[t, b]:
                v[b] = a[b] = z[b] = z_bar[b] = eps_a[b] = e_bar[b] = f[b] = 0
                psi[b] = 0
            pre = np.concatenate([z[b], x[t, b], [1.0]])
            # eps_a reads psi and zbar of the step before.
            eps_a[b] = psi[b][:, None] * z_bar[b][None] + (RHO - beta * psi[b][:, None]) * eps_a[b]
            z_bar[b] = ALPHA * z_bar[b] + pre
            a[b] = RHO * a[b] + z[b]
            v[b] = ALPHA * v[b] + w @ pre - V_TH * z[b]
            threshold = V_TH + beta * a[b]
            z[b] = v[b] > threshold
            margin = min(margin, np.abs(v[b] - threshold).min())
            psi[b] = GAMMA / V_TH * np.maximum(0, 1 - np.abs((v[b] - threshold) / V_TH))
            e = psi[b][:, None] * (z_bar[b][None] - beta * eps_a[b])
            e_bar[b] = KAPPA * e_bar[b] + e
            f[b] = KAPPA * f[b] + z[b][None]  # F_kappa(z), once for every output
            out = np.sum(w_out[:, :N] * f[b], 1) + w_out[:, N]
            if loss == "softmax":
                pi = np.exp(out) / np.exp(out).sum()
                error, value = pi - y[t, b], -np.sum(y[t, b] * np.log(pi))
            else:
                error, value = out - y[t, b], 0.5 * np.sum((out - y[t, b]) ** 2)
            broadcast = w_out[:, :N] if feedback == "readout" else w_fb
            signal = np.array([sum(broadcast[k, j] * error[k] for k in range(N_OUT)) for j in range(N)])
            d_w += signal[:, None] * e_bar[b] / STREAMS
            d_out += np.concatenate([error[:, None] * f[b], error[:, None]], axis=1) / STREAMS
            loss_t += value / STREAMS
        np.fill_diagonal(d_w[:, :N], 0)
        w, w_out = w - rate * d_w, w_out - rate * d_out
        if feedback == "adaptive":
            w_fb = w_fb - rate * d_out[:, :N]
        history.append((w, w_out, w_fb))
        losses.append(loss_t)
        spikes.append(z.copy())
    return [np.stack(leaf) for leaf in zip(*history, strict=True)], np.array(losses), np.array(spikes), margin


def library(rule, loss):
    """Weights after each step, and losses, of the same life by the library."""
    w, w_out, w_fb, x, y, start = map(jnp.asarray, problem(loss))
    params = {"forward": {"w": w[None], "w_out": w_out}, "feedback": {"w_fb": w_fb}}
    examples = Example(x, y, start)
    learn = learner(rule, optax.sgd(RATE[loss]))

    def step(state, batch):
        state, info = learn.step(state, batch)
        forward = state.params["forward"]
        return state, ((forward["w"][0], forward["w_out"], state.params["feedback"]["w_fb"]), info.loss)

    def run(params, examples):
        state = learn.init(params, KEY, jax.tree.map(lambda leaf: leaf[0], examples))
        return jax.lax.scan(step, state, examples)[1]

    return jax.jit(run)(params, examples)


NO_AUTAPSES = 1 - np.eye(N)


@pytest.mark.parametrize("kind", ["lif", "alif"])
@pytest.mark.parametrize("loss", ["softmax", "squared"])
@pytest.mark.parametrize("feedback", ["readout", "random", "adaptive"])
def test_eprop_equals_the_loop_of_bellec(kind, loss, feedback):
    expected, losses, spikes, margin = bellec(kind, loss, feedback)
    assert margin > 1e-6, "rounding could flip a spike: choose another seed"
    assert 0.1 < spikes.mean() < 0.6
    assert spikes.any((0, 1)).all()
    weights, library_losses = library(eprop(cell_of(kind, loss, mask=NO_AUTAPSES), feedback=feedback), loss)
    np.testing.assert_allclose(library_losses, losses, rtol=1e-10)
    for actual, expected_w in zip(weights, expected, strict=True):
        np.testing.assert_allclose(actual, expected_w, rtol=0, atol=1e-10)
    first = problem(loss)[:3]
    moved = [np.abs(expected_w[-1] - before).max() for expected_w, before in zip(expected, first, strict=True)]
    assert min(moved[:2]) > 0.02
    assert (moved[2] > 0.02) == (feedback == "adaptive")
    # Another broadcast, adaptation or filter breaks the equality.
    other = {"readout": "random", "random": "adaptive", "adaptive": "readout"}[feedback]
    for rule in (
        eprop(cell_of(kind, loss, mask=NO_AUTAPSES), feedback=other),
        eprop(cell_of("lif" if kind == "alif" else "alif", loss, mask=NO_AUTAPSES), feedback=feedback),
        eprop(cell_of(kind, loss, 0.9 * KAPPA, mask=NO_AUTAPSES), feedback=feedback),
    ):
        assert np.abs(library(rule, loss)[0][0] - expected[0]).max() > 1e-3


@pytest.mark.parametrize("kind", ["lif", "alif"])
def test_the_filters_trace_is_the_filtered_eligibility_trace(kind):
    def traces(cell):
        rule = eprop(cell, feedback="random")
        w, w_out, w_fb, x, y, _ = map(jnp.asarray, problem("softmax"))
        params = {"forward": {"w": w[None], "w_out": w_out}, "feedback": {"w_fb": w_fb}}

        def step(traces, batch):
            traces = rule.update(params, traces, KEY, batch)[1]
            return traces, (traces.state, traces.own.eligibility["w"])

        init = rule.init(params, KEY, Example(x[0], y[0]))
        return jax.jit(lambda examples: jax.lax.scan(step, init, examples))(Example(x, y))[1]

    (s, eps), (_, filtered) = traces(cell_of(kind, kappa=None)), traces(cell_of(kind))
    u = np.asarray(s[:, :, 0] - 1 - (s[:, :, 1] if kind == "alif" else 0))
    psi = 0.3 * np.maximum(0, 1 - np.abs(u))[:, :, None, :, None]
    eps = np.asarray(eps)
    e = psi * (eps[:, :, 0] - (eps[:, :, 1] if kind == "alif" else 0))
    e_bar = np.zeros_like(e[0])
    for t in range(STEPS):
        e_bar = KAPPA * e_bar + e[t]
        np.testing.assert_allclose(filtered[t, :, -1], e_bar, rtol=0, atol=1e-12)
    assert np.abs(e_bar).max() > 0.1


def test_eprop_is_exact_where_no_neuron_receives_from_another():
    for mask, same in ((np.zeros((N, N)), True), (NO_AUTAPSES, False)):
        cell = cell_of("alif", mask=mask)
        w, w_out, w_fb, x, y, _ = map(jnp.asarray, problem("softmax"))
        w = w.at[:, :N].multiply(mask)
        params = {"forward": {"w": w[None], "w_out": w_out}, "feedback": {"w_fb": w_fb}}
        local, exact = (updates_of(rule(cell), params, Example(x, y)) for rule in (eprop, rtrl))
        (close if same else differ)(local, exact)


def test_eprop_equals_rflo():
    cell = cell_of("lif")
    for actual, expected in zip(library(eprop(cell), "softmax")[0], library(rflo(cell), "softmax")[0], strict=True):
        np.testing.assert_array_equal(actual, expected)


def by_hand(coefficients, params, examples):
    """The summed loss of an ALIF network that learns by random e-prop, in JAX with straight-through spikes."""
    alpha, rho, strength, kappa, rate = (coefficients[k] for k in ("alpha", "rho", "strength", "kappa", "rate"))
    w, w_out, w_fb = params["forward"]["w"][0], params["forward"]["w_out"], params["feedback"]["w_fb"]
    m = w.shape[1]

    def step(carry, at):
        w, w_out, u, a, f, z, psi, z_bar, eps_a, e_bar = carry
        x, y = at
        pre = jnp.concatenate([z, x, jnp.ones(1)])
        eps_a = strength * psi[:, None] * z_bar[None] + (rho - strength * psi[:, None]) * eps_a
        z_bar = alpha * z_bar + pre
        u, a = alpha * u + w @ pre - z, rho * a + strength * z
        z = straight_through(u - 1 - a)
        psi = 0.3 * jnp.maximum(0, 1 - jnp.abs(u - 1 - a))
        e_bar = kappa * e_bar + psi[:, None] * (z_bar[None] - eps_a)
        f = kappa * f + z
        out = w_out @ jnp.append(f, 1.0)
        error = jax.nn.softmax(out) - y
        loss = jax.nn.logsumexp(out) - y @ out
        w = w - rate * (error @ w_fb)[:, None] * e_bar
        w_out = w_out - rate * error[:, None] * jnp.append(f, 1.0)[None]
        return (w, w_out, u, a, f, z, psi, z_bar, eps_a, e_bar), loss

    rest = (*(jnp.zeros(N) for _ in range(5)), jnp.zeros(m), jnp.zeros((N, m)), jnp.zeros((N, m)))
    return jax.lax.scan(step, (w, w_out, *rest), (examples.x[:, 0], examples.y[:, 0]))[1].sum()


def test_a_meta_gradient_through_hard_spikes_equals_that_of_straight_through_spikes():
    steps = 12
    w, w_out, w_fb, x, y, _ = map(jnp.asarray, problem("softmax"))
    params = {"forward": {"w": w[None], "w_out": w_out}, "feedback": {"w_fb": w_fb}}
    examples = Example(x[:steps, :1], y[:steps, :1])
    coefficients = {"alpha": 0.8, "rho": 0.9, "strength": 0.3, "kappa": 0.7, "rate": 0.2}

    def life(c, params):
        cell = alif(
            N_IN, N, N_OUT, decay=c["alpha"], adaptation_decay=c["rho"], strength=c["strength"], reset_derivative=False
        )
        learn = learner(eprop(leaky_readout(cell, c["kappa"]), feedback="random"), optax.sgd(c["rate"]))
        state = learn.init(params, KEY, jax.tree.map(lambda leaf: leaf[0], examples))
        return jax.lax.scan(learn.step, state, examples)[1].loss.sum()

    value, grads = jax.jit(jax.value_and_grad(life, (0, 1)))(coefficients, params)
    of_hand = jax.jit(jax.value_and_grad(by_hand, (0, 1)))
    expected_value, expected_grads = of_hand(coefficients, params, examples)
    np.testing.assert_allclose(value, expected_value, rtol=1e-12)
    close(grads, expected_grads)
    assert min(abs(leaf) for leaf in expected_grads[0].values()) > 1e-3


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="use one of readout, random, adaptive"):
        eprop(cell_of("lif"), feedback="symmetric")
    anything = Cell(lambda key: (), lambda: jnp.zeros(1), lambda w, s, x: s, lambda s: s, n_in=1, n_out=1)
    with pytest.raises(TypeError, match="eprop needs a cell of neurons"):
        eprop(anything)
