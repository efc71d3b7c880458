"""Figure 3 of Benjamin & Kording (2021): digits by a recurrent stochastic autoencoder, wake/sleep against Eq. 8.

"wake_sleep" has one discriminator of image and code together, gamma = 1; "combined" has one of each, gamma = 0.1; both
also run without recurrence. Two controls are not in the paper: "marginals", local discriminators at gamma = 1, so that
nothing ties an image to its code; and "combined_per_layer", in which each layer learns from its own discriminator
alone. Everything is measured on test digits, except patterns, which need more images.

The default preset is a smaller problem on which the claims can be judged within minutes: digits of 14 x 14, 16 units
of code, hidden layers of 128, batches of 64, and ten times the paper's rates, falling over the same part of training.
It was chosen by single runs (wake/sleep has recurrence unless noted; identity is the share of test digits that a
reconstruction keeps, distance the Frechet distance of samples, which is 15 early on):

                         rates, thousand steps        identity   distance
    combined             5e-4 / 2e-3, 2               0.09       8.5        L_RECON a mean over features
    combined             5e-4 / 2e-3, 4               0.25       5.9        ten times that mean
    combined             5e-4 / 2e-3, 4               0.75       4.2        a sum over features, as in Larsen et al.
    combined             1e-3 / 4e-3, 6               0.94       2.6        a sum                               chosen
    combined, bare       1e-3 / 4e-3, 4               0.93       4.9        a sum, no recurrence
    wake/sleep           5e-4 / 2e-3, 5               0.11       2.8
    wake/sleep           1e-3 / 2e-3, 8               0.10       3.9
    wake/sleep           1e-3 / 4e-3, 8               0.10       2.2                                            chosen
    wake/sleep           2e-3 / 8e-3, 6               0.10       1.9
    wake/sleep           1e-3 / 4e-3, 3               0.13       3.6        hidden layers of 256
    wake/sleep           1e-3 / 4e-3, 5               0.16       6.5        32 units of code, pixels not squashed
    wake/sleep, bare     1e-3 / 4e-3, 6               0.63       2.3        no recurrence

The paper does not state how L_RECON is reduced over features; a mean had little effect in so few steps (the chosen
rates were not tried with it). Where wake/sleep keeps no identity, its code is almost independent of the image ("told",
the share of the code's variance that the image explains, is below 1 %), so that its reconstruction of a digit is just
another sample. Longer training may change this: with more units of code the share was rising, slowly. Pixels go through
a sigmoid, so that error and classifier do not judge noise around black. Patterns are rounded, as in the paper, and also
binary, z > 0: nearly all rounded patterns are unique, so that even two halves of wake hardly share any. A code that is
independent of the image has no pairs of x and z, so that wake/sleep's patterns are aligned for a poor reason. The sum
was chosen because combined learns with it; seed 0 of the search is one of the reported seeds.

The preset "wide" has the paper's images, network and rates, and 20,000 steps of 64 images, not 46,800 of 512. It tests
whether wake/sleep's code ignores the image only in the small network, or at the paper's size, too.

The following does not hold: patterns are not closely aligned (combined's are half to two thirds of the way from the
controls to the floor, wake/sleep's three quarters, for the reason above), and combined's squared error jumps no less
than wake/sleep's. Wake/sleep keeps the identity above chance, but by less than one digit in a hundred.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import jax
import numpy as np

from experiments.benjamin2021.common import (
    EPOCHS,
    Classifier,
    adversarial_training,
    classifier,
    digits,
    fetching,
    optimiser,
)
from experiments.benjamin2021.fig3_claims import CLAIMS
from experiments.benjamin2021.fig3_figures import figures
from experiments.benjamin2021.fig3_scores import Sizes, assessed, baselines, check_sizes
from experiments.benjamin2021.fig3_summary import METHODS, summarise, text
from experiments.benjamin2021.why import FIG3
from experiments.shared.claims import explained
from experiments.shared.images import Images
from plasticity_jax.data import minibatches
from plasticity_jax.networks.autoencoder import Autoencoder, autoencoder, init_params
from plasticity_jax.rules.generative import adversarial
from plasticity_jax.run import Experiment, Program, Range
from plasticity_jax.run.program import Metrics, TrainingState, once
from plasticity_jax.typing import Key


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: networks and data, shared by all methods.
      data: "mnist", or "prototypes" (random images, which need no files).
      side: pixels of an image, 28 or a divisor of it.
      latent: units of the code.
      hidden: units of each hidden layer of a conditional.
      critic_hidden: units of each hidden layer of a discriminator.
      recurrence: its steps, for methods with recurrence.
      output: "identity" or "sigmoid".
      gamma: of the combined objective.
      reduction: of the distance between features, "mean" or "sum" over them.
      batch: images in a step.
      steps: of training.
      points: evaluations.
      model_rate: of inference and generation.
      critic_rate: of the discriminators.
      weight_decay: of all weights and biases.
      b1: of Adam.
      b2: of Adam.
      methods: to run.
      tested: test images.
      rows: training images for the patterns; one half is compared with the other.
    """

    seeds: int = 4
    data: str = "mnist"
    side: int = 14
    latent: int = 16
    hidden: int = 128
    critic_hidden: int = 128
    recurrence: int = 1
    output: Literal["identity", "sigmoid"] = "sigmoid"
    gamma: Annotated[float, Range(0, 1)] = 0.1
    reduction: Literal["sum", "mean"] = "sum"
    batch: int = 64
    steps: int = 6000
    points: int = 12
    model_rate: float = 1e-3
    critic_rate: float = 4e-3
    weight_decay: Annotated[float, Range(0)] = 2e-5
    b1: Annotated[float, Range(0, 0.9999)] = 0.5
    b2: Annotated[float, Range(0, 0.9999)] = 0.99
    methods: tuple[str, ...] = METHODS
    tested: int = 2000
    rows: int = 20_000

    def __post_init__(self) -> None:
        unknown = sorted(set(self.methods) - set(METHODS))
        if unknown or not self.methods:
            names = ", ".join(unknown) or "none"
            raise ValueError(f"methods: {names} not known; choose from {', '.join(METHODS)}")
        if self.points < 4 or self.steps % self.points:
            raise ValueError(f"points={self.points} must be at least 4 and divide steps={self.steps}")
        if self.latent < 8:
            raise ValueError(f"latent={self.latent} must be at least 8, the units of the code in a pattern")


PRESETS = {
    "smoke": Config(
        seeds=2,
        data="prototypes",
        side=7,
        latent=8,
        hidden=8,
        critic_hidden=8,
        steps=40,
        points=4,
        tested=100,
        rows=400,
    ),
    "default": Config(),
    "wide": Config(
        seeds=2,
        side=28,
        latent=64,
        hidden=512,
        critic_hidden=512,
        output="identity",
        steps=20_000,
        points=20,
        model_rate=1e-4,
        critic_rate=4e-4,
        methods=("wake_sleep", "combined", "wake_sleep_no_recurrence"),
    ),
    "paper": Config(
        seeds=5,
        side=28,
        latent=64,
        hidden=512,
        critic_hidden=512,
        output="identity",
        batch=512,
        steps=400 * 117,
        points=40,
        model_rate=1e-4,
        critic_rate=4e-4,
        tested=10_000,
        rows=40_000,
    ),
}


def network(config: Config, method: str) -> Autoencoder:
    """The network of one of `METHODS`."""
    return autoencoder(
        (config.side**2, config.latent),
        config.hidden,
        config.critic_hidden,
        0 if method.endswith("no_recurrence") else config.recurrence,
        "global" if method.startswith("wake_sleep") else "local",
        output=config.output,
    )


def part(config: Config, method: str, data: Images, judge: Classifier) -> Program:
    """Training of one of `METHODS`."""
    net = network(config, method)
    rule = adversarial(
        net,
        config.gamma if method.startswith("combined") else 1.0,
        reduction=config.reduction,
        per_layer=method.endswith("per_layer"),
    )

    def evaluate(state: TrainingState) -> Metrics:
        return assessed(
            Sizes(config.tested, config.rows), net, state.learner.params, jax.random.fold_in(state.lane, 1), data, judge
        )

    return adversarial_training(
        rule,
        lambda key: init_params(key, net),
        optimiser(
            config.model_rate,
            config.critic_rate,
            epoch_steps=config.steps / EPOCHS,
            weight_decay=config.weight_decay,
            b1=config.b1,
            b2=config.b2,
        ),
        minibatches(len(data.train), config.batch),
        fetching(data),
        evaluate,
        steps=config.steps,
        points=config.points,
    )


def make_parts(config: Config) -> dict[str, Program]:
    """Parts: the methods, "untrained" (the initial network), and "data" (baselines without a network)."""
    data, size = digits(config.data, config.side), Sizes(config.tested, config.rows)
    check_sizes(size, data)
    judge, net = classifier(config.data, config.side), network(config, "combined")

    def untrained(key: Key) -> Metrics:
        return assessed(size, net, init_params(key, net), jax.random.fold_in(key, 1), data, judge)

    parts = {method: part(config, method, data, judge) for method in METHODS if method in config.methods}
    return parts | {
        "untrained": once(untrained, 1),
        "data": once(lambda key: baselines(size, config.latent, key, data, judge), 1),
    }


def plot(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Pictures, curves of training, and patterns."""
    return figures(metrics, summarise(metrics))


experiment = Experiment(
    title="Figure 3: digits by a recurrent stochastic autoencoder, wake/sleep against the combined objective",
    cost={
        "smoke": "about a minute, nearly all of it compilation",
        "default": "4 seeds, about ten minutes on two cores",
        "wide": "the paper's images, network and rates, 3 methods, 2 seeds, 20,000 steps of 64: 0.7 h on a core",
        "paper": "5 seeds x 400 epochs of 28 x 28 digits: hours on a GPU, in resumable pieces",
    },
    scale={
        "default": "6,000 steps of 64 digits of 14 x 14, 16 units of code; the paper 46,800 of 512 of 28 x 28, 64",
        "wide": "the paper's images, network and rates; 20,000 steps of 64 for 46,800 of 512",
        "paper": "the paper's problem and steps",
    },
    tuned="default: network, rates and the sum over features in L_RECON, by single runs on seed 0, which is reported",
    selects=("methods",),
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, FIG3),
    plot=plot,
    text=text,
)
