"""The problem of incremental sines, small and as in the paper: network, outer loop, and stream of lifetimes.

Rates of the inner loop's SGD are those of the library's loss, half the squared error, hence twice those of the authors'
mean squared error.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

from plasticity_jax.run import Range
from plasticity_jax.tasks.episodes import Order
from plasticity_jax.tasks.incremental_sines import incremental_sines
from plasticity_jax.tasks.stream import Stream

DEEP = 3
"""Plastic layers of the gradient-based learners, and of what is held against them."""


@dataclasses.dataclass(frozen=True)
class Sines:
    """Settings that the experiments on incremental sines share: the problem, the network, and the outer loop.

    Attributes:
      seeds: networks, meta-trained independently.
      episodes: meta-steps.
      points: evaluations.
      lifetimes: of an evaluation, on functions not met in meta-training.
      lives: episodes to a meta-step.
      functions: of an episode.
      batches: inner steps to each function.
      batch: points to an inner step.
      hidden: widths of the hidden layers.
      rate: meta-learning rate of weights, feedback and beta.
      alpha_reuse: that of alpha, for feature reuse.
      alpha_flp: that of alpha, for FLP.
      rate_rate: that of the gradient-based learner's rates, second order.
      inner_rate: their initial value, for half the squared error.
      clip: largest norm of the meta-gradient of a group; 0 for none.
      backoff: fraction of alpha, or of the inner rates, that a life that diverged takes off.
    """

    seeds: int
    episodes: int
    points: int
    lifetimes: int
    lives: int
    functions: int
    batches: int
    batch: int
    hidden: tuple[int, ...]
    rate: float
    alpha_reuse: float
    alpha_flp: float
    rate_rate: float
    inner_rate: float
    clip: float
    backoff: Annotated[float, Range(0.0, 1.0)]

    def __post_init__(self) -> None:
        """Refuses a network too shallow for the learners."""
        if len(self.hidden) < DEEP - 1:
            raise ValueError(f"hidden={self.hidden} makes fewer than the {DEEP} layers that are to be plastic")


SMALL_SINES: Mapping[str, Any] = {
    "lives": 4,
    "functions": 3,
    "batches": 10,
    "batch": 32,
    "hidden": (64, 64, 64),
    "rate": 1e-3,
    "alpha_reuse": 1e-4,
    "alpha_flp": 3e-6,
    "rate_rate": 3e-5,
    "inner_rate": 2e-3,
    "clip": 1.0,
    "backoff": 0.1,
}
"""The smaller problem, with the outer loop that it needs."""

PAPER_SINES: Mapping[str, Any] = {
    "seeds": 2,
    "episodes": 20_000,
    "lifetimes": 50,
    "lives": 1,
    "functions": 10,
    "batches": 40,
    "batch": 32,
    "hidden": (300, 300, 300, 300, 300, 900, 300, 300),
    "rate": 1e-4,
    "alpha_reuse": 1e-8,
    "alpha_flp": 1e-8,
    "inner_rate": 2e-3,
    "clip": 0.0,
    "backoff": 0.0,
}
"""The paper's problem and outer loop."""


def is_full(config: Sines) -> bool:
    """Whether problem, network and number of lives are the paper's, whatever the rates, seeds and evaluations."""
    names = ("episodes", "lives", "functions", "batches", "batch", "hidden")
    return all(getattr(config, name) == PAPER_SINES[name] for name in names)


def sines(config: Sines, order: Order, episodes: int) -> Stream:
    """So many lifetimes of the problem at a time."""
    return incremental_sines(
        order=order, functions=config.functions, batches=config.batches, batch=config.batch, episodes=episodes
    )
