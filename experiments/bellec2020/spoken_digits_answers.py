"""A network's answers to recordings of spoken digits, and the share of right ones."""

import jax
import jax.numpy as jnp
import optax

from experiments.bellec2020.common import trial_of
from experiments.bellec2020.spoken_digits_sounds import Sounds
from plasticity_jax.base import Info
from plasticity_jax.cells import Neurons, advance
from plasticity_jax.cells.neurons import start_of
from plasticity_jax.run.program import Metrics
from plasticity_jax.typing import Array, Example, Params


def answers(cell: Neurons, params: Params, sounds: Sounds, index: Array) -> tuple[Array, Array, Array, Array]:
    """Answers of a network to recordings.

    Returns:
      Whether answers are right (N,), cross-entropies (N,), the neurons' spikes or activity and the outputs (N, S, ...).
    """
    batch = sounds.trials(index)
    assert batch.weight is not None
    spikes, output = jax.vmap(lambda x: trial_of(cell, params, x))(batch.x)
    nats = optax.softmax_cross_entropy_with_integer_labels(output, batch.y)
    return votes(output, batch), jnp.sum(batch.weight * nats, 1), spikes, output


def states(cell: Neurons, params: Params, x: Array) -> Array:
    """Input of the readout in a trial with the inputs x (S, n_in): (S, n)."""

    def step(s: Array, x_t: Array) -> tuple[Array, Array]:
        s = advance(cell, params["forward"], s, x_t)
        return s, cell.read(s)

    return jax.lax.scan(step, start_of(cell, x.dtype), x)[1]


def votes(output: Array, batch: Example) -> Array:
    """Returns whether the outputs (B, S, digits), summed while the digit is due, are right, (B,)."""
    assert batch.weight is not None
    return jnp.argmax(jnp.sum(output * batch.weight[..., None], 1), -1) == batch.y[:, 0]


def measured(info: Info, batch: Example) -> Metrics:
    """Mean cross-entropy of a recording before the update, and the share of right answers."""
    return {"loss": info.loss, "heard": jnp.mean(votes(info.aux["output"], batch).astype(info.loss.dtype))}


def shares(right: Array, stranger: Array) -> dict[str, Array]:
    """Shares of right answers on the test and on the speaker who is left out, and of errors on the test."""
    share, other = (jnp.mean(each.astype(jnp.zeros(()).dtype)) for each in (right, stranger))
    return {"right": share, "stranger": other, "error": 1 - share}
