"""The recurrent network of Lansdell, Prakash & Kording (2020), section 4.3, and its initial weights."""

import jax
import jax.numpy as jnp

from plasticity_jax.cells.leaky import leaky
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.typing import Array, Key, Params


def vanilla(n_in: int, n: int, n_out: int) -> Neurons:
    """h^t = tanh(U x^t + W h^{t-1} + b), a linear readout and half its squared error."""
    return leaky(n_in, n, n_out, alpha=1.0, loss="squared")


def glorot_params(key: Key, cell: Neurons) -> Params:
    """Glorot's uniform weights, +-sqrt(6 / (fan in + fan out)), for U, W, V and B; biases 0.

    The authors drew B ~ N(0, 1) instead, sqrt(n) times larger than W, with which feedback explodes within a window.

    Args:
      key: split, one part for each matrix.
      cell: of one gate.

    Returns:
      ``{"forward": {"w": (1, n, m), "w_out": (n_out, n + 1)}, "feedback": {"w_back": (1, n, n)}}``.
    """

    def glorot(key: Key, rows: int, columns: int) -> Array:
        bound = (6 / (rows + columns)) ** 0.5
        return jax.random.uniform(key, (rows, columns), minval=-bound, maxval=bound)

    key_u, key_w, key_v, key_fb = jax.random.split(key, 4)
    n, n_out = cell.n, cell.n_out
    u, w, v = glorot(key_u, n, cell.n_in), glorot(key_w, n, n), glorot(key_v, n_out, n)
    return {
        "forward": {
            "w": jnp.concatenate([w, u, jnp.zeros((n, 1))], 1)[None],
            "w_out": jnp.concatenate([v, jnp.zeros((n_out, 1))], 1),
        },
        "feedback": {"w_back": glorot(key_fb, n, n)[None]},
    }
