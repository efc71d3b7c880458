"""Exact rules against autodiff of a forward pass written here, with a copy of W for each step.

Step s reads its own copy W^(s), and one tensor has all credit: credit[t, s] = dL^t / dW^(s). RTRL emits the sum over
s at each t, sliding BPTT the sum over the T losses from s on, disjoint BPTT a square block. Comparing step by step, not
after a sum over the whole sequence, distinguishes the rules.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.cells import leaky
from plasticity_jax.rules import online
from tests.rules.helpers import close, differ, hold, problem, with_immediate_gain

STEPS, N, N_IN, N_OUT = 16, 5, 2, 3
PHI = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid, "identity": lambda v: v}
KEY = jax.random.key(1)


def loss_of(z, y, kind):
    if kind == "softmax":
        return jax.nn.logsumexp(z) - jnp.dot(y, z)
    return 0.5 * jnp.sum((z - y) ** 2)


def forward(ws, w_out, x, y, alpha, activation, loss):
    """Losses (T,) and rates (T, n) of a leaky network whose step s reads ws[s]."""

    def body(r, at):
        w, x, y = at
        r = (1 - alpha) * r + alpha * PHI[activation](w @ jnp.concatenate([r, x, jnp.ones(1)]))
        return r, (loss_of(w_out @ jnp.append(r, 1.0), y, loss), r)

    return jax.lax.scan(body, jnp.zeros(w_out.shape[1] - 1), (ws, x, y))[1]


@functools.cache
def case(alpha=0.5, activation="tanh", loss="softmax", gain=1.0):
    """A problem, its credit tensors and its activity."""
    params, examples = problem(7, N, N_IN, N_OUT, STEPS, loss=loss, gain=gain)
    w, w_out = params["forward"]["w"][0], params["forward"]["w_out"]
    x, y = examples.x[:, 0], examples.y[:, 0]
    run = functools.partial(forward, x=x, y=y, alpha=alpha, activation=activation, loss=loss)

    @jax.jit
    def tensors(w, w_out):
        copies = jnp.broadcast_to(w, (STEPS, *w.shape))
        by_loss = jax.jacrev(lambda copies: run(copies, w_out)[0])(copies)
        direct = jax.vmap(jax.grad(lambda w_out, r, y: loss_of(w_out @ jnp.append(r, 1.0), y, loss)), (None, 0, 0))
        summed = jax.grad(lambda w, w_out: run(jnp.broadcast_to(w, copies.shape), w_out)[0].sum(), (0, 1))(w, w_out)
        losses, rates = run(copies, w_out)
        return by_loss, direct(w_out, rates, y), summed, losses, rates

    return params, examples, *tensors(w, w_out)


@functools.cache
def influence():
    """dr_k^t / dW^(s)_ij as (t, k, s, i, j), of the first network."""
    params, examples = case()[:2]
    w, w_out = params["forward"]["w"][0], params["forward"]["w_out"]
    copies = jnp.broadcast_to(w, (STEPS, *w.shape))
    given = examples.x[:, 0], examples.y[:, 0], 0.5, "tanh", "softmax"
    return jax.jit(jax.jacrev(lambda copies: forward(copies, w_out, *given)[1]))(copies)


@functools.cache
def updates(name, alpha=0.5, activation="tanh", loss="softmax", gain=1.0, immediate_gain=None, **options):
    """Gradients of W, its one gate's axis left out, of W_out, traces and infos."""
    params, examples = case(alpha, activation, loss, gain)[:2]
    cell = leaky(N_IN, N, N_OUT, alpha=alpha, activation=activation, loss=loss)
    cell = cell if immediate_gain is None else with_immediate_gain(cell, alpha, immediate_gain)
    rule = getattr(online, name)(cell, **options)
    run = jax.jit(lambda params, examples: hold(rule, params, examples, KEY))
    g, *rest = run(params, examples)
    assert g.shape[1] == 1
    return g[:, 0], *rest


NETWORKS = [
    (0.5, "tanh", "softmax"),
    (1.0, "tanh", "squared"),
    (0.5, "sigmoid", "squared"),
]
WINDOWS = [(4, NETWORKS[0]), (4, NETWORKS[1]), (4, NETWORKS[2]), (1, NETWORKS[0]), (STEPS, NETWORKS[0])]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_rtrl_is_the_gradient_of_each_loss(network):
    _, _, credit, direct, summed, losses, rates = case(*network)
    g, g_out, traces, info = updates("rtrl", *network)
    close(info.loss, losses)
    close(traces.state[:, 0, 0], rates)
    close(g, credit.sum(1))
    close(g.sum(0), summed[0])
    close(g_out, direct)
    close(g_out.sum(0), summed[1])
    assert np.isin(info.ready, [True]).all()
    # Not vacuous: much of each gradient comes from three or more steps ago, and RFLO differs.
    far = sum(credit[t, : t - 2].sum(0) for t in range(3, STEPS))
    differ(far, np.zeros_like(far), 0.5)
    assert np.linalg.norm(far) > 0.1 * np.linalg.norm(summed[0])
    assert np.asarray(rates).std(0).min() > 0.05


def test_rtrl_influence_is_the_derivative_of_the_rates():
    by_rate = influence()
    traces = updates("rtrl")[2]
    assert set(traces.own.influence) == {"w"}
    close(jnp.moveaxis(traces.own.influence["w"][:, 0, 0], -1, 1), by_rate.sum(2))


def test_rtrl_equals_central_finite_differences():
    """The loss is in plain NumPy; every entry of W and W_out moves by 1e-5 either way: truncation error near 1e-10."""
    params, examples, *_ = case()
    x, y = np.asarray(examples.x[:, 0]), np.asarray(examples.y[:, 0])

    def total(w, w_out):
        r, loss = np.zeros(N), 0.0
        for x_t, y_t in zip(x, y, strict=True):
            r = 0.5 * r + 0.5 * np.tanh(w @ np.concatenate([r, x_t, [1.0]]))
            z = w_out @ np.append(r, 1.0)
            loss += np.log(np.exp(z).sum()) - y_t @ z
        return loss

    weights = [np.asarray(params["forward"]["w"][0]), np.asarray(params["forward"]["w_out"])]
    g, g_out, *_ = updates("rtrl")
    for which, actual in enumerate((g.sum(0), g_out.sum(0))):
        slope = np.zeros(actual.shape)
        for index in np.ndindex(*actual.shape):
            ends = []
            for move in (1e-5, -1e-5):
                moved = [array.copy() for array in weights]
                moved[which][index] += move
                ends.append(total(*moved))
            slope[index] = (ends[0] - ends[1]) / 2e-5
        close(actual, slope, 1e-8)


@pytest.mark.parametrize("decay", [0.0, 0.8])
def test_rtrl_decay_forgets_by_age(decay):
    credit = case()[2]
    age = np.arange(STEPS)[:, None] - np.arange(STEPS)
    g = updates("rtrl", decay=decay)[0]
    close(g, jnp.einsum("ts,tsij->tij", np.where(age >= 0, decay ** np.maximum(age, 0.0), 0.0), credit))
    differ(g, credit.sum(1), 0.1)


@pytest.mark.parametrize(("window", "network"), WINDOWS, ids=str)
def test_disjoint_bptt_is_the_gradient_of_its_window(window, network):
    credit = case(*network)[2]
    g, g_out, _, info = updates("bptt", *network, window=window)
    expected = np.zeros(g.shape)
    for end in range(window - 1, STEPS, window):
        inside = slice(end - window + 1, end + 1)
        expected[end] = credit[inside, inside].sum((0, 1))
    close(g, expected)
    np.testing.assert_array_equal(info.ready["forward"]["w"], np.arange(STEPS) % window == window - 1)
    close(g_out, case(*network)[3])
    if window < STEPS:
        differ(expected.sum(0), credit.sum((0, 1)))


@pytest.mark.parametrize(("window", "network"), WINDOWS, ids=str)
def test_future_facing_bptt_sums_the_losses_that_its_window_reaches(window, network):
    """The update at t credits the weights of step t - T + 1 with the T losses from then on."""
    credit = case(*network)[2]
    g, g_out, _, info = updates("future_facing_bptt", *network, window=window)
    expected = np.zeros(g.shape)
    for t in range(window - 1, STEPS):
        s = t - window + 1
        expected[t] = credit[s : t + 1, s].sum(0)
    close(g, expected)
    np.testing.assert_array_equal(info.ready["forward"]["w"], np.arange(STEPS) >= window - 1)
    close(g_out, case(*network)[3])
    rule = online.future_facing_bptt(leaky(N_IN, N, N_OUT), window=window)
    assert rule.lag == window - 1
    if window > 1:
        differ(expected[-1], credit[-1].sum(0))  # the future is not the past
        differ(expected[window - 1 :].sum(0), sum(credit[s, s] for s in range(STEPS - window + 1)))


def random_credit(by_rate, rates, params, examples):
    z = rates @ params["forward"]["w_out"][:, :N].T + params["forward"]["w_out"][:, N]
    q = (jax.nn.softmax(z) - examples.y[:, 0]) @ params["feedback"]["w_fb"]
    return jnp.einsum("tk,tksij->tsij", q, by_rate)


@pytest.mark.parametrize("name", ["rtrl", "bptt", "future_facing_bptt"])
def test_random_feedback_replaces_the_immediate_credit_alone(name):
    params, examples, exact, *_, rates = case()
    credit = random_credit(influence(), rates, params, examples)
    options = {} if name == "rtrl" else {"window": 4}
    g = updates(name, feedback="random", **options)[0]
    expected = np.zeros(g.shape)
    for t in range(STEPS):
        if name == "rtrl":
            expected[t] = credit[t].sum(0)
        elif name == "bptt" and t % 4 == 3:
            expected[t] = credit[t - 3 : t + 1, t - 3 : t + 1].sum((0, 1))
        elif name == "future_facing_bptt" and t >= 3:
            expected[t] = credit[t - 3 : t + 1, t - 3].sum(0)
    close(g, expected)
    differ(credit.sum(1), exact.sum(1), 0.1)


@pytest.mark.parametrize("name", ["rtrl", "bptt", "future_facing_bptt"])
def test_immediate_gain_scales_the_gradient(name):
    """The authors' 2019 code: the immediate influence lacks alpha, the Jacobian does not."""
    g, legacy = updates(name)[0], updates(name, immediate_gain=1.0)[0]
    close(legacy, 2 * g)
    differ(g, np.zeros_like(g))


def test_rflo_is_exact_where_no_unit_receives_from_another():
    """W_rec = 0: the influence is a leaky filter of the immediate one. Elsewhere it is not."""
    credit = case(gain=0.0)[2]
    g = updates("rflo", gain=0.0)[0]
    close(g, credit.sum(1))
    differ(g, np.stack([credit[t, t] for t in range(STEPS)]), 0.1)
    differ(updates("rflo")[0], case()[2].sum(1), 0.1)


def test_rflo_leak_forgets_by_age():
    """credit[t, s] at W_rec = 0 is (1 - alpha)^(t - s) times the immediate one; the leak takes the place of alpha."""
    credit = case(gain=0.0)[2]
    age = np.maximum(np.arange(STEPS)[:, None] - np.arange(STEPS), 0.0)
    close(updates("rflo", gain=0.0, leak=0.2)[0], jnp.einsum("ts,tsij->tij", (0.8 / 0.5) ** age, credit), 1e-9)


def test_fixed_recurrent_teaches_the_readout_alone():
    g, g_out, *_ = updates("fixed_recurrent")
    np.testing.assert_array_equal(g, np.zeros(g.shape))
    close(g_out, case()[3])
    differ(g_out, np.zeros_like(g_out))


@pytest.mark.parametrize("network", NETWORKS[:2], ids=str)
def test_the_network_is_active(network):
    *_, losses, rates = case(*network)
    rates = np.asarray(rates)
    assert np.abs(rates).max() < 0.999
    assert rates.std(0).min() > 0.1
    assert np.asarray(losses).std() > 0.05
