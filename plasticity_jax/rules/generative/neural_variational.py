r"""NVI*, neural variational inference on the loss of impression learning: a score-function gradient in three factors.

    dtheta = dlog p~_t / dtheta + [l_t - Lbar_{t-1}] g_t,          l_t = log p~_t / q~_t
    g_t    = dlog q~_t / dtheta + gamma_g g_{t-1}
    Lbar_t = gamma_L l_t + (1 - gamma_L) Lbar_{t-1}

with q~ the density of the stream that is sampled and p~ that of the other. The first term alone is impression
learning; the second is a global signal times an eligibility trace at each synapse.

Source: Bredenberg, Lyo, Simoncelli & Savin (2021), equations 6 to 8, after Mnih & Gregor (2014). Kind: unbiased for
gamma_g = 1 and gamma_L = 0, over a trial, given the state at its start; gamma_g < 1 forgets, and a moving baseline
correlates with past scores: a bias of order gamma_L. Memory: a trace for every weight and stream. Time: that of
impression learning and two passes over the traces. Each synapse reads what it reads in impression learning, its own
trace, and one global signal. Departures: the baseline is that of the step before, because that of equation 7 contains
l_t and so shrinks the second term by 1 - gamma_L. In the authors' code the second term climbs the loss,
+(loss - average) g for a loss of -2 l, without normalisers, awake with sum (r - f) in place of sum (r - f)^2, and with
the average after its update; asleep, its traces of generative weights still use the stimulus, not the dream.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.networks.two_stream import TwoStream
from plasticity_jax.ops.checks import in_range
from plasticity_jax.ops.groups import filled
from plasticity_jax.rules.generative.common import (
    PathState,
    advance_path,
    free_energy,
    init_path,
    report,
    scores,
    scores_by_stream,
)
from plasticity_jax.rules.generative.schedules import Schedule, alternating
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Scalar, Updates


class NeuralVariationalTraces(NamedTuple):
    """State carried from step to step.

    Attributes:
      path: the state between two steps.
      eligibility: g, arrays like the weights of "inference" and "generation", with a leading axis (B,).
      baseline: (B,), Lbar.
      steps: shape (), int32, since the trial began; 0 where there are no trials.
    """

    path: PathState
    eligibility: PyTree
    baseline: Array
    steps: Array


def neural_variational(
    net: TwoStream,
    *,
    schedule: Schedule | None = None,
    gamma_g: Scalar = 0.9,
    gamma_baseline: Scalar = 0.01,
    trial: int | None = None,
    precondition: bool = True,
) -> LearningRule:
    """The score-function gradient with an eligibility trace and a running baseline.

    Args:
      net: the network; any noise.
      schedule: the schedule of lambda; None is `alternating(2)`.
      gamma_g: the fraction of the eligibility trace kept at each step, in [0, 1].
      gamma_baseline: rate of the running average, in [0, 1].
      trial: number of steps after which the eligibility trace starts afresh; None for never.
      precondition: leave out the factors 1 / sigma^2 of the scores, see `impression`.

    Returns:
      A rule over the same weights, batches and reports as `impression`.

    Raises:
      ValueError: if the trial is not a positive whole number of steps, or a coefficient is out of range.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.two_stream((8, 3), sigma_inf=(0.1, 0.1), sigma_gen=(0.1, 0.3))
      >>> key = jax.random.key(0)
      >>> z = 0.5 * jax.random.normal(key, (5000, 16, 3)) @ jax.random.normal(key, (3, 8))
      >>> learn = pj.learner(neural_variational(net, gamma_g=0.5), optax.sgd(1e-3))
      >>> state = learn.init(pj.networks.init_params(key, net), key, pj.Example(z[0], z[0]))
      >>> state, info = jax.lax.scan(lambda s, z: learn.step(s, pj.Example(z, z)), state, z)
      >>> free_energy = info.aux["free_energy"][info.aux["wake"] == 1]
      >>> bool(jnp.mean(free_energy[-100:]) < 0.5 * jnp.mean(free_energy[:100]))
      True

    Reference:
      Mnih & Gregor, "Neural variational inference and learning in belief networks", ICML 2014.
    """
    if trial is not None and (not isinstance(trial, int) or isinstance(trial, bool) or trial < 1):
        raise ValueError(f"trial={trial!r} must be a positive whole number of steps, or None")
    in_range("gamma_g", gamma_g, 0, 1, why="the fraction of the eligibility trace kept at each step")
    in_range("gamma_baseline", gamma_baseline, 0, 1, why="the rate of a running average")
    schedule = alternating() if schedule is None else schedule

    def init(params: Params, key: Key, batch: Example) -> NeuralVariationalTraces:
        path = init_path(net, schedule, params, batch)
        streams = batch.x.shape[0]
        eligibility = jax.tree.map(lambda leaf: jnp.zeros((streams, *leaf.shape), leaf.dtype), _scored(params))
        baseline, steps = jnp.zeros((streams,), path.x[-1].dtype), jnp.zeros((), jnp.int32)
        return NeuralVariationalTraces(path, eligibility, baseline, steps)

    def update(
        params: Params, traces: NeuralVariationalTraces, key: Key, batch: Example
    ) -> tuple[Updates, NeuralVariationalTraces, Info]:
        sample, wake, path = advance_path(net, schedule, params, traces.path, key, batch)
        onset = wake * (1 - traces.path.wake)

        own_scores = scores_by_stream(
            net, params, sample, onset, inference=wake, generation=1 - wake, precondition=precondition
        )
        updates = scores(net, params, sample, onset, inference=wake - 1, generation=-wake, precondition=precondition)
        energy = free_energy(net, sample)
        decay, steps = jnp.asarray(gamma_g, energy.dtype), traces.steps
        if trial is not None:
            decay, steps = jnp.where(steps == 0, 0, decay), (steps + 1) % trial
        eligibility = jax.tree.map(lambda g, new: decay * g + new, traces.eligibility, own_scores)
        signal = (1 - 2 * wake) * energy
        baseline = traces.baseline + jnp.asarray(gamma_baseline, energy.dtype) * (signal - traces.baseline)
        third_factor = signal - traces.baseline

        def with_third_factor(update: Array, g: Array) -> Array:
            return update - jnp.tensordot(third_factor, g, 1) / third_factor.shape[0]

        updates = jax.tree.map(with_third_factor, updates, eligibility)
        traces = NeuralVariationalTraces(path, eligibility, baseline, steps)
        return filled(params, updates), traces, report(wake, energy)

    return LearningRule(init, update)


def _scored(params: Params) -> PyTree:
    """The weights of both streams, nested like their `scores`, in tuples."""
    up, down = params["inference"], params["generation"]
    return {
        "inference": {"w": tuple(up["w"]), "bias": tuple(up["bias"])},
        "generation": {"w": tuple(down["w"]), "bias": tuple(down["bias"]), "transition": down["transition"]},
    }
