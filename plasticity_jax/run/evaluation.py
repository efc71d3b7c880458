"""Evaluation on the way: metrics of the state that a chunk ends in, and a chain's scores on a stream of examples."""

from collections.abc import Callable

import jax

from plasticity_jax.run.program import Metrics, Program
from plasticity_jax.typing import PyTree


def evaluated(program: Program, evaluate: Callable[[PyTree], Metrics]) -> Program:
    """A program of one point a chunk, with metrics of the state that each chunk ends in.

    Args:
      program: of one point a chunk.
      evaluate: ``state -> metrics``.

    Raises:
      ValueError: if a chunk has several points.
    """
    if program.points != 1:
        raise ValueError(f"evaluated: a chunk must have one point, not {program.points}")

    def chunk(state: PyTree) -> tuple[PyTree, Metrics]:
        state, metrics = program.chunk(state)
        return state, {**metrics, **jax.tree.map(lambda value: value[None], dict(evaluate(state)))}

    return program._replace(chunk=chunk)
