"""The meta-gradient through lives of an ALIF network by e-prop: by finite differences, and by a loop written out."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from experiments.bellec2020.alif_meta_lives import TINY, Body, Task, life_of, lives, theta_at_start
from plasticity_jax.meta import meta_gradient, outcome
from tests.laws.common import compiled

N_IN, N, N_OUT = 4, 3, 2
TASK = Task({"cue": 2, "gap": 1, "delay": 2, "recall": 2}, cues=1, channels=1, rate=0.8, bias=0.7, batch=2, query=4)
UPDATES, RATES, DT, TAU, STRENGTH = 9, (0.4, 0.2), 20.0, 30.0, 0.3


def body(spike=None):
    return Body((N_IN, N, N_OUT), DT, TAU, 80.0, STRENGTH, 3.0, spike)


def theta():
    """Theta with different constants for every neuron."""
    start = theta_at_start(body(), jax.random.key(3))
    return {**start, "constants": {k: v + 0.2 * jnp.arange(N) for k, v in start["constants"].items()}}


def smooth(x):
    """A smooth step, whose derivative is its surrogate."""
    return jax.nn.sigmoid(4 * x)


@functools.cache
def batch():
    stream = lives(body(), TASK, UPDATES, 2)
    return jax.tree.map(lambda leaf: leaf[0], stream.take(stream.init(jax.random.key(0)), 1)[1])


def gradient(life):
    def run(theta, batch):
        updates, _, info = meta_gradient(life, remat=False).update(theta, (), jax.random.key(1), batch)
        return updates, info.loss, info.aux

    return compiled(run)(theta(), batch())


def test_smooth_neurons_by_finite_differences():
    life = life_of(body(smooth), TASK, RATES)
    updates, loss, _ = gradient(life)
    flat, unravel = ravel_pytree(theta())
    assert flat.dtype == jnp.float64

    def total(flat):
        return jnp.mean(
            jax.vmap(lambda one: outcome(life, unravel(flat), jax.random.key(1), one, remat=False)[0])(batch())
        )

    step = 1e-6 * np.eye(len(flat))
    at = compiled(jax.vmap(total))(jnp.concatenate([flat + step, flat - step, flat[None]]))
    assert float(at[-1]) == pytest.approx(float(loss), rel=1e-12)
    wanted = (at[: len(flat)] - at[len(flat) : -1]) / 2e-6
    assert np.abs(wanted).min() > 1e-5
    np.testing.assert_allclose(ravel_pytree(updates)[0], wanted, rtol=2e-6, atol=1e-8)


@jax.custom_jvp
def fires(x):
    return jnp.where(x > 0, 1.0, 0.0)


def slope(x):
    return 0.3 * jnp.maximum(0, 1 - jnp.abs(x))


fires.defjvp(lambda primals, tangents: (fires(primals[0]), slope(primals[0]) * tangents[0]))


def trial(theta, w, w_out, x, y, weight):
    """E-prop's sums over a trial, its loss, and spikes, with separate traces of voltage, adaptation and filter."""
    alpha, rho = (jnp.exp(-DT / jnp.exp(theta["constants"][name])) for name in ("voltage", "adaptation"))
    kappa = np.exp(-DT / TAU)
    zeros = jnp.zeros((N, N + N_IN + 1))

    def step(carry, at):
        u, a, f, bar, eps, filtered = carry
        x, y, weight = at
        z, psi = fires(u - 1 - a), slope(u - 1 - a)
        source = jnp.concatenate([z, x, jnp.ones(1)])
        eps = rho[:, None] * eps + STRENGTH * psi[:, None] * (bar - eps)
        bar = alpha[:, None] * bar + source[None]
        u, a = alpha * u + w @ source - z, rho * a + STRENGTH * z
        f = kappa * f + fires(u - 1 - a)
        filtered = kappa * filtered + slope(u - 1 - a)[:, None] * (bar - eps)
        logits = w_out[:, :N] @ f + w_out[:, N]
        loss = weight * (jax.nn.logsumexp(logits) - logits[y])
        error = weight * (jax.nn.softmax(logits) - (jnp.arange(N_OUT) == y))
        grad_w = (theta["broadcast"].T @ error)[:, None] * filtered
        grad_out = jnp.outer(error, jnp.concatenate([f, jnp.ones(1)]))
        return (u, a, f, bar, eps, filtered), (grad_w, grad_out, loss, fires(u - 1 - a))

    start = (jnp.zeros(N), jnp.zeros(N), jnp.zeros(N), zeros, zeros, zeros)
    grad_w, grad_out, loss, z = jax.lax.scan(step, start, (x, y, weight))[1]
    return grad_w.sum(0) * (1 - jnp.eye(N, N + N_IN + 1)), grad_out.sum(0), loss.sum(), z.mean()


def by_loop(theta, episodes):
    """Mean loss of lives over the episodes, and spikes per step in the trials that judge them."""
    over_trials = jax.vmap(trial, (None, None, None, 0, 0, 0))

    def one(support, query):
        def learn(weights, at):
            w, w_out = weights
            sums = over_trials(theta, w, w_out, at.x, at.y, at.weight)
            grad_w, grad_out = sums[0].mean(0), sums[1].mean(0)
            w = w - RATES[0] * grad_w / jnp.sqrt(jnp.sum(grad_w**2) + TINY)
            return (w, w_out - RATES[1] * grad_out / jnp.sqrt(jnp.sum(grad_out**2) + TINY)), None

        weights, _ = jax.lax.scan(learn, (query.weights["w"][0], query.weights["w_out"]), support)
        trials = query.trials
        sums = over_trials(theta, *weights, trials.x, trials.y, trials.weight)
        return sums[2].mean() / TASK.lengths["recall"], sums[3].mean()

    losses, spikes = jax.vmap(one)(*episodes)
    return losses.mean(), spikes.mean()


def test_spiking_neurons_by_a_loop():
    updates, loss, aux = gradient(life_of(body(), TASK, RATES))
    (wanted_loss, spikes), wanted = compiled(jax.value_and_grad(by_loop, has_aux=True))(theta(), batch())
    assert float(loss) == pytest.approx(float(wanted_loss), rel=1e-12)
    assert float(aux["rate"]) == pytest.approx(float(spikes), rel=1e-12)
    assert 0.05 < float(spikes) < 0.9
    for leaf in jax.tree.leaves(wanted):
        assert np.abs(leaf).max() > 1e-3
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10), updates, wanted)
