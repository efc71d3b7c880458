"""The recurrent stochastic autoencoder, its critics and the losses of both players, in plain NumPy.

Written from the paper's sections 3 and A.1.3, not from the library. Weights and fixed properties are in the library's
form; everything works in complex numbers too, so that a derivative is a complex step. `noise` maps (phase, layer) to
the normals of that sample, (1 + recurrence, N, n), and ("sleep", L) to the top layer's, (N, n_L).

    D = u . f(V_2 f(V_1 h + e_1) + e_2) + e_3        its gradient by h written out, for the penalty
"""

from typing import NamedTuple

import numpy as np

PHI = {
    "tanh": (np.tanh, lambda v: 1 - np.tanh(v) ** 2),
    "relu": (lambda v: np.where(v.real > 0, v, 0), lambda v: np.where(v.real > 0, 1.0, 0.0)),
    "leaky_relu": (lambda v: np.where(v.real > 0, v, 0.2 * v), lambda v: np.where(v.real > 0, 1.0, 0.2)),
    "identity": (lambda v: v, lambda v: np.ones_like(v)),
    "sigmoid": (lambda v: 1 / (1 + np.exp(-v)), lambda v: 0.25 / np.cosh(v / 2) ** 2),
}


class Activity(NamedTuple):
    """Samples of each phase, by layer from the sensory one; `oscillation` lacks the top."""

    wake: list
    sleep: list
    oscillation: list


def conditional(net, layer, given, noise):
    """A layer's sample: a Gaussian, and as often as there is noise left the mean of it and a Gaussian given it."""

    def gaussian(part, h, xi):
        (w_1, w_2), (bias_1, bias_2) = part["w"], part["bias"]
        both = PHI[net.activation][0](h @ w_1.T + bias_1) @ w_2.T + bias_2
        n = both.shape[-1] // 2
        return both[:, :n] + np.log1p(np.exp(both[:, n:])) * xi

    a = gaussian(layer["forward"], given, noise[0])
    for xi in noise[1:]:
        a = 0.5 * a + 0.5 * gaussian(layer["recurrent"], a, xi)
    return a


def infer(net, params, i, below, noise):
    """w_i given w_{i-1}."""
    return conditional(net, params["inference"][i - 1], below, noise["wake", i])


def generate(net, params, i, above, noise, phase):
    """s_i or o_i given the layer above."""
    h = conditional(net, params["generation"][i], above, noise[phase, i])
    return PHI[net.output][0](h) if i == 0 else h


def activity(net, params, x, noise, oscillate_from=None):
    """All phases; oscillations start from `oscillate_from`, if given, in place of the wake activity."""
    top = len(net.sizes) - 1
    wake = [x]
    for i in range(1, top + 1):
        wake.append(infer(net, params, i, wake[i - 1], noise))
    sleep = {top: noise["sleep", top]}
    for i in range(top - 1, -1, -1):
        sleep[i] = generate(net, params, i, sleep[i + 1], noise, "sleep")
    source = wake if oscillate_from is None else oscillate_from
    back = [generate(net, params, i, source[i + 1], noise, "oscillation") for i in range(top)]
    return Activity(wake, [sleep[i] for i in range(top + 1)], back)


def critic(net, weights, layers):
    """Score (N,) and penultimate activity (N, m)."""
    f = PHI[net.critic_activation][0]
    (v_1, v_2, u), (e_1, e_2, e_3) = weights["w"], weights["bias"]
    h = f(f(np.concatenate(layers, -1) @ v_1.T + e_1) @ v_2.T + e_2)
    return h @ u[0] + e_3[0], h


def steepness(net, weights, layers):
    """|grad D| by all of a critic's input, (N,)."""
    f, slope = PHI[net.critic_activation]
    (v_1, v_2, u), (e_1, e_2, _) = weights["w"], weights["bias"]
    drive_1 = np.concatenate(layers, -1) @ v_1.T + e_1
    drive_2 = f(drive_1) @ v_2.T + e_2
    gradient = ((u[0] * slope(drive_2)) @ v_2 * slope(drive_1)) @ v_1
    return np.sqrt(np.sum(gradient * gradient, 1))


def has_waves(net, site):
    """Returns True if a discriminator compares a layer with its oscillation: it has one layer, not the top."""
    layers = net.sites[site]
    return len(layers) == 1 and layers[0] < len(net.sizes) - 1


def layers_of(net, site, phase):
    return [phase[i] for i in net.sites[site]]


def terms(net, critics, site, acts, reduction="mean", target=None):
    """(L_WS, L_O, L_R) of a discriminator; the features of `target` stand in for those of the wake activity."""
    awake, f_awake = critic(net, critics[site], layers_of(net, site, acts.wake))
    asleep, _ = critic(net, critics[site], layers_of(net, site, acts.sleep))
    if not has_waves(net, site):
        return np.mean(awake) - np.mean(asleep), 0.0, 0.0
    back, f_back = critic(net, critics[site], layers_of(net, site, acts.oscillation))
    features = f_awake if target is None else critic(net, critics[site], layers_of(net, site, target))[1]
    squares = (features - f_back) ** 2
    distance = np.mean(np.sum(squares, 1)) / (squares.shape[1] if reduction == "mean" else 1)
    return np.mean(awake) - np.mean(asleep), np.mean(awake) - np.mean(back), distance


def site_loss(net, critics, site, acts, gamma, rho, **options):
    """Equation 8 of one discriminator, as inference and generation descend it; wake/sleep alone without waves."""
    asleep, waves, distance = terms(net, critics, site, acts, **options)
    return gamma * asleep + (1 - gamma) * (waves + rho * distance) if has_waves(net, site) else asleep


def model_loss(net, critics, acts, gamma, rho, **options):
    return sum(site_loss(net, critics, site, acts, gamma, rho, **options) for site in range(len(net.sites)))


def penalty(net, critics, site, acts, gamma, eps):
    """E (|grad D| - 1)^2 at points between each phase and wake; eps (N,)."""

    def on_the_way(phase):
        pairs = zip(layers_of(net, site, acts.wake), layers_of(net, site, phase), strict=True)
        points = [eps[:, None] * true + (1 - eps[:, None]) * false for true, false in pairs]
        return np.mean((steepness(net, critics[site], points) - 1) ** 2)

    asleep = on_the_way(acts.sleep)
    return gamma * asleep + (1 - gamma) * on_the_way(acts.oscillation) if has_waves(net, site) else asleep


def critic_loss(net, critics, site, acts, gamma, strength, eps):
    """The loss that one discriminator descends."""
    asleep, waves, _ = terms(net, critics, site, acts)
    climbed = gamma * asleep + (1 - gamma) * waves if has_waves(net, site) else asleep
    return strength * penalty(net, critics, site, acts, gamma, eps) - climbed
