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
"""Number of plastic layers of the gradient-based learners, and of networks that are compared with them."""
PLASTIC = {"reuse": 1, "flp2": 2, "flp3": DEEP}
"""Number of plastic layers of feature reuse and of FLP."""


@dataclasses.dataclass(frozen=True)
class Sines:
    """Settings that the experiments on incremental sines share: the problem, the network, and the outer loop.

    Attributes:
      seeds: networks, meta-trained independently.
      episodes: meta-steps.
      points: evaluations.
      lifetimes: of an evaluation, on new functions.
      lives: episodes in a meta-step.
      functions: of an episode.
      batches: inner steps for each function.
      batch: points in an inner step.
      hidden: widths of the hidden layers.
      reuse: meta-rates of feature reuse: that of weights, feedback and beta, and that of alpha.
      flp2: those of FLP in two layers.
      flp3: those in three.
      gradient_warm: those of the gradient-based learner of first order that starts from FLP's weights: that of weights,
        and that of its inner rates.
      gradient_second: those of the learner of second order, from scratch.
      inner_rate: inner rates at the start, for half the squared error.
      clip: largest norm of the meta-gradient of a group; 0 for none.
      backoff: fraction by which a life that diverged reduces alpha, or the inner rates.
      remat: inner steps in a block that the backward pass computes again; 0 stores every step. Only memory and time
        depend on it, and on `rows`.
      rows: inputs to the frozen layers at a time, see `in_blocks`; lives of an evaluation then run one by one.
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
    reuse: tuple[float, float]
    flp2: tuple[float, float]
    flp3: tuple[float, float]
    gradient_warm: tuple[float, float]
    gradient_second: tuple[float, float]
    inner_rate: float
    clip: float
    backoff: Annotated[float, Range(0.0, 1.0)]
    remat: Annotated[int, Range(0)]
    rows: Annotated[int, Range(0)]

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
    "reuse": (3e-3, 3e-4),
    "flp2": (3e-3, 3e-5),
    "flp3": (3e-3, 3e-5),
    "gradient_warm": (1e-4, 3e-4),
    "gradient_second": (3e-3, 3e-4),
    "inner_rate": 2e-3,
    "clip": 1.0,
    "backoff": 0.1,
    "remat": 0,
    "rows": 0,
}
"""The smaller problem, with the outer loop that it needs; `lindsey2020_table1` describes its tuning."""

PAPER_SINES: Mapping[str, Any] = {
    "seeds": 2,
    "episodes": 20_000,
    "lifetimes": 50,
    "lives": 1,
    "functions": 10,
    "batches": 40,
    "batch": 32,
    "hidden": (300, 300, 300, 300, 300, 900, 300, 300),
    "reuse": (1e-4, 1e-8),
    "flp2": (1e-4, 1e-8),
    "flp3": (1e-4, 1e-8),
    "gradient_warm": (1e-4, 1e-5),
    "gradient_second": (1e-4, 1e-5),
    "inner_rate": 2e-3,
    "clip": 0.0,
    "backoff": 0.0,
    "remat": 20,
    "rows": 656,
}
"""The paper's problem and outer loop."""


def is_full(config: Sines) -> bool:
    """Returns whether problem, network and number of lives are the paper's; rates, seeds and evaluations may differ."""
    names = ("episodes", "lives", "functions", "batches", "batch", "hidden")
    return all(getattr(config, name) == PAPER_SINES[name] for name in names)


def sines(config: Sines, order: Order, episodes: int) -> Stream:
    """Stream of batches of lifetimes of the problem."""
    return incremental_sines(
        order=order, functions=config.functions, batches=config.batches, batch=config.batch, episodes=episodes
    )


def in_words(config: Sines) -> str:
    """Numbers of meta-steps, lives and seeds, with the paper's in brackets; for titles."""
    lives = "a life" if config.lives == 1 else f"{config.lives} lives"
    steps = config.functions * config.batches
    paper = "" if is_full(config) else " (paper: 20,000 of a life of 400)"
    seeds = "1 seed" if config.seeds == 1 else f"{config.seeds} seeds"
    return f"{config.episodes:,} meta-steps of {lives} of {steps} steps{paper}, {seeds}"
