"""Faults of a case itself, before any law is run."""

import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any, get_args

import jax
import numpy as np

from plasticity_jax.base import RuleCase


def fault_of(case: RuleCase) -> str:
    """The first fault of a case, in one line; empty if there is none."""
    for part in ("make", "params", "batch"):
        if not callable(getattr(case, part)):
            return f"{part} is {getattr(case, part)!r}, not a function"
    needed = [name for name, each in _parameters(case.make).items() if each.default is each.empty]
    if needed:
        return f"make needs a default for {', '.join(needed)}: the laws call make(), too"
    kinds = get_args(RuleCase.__annotations__["kind"])
    if case.kind not in kinds:
        return f"kind is {case.kind!r}, not one of {', '.join(kinds)}"
    if not isinstance(case.coefficients, Mapping):
        return f"coefficients are {case.coefficients!r}, not numbers by name"
    for name, value in case.coefficients.items():
        if not _is_number(value):
            return f"the coefficient {name!r} is {value!r}, not a number"
    return ""


def _parameters(make: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Arguments of a function that have a name of their own; none if it does not tell them."""
    try:
        parameters = inspect.signature(make).parameters
    except (TypeError, ValueError):
        return {}
    return {name: each for name, each in parameters.items() if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)}


def untraceable(case: RuleCase) -> str:
    """The first function of a case that the laws cannot compile, in one line; empty if there is none."""
    for part in ("params", "batch"):
        function = getattr(case, part)
        try:
            hash(function)
            jax.eval_shape(function, jax.random.key(0))
        except Exception as error:  # the case's functions may raise anything
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            return f"{part}(key) cannot be traced: {textwrap.shorten(reason, 200, placeholder=' ...')}"
    return ""


def _is_number(value: Any) -> bool:
    try:
        return not isinstance(value, str) and np.ndim(value) == 0 and isinstance(float(value), float)
    except (TypeError, ValueError):
        return False
