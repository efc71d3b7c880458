"""The online family in plain NumPy: one stream, one step at a time, float64, with SGD of w and w_out in the loop.

Written from the equations of the paper and of the authors' code, not from the library, and to be as fast as NumPy goes:
every buffer is allocated before the loop and every operation writes in place. It is the reference of the tests.

    rhat = [r; x; 1],  v = W rhat,  r <- (1 - alpha) r + alpha phi(v),  z = W_out [r; 1],  e = dL/dz,  q = e W_out

`ORACLES[name].run(w, w_out, w_fb, x, y, alpha=..., lr=..., noise=..., **options)` gives a dict: losses (T,), the final
w (n, m) and w_out (n_out, n + 1), the rule's traces under "state", and with ``record=True`` the gradients of w,
grads (T, n, m), of w_out, grads_out (T, n_out, n + 1), and the rates r (T, n). At lr = 0 the weights do not change.

Random numbers come in `noise`, a dict of arrays (see `Oracle.draw`); None draws them all at once with NumPy.
A rule is a function that takes the buffers of the forward step and returns its own step, which reads them and
leaves scale * gradient in `f.g`; the scale is folded into a vector of length n so that it costs no pass over a matrix.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

add, copyto, divide, dot, multiply, subtract = np.add, np.copyto, np.divide, np.dot, np.multiply, np.subtract
sqrt = math.sqrt

GUARD = 1e-7  # on both sides of each ratio of norms, as the library has it; the authors' code has none


class Oracle(NamedTuple):
    run: Callable[..., dict]
    draw: Callable[[np.random.Generator, int, int, int, int], dict]  # (rng, steps, n, m, n_out) -> noise


def _run(
    rule,
    w,
    w_out,
    w_fb,
    x,
    y,
    *,
    alpha,
    lr,
    noise=None,
    loss="softmax",
    activation="tanh",
    feedback="readout",
    immediate_gain=None,
    record=False,
    seed=0,
    **options,
):
    w, w_out, x, y = (np.array(array, np.float64) for array in (w, w_out, x, y))
    (n, m), (steps, n_out) = w.shape, y.shape
    if noise is None:
        noise = rule.draw(np.random.default_rng(seed), steps, n, m, n_out)
    linear, learning = activation == "identity", bool(lr)
    alpha, keep, scale = np.array(alpha, float), np.array(1.0 - alpha), np.array(lr or 1.0, float)  # 0-d: fast operands
    rhat, rb, v, ah, q, e = np.ones(m), np.ones(n + 1), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n_out)
    rec, inp, r, e_scaled, g_out = rhat[:n], rhat[n:-1], rb[:n], np.zeros((n_out, 1)), np.zeros_like(w_out)
    rb_row = rb[None]
    r[:] = 0.0
    e_row, w_rec = e_scaled[:, 0], w[:, :n]
    drive = np.full(n, float(alpha))  # alpha phi'(v)
    imm = drive.copy()  # the same, or its legacy form, in the immediate influence
    if immediate_gain is None:
        imm = drive
    ratio = None if immediate_gain is None else np.array(immediate_gain / alpha)
    back = w_out[:, :n] if feedback == "readout" else np.array(w_fb, np.float64)
    g, outputs = np.zeros_like(w), np.zeros((steps, n_out))
    f = SimpleNamespace(
        n=n, m=m, n_in=m - n - 1, n_out=n_out, alpha=alpha, keep=keep, linear=linear, scale=scale, w=w, w_rec=w_rec,
        rhat=rhat, rhat_row=rhat[None], rec=rec, r=r, imm=imm, drive=drive, q=q, g=g, x=x, y=y,
    )  # fmt: skip
    step, state = rule.build(f, noise, **options)  # the step, and readers of its traces
    frozen = rule is RULES["fixed_recurrent"]
    two, softmax = loss == "softmax" and n_out == 2, loss == "softmax"
    pairs = y.tolist() if two else None
    grads = np.zeros((steps, n, m)) if record else None
    grads_out = np.zeros((steps, n_out, n + 1)) if record else None
    rates = np.zeros((steps, n)) if record else None

    for t in range(steps):
        copyto(rec, r)
        copyto(inp, x[t])
        dot(w, rhat, v)
        if linear:
            multiply(v, alpha, ah)
            if ratio is not None:
                multiply(drive, ratio, imm)
        else:
            np.tanh(v, v)
            multiply(v, alpha, ah)
            if not frozen:
                multiply(v, ah, drive)
                subtract(alpha, drive, drive)
                if ratio is not None:
                    multiply(drive, ratio, imm)
        multiply(r, keep, r)
        add(r, ah, r)

        z = outputs[t]
        dot(w_out, rb, z)
        if two:
            z0, z1 = z.tolist()
            y0, y1 = pairs[t]
            p0 = 0.5 + 0.5 * math.tanh(0.5 * (z0 - z1))
            e[0] = p0 - y0
            e[1] = 1.0 - p0 - y1
        elif softmax:
            subtract(z, np.maximum.reduce(z), e)
            np.exp(e, e)
            divide(e, np.add.reduce(e), e)
            subtract(e, y[t], e)
        else:
            subtract(z, y[t], e)

        if not frozen:
            dot(e, back, q)
            step(t)
        multiply(e, scale, e_row)
        dot(e_scaled, rb_row, g_out)
        if record:
            divide(g, scale, grads[t])
            divide(g_out, scale, grads_out[t])
            rates[t] = r
        if learning:
            if not frozen:
                subtract(w, g, w)
            subtract(w_out, g_out, w_out)

    if softmax:
        top = outputs.max(1, keepdims=True)
        losses = -np.sum(y * (outputs - top - np.log(np.exp(outputs - top).sum(1, keepdims=True))), 1)
    else:
        losses = 0.5 * np.sum((outputs - y) ** 2, 1)
    result = {"losses": losses, "w": w, "w_out": w_out, "state": {k: a() for k, a in state.items()}}
    return {**result, "grads": grads, "grads_out": grads_out, "r": rates} if record else result


def _jacobian(f):
    """J = (1 - alpha) I + alpha D W_rec into one buffer, and the function that fills it."""
    j = np.zeros((f.n, f.n))
    diagonal, drive_col, w_rec, keep = j.reshape(-1)[:: f.n + 1], f.drive[:, None], f.w_rec, f.keep

    def fill():
        multiply(drive_col, w_rec, j)
        add(diagonal, keep, diagonal)

    return j, fill


def _nothing(rng, steps, n, m, n_out):
    return {}


def _fixed_recurrent(f, noise):
    return None, {}


def _rtrl(f, noise, decay=1.0):
    n, m, q, scale = f.n, f.m, f.q, f.scale
    j, fill = _jacobian(f)
    now, new = np.zeros((n, n * m)), np.zeros((n, n * m))  # M_kij as (k, i m + j)
    diagonals = {id(a): np.einsum("iij->ij", a.reshape(n, n, m)) for a in (now, new)}  # writable views of M_iij
    imm_col, rhat_row, p, g_flat, q_scaled = f.imm[:, None], f.rhat_row, np.zeros((n, m)), f.g.reshape(-1), np.zeros(n)

    def step(t):
        nonlocal now, new
        fill()
        if decay != 1.0:
            multiply(j, decay, j)
        dot(j, now, new)
        diagonal = diagonals[id(new)]
        dot(imm_col, rhat_row, p)
        add(diagonal, p, diagonal)
        multiply(q, scale, q_scaled)
        dot(q_scaled, new, g_flat)
        now, new = new, now

    return step, {"m": lambda: now.reshape(n, n, m)}


def _uoro(f, noise, rho0=None, rho1=None, guard=GUARD):
    n, g, q, scale, keep, drive, imm, w_rec, rhat = f.n, f.g, f.q, f.scale, f.keep, f.drive, f.imm, f.w_rec, f.rhat
    nus, a, b = noise["nu"], np.array(noise["a"], np.float64), np.array(noise["b"], np.float64)
    b_flat, ahead, post, p = b.reshape(-1), np.zeros(n), np.zeros((n, 1)), np.zeros_like(b)
    post_row, rhat_row = post[:, 0], f.rhat_row

    def step(t):
        nu = nus[t]
        dot(w_rec, a, ahead)
        multiply(ahead, drive, ahead)
        multiply(a, keep, a)
        add(a, ahead, a)  # a is now J a
        multiply(nu, imm, post_row)
        p0 = rho0
        if p0 is None:
            p0 = sqrt((sqrt(dot(b_flat, b_flat)) + guard) / (sqrt(dot(a, a)) + guard))
        p1 = rho1
        if p1 is None:
            p1 = sqrt((sqrt(dot(post_row, post_row) * dot(rhat, rhat)) + guard) / (sqrt(dot(nu, nu)) + guard))
        multiply(a, p0, a)
        multiply(nu, p1, ahead)
        add(a, ahead, a)
        multiply(b, 1.0 / p0, b)
        multiply(post, 1.0 / p1, post)
        dot(post, rhat_row, p)
        add(b, p, b)
        multiply(b, scale * dot(q, a), g)

    return step, {"a": lambda: a, "b": lambda: b}


def _draw_uoro(rng, steps, n, m, n_out):
    nu = rng.integers(0, 2, (steps, n)) * 2.0 - 1.0
    return {"a": rng.standard_normal(n), "b": rng.standard_normal((n, m)), "nu": nu}


def _kf_rtrl(f, noise, rho0=None, rho1=None, guard=GUARD):
    n, g, q, scale, imm, rhat = f.n, f.g, f.q, f.scale, f.imm, f.rhat
    j, fill = _jacobian(f)
    nus, a, b = np.asarray(noise["nu"]).tolist(), np.array(noise["a"]), np.array(noise["b"])
    ahead, fresh, left, row = np.zeros((n, n)), np.zeros(n), np.zeros((n, 1)), np.zeros(f.m)
    ahead_flat, diagonal, left_row, a_row = ahead.reshape(-1), b.reshape(-1)[:: n + 1], left[:, 0], a[None]

    def step(t):
        nu0, nu1 = nus[t]
        fill()
        dot(j, b, ahead)
        p0 = rho0
        if p0 is None:
            p0 = sqrt((sqrt(dot(ahead_flat, ahead_flat)) + guard) / (sqrt(dot(a, a)) + guard))
        p1 = rho1
        if p1 is None:
            p1 = sqrt((sqrt(dot(imm, imm)) + guard) / (sqrt(dot(rhat, rhat)) + guard))
        multiply(a, nu0 * p0, a)
        multiply(rhat, nu1 * p1, row)
        add(a, row, a)
        multiply(ahead, nu0 / p0, b)
        multiply(imm, nu1 / p1, fresh)
        add(diagonal, fresh, diagonal)
        dot(q, b, left_row)
        multiply(left, scale, left)
        dot(left, a_row, g)

    return step, {"a": lambda: a, "b": lambda: b}


def _draw_kf_rtrl(rng, steps, n, m, n_out):
    nu = rng.integers(0, 2, (steps, 2)) * 2.0 - 1.0
    return {"a": rng.standard_normal(m), "b": rng.standard_normal((n, n)), "nu": nu}


def _reverse_kf_rtrl(f, noise, rho0=None, rho1=None, guard=GUARD):
    n, m, g, q, scale, imm, rhat = f.n, f.m, f.g, f.q, f.scale, f.imm, f.rhat
    j, fill = _jacobian(f)
    nus, a, b = noise["nu"], np.array(noise["a"], np.float64), np.array(noise["b"], np.float64)
    ahead, fresh, post, p, right, left = (np.zeros(s) for s in ((n, m), n, (n, 1), (n, m), m, (n, 1)))
    ahead_flat, post_row, left_row, right_row, rhat_row = (
        ahead.reshape(-1),
        post[:, 0],
        left[:, 0],
        right[None],
        f.rhat_row,
    )

    def step(t):
        nu = nus[t]
        fill()
        dot(j, b, ahead)
        multiply(nu, imm, post_row)
        p0 = rho0
        if p0 is None:
            p0 = sqrt((sqrt(dot(ahead_flat, ahead_flat)) + guard) / (sqrt(dot(a, a)) + guard))
        p1 = rho1
        if p1 is None:
            p1 = sqrt((sqrt(dot(post_row, post_row) * dot(rhat, rhat)) + guard) / (sqrt(dot(nu, nu)) + guard))
        multiply(a, p0, a)
        multiply(nu, p1, fresh)
        add(a, fresh, a)
        multiply(ahead, 1.0 / p0, b)
        multiply(post, 1.0 / p1, post)
        dot(post, rhat_row, p)
        add(b, p, b)
        dot(q, b, right)
        multiply(a, scale, left_row)
        dot(left, right_row, g)

    return step, {"a": lambda: a, "b": lambda: b}


def _rflo(f, noise, leak=None):
    n, m, g, q, scale, rhat_row, imm_col = f.n, f.m, f.g, f.q, f.scale, f.rhat_row, f.imm[:, None]
    keep = np.array(1.0 - (f.alpha if leak is None else leak))
    b, p, left = np.zeros((n, m)), np.zeros((n, m)), np.zeros((n, 1))
    left_row = left[:, 0]

    def step(t):
        multiply(b, keep, b)
        dot(imm_col, rhat_row, p)
        add(b, p, b)
        multiply(q, scale, left_row)
        multiply(left, b, g)

    return step, {"b": lambda: b}


def _kernl(f, noise, learning_rate=5.0, sigma=1e-3, initial_leak=0.8, aligned=True):
    n, m, n_in, alpha, keep, linear, w, x, r = f.n, f.m, f.n_in, f.alpha, f.keep, f.linear, f.w, f.x, f.r
    g, q, scale, rhat_row, imm_col = f.g, f.q, f.scale, f.rhat_row, f.imm[:, None]
    zetas = sigma * np.asarray(noise["normals"])
    a, leak, kappa, b, p = (
        np.eye(n),
        np.full(n, float(initial_leak)),
        np.zeros((n, 1)),
        np.zeros((n, m)),
        np.zeros((n, m)),
    )
    kappa_row = kappa[:, 0]
    noisy, noisy_hat, h, zeta = np.zeros(n), np.ones(m), np.zeros(n), np.zeros(n)
    noisy_rec, noisy_in = noisy_hat[:n], noisy_hat[n : n + n_in]
    omega, gamma, err, back, da = np.zeros(n), np.zeros(n), np.zeros((n, 1)), np.zeros(n), np.zeros((n, n))
    err_row, left = err[:, 0], np.zeros((n, 1))
    left_row, omega_row, eta, one, zero = left[:, 0], omega[None], *map(np.array, (float(learning_rate), 1.0, 0.0))

    def step(t):
        nonlocal zeta
        add(noisy, zeta, noisy_rec)  # last step's noise moves the copy, which then takes a step of the dynamics
        copyto(noisy_in, x[t])
        dot(w, noisy_hat, h)
        if not linear:
            np.tanh(h, h)
        multiply(h, alpha, h)
        multiply(noisy_rec, keep, noisy)
        add(noisy, h, noisy)
        subtract(one, leak, kappa_row)
        np.maximum(kappa_row, zero, out=kappa_row)
        zeta = zetas[t]
        multiply(gamma, kappa_row, gamma)
        subtract(gamma, omega, gamma)
        multiply(omega, kappa_row, omega)
        add(omega, zeta, omega)
        multiply(b, kappa, b)
        dot(imm_col, rhat_row, p)
        add(b, p, b)

        dot(a, omega, err_row)
        subtract(err_row, noisy, err_row)
        add(err_row, r, err_row)
        if aligned:
            subtract(err_row, zeta, err_row)
        dot(err_row, a, back)
        multiply(err_row, eta, err_row)
        dot(err, omega_row, da)
        subtract(a, da, a)
        multiply(back, gamma, back)
        multiply(back, eta, back)
        subtract(leak, back, leak)

        dot(q, a, left_row)
        multiply(left_row, scale, left_row)
        multiply(left, b, g)

    return step, {"a": lambda: a, "leak": lambda: leak}


def _draw_normals(rng, steps, n, m, n_out):
    return {"normals": rng.standard_normal((steps, n))}


def _dni(
    f,
    noise,
    learning_rate=1e-3,
    jacobian="exact",
    jacobian_learning_rate=1e-3,
    label="identity",
    target_interval=5,
    printed_sign=False,
):
    n, n_out, g, q, scale, keep, drive, imm, w_rec = f.n, f.n_out, f.g, f.q, f.scale, f.keep, f.drive, f.imm, f.w_rec
    rhat_row, r_tm1, r, y, squash = f.rhat_row, f.rec, f.r, f.y, label == "tanh"
    a = np.array(noise["a"], np.float64)
    a_target, da = a.copy(), np.zeros_like(a)
    jc = np.array(w_rec) if jacobian == "learned" else None
    sign = -1.0 if printed_sign else 1.0  # eq. 3 as printed has the wrong sign
    eta, eta_j, r_tm1_row = np.array(float(learning_rate)), np.array(sign * jacobian_learning_rate), f.rec[None]
    now, old, boot, err, miss = (
        np.ones(n + n_out + 1),
        np.ones(n + n_out + 1),
        np.zeros(n),
        np.zeros((n, 1)),
        np.zeros((n, 1)),
    )
    err_row, miss_row, q_tm1, future, dj, left = err[:, 0], miss[:, 0], np.zeros(n), np.zeros(n), np.zeros((n, n)), None
    now_r, now_y, left = now[:n], now[n : n + n_out], np.zeros((n, 1))
    left_row, old_row = left[:, 0], old[None]
    old[:n] = 0.0
    old[n : n + n_out] = y[0]

    def step(t):
        copyto(now_r, r)
        copyto(now_y, y[t])
        dot(a_target, now, future)
        if squash:
            np.tanh(future, future)
        if jc is None:  # future J
            multiply(future, drive, left_row)
            dot(left_row, w_rec, boot)
            multiply(future, keep, future)
            add(boot, future, boot)
        else:
            dot(jc, r_tm1, miss_row)
            subtract(miss_row, r, miss_row)
            multiply(miss_row, eta_j, miss_row)
            dot(miss, r_tm1_row, dj)
            subtract(jc, dj, jc)
            dot(future, jc, boot)
        dot(a, old, err_row)
        subtract(err_row, q_tm1, err_row)
        subtract(err_row, boot, err_row)
        multiply(err_row, eta, err_row)
        dot(err, old_row, da)
        subtract(a, da, a)
        if (t + 1) % target_interval == 0:
            copyto(a_target, a)
        dot(a, now, left_row)
        multiply(left_row, imm, left_row)
        multiply(left_row, scale, left_row)
        dot(left, rhat_row, g)
        copyto(old, now)
        copyto(q_tm1, q)

    return step, {"a": lambda: a, "a_target": lambda: a_target, "jacobian": lambda: jc}


def _dni_b(f, noise, **options):
    return _dni(f, noise, **{"jacobian": "learned", "label": "tanh", **options})


def _draw_dni(rng, steps, n, m, n_out):
    m_out = n + n_out + 1
    return {"a": rng.standard_normal((n, m_out)) / math.sqrt(m_out)}


def _bptt(f, noise, window=10):
    n, m, g, q, scale, keep, drive, imm, w_rec, rhat = (
        f.n, f.m, f.g, f.q, f.scale, f.keep, f.drive, f.imm, f.w_rec, f.rhat,
    )  # fmt: skip
    drives, imms, hats, credits = (np.zeros((window, size)) for size in (n, n, m, n))
    same, c, u = imm is drive, np.zeros(n), np.zeros(n)
    if same:
        imms = drives
    order, left = list(range(window - 2, -1, -1)), np.zeros((n, window))

    def step(t):
        s = t % window
        drives[s] = drive
        if not same:
            imms[s] = imm
        hats[s] = rhat
        credits[s] = q
        if s < window - 1:
            if s == 0:
                g[:] = 0.0
            return
        copyto(c, q)
        for s in order:  # c^s = q^s + c^{s+1} J^{s+1}
            multiply(c, drives[s + 1], u)
            multiply(c, keep, c)
            dot(u, w_rec, u2)
            add(c, u2, c)
            row = credits[s]
            add(c, row, c)
            copyto(row, c)
        multiply(credits, imms, credits)
        multiply(credits.T, scale, left)
        dot(left, hats, g)

    u2 = np.zeros(n)
    return step, {}


def _future_facing_bptt(f, noise, window=10):
    n, m, g, q, scale, drive, imm, rhat, w_rec = f.n, f.m, f.g, f.q, f.scale, f.drive, f.imm, f.rhat, f.w_rec
    same, drives, hats, credits = imm is drive, np.zeros((window, n)), np.zeros((window, m)), np.zeros((window, n))
    imms = drives if same else np.zeros((window, n))
    # One product per lag: [q * drive; q] (2n) times [W_rec; (1 - alpha) I] (2n, n) is q J.
    pairs = np.zeros((window, 2 * n))
    both = np.concatenate([np.zeros((n, n)), f.keep * np.eye(n)])
    arriving, both_rec, left = pairs[:, n:], both[:n], np.zeros((n, 1))
    left_row = left[:, 0]
    chains = []  # for a newest step in slot s: from each slot to the slot before it, window - 1 products
    for s in range(window):
        slots = [(s - i) % window for i in range(window)]
        chains.append([(pairs[i, n:], drives[i], pairs[i, :n], pairs[i], pairs[k, n:]) for i, k in pairwise(slots)])

    def step(t):
        s = t % window
        copyto(both_rec, w_rec)
        drives[s] = drive
        if not same:
            imms[s] = imm
        hats[s] = rhat
        credits[s] = 0.0
        pairs[s, n:] = q
        for q_s, drive_s, product, pair, q_before in chains[s]:
            multiply(q_s, drive_s, product)
            dot(pair, both, q_before)
        add(credits, arriving, credits)
        s = (t + 1) % window  # the oldest
        multiply(credits[s], imms[s], left_row)
        multiply(left_row, scale, left_row)
        dot(left, hats[s : s + 1], g)

    return step, {}


class _Rule(NamedTuple):
    build: Callable
    draw: Callable = _nothing


RULES = {
    "bptt": _Rule(_bptt),
    "future_facing_bptt": _Rule(_future_facing_bptt),
    "rtrl": _Rule(_rtrl),
    "uoro": _Rule(_uoro, _draw_uoro),
    "kf_rtrl": _Rule(_kf_rtrl, _draw_kf_rtrl),
    "reverse_kf_rtrl": _Rule(_reverse_kf_rtrl, _draw_uoro),
    "kernl": _Rule(_kernl, _draw_normals),
    "rflo": _Rule(_rflo),
    "dni": _Rule(_dni, _draw_dni),
    "dni_b": _Rule(_dni_b, _draw_dni),
    "fixed_recurrent": _Rule(_fixed_recurrent),
}


def _oracle(name):
    def run(*args, **options):
        if name == "dni_b":
            options.setdefault("feedback", "random")
        return _run(RULES[name], *args, **options)

    return Oracle(run, RULES[name].draw)


ORACLES: dict[str, Oracle] = {name: _oracle(name) for name in RULES}


def problem(n, steps, alpha=0.5, lags=(3, 5), seed=0):
    """Weights as in the paper, and the Add task at tau = 1 / alpha: the arguments of a run, as a dict."""
    rng = np.random.default_rng(seed)
    n_in = n_out = 2
    w_rec = np.linalg.qr(rng.standard_normal((n, n)))[0]
    w = np.concatenate([w_rec, rng.standard_normal((n, n_in)) / n_in**0.5, np.zeros((n, 1))], 1)
    w_out = np.concatenate([rng.standard_normal((n_out, n)) / n**0.5, np.zeros((n_out, 1))], 1)
    tau, first = round(1 / alpha), max(lags)
    bits = rng.integers(0, 2, steps // tau + 1 + first).astype(float)
    k = first + np.arange(steps) // tau
    p = 0.5 + 0.5 * bits[k - lags[0]] - 0.25 * bits[k - lags[1]]
    x, y = np.stack([bits[k], 1 - bits[k]], 1), np.stack([p, 1 - p], 1)
    return {
        "w": w,
        "w_out": w_out,
        "w_fb": rng.standard_normal((n_out, n)) / n_out**0.5,
        "x": x,
        "y": y,
        "alpha": alpha,
    }
