"""Figure 2 of Lansdell, Prakash & Kording (2020): MNIST by learned, fixed, matched and true feedback.

The network is 784-50-20-10, sigmoid, with a linear output, squared error and batches of 32. Node perturbation regresses
its feedback with the authors' exact ridge at four noise levels and, in addition to the paper, with a ridge that forgets
and by SGD. W2 and W3 are the second and third layers' weights, each with its feedback matrix.

The figure hides four things. First, the regression of W2's feedback is on errors of 20 neurons that come from 10
outputs. Ten directions have nearly all of their power (assumption A3 all but fails), and B stays far from W in the
others, which does no harm, since errors hardly extend into them. Second, the ridge never forgets, and so lags behind W.
Third, the authors took their error rates on the perturbed forward pass: at c = 0.1 the noise rises, not the error.
Fourth, they drew different initial weights for each c; from the same weights, the noise levels do not differ.

"np_held" keeps W fixed, as in supplementary figure 1, on the same samples. Where W learns and the two correspond more
closely, both have moved; but this improves no credit, and feedback that never learns corresponds more closely still.
The default is 60 of the authors' 2,000 epochs: enough for the order of the methods, not for the printed error rates.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.lansdell2019.common import (
    EPOCH,
    Positive,
    Share,
    Steps,
    check_schedule,
    training,
    two_rates,
)
from experiments.lansdell2019.fig2_claims import CLAIMS, METHODS, RANK_TOLERANCE, SIGMAS, method_of, np_name, summarise
from experiments.lansdell2019.fig2_figures import plot, text
from experiments.lansdell2019.fixed_weights import HELD
from experiments.lansdell2019.why import FIG2
from experiments.shared.checks import check_names
from experiments.shared.claims import explained
from experiments.shared.images import Images, images, scaled, unfolded
from plasticity_jax.base import Learner, LearningRule, learner
from plasticity_jax.diagnostics.alignment import alignment, feedback_rank
from plasticity_jax.layers import Chain, forward, init_params, perturbed_output
from plasticity_jax.networks import mlp
from plasticity_jax.ops.noise import noise_of_shapes
from plasticity_jax.rules import feedback
from plasticity_jax.run import Experiment, Program
from plasticity_jax.run.program import TrainingState
from plasticity_jax.typing import Array, Example


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of the authors' code; its rates are for sums over a batch.

    Attributes:
      seeds: networks and batches, shared by all methods.
      data: "mnist" or "prototypes" (random, no files).
      sizes: the four widths, from the pixels to the classes.
      batch: examples in a step.
      epochs: of 1,000 steps.
      points: evaluations, evenly spaced, each at the end of a chunk.
      rate: of the weights, for a summed gradient.
      sigmas: c of node perturbation, increasing.
      ridge: gamma.
      warm_up: steps in which node perturbation learns only its feedback.
      forgetting: factor of the forgetting ridge at each step.
      sgd_rate: beta of the feedback learned by SGD, for a summed gradient.
      extra_sigma: c of the forgetting ridge, of held weights, and of SGD.
      examples: training images on which angles are taken.
      methods: those that are run, "np" at all `sigmas`; claims that need the others are not judged.
    """

    seeds: int = 4
    data: str = "mnist"
    sizes: tuple[int, int, int, int] = (784, 50, 20, 10)
    batch: int = 32
    epochs: int = 60
    points: int = 30
    rate: float = 4e-4
    sigmas: tuple[Positive, ...] = SIGMAS
    ridge: float = 0.1
    warm_up: Steps = EPOCH
    forgetting: Share = 0.9999
    sgd_rate: float = 4e-4
    extra_sigma: Positive = 1e-2
    examples: int = 2000
    methods: tuple[str, ...] = METHODS

    def __post_init__(self) -> None:
        """Refuses unevenly spaced evaluations, and unknown methods."""
        check_names("methods", self.methods, METHODS)
        check_schedule(self.epochs, self.points)


PRESETS = {
    "smoke": Config(seeds=2, data="prototypes", sizes=(64, 12, 14, 10), epochs=1, points=2, warm_up=100),
    "default": Config(),
    "paper": Config(seeds=5, epochs=2000, points=500),
}


def methods(config: Config, net: Chain) -> dict[str, tuple[LearningRule, optax.GradientTransformation, float | None]]:
    """Rule, optimiser and noise level (None without noise) of every method."""
    eta = config.rate * config.batch
    ridge = {"estimator": "ridge", "ridge": config.ridge}
    fixed, solved = two_rates(eta, 0.0), two_rates(eta, 1.0)

    def perturbed(sigma: float, **options: Any) -> LearningRule:
        return feedback.node_perturbation(net, sigma=sigma, warm_up=config.warm_up, **options)

    return {
        "bp": (feedback.backprop(net), fixed, None),
        "fa": (feedback.feedback_alignment(net), fixed, None),
        "matching": (feedback.matching(net), optax.sgd(eta), None),
        **{np_name(c): (perturbed(c, **ridge), solved, c) for c in config.sigmas},
        "np_forget": (
            perturbed(config.extra_sigma, **ridge, forgetting=config.forgetting),
            solved,
            config.extra_sigma,
        ),
        "np_held": (perturbed(config.extra_sigma, **ridge), HELD, config.extra_sigma),
        "np_sgd": (perturbed(config.extra_sigma), two_rates(eta, config.sgd_rate * config.batch), config.extra_sigma),
    }


def part(config: Config, net: Chain, data: Images, name: str, learn: Learner, sigma: float | None) -> Program:
    """One method, evaluated at the end of each chunk."""
    return training(
        len(data.train),
        lambda index: example(config, data.train[index], data.train_label[index]),
        learn,
        lambda key: init_params(key, net),
        scores(config, net, data, name, sigma),
        batch=config.batch,
        epochs=config.epochs,
        points=config.points,
    )


def example(config: Config, image: Array, label: Array) -> Example:
    """Images with targets of 1 for their class and 0 for the others."""
    return Example(scaled(image), jax.nn.one_hot(label, config.sizes[-1]))


def scores(
    config: Config, net: Chain, data: Images, name: str, sigma: float | None
) -> Callable[[TrainingState], Mapping[str, Array]]:
    """``state -> metrics``: errors on the test images, and feedback against weights on training images."""

    def evaluate(state: TrainingState) -> Mapping[str, Array]:
        params, traces = state.learner.params, state.learner.traces
        test, images, digit = unfolded((data.test, data.train[: config.examples], data.train_label[: config.examples]))
        clean = forward(net, params["forward"], scaled(test))
        metrics = {"error": wrong(clean.h[-1], data.test_label)}
        if name != "bp":  # it has no feedback matrices of its own
            metrics |= alignment(net, params, example(config, images, digit))._asdict()
        if sigma is not None:
            shapes = [(len(data.test), n) for n in config.sizes[1:-1]]
            xi = noise_of_shapes(jax.random.key(0), shapes, clean.h[1].dtype, "gaussian")
            noisy = perturbed_output(net, params["forward"], clean.h[1], [sigma * each for each in xi])
            metrics["noisy_error"] = wrong(noisy, data.test_label)
            if traces.second:
                metrics["rank"] = feedback_rank(traces, RANK_TOLERANCE)
                metrics["rank_full"] = jnp.array(config.sizes[2:])
        return metrics

    return evaluate


def wrong(output: Array, label: Array) -> Array:
    """Per cent of outputs whose largest entry is not the label's."""
    return 100 * jnp.mean(jnp.argmax(output, -1) != label)


def make_parts(config: Config) -> dict[str, Program]:
    """The methods, by name."""
    net = mlp(config.sizes, ("sigmoid", "sigmoid", "identity"))
    data = images(config.data, config.sizes[0])
    return {
        name: part(config, net, data, name, learner(rule, tx), sigma)
        for name, (rule, tx, sigma) in methods(config, net).items()
        if method_of(name) in config.methods
    }


experiment = Experiment(
    title="Figure 2: MNIST with feedback learned by node perturbation, feedback alignment, matching and "
    "backpropagation",
    cost={
        "smoke": "20 seconds, most of it compilation",
        "default": "4 seeds x 60 epochs, ten minutes on two cores with much other work beside it",
        "paper": "5 seeds x 2,000 epochs: three to seven hours on two cores, in resumable pieces of seconds",
    },
    scale={
        "default": "60 of the paper's 2,000 epochs",
        "paper": "the paper's 2,000 epochs and rates",
    },
    tuned="the rates of forgetting and of SGD for the rows that are not the paper's; all else is the authors'",
    selects=("methods", "sigmas"),
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, FIG2),
    plot=plot,
    text=text,
)
