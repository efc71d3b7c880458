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
    """Impression learning in which weights that generate hidden layers rest at onsets, like the transition."""
    return _hidden_weighted(net, lambda wake, before: 1 - wake * (1 - before))


def impression_with_slow_layer(net: TwoStream, share: Scalar = 0.5) -> LearningRule:
    """Impression learning in which weights that generate hidden layers learn at a share of the rate."""
    return _hidden_weighted(net, lambda wake, before: share)


def _hidden_weighted(net: TwoStream, weight: Callable[[Array, Array], Scalar]) -> LearningRule:
    """Impression learning with updates of those weights times a function of lambda and the previous lambda."""
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
"""Folded into a step's key for the sample of inference during a dream; noise and schedules fold in smaller numbers."""


def published_nvi(
    net: TwoStream, *, schedule: Schedule | None = None, gamma_g: Scalar = 0.9, gamma_baseline: Scalar = 0.01
) -> LearningRule:
    """NVI* as in the authors' code; its second term climbs the loss, but teaches D_0 by accident.

    The second term has the wrong sign and twice the size. Its loss is `logged_loss`, compared with a running average
    that already includes it. The weights that generate learn from z and from the sample of inference, also asleep, when
    that sample is not the dream. Their eligibility is then not a score: its mean is not zero, but that of the delta
    rule. When the loss asleep is above its average, D_0 therefore learns the data, at the rate times the difference.
    Weights that generate hidden layers rest at onsets.

    Args:
      net: the network, with Gaussian noise.
      schedule: of lambda; None is `alternating(2)`.
      gamma_g: share of the eligibility trace that is kept at each step.
      gamma_baseline: rate of the running average.

    Returns:
      A rule with the weights, traces, batches and reports of `neural_variational`. It has no trials; the authors' code
      has trials, but does not reset its traces between them.
    """
    schedule = alternating() if schedule is None else schedule

    def update(
        params: Params, traces: NeuralVariationalTraces, key: Key, batch: Example
    ) -> tuple[Updates, NeuralVariationalTraces, Info]:
        sample, wake, walk = advance_path(net, schedule, params, traces.path, key, batch)
        onset = wake * (1 - traces.path.wake)
        sample_scores = scores_by_stream(net, params, sample, onset, inference=1, generation=1, precondition=True)
        inferred = _inference_sample(net, params, sample, wake, batch.x, jax.random.fold_in(key, OTHER_STREAM))
        inferred_scores = scores_by_stream(net, params, inferred, onset, inference=1, generation=1, precondition=True)
        output, *hidden = inferred_scores["generation"]["w"]
        hidden, bias = jax.tree.map(
            lambda leaf: (1 - onset) * leaf, (tuple(hidden), inferred_scores["generation"]["bias"])
        )
        up, transition = sample_scores["inference"], sample_scores["generation"]["transition"]
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
    """2 (log q~ - log p~) as the authors log it, (B,): no normalisers, and awake sum (r - f) for sum (r - f)^2.

    At an onset the prediction for every layer of neurons is its previous state; in the density this holds for the top
    layer alone.

    Args:
      net: the network.
      sample: the step.
      wake: lambda_t.
      onset: k_t.
      before: the previous state, by layer.
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
    difference = squares((output, *stays), net.sigma_gen) - squares(sample.inferred, net.sigma_inf)
    return (2 * wake - 1) * difference - wake * jnp.sum(jnp.stack(slips), 0)


def _inference_sample(net: TwoStream, params: Params, sample: Sample, wake: Array, z: Array, key: Key) -> Sample:
    """Sample of inference at a step, with z in place of s; during a dream it has noise of its own."""
    innovations = draw(net, key, len(z), sample.top_tm1.dtype)
    awake_sample = advance(net, params, True, False, sample.top_tm1, z, innovations)
    merged = jax.tree.map(lambda own, other: jnp.where(wake == 1, own, other), sample, awake_sample)
    return merged._replace(x=(z, *merged.x[1:]))
