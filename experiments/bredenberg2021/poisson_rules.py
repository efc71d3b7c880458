r"""Backpropagation where neurons count: three readings of equation 9 for a network with Poisson noise, always awake.

    f(r) = log q(r, s) - log p_m(r, s)         r = q k,  k ~ Poisson((m + floor) / q),  m = phi(W s),  q the quantum
    blind      df/dtheta, r fixed              as in automatic differentiation: no gradient through r
    additive   df/dtheta, r - m fixed          as if the noise did not depend on the mean
    exact      df/dtheta, r fixed, + sum_i [f(r + q e_i) - f(r)] / q  dm_i/dtheta

For W, the blind reading has a mean of zero, because it is a score. The exact reading is unbiased, because for a Poisson
count d/dm E f(q k) = E [f(q k + q) - f(q k)] / q. The additive reading has the derivative in place of that difference.
Both densities count the same quanta, so log q - log p_m is linear in r except for |s - D_s r|^2 / (2 sigma_s^2), and
the additive reading drops exactly the curvature of that term,

    exact - additive = sum_i q |D_s e_i|^2 / (2 sigma_s^2)  dm_i/dtheta:

it ignores that a neuron is noisier when it fires more. Credit reaches one step, as in the authors' backpropagation.
"""

from typing import Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.networks.two_stream import Sample, TwoStream, advance, draw
from plasticity_jax.ops.activations import activation_of
from plasticity_jax.ops.densities import log_density
from plasticity_jax.ops.groups import filled
from plasticity_jax.rules.generative.common import check_streams, free_energy, preconditioned, report, stimuli
from plasticity_jax.typing import Array, Example, Key, Params, Updates

Reading: TypeAlias = Literal["blind", "additive", "exact"]
READINGS: tuple[Reading, ...] = get_args(Reading)


class CountedTraces(NamedTuple):
    """Traces of `counted_backprop`.

    Attributes:
      top: (B, n), the neurons' last state.
    """

    top: Array


def counted_backprop(net: TwoStream, reading: Reading) -> LearningRule:
    """Descent on the negative evidence lower bound by one of `READINGS`.

    Args:
      net: the network, with one layer of neurons and Poisson noise.
      reading: reading of the gradient.

    Returns:
      A rule with the weights, batches and reports of `impression`; like its default, it multiplies updates by sigma^2
      of each weight's density. It never sleeps.

    Raises:
      ValueError: if the network has other layers or noise, or the reading is not known.
    """
    if net.depth != 1 or net.noise != "poisson":
        raise ValueError(f"net has {net.depth} layers and {net.noise!r} noise, but must have one, and Poisson's")
    if reading not in READINGS:
        raise ValueError(f"reading={reading!r} must be one of {', '.join(READINGS)}")

    def init(params: Params, key: Key, batch: Example) -> CountedTraces:
        z = stimuli(net, params, batch)
        return CountedTraces(jnp.zeros((len(z), net.sizes[-1]), z.dtype))

    def update(params: Params, traces: CountedTraces, key: Key, batch: Example) -> tuple[Updates, CountedTraces, Info]:
        z = stimuli(net, params, batch)
        check_streams(len(z), traces.top)
        sample = advance(net, params, True, False, traces.top, z, draw(net, key, len(z), z.dtype))
        updates = filled(params, preconditioned(net, awake_gradient(net, params, sample, reading)))
        return updates, CountedTraces(sample.x[-1]), report(jnp.ones((), z.dtype), free_energy(net, sample))

    return LearningRule(init, update)


def awake_gradient(net: TwoStream, params: Params, sample: Sample, reading: Reading) -> Updates:
    """Derivative of log q - log p_m by all weights, mean over the streams.

    Args:
      net: the network, with one layer of neurons and Poisson noise.
      params: its weights.
      sample: sample of a step awake, arrays (B, n).
      reading: reading of the gradient.

    Returns:
      Arrays like those of the weights.
    """
    s, r = sample.x
    quantum = jnp.asarray(net.sigma_inf[1], r.dtype) ** 2

    def means(params: Params) -> Array:
        return activation_of(net.activation).phi(s @ params["inference"]["w"][0].T)

    def energy(params: Params, r: Array) -> Array:
        """The part of f that depends on r or the weights, (B,)."""
        top = params["generation"]["transition"][None, :] * sample.top_tm1
        output = activation_of(net.output).phi(r @ params["generation"]["w"][0].T)
        own = jnp.sum(log_density(net.noise, r, means(params), net.sigma_inf[1]), -1)
        other = jnp.sum(log_density(net.noise, r, top, net.sigma_gen[1]), -1)
        return own - other - jnp.sum(log_density("gaussian", s, output, net.sigma_gen[0]), -1)

    noise = r - means(params)
    one_more = jax.vmap(lambda unit: energy(params, r + quantum * unit[None, :]))(jnp.eye(r.shape[1], dtype=r.dtype))
    jumps = (one_more - energy(params, r)[None, :]).T / quantum

    def loss(taught: Params) -> Array:
        if reading == "additive":
            return jnp.mean(energy(taught, means(taught) + noise))
        back = jnp.sum(jumps * means(taught), -1) if reading == "exact" else 0.0
        return jnp.mean(energy(taught, r) + back)

    return jax.grad(loss)(params)
