"""Differences between the code of Bredenberg et al. (2021) and their equations, and rules that follow the code."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.networks.two_stream import Sample, TwoStream, advance, draw
from plasticity_jax.ops.groups import filled
from plasticity_jax.rules.generative import alternating, impression, neural_variational
from plasticity_jax.rules.generative.common import advance_path, free_energy, report, scores_by_stream
from plasticity_jax.rules.generative.impression import ImpressionTraces
from plasticity_jax.rules.generative.neural_variational import NeuralVariationalTraces
from plasticity_jax.rules.generative.schedules import Schedule
from plasticity_jax.typing import Array, Example, Key, Params, Scalar, Updates


def impression_at_rest_on_waking(net: TwoStream) -> LearningRule:
    """Impression learning whose weights that generate hidden layers rest on waking, as the transition does."""
    return _hidden_weighted(net, lambda wake, before: 1 - wake * (1 - before))


def impression_with_slow_layer(net: TwoStream, share: Scalar = 0.5) -> LearningRule:
    """Impression learning with a share of the rate for the weights that generate hidden layers."""
    return _hidden_weighted(net, lambda wake, before: share)


def _hidden_weighted(net: TwoStream, weight: Callable[[Array, Array], Scalar]) -> LearningRule:
    """Impression learning with those updates times a weight, of lambda and lambda of the step before."""
    rule = impression(net)

    def update(
        params: Params, traces: ImpressionTraces, key: Key, batch: Example
    ) -> tuple[Updates, ImpressionTraces, Info]:
        updates, after, info = rule.update(params, traces, key, batch)
        learns = weight(info.aux["wake"], traces.path.wake)
        down = updates["generation"]
        output, *hidden = down["w"]
        hidden, bias = (tuple(learns * leaf for leaf in leaves) for leaves in (hidden, down["bias"]))
        return {**updates, "generation": {**down, "w": (output, *hidden), "bias": bias}}, after, info

    return LearningRule(rule.init, update)


OTHER_STREAM = 1 << 17
"""Folded into a step's key for what inference samples while the network dreams; noise and schedules fold in less."""


def published_nvi(
    net: TwoStream, *, schedule: Schedule | None = None, gamma_g: Scalar = 0.9, gamma_baseline: Scalar = 0.01
) -> LearningRule:
    """NVI* as the authors' code computes it, whose second term climbs the loss, but teaches D_0 by accident.

    The second term has the wrong sign and twice the size; its loss is `logged_loss`, the average of which is taken
    after its update. What teaches the weights that generate is z and what inference sampled, also asleep, where that is
    not the dream: there it is no score, and its mean is not zero but the delta rule's. Where the loss asleep is above
    its average, D_0 so learns the data, at the rate times that surprise. The hidden ones rest on waking.

    Args:
      net: the network; Gaussian noise.
      schedule: of lambda; None is `alternating(2)`.
      gamma_g: what the eligibility trace keeps at each step.
      gamma_baseline: rate of the running average.

    Returns:
      A rule with the weights, traces, batches and reports of `neural_variational`. Of the code it leaves out that
      traces are never reset between trials.
    """
    schedule = alternating() if schedule is None else schedule

    def update(
        params: Params, traces: NeuralVariationalTraces, key: Key, batch: Example
    ) -> tuple[Updates, NeuralVariationalTraces, Info]:
        sample, wake, walk = advance_path(net, schedule, params, traces.path, key, batch)
        onset = wake * (1 - traces.path.wake)
        scored = scores_by_stream(net, params, sample, onset, inference=1, generation=1, precondition=True)
        inferred = _inferred(net, params, sample, wake, batch.x, jax.random.fold_in(key, OTHER_STREAM))
        told = scores_by_stream(net, params, inferred, onset, inference=1, generation=1, precondition=True)
        output, *hidden = told["generation"]["w"]
        hidden, bias = jax.tree.map(lambda leaf: (1 - onset) * leaf, (tuple(hidden), told["generation"]["bias"]))
        up, transition = scored["inference"], scored["generation"]["transition"]
        down = {"w": (output, *hidden), "bias": bias, "transition": transition}

        def weighted(inference: Array, generation: Array) -> Updates:
            inference, generation = (
                jax.tree.map(lambda leaf, weight=weight: weight * leaf, tree)
                for weight, tree in ((inference, up), (generation, down))
            )
            return {"inference": inference, "generation": generation}

        loss = logged_loss(net, sample, wake, onset, traces.path.x)
        own, other = weighted(wake, 1 - wake), weighted(1 - wake, wake)
        eligibility = jax.tree.map(lambda g, new: gamma_g * g + new, traces.eligibility, own)
        average = traces.baseline + gamma_baseline * (loss - traces.baseline)
        surprise = loss - average
        updates = jax.tree.map(
            lambda a, g: -jnp.mean(a, 0) - jnp.tensordot(surprise, g, 1) / len(surprise), other, eligibility
        )
        traces = NeuralVariationalTraces(walk, eligibility, average, traces.steps)
        return filled(params, updates), traces, report(wake, free_energy(net, sample))

    return LearningRule(neural_variational(net, schedule=schedule).init, update)


def logged_loss(net: TwoStream, sample: Sample, wake: Array, onset: Array, before: tuple[Array, ...]) -> Array:
    """2 (log q~ - log p~) as logged, (B,): without normalisers, and awake with sum (r - f) for sum (r - f)^2.

    On waking every layer of neurons is predicted to stay as it was, of which the density says so of the top alone.

    Args:
      net: the network.
      sample: the step.
      wake: lambda_t.
      onset: k_t.
      before: the state of the step before, by layer.
    """

    def squares(means: tuple[Array, ...], sigmas: tuple[Scalar, ...]) -> Array:
        layers = zip(sample.x, means, sigmas, strict=True)
        return jnp.sum(jnp.stack([jnp.sum((x - mean) ** 2, -1) / sigma**2 for x, mean, sigma in layers]), 0)

    slips = [
        jnp.sum(x - mean - (x - mean) ** 2, -1) / sigma**2
        for x, mean, sigma in zip(sample.x[1:], sample.inferred[1:], net.sigma_inf[1:], strict=True)
    ]
    output, *hidden = sample.generated
    stays = [jnp.where(onset == 1, old, mean) for old, mean in zip(before[1:], hidden, strict=True)]
    apart = squares((output, *stays), net.sigma_gen) - squares(sample.inferred, net.sigma_inf)
    return (2 * wake - 1) * apart - wake * jnp.sum(jnp.stack(slips), 0)


def _inferred(net: TwoStream, params: Params, sample: Sample, wake: Array, z: Array, key: Key) -> Sample:
    """The step as inference sampled it, with noise of its own if the network dreams, and z in place of s."""
    innovations = draw(net, key, len(z), sample.top_tm1.dtype)
    apart = advance(net, params, True, False, sample.top_tm1, z, innovations)
    told = jax.tree.map(lambda own, other: jnp.where(wake == 1, own, other), sample, apart)
    return told._replace(x=(z, *told.x[1:]))
