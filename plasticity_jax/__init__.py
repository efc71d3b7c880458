"""plasticity_jax: biologically plausible learning rules as pure state transitions.

    import jax, optax, plasticity_jax as pj

    case = pj.RULES["rflo"]                                 # any rule, with a tiny worked problem
    learn = pj.learner(case.make(), optax.sgd(0.1))         # (params, traces, key) -> new state
    key = jax.random.key(0)
    state = learn.init(case.params(key), key, case.batch(key))
    state, info = jax.jit(learn.step)(state, case.batch(key))

Names are imported when first used.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

from plasticity_jax.ops.rooms import no_such_name

if TYPE_CHECKING:
    __version__: str
    from plasticity_jax import cells, data, diagnostics, layers, meta, networks, rules, run, tasks, testing
    from plasticity_jax.base import (
        Info,
        Learner,
        LearnerState,
        LearningRule,
        RuleCase,
        compare,
        learner,
    )
    from plasticity_jax.registry import RULES, register
    from plasticity_jax.typing import Episode, Example

__all__ = [
    "RULES",
    "Episode",
    "Example",
    "Info",
    "Learner",
    "LearnerState",
    "LearningRule",
    "RuleCase",
    "cells",
    "compare",
    "data",
    "diagnostics",
    "layers",
    "learner",
    "meta",
    "networks",
    "register",
    "rules",
    "run",
    "tasks",
    "testing",
]

_HOMES = {
    **dict.fromkeys(
        ("Info", "Learner", "LearnerState", "LearningRule", "RuleCase", "compare", "learner"), "plasticity_jax.base"
    ),
    **dict.fromkeys(("RULES", "register"), "plasticity_jax.registry"),
    **dict.fromkeys(("Episode", "Example"), "plasticity_jax.typing"),
}
_FLOORS = ("cells", "data", "diagnostics", "layers", "meta", "networks", "rules", "run", "tasks", "testing")


def _imported(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name in _FLOORS:
        return importlib.import_module(f"plasticity_jax.{name}")
    if name == "__version__":
        return importlib.metadata.version("plasticity_jax")
    raise no_such_name(__name__, name, __all__)


if not TYPE_CHECKING:  # or a type checker would accept any name
    __getattr__ = _imported


def __dir__() -> list[str]:
    return sorted(__all__)
