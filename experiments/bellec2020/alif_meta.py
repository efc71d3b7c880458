"""Our own: time constants of an ALIF network and the broadcast weights of its e-prop, learned by an outer loop.

Bellec et al. (2020) draw broadcast weights at random and set time constants by hand. Here both are meta-parameters. A
life is a network of ALIF neurons that is born with random weights and learns, in `updates` batches of trials, to tell
of which of two sides a cue came (or most of several), some time after it; it learns by e-prop with a fixed broadcast
of the error. The outer loop descends the exact gradient of its loss on new trials at its end
(`plasticity_jax.meta.meta_gradient`), through every step of every trial, traces and surrogate slopes included. It
learns time constants of voltage and adaptation, one of each for every neuron ("constants"), the broadcast weights
("broadcast"), or both. No paper claims anything of this.

All is judged on held-out lives: new weights at birth, new trials. Beside stand theta as it starts, a life in which the
readout alone learns, lives by symmetric e-prop and by BPTT at the same constants, and a "grid": the best of a number of
time constants, shared by all neurons, each tried in as many lives as give the whole grid the outer loop's number. The
outer loop does several times as much work for a life.

Where every life is born with a readout of its own, broadcast weights can know nothing of it. In lives called "innate"
the readout at birth is always the same one, and they can.

An update has a fixed length, whatever that of the gradient, one for the cell's weights and one for the readout's: plain
gradient descent learned nothing in so short a life, and by Adam, which knows no size of a gradient, broadcast weights
would matter by their signs alone.
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
      cue: time for which a cue is shown.
      gap: time before each cue.
      delay: time from the last cue to the time of the answer.
      recall: time in which the answer is due.
      dt: of a step.
      channels: of each of the four groups of inputs.
      input_rate: Hz, of an active channel.
      bias: how likely a cue is on the trial's side.
      batch: trials to an update.
      updates: of a life.
      query: new trials that judge it.
      tau: of the voltage at the start, and of the readout for good.
      tau_adaptation: of the adaptation at the start.
      strength: what a spike adds to the threshold, in thresholds.
      scale: of the initial weights, see `experiments.bellec2020.alif_meta_lives`.
      random_rates: lengths of an update of the cell's weights and of the readout's, by broadcast.
      eprop_rates: as above, by symmetric e-prop.
      bptt_rates: as above, by BPTT.
      frozen_rates: as above, where the readout alone learns.
      meta_steps: of the outer loop.
      lives: to each of them.
      points: evaluations on held-out lives.
      rate_constants: Adam's in the outer loop, on logarithms of time constants.
      rate_broadcast: Adam's in the outer loop.
      clip: largest norm of the meta-gradient of a group.
      held_out: lives.
      longer: length of held-out lives, in those of the outer loop; they are judged at the end of each.
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
        """Refuses points at unequal distances, times that are no whole steps, and a grid of more points than lives."""
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
    """Theta at the start, the outer loops, and the grid."""
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
