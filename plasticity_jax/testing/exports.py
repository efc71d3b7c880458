"""L16: a rule can run on accelerators; a machine without one can tell, for its step is lowered for them and not run."""

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
"""JAX's names of them."""

NAMES = "CUDA and TPU"


def a_step_exports_for_accelerators(rule: Problem) -> None:
    """L16, of init and a learner's first step, in float32, which is what is trained in there."""

    def begin(params: PyTree, key: Key, batch: Batch, coefficients: PyTree) -> tuple[LearnerState, LearnerState, Info]:
        state = rule.learner(coefficients).init(params, key, batch)
        return state, *rule.step(state, batch, coefficients)

    dtype = jnp.float32
    arguments = rule.params(jax.random.key(0), dtype), jax.random.key(1), rule.batch(dtype)
    arguments = (*arguments, cast(rule.coefficients, dtype))
    program = compiled(begin)
    traced = program.trace(*arguments)  # first, for what does not trace is no matter of accelerators
    try:
        jax.export.export(program, platforms=PLATFORMS)(*arguments)
    except Exception as error:  # whatever a lowering raises, JAX's own faults among it
        raise Broken(f"not for {NAMES}: {_reason(error, traced.jaxpr.jaxpr)}") from error


def _reason(error: Exception, jaxpr: Any) -> str:
    """Primitives or functions that have no such lowering; or else what was raised."""
    said = " ".join(str(error).split())
    lowering = re.search(r"rule for primitive '(.+?)' not found for platforms? (\S.*)", said)
    if lowering is not None:
        found = ", ".join(re.findall(r"\w+", lowering[2]))
        return f"the primitive {lowering[1]} has no lowering for {found}"
    functions = sorted(set(re.findall(r"custom_call @(\w+)", said)))
    if functions:
        return f"it calls {', '.join(functions)}, foreign functions that JAX does not guarantee there"
    back = sorted({name for name in _primitives(jaxpr) if "callback" in name or name.startswith("debug")})
    if back:
        return f"it calls back to Python ({', '.join(back)}), which cannot be exported"
    return f"{type(error).__name__}: {said}"


def _primitives(jaxpr: Any) -> Iterator[str]:
    """Names of all primitives, those of loops, branches and inner functions among them."""
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _primitives(inner)
