"""The Mimic task: reproduce the output of another recurrent network that receives the same input.

Source: Marschall, Cho & Savin (2019). The least loss is 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.cells import advance, init_params, read_out
from plasticity_jax.cells.neurons import Neurons, start_of
from plasticity_jax.ops.checks import check_counts
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key, PyTree


class MimicState(NamedTuple):
    """The stream's state.

    Attributes:
      key: of the symbols, never advanced.
      step: shape (), int32, steps taken.
      weights: of the target, as in ``params["forward"]``.
      s: (B, S, n), the target's state.
    """

    key: Key
    step: Array
    weights: PyTree
    s: Array


def mimic(cell: Neurons, tau: int = 2, batch: int = 1) -> Stream:
    """The Mimic task as a stream.

        x_k ~ Bernoulli(1/2)^{n_in}, each symbol held for tau steps;   y^t = output of a fixed target network

    The target is a network of the learner's cell with initial weights of its own (leaky: W_rec orthogonal, W_in ~ N(0,
    1/n_in)), W_out ~ N(0, 1/n), and biases of standard deviation 0.1; it starts at rest. Every key draws a new
    target.

    Args:
      cell: of the target, from `plasticity_jax.cells`; y is its output itself, for any loss.
      tau: steps for which each symbol is held.
      batch: independent input streams, B, into one target network.

    Returns:
      A `Stream` of `Example` with x (steps, B, n_in) and y (steps, B, n_out).

    Raises:
      ValueError: if tau or batch is below 1 or not whole.

    Example:
      >>> import jax
      >>> from plasticity_jax.cells import leaky
      >>> stream = mimic(leaky(n_in=3, n=8, n_out=4, alpha=0.5))
      >>> _, example = stream.take(stream.init(jax.random.key(0)), 10)
      >>> example.y.shape
      (10, 1, 4)

    Reference:
      Marschall, Cho & Savin (2019), Figure 1b.
    """
    check_counts(tau=tau, batch=batch)

    def init(key: Key) -> MimicState:
        key_symbols, key_weights, key_rec, key_out = jax.random.split(key, 4)
        forward = init_params(key_weights, cell)["forward"]
        gates, n = len(cell.gates), cell.n
        w = forward["w"].at[:, :, -1].set(0.1 * jax.random.normal(key_rec, (gates, n)))
        w_out = forward["w_out"].at[:, -1].set(0.1 * jax.random.normal(key_out, (cell.n_out,)))
        rest = jnp.broadcast_to(start_of(cell, w.dtype), (batch, len(cell.variables), n))
        return MimicState(key_symbols, jnp.zeros((), jnp.int32), {**forward, "w": w, "w_out": w_out}, rest)

    def take(state: MimicState, steps: int) -> tuple[MimicState, Example]:
        start = state.step // tau
        k = start + jnp.arange((steps + tau - 2) // tau + 1)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(state.key, k.astype(jnp.uint32))
        symbols = jax.vmap(lambda key: jax.random.bernoulli(key, 0.5, (batch, cell.n_in)))(keys).astype(state.s.dtype)
        x = symbols[(state.step + jnp.arange(steps)) // tau - start]

        def follow(s: Array, x_t: Array) -> tuple[Array, Array]:
            s = jax.vmap(lambda s_tm1, x: advance(cell, state.weights, s_tm1, x))(s, x_t)
            return s, s

        s, path = jax.lax.scan(follow, state.s, x)
        y = jax.vmap(jax.vmap(lambda s: read_out(state.weights["w_out"], cell.read(s))))(path)
        return state._replace(step=state.step + steps, s=s), Example(x, y)

    return Stream(init, take)
