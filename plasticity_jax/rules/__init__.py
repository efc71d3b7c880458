"""Learning rules, one per file, in four wings that do not know each other; all that they export is here by its name.

Beside the factories stand the parts that rules of your own are made of: `online_rule`, which takes a function of a
`Moment` to a `Credit`, `feedback_rule`, `windowed_rule` and `local_rule`.
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


if not TYPE_CHECKING:  # a type checker would take any name to be there
    __getattr__ = suggesting(__name__, __all__)


def _append_equations() -> None:
    """Ends each factory's docstring with that of its module, which has the equations, so that `help` shows them."""
    for factory in (globals()[name] for name in __all__):
        makes_a_rule = inspect.isfunction(factory) and factory.__annotations__.get("return") is LearningRule
        module = sys.modules[factory.__module__].__doc__ if makes_a_rule else None
        if module and factory.__doc__ and "\nEquations:\n" not in factory.__doc__:
            equations = textwrap.indent(inspect.cleandoc(module), "  ")
            factory.__doc__ = f"{inspect.cleandoc(factory.__doc__)}\n\nEquations:\n{equations}\n"


_append_equations()
