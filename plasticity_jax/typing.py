"""Type aliases of the signatures; they document the content of pytrees, and check nothing."""

from typing import Any, NamedTuple, TypeAlias

import jax

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array
"""A typed PRNG key, ``jax.random.key(seed)``, shape ()."""

PyTree: TypeAlias = Any
Params: TypeAlias = PyTree
"""Named groups of weights, ``{"forward": ..., "feedback": ...}``."""

Updates: TypeAlias = PyTree
"""Same structure, shapes and dtypes as the params; gradient-signed."""

Traces: TypeAlias = PyTree
"""Everything that a rule carries from one step to the next."""

Batch: TypeAlias = PyTree
"""One step's example; every leaf has a leading axis B of streams or examples."""

Scalar: TypeAlias = float | Array
"""A coefficient: a Python number, or a tracer that a meta-learner differentiates."""


class Example(NamedTuple):
    """An input and its target.

    Attributes:
      x: input, shape (B, n_in), or (B, height, width, channels) for a chain of layers; a stream of T steps has shape
        (T, B, n_in). Integers are cast, not scaled: divide byte images by 255.
      y: target, shape (B, n_out); for a softmax also integer labels, shape (B,). None for a rule without one, such
        as Hebb's, Oja's and the BCM rule.
      start: (B,), bool: a new trial begins in that stream at this step, so that the network's state and the rule's
        traces start afresh. None: no trial begins.
      weight: (B,), the weight of each example in the loss, a mean over B for any weights; 0 is padding, which may hold
        anything. None: 1 for all.
    """

    x: Array
    y: Array | Any
    start: Array | None = None
    weight: Array | None = None


class Episode(NamedTuple):
    """Data of a lifetime: examples to learn from, and queries that judge it.

    Attributes:
      support: one batch for each step of the life; leaves have shape (T, b, ...), or (B, T, b, ...) for B episodes.
      query: data that judge the life at its end; leaves have shape (q, ...), or (B, q, ...).
    """

    support: PyTree
    query: PyTree
