"""A case in the form that the laws run: a short trial, compiled once for all of them."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.base import Info, Learner, LearnerState, RuleCase, is_ready, learner
from plasticity_jax.testing.equality import at, cast, is_floating
from plasticity_jax.typing import Batch, Key, PyTree

STEPS = 10
"""Steps of a trial by default: two and a half windows of the windowed rules, and more than the eight that L6 needs."""

LONG = 1000
"""Steps of L11."""

RATE = 0.3
"""Rate of SGD in a trial: large enough for updates to affect later steps; momentum gives the optimiser a state."""


def seed(number: int) -> Key:
    """A key; each law has its own."""
    return jax.random.key(number)


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    """`jax.jit` that compiles quickly and runs slowly: laws compile many small programs and run them once."""
    quick = {
        "xla_backend_optimization_level": 0,
        "xla_llvm_disable_expensive_passes": True,
        "xla_cpu_parallel_codegen_split_count": 1,
    }
    return jax.jit(function, compiler_options=quick if jax.default_backend() == "cpu" else None, **options)


class Problem:
    """One rule's case, in double precision unless a law needs another; all laws share its compiled functions.

    Attributes:
      case: the rule's case.
      name: the rule's name.
      rate: learning rate of the trial.
      steps: of the trial.
      coefficients: those of the case, as float64 arrays.
      jit_init: ``(params, key, batch, coefficients) -> state``.
      jit_step: ``(state, batch, coefficients) -> (state, info)``.
      jit_trial: the same for batches with a leading axis of steps; the infos have it, too.
      abstract: `_abstract`, cached.
    """

    def __init__(self, case: RuleCase, name: str = "rule", rate: float = RATE, steps: int = STEPS):
        """Compiles nothing yet."""
        self.case, self.name, self.rate, self.steps = case, name, rate, steps
        self.coefficients = {key: jnp.asarray(value, jnp.float64) for key, value in case.coefficients.items()}
        self.jit_init = compiled(lambda params, key, batch, values: self.learner(values).init(params, key, batch))
        self.jit_step = compiled(self.step)
        self.jit_trial = compiled(self.trial)
        self.abstract = functools.cache(self._abstract)

    def learner(self, coefficients: PyTree, rate: float | None = None) -> Learner:
        """The rule at these coefficients, with SGD at the trial's rate or another."""
        sgd = optax.sgd(self.rate if rate is None else rate, momentum=0.5)
        return learner(self.case.make(**coefficients), _where_floating(sgd, self.case.params))

    def params(self, key: Key, dtype: Any = jnp.float64) -> PyTree:
        """Initial weights."""
        with jax.ensure_compile_time_eval():  # else the program is compiled once more wherever this is the context
            return cast(_compiled_params(self.case.params)(key), dtype)

    def batches(self, steps: int | None = None, dtype: Any = jnp.float64) -> Batch:
        """The first steps of a stream, by default those of the trial, leaves (steps, B, ...)."""
        steps = self.steps if steps is None else steps
        return cast(jax.tree.map(lambda leaf: leaf[:steps], _bank(self.case.batch)), dtype)

    def batch(self, dtype: Any = jnp.float64) -> Batch:
        """The first step of the stream."""
        return at(self.batches(1, dtype), 0)

    def start(self, number: int = 1, coefficients: PyTree | None = None, dtype: Any = jnp.float64) -> LearnerState:
        """A learner's first state, from the seed of this number."""
        key_params, key_learner = jax.random.split(seed(number))
        coefficients = cast(self.coefficients if coefficients is None else coefficients, dtype)
        return self.jit_init(self.params(key_params, dtype), key_learner, self.batch(dtype), coefficients)

    def trial(
        self, state: LearnerState, batches: Batch, coefficients: PyTree, steps: int | None = None
    ) -> tuple[LearnerState, Info]:
        """The steps of `batches`, in one scan; where batches have no leaves, `steps` or by default the trial's."""
        length = None if jax.tree.leaves(batches) else self.steps if steps is None else steps
        return jax.lax.scan(self.learner(coefficients).step, state, batches, length)

    def step(self, state: LearnerState, batch: Batch, coefficients: PyTree) -> tuple[LearnerState, Info]:
        """One step."""
        return self.learner(coefficients).step(state, batch)

    @functools.cached_property
    def trial_states(self) -> tuple[list[LearnerState], list[Info]]:
        """The trial step by step: the states at its edges, one more than steps, and the info of each step."""
        states, infos = [self.start()], []
        for t in range(self.steps):
            state, info = self.jit_step(states[-1], at(self.batches(), t), self.coefficients)
            states.append(state)
            infos.append(info)
        return states, infos

    @property
    def lesson(self) -> int:
        """The last step of the trial that teaches all weights, which many rules do at few steps; 0 if there is none."""
        return max(t for t, info in enumerate(self.trial_states[1]) if t == 0 or is_ready(info.ready))

    def _abstract(self, dtype: Any, python_floats: bool) -> tuple[PyTree, PyTree, PyTree, PyTree, Info]:
        """``params, traces, updates, traces after, info`` of one init and one update, as shapes only."""
        params, batch = self.params(jax.random.key(0), dtype), self.batch(dtype)

        def both(params: PyTree, key: Key, batch: Batch, coefficients: PyTree) -> Any:
            learning_rule = self.case.make(**({} if python_floats else coefficients))
            traces = learning_rule.init(params, key, batch)
            return traces, learning_rule.update(params, traces, key, batch)

        arguments = params, jax.random.key(0), batch, cast(self.coefficients, dtype)
        traces, (updates, after, info) = jax.eval_shape(both, *arguments)
        return params, traces, updates, after, info


def _where_floating(tx: optax.GradientTransformation, params: Callable[[Key], PyTree]) -> optax.GradientTransformation:
    """The optimiser, but without updates of counts and masks among the params."""
    if all(is_floating(leaf) for leaf in jax.tree.leaves(jax.eval_shape(params, seed(0)))):
        return tx

    def labels(tree: PyTree) -> PyTree:
        return jax.tree.map(is_floating, tree)

    return optax.partition({True: tx, False: optax.set_to_zero()}, labels)


@functools.lru_cache(maxsize=64)
def _compiled_params(make: Callable[[Key], PyTree]) -> Callable[[Key], PyTree]:
    return compiled(make)  # the rules of a family share their network, and its initialisation is slow to compile


@functools.lru_cache(maxsize=64)
def _bank(make: Callable[[Key], Batch]) -> Batch:
    with jax.ensure_compile_time_eval():
        return compiled(jax.vmap(lambda t: make(jax.random.fold_in(seed(0), t))))(jnp.arange(LONG))
