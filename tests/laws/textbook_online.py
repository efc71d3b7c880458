"""L7 for the recurrent family: one step of each rule in plain NumPy, sums written out as the papers print them.

A rule's function takes the moments of all streams, what each carries, what they share, their keys and the coefficients,
and gives each stream's gradient of W, what it carries then, and what they share then.
"""

from types import SimpleNamespace

import jax
import numpy as np

from plasticity_jax.ops.noise import rademacher, stored_noise

GUARD = 1e-7  # of the ratios of norms


def moment(params, r_tm1, x, y, alpha, random_feedback):
    """One stream's forward step: rhat, phi', J, the immediate influence, credit, and the readout's gradient."""
    w, w_out = params["forward"]["w"], params["forward"]["w_out"]
    n = len(w)
    rhat = np.concatenate([r_tm1, x, [1.0]])
    phi = np.tanh(w @ rhat)
    r = (1 - alpha) * r_tm1 + alpha * phi
    z = w_out @ np.append(r, 1.0)
    yhat = np.exp(z) / np.exp(z).sum()
    j = (1 - alpha) * np.eye(n) + alpha * np.diag(1 - phi**2) @ w[:, :n]
    back = params["feedback"]["w_fb"] if random_feedback else w_out[:, :n]
    q = (yhat - y) @ back
    return SimpleNamespace(
        **{"n": n, "w": w, "alpha": alpha, "r_tm1": r_tm1, "rhat": rhat, "r": r, "x": x, "y": y, "j": j, "q": q},
        slope=1 - phi**2,
        imm=alpha * (1 - phi**2),
        loss=-np.sum(y * np.log(yhat)),
        grad_out=np.outer(yhat - y, np.append(r, 1.0)),
    )


def alone(step):
    """A rule whose streams share nothing."""

    def steps(moments, owns, shared, keys, c):
        grads, owns = zip(*(step(m, own, key, c) for m, own, key in zip(moments, owns, keys, strict=True)), strict=True)
        return grads, owns, shared

    return steps


def rho(of, over):
    return np.sqrt((np.linalg.norm(of) + GUARD) / (np.linalg.norm(over) + GUARD))


def signs(key, n):
    return np.asarray(rademacher(key, n, np.float64))


@alone
def rtrl(m, own, key, c):
    influence = np.einsum("kl,ijl->ijk", c.decay * m.j, own.influence)
    for i in range(m.n):
        influence[i, :, i] += m.imm[i] * m.rhat
    return np.einsum("k,ijk->ij", m.q, influence), own._replace(influence=influence)


@alone
def uoro(m, own, key, c):
    nu = signs(key, m.n)
    new = np.outer(nu * m.imm, m.rhat)
    rho0, rho1 = rho(own.b, m.j @ own.a), rho(new, nu)
    a = rho0 * m.j @ own.a + rho1 * nu
    b = own.b / rho0 + new / rho1
    return (m.q @ a) * b, own._replace(a=a, b=b)


@alone
def kf_rtrl(m, own, key, c):
    nu0, nu1 = signs(key, 2)
    rho0, rho1 = rho(m.j @ own.b, own.a), rho(m.imm, m.rhat)
    a = nu0 * rho0 * own.a + nu1 * rho1 * m.rhat
    b = nu0 * m.j @ own.b / rho0 + nu1 * np.diag(m.imm) / rho1
    return np.outer(m.q @ b, a), own._replace(a=a, b=b)


@alone
def reverse_kf_rtrl(m, own, key, c):
    nu = signs(key, m.n)
    new = np.outer(nu * m.imm, m.rhat)
    rho0, rho1 = rho(m.j @ own.b, own.a), rho(new, nu)
    a = rho0 * own.a + rho1 * nu
    b = m.j @ own.b / rho0 + new / rho1
    return np.outer(a, m.q @ b), own._replace(a=a, b=b)


@alone
def rflo(m, own, key, c):
    eligibility = (1 - c.leak) * own.eligibility + np.outer(m.imm, m.rhat)
    return m.q[:, None] * eligibility, own._replace(eligibility=eligibility)


@alone
def fixed_recurrent(m, own, key, c):
    return np.zeros_like(m.w), own


def jacobian_at(m, slope):
    return (1 - m.alpha) * np.eye(m.n) + m.alpha * np.diag(slope) @ m.w[:, : m.n]


def bptt(moments, owns, count, keys, c):
    """Oldest first; credit is sent back at the window's end."""
    grads, after = [], []
    for m, own in zip(moments, owns, strict=True):
        window = len(own.credit)
        at = count % window
        own = own._replace(**{field: np.array(getattr(own, field)) for field in own._fields})
        own.slope[at], own.immediate[at], own.rhat[at], own.credit[at] = m.slope, m.imm, m.rhat, m.q
        grad, credit = np.zeros_like(m.w), np.zeros(m.n)
        if at == window - 1:
            for s in reversed(range(window)):
                credit = credit + own.credit[s]
                grad += np.outer(credit * own.immediate[s], own.rhat[s])
                credit = credit @ jacobian_at(m, own.slope[s])
        grads.append(grad)
        after.append(own)
    return grads, after, count + 1


def future_facing_bptt(moments, owns, count, keys, c):
    """Newest first; the oldest step is taught."""
    grads, after = [], []
    for m, own in zip(moments, owns, strict=True):
        fresh = {"slope": m.slope, "immediate": m.imm, "rhat": m.rhat, "credit": 0 * m.q}
        own = own._replace(**{field: np.stack([new, *getattr(own, field)[:-1]]) for field, new in fresh.items()})
        q = m.q
        for s in range(len(own.credit)):
            own.credit[s] += q
            q = q @ jacobian_at(m, own.slope[s])
        grads.append(np.outer(own.credit[-1] * own.immediate[-1], own.rhat[-1]))
        after.append(own)
    return grads, after, count + 1


def kernl(moments, owns, shared, keys, c):
    kappa = np.maximum(0, 1 - shared.leak)
    changes, leaks, after = [], [], []
    for m, own, key in zip(moments, owns, keys, strict=True):
        start = own.noisy_r + own.zeta
        noisy_r = (1 - m.alpha) * start + m.alpha * np.tanh(m.w @ np.concatenate([start, m.x, [1.0]]))
        zeta = c.sigma * np.asarray(stored_noise(key, m.n, np.float64, "gaussian"))
        gamma = kappa * own.gamma - own.omega
        omega = kappa * own.omega + zeta
        error = shared.a @ omega - (noisy_r + zeta - m.r)
        changes.append(np.outer(error, omega))
        leaks.append((error @ shared.a) * gamma)
        eligibility = kappa[:, None] * own.eligibility + np.outer(m.imm, m.rhat)
        after.append(own._replace(eligibility=eligibility, noisy_r=noisy_r, zeta=zeta, omega=omega, gamma=gamma))
    a = shared.a - c.learning_rate * np.mean(changes, 0)
    leak = shared.leak - c.learning_rate * np.mean(leaks, 0)
    grads = [(m.q @ a)[:, None] * own.eligibility for m, own in zip(moments, after, strict=True)]
    return grads, after, shared._replace(a=a, leak=leak)


def dni(moments, owns, shared, keys, c, learned=False, interval=5):
    if learned:
        surprise = [np.outer(m.r - shared.jacobian @ m.r_tm1, m.r_tm1) for m in moments]
        jc = shared.jacobian + c.jacobian_learning_rate * np.mean(surprise, 0)
    changes, after = [], []
    for m, own in zip(moments, owns, strict=True):
        state = np.concatenate([m.r, m.y, [1.0]])
        before = own.state if shared.steps else np.concatenate([m.r_tm1, m.y, [1.0]])
        guess = shared.a_target @ state
        target = own.credit + (np.tanh(guess) @ jc if learned else guess @ m.j)
        changes.append(np.outer(shared.a @ before - target, before))
        after.append(own._replace(state=state, credit=m.q))
    a = shared.a - c.learning_rate * np.mean(changes, 0)
    steps = shared.steps + 1
    a_target = shared.a_target if steps % interval else a
    grads = [np.outer(a @ own.state * m.imm, m.rhat) for m, own in zip(moments, after, strict=True)]
    return grads, after, shared._replace(a=a, a_target=a_target, steps=steps, jacobian=jc if learned else ())


def dni_b(moments, owns, shared, keys, c):
    return dni(moments, owns, shared, keys, c, learned=True)


def textbook(step, random_feedback=False):
    """``(params, traces, key, batch, coefficients) -> (params, traces, loss)`` after one step at a rate of one."""

    def one_step(params, traces, key, batch, coefficients):
        c = SimpleNamespace(**coefficients)
        streams = len(batch.x)
        keys = jax.random.split(key, streams)
        owns = [jax.tree.map(lambda leaf, b=b: leaf[b], traces.own) for b in range(streams)]
        each = zip(traces.r, batch.x, batch.y, strict=True)
        moments = [moment(params, r, x, y, c.alpha, random_feedback) for r, x, y in each]
        grads, owns, shared = step(moments, owns, traces.shared, keys, c)
        forward = {
            "w": params["forward"]["w"] - np.mean(grads, 0),
            "w_out": params["forward"]["w_out"] - np.mean([m.grad_out for m in moments], 0),
        }
        own = jax.tree.map(lambda *leaves: np.stack(leaves), *owns)
        after = traces._replace(r=np.stack([m.r for m in moments]), own=own, shared=shared)
        return {**params, "forward": forward}, after, np.mean([m.loss for m in moments])

    return one_step


TEXTBOOK = {
    "bptt": textbook(bptt),
    "future_facing_bptt": textbook(future_facing_bptt),
    "rtrl": textbook(rtrl),
    "uoro": textbook(uoro),
    "kf_rtrl": textbook(kf_rtrl),
    "reverse_kf_rtrl": textbook(reverse_kf_rtrl),
    "kernl": textbook(kernl),
    "rflo": textbook(rflo),
    "dni": textbook(dni),
    "dni_b": textbook(dni_b, random_feedback=True),
    "fixed_recurrent": textbook(fixed_recurrent),
}
