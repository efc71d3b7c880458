"""The laws by number, and `check_rule`, which checks any rule against them."""

import textwrap
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

import jax

from plasticity_jax.base import RuleCase
from plasticity_jax.testing import exports, forms, gradients, runs
from plasticity_jax.testing.case import fault_of, untraceable
from plasticity_jax.testing.problem import LONG, RATE, STEPS, Problem
from plasticity_jax.testing.textbook import TextbookStep, sgd_one_is_the_textbook_step


class Law(NamedTuple):
    """A law: a statement that every rule fulfils.

    Attributes:
      statement: the law in a line.
      check: raises where a rule breaks it.
    """

    statement: str
    check: Callable[[Problem], None]


LAWS: Mapping[str, Law] = {
    "L1": Law("updates have the structure, shapes and dtypes of the params", forms.updates_look_like_params),
    "L2": Law("traces keep their structure, shapes and dtypes", forms.traces_are_a_fixed_point),
    "L3": Law("eager, compiled and scanned steps are equal", runs.eager_is_jit_is_scan),
    "L4": Law("a restored run equals the run", runs.a_restored_run_is_the_run),
    "L5": Law("vmap over seeds and coefficients equals a loop", runs.vmap_is_the_loop),
    "L6": Law("the gradient through learning is the derivative", gradients.meta_gradient_is_the_derivative),
    "L8": Law("randomness comes from the key alone", runs.randomness_comes_from_the_key_alone),
    "L9": Law("a step is traced once for each shape", forms.one_trace_per_shape),
    "L11": Law("a thousand steps stay finite", runs.a_thousand_steps_stay_finite),
    "L13": Law("the weights determine the dtype, whatever the data's", forms.weights_determine_the_dtype),
    "L14": Law("a fresh state can be donated", runs.a_fresh_state_can_be_donated),
    "L15": Law("no axis is added implicitly", forms.no_axis_is_added_implicitly),
    "L16": Law("a step exports for CUDA and TPU", exports.a_step_exports_for_accelerators),
}
"""The laws that `check_rule` checks from a case alone, by number."""

TEXTBOOK = "L7"
STATEMENTS = {**{name: law.statement for name, law in LAWS.items()}, TEXTBOOK: "a step is the textbook step"}
"""Statements of all laws of `check_rule`, by number."""


class Verdict(NamedTuple):
    """One line of a report.

    Attributes:
      law: its number.
      outcome: its result.
      reason: why it failed or was skipped.
      error: the exception, if it failed.
    """

    law: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str = ""
    error: Exception | None = None

    def __str__(self) -> str:
        """The verdict as lines of a table."""
        line = f"{self.law:4} {self.outcome:8} {STATEMENTS[self.law]}"
        reason = textwrap.wrap(self.reason, 100, initial_indent=" " * 14, subsequent_indent=" " * 14)
        return "\n".join([line, *reason])


class Report(NamedTuple):
    """Results of all laws.

    Attributes:
      name: the rule's.
      verdicts: one for each law.
    """

    name: str
    verdicts: tuple[Verdict, ...]

    @property
    def ok(self) -> bool:
        """Returns whether no law failed."""
        return not self.failed

    @property
    def failed(self) -> tuple[str, ...]:
        """The laws that failed."""
        return tuple(verdict.law for verdict in self.verdicts if verdict.outcome == "failed")

    def __str__(self) -> str:
        """The report as a table."""
        counts = dict.fromkeys(("passed", "failed", "skipped"), 0)
        for verdict in self.verdicts:
            counts[verdict.outcome] += 1
        total = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
        return "\n".join([f"{self.name}: {total or 'no laws'}", *map(str, self.verdicts)])

    __repr__ = __str__


def check_rule(
    case: RuleCase,
    *,
    name: str = "rule",
    laws: Iterable[str] | None = None,
    skip: Mapping[str, str] | None = None,
    textbook: TextbookStep | None = None,
    rate: float = RATE,
    steps: int = STEPS,
    raises: bool = True,
) -> Report:
    """Checks a rule against the laws that every rule of the library keeps: in your tests, one line.

    It takes about ten seconds for a small rule on one core, most of it compilation, so keep the case tiny. Laws run in
    double precision, with or without `jax_enable_x64`, and all run even if one fails. They do not check that an "exact"
    or "unbiased" rule is so: this needs a test of your own, against an oracle.

    Args:
      case: the rule, with a tiny worked problem.
      name: the rule's name in the report.
      laws: numbers of the laws to run, as in ("L1", "L6"); by default all.
      skip: laws that the rule need not keep, and why, as in ``{"L6": "spikes have a surrogate slope"}``.
      textbook: one step of the rule at a learning rate of 1, from its equations and in plain NumPy, for L7:
        ``(params, traces, key, batch, coefficients) -> (params, traces, loss)``.
      rate: learning rate of the trials in most laws, by SGD with momentum; lower it where learning diverges, but keep
        it large enough for learning to have an effect.
      steps: steps of such a trial, an even number; more for a rule that accumulates for longer before it teaches.
      raises: whether a failed law raises an error.

    Returns:
      A `Report`; print it for a table.

    Raises:
      AssertionError: with the whole report, if a law failed and `raises`.
      TypeError: if the case is not a `RuleCase`.
      ValueError: if the case cannot be run (with an unknown kind, say, or params that cannot be traced), `laws` or
        `skip` name laws that do not exist, or `steps` is odd or too large or small.

    Example:
      >>> import plasticity_jax as pj
      >>> report = pj.testing.check_rule(pj.RULES["hebb"], name="hebb", laws=["L1", "L2", "L15"])
      >>> print(report)
      hebb: 3 passed
      L1   passed   updates have the structure, shapes and dtypes of the params
      L2   passed   traces keep their structure, shapes and dtypes
      L15  passed   no axis is added implicitly

      A case that declares a stochastic rule to be deterministic:

      >>> case = pj.RULES["uoro"]._replace(stochastic=False)
      >>> report = pj.testing.check_rule(case, name="uoro", laws=["L8"], raises=False)
      >>> report.failed
      ('L8',)
    """
    if not isinstance(case, RuleCase):
        raise TypeError(
            f"check_rule takes a RuleCase, not {case!r}: give the rule with a tiny worked problem, "
            "RuleCase(make, params, batch, kind, coefficients)"
        )
    with jax.enable_x64(True):
        fault = fault_of(case) or untraceable(case)
    if fault:
        raise ValueError(f"the case of {name!r}: {fault}")
    wanted, skip = list(STATEMENTS if laws is None else laws), dict(skip or {})
    unknown = [law for law in [*wanted, *skip] if law not in STATEMENTS]
    if unknown:
        raise ValueError(f"check_rule has no law {', '.join(unknown)}; there are {', '.join(_in_order(STATEMENTS))}")
    if steps not in range(2, LONG + 1, 2):
        raise ValueError(f"steps={steps!r} is not an even number from 2 to {LONG}, of which L4 takes two halves")
    checks = {law: entry.check for law, entry in LAWS.items()}
    if textbook is not None:
        checks[TEXTBOOK] = lambda problem: sgd_one_is_the_textbook_step(problem, textbook)
    with jax.enable_x64(True):
        problem = Problem(case, name, rate, steps)
        verdicts = [_verdict(law, problem, checks.get(law), skip.get(law)) for law in _in_order(wanted)]
    report = Report(name, tuple(verdicts))
    if raises and not report.ok:
        first = next(verdict.error for verdict in verdicts if verdict.error is not None)
        raise AssertionError(str(report)) from first
    return report


def _in_order(laws: Iterable[str]) -> list[str]:
    return sorted(set(laws), key=lambda law: int(law[1:]))


def _verdict(law: str, problem: Problem, check: Callable[[Problem], None] | None, skipped: str | None) -> Verdict:
    if skipped is not None:
        return Verdict(law, "skipped", skipped)
    if check is None:
        return Verdict(law, "skipped", "no textbook step was given")
    try:
        check(problem)
    except Exception as error:  # the rule may raise anything
        kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
        reason = kind + " ".join(str(error).split())
        return Verdict(law, "failed", textwrap.shorten(reason, 300, placeholder=" ..."), error)
    return Verdict(law, "passed")
