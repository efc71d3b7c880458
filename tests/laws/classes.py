"""What a rule's kind obliges it to show (L10), whatever its family; a family's own part is a table of these by name."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from plasticity_jax.typing import Array, PyTree


class Match(NamedTuple):
    """An equality that is to hold, with what keeps it from being vacuous.

    Attributes:
      got: what the rule gave.
      want: what it is to equal, from an oracle that shares nothing with it.
      unlike: the same without what the claim is about (the credit through time, say); it has to differ from `want`.
      activity: of the network, leading axis time; it has to move.
    """

    got: PyTree
    want: PyTree
    unlike: PyTree
    activity: Array


class Exact(NamedTuple):
    """Attributes: windows: the rule's updates against the gradient of the loss on finite windows, by name."""

    windows: Callable[[], Mapping[str, Match]]


class Unbiased(NamedTuple):
    """Attributes: estimates: a Match whose `got` has a leading axis of independent samples, their keys."""

    estimates: Callable[[], Match]


class Approximate(NamedTuple):
    """What an approximation owes.

    Attributes:
      reductions: special cases in which it equals something exact, by name.
      elsewhere: ``() -> (got, want)`` in general, which differ.
      descent: ``() -> (before, after)``, losses of a small problem that only the approximated gradient can lower.
    """

    reductions: Mapping[str, Callable[[], Match]]
    elsewhere: Callable[[], tuple[PyTree, PyTree]]
    descent: Callable[[], tuple[float, float]]


class Local(NamedTuple):
    """Attributes: claims: what a rule without a claim on the gradient still promises, by name. An entry is optional."""

    claims: Mapping[str, Callable[[], Match]]
