"""SnAp against a plain NumPy loop over whole influence tensors, with zeros outside of the pattern.

The loop carries M_k,gij for every number k of the state, masks it by a reachability that is written here by walking the
graph of connections, and multiplies by Jacobians by finite structure: a leaky network with a mask, and a cell of two
variables and two gates. Nothing of the rule's own layout is in it.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.cells import Cell, init_params, leaky, neurons
from plasticity_jax.rules import online
from plasticity_jax.typing import Example
from tests.rules.helpers import close, differ, hold

N, N_IN, N_OUT, STEPS = 6, 2, 3, 12
RING = np.eye(N, dtype=bool) | np.roll(
    np.eye(N, dtype=bool), 1, 0
)  # neuron i receives from itself and the one before it


def two_variables(own, s, v):
    """A gated rate and a trace of it: r' = keep r + tanh(v_0 - w), w' = w / 2 + sigmoid(v_1) r."""
    return jnp.stack([own["keep"] * s[0] + jnp.tanh(v[0] - s[1]), 0.5 * s[1] + jax.nn.sigmoid(v[1]) * s[0]])


def two_by_hand(keep, s, v):
    """The same in NumPy, with D, b and the gain of `keep`."""
    h, gate, rest = np.tanh(v[0] - s[1]), 1 / (1 + np.exp(-v[1])), np.zeros_like(s[0])
    slope = 1 - h * h
    after = np.stack([keep * s[0] + h, 0.5 * s[1] + gate * s[0]])
    d = np.array([[keep + rest, -slope], [gate, rest + 0.5]])
    b = np.array([[slope, rest], [rest, gate * (1 - gate) * s[0]]])
    return after, d, b, np.stack([s[0], rest])


def leaky_by_hand(keep, s, v):
    h = np.tanh(v[0])
    return (0.5 * (s[0] + h))[None], np.full((1, 1, N), 0.5), (0.5 * (1 - h * h))[None, None], np.zeros((1, N))


def cell_of(kind, mask=None):
    if kind == "leaky":
        return leaky(N_IN, N, N_OUT, mask=mask)
    return neurons(
        n_in=N_IN,
        n=N,
        n_out=N_OUT,
        update=two_variables,
        variables=("rate", "trace"),
        gates=("drive", "write"),
        own={"keep": 0.4},
        mask=mask,
    )


@functools.cache
def network(kind, ring):
    cell = cell_of(kind, RING if ring else None)
    params = init_params(jax.random.key(4), cell)
    rng = np.random.default_rng(2)
    w = params["forward"]["w"]
    params["forward"]["w"] = w.at[:, :, -1].set(0.3 * rng.standard_normal(w.shape[:2]))
    x = jnp.asarray(rng.standard_normal((STEPS, 1, N_IN)))
    return cell, params, Example(x, jnp.asarray(rng.dirichlet(np.ones(N_OUT), (STEPS, 1))))


def pattern(w, steps, variables):
    """True where weight (g, i, j) reaches s_ak within `steps` steps of the network, by walking from neuron i."""
    connected = (w[:, :, :N] != 0).any(0)
    reached = np.eye(N, dtype=bool)
    for _ in range(steps - 1):
        for i in range(N):
            for k in list(np.flatnonzero(reached[i])):
                reached[i] |= connected[:, k]
    return np.broadcast_to(reached.T[None, :, None, :], (variables, N, len(w), N))  # (a, k, g, i)


def oracle(kind, ring, steps):
    """Gradients of W and keep at every step, and the whole influence at the last."""
    cell, params, examples = network(kind, ring)
    by_hand = leaky_by_hand if kind == "leaky" else two_by_hand
    w, w_out = (np.asarray(params["forward"][name]) for name in ("w", "w_out"))
    keep = np.asarray(params["forward"].get("own", {}).get("keep", 0.0))
    gates, _, m = w.shape
    rows = len(cell.variables)
    in_pattern = pattern(w, steps, rows)[..., None]
    s, big = np.zeros((rows, N)), np.zeros((rows, N, gates, N, m))
    of_keep = np.zeros((rows, N, N))
    gradients = []
    for x, y in zip(np.asarray(examples.x[:, 0]), np.asarray(examples.y[:, 0]), strict=True):
        rhat = np.concatenate([s[0], x, [1.0]])
        s, d, b, p = by_hand(keep, s, w @ rhat)
        j = np.einsum("agi,gik->aik", b, w[:, :, :N])  # by the first variable, which others receive
        full = np.zeros((rows, N, rows, N))
        full[:, :, 0] = j
        for i in range(N):
            full[:, i, :, i] += d[:, :, i]
        big, of_keep = np.einsum("aibk,bkglm->aiglm", full, big), np.einsum("aibk,bkl->ail", full, of_keep)
        for i in range(N):
            big[:, i, :, i] += b[:, :, i, None] * rhat
            of_keep[:, i, i] += p[:, i]
        big, of_keep = big * in_pattern, of_keep * in_pattern[:, :, 0, :, 0]
        z = w_out @ np.append(s[0], 1.0)
        q = (np.exp(z) / np.exp(z).sum() - y) @ w_out[:, :N]
        gradients.append((np.einsum("k,kglm->glm", q, big[0]), np.einsum("k,kl->l", q, of_keep[0])))
    mask = np.ones(w.shape) if cell.mask is None else cell.mask
    return np.stack([g for g, _ in gradients]) * mask, np.stack([g for _, g in gradients])


@functools.cache
def run(kind, ring, name="snap", **options):
    cell, params, examples = network(kind, ring)
    rule = getattr(online, name)(cell, **options)

    def all_steps(traces, batch):
        updates, traces, _ = rule.update(params, traces, jax.random.key(0), batch)
        return traces, updates["forward"]

    start = rule.init(params, jax.random.key(0), jax.tree.map(lambda a: a[0], examples))
    return jax.jit(lambda: jax.lax.scan(all_steps, start, examples))()


@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("ring", [True, False], ids=["ring", "full"])
@pytest.mark.parametrize("kind", ["leaky", "two variables"])
def test_snap_equals_the_masked_influence(kind, ring, steps):
    g, g_keep = oracle(kind, ring, steps)
    updates = run(kind, ring, n=steps)[1]
    close(updates["w"], g, 1e-12)
    if kind != "leaky":
        close(updates["own"]["keep"], g_keep, 1e-12)
    exact = run(kind, ring, "rtrl")[1]["w"]
    if ring or steps == 1:  # the omitted part matters
        differ(g, exact, 1e-4 if ring and steps == 3 else 1e-3)
    else:
        close(updates["w"], exact, 1e-12)


@pytest.mark.parametrize("kind", ["leaky", "two variables"])
def test_reach_grows_until_it_is_rtrl(kind):
    """Each step of reach adds a neuron on a ring of six; six steps reach all."""
    exact = run(kind, True, "rtrl")[1]["w"]
    distances = [np.linalg.norm(run(kind, True, n=n)[1]["w"] - exact) for n in (1, 2, 3, N)]
    assert distances[0] > distances[1] > distances[2] > 1e4 * distances[3]
    close(run(kind, True, n=N)[1]["w"], exact, 1e-12)
    widths = [run(kind, True, n=n)[0].own.influence["w"].shape[-1] for n in (2, 3, N)]
    variables = 1 if kind == "leaky" else 2
    assert widths == [2 * variables, 3 * variables, N * variables]


def test_one_step_is_rflo_with_the_synapse_on_itself():
    """The two are equal if a mask removes that synapse, and differ with it."""
    alone = ~np.eye(N, dtype=bool)
    _, params, examples = network("leaky", False)
    rules = [make(leaky(N_IN, N, N_OUT, mask=mask)) for make in (online.snap, online.rflo) for mask in (alone, None)]
    masked, whole, rflo, rflo_whole = jax.jit(
        lambda: [hold(rule, params, examples, jax.random.key(0))[0] for rule in rules]
    )()
    close(masked, rflo, 1e-14)
    differ(whole, rflo_whole, 1e-3)


def as_any_cell():
    """The ring as a cell of tier one: the same equations with a matrix each for neurons, inputs and biases."""
    _, params, examples = network("leaky", True)
    w = params["forward"]["w"][0]
    parts = {"rec": w[:, :N], "in": w[:, N:-1], "bias": w[:, -1]}

    def step(p, r, x):
        return 0.5 * r + 0.5 * jnp.tanh(jnp.where(RING, p["rec"], 0) @ r + p["in"] @ x + p["bias"])

    cell = Cell(lambda key: parts, lambda: jnp.zeros(N), step, lambda r: r, N_IN, N_OUT)
    return cell, {**params, "forward": {"cell": parts, "w_out": params["forward"]["w_out"]}}, examples


@pytest.mark.parametrize("steps", [1, 2, N])
def test_tier_one_finds_the_same_pattern(steps):
    cell, params, examples = as_any_cell()
    rule = online.snap(cell, n=steps)
    start = rule.init(params, jax.random.key(0), jax.tree.map(lambda a: a[0], examples))

    def body(traces, batch):
        updates, traces, _ = rule.update(params, traces, jax.random.key(0), batch)
        return traces, updates["forward"]["cell"]

    parts = jax.jit(lambda: jax.lax.scan(body, start, examples)[1])()
    gradients = jnp.concatenate([parts["rec"], parts["in"], parts["bias"][..., None]], -1)
    close(gradients, oracle("leaky", True, steps)[0][:, 0], 1e-12)


@pytest.mark.parametrize("n", [0, -1])
def test_fewer_than_one_step_is_refused(n):
    with pytest.raises(ValueError, match=f"n={n} must be a whole number of at least 1"):
        online.snap(leaky(N_IN, N, N_OUT), n=n)
