"""Spiking networks as plain loops, with straight-through spikes, and a rule's updates at every step. All float64."""

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.cells import init_params
from plasticity_jax.cells.leaky_readout import NAME
from plasticity_jax.typing import Example

N_IN, N, N_OUT, STEPS = 3, 6, 2, 12
KEY = jax.random.key(0)


def straight_through(x):
    """A step function with the derivative 0.3 max(0, 1 - |x|), that of a soft function."""
    c = jnp.clip(x, -1, 1)
    soft = 0.3 * (c - c * jnp.abs(c) / 2)
    return soft + jax.lax.stop_gradient((x > 0) - soft)


def problem(cell, steps=STEPS, seed=3, scale=2.0):
    """Params that make the network spike, and a stream of one."""
    rng = np.random.default_rng(seed)
    params = init_params(jax.random.key(seed), cell, jnp.float64)
    w = params["forward"]["w"]
    params["forward"]["w"] = scale * w + 0.2 * rng.standard_normal(w.shape)
    if "own" in params["forward"]:
        own = params["forward"]["own"]
        params["forward"]["own"] = {name: value * (1 - 0.1 * rng.random(cell.n)) for name, value in own.items()}
    x = rng.standard_normal((steps, 1, N_IN))
    y = jax.nn.softmax(jnp.asarray(2 * rng.standard_normal((steps, 1, N_OUT))))
    return params, Example(jnp.asarray(x), y)


def loop(forward, x, y, fixed, *, fire=straight_through, zero=False, blind=False, refractory=0):
    """Losses (T,) and spikes (T, n); `fixed` holds the fixed parameters, `blind` hides the reset from derivatives."""
    p = {**fixed, **forward.get("own", {})}
    w, w_out = forward["w"][0], forward["w_out"]
    n = w.shape[0]
    adapts, filters = "strength" in p, NAME in p

    def fired(u, a, quiet):
        return jnp.where(quiet > 0, 0.0, fire(u - 1 - a))

    def body(carry, at):
        u, a, quiet, f = carry
        x, y = at
        z = fired(u, a, quiet)
        resets = jax.lax.stop_gradient(z) if blind else z
        v = w @ jnp.concatenate([z, x, jnp.ones(1)])
        u = p["decay"] * (u * (1 - resets) if zero else u) + v / p["threshold"] - (0 if zero else resets)
        a = p["adaptation_decay"] * a + p["strength"] * z if adapts else a
        quiet = jnp.where(z > 0.5, refractory, jnp.maximum(quiet - 1, 0))
        z = fired(u, a, quiet)
        f = p[NAME] * f + z if filters else z
        logits = w_out @ jnp.append(f, 1.0)
        return (u, a, quiet, f), (jax.nn.logsumexp(logits) - y @ logits, z)

    start = (jnp.zeros(n), jnp.zeros(n), jnp.zeros(n, jnp.asarray(refractory).dtype), jnp.zeros(n))
    return jax.lax.scan(body, start, (x[:, 0], y[:, 0]))[1]


def updates_of(rule, params, examples):
    """The rule's updates for the forward weights at every step, at fixed weights, leaves (T, ...)."""

    def body(traces, batch):
        updates, traces, _ = rule.update(params, traces, KEY, batch)
        return traces, updates["forward"]

    def run(params, examples):
        return jax.lax.scan(body, rule.init(params, KEY, jax.tree.map(lambda leaf: leaf[0], examples)), examples)[1]

    return jax.jit(run)(params, examples)


def by_autodiff_of(params, examples, fixed, **options):
    """dL^t / d forward for every t, leaves (T, ...), and the spikes."""
    x, y = examples.x, examples.y

    def both(forward):
        return jax.jacrev(lambda forward: loop(forward, x, y, fixed, **options), has_aux=True)(forward)

    return jax.jit(both)(params["forward"])


def close(actual, expected, tolerance=1e-10):
    """Asserts that every leaf is equal to a tolerance relative to its largest entry."""

    def leaf(a, b):
        assert a.shape == b.shape
        assert np.abs(b).max() > 0, "an equality of zeros is vacuous"
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())

    jax.tree.map(leaf, actual, expected)


def differ(actual, expected, least=1e-2):
    """Asserts that some leaf differs by more than `least` of its largest entry."""
    apart = jax.tree.map(lambda a, b: float(np.abs(a - b).max() / np.abs(b).max()), actual, expected)
    assert max(jax.tree.leaves(apart)) > least


def lively(z):
    """Asserts that the network is neither silent nor always firing."""
    assert 0.05 < np.mean(z) < 0.7
    assert np.asarray(z).any(0).sum() > z.shape[1] / 2


def diagonal_derivatives(cell, own, s, v):
    """(decay, gain, own_gain) of `update` by dense Jacobians, which must be diagonal in the neurons."""
    n = s.shape[1]
    dense = jax.jit(jax.jacfwd(cell.update, (0, 1, 2)))(own, s, v)
    i = jnp.arange(n)

    def diagonal(full):
        off = full.at[:, i, ..., i].set(0) if full.ndim == 3 else full.at[:, i, :, i].set(0)
        assert not np.any(off)
        return full[:, i, i] if full.ndim == 3 else jnp.moveaxis(full[:, i, :, i], 0, -1)

    by_own, by_s, by_v = dense
    columns = [diagonal(by_own[name]) for name in sorted(own)]
    own_gain = jnp.stack(columns, 1) if columns else jnp.zeros((len(s), 0, n))
    return diagonal(by_s), diagonal(by_v), own_gain


def slope_by_differences(f, theta, step=2e-4):
    """df/dtheta for scalar theta, to the fourth order."""
    return (8 * (f(theta + step) - f(theta - step)) - (f(theta + 2 * step) - f(theta - 2 * step))) / (12 * step)
