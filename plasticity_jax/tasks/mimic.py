r"""The Mimic task: reproduce the output of another recurrent network that hears the same input.

    x_k ~ Bernoulli(1/2)^{n_in}, each symbol held for tau steps;   y^t = output of a fixed target network

The target has the learner's class and alpha, identity readout, W_rec orthogonal, W_in ~ N(0, 1/n_in),
W_out ~ N(0, 1/n), and biases of standard deviation 0.1; it starts at rest. A new target is drawn with every key.

Source: Marschall, Cho & Savin (2019). The least loss is 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.networks import leaky_rnn
from plasticity_jax.networks.leaky_rnn import LeakyRNN
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key


class MimicState(NamedTuple):
    """The stream's state.

    Attributes:
      key: of the symbols, never advanced.
      step: shape (), int32, steps taken.
      w: (n, m), the target's recurrent weights.
      w_out: (n_out, n + 1), the target's readout.
      r: (B, n), the target's rates.
    """

    key: Key
    step: Array
    w: Array
    w_out: Array
    r: Array


def mimic(net: LeakyRNN, n: int = 32, n_in: int = 32, n_out: int = 32, tau: int = 2, batch: int = 1) -> Stream:
    """The Mimic task as a stream.

    Args:
      net: the target's fixed properties; its readout is taken as the identity.
      n: the target's units.
      n_in: inputs.
      n_out: outputs.
      tau: steps for which each symbol is held.
      batch: independent input streams, B, into one target network.

    Returns:
      A `Stream` of `Example` with x (steps, B, n_in) and y (steps, B, n_out).

    Raises:
      ValueError: if tau or batch is below 1.

    Example:
      >>> import jax
      >>> from plasticity_jax.networks.leaky_rnn import leaky_rnn
      >>> stream = mimic(leaky_rnn(alpha=0.5), n=8, n_in=3, n_out=4)
      >>> _, example = stream.take(stream.init(jax.random.key(0)), 10)
      >>> example.y.shape
      (10, 1, 4)

    Reference:
      Marschall, Cho & Savin (2019), Figure 1b.
    """
    if tau < 1 or batch < 1:
        raise ValueError(f"tau={tau} and batch={batch} must both be at least 1")

    def init(key: Key) -> MimicState:
        key_symbols, key_weights, key_rec, key_out = jax.random.split(key, 4)
        forward = leaky_rnn.init_params(key_weights, n_in, n, n_out)["forward"]
        w = forward["w"].at[:, -1].set(0.1 * jax.random.normal(key_rec, (n,)))
        w_out = forward["w_out"].at[:, -1].set(0.1 * jax.random.normal(key_out, (n_out,)))
        return MimicState(key_symbols, jnp.zeros((), jnp.int32), w, w_out, jnp.zeros((batch, n), w.dtype))

    def take(state: MimicState, steps: int) -> tuple[MimicState, Example]:
        start = state.step // tau
        k = start + jnp.arange((steps + tau - 2) // tau + 1)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(state.key, k.astype(jnp.uint32))
        symbols = jax.vmap(lambda one: jax.random.bernoulli(one, 0.5, (batch, n_in)))(keys).astype(state.w.dtype)
        x = symbols[(state.step + jnp.arange(steps)) // tau - start]

        def follow(r: Array, x_t: Array) -> tuple[Array, Array]:
            r = jax.vmap(lambda r_tm1, x: leaky_rnn.advance(net, state.w, r_tm1, x).r)(r, x_t)
            return r, r

        r, rates = jax.lax.scan(follow, state.r, x)
        y = jax.vmap(jax.vmap(lambda r: leaky_rnn.read_out(state.w_out, r)))(rates)
        return state._replace(step=state.step + steps, r=r), Example(x, y)

    return Stream(init, take)
