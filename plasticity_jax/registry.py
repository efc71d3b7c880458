"""Every rule by name, each with a tiny worked case: those of the library, and those that others add.

Add a rule of your own with `register`, or, without a call, by an entry point of your package:

    [project.entry-points."plasticity_jax.rules"]
    my_rule = "my_package:CASE"
"""

import difflib
import importlib.metadata
import keyword
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from plasticity_jax.base import RuleCase
from plasticity_jax.meta.cases import CASES as META
from plasticity_jax.rules.feedback.cases import CASES as FEEDBACK
from plasticity_jax.rules.generative.cases import CASES as GENERATIVE
from plasticity_jax.rules.hebbian.cases import CASES as HEBBIAN
from plasticity_jax.rules.online.cases import CASES as ONLINE
from plasticity_jax.testing.case import fault_of

__all__ = ["GROUP", "RULES", "Rules", "register"]

GROUP = "plasticity_jax.rules"
"""The group of entry points that name cases."""


class Rules(Mapping[str, RuleCase]):
    """Cases by name, read only. Entry points of installed packages are looked up when the cases do not suffice."""

    def __init__(self, cases: Mapping[str, RuleCase]):
        """Holds these cases; entry points are not looked up yet."""
        self._cases = dict(cases)
        self._complete = False

    def __getitem__(self, name: str) -> RuleCase:
        """The case of this name."""
        if isinstance(name, str) and (name in self._cases or name in self._all()):
            return self._cases[name]
        near = difflib.get_close_matches(str(name), self._cases, n=1)
        guess = f"did you mean {near[0]!r}? " if near else ""
        raise KeyError(f"RULES has no {name!r}; {guess}list(RULES) names all {len(self)}")

    def __iter__(self) -> Iterator[str]:
        """All names."""
        return iter(self._all())

    def __len__(self) -> int:
        """Number of cases."""
        return len(self._all())

    def __contains__(self, name: Any) -> bool:
        """Returns whether there is a case of this name."""
        return isinstance(name, str) and (name in self._cases or name in self._all())

    def __repr__(self) -> str:
        """The names, by kind."""
        lines = [f"RULES: {len(self)} learning rules"]
        for kind in dict.fromkeys(case.kind for case in self.values()):
            names = ", ".join(name for name, case in self.items() if case.kind == kind)
            lines += textwrap.wrap(names, 100, initial_indent=f"  {kind:12}", subsequent_indent=" " * 14)
        return "\n".join(lines)

    def _add(self, name: str, case: RuleCase) -> None:
        if not (isinstance(name, str) and name.isidentifier()) or keyword.iskeyword(name):
            raise ValueError(
                f"{name!r} cannot name a rule: give letters, digits and underscores that are no keyword of Python, "
                "as in 'my_rule'"
            )
        if not isinstance(case, RuleCase):
            raise ValueError(
                f"the case of {name!r} is {case!r}, not a RuleCase: give the rule with a tiny worked problem, "
                "RuleCase(make, params, batch, kind, coefficients)"
            )
        if fault := fault_of(case):
            raise ValueError(f"the case of {name!r}: {fault}")
        if self._cases.setdefault(name, case) is not case:
            raise ValueError(f"RULES has a rule {name!r} already; register yours under another name")

    def _all(self) -> dict[str, RuleCase]:
        if not self._complete:
            self._complete = True  # first: a package may read RULES while it is imported
            left_out = []
            try:
                for entry in importlib.metadata.entry_points(group=GROUP):
                    try:
                        self._add(entry.name, entry.load())
                    except (Exception, SystemExit) as error:  # another package may raise anything
                        where = f"{entry.name} = {entry.value!r}, an entry point of {_package(entry)}"
                        left_out.append(f"left out of RULES: {where}: {type(error).__name__}: {error}")
            except BaseException:  # Ctrl-C: the next lookup begins anew
                self._complete = False
                raise
            for line in left_out:  # last: a warning may be an error
                warnings.warn(line, stacklevel=3)
        return self._cases


RULES = Rules({**ONLINE, **FEEDBACK, **HEBBIAN, **GENERATIVE, **META})
"""Every rule by name, as a `RuleCase`: those of the library, of installed packages, and those that `register` added."""


def register(name: str, case: RuleCase) -> None:
    """Adds a rule of your own to `RULES`, for this process.

    A package needs no call: it declares an entry point of the group "plasticity_jax.rules", which `RULES` finds. Check
    the rule against the laws with `plasticity_jax.testing.check_rule`.

    Args:
      name: a new name, of letters, digits and underscores.
      case: the rule with a tiny worked problem.

    Raises:
      ValueError: if the name is taken or is not an identifier, or the case is not a `RuleCase` of functions, a known
        kind, and coefficients that are numbers.

    Example:
      >>> import jax, optax, plasticity_jax as pj
      >>> hebb = pj.RULES["hebb"]
      >>> pj.register("quick_hebb", hebb._replace(make=lambda alpha=0.5: hebb.make(alpha=alpha)))
      >>> key = jax.random.key(0)
      >>> learn = pj.learner(pj.RULES["quick_hebb"].make(), optax.sgd(1.0))
      >>> state = learn.init(hebb.params(key), key, hebb.batch(key))
      >>> state, info = learn.step(state, hebb.batch(key))
      >>> pj.RULES["quick_heb"]
      Traceback (most recent call last):
      KeyError: "RULES has no 'quick_heb'; did you mean 'quick_hebb'? list(RULES) names all ..."
    """
    RULES._all()
    RULES._add(name, case)


def _package(entry: importlib.metadata.EntryPoint) -> str:
    return "an unknown package" if entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
