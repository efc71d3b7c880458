"""L7 for the recurrent family: one step of each rule in plain NumPy, sums written out as the papers print them.

A cell's function takes the neurons' own parameters, s (S, n) and v (G, n), and gives s after the step with its
derivatives, by hand: D (S, S, n), b (S, G, n), and d s / d own by name, (S, n). A rule's function takes the moments of
all streams, what each carries, what they share, their keys and the coefficients, and gives each stream's gradient, its
new traces, and the new shared values. Traces and gradients are trees, {"w": ..., "own": {name: ...}}.
"""

from types import SimpleNamespace

import jax
import numpy as np

from plasticity_jax.ops.noise import rademacher, stored_noise
from plasticity_jax.registry import RULES

GUARD = 1e-7  # of the ratios of norms


# Cells.


def leaky(p, s, v):
    """r' = (1 - alpha) r + alpha tanh(v)."""
    h = np.tanh(v[0])
    a = p["alpha"] + np.zeros_like(h)
    return [(1 - a) * s[0] + a * h], [[1 - a]], [[a * (1 - h**2)]], {"alpha": [h - s[0]]}


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def gru(p, s, v):
    """h' = (1 - z) k + z h,  k = tanh(v_2 + r v_3),  r = sig(v_0),  z = sig(v_1)."""
    h, r, z = s[0], sigmoid(v[0]), sigmoid(v[1])
    k = np.tanh(v[2] + r * v[3])
    by_k = (1 - z) * (1 - k**2)
    gain = [by_k * v[3] * r * (1 - r), (h - k) * z * (1 - z), by_k, by_k * r]
    return [(1 - z) * k + z * h], [[z]], [gain], {}


def spikes(x):
    """A spike of the registry's cases, soft, and its slope."""
    z = sigmoid(2 * x)
    return z, 2 * z * (1 - z)


def lif(p, s, v, reset=1.0):
    """u' = decay u + v / threshold - z,  z = sig(4 (u - 1)); reset: 0 leaves the spike's derivative out of D."""
    (u,) = s
    z, psi = spikes(u - 1)
    rest = np.zeros_like(u)
    after = p["decay"] * u + v[0] / p["threshold"] - z
    own = {"decay": [u], "threshold": [-v[0] / p["threshold"] ** 2]}
    return [after], [[p["decay"] - reset * psi]], [[rest + 1 / p["threshold"]]], own


def alif(p, s, v, reset=1.0):
    """u' = decay u + v / threshold - z,  a' = adaptation_decay a + strength z,  z = sig(4 (u - 1 - a))."""
    u, a = s
    z, psi = spikes(u - 1 - a)
    rest = np.zeros_like(u)
    after = [p["decay"] * u + v[0] / p["threshold"] - z, p["adaptation_decay"] * a + p["strength"] * z]
    decay = [
        [p["decay"] - reset * psi, reset * psi],
        [p["strength"] * psi, p["adaptation_decay"] - p["strength"] * psi],
    ]
    own = {
        "decay": [u, rest],
        "threshold": [-v[0] / p["threshold"] ** 2, rest],
        "adaptation_decay": [rest, a],
        "strength": [rest, z],
    }
    return after, decay, [[rest + 1 / p["threshold"]], [rest]], own


def first_variable(s):
    """The activity that other neurons and the readout receive, (n,), here the variable, and its slope, (S, n)."""
    return s[0], np.ones_like(s)


def lif_spikes(s):
    z, psi = spikes(s[0] - 1)
    return z, psi[None]


def alif_spikes(s):
    z, psi = spikes(s[0] - 1 - s[1])
    return z, np.stack([psi, -psi])


def without_reset(step):
    return lambda p, s, v: step(p, s, v, reset=0.0)


SPIKING = {"decay": 0.8, "threshold": 1.0}
ADAPTING = {**SPIKING, "adaptation_decay": 0.98, "strength": 0.3}
CELLS = {
    "leaky": (leaky, first_variable, {"alpha": 0.5}),
    "gru": (gru, first_variable, {}),
    "lif": (lif, lif_spikes, SPIKING),
    "alif": (alif, alif_spikes, ADAPTING),
    "lif, D without the reset": (without_reset(lif), lif_spikes, SPIKING),
    "alif, D without the reset": (without_reset(alif), alif_spikes, ADAPTING),
}
"""A cell's step, its output, and its default parameters."""


def connections(cell, shape):
    """1 where a gate receives: of a GRU's candidate one gate receives no neurons, another no input."""
    mask, n = np.ones(shape), shape[1]
    if cell == "gru":
        mask[2, :, :n] = 0
        mask[3, :, n:-1] = 0
    return mask


def parameters(cell, params, coefficients):
    """The cell's parameters: those that learn, else the coefficients of those names."""
    constants = CELLS[cell][2]
    given = {name: value for name, value in coefficients.items() if name in constants}
    return {**constants, **given, **params["forward"].get("own", {})}


def moment(cell, params, p, s_tm1, x, y, random_feedback):
    """One stream's forward step: rhat, D, b, own gains, o, J, credit, and the readout's gradient."""
    step, output, _ = CELLS[cell]
    w_out = params["forward"]["w_out"]
    mask = connections(cell, params["forward"]["w"].shape)
    w = mask * params["forward"]["w"]
    gates, n, _ = w.shape
    activity, o = output(s_tm1)
    rhat = np.concatenate([activity, x, [1.0]])
    v = np.einsum("gij,j->gi", w, rhat)
    s, d, b, own = step(p, s_tm1, v)
    s, d, b = np.stack(s), np.array(d), np.array(b)
    own = {name: np.stack(own[name]) for name in sorted(params["forward"].get("own", {}))}
    read, read_slope = output(s)
    z = w_out @ np.append(read, 1.0)
    yhat = np.exp(z) / np.exp(z).sum()
    back = params["feedback"]["w_fb"] if random_feedback else w_out[:, :n]
    m = SimpleNamespace(
        **{"cell": cell, "p": p, "w": w, "mask": mask, "s_tm1": s_tm1, "rhat": rhat, "s": s, "x": x, "y": y},
        **{"S": len(s), "G": gates, "n": n, "N": len(s) * n, "names": list(own)},
        **{"d": d, "b": b, "own": own, "o": o, "q": read_slope * ((yhat - y) @ back)},
        loss=-np.sum(y * np.log(yhat)),
        grad_out=np.outer(yhat - y, np.append(read, 1.0)),
    )
    m.j = jacobian(w, d, b, o)
    return m


def jacobian(w, d, b, o):
    """ds'_ai / ds_bk = delta_ik D_ab,i + sum_g b_ag,i W_g,ik o_b,k, as a matrix."""
    n = w.shape[1]
    j = np.einsum("agi,gik,bk->aibk", b, w[:, :, :n], o)
    for i in range(n):
        j[:, i, :, i] += d[:, :, i]
    return j.reshape(len(d) * n, -1)


def immediate(m):
    """ds_ai / dW_gij of this step alone, its diagonal: "w" (S, G, n, m), each of "own" (S, n)."""
    return tree(m, np.einsum("agi,j->agij", m.b, m.rhat), m.own)


def tree(m, w, own):
    return {"w": w, "own": own} if m.names else {"w": w}


def weigh(m, c):
    """Credit (S, n) through this step alone."""
    w = np.einsum("ai,agi,j->gij", c, m.b, m.rhat)
    return tree(m, w, {name: np.einsum("ai,ai->i", c, gain) for name, gain in m.own.items()})


def each(f, *trees):
    return jax.tree.map(f, *trees)


def norm(*arrays):
    return np.sqrt(sum(np.sum(np.square(array)) for array in arrays))


def leaves(*trees):
    return jax.tree.leaves(trees)


def stacked(rows, m):
    """(P, ...) of parameters as a tree's "own"."""
    return dict(zip(m.names, rows, strict=True))


# Rules.


def alone(step):
    """A rule without shared values between streams."""

    def steps(moments, owns, shared, keys, c):
        grads, owns = zip(*(step(m, own, key, c) for m, own, key in zip(moments, owns, keys, strict=True)), strict=True)
        return grads, owns, shared

    return steps


def rho(of, over):
    return np.sqrt((norm(*leaves(of)) + GUARD) / (norm(*leaves(over)) + GUARD))


def signs(key, *shape):
    return np.asarray(rademacher(key, int(np.prod(shape)), np.float64)).reshape(shape)


@alone
def rtrl(m, own, key, c):
    decay = 1 if "decay" in m.p else getattr(c, "decay", 1)  # of a spiking cell it is the voltage's
    influence = each(lambda leaf: np.einsum("kl,...l->...k", decay * m.j, leaf), own.influence)
    for a in range(m.S):
        for i in range(m.n):
            influence["w"][:, i, :, a * m.n + i] += np.outer(m.b[a, :, i], m.rhat)
            for name in m.names:
                influence["own"][name][i, a * m.n + i] += m.own[name][a, i]
    return each(lambda leaf: leaf @ m.q.reshape(-1), influence), own._replace(influence=influence)


@alone
def uoro(m, own, key, c):
    nu = signs(key, m.S, m.n)
    new = weigh(m, nu)
    forward = (m.j @ own.a.reshape(-1)).reshape(own.a.shape)
    rho0, rho1 = rho(own.b, forward), rho(new, nu)
    a = rho0 * forward + rho1 * nu
    b = each(lambda old, new: old / rho0 + new / rho1, own.b, new)
    return each(lambda leaf: np.sum(m.q * a) * leaf, b), own._replace(a=a, b=b)


def all_gains(m):
    """Gains (S, G + P, n): a neuron's own parameter is a gate that receives only 1."""
    return np.concatenate([m.b, *(m.own[name][:, None] for name in m.names)], 1)


@alone
def kf_rtrl(m, own, key, c):
    nu0, nu1 = signs(key, 2)
    gains = all_gains(m)
    b_new = np.zeros((m.N, gains.shape[1] * m.n))
    for a, g, i in np.ndindex(gains.shape):
        b_new[a * m.n + i, g * m.n + i] = gains[a, g, i]
    rho0, rho1 = rho(m.j @ own.b, own.a), rho(gains, m.rhat)
    a = nu0 * rho0 * own.a + nu1 * rho1 * m.rhat
    b = nu0 * m.j @ own.b / rho0 + nu1 * b_new / rho1
    of_gates = (m.q.reshape(-1) @ b).reshape(-1, m.n)
    grad = tree(m, np.einsum("gi,j->gij", of_gates[: m.G], a), stacked(of_gates[m.G :] * a[-1], m))
    return grad, own._replace(a=a, b=b)


@alone
def reverse_kf_rtrl(m, own, key, c):
    nu = signs(key, *own.a.shape)
    new = np.einsum("gi,agi,j->aij", nu[: m.G], m.b, m.rhat).reshape(m.N, -1)
    for p, name in enumerate(m.names):
        new[:, -1] += (nu[m.G + p] * m.own[name]).reshape(-1)
    rho0, rho1 = rho(m.j @ own.b, own.a), rho(new, nu)
    a = rho0 * own.a + rho1 * nu
    b = m.j @ own.b / rho0 + new / rho1
    of_inputs = m.q.reshape(-1) @ b
    grad = tree(m, np.einsum("gi,j->gij", a[: m.G], of_inputs), stacked(a[m.G :] * of_inputs[-1], m))
    return grad, own._replace(a=a, b=b)


def faded(d, trace):
    """sum_b D_ab,i eps_b,i..., of a tree of traces."""
    return each(lambda leaf: np.einsum("abi,bgij->agij" if leaf.ndim == 4 else "abi,bi->ai", d, leaf), trace)


def collected(c, trace):
    """sum_a c_ai eps_a,i..., of a tree of traces."""
    return each(lambda leaf: np.einsum("ai,agij->gij" if leaf.ndim == 4 else "ai,ai->i", c, leaf), trace)


@alone
def rflo(m, own, key, c):
    d = m.d if getattr(c, "leak", None) is None else (1 - c.leak) * np.ones_like(m.d)
    eligibility = each(np.add, faded(d, own.eligibility), immediate(m))
    return collected(m.q, eligibility), own._replace(eligibility=eligibility)


@alone
def snap(m, own, key, c):
    """The neuron's own block of the Jacobian, read off it."""
    j = m.j.reshape(m.S, m.n, m.S, m.n)
    block = np.stack([j[:, i, :, i] for i in range(m.n)], -1)
    influence = each(np.add, faded(block, own.influence), immediate(m))
    return collected(m.q, influence), own._replace(influence=influence)


@alone
def fixed_recurrent(m, own, key, c):
    return weigh(m, 0 * m.q), own


def stored(m, own):
    """This step in the fields of a history."""
    local = own.local._replace(
        rhat=m.rhat, decay=m.d, gain=m.b, slope=m.o, own_gain=np.stack(list(m.own.values()), 1) if m.names else ()
    )
    return own._replace(local=local, credit=m.q)


def shared_by_neurons(new, history):
    """A history's entry, stored as one number where all neurons share it."""
    if new.shape == history.shape[1:]:
        return new
    np.testing.assert_array_equal(new, np.broadcast_to(new[..., :1], new.shape))
    return new[..., :1]


def step_of(m, local, s):
    """A moment of the past, at the weights of the present."""
    past = SimpleNamespace(**{**vars(m), "rhat": local.rhat[s], "b": local.gain[s], "o": local.slope[s]})
    past.own = {name: local.own_gain[s][:, p] for p, name in enumerate(m.names)}
    past.j = jacobian(m.w, np.broadcast_to(local.decay[s], m.d.shape), past.b, np.broadcast_to(past.o, m.o.shape))
    return past


def bptt(moments, owns, count, keys, c):
    """Oldest first; credit is sent back at the window's end."""
    grads, after = [], []
    for m, own in zip(moments, owns, strict=True):
        window = len(own.credit)
        at = count % window
        own = each(np.array, own)
        for history, new in zip(leaves(own), leaves(stored(m, own)), strict=True):
            history[at] = shared_by_neurons(new, history)
        grad, credit = weigh(m, 0 * m.q), np.zeros(m.N)
        if at == window - 1:
            for s in reversed(range(window)):
                then = step_of(m, own.local, s)
                credit = credit + own.credit[s].reshape(-1)
                grad = each(np.add, grad, weigh(then, credit.reshape(m.S, m.n)))
                credit = credit @ then.j
        grads.append(grad)
        after.append(own)
    return grads, after, count + 1


def future_facing_bptt(moments, owns, count, keys, c):
    """Newest first; the oldest step is taught."""
    grads, after = [], []
    for m, own in zip(moments, owns, strict=True):
        fresh = stored(m, own)._replace(credit=0 * m.q)
        own = each(lambda new, old: np.stack([shared_by_neurons(new, old), *old[:-1]]), fresh, own)
        q = m.q.reshape(-1)
        for s in range(len(own.credit)):
            own.credit[s] += q.reshape(m.S, m.n)
            q = q @ step_of(m, own.local, s).j
        grads.append(weigh(step_of(m, own.local, -1), own.credit[-1]))
        after.append(own)
    return grads, after, count + 1


def moved(m, s_tm1):
    """A second copy of the network, from another state."""
    step, output, _ = CELLS[m.cell]
    activity = output(s_tm1)[0]
    return np.stack(step(m.p, s_tm1, np.einsum("gij,j->gi", m.w, np.concatenate([activity, m.x, [1.0]])))[0])


def kernl(moments, owns, shared, keys, c):
    kappa = np.maximum(0, 1 - shared.leak)
    changes, leaks, after = [], [], []
    for m, own, key in zip(moments, owns, keys, strict=True):
        noisy_s = moved(m, (own.noisy_s + own.zeta)[None])[0]
        zeta = c.sigma * np.asarray(stored_noise(key, m.n, np.float64, "gaussian"))
        gamma = kappa * own.gamma - own.omega
        omega = kappa * own.omega + zeta
        error = shared.a @ omega - (noisy_s + zeta - m.s[0])
        changes.append(np.outer(error, omega))
        leaks.append((error @ shared.a) * gamma)
        eligibility = each(np.add, faded(kappa[None, None], own.eligibility), immediate(m))
        after.append(own._replace(eligibility=eligibility, noisy_s=noisy_s, zeta=zeta, omega=omega, gamma=gamma))
    a = shared.a - c.learning_rate * np.mean(changes, 0)
    leak = shared.leak - c.learning_rate * np.mean(leaks, 0)
    grads = [collected(m.q @ a, own.eligibility) for m, own in zip(moments, after, strict=True)]
    return grads, after, shared._replace(a=a, leak=leak)


def dni(moments, owns, shared, keys, c, learned=False, interval=5):
    if learned:
        surprise = [np.outer(m.s[0] - shared.jacobian @ m.s_tm1[0], m.s_tm1[0]) for m in moments]
        jc = shared.jacobian + c.jacobian_learning_rate * np.mean(surprise, 0)
    changes, after = [], []
    for m, own in zip(moments, owns, strict=True):
        state = np.concatenate([*m.s, m.y, [1.0]])
        before = own.state if shared.steps else np.concatenate([*m.s_tm1, m.y, [1.0]])
        guess = shared.a_target @ state
        target = own.credit + (np.tanh(guess) @ jc if learned else guess @ m.j)
        changes.append(np.outer(shared.a @ before - target, before))
        after.append(own._replace(state=state, credit=m.q.reshape(-1)))
    a = shared.a - c.learning_rate * np.mean(changes, 0)
    steps = shared.steps + 1
    a_target = shared.a_target if steps % interval else a
    grads = [weigh(m, (a @ own.state).reshape(m.S, m.n)) for m, own in zip(moments, after, strict=True)]
    return grads, after, shared._replace(a=a, a_target=a_target, steps=steps, jacobian=jc if learned else ())


def dni_b(moments, owns, shared, keys, c):
    return dni(moments, owns, shared, keys, c, learned=True)


def textbook(step, cell="leaky", random_feedback=False):
    """``(params, traces, key, batch, coefficients) -> (params, traces, loss)`` after one step at a rate of one."""

    def one_step(params, traces, key, batch, coefficients):
        c = SimpleNamespace(**coefficients)
        p = parameters(cell, params, coefficients)
        streams = len(batch.x)
        keys = jax.random.split(key, streams)
        owns = [jax.tree.map(lambda leaf, b=b: leaf[b], traces.own) for b in range(streams)]
        given = zip(traces.state, batch.x, batch.y, strict=True)
        moments = [moment(cell, params, p, s, x, y, random_feedback) for s, x, y in given]
        grads, owns, shared = step(moments, owns, traces.shared, keys, c)
        grad = each(lambda *leaves: np.mean(leaves, 0), *grads)
        grad["w"] = grad["w"] * moments[0].mask
        grad["w_out"] = np.mean([m.grad_out for m in moments], 0)
        own = jax.tree.map(lambda *leaves: np.stack(leaves), *owns)
        after = traces._replace(state=np.stack([m.s for m in moments]), own=own, shared=shared)
        forward = each(np.subtract, params["forward"], grad)
        return {**params, "forward": forward}, after, np.mean([m.loss for m in moments])

    return one_step


STEPS = {
    "bptt": bptt,
    "future_facing_bptt": future_facing_bptt,
    "rtrl": rtrl,
    "uoro": uoro,
    "kf_rtrl": kf_rtrl,
    "reverse_kf_rtrl": reverse_kf_rtrl,
    "kernl": kernl,
    "rflo": rflo,
    "snap": snap,
    "dni": dni,
    "dni_b": dni_b,
    "fixed_recurrent": fixed_recurrent,
}
OF_ONE_VARIABLE = ("kernl", "dni_b")

TEXTBOOK = {
    **{name: textbook(step, "leaky", name == "dni_b") for name, step in STEPS.items()},
    **{f"{name}_gru": textbook(step, "gru", name == "dni_b") for name, step in STEPS.items()},
    **{f"{name}_alif": textbook(step, "alif") for name, step in STEPS.items() if name not in OF_ONE_VARIABLE},
    **{f"eprop_{cell}": textbook(rflo, f"{cell}, D without the reset") for cell in ("lif", "alif")},
    "eprop": textbook(rflo, "alif, D without the reset"),
}
TEXTBOOK = {name: step for name, step in TEXTBOOK.items() if name in RULES}
