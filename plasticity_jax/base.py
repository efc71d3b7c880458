"""The protocol: a learning rule is a pure state transition, and a learner is a rule with an optimiser.

Everything in the library, from Oja's rule to a gradient through a whole lifetime, is a `LearningRule`, so that
one `learner`, one law suite, one runner and one set of diagnostics serve all of them.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity_jax import prng
from plasticity_jax.typing import Array, Batch, Key, Params, Traces, Updates


class Info(NamedTuple):
    """What a step reports. Nothing here is carried to the next step.

    Attributes:
      loss: shape (), what the rule descends, mean over the batch.
      ready: shape (), bool; False while the rule only accumulates evidence for the weights that it teaches, whose
        updates are then zero (groups learned at every step, such as a readout, may still be updated).
      aux: diagnostics by name.
    """

    loss: Array
    ready: Array
    aux: Mapping[str, Array]


class LearningRule(NamedTuple):
    """A pair of pure functions, in the manner of `optax.GradientTransformation`.

    Attributes:
      init: ``(params, key, batch) -> traces``; the batch is one step's example, read for its shapes only.
      update: ``(params, traces, key, batch) -> (updates, traces, info)``. Updates are gradient-signed, a drop-in for
        `jax.grad`: ``optax.sgd(1.0)`` realises the textbook weight change. What the rule leaves alone gets zeros.
      lag: the updates emitted at step t credit step t - lag.
    """

    init: Callable[[Params, Key, Batch], Traces]
    update: Callable[[Params, Traces, Key, Batch], tuple[Updates, Traces, Info]]
    lag: int = 0


class LearnerState(NamedTuple):
    """Everything that a resume needs.

    Attributes:
      params: the weights, in named groups.
      traces: what the rule carries.
      opt_state: what the optimiser carries.
      key: the run's base key; step t uses ``fold_in(key, t)``, so a deterministic rule pays nothing for randomness.
      step: shape (), int32, the number of steps taken.
    """

    params: Params
    traces: Traces
    opt_state: optax.OptState
    key: Key
    step: Array


class Learner(NamedTuple):
    """A rule with its optimiser.

    Attributes:
      init: ``(params, key, batch) -> state``.
      step: ``(state, batch) -> (state, info)``, a `jax.lax.scan` body as it stands.
    """

    init: Callable[[Params, Key, Batch], LearnerState]
    step: Callable[[LearnerState, Batch], tuple[LearnerState, Info]]


class RuleCase(NamedTuple):
    """A tiny worked case of a rule: what the law suite, and a newcomer, runs first.

    Attributes:
      make: ``make(**coefficients) -> rule``; every coefficient has its default.
      params: ``key -> params`` of a small network.
      batch: ``key -> batch`` of one step; fold the step into the key for a stream.
      kind: "exact" (equals backpropagation through time on finite windows), "unbiased" (in expectation),
        "approximate" (exact in a named special case), or "local" (no claim on the gradient).
      coefficients: what a meta-learner may differentiate, with the defaults.
    """

    make: Callable[..., LearningRule]
    params: Callable[[Key], Params]
    batch: Callable[[Key], Batch]
    kind: Literal["exact", "unbiased", "approximate", "local"]
    coefficients: Mapping[str, float]


def learner(rule: LearningRule, tx: optax.GradientTransformation) -> Learner:
    """Joins a rule and an optimiser into one pure step.

    The optimiser sees the updates of every step, those that are not `Info.ready` too: zeros, which leave weights alone
    under SGD but move the averages of a stateful optimiser.

    Args:
      rule: supplies gradient-signed updates.
      tx: any optax transformation; route groups of params to their own with `optax.partition`.

    Returns:
      A `Learner`.

    Example:
      >>> import jax, optax, plasticity_jax as pj
      >>> case = pj.RULES["rflo"]
      >>> key = jax.random.key(0)
      >>> learn = pj.learner(case.make(), optax.sgd(0.1))
      >>> state = learn.init(case.params(key), key, case.batch(key))
      >>> state, info = learn.step(state, case.batch(key))
      >>> int(state.step), info.loss.shape
      (1, ())
    """

    def init(params: Params, key: Key, batch: Batch) -> LearnerState:
        key_init, key_run = jax.random.split(key)
        traces = rule.init(params, key_init, batch)
        return LearnerState(params, traces, tx.init(params), key_run, jnp.zeros((), jnp.int32))

    def step(state: LearnerState, batch: Batch) -> tuple[LearnerState, Info]:
        key = prng.fold_in(state.key, state.step)
        updates, traces, info = rule.update(state.params, state.traces, key, batch)
        updates, opt_state = tx.update(updates, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        return LearnerState(params, traces, opt_state, state.key, state.step + 1), info

    return Learner(init, step)


def compare(
    rules: Mapping[str, LearningRule] | Sequence[LearningRule],
    params: Params,
    traces: Mapping[str, Traces] | Sequence[Traces],
    key: Key,
    batch: Batch,
) -> tuple[Any, Any, Any]:
    """Every rule's updates on ONE trajectory: same params, same key, same batch, nothing applied.

    Args:
      rules: rules by name (or a sequence of them).
      params: the weights that all of them read.
      traces: each rule's own traces, in the same container as the rules.
      key: the step's key, the same for all, so that rules that perturb the network perturb it alike.
      batch: one step's example.

    Returns:
      ``(updates, traces, infos)``, each in the container of the rules. Updates of a rule with lag l credit the step l
      steps ago: compare them with the others' updates of then.

    Raises:
      ValueError: if rules and traces do not name the same rules.
    """
    named = isinstance(rules, Mapping)
    names = list(rules) if named else list(range(len(rules)))
    other = list(traces) if isinstance(traces, Mapping) else list(range(len(traces)))
    if set(names) != set(other):
        raise ValueError(f"compare: rules are {names} but traces are {other}; give every rule its own traces")
    results = [rules[name].update(params, traces[name], key, batch) for name in names]  # pyright: ignore
    columns = list(zip(*results, strict=True)) if results else [(), (), ()]
    if named:
        return tuple(dict(zip(names, column, strict=True)) for column in columns)  # pyright: ignore
    return tuple(list(column) for column in columns)  # pyright: ignore
