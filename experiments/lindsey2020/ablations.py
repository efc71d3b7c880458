"""Ablations of choices that Lindsey & Litwin-Kumar (2020) justify in a word or two.

1. Error or target as feedback: "we obtained better performance using prediction errors for the regression task, and
   using raw targets for the classification task" (section 4).
2. Presynaptic activity from before or after the feedback: "similar results are obtained in either case" (footnote 1).
3. The meta-learning rate of alpha: its "proper selection ... was particularly important" (appendix B.1, tables 3, 4).
4. beta: "unable to achieve performance improvements by meta-optimizing over beta" in classification (appendix B.1).

FLP (2) is meta-trained with each choice, at several rates of alpha, because each choice may need its own rate. A seed's
error is that at the rate which is best by the geometric mean (in classification, the mean) over the other seeds, so
that no seed selects its own rate. beta of the hidden layer is learned or held at a value; the readout's is learned.

Both problems are small. Regression: incremental sines of two functions and 20 steps, hidden layers of 32 and 32, i.i.d.
Classification: Table 2's lives on Omniglot at 14 x 14, two convolutions of 16 channels, 32 hidden units, with the outer
loop of `lindsey2020_table2`; alpha's rate below the readout is the readout's times a multiplier, which is table 4's
ratio inverted. This half needs the images: it runs with ``--preset omniglot`` or ``--data omniglot``, and otherwise its
claims are "not run". Rates were explored on seed 100, which is not reported.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from experiments.lindsey2020 import table2
from experiments.lindsey2020.ablations_claims import CLAIMS
from experiments.lindsey2020.ablations_figures import plot, text
from experiments.lindsey2020.ablations_summary import BETAS, CHOICES, summarise
from experiments.lindsey2020.banks import Bank, banks, network_input
from experiments.lindsey2020.networks import flp_theta, layers
from experiments.lindsey2020.swept import swept
from experiments.lindsey2020.training import held_out, meta_training, over_lives
from experiments.lindsey2020.why import ABLATIONS
from experiments.shared.claims import explained
from plasticity_jax.base import Learner
from plasticity_jax.meta import Life, flp_life, meta_gradient
from plasticity_jax.networks.convnet import convnet, features, init_params, sides
from plasticity_jax.run import Experiment, Program
from plasticity_jax.run.program import Metrics
from plasticity_jax.tasks.episodes import Order
from plasticity_jax.tasks.few_shot import few_shot
from plasticity_jax.tasks.incremental_sines import incremental_sines
from plasticity_jax.typing import Array, Key, PyTree, Scalar

READOUT_BETA = 0.5
"""Initial beta of the readout; a clamped readout does not use it."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The two problems and their outer loops.

    Attributes:
      seeds: networks, meta-trained independently.
      points: evaluations.
      lives: in a meta-step.
      episodes: meta-steps of regression.
      lifetimes: of an evaluation of regression.
      order: of a life, in both problems.
      functions: of an episode of regression.
      batches: inner steps for each function.
      batch: points in an inner step.
      hidden: widths of the hidden layers.
      rate: meta-learning rate of weights, feedback and beta.
      alphas: meta-learning rates of alpha, increasing.
      clip: largest norm of the meta-gradient of a group; 0 for none.
      backoff: fraction by which a life that diverged reduces alpha.
      data: of classification: "omniglot", "prototypes" (which need no files), or "none" to leave it out.
      few_episodes: meta-steps of classification.
      few_lifetimes: of an evaluation.
      side: of the images.
      channels: of every convolution.
      strides: of the convolutions.
      width: of the layer below the readout.
      few_rate: meta-learning rate of weights, feedback and beta in classification.
      alpha: initial plasticity of the readout; that of the layer below is 0.
      alpha_rate: meta-learning rate of both.
      multipliers: of alpha below the readout, increasing.
    """

    seeds: int = 4
    points: int = 2
    lives: int = 4
    episodes: int = 1200
    lifetimes: int = 100
    order: Literal["iid", "continual"] = "iid"
    functions: int = 2
    batches: int = 10
    batch: int = 16
    hidden: tuple[int, ...] = (32, 32)
    rate: float = 3e-3
    alphas: tuple[float, ...] = (1e-6, 1e-5, 1e-4, 1e-3)
    clip: float = 1.0
    backoff: float = 0.1
    data: Literal["none", "omniglot", "prototypes"] = "none"
    few_episodes: int = 400
    few_lifetimes: int = 200
    side: int = 14
    channels: int = 16
    strides: tuple[int, ...] = (2, 2)
    width: int = 32
    few_rate: float = 2e-3
    alpha: float = 0.1
    alpha_rate: float = 1e-3
    multipliers: tuple[float, ...] = (0.3, 1.0, 3.0)

    def __post_init__(self) -> None:
        """Refuses sweeps of one rate, evaluations that do not divide the meta-steps, and a network too shallow."""
        for name, values in (("alphas", self.alphas), ("multipliers", self.multipliers)):
            if len(values) < 2 or sorted(set(values)) != list(values):
                raise ValueError(f"{name}={values} must be at least two rates, increasing")
        if self.episodes % self.points or self.few_episodes % self.points:
            raise ValueError(f"points={self.points} must divide the numbers of meta-steps")
        if not self.hidden:
            raise ValueError("hidden must have a layer, for two layers are plastic")


DEFAULT = Config()
PRESETS = {
    "smoke": Config(
        seeds=2,
        points=1,
        lives=1,
        episodes=2,
        lifetimes=2,
        batches=2,
        batch=4,
        hidden=(4, 4),
        alphas=(1e-6, 1e-5),
        data="prototypes",
        few_episodes=2,
        few_lifetimes=2,
        side=7,
        channels=2,
        strides=(2,),
        width=4,
        multipliers=(1.0, 3.0),
    ),
    "default": DEFAULT,
    "omniglot": dataclasses.replace(DEFAULT, data="omniglot"),
}


class Setting(NamedTuple):
    """Values that are swept in one compiled program.

    Attributes:
      rate: meta-learning rate of alpha, or its multiplier.
      beta: of the hidden layer, at the start.
      learned: 1 if it is learned, 0 if it is held.
    """

    rate: Scalar
    beta: Scalar
    learned: Scalar


def make_parts(config: Config) -> dict[str, Program]:
    """A program for each problem and choice, at every rate of alpha, and for the paper's choice at every beta."""
    parts: dict[str, Program] = {}
    for choice, options in CHOICES["regression"].items():
        parts[f"regression/{choice}"] = swept(
            lambda setting, options=options: regression(config, options, setting),
            settings(config.alphas, list(BETAS["regression"].values())[: None if choice == "error" else 1]),
        )
    if config.data == "none":
        return parts
    data = banks(config.data, config.side)
    for choice, options in CHOICES["classification"].items():
        parts[f"classification/{choice}"] = swept(
            lambda setting, options=options: classification(config, options, setting, *data),
            settings(config.multipliers, list(BETAS["classification"].values())[: None if choice == "target" else 1]),
        )
    return parts


def settings(rates: Sequence[float], betas: Sequence[tuple[float, float]]) -> Setting:
    """All rates with all betas, betas fastest; leaves (rates * betas,)."""
    columns = zip(*((rate, *beta) for rate, beta in product(rates, betas)), strict=True)
    return Setting(*(jnp.asarray(column) for column in columns))


def holding_beta(life: Life, setting: Setting) -> Life:
    """A life of FLP in which beta of every layer but the readout is held at its start, unless it is learned."""

    def learner(theta: PyTree) -> Learner:
        *hidden, readout = theta["beta"]
        held = (jnp.where(setting.learned > 0, beta, setting.beta).astype(beta.dtype) for beta in hidden)
        return life.learner({**theta, "beta": (*held, readout)})

    return life._replace(learner=learner)


def with_beta(theta: PyTree, setting: Setting) -> PyTree:
    """Theta with the setting's initial beta in all layers but the readout."""
    start = jnp.asarray(setting.beta, theta["beta"][0].dtype)
    return {**theta, "beta": (*[start] * (len(theta["beta"]) - 1), theta["beta"][-1])}


def regression(config: Config, options: Mapping[str, Any], setting: Setting) -> Program:
    """FLP (2) on incremental sines."""
    cut = layers((config.functions + 1, *config.hidden, 1), 2)
    life = holding_beta(flp_life(cut.net, prefix=cut.features if cut.front else None, **options), setting)

    def stream(episodes: int):
        order: Order = config.order
        return incremental_sines(
            order=order, functions=config.functions, batches=config.batches, batch=config.batch, episodes=episodes
        )

    errors = held_out(life, stream(1), config.lifetimes)

    def evaluate(key: Key, theta: PyTree) -> Metrics:
        life_errors = errors(key, theta)
        return {
            "median": over_lives(life_errors),
            "mean": jnp.mean(life_errors),
            "beta": theta["beta"][0],
            "swept": jnp.asarray(setting.rate),
        }

    return meta_training(
        meta_gradient(life, remat=False),
        {"weights": config.rate, "feedback": config.rate, "alpha": setting.rate, "beta": config.rate},
        lambda key: with_beta(flp_theta(key, cut, beta=READOUT_BETA), setting),
        stream(config.lives),
        evaluate,
        episodes=config.episodes,
        points=config.points,
        clip=config.clip,
        backoff=config.backoff,
    )


def classification(config: Config, options: Mapping[str, Any], setting: Setting, train: Bank, test: Bank) -> Program:
    """FLP (2) on lives of five new characters, its readout clamped to the target."""
    net = convnet(train.images.shape[1:], config.channels, config.strides)
    height, wide = sides(net)[-1]
    cut = layers((height * wide * config.channels, config.width, table2.WAYS), 2, "softmax")

    def life(bank: Bank) -> Life:
        def frozen_features(weights: PyTree, index: Array) -> Array:
            images = network_input(bank.images[index], config.data, inverted=True)
            return cut.features(weights["dense"], features(net, weights["conv"], images))

        plain = flp_life(cut.net, prefix=frozen_features, output="clamped", **options)
        return table2.multiplied(holding_beta(plain, setting), setting.rate)

    def theta(key: Key) -> PyTree:
        key_conv, key_rest = jax.random.split(key)
        initial = with_beta(flp_theta(key_rest, cut, [0.0, config.alpha], READOUT_BETA), setting)
        return {**initial, "prefix": {"conv": init_params(key_conv, net), "dense": initial["prefix"]}}

    def stream(bank: Bank, episodes: int):
        order: Order = config.order
        return few_shot(bank.classes, bank.per_class, ways=table2.WAYS, order=order, episodes=episodes)

    errors = held_out(life(test), stream(test, 1), config.few_lifetimes)

    def evaluate(key: Key, theta: PyTree) -> Metrics:
        life_errors = 100 * errors(key, theta)
        return {
            "mean": jnp.mean(life_errors),
            "median": jnp.median(life_errors),
            "beta": theta["beta"][0],
            "swept": jnp.asarray(setting.rate),
        }

    return meta_training(
        meta_gradient(life(train), remat=False),
        {"weights": config.few_rate, "feedback": config.few_rate, "alpha": config.alpha_rate, "beta": config.few_rate},
        theta,
        stream(train, config.lives),
        evaluate,
        episodes=config.few_episodes,
        points=config.points,
        clip=config.clip,
    )


experiment = Experiment(
    title="Section 4, footnote 1, tables 3 and 4: FLP with error or target, pre- or postsynaptic choices and rates "
    "of alpha and beta undone",
    cost={
        "smoke": "about a minute, nearly all of it compilation",
        "default": "4 seeds x 24 meta-trainings on sines, three minutes on two cores",
        "omniglot": "as default, and 4 seeds x 15 on Omniglot, five minutes on two cores; needs Omniglot",
    },
    scale={
        "default": "lives on two sines, 20 steps, hidden layers of 32 and 32; the paper's are of full size",
        "omniglot": "as default, and Omniglot at 14 x 14, two convolutions of 16; the paper's are of full size",
    },
    tuned="the range of rates, on seed 100; of these each seed is judged at the one that the other seeds choose",
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, ABLATIONS),
    plot=plot,
    text=text,
)
