r"""Several rules on one trajectory: the alignment of their updates, and their bias and variance as estimates.

    alignment_ij    mean over steps of the cosines of `plasticity_jax.diagnostics.alignment_meter`

With g the reference's updates, concatenated over the steps, and m and v the mean and variance of a rule's updates over
draws of its noise, all at fixed weights:

    bias            |m - g| / |g|
    bias error      |standard error of m| / |g|, the bias that an unbiased rule shows by chance
    spread          sqrt(sum v) / |g|
    snr             (m . g / |g|)^2 / sum v, of one estimate: the power of its mean along g over that of its noise

A rule without noise has a spread of 0 and an snr that is infinite, or not a number if its mean has no part along g.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.diagnostics.alignment_meter import (
    MeterState,
    Select,
    alignment_meter,
    checked_lags,
    flat,
    hidden_weights,
)
from plasticity_jax.diagnostics.bias_variance import BiasVariance, bias_variance, updates_along
from plasticity_jax.ops.checks import whole
from plasticity_jax.ops.norms import safe_norm
from plasticity_jax.typing import Array, Batch, Key, Params


@jax.tree_util.register_static
class Names(tuple[str, ...]):
    """Names of rules in the order of an axis, a static part of a result, so that it passes through jit and vmap."""


class Comparison(NamedTuple):
    """Rules side by side, R of them.

    Attributes:
      names: of the rules, in the order of every axis R.
      alignment: (R, R), mean cosine of two rules' updates for the same step; NaN where no step is counted.
      counted: (R, R), int32, number of steps in the mean.
      cosine: (R,), mean cosine of an update with the reference's, a column of `alignment`.
      cosine_of_mean: (R,), of the mean over draws, all steps concatenated, with the reference; 0 if either is 0.
      norm_ratio: (R,), length of that mean over the reference's.
      bias: (R,), relative to the reference's length.
      bias_error: (R,), the part of it that is expected by chance.
      spread: (R,), of one estimate, relative to the reference's length.
      snr: (R,), signal-to-noise of one estimate along the reference.
    """

    names: Names
    alignment: Array
    counted: Array
    cosine: Array
    cosine_of_mean: Array
    norm_ratio: Array
    bias: Array
    bias_error: Array
    spread: Array
    snr: Array


def comparison(
    rules: Mapping[str, LearningRule],
    params: Params,
    key: Key,
    batches: Batch,
    *,
    reference: str,
    lags: Mapping[str, int] | None = None,
    samples: tuple[int, int] = (10, 10),
    burn_in: int = 0,
    select: Select = hidden_weights,
) -> Comparison:
    """Compares rules on one trajectory at fixed weights, with each other and with an exact rule.

    Every rule draws from keys of its own, because rules that share a key may draw the same signs. Steps at which a
    rule's update is 0 are left out of its cosines (`Comparison.counted` counts the others), but not of its bias.

    Args:
      rules: rules by name.
      params: the weights that all of them read.
      key: of the rules' initial traces and of their noise.
      batches: leaves (T, B, ...), the trajectory.
      reference: name of the rule that the others are compared with; it must draw no random numbers.
      lags: the lags of rules, where they differ from `LearningRule.lag`.
      samples: groups, at least two, and draws in each; memory is that of the trajectories of updates in one group. A
        rule that draws no random numbers runs once.
      burn_in: first steps that are not counted, while traces build up.
      select: the part of the updates to compare.

    Returns:
      The `Comparison`, over the T - burn_in - L steps that all rules have credited, where L is the longest lag.

    Raises:
      TypeError: if the rules are not given by name.
      ValueError: if a name is not a rule's, a lag or the burn-in is not a whole number of at least 0, the trajectory is
        too short, or the reference draws random numbers.

    Example:
      >>> import jax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=2, n=8, n_out=2)
      >>> rules = {"rtrl": pj.rules.rtrl(cell), "uoro": pj.rules.uoro(cell)}
      >>> stream = pj.tasks.add()
      >>> def measured(key):
      ...     params, (_, batches) = pj.cells.init_params(key, cell), stream.take(stream.init(key), 30)
      ...     return comparison(rules, params, key, batches, reference="rtrl", burn_in=10)
      >>> result = jax.jit(measured)(jax.random.key(0))
      >>> rtrl, uoro = result.spread.tolist()  # no noise, and more noise than signal
      >>> rtrl == 0.0, uoro > 1.0, bool(result.cosine[1] < 0.5 < result.cosine[0])
      (True, True, True)

    Reference:
      Marschall, Cho & Savin, "A unified framework of online learning algorithms for training recurrent neural
      networks", JMLR 2020.
    """
    lag_of = checked_lags(rules, lags)
    whole("burn_in", burn_in, 0, "steps")
    if reference not in rules:
        raise ValueError(f"reference={reference!r} is none of the rules {', '.join(rules)}")
    names, longest = Names(rules), max(lag_of.values())
    steps = len(jax.tree.leaves(batches)[0])
    compared = steps - longest - burn_in
    if compared < 1:
        raise ValueError(
            f"{steps} steps are too few: a lag of {longest} and a burn-in of {burn_in} leave none; "
            f"take at least {longest + burn_in + 1}"
        )
    key_init, key_steps, key_draws = jax.random.split(key, 3)
    meter = alignment_meter(rules, lags=lag_of, select=select)

    def measure(carry: tuple[MeterState, Array, Array], batch: Batch) -> tuple[tuple[MeterState, Array, Array], None]:
        state, total, count = carry
        begun = state.step >= longest + burn_in
        state, reading = meter.step(state, params, jax.random.fold_in(key_steps, state.step), batch)
        total = total + jnp.where(begun, reading.cosines, 0)
        return (state, total, count + (reading.counted & begun).astype(jnp.int32)), None

    state = meter.init(params, key_init, jax.tree.map(lambda leaf: leaf[0], batches))
    square = (len(rules), len(rules))
    start = (state, jnp.zeros(square, state.recent.dtype), jnp.zeros(square, jnp.int32))
    (_, total, count), _ = jax.lax.scan(measure, start, batches)
    alignment = jnp.where(count > 0, total / jnp.maximum(count, 1).astype(total.dtype), jnp.nan)

    def estimate(name: str) -> Callable[[Key], Array]:
        rule, first = rules[name], burn_in + lag_of[name]

        def chosen(*arguments: Any) -> Any:
            updates, traces, info = rule.update(*arguments)
            return flat(select(updates)), traces, info

        def end_to_end(key: Key) -> Array:
            updates = updates_along(LearningRule(rule.init, chosen), params, key, batches)
            return updates[first : first + compared].reshape(-1)

        return end_to_end

    if _draws(estimate(reference), key):
        raise ValueError(f"reference={reference!r} draws random numbers; hold the rules to one that does not")
    exact = estimate(reference)(key_draws)

    def row(name: str, key: Key) -> tuple[Array, ...]:
        drawn, shape = estimate(name), samples
        if not _draws(drawn, key):
            once, shape = exact if name == reference else drawn(key), (2, 1)
            drawn = lambda key: once  # noqa: E731
        return _against(exact, bias_variance(drawn, jax.random.split(key, shape), exact))

    rows = [row(name, jax.random.fold_in(key_draws, i)) for i, name in enumerate(names)]
    columns = (jnp.stack(column) for column in zip(*rows, strict=True))
    return Comparison(names, alignment, count, alignment[:, names.index(reference)], *columns)


def _against(exact: Array, statistics: BiasVariance) -> tuple[Array, ...]:
    """A rule's row of a `Comparison`, from its cosine of the mean on."""
    length = safe_norm(exact)
    unit = jnp.where(length > 0, length, jnp.nan)  # NaN relative to a reference of 0
    power = jnp.sum(statistics.variance)
    return (
        statistics.cosine,
        statistics.norm_ratio,
        safe_norm(statistics.bias) / unit,
        safe_norm(statistics.standard_error) / unit,
        jnp.sqrt(power) / unit,
        (statistics.cosine * statistics.norm_ratio * length) ** 2 / power,
    )


def _draws(estimate: Callable[[Key], Array], key: Key) -> bool:
    """Returns whether an estimate depends on its key: if so, vmap over keys refuses to return it unmapped."""
    try:
        jax.eval_shape(jax.vmap(estimate, out_axes=None), jax.random.split(key, 2))
    except ValueError:
        return True
    return False
