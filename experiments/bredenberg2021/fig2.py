"""Figure 2 of Bredenberg et al. (2021): how good are the gradients of W by IL, NVI* and BP, on the same network.

All estimators see windows of four steps, one stimulus path, from r = 0: the authors' window, two steps awake and two
asleep, and its complement, which the theory wants as often. A sample is the mean over one trial of each. The truth is
the mean of many reparameterised gradients of the same loss; that of single samples is the best that an unbiased
estimator of known noise does, "BP". "BP of the ELBO" is the authors' rival: always awake, hence of another loss.

    IL            2 sum_t (1 - lambda_t) dlog q_t / dW                       the factor 2 of equation 5 restored
    NVI*          gamma_g = 1: unbiased. Without a baseline, and with the converged running average as one
    published     NVI* by the authors' code (sign, factor, and a missing square in its loss), likewise with a baseline

Signal-to-noise is |mean|^2 over the summed variances of one trial; per step, it is the authors' statistic, squared mean
over variance of the updates of all steps alike, averaged over weights. Of unbiased estimators the signal is the truth,
for their own mean is too noisy: what it has left of noise is 1 / N. Of the others the noise in |mean|^2 is taken off.

What falls otherwise than the paper has it: for one stimulus IL's cosine is .3 to .8, and it falls with latents, if less
than NVI*'s; averaged over stimuli, which is what learning follows, it rises with them. IL is 2 to 6 times too short, so
that its relative bias is near 1, and training does not lessen it. Where IL has converged (2 latents) its mean over
stimuli is nearly zero and the gradient is not: all of a gradient that has shrunk is then bias, and IL's direction is
arbitrary. IL and BP have about the same variance before training, not after; and then the baseline, one number for wake
and sleep, helps NVI* little where latents are few.
"""

import dataclasses
from typing import Annotated

from experiments.bredenberg2021.fig2_claims import CLAIMS, summarise
from experiments.bredenberg2021.fig2_estimators import network, quality
from experiments.bredenberg2021.fig2_figures import plot
from experiments.bredenberg2021.gradients import BLOCK, checkpoints
from experiments.bredenberg2021.why import FIG2
from experiments.shared.claims import explained
from plasticity_jax.run import Experiment, Program, Range
from plasticity_jax.typing import Array, Key, Params


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: of networks, mixtures and stimuli.
      latents: n_r = n_lat of each network; n_s is twice as many.
      followed: those of them that are measured all through training; the others before and after.
      steps: of training, by impression learning.
      checkpoints: during training, both ends counted.
      rate: of training, times the variance of each weight's density.
      groups: of 100 trials, for the statistics of all estimators.
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


PRESETS = {
    "smoke": Config(seeds=2, latents=(2,), followed=(2,), steps=BLOCK, checkpoints=2, groups=4, truth=4),
    "default": Config(),
    "paper": Config(seeds=20, steps=2_000_000, checkpoints=21, groups=10_000, truth=10_000),
}


def make_parts(config: Config) -> dict[str, Program]:
    """A program for each number of latents."""

    def until(n: int) -> list[int]:
        apart = config.steps // (config.checkpoints - 1)
        return [i * apart for i in range(config.checkpoints)] if n in config.followed else [0, config.steps]

    def measure(key: Key, params: Params, mixing: Array) -> dict[str, Array]:
        return quality(key, params, mixing, groups=config.groups, truths=config.truth)

    return {f"n{n}": checkpoints(network(n), config.rate, until(n), measure) for n in config.latents}


experiment = Experiment(
    title="Figure 2: gradients by IL, NVI* and BP on the same network: cosine, bias, variance, signal-to-noise",
    cost={
        "smoke": "half a minute, nearly all of it compilation",
        "default": "5 seeds, up to 32 latents: two to three minutes on two cores",
        "paper": "days on two cores; meant for an accelerator",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, FIG2),
    plot=plot,
)
