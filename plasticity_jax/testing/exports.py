"""L16: a rule can run on accelerators. Its step is lowered for them but not run, so no accelerator is needed."""

import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, LearnerState
from plasticity_jax.testing.equality import Broken, cast
from plasticity_jax.testing.problem import Problem, compiled
from plasticity_jax.typing import Batch, Key, PyTree

PLATFORMS = ("cuda", "tpu")
"""JAX's names of the accelerators."""

NAMES = "CUDA and TPU"


def a_step_exports_for_accelerators(rule: Problem) -> None:
    """L16, for init and a learner's first step, in float32, the usual dtype on accelerators."""

    def begin(params: PyTree, key: Key, batch: Batch, coefficients: PyTree) -> tuple[LearnerState, LearnerState, Info]:
        state = rule.learner(coefficients).init(params, key, batch)
        return state, *rule.step(state, batch, coefficients)

    dtype = jnp.float32
    arguments = rule.params(jax.random.key(0), dtype), jax.random.key(1), rule.batch(dtype)
    arguments = (*arguments, cast(rule.coefficients, dtype))
    program = compiled(begin)
    traced = program.trace(*arguments)  # first: errors of tracing do not concern accelerators
    try:
        jax.export.export(program, platforms=PLATFORMS)(*arguments)
    except Exception as error:  # a lowering may raise anything, including JAX's own errors
        raise Broken(f"not for {NAMES}: {_reason(error, traced.jaxpr.jaxpr)}") from error


def _reason(error: Exception, jaxpr: Any) -> str:
    """The primitive or functions without such a lowering, or else the error."""
    message = " ".join(str(error).split())
    lowering = re.search(r"rule for primitive '(.+?)' not found for platforms? (\S.*)", message)
    if lowering is not None:
        platforms = ", ".join(re.findall(r"\w+", lowering[2]))
        return f"the primitive {lowering[1]} has no lowering for {platforms}"
    functions = sorted(set(re.findall(r"custom_call @(\w+)", message)))
    if functions:
        return f"it calls {', '.join(functions)}, foreign functions that JAX does not guarantee there"
    callbacks = sorted({name for name in _primitives(jaxpr) if "callback" in name or name.startswith("debug")})
    if callbacks:
        return f"it calls back to Python ({', '.join(callbacks)}), which cannot be exported"
    return f"{type(error).__name__}: {message}"


def _primitives(jaxpr: Any) -> Iterator[str]:
    """Names of all primitives, including those in loops, branches and inner functions."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _primitives(inner)
