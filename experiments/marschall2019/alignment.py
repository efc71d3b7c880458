"""Alignment of all rules' recurrent gradients along one trajectory, on which only RTRL's updates are applied.

At step t, a rule with lag l emits the gradient that credits step t - l. The gradients of all rules are stored until the
rule with the longest lag has credited the same step.
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
      meter: the state of the `AlignmentMeter`.
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
      cell: the network, with two inputs and two outputs.
      rules: rules by name; the updates of "rtrl" are applied.
      stream: the task.
      rate: RTRL's learning rate.
      steps: steps of the run, a multiple of twice `chunks`.
      chunks: chunks of the run.

    Returns:
      A `Program` with metrics "cosines" and "count", each (2 * chunks, rules, rules): sums of cosines, and the number
      of steps in each sum. Steps with a zero gradient are not counted, because it has no direction.
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
        meter_state, reading = meter.step(state.meter, state.params, key, example)
        params = jax.tree.map(lambda p, g: p - rate * g, state.params, reading.updates["rtrl"])
        sums = jnp.stack([reading.cosines, reading.counted.astype(reading.cosines.dtype)])
        return AlignState(params, meter_state, state.stream, state.key), sums

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
    second_half = slice(total.shape[1] // 2, None)
    return total[:, second_half].sum(1) / np.maximum(count[:, second_half].sum(1), 1)
