"""The laws that every rule of the library keeps, for rules of anybody's own: `check_rule`."""

from plasticity_jax.testing.report import LAWS, Law, Report, Verdict, check_rule

__all__ = ["LAWS", "Law", "Report", "Verdict", "check_rule"]


def __dir__() -> list[str]:
    return list(__all__)
