"""Estimators of the gradient of W, and their cosine, bias, variance and signal-to-noise on windows of four steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments.bredenberg2021.authors import published_nvi
from experiments.bredenberg2021.common import STEPS, STREAMS, authors_loss
from experiments.bredenberg2021.gradients import following, pairs, path, running_state, starting_from, walk_on
from plasticity_jax.base import LearningRule
from plasticity_jax.diagnostics.bias_variance import moments, updates_along
from plasticity_jax.networks.two_stream import TwoStream, log_p, log_q, trajectory, two_stream
from plasticity_jax.ops.norms import cosine
from plasticity_jax.rules.generative import impression, neural_variational
from plasticity_jax.typing import Array, Example, Key, Params

T, PHASE = 4, 2
BATCH = 100
"""Trials that are averaged to one estimate."""
AVERAGED = (1, 100, 10_000)
UNBIASED = ("bp", "nvi", "nvi_baseline")


class Trials(NamedTuple):
    """Mean updates of W over a group of trials.

    Attributes:
      total: (windows, n_r, n_s), summed over the steps of a window.
      steps: (T, n_r, n_s), for each step of the first window; () if not needed.
    """

    total: Array
    steps: Any = ()


def network(latents: int) -> TwoStream:
    """The paper's network, with a neuron and two stimuli for each latent."""
    return two_stream((2 * latents, latents))


def with_baseline(rule: LearningRule, baseline: Array) -> LearningRule:
    """NVI* that starts from a converged baseline in place of 0."""

    def init(params: Params, key: Key, batch: Example) -> Any:
        traces = rule.init(params, key, batch)
        return traces._replace(baseline=jnp.full_like(traces.baseline, baseline))

    return LearningRule(init, rule.update)


def nvi(net: TwoStream, pattern: Array, published: bool = False) -> LearningRule:
    """NVI* with traces that do not decay and a constant baseline."""
    rule = published_nvi if published else neural_variational
    return rule(net, schedule=following(pattern), gamma_g=1.0, gamma_baseline=0.0)


def exact(net: TwoStream, params: Params, key: Key, z: Array, whole: bool = False) -> tuple[Array, Array]:
    """The loss of a step and its reparameterised gradient.

    Args:
      net: the network, with one layer.
      params: its weights.
      key: consumed.
      z: (2 T, B, n_s), stimuli before the window and in it.
      whole: whether to differentiate through the state that the window starts from, for the gradient of the long-run
        loss; False is the gradient of a trial, as for NVI*.

    Returns:
      The loss, (), and gradients (3, n_r, n_s): of both windows, and always awake.
    """
    patterns = jnp.concatenate([pairs(T, PHASE), jnp.ones((1, T), bool)])

    def one(key: Key, pattern: Array) -> tuple[Array, Array]:
        key_before, key_window = jax.random.split(key)

        def loss(params: Params) -> Array:
            top = running_state(net, params, key_before, z[:T], pattern)
            top = top if whole else jax.lax.stop_gradient(top)
            walk = walk_on(net, params, key_window, top, z[T:], pattern)
            return jnp.mean(jnp.where(pattern, 1, -1) @ (log_q(net, walk) - log_p(net, walk)))

        value, gradient = jax.value_and_grad(loss)(params)
        return value / T, net.sigma_inf[1] ** 2 * gradient["inference"]["w"][0]

    values, gradients = jax.vmap(one)(jax.random.split(key, 3), patterns)
    return jnp.mean(values[:2]), gradients


def by_rule(
    make: Callable[[Array], LearningRule],
    params: Params,
    key: Key,
    tops: Array,
    z: Array,
    factor: float = 1.0,
) -> Trials:
    """The mean over trials of a rule, one trial for each stream, with independent noise in both windows.

    Args:
      make: ``pattern -> rule``.
      params: the network's weights.
      key: consumed.
      tops: (2, B, n_r), the states that the windows start from.
      z: (T, B, n_s), stimuli in the window.
      factor: factor of all updates.
    """

    def one(key: Key, pattern: Array, top: Array) -> Array:
        rule = starting_from(make(pattern), top, pattern[-1])
        return factor * updates_along(rule, params, key, Example(z, z))["inference"]["w"][0]

    steps = jax.vmap(one)(jax.random.split(key, 2), pairs(T, PHASE), tops)
    return Trials(jnp.sum(steps, 1), steps[0])


def starts(net: TwoStream, params: Params, key: Key, z: Array) -> Array:
    """Initial states of both windows, (2, B, n_r), after stimuli (T, B, n_s)."""
    each = jax.random.split(key, 2)
    return jax.vmap(lambda key, pattern: running_state(net, params, key, z, pattern))(each, pairs(T, PHASE))


def losses(net: TwoStream, params: Params, key: Key, mixing: Array) -> dict[str, Array]:
    """Mean losses of a step on fresh stimuli, in the authors' units: ``alternating`` with phases, ``wake`` awake."""
    key_path, key_noise = jax.random.split(key)
    z, t = path(key_path, mixing.shape[1], mixing.shape[0], STEPS, mixing, STREAMS), jnp.arange(STEPS)

    def mean(pattern: Array) -> Array:
        cycles = slice(2 * PHASE, STEPS - STEPS % (2 * PHASE))
        return jnp.mean(authors_loss(net, trajectory(net, params, key_noise, z, pattern), pattern)[cycles])

    return {"alternating": mean(t % (2 * PHASE) < PHASE), "wake": mean(t >= 0)}


def quality(key: Key, params: Params, mixing: Array, *, groups: int, truths: int) -> dict[str, Array]:
    """Losses on a test, and statistics of every estimator at the same weights and stimulus, named "name.statistic".

    Args:
      key: consumed.
      params: weights of `network`.
      mixing: (n_s, n_lat), the mixing matrix of the stimuli.
      groups: groups of `BATCH` trials, for the statistics of all estimators.
      truths: groups of `BATCH` trials, for the true gradient.
    """
    key_path, key_truth, key_trials, key_stimuli, key_test = jax.random.split(key, 5)
    net = network(mixing.shape[1])
    z = path(key_path, mixing.shape[1], mixing.shape[0], 2 * T, mixing)
    z = jnp.broadcast_to(z, (2 * T, BATCH, z.shape[-1]))
    true_moments = moments(lambda key: exact(net, params, key, z), jax.random.split(key_truth, (truths, 1)))
    truth, error = true_moments.mean[1][:2], true_moments.standard_error[1][:2]
    baseline = -true_moments.mean[0]
    mean_truth = jnp.mean(truth, 0)

    def il_rule(pattern: Array) -> LearningRule:
        return impression(net, schedule=following(pattern))

    def trials(key: Key) -> dict[str, Trials]:
        gradient = exact(net, params, jax.random.fold_in(key, 1), z)[1]
        arguments = (params, key, starts(net, params, jax.random.fold_in(key, 2), z[:T]), z[T:])
        return {
            "bp": Trials(gradient[:2]),
            "elbo": Trials(jnp.stack([gradient[2]] * 2)),
            "il": by_rule(il_rule, *arguments, 2.0),
            "nvi": by_rule(lambda pattern: nvi(net, pattern), *arguments),
            "nvi_baseline": by_rule(lambda pattern: with_baseline(nvi(net, pattern), baseline), *arguments),
            # The code's signal is -2 l, apart from normalisers and an error, which are small in comparison.
            "published": by_rule(lambda pattern: with_baseline(nvi(net, pattern, True), -2 * baseline), *arguments),
        }

    def with_cosines(key: Key) -> tuple[dict[str, Trials], dict[str, Array]]:
        each = trials(key)
        return each, {name: cosine(jnp.mean(one.total, 0), mean_truth) for name, one in each.items()}

    all_trials = moments(with_cosines, jax.random.split(key_trials, (groups, 1)))
    (mean, cosines), (variance, _) = all_trials.mean, all_trials.variance
    metrics = {f"test.{name}": value for name, value in losses(net, params, key_test, mixing).items()}
    metrics["truth.norm"] = jnp.sqrt(jnp.maximum(jnp.sum(mean_truth**2) - jnp.sum(error**2) / 4, 0))
    for name in mean:
        one = jax.tree.map(lambda leaf: BATCH * leaf, variance[name])  # of one trial
        statistics = estimator_statistics(name, mean[name], one, groups * BATCH, truth, error, mean["il"])
        metrics |= {f"{name}.{key}": value for key, value in {**statistics, "cosine_100": cosines[name]}.items()}

    def any_stimulus(key: Key) -> tuple[Array, Array]:
        """The gradient and IL's update when every trial has its own path: learning follows the mean over stimuli."""
        key_path, key_trials = jax.random.split(key)
        paths = path(key_path, mixing.shape[1], mixing.shape[0], 2 * T, mixing, BATCH)
        tops = starts(net, params, jax.random.fold_in(key_trials, 2), paths[:T])
        il = by_rule(il_rule, params, key_trials, tops, paths[T:], 2.0)
        true_gradients = exact(net, params, jax.random.fold_in(key_trials, 1), paths, whole=True)[1][:2]
        return jnp.mean(true_gradients, 0), jnp.mean(il.total, 0)

    over_stimuli = moments(any_stimulus, jax.random.split(key_stimuli, (truths, 1)))
    return metrics | {
        f"stimuli.{name}": value
        for name, value in cosine_and_bias(over_stimuli.mean, over_stimuli.standard_error).items()
    }


def cosine_and_bias(means: tuple[Array, Array], errors: tuple[Array, Array]) -> dict[str, Array]:
    """Cosine, length and bias of an estimate relative to the gradient, and the gradient's "norm", corrected for noise.

    Args:
      means: of the gradient and of the estimate.
      errors: their standard errors.
    """
    (gradient, estimate), noise = means, [jnp.sum(leaf**2) for leaf in errors]
    length = jnp.sum(gradient**2) - noise[0]
    off = jnp.maximum(jnp.sum((estimate - gradient) ** 2) - noise[0] - noise[1], 0)
    return {
        "cosine": cosine(estimate, gradient),
        "norm_ratio": jnp.sqrt(jnp.maximum(jnp.sum(estimate**2) - noise[1], 0) / length),
        "bias": jnp.sqrt(off / length),
        "absolute_bias": jnp.sqrt(off),
        "norm": jnp.sqrt(jnp.maximum(length, 0)),
    }


def estimator_statistics(
    name: str, mean: Trials, variance: Trials, count: int, truth: Array, error: Array, il: Trials
) -> dict[str, Array]:
    """Statistics of one estimator; "norm" and "cosine_il" are not corrected for the noise of the mean.

    Args:
      name: name of the estimator.
      mean: mean over all trials.
      variance: variance of one trial.
      count: number of trials.
      truth: (2, n_r, n_s), the gradient on both windows.
      error: same shape, its standard error.
      il: the mean of all trials of IL.
    """
    gradient, estimate = jnp.mean(truth, 0), jnp.mean(mean.total, 0)
    length, power = jnp.sum(gradient**2), jnp.sum(variance.total) / 4  # of the mean over two windows
    if name == "elbo":
        power = 2 * power  # both windows are the same trial
    noise = power / count
    unbiased = name in UNBIASED
    own_length = length if unbiased else jnp.maximum(jnp.sum(estimate**2) - noise, 0)
    along = jnp.where(unbiased, length, jnp.sum(estimate * gradient))
    off = jnp.maximum(jnp.sum((estimate - gradient) ** 2) - noise - jnp.sum(error**2) / 4, 0)

    def cosine_of(trials: int) -> Array:
        return along / jnp.sqrt(length * (own_length + power / trials))

    spread = jnp.sum(variance.total, 0) / 4 / count + jnp.sum(error**2, 0) / 4
    window_signal = jnp.sum(truth[0] ** 2 if unbiased else mean.total[0] ** 2 - variance.total[0] / count)
    statistics = {
        "cosine": cosine(estimate, gradient),
        "cosine_il": cosine(estimate, jnp.mean(il.total, 0)),
        "norm": jnp.sqrt(jnp.sum(estimate**2)),
        **{f"expected_cosine_{trials}": cosine_of(trials) for trials in AVERAGED},
        "norm_ratio": jnp.sqrt(jnp.maximum(jnp.sum(estimate**2) - noise, 0) / length),
        "bias": jnp.sqrt(off / length),
        "absolute_bias": jnp.sqrt(off),
        "variance": power / length,
        "z_rms": jnp.sqrt(jnp.mean((estimate - gradient) ** 2 / spread)),
        "window_cosine": cosine(mean.total[0], truth[0]),
        "snr": window_signal / jnp.sum(variance.total[0]),
    }
    if len(mean.steps):
        step = truth[0] / T if unbiased else mean.total[0] / T
        pooled = jnp.mean(variance.steps + mean.steps**2, 0) - jnp.mean(mean.steps, 0) ** 2
        statistics["snr_step"] = jnp.mean(step**2 / pooled)
    return statistics
