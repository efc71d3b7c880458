"""A tiny experiment that uses all features: a noisy walk that shrinks; one seed of it can be made to diverge."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.base import LearnerState
from plasticity_jax.run import Claim, Experiment, Program
from plasticity_jax.run.program import TrainingState, new_health


@dataclass(frozen=True)
class Config:
    seeds: int = 3
    chunks: int = 4
    steps: int = 10
    rate: float = 0.1
    widths: tuple[int, ...] = (8, 8)
    bad_seed: int = -1
    bound: float = 10.0

    def __post_init__(self):
        if self.rate <= 0:
            raise ValueError(f"rate={self.rate} must be positive")


PRESETS = {"smoke": Config(), "default": Config(chunks=40, steps=2000)}


def _walk(config, width):
    def init(key):
        data = jnp.asarray(jax.random.key_data(key))[..., -1]  # the seed itself
        params = {"w": jnp.ones(width)}
        return TrainingState(LearnerState(params, (), (), key, jnp.int32(0)), (), data, new_health(params))

    def chunk(state):
        def step(state, _):
            learner, health = state.learner, state.health
            noise = jax.random.normal(jax.random.fold_in(learner.key, learner.step), (width,))
            w = learner.params["w"] - config.rate * (learner.params["w"] - noise)
            blow = (state.lane == config.bad_seed) & (learner.step == 7)
            w = jnp.where(blow, jnp.nan, w)
            loss = jnp.mean(w**2)
            failed = ~jnp.isfinite(loss)
            first = jnp.where((health.step < 0) & failed, learner.step, health.step)
            health = health._replace(step=first, loss=first >= 0, alive=~failed)
            return state._replace(learner=learner._replace(params={"w": w}, step=learner.step + 1), health=health), loss

        state, losses = jax.lax.scan(step, state, None, length=config.steps)
        return state, {"loss": losses.mean()[None]}

    return Program(init, chunk, config.chunks, config.steps, 1)


def make_parts(config):
    return {f"walk{i}": _walk(config, width) for i, width in enumerate(config.widths)}


def summarise(metrics):
    last = metrics["walk0/loss"][:, -1]
    return {"loss": float(last.mean()), "loss_sem": float(last.std(ddof=1) / np.sqrt(len(last)))}


CLAIMS = [Claim("small", "The loss stays below ten", None, lambda s: (s["loss"], s["loss"] < 10.0))]


def plot(metrics):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot(metrics["walk0/loss"].T)
    return figure


experiment = Experiment(
    title="A toy: two shrinking walks",
    cost={"smoke": "a second", "default": "seconds"},
    scale={"smoke": "40 of 80,000 steps"},
    tuned="the rate, on seed 7",
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
)
