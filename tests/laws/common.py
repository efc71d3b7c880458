"""Every registered rule's tiny problem, compiled once for each process, and rules by kind and by factory."""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import get_type_hints

import plasticity_jax.meta
import plasticity_jax.rules
from plasticity_jax.base import LearningRule
from plasticity_jax.registry import RULES
from plasticity_jax.testing.equality import assert_close, assert_same, at, cast, distance, host
from plasticity_jax.testing.problem import STEPS, Problem, compiled, seed

__all__ = [
    "NAMES",
    "STEPS",
    "Problem",
    "assert_close",
    "assert_same",
    "at",
    "cast",
    "compiled",
    "distance",
    "factories",
    "factory_of",
    "first_with_the_problem_of",
    "host",
    "names_of_kind",
    "problem",
    "seed",
]

NAMES = tuple(RULES)


def names_of_kind(kind: str) -> list[str]:
    return [name for name in NAMES if RULES[name].kind == kind]


@functools.lru_cache(maxsize=8)  # the compiled programs of all rules would take gigabytes
def problem(name: str) -> Problem:
    return Problem(RULES[name], name)


@functools.cache
def first_with_the_problem_of(name: str) -> str:
    """The first registered rule with the network and the data of this one: what is computed of them serves both."""
    of = RULES[name]
    return next(other for other in NAMES if RULES[other].params is of.params and RULES[other].batch is of.batch)


def modules() -> Iterator[ModuleType]:
    """Every module of the floors that hold rules."""
    for floor in (plasticity_jax.rules, plasticity_jax.meta):
        yield floor
        for info in pkgutil.walk_packages(floor.__path__, f"{floor.__name__}."):
            yield importlib.import_module(info.name)


@functools.cache
def factories() -> dict[str, Callable[..., LearningRule]]:
    """The public rule factories: what a wing's `__all__` names and returns a LearningRule, except `common`'s."""
    by_name = {}
    for module in modules():
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            own = getattr(value, "__module__", "")
            if callable(value) and not own.endswith("common") and get_type_hints(value).get("return") is LearningRule:
                by_name[name] = value
    return by_name


def factory_of(name: str) -> Callable[..., LearningRule] | None:
    """The factory of a registered rule: its own name's or, for a variant, that of the longest prefix of its name."""
    known = [factory for factory in factories() if name == factory or name.startswith(f"{factory}_")]
    return factories()[max(known, key=len)] if known else None
