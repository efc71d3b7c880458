"""Our own: time constants of an ALIF network and the broadcast weights of its e-prop, learned by an outer loop.

Bellec et al. (2020) draw broadcast weights at random and set time constants by hand. Here both are meta-parameters. In
a life, a network of ALIF neurons is born with random weights and learns, in `updates` batches of trials, to report the
side from which a cue (or most of several) came, some time after it. It learns by e-prop with a fixed broadcast of the
error. The outer loop descends the exact gradient of the life's final loss on new trials
(`plasticity_jax.meta.meta_gradient`), through every step of every trial, traces and surrogate slopes included. It
learns time constants of voltage and adaptation, one of each for every neuron ("constants"), the broadcast weights
("broadcast"), or both. No paper makes claims on this.

Everything is judged on held-out lives, with new weights at birth and new trials. For comparison there are the initial
theta, lives in which the readout alone learns, lives by symmetric e-prop and by BPTT at the same constants, and a
"grid": the best of several time constants that all neurons share. The whole grid has as many lives as the outer loop,
which does several times as much work for each life.

If every life is born with a readout of its own, the broadcast weights cannot depend on it. In "innate" lives the
readout at birth is always the same, so that they can.

An update has a fixed length, independent of the gradient's, one for the cell's weights and one for the readout's. Plain
gradient descent learned nothing in so short a life, and Adam discards the size of a gradient, so that only the signs of
broadcast weights would matter.
"""

import dataclasses
from typing import Annotated

from experiments.bellec2020.alif_meta_claims import CLAIMS, summarise
from experiments.bellec2020.alif_meta_figures import plot, text
from experiments.bellec2020.alif_meta_parts import at_start, grid, grid_of, outer_loops
from experiments.bellec2020.common import Positive, in_steps
from experiments.bellec2020.why import ALIF_META
from experiments.shared.claims import explained
from plasticity_jax.run import Experiment, Program, Range
from plasticity_jax.tasks.evidence_accumulation import evidence_steps


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings; times are in milliseconds.

    Attributes:
      seeds: outer loops, each with lives of its own.
      n: neurons.
      cues: of a trial, an odd number.
      cue: duration of a cue.
      gap: time before each cue.
      delay: time from the last cue to the time of the answer.
      recall: duration of the period in which the answer is due.
      dt: of a step.
      channels: of each of the four groups of inputs.
      input_rate: Hz, of an active channel.
      bias: probability that a cue is on the trial's side.
      batch: trials in an update.
      updates: of a life.
      query: number of new trials that judge it.
      tau: of the voltage at the start, and of the readout throughout.
      tau_adaptation: of the adaptation at the start.
      strength: rise of the threshold by a spike, in thresholds.
      scale: of the initial weights, see `experiments.bellec2020.alif_meta_lives`.
      random_rates: lengths of an update of the cell's weights and of the readout's, by broadcast.
      eprop_rates: as above, by symmetric e-prop.
      bptt_rates: as above, by BPTT.
      frozen_rates: as above, if the readout alone learns.
      meta_steps: of the outer loop.
      lives: in each of them.
      points: evaluations on held-out lives.
      rate_constants: Adam's rate in the outer loop, on logarithms of time constants.
      rate_broadcast: Adam's rate in the outer loop, on broadcast weights.
      clip: largest norm of the meta-gradient of a group.
      held_out: number of held-out lives.
      longer: length of held-out lives, in lives of the outer loop; they are judged after each of these lengths.
      grid_tau: time constants of the voltage.
      grid_tau_adaptation: of the adaptation.
      grid_rates: multiples of `random_rates`.
    """

    seeds: int = 4
    n: int = 16
    cues: int = 1
    cue: Positive = 80.0
    gap: float = 20.0
    delay: float = 240.0
    recall: Positive = 60.0
    dt: Positive = 20.0
    channels: int = 4
    input_rate: float = 25.0
    bias: Annotated[float, Range(0.0, 1.0)] = 0.7
    batch: int = 8
    updates: int = 30
    query: int = 64
    tau: Positive = 20.0
    tau_adaptation: Positive = 300.0
    strength: float = 0.6
    scale: Positive = 1.6
    random_rates: tuple[float, float] = (0.4, 0.15)
    eprop_rates: tuple[float, float] = (0.4, 0.15)
    bptt_rates: tuple[float, float] = (0.4, 0.15)
    frozen_rates: tuple[float, float] = (0.4, 0.15)
    meta_steps: int = 32
    lives: int = 2
    points: int = 2
    rate_constants: float = 0.1
    rate_broadcast: float = 0.05
    clip: float = 1.0
    held_out: int = 16
    longer: Annotated[int, Range(1)] = 4
    grid_tau: tuple[float, ...] = (20.0, 40.0)
    grid_tau_adaptation: tuple[float, ...] = (100.0, 300.0, 1000.0, 3000.0)
    grid_rates: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        """Refuses unevenly spaced points, times that are not whole steps, and a grid with more points than lives."""
        if self.points < 1 or self.meta_steps % self.points:
            raise ValueError(f"points={self.points} must divide meta_steps={self.meta_steps}")
        if self.meta_steps * self.lives < len(grid_of(self)):
            points = len(grid_of(self))
            raise ValueError(
                f"meta_steps={self.meta_steps} of lives={self.lives}: fewer lives than the grid's {points}"
            )
        evidence_steps(self.cues, **self.lengths())

    def lengths(self) -> dict[str, int]:
        """Times of a trial in steps, by the names of `evidence_accumulation`."""
        return {name: in_steps(name, getattr(self, name), self.dt) for name in ("cue", "gap", "delay", "recall")}


PRESETS = {
    "smoke": Config(
        seeds=2, n=4, cues=1, cue=40.0, delay=40.0, recall=20.0, channels=1, batch=2, updates=2, query=4, meta_steps=2,
        lives=1, points=1, held_out=2, longer=2, grid_tau=(20.0,), grid_tau_adaptation=(100.0, 300.0),
        grid_rates=(1.0,),
    ),
    "default": Config(),
    "paper": Config(
        seeds=10, n=40, cues=7, cue=100.0, gap=50.0, delay=500.0, recall=150.0, dt=10.0, channels=5, input_rate=40.0,
        batch=16, updates=60, meta_steps=400, lives=8, points=20, held_out=50, grid_tau=(10.0, 20.0, 40.0),
        grid_rates=(0.5, 1.0, 2.0),
    ),
}  # fmt: skip


def make_parts(config: Config) -> dict[str, Program]:
    """The initial theta, the outer loops, and the grid."""
    return {"start": at_start(config), "meta": outer_loops(config), "grid": grid(config)}


experiment = Experiment(
    title="Our own: an ALIF network's time constants and its e-prop's broadcast weights, learned by an outer loop",
    cost={
        "smoke": "a minute, nearly all of it compilation",
        "default": "4 seeds x 4 outer loops of 32 steps of 2 lives, and a grid: about twelve minutes on one core",
        "paper": "10 seeds, 40 neurons, 400 steps of 8 lives of 60 updates: days on two cores; for an accelerator",
    },
    scale={
        "default": "no paper's: 16 neurons, steps of 20 ms, a cue and 240 ms of delay, lives of 30 updates",
        "paper": "no paper's: 40 neurons, steps of 10 ms, 7 cues and half a second of delay, lives of 60 updates",
    },
    tuned="the task, the strength of adaptation, a life's optimiser (plain descent, Adam, steps of one length), "
    "and its rates, by 8 to 32 lives at each of about 130 settings, of an unreported key; of the outer loop nothing",
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, ALIF_META),
    plot=plot,
    text=text,
)
