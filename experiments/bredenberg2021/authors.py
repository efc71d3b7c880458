"""What the code of Bredenberg et al. (2021) does otherwise than the equations."""

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.networks.two_stream import Sample, TwoStream
from plasticity_jax.ops.groups import filled
from plasticity_jax.rules.generative import alternating, impression, neural_variational
from plasticity_jax.rules.generative.common import free_energy, move, report, scores, scores_by_stream
from plasticity_jax.rules.generative.impression import ImpressionTraces
from plasticity_jax.rules.generative.neural_variational import NeuralVariationalTraces
from plasticity_jax.rules.generative.schedules import Schedule
from plasticity_jax.typing import Array, Example, Key, Params, Scalar, Updates


def impression_at_rest_on_waking(net: TwoStream) -> LearningRule:
    """Impression learning whose weights that generate hidden layers rest on waking, as the transition does."""
    rule = impression(net)

    def update(
        params: Params, traces: ImpressionTraces, key: Key, batch: Example
    ) -> tuple[Updates, ImpressionTraces, Info]:
        updates, after, info = rule.update(params, traces, key, batch)
        learns = 1 - info.aux["wake"] * (1 - traces.walk.wake)
        down = updates["generation"]
        output, *hidden = down["w"]
        hidden, bias = (tuple(learns * leaf for leaf in leaves) for leaves in (hidden, down["bias"]))
        return {**updates, "generation": {**down, "w": (output, *hidden), "bias": bias}}, after, info

    return LearningRule(rule.init, update)


def published_nvi(
    net: TwoStream, *, schedule: Schedule | None = None, gamma_g: Scalar = 0.9, gamma_baseline: Scalar = 0.01
) -> LearningRule:
    """NVI* as published, which climbs the loss: the second term's sign and factor, `logged_loss`, a late average.

    Args:
      net: the network; Gaussian noise.
      schedule: of lambda; None is `alternating(2)`.
      gamma_g: what the eligibility trace keeps at each step.
      gamma_baseline: rate of the running average.

    Returns:
      A rule with the weights, traces, batches and reports of `neural_variational`.
    """
    schedule = alternating() if schedule is None else schedule

    def update(
        params: Params, traces: NeuralVariationalTraces, key: Key, batch: Example
    ) -> tuple[Updates, NeuralVariationalTraces, Info]:
        sample, wake, walk = move(net, schedule, params, traces.walk, key, batch)
        onset = wake * (1 - traces.walk.wake)
        own = scores_by_stream(net, params, sample, onset, inference=wake, generation=1 - wake, precondition=True)
        other = scores(net, params, sample, onset, inference=wake - 1, generation=-wake, precondition=True)
        loss = logged_loss(net, sample, wake)
        eligibility = jax.tree.map(lambda g, new: gamma_g * g + new, traces.eligibility, own)
        average = traces.baseline + gamma_baseline * (loss - traces.baseline)
        surprise = loss - average
        updates = jax.tree.map(lambda a, g: a - jnp.tensordot(surprise, g, 1) / len(surprise), other, eligibility)
        traces = NeuralVariationalTraces(walk, eligibility, average, traces.steps)
        return filled(params, updates), traces, report(wake, free_energy(net, sample))

    return LearningRule(neural_variational(net, schedule=schedule).init, update)


def logged_loss(net: TwoStream, sample: Sample, wake: Array) -> Array:
    """2 (log q~ - log p~) as logged, (B,): without normalisers, and awake with sum (r - f) for sum (r - f)^2."""

    def squares(means: tuple[Array, ...], sigmas: tuple[Scalar, ...]) -> Array:
        layers = zip(sample.x, means, sigmas, strict=True)
        return jnp.sum(jnp.stack([jnp.sum((x - mean) ** 2, -1) / sigma**2 for x, mean, sigma in layers]), 0)

    slips = [
        jnp.sum(x - mean - (x - mean) ** 2, -1) / sigma**2
        for x, mean, sigma in zip(sample.x[1:], sample.inferred[1:], net.sigma_inf[1:], strict=True)
    ]
    apart = squares(sample.generated, net.sigma_gen) - squares(sample.inferred, net.sigma_inf)
    return (2 * wake - 1) * apart - wake * jnp.sum(jnp.stack(slips), 0)
