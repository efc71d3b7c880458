r"""Alignment of several rules on one trajectory, step by step.

u_i^s is the update by which rule i credits step s, emitted at step s + l_i, where l_i is its lag. All rules read the
same weights and batches, and none of their updates are applied, so that their updates for one step can be compared:

    cosine_ij^s = u_i^s . u_j^s / (|u_i^s| |u_j^s|)        where neither is 0
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.base import LearningRule, compare
from plasticity_jax.ops.checks import whole
from plasticity_jax.ops.norms import safe_norm
from plasticity_jax.typing import Array, Batch, Key, Params, PyTree, Traces, Updates

Select = Callable[[Updates], PyTree]
"""``updates -> the part of them to compare``."""


class MeterState(NamedTuple):
    """State of an `AlignmentMeter`.

    Attributes:
      traces: each rule's, by name.
      recent: (L + 1, R, P), each rule's last updates, newest first; L is the longest lag.
      step: shape (), int32, steps taken.
    """

    traces: dict[str, Traces]
    recent: Array
    step: Array


class Reading(NamedTuple):
    """Reading of an `AlignmentMeter` at a step.

    Attributes:
      updates: each rule's, by name, as it emitted them at this step.
      cosines: (R, R), of the updates for the step L steps ago; 0 where not counted.
      counted: (R, R), bool: L steps have passed, and neither update is 0.
    """

    updates: dict[str, Updates]
    cosines: Array
    counted: Array


class AlignmentMeter(NamedTuple):
    """Rules that are evaluated alongside learning, without changing the weights.

    Attributes:
      init: ``(params, key, batch) -> state``.
      step: ``(state, params, key, batch) -> (state, reading)``; rule number i draws from ``fold_in(key, i)``.
    """

    init: Callable[[Params, Key, Batch], MeterState]
    step: Callable[[MeterState, Params, Key, Batch], tuple[MeterState, Reading]]


def hidden_weights(updates: Updates) -> PyTree:
    """The weights that need credit assignment, because the output's error alone does not give their gradient.

    Args:
      updates: of the params of a cell or a chain; any others are returned whole.

    Returns:
      Of a cell all but the readout, which has no lag even where the rest of the rule has one; of a chain the weights
      below the last layer, or those of the only layer. Biases of chains are left out.

    Example:
      >>> import jax, plasticity_jax as pj
      >>> params = pj.cells.init_params(jax.random.key(0), pj.cells.leaky(n_in=2, n=8, n_out=3))
      >>> list(hidden_weights(params))
      ['w']
    """
    forward = updates.get("forward") if isinstance(updates, Mapping) else None
    if not isinstance(forward, Mapping):
        return updates
    if "w_out" in forward:
        return {name: leaf for name, leaf in forward.items() if name != "w_out"}
    w = forward.get("w")
    if isinstance(w, list | tuple) and w:
        return w[:-1] if len(w) > 1 else w
    return forward


def alignment_meter(
    rules: Mapping[str, LearningRule], *, lags: Mapping[str, int] | None = None, select: Select = hidden_weights
) -> AlignmentMeter:
    """Builds a meter of the alignment of rules at each step; the weights may change meanwhile.

    Args:
      rules: rules by name.
      lags: the lags of rules, where they differ from `LearningRule.lag`.
      select: the part of the updates to compare.

    Returns:
      The `AlignmentMeter`, which stores L + 1 updates of each rule.

    Raises:
      TypeError: if the rules are not given by name.
      ValueError: if there are no rules, or lags name an unknown rule or are not whole numbers of at least 0.

    Example:
      >>> import jax, jax.numpy as jnp, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=2, n=8, n_out=2)
      >>> meter = alignment_meter({"rtrl": pj.rules.rtrl(cell), "rflo": pj.rules.rflo(cell)})
      >>> key, batch = jax.random.key(0), pj.Example(jnp.ones((1, 2)), jnp.array([1]))
      >>> def learn(carry, _):  # RTRL learns, and RFLO is compared with it
      ...     params, state = carry
      ...     state, reading = meter.step(state, params, key, batch)
      ...     params = jax.tree.map(lambda p, g: p - 0.1 * g, params, reading.updates["rtrl"])
      ...     return (params, state), reading.cosines[0, 1]
      >>> def run(key):
      ...     params = pj.cells.init_params(key, cell)
      ...     return jax.lax.scan(learn, (params, meter.init(params, key, batch)), length=10)[1]
      >>> cosines = jax.jit(run)(key)
      >>> bool((0.5 < cosines).all()), bool(cosines[-1] < cosines[0])
      (True, True)
    """
    lag_of = checked_lags(rules, lags)
    longest = max(lag_of.values())
    # At step t a rule of lag l credits step t - l: delay each rule's updates until those of the longest lag are there.
    delay = np.array([longest - lag_of[name] for name in rules])

    def chosen(updates: Mapping[str, Updates]) -> Array:
        return jnp.stack([flat(select(updates[name])) for name in rules])

    def init(params: Params, key: Key, batch: Batch) -> MeterState:
        traces = {
            name: rule.init(params, jax.random.fold_in(key, i), batch) for i, (name, rule) in enumerate(rules.items())
        }
        shape = jax.eval_shape(lambda: chosen(compare(rules, params, traces, key, batch)[0]))
        return MeterState(traces, jnp.zeros((longest + 1, *shape.shape), shape.dtype), jnp.zeros((), jnp.int32))

    def step(state: MeterState, params: Params, key: Key, batch: Batch) -> tuple[MeterState, Reading]:
        updates, traces, _ = compare(rules, params, state.traces, key, batch)
        recent = jnp.concatenate([chosen(updates)[None], state.recent[:-1]])
        aligned = recent[delay, jnp.arange(len(rules))]
        norms = jax.vmap(safe_norm)(aligned)
        nonzero = (norms != 0) & (state.step >= longest)
        unit = aligned / jnp.where(norms != 0, norms, 1)[:, None]
        counted = nonzero[:, None] & nonzero[None]
        reading = Reading(updates, jnp.where(counted, unit @ unit.T, 0), counted)
        return MeterState(traces, recent, state.step + 1), reading

    return AlignmentMeter(init, step)


def checked_lags(rules: Mapping[str, LearningRule], lags: Mapping[str, int] | None) -> dict[str, int]:
    """The lag of every rule, by name."""
    if not isinstance(rules, Mapping):
        raise TypeError('give the rules by name, as in {"rtrl": rtrl(cell)}')
    if not rules:
        raise ValueError("there is no rule to compare: give one or more by name")
    lags = {} if lags is None else lags
    for name in lags:
        if name not in rules:
            raise ValueError(f"lags name {name!r}, which is none of the rules {', '.join(rules)}")
        whole(f"lags[{name!r}]", lags[name], 0, "steps")
    return {name: lags.get(name, rule.lag) for name, rule in rules.items()}


def flat(tree: PyTree) -> Array:
    """All entries of a tree as one vector."""
    return jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(tree)])
