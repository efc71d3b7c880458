r"""BP, a nonlocal rival: the negative evidence lower bound, differentiated through its own samples.

    L_t = log q_t - log p_mt  at  s = z + sigma xi,  r = f(W s) + sigma eta,  lambda = 1 throughout
    dtheta = dL_t / dtheta    with xi and eta held fixed

Source: Bredenberg, Lyo, Simoncelli & Savin (2021), equation 9, after Kingma & Welling (2014). Kind: exact with a
truncation of 2: inference is feedforward, so that a weight acts on L only through the states of this step and of the
last one. With a truncation of 1, the authors' setting, the last state is held fixed, which drops the credit of r_{t-1}
for the step after it. Memory: n_L, and with a truncation of 2 the last stimulus and its noise. Time: two passes of
products, four with a truncation of 2. A synapse of W reads errors that are carried back through D_s, so the rule is not
local. Departures: the authors' learning rate for D_r differs from the others by the ratio of variances, which
`precondition` does here; their output is a tanh for this rule and linear elsewhere, ours is the network's.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.networks.two_stream import Sample, TwoStream, advance, draw
from plasticity_jax.ops.groups import filled
from plasticity_jax.rules.generative.common import check_streams, free_energy, preconditioned, report, stimuli
from plasticity_jax.typing import Array, Example, Key, Params, Updates


class ReparameterisedTraces(NamedTuple):
    """State carried from step to step.

    Attributes:
      top: (B, n_L), the top layer's last state.
      last: with a truncation of 2, the last stimulus, its innovations, and whether there was a last step; else ().
    """

    top: Array
    last: tuple


def reparameterised(net: TwoStream, *, truncation: int = 1, precondition: bool = True) -> LearningRule:
    """Stochastic gradient descent on the negative evidence lower bound, by the reparameterisation trick.

    Args:
      net: the network; Gaussian noise.
      truncation: number of steps that credit passes through, 1 or 2; 2 is exact.
      precondition: multiply gradients by sigma^2 of each weight's density, see `impression`.

    Returns:
      A rule over the same weights, batches and reports as `impression`; it never sleeps. With a truncation of 2 the
      updates of step t include the credit of r_{t-1}, at the weights of step t.

    Raises:
      ValueError: if the noise cannot be differentiated, or the truncation is neither 1 nor 2.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.two_stream((8, 3), sigma_inf=(0.1, 0.1), sigma_gen=(0.1, 0.3))
      >>> key = jax.random.key(0)
      >>> z = 0.5 * jax.random.normal(key, (5000, 1, 3)) @ jax.random.normal(key, (3, 8))
      >>> learn = pj.learner(reparameterised(net, truncation=2), optax.sgd(0.003))
      >>> state = learn.init(pj.networks.init_params(key, net), key, pj.Example(z[0], z[0]))
      >>> state, info = jax.lax.scan(lambda s, z: learn.step(s, pj.Example(z, z)), state, z)
      >>> free_energy = info.aux["free_energy"][info.aux["wake"] == 1]
      >>> bool(jnp.mean(free_energy[-100:]) < 0.5 * jnp.mean(free_energy[:100]))
      True

    Reference:
      Kingma & Welling, "Auto-encoding variational Bayes", ICLR 2014.
    """
    if net.noise != "gaussian":
        raise ValueError(
            f"reparameterised: samples of {net.noise!r} noise have no derivative by their mean; use impression, "
            "wake_sleep or neural_variational"
        )
    if truncation not in (1, 2):
        raise ValueError(f"truncation={truncation!r} must be 1, or 2, which is exact as inference is feedforward")

    def awake(params: Params, top_tm1: Array, z: Array, innovations: tuple[Array, ...]) -> Sample:
        return advance(net, params, True, False, top_tm1, z, innovations)

    def init(params: Params, key: Key, batch: Example) -> ReparameterisedTraces:
        z = stimuli(net, params, batch)
        rest = tuple(jnp.zeros((len(z), n), z.dtype) for n in net.sizes)
        last = () if truncation == 1 else (jnp.zeros_like(rest[0]), rest, jnp.asarray(False))
        return ReparameterisedTraces(rest[-1], last)

    def update(
        params: Params, traces: ReparameterisedTraces, key: Key, batch: Example
    ) -> tuple[Updates, ReparameterisedTraces, Info]:
        z = stimuli(net, params, batch)
        check_streams(len(z), traces.top)
        innovations = draw(net, key, len(z), traces.top.dtype)

        def loss(params: Params) -> tuple[Array, tuple[Array, Array]]:
            top = traces.top
            if truncation == 2:
                z_tm1, innovations_tm1, has_last = traces.last
                top = jnp.where(has_last, awake(params, top, z_tm1, innovations_tm1).x[-1], top)
            sample = awake(params, top, z, innovations)
            energy = free_energy(net, sample)
            return jnp.mean(energy), (energy, sample.x[-1])

        gradient, (energy, top) = jax.grad(loss, has_aux=True)(params)
        last = () if truncation == 1 else (z, innovations, jnp.asarray(True))
        updates = filled(params, preconditioned(net, gradient)) if precondition else gradient
        return updates, ReparameterisedTraces(top, last), report(jnp.ones((), top.dtype), energy)

    return LearningRule(init, update)
