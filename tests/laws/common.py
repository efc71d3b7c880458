"""What the laws share: every rule's tiny problem, compiled once for each process. Nothing here knows any family."""

import functools
import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import optax

import plasticity_jax.meta
import plasticity_jax.rules
from plasticity_jax.base import Info, Learner, LearnerState, LearningRule, is_ready, learner
from plasticity_jax.registry import RULES
from plasticity_jax.typing import Array, Batch, Key, PyTree

NAMES = tuple(RULES)
STEPS = 10
"""Of a trial: two and a half windows of the windowed rules, and above the eight that L6 asks for."""

RATE = 0.3
"""Of the learner's SGD: large enough for the weights to matter to what comes later; momentum gives it a state."""


LONG = 1000
"""Steps of L11."""


def seed(number: int) -> Key:
    """A key; each law has its own."""
    return jax.random.key(number)


def names_of_kind(kind: str) -> list[str]:
    return [name for name in NAMES if RULES[name].kind == kind]


def is_key(leaf: Any) -> bool:
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def cast(tree: PyTree, dtype: Any) -> PyTree:
    """Floating leaves to dtype; labels, counts and keys stay."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)


# Laws compile many small programs and run them once.
compiled = functools.partial(
    jax.jit, compiler_options={"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
)


def at(tree: PyTree, i: int) -> PyTree:
    """Entry i of every leaf's leading axis."""
    return jax.tree.map(lambda leaf: leaf[i], tree)


def floats(tree: PyTree) -> list[Array]:
    return [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.floating)]


def avals(tree: PyTree) -> PyTree:
    """Every leaf's shape, dtype and weak type, by its path."""

    def aval(leaf: Any) -> tuple[Any, ...]:
        return leaf.shape, leaf.dtype, getattr(leaf, "weak_type", False)  # keys have none

    return {jax.tree_util.keystr(path): aval(leaf) for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def host(tree: PyTree) -> PyTree:
    """NumPy leaves, keys as their words."""
    return jax.tree.map(lambda leaf: np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf), tree)


def assert_same(got: PyTree, want: PyTree, message: str = "") -> None:
    """Equal bit for bit."""
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b, err_msg=message, strict=True), host(got), host(want))


def assert_close(got: PyTree, want: PyTree, rtol: float = 1e-9, message: str = "") -> None:
    """Equal to rounding: each leaf to rtol of its own largest entry, or of 1e-5 where that is smaller.

    Two compilations of ten float64 steps differ by some 1e-15 a step, grown by the network's dynamics and by the ratios
    of norms that some rules take (a factor of 10 to 1e3); 1e-9 leaves a wide margin, and any change of the mathematics
    moves the result by far more.
    """

    def close(a: np.ndarray, b: np.ndarray) -> None:
        a, b = np.asarray(a), np.asarray(b)
        scale = np.max(np.abs(b), initial=1e-5) if np.issubdtype(b.dtype, np.floating) else 0
        np.testing.assert_allclose(a, b, rtol=0, atol=rtol * scale, err_msg=message, strict=True)

    jax.tree.map(close, host(got), host(want))


def distance(got: PyTree, want: PyTree) -> float:
    """Largest relative distance of a pair of leaves; infinite from zero, and where one of them is not a number."""

    def relative(a: Array, b: Array) -> float:
        a, b = np.asarray(a, float), np.asarray(b, float)
        apart, size = np.linalg.norm(a - b), np.linalg.norm(b)
        if not np.isfinite(apart):
            return np.inf
        return apart / size if size > 0 else (np.inf if apart > 0 else 0.0)

    return max(jax.tree.leaves(jax.tree.map(relative, host(got), host(want))))


@functools.cache
def _compiled_params(make: Callable[[Key], PyTree]) -> Callable[[Key], PyTree]:
    return compiled(make)  # the rules of a family share their network, and its initialisation is slow to compile


@functools.cache
def _bank(make: Callable[[Key], Batch], steps: int, number: int) -> Batch:
    with jax.ensure_compile_time_eval():
        return compiled(jax.vmap(lambda t: make(jax.random.fold_in(seed(number), t))))(jnp.arange(steps))


class Problem:
    """One rule's case as the laws run it; what is compiled is shared by all laws of a process."""

    def __init__(self, name: str):
        self.name = name
        self.case = RULES[name]
        self.coefficients = {key: jnp.float64(value) for key, value in self.case.coefficients.items()}
        self.jit_init = compiled(lambda params, key, batch, values: self.learner(values).init(params, key, batch))
        self.jit_step = compiled(self.step)
        self.jit_trial = compiled(self.trial)

    def learner(self, coefficients: PyTree, rate: float = RATE) -> Learner:
        return learner(self.case.make(**coefficients), optax.sgd(rate, momentum=0.5))

    def params(self, key: Key, dtype: Any = jnp.float64) -> PyTree:
        return cast(_compiled_params(self.case.params)(key), dtype)

    def batches(self, steps: int = STEPS, dtype: Any = jnp.float64) -> Batch:
        """The first steps of a stream, leaves (steps, B, ...)."""
        return cast(jax.tree.map(lambda leaf: leaf[:steps], _bank(self.case.batch, LONG, 0)), dtype)

    def batch(self, dtype: Any = jnp.float64) -> Batch:
        return jax.tree.map(lambda leaf: leaf[0], self.batches(1, dtype))

    def start(self, number: int = 1, coefficients: PyTree | None = None, dtype: Any = jnp.float64) -> LearnerState:
        key_params, key_learner = jax.random.split(seed(number))
        coefficients = cast(self.coefficients if coefficients is None else coefficients, dtype)
        return self.jit_init(self.params(key_params, dtype), key_learner, self.batch(dtype), coefficients)

    def trial(self, state: LearnerState, batches: Batch, coefficients: PyTree) -> tuple[LearnerState, Info]:
        """The steps of `batches`, in one scan."""
        return jax.lax.scan(self.learner(coefficients).step, state, batches)

    def step(self, state: LearnerState, batch: Batch, coefficients: PyTree) -> tuple[LearnerState, Info]:
        return self.learner(coefficients).step(state, batch)

    @functools.cached_property
    def walk(self) -> tuple[list[LearnerState], list[Info]]:
        """The trial step by step: the states at its STEPS + 1 edges, and what each step reported."""
        states, infos = [self.start()], []
        for t in range(STEPS):
            state, info = self.jit_step(states[-1], at(self.batches(), t), self.coefficients)
            states.append(state)
            infos.append(info)
        return states, infos

    @property
    def lesson(self) -> int:
        """The last step of the trial that teaches all weights: many rules are silent at most steps. 0 if none does."""
        return max(t for t, info in enumerate(self.walk[1]) if t == 0 or is_ready(info.ready))


@functools.lru_cache(maxsize=8)  # the compiled programs of all rules would take gigabytes
def problem(name: str) -> Problem:
    return Problem(name)


def modules() -> Iterator[ModuleType]:
    """Every module of the floors that hold rules."""
    for floor in (plasticity_jax.rules, plasticity_jax.meta):
        yield floor
        for info in pkgutil.walk_packages(floor.__path__, f"{floor.__name__}."):
            yield importlib.import_module(info.name)


@functools.cache
def factories() -> dict[str, Callable[..., LearningRule]]:
    """The public rule factories: what a wing's `__all__` names and returns a LearningRule."""
    found = {}
    for module in modules():
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if callable(value) and get_type_hints(value).get("return") is LearningRule:
                found[name] = value
    return found


def factory_of(name: str) -> Callable[..., LearningRule] | None:
    """The factory of a registered rule: of its own name, or, for a variant, the longest name that begins the rule's."""
    known = [factory for factory in factories() if name == factory or name.startswith(f"{factory}_")]
    return factories()[max(known, key=len)] if known else None


STOCHASTIC: Mapping[str, bool] = {
    "adversarial": True,
    "adversarial_per_layer": True,
    "adversarial_wake_sleep": True,
    "backprop": False,
    "direct_feedback_alignment": False,
    "es": True,
    "feedback_alignment": False,
    "first_order": False,
    "flp": False,
    "flp_after": False,
    "flp_classification": False,
    "hebb": False,
    "impression": True,
    "impression_deep": True,
    "impression_poisson": True,
    "kolen_pollack": False,
    "matching": False,
    "meta_gradient": False,
    "neural_variational": True,
    "node_perturbation": True,
    "node_perturbation_antithetic": True,
    "node_perturbation_direct": True,
    "node_perturbation_offline": True,
    "node_perturbation_ridge": True,
    "node_perturbation_ridge_direct": True,
    "oja": False,
    "plastic_feedback": False,
    "pes": True,
    "recurrent_feedback_alignment": False,
    "recurrent_node_perturbation": True,
    "recurrent_node_perturbation_ridge": True,
    "reparameterised": True,
    "sign_symmetry": False,
    "taylor": False,
    "truncated": False,
    "truncated_to_one_step": False,
    "wake_sleep": True,
    "wake_sleep_coordinatewise": True,
}
"""Whether a rule draws random numbers after its init, for rules that do not declare it in a `Plausibility`."""


def is_stochastic(name: str) -> bool:
    """What the rule declares: a wing's table `PLAUSIBILITY`, by name, or its module's own; or else `STOCHASTIC`."""
    for known in (name, name.removesuffix("_gru")):  # on another cell it is as random
        if known in STOCHASTIC:
            return STOCHASTIC[known]
    tables = [table for module in modules() if isinstance(table := getattr(module, "PLAUSIBILITY", None), dict)]
    factory = factory_of(name)
    own = getattr(sys.modules[factory.__module__], "PLAUSIBILITY", None) if factory else None
    declared = next((table[name] for table in tables if name in table), own)
    if declared is None:
        raise AssertionError(f"{name}: say in STOCHASTIC, tests/laws/common.py, whether it draws random numbers")
    return declared.stochastic
