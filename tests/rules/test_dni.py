"""DNI: the learned Jacobian, the true linear map of future credit, and the target's slower copy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.cells import leaky
from plasticity_jax.rules import online
from plasticity_jax.typing import Example
from tests.oracles.online import ORACLES
from tests.rules.helpers import close, differ, first, hold, problem

N, N_OUT = 4, 2


def linear(alpha, seed=0):
    rng = np.random.default_rng(seed)
    w_rec = rng.standard_normal((N, N))
    w_rec *= 0.7 / np.abs(np.linalg.eigvals(w_rec)).max()
    w_in = 1.5 * np.linalg.qr(rng.standard_normal((N, N)))[0]
    w = np.concatenate([w_rec, w_in, np.zeros((N, 1))], 1)
    w_out = rng.standard_normal((N_OUT, N + 1)) / N**0.5
    params = {"forward": {"w": w[None], "w_out": w_out}, "feedback": {"w_fb": rng.standard_normal((N_OUT, N))}}
    j = (1 - alpha) * np.eye(N) + alpha * w_rec
    return (
        leaky(N, N, N_OUT, alpha=alpha, activation="identity", loss="squared"),
        jax.tree.map(jnp.asarray, params),
        w_rec,
        j,
    )


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("name", ["dni", "dni_b"])
def test_the_learned_jacobian_converges_to_the_jacobian(name, alpha):
    """A linear network with inputs that are white, of zero mean and rich: regression of r^t on r^{t-1} gives J.

    Its standard error per entry is near sqrt(rate / streams) = 0.025 before the average over the last half.
    """
    net, params, w_rec, j = linear(alpha)
    steps, streams = 1200, 32
    x = jax.random.normal(jax.random.key(2), (steps, streams, N), jnp.float64)
    options = {"learning_rate": 0.0, "jacobian_learning_rate": 0.02 / alpha}
    rule = getattr(online, name)(net, **options, **({"jacobian": "learned"} if name == "dni" else {}))
    start = rule.init(params, jax.random.key(0), Example(x[0], x[0, :, :N_OUT]))
    # The initial W_rec is J itself at alpha = 1: start from elsewhere.
    start = start._replace(shared=start.shared._replace(jacobian=-start.shared.jacobian))

    @jax.jit
    def run(x):
        return hold(rule, params, Example(x, x[..., :N_OUT]), jax.random.key(0), start)[2].shared.jacobian

    learned = np.asarray(run(x))[steps // 2 :].mean(0)
    assert np.linalg.norm(learned - j) < 0.03 * np.linalg.norm(j)
    differ(learned, -w_rec, 0.5)
    if alpha < 1:
        differ(j, w_rec, 0.3)


@pytest.mark.parametrize(("alpha", "printed", "diverges"), [(1.0, False, False), (1.0, True, True), (0.5, True, True)])
def test_equation_3_diverges_with_its_printed_sign(alpha, printed, diverges):
    """Only the NumPy oracle has the printed sign; the library has no such option."""
    _, params, w_rec, _ = linear(alpha)
    x = np.random.default_rng(1).standard_normal((800, N))
    given = params["forward"]["w"][0], params["forward"]["w_out"], params["feedback"]["w_fb"], x, np.zeros((800, N_OUT))
    options = {"loss": "squared", "activation": "identity", "printed_sign": printed}
    options |= {"learning_rate": 0.0, "jacobian_learning_rate": 0.02}
    with np.errstate(over="ignore", invalid="ignore"):
        jacobian = ORACLES["dni_b"].run(*given, alpha=alpha, lr=0, **options)["state"]["jacobian"]
    assert (not np.linalg.norm(jacobian) < 1e3 * np.linalg.norm(w_rec)) == diverges


def future_map(params, j):
    """A of c = A [r; y; 1], for a linear network without further input, at a constant target.

    q^u = (W_out r^u + b - y) W_out and r^u = J^{u-t} r^t, so c^T = sum_k J^k^T W_out^T (W_out J^k r + b - y).
    """
    w_out, bias = np.asarray(params["forward"]["w_out"][:, :N]), np.asarray(params["forward"]["w_out"][:, N])
    quadratic, carried = np.zeros((N, N)), np.linalg.inv(np.eye(N) - j.T) @ w_out.T
    power = np.eye(N)
    for _ in range(400):
        quadratic += power.T @ w_out.T @ w_out @ power
        power = j @ power
    return np.concatenate([quadratic, -carried, (carried @ bias)[:, None]], 1)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_at_the_true_linear_map_the_gradient_is_exact(alpha):
    """The gradient of all losses from t on by W^(t); A stays there although it may learn."""
    net, params, _, j = linear(alpha)
    a = jnp.asarray(future_map(params, j))
    steps, checked = 160, 8
    y = jnp.broadcast_to(jnp.array([0.7, -0.4]), (steps, 1, N_OUT))
    examples = Example(jnp.zeros((steps, 1, N)), y)
    r0 = jax.random.normal(jax.random.key(3), (N,), jnp.float64)
    rule = online.dni(net, learning_rate=0.1, target_interval=3)

    w, w_out = params["forward"]["w"][0], params["forward"]["w_out"]
    rhat = jnp.concatenate([r0, jnp.zeros(N), jnp.ones(1)])
    # The credit of the step before the first, which the rule would have stored: A stays from the first step on.
    q0 = (w_out[:, :N] @ r0 + w_out[:, N] - y[0, 0]) @ w_out[:, :N]

    @jax.jit
    def run(a):
        start = rule.init(params, jax.random.key(0), first(examples))
        own = start.own._replace(credit=q0[None])
        shared = start.shared._replace(a=a, a_target=a)
        return hold(
            rule, params, examples, jax.random.key(0), start._replace(state=r0[None, None], own=own, shared=shared)
        )

    def total(copies):
        def body(r, w):
            r = (1 - alpha) * r + alpha * w @ jnp.concatenate([r, jnp.zeros(N), jnp.ones(1)])
            return r, 0.5 * jnp.sum((w_out @ jnp.append(r, 1.0) - y[0, 0]) ** 2)

        return jnp.sum(jax.lax.scan(body, r0, copies)[1])

    expected = jax.jit(jax.grad(total))(jnp.broadcast_to(w, (steps, *w.shape)))[:checked]
    g, _, traces, _ = run(a)
    close(g[:checked, 0], expected, 1e-10)
    close(traces.shared.a[-1], a, 1e-10)
    # Another A gives another gradient, and moves.
    other = a.at[0, 0].add(0.3)
    g, _, traces, _ = run(other)
    differ(g[:checked, 0], expected)
    differ(traces.shared.a[-1], other, 1e-3)
    # The gradient credits more than the loss of the step itself.
    own = jax.grad(
        lambda w: 0.5 * jnp.sum((w_out @ jnp.append((1 - alpha) * r0 + alpha * w @ rhat, 1.0) - y[0, 0]) ** 2)
    )
    differ(expected[0], own(w), 0.1)


@pytest.mark.parametrize("interval", [1, 3, 5])
@pytest.mark.parametrize("name", ["dni", "dni_b"])
def test_the_target_is_a_copy_of_every_kth_step(name, interval):
    """The target equals A after k, 2k, ... steps; in between only A moves."""
    params, examples = problem(3, steps=11)
    rule = getattr(online, name)(leaky(3, 6, 2), learning_rate=0.1, target_interval=interval)
    traces = rule.init(params, jax.random.key(0), first(examples))
    run = jax.jit(lambda: hold(rule, params, examples, jax.random.key(0), traces)[2].shared)
    start, shared = traces.shared, run()
    last = start.a
    np.testing.assert_array_equal(start.a, start.a_target)
    for t in range(11):
        if (t + 1) % interval == 0:
            last = shared.a[t]
        else:
            assert np.abs(shared.a[t] - last).max() > 1e-4
        np.testing.assert_array_equal(shared.a_target[t], last)
    np.testing.assert_array_equal(shared.steps, np.arange(1, 12))


def test_the_interval_matters():
    params, examples = problem(3, steps=11)

    def run(interval):
        rule = online.dni(leaky(3, 6, 2), learning_rate=0.1, target_interval=interval)
        return jax.jit(lambda: hold(rule, params, examples, jax.random.key(0))[0])()

    differ(run(1)[-1], run(5)[-1], 1e-3)


def test_dni_b_is_dni_with_three_changes():
    params, examples = problem(3, steps=11)
    net, rates = leaky(3, 6, 2), {"learning_rate": 0.1, "jacobian_learning_rate": 0.1}
    changes = {"jacobian": "learned", "label": "tanh", "feedback": "random"}

    @jax.jit
    def run():
        less = [online.dni(net, **rates, **{k: v for k, v in changes.items() if k != left}) for left in changes]
        rules = [online.dni_b(net, **rates), online.dni(net, **rates, **changes), *less]
        return [hold(rule, params, examples, jax.random.key(0))[0] for rule in rules]

    b, same, *others = run()
    np.testing.assert_array_equal(b, same)
    for other in others:
        differ(b, other, 1e-3)
