"""DNI(b) of Marschall, Cho & Savin (2019) taken apart: its three changes to DNI, and its learned Jacobian.

In the text, DNI(b) differs from DNI by a learned Jacobian (Eq. 3) and by a rate, a tanh, in the forecast of credit; in
the authors' code, also by random feedback. All eight combinations and fixed W are run on Add as written, on the same
seeds. While DNI(b) learns, its Jacobian and simpler guesses are compared with the network's own (see `tracking`).
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.marschall2019.fig1 import figure_loss, hold
from experiments.marschall2019.jacobian_claims import CLAIMS
from experiments.marschall2019.jacobian_figures import plot
from experiments.marschall2019.tracking import GUESSES, watched
from experiments.marschall2019.why import JACOBIAN
from experiments.shared.claims import explained
from plasticity_jax.base import Info, Learner, LearnerState, LearningRule, learner
from plasticity_jax.cells import Neurons, init_params, leaky
from plasticity_jax.rules import online
from plasticity_jax.run import Experiment, Program, online_training, put
from plasticity_jax.run.program import Metrics
from plasticity_jax.tasks.add import add, check_lags
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Batch, Example, Key, PyTree

CHANGES = ("jacobian", "tanh", "random")
"""Changes to DNI: a learned Jacobian, a tanh in the forecast, random feedback."""
VARIANTS = tuple("+".join(some) or "dni" for k in range(4) for some in itertools.combinations(CHANGES, k))
"""DNI with some of the changes; with all of them it is the code's DNI(b), with the first two the text's."""
AVERAGE = 1e-3
"""Rate of the running mean of J, equal to that of the learned Jacobian."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings, from Figure 1's default run where it has them.

    Attributes:
      seeds: networks and data, shared by all variants.
      n: recurrent units.
      alpha: inverse time constant; symbols are held for 1 / alpha steps.
      lags: Add's lags.
      steps: steps of each run.
      rate: learning rate of the weights.
      points: points of each curve.
      chunks: chunks of each run.
      variants: variants to run; fixed W, and DNI(b) with its Jacobian watched, are always run.
    """

    seeds: int = 20
    n: int = 32
    alpha: float = 0.5
    lags: tuple[int, int] = (3, 5)
    steps: int = 100_000
    rate: float = 1e-3
    points: int = 100
    chunks: int = 10
    variants: tuple[str, ...] = VARIANTS

    def __post_init__(self) -> None:
        """Refuses unknown variants, lags that are longer than the run, and steps that do not divide."""
        if unknown := sorted(set(self.variants) - set(VARIANTS)):
            raise ValueError(f"variants: {', '.join(unknown)} not known; choose from {', '.join(VARIANTS)}")
        leaky(1, 1, 1, alpha=self.alpha)
        check_lags(self.lags, hold(self.alpha), self.steps)
        if self.steps % self.points or self.points % self.chunks:
            raise ValueError(f"steps must be a multiple of points={self.points}, and points one of chunks")


PRESETS = {
    "smoke": Config(seeds=2, n=8, steps=400, points=20, chunks=2),
    "default": Config(),
    "paper": Config(steps=1_000_000, rate=1e-4, chunks=100),
}


def variant(name: str, cell: Neurons) -> LearningRule:
    """DNI with the changes in a name."""
    changes = name.split("+")
    return online.dni(
        cell,
        jacobian="learned" if "jacobian" in changes else "exact",
        label="tanh" if "tanh" in changes else "identity",
        feedback="random" if "random" in changes else "readout",
    )


def part(config: Config, name: str) -> Program:
    """Program of a variant, fixed W or "watched", on Add."""
    cell = leaky(2, config.n, 2, alpha=config.alpha)
    stream = add(config.lags, hold(config.alpha))
    if name == "watched":
        rule = watched(online.dni_b(cell), config.alpha, AVERAGE)
    else:
        rule = online.fixed_recurrent(cell) if name == "fixed" else variant(name, cell)
    learn, loss_metrics = learner(rule, optax.sgd(config.rate)), figure_loss("add", 2)

    def measure(info: Info, batch: Batch) -> Metrics:
        watch: Any = info.aux.get("watch", {})
        return {**loss_metrics(info, batch), **watch}

    def init(key: Key, learn: Learner, stream: Stream) -> tuple[LearnerState, PyTree]:
        key_weights, key_stream, key_run = jax.random.split(key, 3)
        example = Example(jnp.zeros((1, 2)), jnp.zeros((1, 2)))
        return learn.init(init_params(key_weights, cell), key_run, example), stream.init(key_stream)

    every = config.steps // config.points
    return online_training(
        lambda key: (learn, stream), init, steps=config.steps, every=every, chunks=config.chunks, measure=measure
    )


def make_parts(config: Config) -> dict[str, Program]:
    """Programs of the variants in the settings, fixed W and "watched"."""
    return {name: part(config, name) for name in ("fixed", *config.variants, "watched")}


def final(metrics: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """Mean of a curve's last tenth, (seeds,)."""
    values = metrics[name]
    return values[:, -max(1, values.shape[1] // 10) :].mean(1)


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final losses, paired differences and main effects of the changes, and final distances of the guesses from J."""
    summary: dict[str, float] = {}
    losses = {name: final(metrics, f"{name}/loss") for name in ("fixed", *VARIANTS) if f"{name}/loss" in metrics}
    for name, loss in losses.items():
        put(summary, f"loss/{name}", loss)
        if name != "fixed":
            put(summary, f"fixed-{name}", losses["fixed"] - loss)
        if "dni" in losses and name not in ("dni", "fixed"):
            put(summary, f"{name}-dni", loss - losses["dni"])
    if losses.keys() >= set(VARIANTS):
        for change in CHANGES:
            signed = [losses[name] * (1 if change in name.split("+") else -1) for name in VARIANTS]
            put(summary, f"effect/{change}", np.sum(signed, 0) / 4)
    for guess in GUESSES:
        for kind in ("error", "cosine", "pull"):
            put(summary, f"watched/{guess}_{kind}", final(metrics, f"watched/{guess}_{kind}"))
    learned = final(metrics, "watched/learned_error")
    put(summary, "watched/lead-on-zero", 1 - learned)
    for guess in ("start", "mean"):
        put(summary, f"watched/lead-on-{guess}", final(metrics, f"watched/{guess}_error") - learned)
    pulls = [final(metrics, f"watched/{guess}_pull") for guess in ("learned", "identity")]
    put(summary, "watched/pull-lead-on-identity", pulls[0] - pulls[1])
    missed = final(metrics, "watched/miss") / final(metrics, "watched/still")
    put(summary, "watched/missed", missed)
    put(summary, "watched/lead-on-still", 1 - missed)
    return summary


experiment = Experiment(
    title="DNI(b) taken apart: its three changes to DNI on Add, and how near its learned Jacobian is to the network's",
    cost={
        "smoke": "under a minute, most of it compilation",
        "default": "20 seeds, about a minute and a half on two cores",
        "paper": "20 seeds x 1e6 steps, about ten minutes on two cores",
    },
    selects=("variants",),
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, JACOBIAN),
    plot=plot,
    scale={
        "smoke": "8 units and 400 steps, of 32 and 1,000,000",
        "default": "100,000 steps at a rate of 1e-3; the authors' script for Figure 1 1,000,000 at 1e-4",
        "paper": "the authors' script for Figure 1: 20 seeds, 1,000,000 steps at a rate of 1e-4",
    },
    tuned="nothing",
)
