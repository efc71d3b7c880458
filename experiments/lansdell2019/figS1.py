"""Supplementary figure 1 of Lansdell, Prakash & Kording (2020): feedback regressed on MNIST at fixed weights.

Panels a to c show relative error, angle and sign congruence in 784-50-20-10 at three noise levels. Panels d and e show
error and angle for first hidden layers of N neurons, in 784-N-10 and 784-N-50-10. Dashed lines are theory, by the
moments of exact errors on MNIST (`experiments.lansdell2019.fixed_weights`), at the top with the terms of order c^2 (5 %
of the error at c = 0.1). Panel f shows why W2's feedback converges so late. W2 and W3 are the second and third layers'
weights, each with its B.

The cause is rank, not a distortion that builds up from layer to layer: ten outputs excite hardly more than ten of the
twenty directions of the errors for W2's B. In the others B^ is noise for billions of samples, which does no harm, since
errors hardly extend into them and the credit is right. Theory assumes exact errors, but those of the run are carried
back by the current B3. While B3 is poor, its errors excite the weak directions and stay in the sums, so W2's B errs
less than theory predicts.

All noise levels share the draws of W, which matter more than c; the authors drew W anew for each c, and once for all
repeats. Batches have 1024 samples, not 32: sums do not depend on the batch size and W does not move, so B is only set
32 times less often. Arithmetic is in float32 with compensated sums. Biases are zero and have no noise and no feedback.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lansdell2019.common import Positive
from experiments.lansdell2019.figS1_claims import CLAIMS, METRICS, summarise
from experiments.lansdell2019.figS1_figures import plot
from experiments.lansdell2019.fixed_weights import (
    HELD,
    Expected,
    Layer,
    drawn_weights,
    expected,
    layers_of,
    regression,
    second_order,
    second_order_top,
    sigmoid_slopes,
)
from experiments.lansdell2019.why import FIGS1
from experiments.shared.claims import explained
from experiments.shared.images import Images, images, scaled
from plasticity_jax.base import Learner, learner
from plasticity_jax.data import looking_up, minibatches
from plasticity_jax.diagnostics.alignment import alignment
from plasticity_jax.layers import Chain, forward, init_params
from plasticity_jax.networks import mlp
from plasticity_jax.rules.feedback import node_perturbation
from plasticity_jax.run import Experiment, Program, Range
from plasticity_jax.typing import Array, Example, Key, Params

PAPER_SAMPLES = 32_000_000  # of panels a to c


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings. Samples are multiples of batch times points.

    Attributes:
      seeds: draws of weights and batches, shared by all noise levels.
      data: "mnist" or "prototypes" (random, no files).
      sizes: the network of panels a to c.
      sigmas: its noise levels c, increasing.
      samples: number of samples there.
      widths: N of panels d and e.
      second: neurons of the second hidden layer there.
      width_sigma: c there.
      width_samples: number of samples there.
      batch: images in a step.
      points: of each curve.
      ridge: gamma.
      examples: images on which angles are taken.
      exact: number of images for the moments in the theory.
    """

    seeds: int = 5
    data: str = "mnist"
    sizes: tuple[int, int, int, int] = (784, 50, 20, 10)
    sigmas: tuple[Positive, ...] = (1e-3, 1e-2, 1e-1)
    samples: int = 1_048_576
    widths: tuple[int, ...] = (30, 100, 300, 1000)
    second: int = 50
    width_sigma: Positive = 1e-3
    width_samples: int = 131_072
    batch: int = 1024
    points: Annotated[int, Range(2, 2**31 - 1)] = 32
    ridge: float = 0.1
    examples: int = 1000
    exact: int = 10_000


PRESETS = {
    "smoke": Config(
        seeds=2,
        data="prototypes",
        sizes=(36, 12, 14, 10),
        sigmas=(1e-2, 1e-1),
        samples=8192,
        widths=(8, 16),
        second=14,
        width_samples=4096,
        batch=512,
        points=4,
        examples=200,
        exact=1000,
    ),
    "default": Config(),
    "paper": Config(samples=32_768_000, width_samples=65_536_000, points=500),
}


def networks(config: Config) -> dict[str, tuple[tuple[int, ...], tuple[float, ...], int]]:
    """Sizes, noise levels and samples of every part."""
    pixels, classes = config.sizes[0], config.sizes[-1]
    one = ((config.width_sigma,), config.width_samples)
    return {
        "noise": (config.sizes, config.sigmas, config.samples),
        **{f"shallow.{n}": ((pixels, n, classes), *one) for n in config.widths},
        **{f"deep.{n}": ((pixels, n, config.second, classes), *one) for n in config.widths},
    }


def network(sizes: tuple[int, ...]) -> Chain:
    """The network of these widths: sigmoid, with a linear output and squared error."""
    return mlp(sizes, ("sigmoid",) * (len(sizes) - 2) + ("identity",))


def fetching(data: Images, classes: int) -> Callable[[Array], Example]:
    """``indices -> examples``."""
    return lambda index: Example(scaled(data.train[index]), jax.nn.one_hot(data.train_label[index], classes))


def part(config: Config, data: Images, sizes: tuple[int, ...], sigmas: tuple[float, ...], samples: int) -> Program:
    """A network at its noise levels; metrics (points, sigmas, layers)."""
    net, fetch = network(sizes), fetching(data, sizes[-1])

    def make(sigma: Array) -> Learner:
        rule = node_perturbation(net, sigma=sigma, estimator="ridge", ridge=config.ridge)
        return looking_up(learner(rule, HELD), fetch)

    def evaluate(params: Params) -> Mapping[str, Array]:
        measures = alignment(net, params, fetch(jnp.arange(config.examples)))
        return {name: getattr(measures, name) for name in METRICS}

    return regression(
        make,
        drawing(sizes),
        minibatches(len(data.train), config.batch),
        evaluate,
        sigmas=sigmas,
        samples=samples,
        batch=config.batch,
        points=config.points,
    )


def drawing(sizes: tuple[int, ...]) -> Callable[[Key], Params]:
    """``key -> params``, the authors' draw except for the biases."""
    return lambda key: init_params(key, network(sizes))


def make_parts(config: Config) -> dict[str, Program]:
    """Every part by name."""
    data = images(config.data, config.sizes[0])
    return {name: part(config, data, *setting) for name, setting in networks(config).items()}


def measure(config: Config, progress: bool) -> dict[str, np.ndarray]:
    """Predicted errors and angles of all parts, (seeds, points, sigmas, layers), and spectra of errors, (seeds, n)."""
    data = images(config.data, config.sizes[0])
    metrics: dict[str, list[np.ndarray]] = {}
    for name, (sizes, sigmas, samples) in networks(config).items():
        examples = fetching(data, sizes[-1])(jnp.arange(min(config.exact, len(data.train))))
        counts = np.append(samples // config.points * np.arange(1, config.points + 1), PAPER_SAMPLES)
        for seed in range(config.seeds):
            weights = drawn_weights(drawing(sizes), seed)
            layers = layers_of(network(sizes), weights, examples)
            top = forward(network(sizes), weights, examples.x).h[-2]
            curves = [theory(layers, top, counts, config.ridge, sigma) for sigma in sigmas]
            for metric in ("error", "angle"):
                values = np.stack([np.stack([getattr(layer, metric) for layer in curve], -1) for curve in curves], 1)
                metrics.setdefault(f"{name}/expected_{metric}", []).append(values[:-1])
                metrics.setdefault(f"{name}/expected_{metric}_at_paper", []).append(values[-1:])
            if name == "noise":
                for k, layer in enumerate(layers):
                    values = np.linalg.eigvalsh(layer.error.T @ layer.error)[::-1]
                    metrics.setdefault(f"noise/spectrum_W{k + 2}", []).append(values / values[0])
    return {name: np.stack(values) for name, values in metrics.items()}


def theory(layers: list[Layer], top: Array, counts: np.ndarray, ridge: float, sigma: float) -> list[Expected]:
    """Expected curves of all layers, with the terms of finite sigma for the top layer; `top` is its activity h."""
    extra, bias = 0.0, 0.0
    if len(layers) == 1:
        extra = second_order(layers[0].w, sigma)
    elif len(layers) == 2:
        extra, bias = second_order_top(layers[0], layers[1], sigmoid_slopes(np.asarray(top, np.float64)), sigma)
    curves = [expected(layer, counts, ridge) for layer in layers[:-1]]
    return [*curves, expected(layers[-1], counts, ridge, extra=extra, bias=bias)]


experiment = Experiment(
    title="Supplementary figure 1: feedback becomes the fixed weights on MNIST, by noise level and by width",
    cost={
        "smoke": "half a minute, nearly all of it compilation",
        "default": "5 draws, 1e6 samples by noise level and 1.3e5 by width: eight minutes on two shared cores",
        "paper": "3.3e7 samples by noise level and 6.6e7 by width, in pieces: for an accelerator",
    },
    scale={
        "default": "1.05e6 of the paper's 3.2e7 samples by noise level, 1.3e5 of 6.4e7 by width",
        "paper": "by noise level the paper's 3.2e7 samples; by width as many as asked for, of its 6.4e7",
    },
    tuned="nothing",
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, FIGS1),
    plot=plot,
    measure=measure,
)
