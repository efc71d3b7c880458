"""Losses and gradients of flax modules by autodiff, and those of rules, step by step. Everything is float64."""

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.typing import Example
from tests.rules.helpers import first

N_IN, N, N_OUT, STEPS = 3, 5, 2, 8


def stream(seed=0, steps=STEPS, silent=0):
    """One stream of soft targets; `silent` more steps at its end have no input and no loss."""
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((steps, 1, N_IN)), np.exp(2 * rng.standard_normal((steps, 1, N_OUT)))
    y, weight = y / y.sum(-1, keepdims=True), np.ones((steps, 1))

    def longer(array):
        return jnp.asarray(np.concatenate([array, np.zeros((silent, *array.shape[1:]))]))

    return Example(longer(x), longer(y), None, longer(weight) if silent else None)


def random_like(tree, seed=0, scale=0.6):
    """A tree of normal numbers, so that no weight and no bias is zero."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(scale * rng.standard_normal(leaf.shape)), tree)


def flax_params(module, seed=0):
    """Random params of a module in float64."""
    carry = module.initialize_carry(jax.random.key(0), (N_IN,))
    return random_like(jax.eval_shape(module.init, jax.random.key(0), carry, jnp.zeros(N_IN))["params"], seed)


def readout(k, seed=1):
    return random_like(jnp.zeros((N_OUT, k + 1)), seed)


def flax_outputs(module, params, xs):
    """The module's output at each step, from its own initial carry."""
    carry = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), module.initialize_carry(jax.random.key(0), (N_IN,)))
    return jax.lax.scan(lambda carry, x: module.apply({"params": params}, carry, x), carry, xs)[1]


def flax_loss(module, params, w_out, examples):
    """The cross-entropies of all steps, summed."""
    y = flax_outputs(module, params, examples.x[:, 0])
    z = y @ w_out[:, :-1].T + w_out[:, -1][None]
    log_p = z - jnp.log(jnp.sum(jnp.exp(z), -1, keepdims=True))
    return -jnp.sum(examples.y[: len(z), 0] * log_p)


def flax_gradients(module, params, w_out, examples):
    """The gradients of `flax_loss` by the module's params and by the readout."""
    return jax.jit(jax.grad(lambda p, w: flax_loss(module, p, w, examples), argnums=(0, 1)))(params, w_out)


def held(rule, params, examples, key=None, own=None):
    """``params["forward"]``'s updates at every step, with fixed weights; `own` replaces the rule's traces."""

    @jax.jit
    def run(params, examples, key, own):
        key_init, key_run = jax.random.split(key)
        start = rule.init(params, key_init, first(examples))

        def body(traces, at):
            t, batch = at
            updates, traces, _ = rule.update(params, traces, jax.random.fold_in(key_run, t), batch)
            return traces, updates["forward"]

        traces = start if own is None else start._replace(own=own)
        return jax.lax.scan(body, traces, (jnp.arange(len(examples.x)), examples))[1]

    return run(params, examples, jax.random.key(0) if key is None else key, own)


def summed(tree):
    """The sum over steps."""
    return jax.tree.map(lambda leaf: jnp.sum(leaf, 0), tree)


def all_close(actual, expected, tolerance=1e-10):
    """Asserts equality to a tolerance relative to each leaf's largest entry, which must not be zero."""

    def close(a, b):
        a, b = np.asarray(a), np.asarray(b)
        assert a.shape == b.shape
        assert np.abs(b).max() > 1e-4
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max())

    jax.tree.map(close, actual, expected)


def z_scores(samples, mean):
    """z of the mean of every entry of many estimates of a tree, and of its projection on the expected one."""
    samples = np.concatenate([np.asarray(leaf).reshape(len(leaf), -1) for leaf in jax.tree.leaves(samples)], 1)
    mean = np.concatenate([np.asarray(leaf).reshape(-1) for leaf in jax.tree.leaves(mean)])
    samples, mean = np.append(samples, samples @ mean[:, None], 1), np.append(mean, mean @ mean)
    spread = samples.std(0) / len(samples) ** 0.5
    live = spread > 0  # 0 in every estimate where there is no connection
    assert not mean[~live].any()
    return (samples.mean(0) - mean)[live] / spread[live]


def estimates(rule, params, examples, count, spread=0.1):
    """The last updates of many runs of a stochastic rule, each with its own noise and factors ~ N(0, spread^2)."""
    start = rule.init(params, jax.random.key(0), first(examples))
    rng = np.random.default_rng(3)
    own = jax.tree.map(lambda leaf: jnp.asarray(spread * rng.standard_normal((count, *leaf.shape))), start.own)

    def run(own, key):
        return jax.tree.map(lambda leaf: leaf[-1], held(rule, params, examples, key, own))

    return jax.jit(jax.vmap(run))(own, jax.random.split(jax.random.key(3), count))


def whole_jacobians(cell, s, v):
    """``(ds'/ds, ds'/dv)`` of `update`, (S, n, S, n) and (S, n, G, n), every neuron by every neuron."""
    return jax.jacfwd(lambda s, v: cell.update({}, s, v), argnums=(0, 1))(s, v)


def diagonal(jacobian):
    """The entries within each neuron, (S, K, n); all others must be zero."""
    n = jacobian.shape[1]
    apart = np.where(np.eye(n, dtype=bool)[None, :, None, :], 0, np.asarray(jacobian))
    assert not apart.any()
    return np.einsum("aibi->abi", np.asarray(jacobian))
