"""L7 for adversarial learning: one minimax step in plain NumPy, each weight's derivative a complex step.

Equations 4, 7 and 8 of Benjamin & Kording (2021); both players move from the same weights and samples.
"""

import functools
import math

import jax
import numpy as np

from plasticity_jax.networks.autoencoder import autoencoder
from plasticity_jax.ops.noise import stored_noise
from tests.laws.common import compiled, host
from tests.oracles import adversarial as oracle
from tests.oracles.generative import derivative

PHASES = ("wake", "sleep", "oscillation")


@functools.cache
def _drawing(net, count):
    top, noise = len(net.sizes) - 1, {}

    def draw(key):
        samples, interpolation = (jax.random.fold_in(key, i) for i in range(2))
        for i, n in enumerate(net.sizes):
            for p, phase in enumerate(PHASES):
                if (phase == "wake" and i == 0) or (phase == "oscillation" and i == top):
                    continue
                shape = (count, n) if (phase, i) == ("sleep", top) else (1 + net.recurrence, count, n)
                layer = jax.random.fold_in(samples, 3 * i + p)
                noise[phase, i] = stored_noise(layer, math.prod(shape), np.dtype(float), "gaussian").reshape(shape)
        keys = [jax.random.fold_in(interpolation, site) for site in range(len(net.sites))]
        return noise, [jax.random.uniform(key, (count,), float) for key in keys]

    return compiled(draw)


def numbers(net, key, count):
    """The step's random numbers: the noise of every sample, by phase and layer, and the shares eps (N,), by site."""
    return host(_drawing(net, count)(key))


def full_depth(net, params, x, noise, gamma, rho, **options):
    """d L / d weights of inference and generation, through all samples."""

    def loss(model):
        acts = oracle.activity(net, model, x, noise)
        return oracle.model_loss(net, params["discriminator"], acts, gamma, rho, **options)

    return derivative(loss, {group: params[group] for group in ("inference", "generation")})


def layer_by_layer(net, params, x, noise, gamma, rho):
    """The gradient of each layer's weights of their own discriminator's objective, with the layer's input fixed."""
    acts = oracle.activity(net, params, x, noise)

    def learned(layer, group, index):
        def loss(weights):
            moved = {**params, group: tuple(weights if k == index else w for k, w in enumerate(params[group]))}
            wake, sleep, waves = (list(phase) for phase in acts)
            if layer > 0:
                wake[layer] = oracle.infer(net, moved, layer, acts.wake[layer - 1], noise)
            if layer < len(wake) - 1:
                sleep[layer] = oracle.generate(net, moved, layer, acts.sleep[layer + 1], noise, "sleep")
                waves[layer] = oracle.generate(net, moved, layer, acts.wake[layer + 1], noise, "oscillation")
            changed = oracle.Activity(wake, sleep, waves)
            return oracle.site_loss(net, params["discriminator"], layer, changed, gamma, rho)

        return derivative(loss, params[group][index])

    depth = len(net.sizes) - 1
    return {
        "inference": tuple(learned(i, "inference", i - 1) for i in range(1, depth + 1)),
        "generation": tuple(learned(i, "generation", i) for i in range(depth)),
    }


def discriminators(net, params, x, noise, eps, gamma, strength):
    """The gradient of each discriminator's objective by its weights, with the samples fixed."""
    acts, critics = oracle.activity(net, params, x, noise), params["discriminator"]

    def learned(site):
        def loss(weights):
            moved = tuple(weights if k == site else w for k, w in enumerate(critics))
            return oracle.critic_loss(net, moved, site, acts, gamma, strength, eps[site])

        return derivative(loss, critics[site])

    return tuple(learned(site) for site in range(len(critics)))


def adversarial(net, model_gradient=full_depth):
    def one_step(params, traces, key, batch, coefficients):
        gamma, strength = coefficients.get("gamma", 1.0), coefficients["penalty"]
        rho = coefficients.get("reconstruction", 0.0)
        noise, eps = numbers(net, key, len(batch.x))
        gradient = model_gradient(net, params, batch.x, noise, gamma, rho)
        gradient["discriminator"] = discriminators(net, params, batch.x, noise, eps, gamma, strength)
        acts = oracle.activity(net, params, batch.x, noise)
        loss = oracle.model_loss(net, params["discriminator"], acts, gamma, rho)
        return jax.tree.map(np.subtract, params, gradient), traces, loss

    return one_step


def tanh_net(sizes, discriminators):
    return autoencoder(sizes, 4, 4, 1, discriminators, "tanh", "tanh")


TEXTBOOK = {
    "adversarial": adversarial(tanh_net((5, 2), "local")),
    "adversarial_per_layer": adversarial(tanh_net((5, 3, 2), "local"), layer_by_layer),
    "adversarial_wake_sleep": adversarial(tanh_net((5, 2), "global")),
}
