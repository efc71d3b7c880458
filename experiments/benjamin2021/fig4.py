"""Figure 4 of Benjamin & Kording (2021): CIFAR-10 in a stochastic convolutional hierarchy, learned adversarially.

The combined objective (gamma = 0.5) has a discriminator for each layer. Controls are the same network untrained, and
wake/sleep alone with the same discriminators ("marginals", gamma = 1), which does not tie an image to its code. All
tests are on test images, one sample each; pixels run from -1 to 1.

The paper shows reconstructions and no numbers. A reconstruction here goes up to a layer, turns there, and comes down
again. Measured are its squared error, compared with the mean image, another image and principal components; how often
it is nearer to its own image than to another one; whether a classifier finds the same class in it; the Frechet distance
of the classifier's features between real images and dreams or reconstructions; and the class, read out of each layer by
ridge regression. The classifier is a small convolutional network, trained here. A squared error rewards grey: a sharp
sample hardly beats the mean image.

The default preset is a smaller problem (16 x 16 pixels, layers half as wide, batches of 32) that starts from larger
weights and quieter layers than the paper preset: from weights of 0.02 and deviations of 0.7, two hundred steps at
several times the paper's rates gave grey noise. It was chosen by the runs below, of one seed each; errors are squared
errors on test images after turning at layers 1 to 4 (mean image 0.23, another image 0.46), and critics' rate is 2e-3:

    L_RECON, gamma, lambda, model's rate   steps    h1      h2      h3      h4
    mean, 0.5, 1, 2e-3                     300      0.75    0.31 at the top: nothing learned
    mean, 0.5, 10, 1e-3                    300      0.34    0.48 at the top: nothing learned
    sum, 0.5, 1, 1e-3                      400      0.06    0.24    0.30    0.30
    sum, 0.5, 10, 1e-3                     400      0.06    0.20    0.43    0.43    chosen
    sum, 0.5, 10, 2e-3                     1,200    0.04    0.52    0.56    0.56
    sum, 0.1, 10, 1e-3                     1,200    0.01    0.13    0.78    0.66

In so few steps the layers learn from below: turned at layer 1, a reconstruction is the image, at layer 2 its coarse
shades, and above that the same picture for all images. The readout of classes is to be compared with readouts of pixels
(h0), of principal components, and of the untrained network, because random features may carry the class, too.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import jax
import numpy as np

from experiments.benjamin2021.cifar import judge, pictures, signed
from experiments.benjamin2021.common import EPOCHS, adversarial_training, optimiser
from experiments.benjamin2021.fig4_claims import CLAIMS, summarise, text
from experiments.benjamin2021.fig4_figures import figures
from experiments.benjamin2021.fig4_scores import SHOWN, Probe, baselines, components, tested
from experiments.benjamin2021.why import FIG4
from experiments.shared.claims import explained
from plasticity_jax.data import minibatches
from plasticity_jax.networks.dcgan import Dcgan, dcgan, init_params
from plasticity_jax.rules.generative.adversarial import adversarial
from plasticity_jax.run import Experiment, Program, Range
from plasticity_jax.run.program import Metrics, TrainingState, once
from plasticity_jax.typing import Example, Key, Params


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings; the paper's are in its preset.

    Attributes:
      seeds: networks and orders of the images, shared by all methods.
      data: "cifar10", or "prototypes" (ten random images under noise, which need no files).
      side: pixels, 32 or a divisor of it: images are then averaged over squares.
      examples: training images, the first ones of the set.
      tests: test images, the first ones of the set, and as many training images for readouts and baselines.
      channels: of layer 1; each layer above has twice as many as the one below it.
      top: neurons of the topmost layer.
      critic_width: channels of the discriminators.
      gamma: weight of wake/sleep against the oscillation.
      reconstruction: weight of the distance between features, summed over them.
      penalty: weight of the gradient penalty.
      initial_scale: of all initial weights, in units of the library's 0.02.
      initial_spread: initial bias of the layers' standard deviations, before the softplus.
      steps: of training.
      points: tests in the course of training, each at the end of a chunk.
      batch: images of a step.
      model_rate: of inference and generation.
      critic_rate: of the discriminators.
      judge_steps: of the classifier's training, each on 128 images of the whole training split.
    """

    seeds: int = 2
    data: str = "cifar10"
    side: int = 16
    examples: int = 10_000
    tests: int = 2000
    channels: int = 16
    top: int = 64
    critic_width: int = 32
    gamma: Annotated[float, Range(0, 1)] = 0.5
    reconstruction: float = 1.0
    penalty: float = 10.0
    initial_scale: float = 4.0
    initial_spread: float = -3.0
    steps: int = 900
    points: int = 6
    batch: int = 32
    model_rate: float = 1e-3
    critic_rate: float = 2e-3
    judge_steps: int = 800

    def __post_init__(self) -> None:
        if self.steps % self.points:
            raise ValueError(f"steps={self.steps} must be a multiple of points={self.points}")
        if self.tests < 2 * SHOWN or self.examples < self.tests:
            raise ValueError(f"tests={self.tests} must be at least {2 * SHOWN}, and no more than the examples")
        if self.side not in (8, 16, 32):
            raise ValueError(f"side={self.side} must be 8, 16 or 32")


PRESETS = {
    "smoke": Config(
        data="prototypes", side=8, examples=500, tests=200, channels=4, top=8, critic_width=4, steps=4, points=2,
        batch=8, judge_steps=20,
    ),
    "default": Config(),
    "paper": Config(
        seeds=3, side=32, examples=50_000, tests=10_000, channels=32, top=100, critic_width=64, steps=39_200,
        points=80, batch=512, model_rate=1e-4, critic_rate=4e-4, penalty=1.0, initial_scale=1.0, initial_spread=0.0,
        judge_steps=4000,
    ),
}  # fmt: skip


def probe_of(config: Config) -> Probe:
    """Judge, and images that the networks are tested with: as many of training as of test."""
    images = jax.tree.map(lambda leaf: leaf[: config.tests], pictures(config.data, config.side))
    return Probe(images, judge(config.data, config.side, config.judge_steps))


def initial(net: Dcgan, key: Key, scale: float, spread: float) -> Params:
    """`init_params` times a factor, with the biases of standard deviations, before the softplus, set to `spread`."""
    params = jax.tree.map(lambda leaf: scale * leaf, init_params(key, net))

    def narrowed(layer: Params) -> Params:
        bias = layer["output"]["bias"]
        return {**layer, "output": {**layer["output"], "bias": bias.at[len(bias) // 2 :].set(spread)}}

    return {**params, **{group: tuple(map(narrowed, params[group])) for group in ("inference", "generation")}}


def make_parts(config: Config) -> dict[str, Program]:
    """Parts: "combined" and "marginals" (trained), "untrained" (the initial network), and "data" (its baselines)."""
    net = dcgan((config.side, config.side, 3), config.channels, config.top, config.critic_width)
    images, probe = pictures(config.data, config.side), probe_of(config)
    count = min(config.examples, len(images.train))
    axes = components(np.asarray(images.train)[:count], config.top)
    tx = optimiser(config.model_rate, config.critic_rate, epoch_steps=config.steps / EPOCHS)

    def weights(key: Key) -> Params:
        return initial(net, key, config.initial_scale, config.initial_spread)

    def part(gamma: float) -> Program:
        def evaluate(state: TrainingState) -> Metrics:
            return tested(net, probe, state.learner.params, jax.random.fold_in(state.lane, 1))

        return adversarial_training(
            adversarial(net, gamma, reconstruction=config.reconstruction, reduction="sum", penalty=config.penalty),
            weights,
            tx,
            minibatches(count, config.batch),
            lambda index: Example(signed(images.train[index]), images.train_label[index]),
            evaluate,
            steps=config.steps,
            points=config.points,
        )

    def untrained(key: Key) -> Metrics:
        return tested(net, probe, weights(jax.random.split(key, 3)[0]), jax.random.fold_in(key, 1))

    return {
        "combined": part(config.gamma),
        "marginals": part(1.0),
        "untrained": once(untrained, config.tests),
        "data": once(lambda key: baselines(axes, probe), config.tests),
    }


def plot(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Figures by name: pictures, the course of training, and readouts by layer."""
    return figures(metrics, summarise(metrics))


experiment = Experiment(
    title="Figure 4: CIFAR-10 in a convolutional hierarchy: reconstructions, dreams, classes read out by layer",
    cost={
        "smoke": "about a minute, nearly all of it compilation",
        "default": "2 seeds, images of 16 x 16, 900 steps: some six minutes on two cores",
        "paper": "3 seeds x 400 epochs at full size: for an accelerator, in resumable pieces",
    },
    scale={
        "default": "900 steps of 32 images of 16 x 16, half the channels; the paper 39,200 of 512 of 32 x 32",
        "paper": "the paper's problem and steps",
    },
    tuned="rates, initial weights and noise, and the sum in L_RECON, by single runs on a reported seed",
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, FIG4),
    plot=plot,
    text=text,
)
