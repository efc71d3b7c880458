"""Sections 3.1 and 5.1 of Benjamin & Kording (2021): attempts to mend wake/sleep by its optimiser, or by fewer inputs.

"search": adversarial wake/sleep with recurrence, its rates, decay of weights and Adam's b1 and b2 drawn at random, one
set for all seeds; the first is that of Figure 3's reduced problem, with the paper's b1, b2 and decay. The paper's
wide search "did not produce better reconstructions". "combined" and "bare" (wake/sleep without recurrence), at the
first setting and for as many steps, show what a search could have reached.

"global" and "local" run at three sizes of the image: wake/sleep with one discriminator of image and code together, and
the combined objective with a discriminator of each, both without recurrence. The paper expects learning to suffer as a
discriminator's inputs grow, "in very large networks"; here there are some hundreds.

This experiment has seeds of its own: no result here chose a setting of Figure 3, and its keys differ from those of
Figure 3's seeds. Identity is the share of test digits that the classifier still recognises once reconstructed.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from experiments.benjamin2021.common import (
    EPOCHS,
    Classifier,
    classifier,
    digits,
    fetching,
    frechet,
    judged,
    measured,
    optimiser,
)
from experiments.benjamin2021.fig3_scores import explained
from experiments.benjamin2021.search_claims import CLAIMS, figures, summarise, text
from experiments.shared.images import Images, scaled, unfolded
from plasticity_jax.base import Learner, LearnerState, learner
from plasticity_jax.data import looking_up, minibatches
from plasticity_jax.networks.autoencoder import Autoencoder, autoencoder, init_params
from plasticity_jax.networks.hierarchy import reconstruct
from plasticity_jax.rules.generative import adversarial
from plasticity_jax.run import Experiment, Program, evaluated, online_training
from plasticity_jax.run.program import Metrics, TrainingState
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Key, PyTree

APART = 5
"""Number folded into lanes' keys, so that no network here shares weights or data with one of Figure 3's."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: networks and data, shared by all settings.
      data: "mnist", or "prototypes" (random images, which need no files).
      sides: pixels of an image, small to large, each 28 or a divisor of it; the search is at the middle one.
      latent: units of the code.
      hidden: units of each hidden layer, of conditionals and of discriminators.
      gamma: of the combined objective.
      batch: images in a step.
      steps: of training.
      tries: settings of the optimiser in the search, the first included.
      model_rate: of inference and generation, except in the search; that of discriminators is four times as high.
      tested: test images.
    """

    seeds: int = 2
    data: str = "mnist"
    sides: tuple[int, int, int] = (7, 14, 28)
    latent: int = 16
    hidden: int = 128
    gamma: float = 0.1
    batch: int = 64
    steps: int = 2000
    tries: int = 8
    model_rate: float = 1e-3
    tested: int = 1000

    def __post_init__(self) -> None:
        if self.tries < 2:
            raise ValueError(f"tries={self.tries} must be at least 2, the first of which is no draw")


PRESETS = {
    "smoke": Config(
        data="prototypes", sides=(4, 7, 14), latent=4, hidden=8, batch=8, steps=6, tries=2, tested=100
    ),
    "default": Config(),
    "paper": Config(
        seeds=3, latent=64, hidden=512, batch=512, steps=400 * 117, tries=40, model_rate=1e-4, tested=10_000
    ),
}  # fmt: skip


class Setting(NamedTuple):
    """Settings of the optimiser, leaves (draws,)."""

    model_rate: ArrayLike
    critic_rate: ArrayLike
    weight_decay: ArrayLike
    b1: ArrayLike
    b2: ArrayLike


def settings(draws: int, model_rate: float) -> Setting:
    """The paper's decay, b1 and b2 at a given rate, then random draws: rates and decay log-uniform around these.

    Rates run from a tenth to three times that rate, discriminators' from 1 to 10 times the network's, decay from 1e-7
    to 1e-2; b1 from 0 to 0.9, and 1 - b2 from 0.1 to 0.001.
    """
    rng = np.random.default_rng(11)
    low = np.array([np.log(0.1 * model_rate), 0.0, np.log(1e-7), 0.0, np.log(1e-3)])
    high = np.array([np.log(3 * model_rate), np.log(10), np.log(1e-2), 0.9, np.log(1e-1)])
    rate, ratio, decay, b1, rest = rng.uniform(low, high, (draws - 1, 5)).T
    columns = (np.exp(rate), np.exp(rate + ratio), np.exp(decay), b1, 1 - np.exp(rest))
    first = (model_rate, 4 * model_rate, 2e-5, 0.5, 0.99)
    return Setting(*(np.concatenate([[one], others]) for one, others in zip(first, columns, strict=True)))


def scores(net: Autoencoder, params: PyTree, key: Key, data: Images, judge: Classifier, tested: int) -> Metrics:
    """``identity``, ``mse``, ``told`` and ``sleep_frechet`` of test images, shape () each."""
    key_made, key_one, key_other = jax.random.split(key, 3)
    data = unfolded(data)
    x, label = scaled(data.test[:tested]), data.test_label[:tested]
    reconstructed = reconstruct(net, params, x, key_made)[0]
    phases = net.phases(params, x, key_one, oscillate=False)
    second_code = net.infer(params["inference"], 1, x, key_other)
    (_, real), (logits, _), (_, dreams) = (judged(judge.weights, each) for each in (x, reconstructed, phases.sleep[0]))
    return {
        "identity": jnp.mean(jnp.argmax(logits, -1) == label),
        "mse": jnp.mean((reconstructed - x) ** 2),
        "told": explained(phases.wake[1], second_code),
        "sleep_frechet": frechet(dreams, real),
    }


def training(config: Config, side: int, method: str, tried: Setting) -> Program:
    """Training of a network at each setting, one after another; metrics have an axis of settings."""
    data, judge = digits(config.data, side), classifier(config.data, side)
    recurrence = 0 if method in ("bare", "global", "local") else 1
    together = method in ("search", "bare", "global")
    scope = "global" if together else "local"
    net = autoencoder(
        (side**2, config.latent), config.hidden, config.hidden, recurrence, scope, output="sigmoid"
    )  # fmt: skip
    rule = adversarial(net, 1.0 if together else config.gamma)

    def build(lane: tuple[Key, Setting]) -> tuple[Learner, Stream]:
        model_rate, critic_rate, weight_decay, b1, b2 = map(jnp.asarray, lane[1])
        epoch = config.steps / EPOCHS
        tx = optimiser(model_rate, critic_rate, epoch_steps=epoch, weight_decay=weight_decay, b1=b1, b2=b2)
        return looking_up(learner(rule, tx), fetching(data)), minibatches(len(data.train), config.batch)

    def init(lane: tuple[Key, Setting], learn: Learner, stream: Stream) -> tuple[LearnerState, PyTree]:
        key_weights, key_stream, key_run = jax.random.split(lane[0], 3)
        params = init_params(key_weights, net)
        return learn.init(params, key_run, jnp.zeros((config.batch,), jnp.int32)), stream.init(key_stream)

    def evaluate(state: TrainingState) -> Metrics:
        key = jax.random.fold_in(state.lane[0], 1)
        return scores(net, state.learner.params, key, data, judge, config.tested)

    one = online_training(build, init, steps=config.steps, every=config.steps, chunks=1, measure=measured)
    one = evaluated(one, evaluate)
    each = jax.tree.map(lambda values: jnp.asarray(values, jnp.zeros(()).dtype), tried)

    def start(key: Key) -> TrainingState:
        return jax.vmap(lambda setting: one.init((jax.random.fold_in(key, APART), setting)))(each)

    def chunk(states: TrainingState) -> tuple[TrainingState, Metrics]:
        states, metrics = jax.lax.map(one.chunk, states)
        return states, jax.tree.map(lambda values: jnp.swapaxes(values, 0, 1), dict(metrics))

    return one._replace(init=start, chunk=chunk)


def make_parts(config: Config) -> dict[str, Program]:
    """ "search", "combined" and "bare" at the middle side; "global" and "local" at each, as "global_7"."""
    tried = settings(config.tries, config.model_rate)
    usual = jax.tree.map(lambda values: values[:1], tried)
    middle = config.sides[1]
    parts = {"search": training(config, middle, "search", tried)}
    parts |= {method: training(config, middle, method, usual) for method in ("combined", "bare")}
    for method in ("global", "local"):
        parts |= {f"{method}_{side}": training(config, side, method, usual) for side in config.sides}
    return parts


def plot(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The search, and the discriminators' inputs."""
    draws = metrics["search/identity"].shape[2]
    return figures(metrics, settings(draws, 1.0)._asdict())


experiment = Experiment(
    title="Sections 3.1, 5.1: a search over wake/sleep's optimiser, and discriminators of more and more inputs",
    cost={
        "smoke": "under a minute, nearly all of it compilation",
        "default": "2 seeds, eight settings and three sizes, 2,000 steps each: some three minutes on two cores",
        "paper": "3 seeds x 400 epochs for each of 40 settings: for an accelerator, in resumable pieces",
    },
    scale={
        "default": "2,000 steps of 64 small digits, 8 settings; the paper searched widely at its full size",
        "paper": "the paper's problem and steps, and 40 settings",
    },
    tuned="nothing: this is a search, and its draws are fixed",
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
    text=text,
)
