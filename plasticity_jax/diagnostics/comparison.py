r"""Several rules on one trajectory: how their updates are aligned, and how good an estimate of the exact ones they are.

    alignment_ij    mean over steps of the cosines of `plasticity_jax.diagnostics.alignment_meter`

Against g, the reference's updates end to end over the steps, the updates e of a rule with mean m and variance v over
draws of its noise have, at weights that stay,

    bias            |m - g| / |g|
    bias error      |standard error of m| / |g|, what the bias of an unbiased rule measures by chance
    spread          sqrt(sum v) / |g|
    snr             (m . g / |g|)^2 / sum v, of one estimate: how far it goes along g, over its noise; both as powers

A rule without noise has a spread of 0 and an snr that is infinite, or not a number if it says nothing along g.
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
    """Names of rules in the order of an axis: part of a result's structure, so that it passes through jit and vmap."""


class Comparison(NamedTuple):
    """Rules side by side, R of them.

    Attributes:
      names: of the rules, in the order of every axis R.
      alignment: (R, R), mean cosine of two rules' updates for the same step; not a number where a rule is silent.
      counted: (R, R), int32, the steps over which it is a mean.
      cosine: (R,), mean cosine of an update with the reference's, a column of `alignment`.
      cosine_of_mean: (R,), of the mean over draws, all steps end to end, with the reference; 0 if either vanishes.
      norm_ratio: (R,), length of that mean over the reference's.
      bias: (R,), relative to the reference's length.
      bias_error: (R,), the part of it that chance explains.
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
    """Compares rules on one trajectory at fixed weights: with each other, and with one that is exact.

    Every rule draws from keys of its own, for two that share one may draw the same signs. What a rule is silent on is
    no part of its cosines, which `Comparison.counted` tells; its bias takes a zero as the estimate that it is.

    Args:
      rules: rules by name.
      params: the weights that all of them read.
      key: of the rules' starts and of their noise.
      batches: leaves (T, B, ...), the trajectory.
      reference: name of the rule that the others are held to, which draws no random numbers.
      lags: steps by which a rule's updates are late, where it is not what `LearningRule.lag` says.
      samples: groups, at least two, and draws in each; as many trajectories of updates are held as there are in a
        group. A rule that draws no random numbers runs once.
      burn_in: first steps that are not counted, while traces grow from nothing.
      select: what of the updates is compared.

    Returns:
      The `Comparison`, of the last T - burn_in - L steps that all rules have credited, L being the longest lag.

    Raises:
      TypeError: if the rules are not given by name.
      ValueError: if a name is not one of theirs, a lag or the burn-in is no whole number from 0 on, the trajectory is
        too short, or the reference draws random numbers.

    Example:
      >>> import jax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=2, n=8, n_out=2)
      >>> rules = {"rtrl": pj.rules.rtrl(cell), "uoro": pj.rules.uoro(cell)}
      >>> stream = pj.tasks.add()
      >>> def measured(key):
      ...     params, (_, batches) = pj.cells.init_params(key, cell), stream.take(stream.init(key), 30)
      ...     return comparison(rules, params, key, batches, reference="rtrl", burn_in=10)
      >>> found = jax.jit(measured)(jax.random.key(0))
      >>> rtrl, uoro = found.spread.tolist()  # without any noise, and with more of it than signal
      >>> rtrl == 0.0, uoro > 1.0, bool(found.cosine[1] < 0.5 < found.cosine[0])
      (True, True, True)

    Reference:
      Marschall, Cho & Savin, "A unified framework of online learning algorithms for training recurrent neural
      networks", JMLR 2020.
    """
    late = checked_lags(rules, lags)
    whole("burn_in", burn_in, 0, "steps")
    if reference not in rules:
        raise ValueError(f"reference={reference!r} is none of the rules {', '.join(rules)}")
    names, latest = Names(rules), max(late.values())
    steps = len(jax.tree.leaves(batches)[0])
    kept = steps - latest - burn_in
    if kept < 1:
        raise ValueError(
            f"{steps} steps are too few: a lag of {latest} and a burn-in of {burn_in} leave none; "
            f"take at least {latest + burn_in + 1}"
        )
    key_init, key_steps, key_draws = jax.random.split(key, 3)
    meter = alignment_meter(rules, lags=late, select=select)

    def look(carry: tuple[MeterState, Array, Array], batch: Batch) -> tuple[tuple[MeterState, Array, Array], None]:
        state, total, count = carry
        counts = state.step >= latest + burn_in
        state, reading = meter.step(state, params, jax.random.fold_in(key_steps, state.step), batch)
        total = total + jnp.where(counts, reading.cosines, 0)
        return (state, total, count + (reading.counted & counts).astype(jnp.int32)), None

    state = meter.init(params, key_init, jax.tree.map(lambda leaf: leaf[0], batches))
    square = (len(rules), len(rules))
    start = (state, jnp.zeros(square, state.recent.dtype), jnp.zeros(square, jnp.int32))
    (_, total, count), _ = jax.lax.scan(look, start, batches)
    alignment = jnp.where(count > 0, total / jnp.maximum(count, 1).astype(total.dtype), jnp.nan)

    def estimate(name: str) -> Callable[[Key], Array]:
        rule, first = rules[name], burn_in + late[name]

        def chosen(*arguments: Any) -> Any:
            updates, traces, info = rule.update(*arguments)
            return flat(select(updates)), traces, info

        def end_to_end(key: Key) -> Array:
            return updates_along(LearningRule(rule.init, chosen), params, key, batches)[first : first + kept].reshape(
                -1
            )

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


def _against(exact: Array, found: BiasVariance) -> tuple[Array, ...]:
    """A rule's row of a `Comparison`, from its cosine of the mean on."""
    length = safe_norm(exact)
    unit = jnp.where(length > 0, length, jnp.nan)  # relative to nothing, nothing is a number
    power = jnp.sum(found.variance)
    return (
        found.cosine,
        found.norm_ratio,
        safe_norm(found.bias) / unit,
        safe_norm(found.standard_error) / unit,
        jnp.sqrt(power) / unit,
        (found.cosine * found.norm_ratio * length) ** 2 / power,
    )


def _draws(estimate: Callable[[Key], Array], key: Key) -> bool:
    """Returns whether an estimate depends on its key: mapped over keys, it cannot then be returned once for all."""
    try:
        jax.eval_shape(jax.vmap(estimate, out_axes=None), jax.random.split(key, 2))
    except ValueError:
        return True
    return False
