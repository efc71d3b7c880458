"""Learning rules, one per file, in four independent wings; this module exports all that they export.

Besides the factories, there are the building blocks for rules of your own: `online_rule`, which makes a rule from a
function of a `Moment` that returns a `Credit`, `feedback_rule`, `windowed_rule` and `local_rule`.
"""

import inspect
import sys
import textwrap
from typing import TYPE_CHECKING

from plasticity_jax.base import LearningRule
from plasticity_jax.ops.rooms import suggesting
from plasticity_jax.rules import feedback, generative, hebbian, online
from plasticity_jax.rules.feedback import *  # noqa: F403
from plasticity_jax.rules.generative import *  # noqa: F403
from plasticity_jax.rules.hebbian import *  # noqa: F403
from plasticity_jax.rules.online import *  # noqa: F403

__all__ = ["feedback", "generative", "hebbian", "online"]
__all__ += feedback.__all__
__all__ += generative.__all__
__all__ += hebbian.__all__
__all__ += online.__all__


def __dir__() -> list[str]:
    return sorted(__all__)


if not TYPE_CHECKING:  # or a type checker would accept any name
    __getattr__ = suggesting(__name__, __all__)


def _append_equations() -> None:
    """Appends the docstring of its module, which has the equations, to each factory's, so that `help` shows them."""
    for factory in (globals()[name] for name in __all__):
        makes_a_rule = inspect.isfunction(factory) and factory.__annotations__.get("return") is LearningRule
        module_docstring = sys.modules[factory.__module__].__doc__ if makes_a_rule else None
        if module_docstring and factory.__doc__ and "\nEquations:\n" not in factory.__doc__:
            equations = textwrap.indent(inspect.cleandoc(module_docstring), "  ")
            factory.__doc__ = f"{inspect.cleandoc(factory.__doc__)}\n\nEquations:\n{equations}\n"


_append_equations()
