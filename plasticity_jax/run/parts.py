"""Several programs of one experiment, paired by seed."""

from collections.abc import Callable, Mapping

from plasticity_jax.run.program import Metrics, Program
from plasticity_jax.typing import PyTree


def train_from_parts(parts: Mapping[str, Program]) -> Callable[[PyTree], Metrics]:
    """One pure ``train(lane)`` out of several programs, every one of them run from the same lane.

    Args:
      parts: programs by name.

    Returns:
      ``lane -> metrics``, named "part/metric"; ``jit(vmap(train))(lanes)`` is the sweep.
    """

    def train(lane: PyTree) -> Metrics:
        return {
            f"{part}/{metric}": values
            for part, program in parts.items()
            for metric, values in program.train(lane).items()
        }

    return train
