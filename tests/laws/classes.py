"""The obligations of each kind of rule (L10), in every family; each family has a table of these by name."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from plasticity_jax.typing import Array, PyTree


class Match(NamedTuple):
    """An equality that must hold, and the arrays that show it is not vacuous.

    Attributes:
      actual: the rule's updates, or the weights that they lead to.
      expected: the same from an oracle that shares no code with the rule.
      unlike: the same without what the claim is about (the credit through time, say); it must differ from `expected`.
      activity: of the network, leading axis time; it must vary.
    """

    actual: PyTree
    expected: PyTree
    unlike: PyTree
    activity: Array


class Exact(NamedTuple):
    """Attributes: windows: the rule's updates against the gradient of the loss on finite windows, by name."""

    windows: Callable[[], Mapping[str, Match]]


class Unbiased(NamedTuple):
    """Attributes: estimates: a Match whose `actual` has a leading axis of independent samples."""

    estimates: Callable[[], Match]


class Approximate(NamedTuple):
    """The obligations of an approximation.

    Attributes:
      reductions: special cases in which it equals something exact, by name.
      elsewhere: ``() -> (actual, expected)`` in general, which differ.
      descent: ``() -> (before, after)``, losses of a small problem that only the approximated gradient can lower.
    """

    reductions: Mapping[str, Callable[[], Match]]
    elsewhere: Callable[[], tuple[PyTree, PyTree]]
    descent: Callable[[], tuple[float, float]]


class Local(NamedTuple):
    """Attributes: claims: the promises of a rule without a claim on the gradient, by name. An entry is optional."""

    claims: Mapping[str, Callable[[], Match]]
