r"""Impression learning: asleep, inference learns to explain the dream; awake, generation learns to predict.

    -dL/dtheta ~ 2 E[ sum_t (1 - lambda_t) dlog q_t / dtheta + lambda_t dlog p_mt / dtheta ]
    dW   = (1 - lambda) / sigma_r,inf^2 [(r - f(W s)) f'(W s)] s^T               asleep
    dD_s = lambda / sigma_s,gen^2 (s - D_s r) r^T                                awake
    dD_r = lambda (1 - k) / sigma_r,gen^2 (r_t - D_r r_{t-1}) r_{t-1}            awake, but not on waking

and likewise layer by layer in deeper networks (`plasticity_jax.rules.generative.common`).

Source: Bredenberg, Lyo, Simoncelli & Savin (2021), equation 5 and equations 42 to 48. Kind: approximate: log x ~ x - 1
for the ratio x of the hybrid densities; generation's updates are exact where the network is always awake. Memory: one
number a unit, nothing for the weights. Time: the products of both streams. Each synapse reads its presynaptic activity
and, of its postsynaptic neuron, the activity, the other stream's prediction of it, and the slope: all of it local, with
one phase signal lambda for the whole network. Departures: the factor 2 of equation 5 is left to the learning rate, as
in the authors' code; the presynaptic factor of transitions is r_{t-1} (r_t in equation 45), layer 1 has its own sigma
and slope (those of s in 46 and 47), and the output is linear (tanh in 48). The authors use the noiseless stimulus z in
place of s in dD_s, and on waking do not update the weights that generate hidden layers, although the density asks for
it.
"""

from typing import NamedTuple

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.networks.two_stream import TwoStream
from plasticity_jax.ops.groups import filled
from plasticity_jax.rules.generative.common import PathState, advance_path, free_energy, init_path, report, scores
from plasticity_jax.rules.generative.schedules import Schedule, alternating
from plasticity_jax.typing import Example, Key, Params, Updates


class ImpressionTraces(NamedTuple):
    """Attributes: path: the state between two steps, see `plasticity_jax.rules.generative.common.PathState`."""

    path: PathState


def impression(
    net: TwoStream,
    *,
    schedule: Schedule | None = None,
    precondition: bool = True,
) -> LearningRule:
    """Impression learning under any schedule of wake and sleep.

    Args:
      net: the network.
      schedule: the schedule of lambda; None is `alternating(2)`, the authors'. It should be awake half of the time.
      precondition: leave out the factors 1 / sigma^2, as the authors' code does, so that one learning rate suits all
        weights; False gives the gradient's own scale.

    Returns:
      A rule over the weights of `plasticity_jax.networks.two_stream`, on an `Example` with the stimulus (B, n_0) as x;
      y is not read. `Info.loss` is log q~_t - log p~_t; aux holds "wake", lambda, and "free_energy",
      log q_t - log p_mt.

    Raises:
      ValueError: when the rule is called, if network and weights have different depths.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.two_stream((8, 3), sigma_inf=(0.1, 0.1), sigma_gen=(0.1, 0.3))
      >>> key = jax.random.key(0)
      >>> z = 0.5 * jax.random.normal(key, (5000, 1, 3)) @ jax.random.normal(key, (3, 8))
      >>> learn = pj.learner(impression(net, schedule=alternating(5)), optax.sgd(0.01))
      >>> state = learn.init(pj.networks.init_params(key, net), key, pj.Example(z[0], z[0]))
      >>> state, info = jax.lax.scan(lambda s, z: learn.step(s, pj.Example(z, z)), state, z)
      >>> free_energy = info.aux["free_energy"][info.aux["wake"] == 1]
      >>> bool(jnp.mean(free_energy[-100:]) < 0.5 * jnp.mean(free_energy[:100]))
      True

    Reference:
      Bredenberg, Lyo, Simoncelli & Savin, "Impression learning", NeurIPS 2021.
    """
    schedule = alternating() if schedule is None else schedule

    def init(params: Params, key: Key, batch: Example) -> ImpressionTraces:
        return ImpressionTraces(init_path(net, schedule, params, batch))

    def update(
        params: Params, traces: ImpressionTraces, key: Key, batch: Example
    ) -> tuple[Updates, ImpressionTraces, Info]:
        sample, wake, path = advance_path(net, schedule, params, traces.path, key, batch)
        onset = wake * (1 - traces.path.wake)
        updates = scores(net, params, sample, onset, inference=wake - 1, generation=-wake, precondition=precondition)
        return filled(params, updates), ImpressionTraces(path), report(wake, free_energy(net, sample))

    return LearningRule(init, update)
