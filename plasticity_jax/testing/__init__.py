"""The laws that every rule of the library keeps, for rules of your own: `check_rule`."""

from typing import TYPE_CHECKING

from plasticity_jax.ops.rooms import suggesting
from plasticity_jax.testing.report import LAWS, Law, Report, Verdict, check_rule

__all__ = ["LAWS", "Law", "Report", "Verdict", "check_rule"]


def __dir__() -> list[str]:
    return list(__all__)


if not TYPE_CHECKING:  # or a type checker would accept any name
    __getattr__ = suggesting(__name__, __all__)
