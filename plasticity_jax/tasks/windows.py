"""Windows of a stream, for rules that take windows as batches."""

import jax

from plasticity_jax.ops.checks import check_counts
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, PyTree


def windows(stream: Stream, length: int) -> Stream:
    """The same stream in disjoint windows, in order: one step is `length` steps of the given stream.

    Args:
      stream: of examples with leaves (steps, B, ...).
      length: S, steps in a window.

    Returns:
      A `Stream` of examples with leaves (windows, B, S, ...), `start` and `weight` too where the stream has them.

    Raises:
      ValueError: if the length is below 1 or not whole.

    Example:
      >>> import jax
      >>> from plasticity_jax.tasks.delayed_xor import delayed_xor
      >>> stream = windows(delayed_xor(batch=20), 7)
      >>> _, example = stream.take(stream.init(jax.random.key(0)), 100)
      >>> example.x.shape, example.y.shape
      ((100, 20, 7, 2), (100, 20, 7, 1))
    """
    check_counts(length=length)

    def take(state: PyTree, steps: int) -> tuple[PyTree, Example]:
        state, examples = stream.take(state, steps * length)

        def cut(leaf: Array) -> Array:
            return leaf.reshape(steps, length, *leaf.shape[1:]).swapaxes(1, 2)

        return state, jax.tree.map(cut, examples)

    return Stream(stream.init, take)
