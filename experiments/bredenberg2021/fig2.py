"""Figure 2 of Bredenberg et al. (2021): quality of the gradients of W by IL, NVI* and BP on the same network.

All estimators receive windows of four steps from one stimulus path, which continue from the state of the running
network. The authors' window, two steps awake and two asleep, begins when the network wakes; its complement, which the
theory needs equally often, begins when it falls asleep. A sample is the mean over one trial of each. The true gradient
is the mean of many reparameterised gradients of the window's loss; a single one of them is "BP", the best unbiased
estimator with known noise. "BP of the ELBO" is the authors' rival: it is always awake and so has another loss. "Over
stimuli", each trial has its own path, and the gradient is that of the long-run loss, where W also acts on the state
before the window: this is the gradient that learning follows.

    IL            2 sum_t (1 - lambda_t) dlog q_t / dW                       the factor 2 of equation 5 restored
    NVI*          gamma_g = 1: unbiased. Without a baseline, and with the converged running average as one
    published     NVI* by the authors' code (see `experiments.bredenberg2021.authors`), likewise with a baseline

The paper's panels a to c, and signal-to-noise, are for the fewest latents: the test loss during IL's training, lengths
of the gradient, and IL's cosine to the mean of NVI*. Signal-to-noise is |mean|^2 over the summed variances of one
trial; per step, it is the authors' statistic, squared mean over variance of the updates pooled over all steps, averaged
over weights. For unbiased estimators the signal is the true gradient, because their own mean is too noisy: its
remaining noise is 1 / N. For the others, the noise in |mean|^2 is subtracted.

The authors train for 600,000 steps at a rate of 1e-4 and measure 1,000,000 trials ("paper"; "long" has a tenth of the
trials); the default trains for 100,000 at 1e-3, a larger product of steps and rate, and measures 10,000.

Differences from the paper: IL's mean cosine for one stimulus is .3 to .7, and it falls with latents, though less than
NVI*'s. IL is 2 to 6 times too short, so its relative bias is near 1, and training does not reduce it. When IL has
converged (2 latents), its mean is nearly zero but the gradient is not: the gradient that remains is then all bias, IL's
direction is arbitrary, and the cosine can be negative in some networks. An earlier version of this experiment started
windows from r = 0, half of them asleep, in states that training never visits. There, over stimuli, the cosines of five
networks with 2 latents after training were -.67, .40, -.41, .65 and -.02, whereas from the running state they were .87,
.51, .41, .57 and .36 (seeds that are not reported). The baseline, one number for wake and sleep, removes less of NVI*'s
variance after training than before.
"""

import dataclasses
from typing import Annotated

from experiments.bredenberg2021.fig2_claims import CLAIMS, summarise
from experiments.bredenberg2021.fig2_estimators import network, quality
from experiments.bredenberg2021.fig2_figures import figures
from experiments.bredenberg2021.gradients import BLOCK, checkpoints
from experiments.bredenberg2021.why import FIG2
from experiments.shared.claims import explained
from plasticity_jax.run import Experiment, Program, Range
from plasticity_jax.typing import Array, Key, Params


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: networks, mixtures and stimuli.
      latents: n_r = n_lat of each network; n_s is twice as many.
      followed: numbers of latents that are measured throughout training; the others are measured before and after.
      steps: steps of training by impression learning.
      checkpoints: checkpoints during training, including both ends.
      rate: learning rate, times the variance of each weight's density.
      groups: groups of 100 trials, for the statistics of all estimators.
      truth: groups of 100 trials, for the true gradient.
    """

    seeds: int = 5
    latents: Annotated[tuple[int, ...], Range(2)] = (2, 4, 8, 16, 32)
    followed: tuple[int, ...] = (2, 8)
    steps: int = 100_000
    checkpoints: Annotated[int, Range(2)] = 6
    rate: float = 1e-3
    groups: Annotated[int, Range(2)] = 100
    truth: Annotated[int, Range(2)] = 300

    def __post_init__(self) -> None:
        if not set(self.followed) <= set(self.latents):
            raise ValueError(f"followed={self.followed} must be among latents={self.latents}")
        if self.steps % (BLOCK * max(1, self.checkpoints - 1)):
            raise ValueError(f"steps={self.steps} must be a multiple of {BLOCK} times the checkpoints less one")


THEIRS = {"steps": 600_000, "rate": 1e-4, "checkpoints": 21}
PRESETS = {
    "smoke": Config(seeds=2, latents=(2,), followed=(2,), steps=BLOCK, checkpoints=2, groups=4, truth=4),
    "default": Config(),
    "long": Config(followed=(2,), groups=1000, truth=1000, **THEIRS),
    "paper": Config(seeds=20, groups=10_000, truth=10_000, **THEIRS),
}


def make_parts(config: Config) -> dict[str, Program]:
    """A program for each number of latents."""

    def until(n: int) -> list[int]:
        interval = config.steps // (config.checkpoints - 1)
        return [i * interval for i in range(config.checkpoints)] if n in config.followed else [0, config.steps]

    def measure(key: Key, params: Params, mixing: Array) -> dict[str, Array]:
        return quality(key, params, mixing, groups=config.groups, truths=config.truth)

    return {f"n{n}": checkpoints(network(n), config.rate, until(n), measure) for n in config.latents}


experiment = Experiment(
    title="Figure 2: gradients by IL, NVI* and BP on the same network: cosine, bias, variance, signal-to-noise",
    cost={
        "smoke": "half a minute, nearly all of it compilation",
        "default": "5 seeds, up to 32 latents: three to five minutes on two cores",
        "long": "5 seeds, 600,000 steps, 100,000 trials: about an hour on one core",
        "paper": "days on two cores; meant for an accelerator",
    },
    scale={
        "smoke": "500 of the paper's 600,000 steps, 400 of its 1,000,000 trials",
        "default": "100,000 steps at 1e-3 (paper: 600,000 at 1e-4), 10,000 of its 1,000,000 trials, 5 of its 20 seeds",
        "long": "the paper's 600,000 steps at its rate, 100,000 of its 1,000,000 trials, 5 of its 20 seeds",
        "paper": "the paper's steps, rate, trials and seeds",
    },
    tuned="nothing",
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, FIG2),
    plot=figures,
)
