"""A task as a stream of steps, generated on the device."""

from collections.abc import Callable
from typing import NamedTuple

from plasticity_jax.typing import Example, Key, PyTree


class Stream(NamedTuple):
    """An endless stream, cut where the caller likes: taking a and then b steps equals taking a + b at once.

    Attributes:
      init: ``key -> state``.
      take: ``(state, steps) -> (state, examples)``; steps is a Python int, the examples' leaves have shape
        (steps, B, ...), ready to be the xs of a `jax.lax.scan` over `Learner.step`.
    """

    init: Callable[[Key], PyTree]
    take: Callable[[PyTree, int], tuple[PyTree, Example]]
