r"""The vanilla recurrent network of Lansdell, Prakash & Kording (2019), section 4.3, over a window of steps.

    h^t = phi(U x^t + W h^{t-1} + b),   yhat^t = V h^t + b_out,   L^t = 1/2 sum (yhat^t - y^t)^2

Weights are ``{"forward": {"u": U (n, n_in), "w": W (n, n), "bias": b (n,), "v": V (n_out, n), "bias_out": (n_out,)},
"feedback": {"w_fb": B (n, n)}}``. B stands for W where credit is carried back: to h^{t-1} as delta^t @ B. Within this
module time leads: activity over a window of S steps is (S, B, n).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.ops.activations import ACTIVATIONS, check_activation
from plasticity_jax.typing import Array, Key, Params, PyTree


class VanillaRNN(NamedTuple):
    """What is fixed about the network; build it with `vanilla_rnn`. Attributes: activation: a key of `ACTIVATIONS`."""

    activation: str


class Trajectory(NamedTuple):
    """Activity over a window.

    Attributes:
      h: (S, B, n), after each step.
      slope: (S, B, n), phi' at each step.
    """

    h: Array
    slope: Array


def vanilla_rnn(activation: str = "tanh") -> VanillaRNN:
    """Checks and names a network's fixed properties.

    Args:
      activation: one of `ACTIVATIONS`.

    Returns:
      A `VanillaRNN`.

    Raises:
      ValueError: if the name is not known.

    Example:
      >>> vanilla_rnn()
      VanillaRNN(activation='tanh')
    """
    check_activation(activation)
    return VanillaRNN(activation)


def init_params(key: Key, n_in: int, n: int, n_out: int, dtype: jnp.dtype | None = None) -> Params:
    """Glorot's uniform weights, +-sqrt(6 / (fan in + fan out)), for U, W, V and B; biases 0.

    The authors drew B ~ N(0, 1) instead, sqrt(n) times larger than W: feedback that explodes within a window.

    Args:
      key: split, one part for each matrix.
      n_in: inputs.
      n: recurrent units.
      n_out: outputs.
      dtype: of the weights; JAX's default float if None.

    Returns:
      ``{"forward": {"u", "w", "bias", "v", "bias_out"}, "feedback": {"w_fb"}}``, shapes as in the module's docstring.
    """
    dtype = jnp.zeros(()).dtype if dtype is None else dtype

    def glorot(key: Key, rows: int, columns: int) -> Array:
        bound = (6 / (rows + columns)) ** 0.5
        return jax.random.uniform(key, (rows, columns), dtype, -bound, bound)

    key_u, key_w, key_v, key_fb = jax.random.split(key, 4)
    return {
        "forward": {
            "u": glorot(key_u, n, n_in),
            "w": glorot(key_w, n, n),
            "bias": jnp.zeros((n,), dtype),
            "v": glorot(key_v, n_out, n),
            "bias_out": jnp.zeros((n_out,), dtype),
        },
        "feedback": {"w_fb": glorot(key_fb, n, n)},
    }


def trajectory(net: VanillaRNN, weights: PyTree, h_0: Array, x: Array, noise: Array | None = None) -> Trajectory:
    """Runs the network through a window.

    Args:
      net: fixed properties.
      weights: ``params["forward"]``.
      h_0: (B, n), activity before the first step.
      x: (S, B, n_in).
      noise: (S, B, n), added after the nonlinearity, so that the next step hears it; None is none.

    Returns:
      The `Trajectory`, whose h has the noise in it.
    """
    activation = ACTIVATIONS[net.activation]
    drive = x @ weights["u"].T + weights["bias"]

    def step(h_tm1: Array, at: tuple[Array, Array | None]) -> tuple[Array, tuple[Array, Array]]:
        drive_t, noise_t = at
        v = drive_t + h_tm1 @ weights["w"].T
        phi = activation.phi(v)
        h = phi if noise_t is None else phi + noise_t
        return h, (h, activation.slope(v, phi))

    _, (h, slope) = jax.lax.scan(step, h_0, (drive, noise), unroll=x.shape[0] <= 16)
    return Trajectory(h, slope)


def read_out(weights: PyTree, h: Array) -> Array:
    """yhat = V h + b_out for h of shape (..., n)."""
    return h @ weights["v"].T + weights["bias_out"]


def loss_and_error(output: Array, y: Array) -> tuple[Array, Array]:
    """The loss of each output (...,) and its derivative e = dL/dyhat (..., n_out)."""
    error = output - y
    return 0.5 * jnp.sum(error * error, -1), error
