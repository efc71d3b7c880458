"""Figures 1, 2d and 3 of Bredenberg et al. (2021): what impression learning and its rivals learn from OU mixtures.

"standard" is Figure 1, 20 latents behind 100 inputs; "d2" to "d32" Figure 2d, d latents behind 2 d inputs; "K1" to
"K32" Figure 3, phases of K steps, 4 latents behind 10 inputs; "rates" the learning rates that 2 latents behind 4 inputs
bear. A seed is a world, its initial weights, its stimuli, and its test; it is shared by all methods and rates.

Rates are those of the authors, times sigma^2 of each weight's density. Their backpropagation had its own loss, without
the 1/2: 2e-2 in these units. NVI* is run at several rates, and judged at the best of them for what is compared; the
published code at the authors' rate of 3.16e-10, where nothing moves, and at 1e-7. The generated stimulus is linear in
the neurons for all methods; the authors' is a tanh for backpropagation alone. The default is shorter than the paper's
2 million steps (Figure 1; backpropagation 300,000) and 3.6 million (Figure 2d).

Trivial baselines. Principal components, as many as neurons, reconstruct the stimuli without error, for they have no
noise of their own. A random network of as many neurons as latents is almost surely invertible: without noise the
latents can be read out linearly from it as well, so that what learning brings is a code that stands out of the noise of
the neurons. An untrained network's dreams forget by 0.6 a step.

What does not hold: dreams do not vary as the stimuli do, but more. NVI* does not get going in so few steps in any
dimension, so that nothing shows of a gap that widens. And phases of 32 end with half the loss of phases of 2, tested
with phases of 2, though with more awake.
"""

import dataclasses
from collections.abc import Sequence
from typing import Annotated

import jax
import jax.numpy as jnp
import optax

from experiments.bredenberg2021.authors import published_nvi
from experiments.bredenberg2021.common import METHODS, pca_r_squared, training
from experiments.bredenberg2021.learning_claims import CLAIMS
from experiments.bredenberg2021.learning_figures import figures
from experiments.bredenberg2021.learning_summary import IN_DIMENSIONS, summarise
from experiments.bredenberg2021.why import LEARNING
from experiments.shared.claims import explained
from plasticity_jax.base import LearningRule, learner
from plasticity_jax.networks.two_stream import TwoStream, init_params, two_stream
from plasticity_jax.rules.generative import impression, neural_variational, reparameterised, wake_sleep
from plasticity_jax.rules.generative.schedules import alternating
from plasticity_jax.run import Experiment, Program, Range, once
from plasticity_jax.run.program import Metrics
from plasticity_jax.tasks.ou_mixture import ou_mixture
from plasticity_jax.typing import Array, Key, PyTree

LONG = 32
"""Steps of wake-sleep's phases, the longest that a test can hold."""
FEW = 2
"""Tests of dimensions and tolerances."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings; rates are of SGD on updates without the factors 1 / sigma^2.

    Attributes:
      seeds: worlds and networks, shared by all methods.
      latents: of the standard task.
      stimuli: inputs of the standard task.
      steps: of all methods there.
      rate: of impression learning and wake-sleep there.
      rate_bp: of backpropagation, everywhere.
      rates_nvi: of NVI* in the standard task and in every dimension; the best of them counts.
      rates_published: of the published NVI*: 0, the untrained network; the authors'; one at which weights move.
      dimensions: d, latents behind 2 d inputs.
      dimension_steps: of all methods there.
      dimension_rate: of impression learning there.
      phases: K.
      phase_steps: steps at each.
      phase_rate: rate there.
      tolerance_steps: steps in which a rate must prove itself.
      tolerance_il: rates of impression learning that are tried, ascending.
      tolerance_nvi: rates of NVI*, likewise.
      points: tests in the course of training, except for dimensions and tolerances, which have two.
    """

    seeds: int = 5
    latents: int = 20
    stimuli: int = 100
    steps: int = 600_000
    rate: float = 1e-3
    rate_bp: float = 2e-2
    rates_nvi: tuple[float, ...] = (1e-6, 3e-6)
    rates_published: tuple[float, ...] = (0.0, 3.16e-10, 1e-7)
    dimensions: tuple[int, ...] = (2, 8, 32)
    dimension_steps: int = 200_000
    dimension_rate: float = 3.16e-3
    phases: Annotated[tuple[int, ...], Range(1, LONG)] = (1, 2, 5, 11, 32)
    phase_steps: int = 1_000_000
    phase_rate: float = 5e-4
    tolerance_steps: int = 200_000
    tolerance_il: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
    tolerance_nvi: tuple[float, ...] = (3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4)
    points: int = 8

    def __post_init__(self) -> None:
        for field in ("steps", "phase_steps", "dimension_steps", "tolerance_steps"):
            points = max(1, self.points) if field in ("steps", "phase_steps") else FEW
            if getattr(self, field) % points:
                raise ValueError(f"{field}={getattr(self, field)} must be a multiple of its {points} tests")


PRESETS = {
    "smoke": Config(
        seeds=2,
        latents=2,
        stimuli=4,
        steps=400,
        rates_nvi=(1e-6, 3e-6),
        dimensions=(2,),
        dimension_steps=400,
        phases=(1, 2),
        phase_steps=400,
        tolerance_steps=400,
        tolerance_il=(1e-3, 1e-2),
        tolerance_nvi=(1e-6, 1e-5),
        points=4,
    ),
    "default": Config(),
    "paper": Config(
        seeds=20,
        steps=2_000_000,
        points=20,
        dimensions=(2, 4, 8, 16, 32),
        dimension_steps=3_600_000,
        phase_steps=1_000_000,
        tolerance_steps=3_600_000,
    ),
}


def build_rule(method: str, net: TwoStream) -> LearningRule:
    """One of `METHODS`."""
    rules = {
        "il": impression(net),
        "ws": wake_sleep(net, phase=LONG),
        "ws_coordinatewise": wake_sleep(net, phase=LONG, coordinatewise=True),
        "bp": reparameterised(net),
        "nvi": neural_variational(net),
        "published": published_nvi(net),
    }
    return rules[method]


def make_parts(config: Config) -> dict[str, Program]:
    """Programs by "task.method", and "identity", which compares wake-sleep with impression learning."""
    parts = {}
    rates = {"bp": (config.rate_bp,), "nvi": config.rates_nvi, "published": config.rates_published}

    def add(task: str, sizes: tuple[int, int], methods: Sequence[str], rate: float, steps: int, points: int) -> None:
        net = two_stream(sizes)
        for method in methods:
            tried = rates.get(method, (LONG * rate if method == "ws_coordinatewise" else rate,))
            program = training(net, build_rule(method, net), tried, steps=steps, points=points)
            parts[f"{task}.{method}"] = program._replace(may_diverge=method == "nvi")

    add("standard", (config.stimuli, config.latents), METHODS, config.rate, config.steps, config.points)
    for d in config.dimensions:
        add(f"d{d}", (2 * d, d), IN_DIMENSIONS, config.dimension_rate, config.dimension_steps, FEW)
    for period in config.phases:
        net = two_stream((10, 4))
        rule = impression(net, schedule=alternating(period))
        parts[f"K{period}.il"] = training(
            net, rule, (config.phase_rate,), steps=config.phase_steps, points=config.points, period=period
        )
    for method, tried in (("il", (0.0, *config.tolerance_il)), ("nvi", config.tolerance_nvi)):
        net = two_stream((4, 2))
        program = training(net, build_rule(method, net), tried, steps=config.tolerance_steps, points=FEW)
        parts[f"rates.{method}"] = program._replace(may_diverge=True)
    parts["identity"] = identity((config.stimuli, config.latents), config.rate)
    return parts


def identity(sizes: tuple[int, int], rate: float, steps: int = 1000) -> Program:
    """Wake-sleep with phases of 2 beside impression learning on a few stimuli, and their principal components.

    Metrics: ``difference``, the largest of any weight after some steps; ``pca``, R2 of as many components as latents.
    """
    net = two_stream(sizes)

    def compare(key: Key) -> Metrics:
        stream = ou_mixture(sizes[1], sizes[0])
        examples = stream.take(stream.init(key), steps)[1]

        def weights(rule: LearningRule) -> PyTree:
            learn = learner(rule, optax.sgd(rate))
            start = learn.init(init_params(key, net), key, jax.tree.map(lambda leaf: leaf[0], examples))
            return jax.lax.scan(learn.step, start, examples)[0].params

        rules = wake_sleep(net, phase=2), impression(net, schedule=alternating(2))
        return {
            "difference": largest_difference(*map(weights, rules)),
            "pca": pca_r_squared(examples.x, sizes[1]),
        }

    return once(compare, 2 * steps)


def largest_difference(one: PyTree, other: PyTree) -> Array:
    """The largest magnitude of any entry of one tree less another."""
    apart = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)), one, other)
    return jnp.max(jnp.stack(jax.tree.leaves(apart)))


experiment = Experiment(
    title="Figures 1, 2d and 3: impression learning, wake-sleep, backpropagation and NVI* on the artificial stimuli",
    cost={
        "smoke": "about a minute, most of it compilation",
        "default": "5 seeds, about seven minutes on two cores, a third of it compilation",
        "paper": "20 seeds at the paper's lengths: hours on two cores, in resumable pieces",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, LEARNING),
    plot=figures,
)
