"""A learner that runs in milliseconds: a linear unit trained by gradient descent on a random stream."""

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.base import Info, LearningRule, learner
from plasticity_jax.run import online_training
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Example

WIDTH = 3


def delta_rule(noise=0.1):
    """A stochastic rule with a trace: the gradient of a squared error at a noisy weight."""

    def init(params, key, batch):
        return jnp.zeros(())

    def update(params, traces, key, batch):
        w = params["w"] + noise * (jax.random.uniform(key) - 0.5)
        error = batch.x @ w - batch.y[:, 0]
        gradient = batch.x.T @ error / len(error)
        loss = jnp.mean(error**2)
        return {"w": gradient}, 0.9 * traces + 0.1 * loss, Info(loss, jnp.array(True), {"trace": traces})

    return LearningRule(init, update)


def stream():
    def take(state, steps):
        phase, start = state
        t = jnp.arange(steps) + start
        x = jnp.sin(phase + t[:, None, None] * jnp.array([[0.3, 0.7, 1.1], [0.5, 0.2, 1.9]]))
        return (phase, start + steps), Example(x, x.sum(-1, keepdims=True))

    return Stream(lambda key: (jax.random.uniform(key), jnp.zeros((), jnp.int32)), take)


def program(steps=24, every=2, chunks=4):
    """A program with lanes {"key", "rate"}, for seeds and learning rates at once."""

    def build(lane):
        return learner(delta_rule(), optax.sgd(lane["rate"])), stream()

    def init(lane, learn, task):
        task_state = task.init(lane["key"])
        _, examples = task.take(task_state, 1)
        batch = jax.tree.map(lambda leaf: leaf[0], examples)
        return learn.init({"w": jnp.zeros(WIDTH)}, lane["key"], batch), task_state

    def measure(info, batch):
        return {"loss": info.loss, "trace": info.aux["trace"]}

    return online_training(build, init, steps=steps, every=every, chunks=chunks, measure=measure)


def lanes(count=3, rate=0.05):
    return {"key": jax.vmap(jax.random.key)(jnp.arange(count)), "rate": jnp.full(count, rate)}
