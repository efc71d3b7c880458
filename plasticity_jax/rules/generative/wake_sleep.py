r"""Wake-sleep as a special case of impression learning: long phases, optionally with one update for each.

    lambda_t = lambda_0 for a whole phase
    every step (default)   the updates of impression learning
    coordinatewise         at the phase's end, the mean of its updates: generation's after wake, inference's after sleep

Source: Bredenberg, Lyo, Simoncelli & Savin (2021), appendix B.3, after Hinton, Dayan, Frey & Neal (1995) and Ikeda,
Amari & Nakahara (1999). Kind: local; step by step it is impression learning, with the same bias; phase by phase it
approximates the EM algorithm under conditions. Memory: a sum for every weight if coordinatewise. Time: that of
impression learning. Each synapse reads what it reads in impression learning. Departure: the state is not reset between
phases.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.networks.two_stream import TwoStream
from plasticity_jax.ops.checks import one_of
from plasticity_jax.rules.generative.impression import ImpressionTraces, impression
from plasticity_jax.rules.generative.schedules import alternating, held
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Updates


class WakeSleepTraces(NamedTuple):
    """State carried from step to step, if coordinatewise.

    Attributes:
      stepwise: the traces of impression learning.
      total: sum of the updates since the phase began; arrays like the params.
      steps: shape (), int32, steps of the phase so far.
    """

    stepwise: ImpressionTraces
    total: PyTree
    steps: Array


def wake_sleep(
    net: TwoStream,
    *,
    phase: int = 32,
    order: Literal["alternating", "random"] = "alternating",
    coordinatewise: bool = False,
    precondition: bool = True,
) -> LearningRule:
    """Impression learning in long phases.

    Args:
      net: the network; any noise.
      phase: steps of each phase, wake or sleep.
      order: phases that are "alternating", wake first, or each drawn by a coin ("random", appendix B.3).
      coordinatewise: update the weights of one stream, once in a phase, by the phase's mean.
      precondition: leave out the factors 1 / sigma^2, see `impression`.

    Returns:
      A rule over the same weights, batches and reports as `impression`. If coordinatewise, `Info.ready` marks the ends
      of phases.

    Raises:
      ValueError: if the phase is not a positive whole number of steps, or the order is not known.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.two_stream((8, 3), sigma_inf=(0.1, 0.1), sigma_gen=(0.1, 0.3))
      >>> key = jax.random.key(0)
      >>> z = 0.5 * jax.random.normal(key, (5000, 1, 3)) @ jax.random.normal(key, (3, 8))
      >>> learn = pj.learner(wake_sleep(net, phase=100, coordinatewise=True), optax.sgd(1.0))
      >>> state = learn.init(pj.networks.init_params(key, net), key, pj.Example(z[0], z[0]))
      >>> state, info = jax.lax.scan(lambda s, z: learn.step(s, pj.Example(z, z)), state, z)
      >>> free_energy = info.aux["free_energy"][info.aux["wake"] == 1]
      >>> bool(jnp.mean(free_energy[-100:]) < 0.5 * jnp.mean(free_energy[:100]))
      True

    Reference:
      Hinton, Dayan, Frey & Neal, "The wake-sleep algorithm for unsupervised neural networks", Science 1995.
    """
    one_of("order", order, ("alternating", "random"))
    schedule = alternating(phase) if order == "alternating" else held(phase)
    stepwise = impression(net, schedule=schedule, precondition=precondition)
    if not coordinatewise:
        return stepwise

    def init(params: Params, key: Key, batch: Example) -> WakeSleepTraces:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return WakeSleepTraces(stepwise.init(params, key, batch), zeros, jnp.zeros((), jnp.int32))

    def update(
        params: Params, traces: WakeSleepTraces, key: Key, batch: Example
    ) -> tuple[Updates, WakeSleepTraces, Info]:
        updates, inner, info = stepwise.update(params, traces.stepwise, key, batch)
        steps = traces.steps + 1
        is_end = steps == phase
        total = jax.tree.map(jnp.add, traces.total, updates)
        emitted = jax.tree.map(lambda leaf: jnp.where(is_end, leaf / phase, 0), total)
        total = jax.tree.map(lambda leaf: jnp.where(is_end, 0, leaf), total)
        return emitted, WakeSleepTraces(inner, total, steps % phase), info._replace(ready=is_end)

    return LearningRule(init, update)
