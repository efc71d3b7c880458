"""Alignment of all rules' recurrent gradients on one trajectory, along which RTRL learns and the others look on.

A rule of lag l emits at step t the gradient that credits step t - l: the gradients of all rules are kept back until the
latest has credited the same step.
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.base import LearningRule
from plasticity_jax.cells import Neurons, init_params
from plasticity_jax.diagnostics.alignment_meter import MeterState, alignment_meter
from plasticity_jax.run import Program
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key, PyTree, Scalar


class AlignState(NamedTuple):
    """State of an alignment run.

    Attributes:
      params: the weights.
      meter: of the `AlignmentMeter`.
      stream: the task's state.
      key: base key.
    """

    params: PyTree
    meter: MeterState
    stream: PyTree
    key: Key

    @property
    def step(self) -> Array:
        """Steps taken."""
        return self.meter.step


def alignment(
    cell: Neurons, rules: Mapping[str, LearningRule], stream: Stream, rate: Scalar, steps: int, chunks: int
) -> Program:
    """Cosines between all pairs of rules' recurrent gradients for the same step, summed over each half of a chunk.

    Args:
      cell: the network, of two inputs and two outputs.
      rules: by name; "rtrl" is the one that learns.
      stream: the task.
      rate: RTRL's.
      steps: a multiple of twice `chunks`.
      chunks: pieces of the run.

    Returns:
      A `Program` with metrics "cosines" and "count", each (2 * chunks, rules, rules): sums of cosines, and how many
      steps are in them. A gradient of zero has no direction, and is not counted.
    """
    meter = alignment_meter(rules)
    half = steps // (2 * chunks)

    def init(key: Key) -> AlignState:
        key_w, key_x, key_run, key_rules = jax.random.split(key, 4)
        params = init_params(key_w, cell)
        example = Example(jnp.zeros((1, 2)), jnp.zeros((1, 2)))
        return AlignState(params, meter.init(params, key_rules, example), stream.init(key_x), key_run)

    def step(state: AlignState, example: Example) -> tuple[AlignState, Array]:
        key = jax.random.fold_in(state.key, state.step)
        looking, reading = meter.step(state.meter, state.params, key, example)
        params = jax.tree.map(lambda p, g: p - rate * g, state.params, reading.updates["rtrl"])
        sums = jnp.stack([reading.cosines, reading.counted.astype(reading.cosines.dtype)])
        return AlignState(params, looking, state.stream, state.key), sums

    def chunk(state: AlignState) -> tuple[AlignState, Mapping[str, Array]]:
        def point(state: AlignState, _: None) -> tuple[AlignState, Array]:
            stream_state, examples = stream.take(state.stream, half)

            def add_up(carry: tuple[AlignState, Array], example: Example) -> tuple[tuple[AlignState, Array], None]:
                inner, total = carry
                inner, cosines = step(inner, example)
                return (inner, total + cosines), None

            zero = jnp.zeros((2, len(rules), len(rules)))
            (state, total), _ = jax.lax.scan(add_up, (state._replace(stream=stream_state), zero), examples)
            return state, total

        state, totals = jax.lax.scan(point, state, None, length=2)
        return state, {"cosines": totals[:, 0], "count": totals[:, 1]}

    return Program(init, chunk, chunks, steps // chunks, 2)


def mean_cosines(metrics: Mapping[str, np.ndarray], part: str) -> np.ndarray:
    """Mean alignment over the second half of a run, (seeds, rules, rules)."""
    total, count = metrics[f"{part}/cosines"], metrics[f"{part}/count"]
    kept = slice(total.shape[1] // 2, None)
    return total[:, kept].sum(1) / np.maximum(count[:, kept].sum(1), 1)
