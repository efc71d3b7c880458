r"""Measures of a gradient estimator: mean, variance and signal-to-noise over keys, and bias against a reference.

Of estimates e_gk, in G groups of K keys each, with m_g the mean of a group and m that of all:

    variance        [sum_gk (e_gk - m_g)^2 + K sum_g (m_g - m)^2] / (G K - 1)     of one estimate
    standard error  sqrt(sum_g (m_g - m)^2 / (G (G - 1)))                         of m; G - 1 degrees of freedom
    z               (m - reference) / standard error                              Student's t if there is no bias

Groups are scanned, the keys of one are vmapped: memory is that of K estimates, and of three more for the sums, which
are merged group by group by the formula of Chan, Golub & LeVeque (1983). Both sums are of squares about a mean, so that
float32 is enough. An entry that does not vary at all is assumed to have a rounding error, eps |m|, so that ratios stay
finite.

Both signal-to-noise ratios use the measured mean: without any signal they are 1 / (G K), not 0.
Source of the first of them: the code of Bredenberg et al. (2021), figure 2.
"""

from collections.abc import Callable
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from plasticity_jax.base import LearningRule
from plasticity_jax.ops.norms import cosine, safe_norm
from plasticity_jax.typing import Array, Batch, Key, Params, PyTree, Updates


class Moments(NamedTuple):
    """Statistics of the estimates alone.

    Attributes:
      mean: the estimate's tree.
      variance: same tree, of one estimate, for each entry.
      standard_error: same tree, of the mean.
      snr: (), mean^2 / variance, averaged over all entries; an entry that is always zero counts zero.
      snr_total: (), |mean|^2 over the sum of variances.
    """

    mean: PyTree
    variance: PyTree
    standard_error: PyTree
    snr: Array
    snr_total: Array


class BiasVariance(NamedTuple):
    """Statistics of the estimates alone, as in `Moments`, and against a reference.

    Attributes:
      mean: the estimate's tree.
      variance: same tree.
      standard_error: same tree.
      snr: ().
      snr_total: ().
      bias: same tree, mean - reference.
      z: same tree, bias in standard errors.
      cosine: (), between the mean and the reference; 0 if either is 0.
      norm_ratio: (), |mean| / |reference|; 0 if the reference is 0.
      rms_error: (), root of the mean over estimates of |estimate - reference|^2.
    """

    mean: PyTree
    variance: PyTree
    standard_error: PyTree
    snr: Array
    snr_total: Array
    bias: PyTree
    z: PyTree
    cosine: Array
    norm_ratio: Array
    rms_error: Array


def moments(estimate: Callable[[Key], PyTree], keys: Key) -> Moments:
    """Mean, variance and signal-to-noise of a random estimate.

    Args:
      estimate: ``key -> tree`` of floating leaves; independent keys give independent estimates.
      keys: (groups, per_group), at least two groups; memory is that of the estimates in one group.

    Returns:
      The `Moments`.

    Raises:
      ValueError: if keys have another shape, or an estimate has leaves that are not floating.

    Example:
      >>> import jax
      >>> keys = jax.random.split(jax.random.key(0), (10, 100))
      >>> statistics = moments(lambda key: 3 + 2 * jax.random.normal(key), keys)
      >>> bool(abs(statistics.mean - 3) < 0.3), bool(abs(statistics.variance - 4) < 1)
      (True, True)

    Reference:
      Chan, Golub & LeVeque, "Algorithms for computing the sample variance", The American Statistician 1983.
    """
    if keys.ndim != 2 or keys.shape[0] < 2 or keys.shape[1] < 1:
        raise ValueError(f"keys have shape {keys.shape}: give (groups, per_group) of at least two groups")
    groups, per_group = keys.shape
    shapes = jax.eval_shape(estimate, keys[0, 0])
    if not all(jnp.issubdtype(leaf.dtype, jnp.floating) for leaf in jax.tree.leaves(shapes)):
        raise ValueError("an estimate holds leaves that are not floating: leave them out")
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def add_group(carry: tuple[PyTree, PyTree, PyTree], x: tuple[Array, Key]) -> tuple[tuple[PyTree, ...], None]:
        mean, within, between = carry
        earlier, keys_of_group = x
        samples = jax.vmap(estimate)(keys_of_group)
        # Relative to the first sample, so that equal samples have an exact mean and no variance.
        own = jax.tree.map(lambda s: s[0] + jnp.mean(s - s[:1], 0), samples)
        within = jax.tree.map(lambda w, s, m: w + jnp.sum((s - m[None]) ** 2, 0), within, samples, own)
        step = jax.tree.map(jnp.subtract, own, mean)
        between = jax.tree.map(lambda b, d: b + d**2 * (earlier / (earlier + 1)).astype(d.dtype), between, step)
        mean = jax.tree.map(lambda m, d: m + d / (earlier + 1).astype(d.dtype), mean, step)
        return (mean, within, between), None

    (mean, within, between), _ = jax.lax.scan(add_group, (zeros, zeros, zeros), (jnp.arange(groups), keys))
    variance = jax.tree.map(lambda w, b: (w + per_group * b) / (groups * per_group - 1), within, between)
    standard_error = jax.tree.map(lambda b: jnp.sqrt(b / (groups * (groups - 1))), between)
    signal, power = ravel_pytree(mean)[0], ravel_pytree(variance)[0]
    snr = jnp.mean(_ratio(signal, jnp.sqrt(power), signal) ** 2)
    length = safe_norm(signal)
    return Moments(mean, variance, standard_error, snr, _ratio(length, jnp.sqrt(jnp.sum(power)), length) ** 2)


def bias_variance(estimate: Callable[[Key], PyTree], keys: Key, reference: PyTree) -> BiasVariance:
    """Bias, variance and signal-to-noise of a random estimate against a reference.

    Args:
      estimate: see `moments`.
      keys: (groups, per_group), see `moments`.
      reference: true value, a tree like the estimate.

    Returns:
      The `BiasVariance`.

    Raises:
      ValueError: see `moments`.

    Example:
      >>> import jax
      >>> keys = jax.random.split(jax.random.key(0), (20, 50))
      >>> statistics = bias_variance(lambda key: 1 + jax.random.normal(key, (3,)), keys, 2 * jax.numpy.ones(3))
      >>> bool((statistics.z < -10).all()), round(float(statistics.norm_ratio), 1)
      (True, 0.5)
    """
    statistics = moments(estimate, keys)
    chex.assert_trees_all_equal_shapes(
        statistics.mean, reference, custom_message="the reference must have the structure and shapes of an estimate"
    )
    bias = jax.tree.map(jnp.subtract, statistics.mean, reference)

    def in_errors(off: Array, error: Array, mean: Array, wanted: Array) -> Array:
        return _ratio(off, error, jnp.maximum(jnp.abs(mean), jnp.abs(wanted)))

    z = jax.tree.map(in_errors, bias, statistics.standard_error, statistics.mean, reference)
    trees = (statistics.mean, reference, bias, statistics.variance)
    mean, wanted, off, power = (ravel_pytree(tree)[0] for tree in trees)
    length = safe_norm(wanted)
    norm_ratio = jnp.where(length > 0, safe_norm(mean) / jnp.where(length > 0, length, 1), 0)
    rms_error = jnp.sqrt(jnp.sum(off**2) + jnp.sum(power) * (1 - 1 / keys.size))
    return BiasVariance(*statistics, bias, z, cosine(mean, wanted), norm_ratio, rms_error)


def updates_along(rule: LearningRule, params: Params, key: Key, batches: Batch) -> Updates:
    """A rule's updates along a stream at fixed weights: no update is applied.

    Args:
      rule: any rule.
      params: the fixed weights.
      key: of its init and of all its steps.
      batches: leaves (T, B, ...).

    Returns:
      The updates, leaves (T, ...); ``lambda key: updates_along(rule, params, key, batches)`` is an estimate of them.

    Example:
      >>> import jax, jax.numpy as jnp, plasticity_jax as pj
      >>> net = pj.networks.mlp((3, 2), ("identity",))
      >>> key, batches = jax.random.key(0), pj.Example(jnp.ones((5, 1, 3)), jnp.ones((5, 1, 2)))
      >>> along = updates_along(pj.rules.hebb(net), pj.layers.init_params(key, net), key, batches)
      >>> along["forward"]["w"][0].shape
      (5, 2, 3)
    """
    traces = rule.init(params, key, jax.tree.map(lambda leaf: leaf[0], batches))

    def step(carry: tuple[PyTree, Array], batch: Batch) -> tuple[tuple[PyTree, Array], Updates]:
        traces, t = carry
        updates, traces, _ = rule.update(params, traces, jax.random.fold_in(key, t), batch)
        return (traces, t + 1), updates

    return jax.lax.scan(step, (traces, jnp.zeros((), jnp.int32)), batches)[1]


def _ratio(x: Array, spread: Array, scale: Array) -> Array:
    """x / spread, with the spread at least the rounding error of scale; 0 / 0 is 0."""
    spread = jnp.maximum(spread, jnp.finfo(spread.dtype).eps * jnp.abs(scale))
    positive = spread > 0
    return jnp.where(positive, x / jnp.where(positive, spread, 1), 0)
