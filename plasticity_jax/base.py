"""The protocol: a learning rule is a pure state transition, and a learner is a rule with an optimiser.

Everything in the library, from Oja's rule to a gradient through a whole lifetime, is a `LearningRule`, so that
one `learner`, one law suite, one runner and one set of diagnostics serve all of them.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.ops import prng
from plasticity_jax.ops.readiness import READY, Ready, hold, is_ready
from plasticity_jax.typing import Array, Batch, Key, Params, Traces, Updates

__all__ = [
    "READY",
    "Info",
    "InitFn",
    "Learner",
    "LearnerState",
    "LearningRule",
    "Ready",
    "RuleCase",
    "UpdateFn",
    "compare",
    "is_ready",
    "learner",
]


class Info(NamedTuple):
    """Report of a step. Nothing here is carried to the next step.

    Attributes:
      loss: shape (), the rule's loss, mean over the batch.
      ready: bool of shape (), or one for each group of params (``{"forward": {"w": ready}}``; groups not named are
        ready). Where it is False the rule only accumulates, and a `learner` keeps the weights and the state of their
        optimiser.
      aux: diagnostics by name.
    """

    loss: Array
    ready: Ready = READY
    aux: Mapping[str, Array] = {}


class InitFn(Protocol):
    """Makes the traces that a rule starts from."""

    def __call__(self, params: Params, key: Key, batch: Batch, /) -> Traces:
        """Returns the initial traces.

        Args:
          params: the weights, in named groups.
          key: shape (), for traces that start at random.
          batch: one step's example, read for its shapes only.
        """
        ...


class UpdateFn(Protocol):
    """One step of a rule."""

    def __call__(self, params: Params, traces: Traces, key: Key, batch: Batch, /) -> tuple[Updates, Traces, Info]:
        """Returns the updates, the traces after the step, and the step's report.

        Args:
          params: the weights, in named groups.
          traces: what the rule carries, as `init` or the step before left it.
          key: shape (), the step's own; a deterministic rule does not read it.
          batch: one step's example.
        """
        ...


class LearningRule(NamedTuple):
    """A pair of pure functions, in the manner of `optax.GradientTransformation`.

    Attributes:
      init: ``(params, key, batch) -> traces``; the batch is one step's example, read for its shapes only.
      update: ``(params, traces, key, batch) -> (updates, traces, info)``. Updates are gradient-signed, a drop-in for
        `jax.grad`: ``optax.sgd(1.0)`` realises the textbook weight change. A rule needs no group of params that it
        does not read, and emits zeros for weights that it does not change.
      lag: the updates emitted at step t credit step t - lag.
    """

    init: InitFn
    update: UpdateFn
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
    """A tiny worked case of a rule: the first thing for the law suite, and for a newcomer, to run.

    Attributes:
      make: ``make(**coefficients) -> rule``; every coefficient has its default.
      params: ``key -> params`` of a small network.
      batch: ``key -> batch`` of one step; fold the step into the key for a stream.
      kind: "exact" (equals backpropagation through time on finite windows), "unbiased" (in expectation),
        "approximate" (exact in a named special case), or "local" (no claim on the gradient).
      coefficients: coefficients that can be meta-learned, with their defaults.
      stochastic: whether a step draws random numbers; None leaves it open.
    """

    make: Callable[..., LearningRule]
    params: Callable[[Key], Params]
    batch: Callable[[Key], Batch]
    kind: Literal["exact", "unbiased", "approximate", "local"]
    coefficients: Mapping[str, float]
    stochastic: bool | None = None


def learner(rule: LearningRule, tx: optax.GradientTransformation) -> Learner:
    """Joins a rule and an optimiser into one pure step.

    Where a step is not `Info.ready`, weights and the state of their optimiser do not change. A counter that several
    groups of weights share (Adam's, say) moves on if any of them is ready: give groups that begin to learn at different
    times optimisers of their own with `optax.partition`. State of another form than the params (`optax.flatten`) is not
    held. Optimisers that read the loss receive it as ``value``.

    A gradient through learning with Adam needs ``optax.adam(rate, eps_root=1e-8)``: at a gradient of zero the root has
    no finite derivative without it.

    Args:
      rule: supplies gradient-signed updates.
      tx: any optax transformation; `optax.partition` gives groups of params their own.

    Returns:
      A `Learner`.

    Raises:
      TypeError: if the rule is not a `LearningRule` or the optimiser not an optax transformation.

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
    if not isinstance(rule, LearningRule):
        hint = (
            "call it with its network first, as in rflo(cell)" if callable(rule) else "make one with a rule's factory"
        )
        raise TypeError(f"rule={_name(rule)} is not a LearningRule: {hint}")
    if not (hasattr(tx, "init") and hasattr(tx, "update")):
        raise TypeError(f"tx={_name(tx)} is not an optax optimiser: give one, as in optax.sgd(0.1)")
    optimiser = optax.with_extra_args_support(tx)

    def init(params: Params, key: Key, batch: Batch) -> LearnerState:
        key_init, key_run = jax.random.split(key)
        traces = rule.init(params, key_init, batch)
        state = LearnerState(params, traces, tx.init(params), key_run, jnp.zeros((), jnp.int32))
        return _without_aliases(state)

    def step(state: LearnerState, batch: Batch) -> tuple[LearnerState, Info]:
        key = prng.fold_in(state.key, state.step)
        updates, traces, info = rule.update(state.params, state.traces, key, batch)
        updates, opt_state = optimiser.update(updates, state.opt_state, state.params, value=info.loss)
        params = optax.apply_updates(state.params, updates)
        if info.ready is not READY:
            params, opt_state = hold(info.ready, (params, opt_state), (state.params, state.opt_state))
        return LearnerState(params, traces, opt_state, state.key, state.step + 1), info

    return Learner(init, step)


def compare(
    rules: Mapping[str, LearningRule],
    params: Params,
    traces: Mapping[str, Traces],
    key: Key,
    batch: Batch,
) -> tuple[dict[str, Updates], dict[str, Traces], dict[str, Info]]:
    """Every rule's updates on ONE trajectory: same params, same batch, nothing applied.

    Args:
      rules: rules by name.
      params: the weights that all of them read.
      traces: each rule's own traces, by the same names.
      key: the step's key; rule number i draws from ``fold_in(key, i)``, so that no two share noise.
      batch: one step's example.

    Returns:
      ``(updates, traces, infos)`` by name. Updates of a rule with lag l credit the step l steps ago: compare them with
      the others' updates for that step.

    Raises:
      TypeError: if rules or traces are not given by name.
      ValueError: if rules and traces do not have the same names.

    Example:
      >>> import jax, plasticity_jax as pj
      >>> cases = {name: pj.RULES[name] for name in ("rtrl", "uoro")}
      >>> key = jax.random.key(0)
      >>> params, batch = cases["rtrl"].params(key), cases["rtrl"].batch(key)
      >>> rules = {name: case.make() for name, case in cases.items()}
      >>> traces = {name: rule.init(params, key, batch) for name, rule in rules.items()}
      >>> updates, traces, infos = pj.compare(rules, params, traces, key, batch)
      >>> sorted(updates)
      ['rtrl', 'uoro']
    """
    if not (isinstance(rules, Mapping) and isinstance(traces, Mapping)):
        raise TypeError('compare takes rules and traces by name, as in {"rtrl": rtrl(cell)}')
    if set(rules) != set(traces):
        raise ValueError(
            f"compare: rules are {', '.join(rules)} but traces are {', '.join(traces)}; give every rule its own traces"
        )
    results = {
        name: rule.update(params, traces[name], prng.fold_in(key, jnp.uint32(i)), batch)
        for i, (name, rule) in enumerate(rules.items())
    }
    updates, after, infos = ({name: result[i] for name, result in results.items()} for i in range(3))
    return updates, after, infos


def _without_aliases(state: LearnerState) -> LearnerState:
    """The state with copies of repeated arrays, because an array cannot be donated twice."""
    ids: set[int] = set()

    def own(leaf: Any) -> Any:
        if id(leaf) in ids:
            return jnp.copy(leaf)
        ids.add(id(leaf))
        return leaf

    return jax.tree.map(own, state)


def _name(value: Any) -> str:
    return getattr(value, "__name__", repr(value))
