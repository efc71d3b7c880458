"""Rules of the authors' code during learning, compared with a plain NumPy loop of that code."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.marschall2019 import fig1
from experiments.marschall2019.authors import authors_target, authors_traces, with_gain
from plasticity_jax.base import learner
from plasticity_jax.cells import leaky
from plasticity_jax.diagnostics.bias_variance import updates_along
from plasticity_jax.ops.noise import stored_noise, unit_noise
from plasticity_jax.rules.online import rtrl
from plasticity_jax.tasks.mimic import MimicState
from tests.oracles.online import ORACLES
from tests.rules.helpers import F64, close, differ, first, problem, train

N, STEPS, ALPHA, RATE, GUARD = 6, 30, 0.5, 0.2, 1e-7
CELL = leaky(3, N, 2, alpha=ALPHA)
STOCHASTIC = ("uoro", "kf_rtrl", "reverse_kf_rtrl")


def root(x, y):
    return np.sqrt((np.linalg.norm(x) + GUARD) / (np.linalg.norm(y) + GUARD))


def authors_run(name, w, w_out, w_fb, x, y, r, a, b, noise, first=False):
    """Losses, final weights and final A, Jc of a rule in the code of May 2019, from initial values r, a, b.

    With `first`, DNI(b)'s Jc learns before A, unlike in that code.
    """
    w, w_out, a, b = (np.array(leaf) for leaf in (w, w_out, a, b))
    n, losses, jc, leak = len(w), [], w[:, :N].copy(), np.full(len(w), 0.8)
    m, noisy, zeta, omega, gamma = np.zeros((n, *w.shape)), r.copy(), np.zeros(n), np.zeros(n), np.zeros(n)
    copied, old, credit = a.copy(), np.concatenate([r, y[0], [1]]), np.zeros(n)
    for t in range(len(x)):
        rhat, r_tm1 = np.concatenate([r, x[t], [1]]), r
        phi = np.tanh(w @ rhat)
        slope, r = 1 - phi**2, (1 - ALPHA) * r + ALPHA * phi
        z = w_out @ np.append(r, 1)
        p = np.exp(z) / np.exp(z).sum()
        e = p - y[t]
        losses.append(-y[t] @ np.log(p))
        q = e @ (w_fb if name == "dni_b" else w_out[:, :n])
        j = (1 - ALPHA) * np.eye(n) + ALPHA * slope[:, None] * w[:, :n]
        if name == "rtrl":
            m = np.einsum("kl,lij->kij", j, m)
            m[np.arange(n), np.arange(n)] += np.outer(slope, rhat)
            g = np.einsum("k,kij->ij", q, m)
        elif name == "uoro":
            ahead, new = j @ a, np.outer(noise[t] * slope, rhat)
            p0, p1 = root(b, ahead), root(new, noise[t])
            a, b = p0 * ahead + p1 * noise[t], b / p0 + new / p1
            g = (q @ a) * b
        elif name == "kf_rtrl":
            ahead = j @ b
            p0, p1 = root(ahead, a), root(slope, rhat)
            a = noise[t][0] * p0 * a + noise[t][1] * p1 * rhat
            b = noise[t][0] / p0 * ahead + noise[t][1] / p1 * np.diag(slope)
            g = np.outer(q @ b, a)
        elif name == "reverse_kf_rtrl":
            ahead, new = j @ b, np.outer(noise[t] * slope, rhat)
            p0, p1 = root(ahead, a), root(new, noise[t])
            a, b = p0 * a + p1 * noise[t], ahead / p0 + new / p1
            g = np.outer(a, q @ b)
        elif name == "kernl":
            noisy = noisy + zeta
            noisy = (1 - ALPHA) * noisy + ALPHA * np.tanh(w @ np.concatenate([noisy, x[t], [1]]))
            kappa, zeta = np.maximum(0, 1 - leak), 1e-3 * noise[t]
            gamma = kappa * gamma - omega
            omega = kappa * omega + (1 - kappa) * zeta
            b = kappa[:, None] * b + ALPHA * np.outer(slope, rhat)
            error = a @ omega - (noisy - r)
            a, leak = a - 5 * np.outer(error, omega), leak - 5 * (error @ a) * gamma
            g = (q @ a)[:, None] * b
        else:
            state, dnib = np.concatenate([r, y[t], [1]]), name == "dni_b"
            after = jc - 1e-3 * np.outer(jc @ r_tm1 - r, r_tm1)
            future = np.tanh(copied @ state) @ (after if first else jc) if dnib else copied @ state @ j
            a, jc = a - 1e-3 * np.outer(a @ old - credit - future, old), after
            copied = a.copy() if t % 5 == 4 else copied
            old, credit = state, q
            g = np.outer(a @ state * ALPHA * slope, rhat)
        w, w_out = w - RATE * g, w_out - RATE * np.outer(e, np.append(r, 1))
    return np.array(losses), w, w_out, a, jc


def noise_of(name, key):
    """Random numbers that a rule draws at every step."""
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(STEPS))
    if name == "kernl":
        return np.asarray(jax.vmap(lambda key: stored_noise(key, N, F64, "gaussian"))(keys))
    count = 2 if name == "kf_rtrl" else N
    return np.asarray(jax.vmap(lambda key: unit_noise(key, count, F64, "rademacher"))(keys))


@jax.jit
def first_state(key):
    return jnp.tanh(jax.random.normal(key, (1, 1, N), F64))


@pytest.mark.parametrize("name", ["rtrl", *STOCHASTIC, "kernl", "dni", "dni_b"])
def test_a_rule_as_run_is_the_authors(name):
    """A rule as run starts and learns as in the authors' code, and as written it does so as in the library."""
    params, examples = problem(3, steps=STEPS)
    key = jax.random.key(5)

    def rule(as_run):
        gain = jnp.where(as_run, 1.0, ALPHA)
        return fig1.build_rule(name, CELL, ALPHA, 10, fig1.Setting((jnp.zeros(()), jnp.zeros(())), gain, as_run))

    @jax.jit
    def run(as_run):
        start = learner(rule(as_run), optax.sgd(RATE)).init(params, key, first(examples))
        start = start._replace(traces=authors_traces(start.traces, jax.random.key(6), as_run))
        return start, train(rule(as_run), RATE, start, examples)

    ours = jax.tree.map(lambda leaf: leaf, run(jnp.asarray(False))[0])
    runs = [run(jnp.asarray(as_run))[1] for as_run in (True, False)]
    r = np.asarray(first_state(jax.random.key(6)))[0, 0]
    own, shared = jax.tree.map(lambda leaf: np.asarray(leaf), (ours.traces.own, ours.traces.shared))
    a, b = np.zeros(N), np.zeros((N, N + 4))
    if name == "uoro":
        a, b = own.a[0, 0], own.b["w"][0, 0]
    elif name in STOCHASTIC:
        a, b = own.a[0].reshape(-1), own.b[0] / np.sqrt(N)
    elif name == "kernl":
        a = np.eye(N)
    elif name != "rtrl":
        a = shared.a * np.sqrt((N + 2 + 1) / N)
        a[:, -1] = 0
    w, w_out = params["forward"]["w"][0], params["forward"]["w_out"]
    given = (*map(np.asarray, (w, w_out, params["feedback"]["w_fb"], examples.x[:, 0], examples.y[:, 0])),)
    losses, w_end, w_out_end, a_end, jc = authors_run(name, *given, r, a, b, noise_of(name, ours.key))
    end, losses_run, *_ = runs[0]
    close(losses_run, losses)
    close(end.params["forward"]["w"][0], w_end)
    close(end.params["forward"]["w_out"], w_out_end)
    if name in ("kernl", "dni", "dni_b"):
        close(end.traces.shared.a, a_end)
    if name == "dni_b":
        close(end.traces.shared.jacobian, jc)
        other = authors_run(name, *given, r, a, b, None, first=True)[3]
        differ(a_end - a, other - a, 1e-6)

    assert not np.asarray(ours.traces.state).any()
    options = {"kernl": {"learning_rate": 5.0, "sigma": 1e-3, "initial_leak": 0.8}}.get(name, {})
    noise = {"normals": noise_of(name, ours.key)} if name == "kernl" else {"nu": noise_of(name, ours.key)}
    if name in STOCHASTIC:
        noise |= {"a": a, "b": b if name == "uoro" else own.b[0]}
    elif name != "kernl":
        noise["a"] = getattr(shared, "a", 0)
    expected = ORACLES[name].run(*given, alpha=ALPHA, lr=RATE, noise=noise, **options)
    close(runs[1][1], expected["losses"])
    close(runs[1][0].params["forward"]["w"][0], expected["w"])
    differ(runs[0][1], runs[1][1])


def test_first_values_of_a_part_are_the_authors_in_the_run_lane_alone():
    config = fig1.PRESETS["smoke"]
    key = jax.random.key(7)
    for task, name in (("add", "kernl"), ("add", "kf_rtrl"), ("mimic", "dni")):
        start = jax.jit(fig1.part(config, task, name).init)(key)
        written = jax.tree.map(lambda leaf: np.asarray(leaf[0]), start.learner.traces)
        run = jax.tree.map(lambda leaf: np.asarray(leaf[1]), start.learner.traces)
        assert not written.state.any()
        assert written.state.shape == (1, 1, 8)
        assert (np.abs(run.state) > 1e-3).all()
        if name == "kernl":
            np.testing.assert_array_equal(run.own.noisy_s[0], run.state[0, 0])
            np.testing.assert_array_equal(written.own.noisy_s, 0)
        if name == "kf_rtrl":
            np.testing.assert_allclose(run.own.b, written.own.b / np.sqrt(8), rtol=1e-12)
            np.testing.assert_array_equal(run.own.a, written.own.a)
        if name == "dni":
            np.testing.assert_allclose(run.shared.a[:, :-1], written.shared.a[:, :-1] * np.sqrt(17 / 8), rtol=1e-12)
            assert not run.shared.a[:, -1].any()
            np.testing.assert_allclose(run.shared.a, run.shared.a_target, rtol=1e-12)
            target = np.asarray(start.stream.s)
            assert not target[0].any()
            assert (np.abs(target[1]) > 1e-3).all()
            assert np.abs(target[1] - run.state).min() > 1e-6
        np.testing.assert_array_equal(*(np.asarray(start.learner.params["forward"]["w"][lane]) for lane in (0, 1)))


def test_a_target_starts_as_in_the_authors_code_only_as_run():
    state = MimicState(jax.random.key(0), jnp.zeros((), int), {}, jnp.zeros((1, 1, 400)))
    start = np.asarray(authors_target(state, jax.random.key(1), True).s)
    assert np.std(np.arctanh(start)) == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(authors_target(state, jax.random.key(1), False).s, state.s)


def test_a_gain_of_one_multiplies_what_the_exact_rule_learns_by_one_over_alpha():
    """Holds at fixed weights: the influence is linear in its immediate part, and the Jacobian keeps its alpha."""
    params, examples = problem(4, steps=6)
    key = jax.random.key(0)

    @jax.jit
    def gradient(gain):
        return updates_along(rtrl(with_gain(CELL, ALPHA, gain)), params, key, examples)["forward"]

    plain = updates_along(rtrl(CELL), params, key, examples)["forward"]
    same, larger = gradient(ALPHA), gradient(1.0)
    close(same["w"], plain["w"])
    close(larger["w"], plain["w"] / ALPHA)
    close(larger["w_out"], plain["w_out"])
    differ(larger["w"][-1], plain["w"][-1])
