"""A tiny experiment that keeps the whole contract: a noisy walk that shrinks, and may be told to blow up."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.run import Claim, Program, train_from_parts

TITLE = "A toy: two shrinking walks"
COST = {"smoke": "a second", "default": "seconds"}


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
        return {"key": key, "w": jnp.ones(width), "step": jnp.int32(0), "bad": jnp.int32(-1), "seed": data}

    def chunk(state):
        def step(state, _):
            noise = jax.random.normal(jax.random.fold_in(state["key"], state["step"]), (width,))
            w = state["w"] - config.rate * (state["w"] - noise)
            blow = (state["seed"] == config.bad_seed) & (state["step"] == 7)
            w = jnp.where(blow, jnp.nan, w)
            loss = jnp.mean(w**2)
            bad = jnp.where((state["bad"] < 0) & ~jnp.isfinite(loss), state["step"], state["bad"])
            return {**state, "w": w, "step": state["step"] + 1, "bad": bad}, loss

        state, losses = jax.lax.scan(step, state, None, length=config.steps)
        return state, {"loss": losses.mean()[None], "bad_step": state["bad"][None]}

    return Program(init, chunk, config.chunks, config.steps, 1)


def make_parts(config):
    return {f"walk{i}": _walk(config, width) for i, width in enumerate(config.widths)}


def make_train(config):
    return train_from_parts(make_parts(config))


def summarise(metrics):
    last = metrics["walk0/loss"][:, -1]
    return {"loss": float(last.mean()), "loss_sem": float(last.std(ddof=1) / np.sqrt(len(last)))}


CLAIMS = [Claim("small", "The loss stays below ten", None, lambda s: (s["loss"], s["loss"] < 10.0))]


def plot(metrics):
    from matplotlib.figure import Figure

    figure = Figure()
    figure.subplots().plot(metrics["walk0/loss"].T)
    return figure
