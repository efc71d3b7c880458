"""Depth, from the discussion of Lansdell, Prakash & Kording (2020): does feedback get worse from layer to layer?

"Distortion of the error signal does accumulate in a layerwise fashion, from top to bottom", and direct feedback might
help. Here networks with two, four and six hidden tanh layers of equal width learn MNIST. Node perturbation regresses
their feedback layer by layer or straight from the output; feedback alignment, direct feedback alignment and
backpropagation are run for comparison. The angle is that of a layer's credit to the gradient, by layer.

The regressions are ridges that forget, so that they follow weights that learn. Direct feedback has one fixed matrix for
each layer, which cannot follow the slopes of the layers above, so that even the best matrix leaves an angle.

With layerwise feedback, the lowest of six layers is at chance, unlike with fixed feedback. The reason is unknown. On
two of the seeds it also ends at 88 to 91 degrees with a ridge of 1e-3 or 1e-5, a forgetting of 0.9999, noise of 1e-3,
3,000 steps of warm-up, a rate of 0.002, or ten units a layer. So neither the number of samples nor the rank of the ten
outputs explains it.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
import optax

from experiments.lansdell2019.common import Positive, Share, Steps, check_schedule, training, two_rates
from experiments.lansdell2019.depth_claims import CLAIMS, DIRECT, METHODS, summarise
from experiments.lansdell2019.depth_figures import plot, text
from experiments.lansdell2019.why import DEPTH
from experiments.shared.checks import check_names
from experiments.shared.claims import explained
from experiments.shared.images import Images, images, scaled, unfolded
from plasticity_jax.base import LearningRule, learner
from plasticity_jax.diagnostics.alignment import alignment
from plasticity_jax.layers import Chain, forward, init_params
from plasticity_jax.layers.chain import Pathway
from plasticity_jax.networks import mlp
from plasticity_jax.rules import feedback
from plasticity_jax.run import Experiment, Program, Range
from plasticity_jax.run.program import TrainingState
from plasticity_jax.typing import Array, Example


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings; rates are for means over a batch.

    Attributes:
      seeds: networks and batches, shared by all methods.
      data: "mnist" or "prototypes" (random, no files).
      pixels: of an image.
      width: of every hidden layer.
      depths: hidden layers of each network, increasing.
      batch: examples in a step.
      epochs: of 1,000 steps.
      points: evaluations, evenly spaced, each at the end of a chunk.
      rate: of the weights.
      sigma: of the noise.
      ridge: gamma.
      forgetting: factor of the regressions' sums at each step.
      solve_every: steps from one solution to the next.
      warm_up: steps in which node perturbation learns only its feedback.
      examples: training images on which angles are taken.
      methods: those that are run; claims that need the others are not judged.
    """

    seeds: int = 4
    data: str = "mnist"
    pixels: int = 784
    width: int = 30
    depths: tuple[Annotated[int, Range(1, 100)], ...] = (2, 4, 6)
    batch: int = 32
    epochs: int = 4
    points: int = 8
    rate: float = 0.02
    sigma: Positive = 1e-2
    ridge: float = 0.1
    forgetting: Share = 0.999
    solve_every: int = 10
    warm_up: Steps = 500
    examples: int = 1000
    methods: tuple[str, ...] = METHODS

    def __post_init__(self) -> None:
        """Refuses unevenly spaced evaluations, unknown methods, and depths out of order."""
        check_schedule(self.epochs, self.points)
        check_names("methods", self.methods, METHODS)
        if list(self.depths) != sorted(set(self.depths)):
            raise ValueError(f"depths={self.depths} must increase")


PRESETS = {
    "smoke": Config(
        seeds=2, data="prototypes", pixels=36, width=8, depths=(2, 3), epochs=1, points=2, warm_up=100, examples=100
    ),
    "default": Config(),
    "paper": Config(seeds=10, epochs=50, points=50),
}


def network(config: Config, depth: int) -> Chain:
    """The network with `depth` hidden layers."""
    return mlp((config.pixels, *(config.width,) * depth, 10), (*("tanh",) * depth, "identity"))


def pathway(method: str) -> Pathway:
    """The pathway of a method's feedback."""
    return "direct" if method in DIRECT else "chain"


def build_rule(config: Config, net: Chain, method: str) -> LearningRule:
    """The rule of a method."""
    if method.startswith("np"):
        return feedback.node_perturbation(
            net,
            sigma=config.sigma,
            pathway=pathway(method),
            estimator="ridge",
            ridge=config.ridge,
            forgetting=config.forgetting,
            solve_every=config.solve_every,
            warm_up=config.warm_up,
        )
    rules = {
        "bp": feedback.backprop,
        "fa": feedback.feedback_alignment,
        "dfa": feedback.direct_feedback_alignment,
    }
    return rules[method](net)


def optimiser(config: Config, method: str) -> optax.GradientTransformation:
    """SGD on the weights; B is set to the regression's solution, or stays fixed."""
    return two_rates(config.rate, 1.0 if method.startswith("np") else 0.0)


def part(config: Config, data: Images, method: str, depth: int) -> Program:
    """A method in a network, evaluated at the end of each chunk."""
    net = network(config, depth)
    return training(
        len(data.train),
        lambda index: example(data.train[index], data.train_label[index]),
        learner(build_rule(config, net, method), optimiser(config, method)),
        lambda key: init_params(key, net, pathway=pathway(method)),
        scores(config, net, data, method),
        batch=config.batch,
        epochs=config.epochs,
        points=config.points,
    )


def example(image: Array, label: Array) -> Example:
    """Images with targets of 1 for their class and 0 for the others."""
    return Example(scaled(image), jax.nn.one_hot(label, 10))


def scores(config: Config, net: Chain, data: Images, method: str) -> Callable[[TrainingState], Mapping[str, Array]]:
    """``state -> metrics``: errors on the test images (per cent), angles to the gradient on training images."""

    def evaluate(state: TrainingState) -> Mapping[str, Array]:
        params = state.learner.params
        test, images, digit = unfolded((data.test, data.train[: config.examples], data.train_label[: config.examples]))
        output = forward(net, params["forward"], scaled(test)).h[-1]
        metrics = {"error": 100 * jnp.mean(jnp.argmax(output, -1) != data.test_label)}
        if method != "bp":
            metrics["angle"] = alignment(net, params, example(images, digit), pathway(method)).true_angle
        return metrics

    return evaluate


def make_parts(config: Config) -> dict[str, Program]:
    """Every method in every network, by the name "method.depth"."""
    data = images(config.data, config.pixels)
    return {
        f"{method}.{depth}": part(config, data, method, depth)
        for method in METHODS
        if method in config.methods
        for depth in config.depths
    }


experiment = Experiment(
    title="Discussion: distortion of feedback by depth, layer by layer and straight from the output",
    cost={
        "smoke": "half a minute, nearly all of it compilation",
        "default": "4 seeds x 4,000 steps x 15 networks: two minutes on two cores",
        "paper": "10 seeds x 50,000 steps: an hour on two cores; the paper has no such figure",
    },
    scale={
        "default": "4,000 steps; the paper has no such figure",
        "paper": "50,000 steps; the paper has no such figure",
    },
    tuned="nothing; other settings were tried afterwards, on two of the seeds, and end alike",
    selects=("methods",),
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, DEPTH),
    plot=plot,
    text=text,
)
