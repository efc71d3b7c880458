r"""The leaky recurrent network of Marschall, Cho & Savin (2019), one step at a time, for one stream.

    rhat^t = [r^{t-1}; x^t; 1]                      in R^m, m = n + n_in + 1
    v^t    = W rhat^t,  W = [W_rec | W_in | b]      W in R^{n x m}
    r^t    = (1 - alpha) r^{t-1} + alpha phi(v^t)
    z^t    = W_out [r^t; 1]                         W_out in R^{n_out x (n+1)}

with L = -sum y log softmax(z) (readout "softmax") or L = 1/2 sum (z - y)^2 (readout "identity"); in both dL/dz is
e = yhat - y. The derivatives are handed out in their structured form: the Jacobian J = (1-alpha) I + alpha D W_rec,
D = diag(phi'(v)), and the immediate influence dr_k/dW_ij = delta_ki alpha phi'(v_i) rhat_j by its diagonal block only.

Weights are a dict ``{"forward": {"w": (n, m), "w_out": (n_out, n + 1)}, "feedback": {"w_fb": (n_out, n)}}``.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer

from plasticity_jax.ops.activations import ACTIVATIONS, check_activation
from plasticity_jax.typing import Array, Key, Params, Scalar

READOUTS = ("softmax", "identity")


class LeakyRNN(NamedTuple):
    """What is fixed about the network; build it with `leaky_rnn`.

    Attributes:
      alpha: inverse time constant in (0, 1], in units of one over a step; may be a tracer.
      activation: a key of `ACTIVATIONS`.
      readout: "softmax" (cross-entropy) or "identity" (half the summed squared error).
    """

    alpha: Scalar
    activation: str
    readout: str


class Activity(NamedTuple):
    """One step's activity.

    Attributes:
      rhat: (m,), the presynaptic activity [r^{t-1}; x^t; 1].
      slope: (n,), phi'(v^t).
      r: (n,), firing rates after the step.
    """

    rhat: Array
    slope: Array
    r: Array


def leaky_rnn(alpha: Scalar = 0.5, activation: str = "tanh", readout: str = "softmax") -> LeakyRNN:
    """Checks and names a network's fixed properties.

    Args:
      alpha: inverse time constant in (0, 1]; a tracer is taken on trust.
      activation: one of `ACTIVATIONS`.
      readout: one of `READOUTS`.

    Returns:
      A `LeakyRNN`.

    Raises:
      ValueError: if alpha is outside (0, 1], or a name is not known.

    Example:
      >>> leaky_rnn(alpha=0.5)
      LeakyRNN(alpha=0.5, activation='tanh', readout='softmax')
    """
    if not isinstance(alpha, Tracer) and not 0 < float(alpha) <= 1:
        raise ValueError(f"alpha={float(alpha):g} is outside (0, 1]: it is the fraction of a rate renewed at each step")
    check_activation(activation)
    if readout not in READOUTS:
        raise ValueError(f"readout={readout!r} is not known; use one of {', '.join(READOUTS)}")
    return LeakyRNN(alpha, activation, readout)


def init_params(key: Key, n_in: int, n: int, n_out: int, dtype: jnp.dtype | None = None) -> Params:
    """Weights as in the paper's experiments.

    W_rec orthogonal, W_in ~ N(0, 1/n_in), W_out ~ N(0, 1/n), biases 0, feedback W_fb ~ N(0, 1/n_out).

    Args:
      key: split, one part for each matrix.
      n_in: inputs.
      n: recurrent units.
      n_out: outputs.
      dtype: of the weights; JAX's default float if None.

    Returns:
      ``{"forward": {"w", "w_out"}, "feedback": {"w_fb"}}``, shapes as in the module's docstring.
    """
    dtype = jnp.zeros(()).dtype if dtype is None else dtype
    key_rec, key_in, key_out, key_fb = jax.random.split(key, 4)
    w_rec = jax.random.orthogonal(key_rec, n, dtype=dtype)
    w_in = jax.random.normal(key_in, (n, n_in), dtype) / n_in**0.5
    w_out = jax.random.normal(key_out, (n_out, n), dtype) / n**0.5
    return {
        "forward": {
            "w": jnp.concatenate([w_rec, w_in, jnp.zeros((n, 1), dtype)], axis=1),
            "w_out": jnp.concatenate([w_out, jnp.zeros((n_out, 1), dtype)], axis=1),
        },
        "feedback": {"w_fb": jax.random.normal(key_fb, (n_out, n), dtype) / n_out**0.5},
    }


def recurrent(w: Array) -> Array:
    """W_rec (n, n) of W (n, m)."""
    return w[:, : w.shape[0]]


def with_bias(r: Array) -> Array:
    """[r; 1]."""
    return jnp.concatenate([r, jnp.ones((1,), r.dtype)])


def advance(net: LeakyRNN, w: Array, r_tm1: Array, x_t: Array) -> Activity:
    """One step of the dynamics.

    Args:
      net: fixed properties.
      w: (n, m).
      r_tm1: (n,), rates before the step.
      x_t: (n_in,), the step's input.

    Returns:
      The step's `Activity`.
    """
    activation = ACTIVATIONS[net.activation]
    rhat = jnp.concatenate([r_tm1, x_t, jnp.ones((1,), r_tm1.dtype)])
    v = rhat @ w.T  # not w @ rhat: mapped over streams, that product wants its operands copied
    h = activation.phi(v)
    return Activity(rhat, activation.slope(v, h), (1 - net.alpha) * r_tm1 + net.alpha * h)


def read_out(w_out: Array, r: Array) -> Array:
    """z = W_out [r; 1], shape (n_out,)."""
    return with_bias(r) @ w_out.T


def loss_and_error(net: LeakyRNN, z: Array, y: Array) -> tuple[Array, Array]:
    """The loss of one output and its derivative e = dL/dz.

    Args:
      net: fixed properties; the readout decides on the loss.
      z: (n_out,), what `read_out` gave.
      y: (n_out,), the target; for the softmax readout it sums to one.

    Returns:
      ``(loss, error)`` of shapes () and (n_out,).
    """
    if net.readout == "softmax":
        log_p = jax.nn.log_softmax(z)
        return -jnp.sum(y * log_p), jnp.exp(log_p) - y
    error = z - y
    return 0.5 * jnp.sum(error * error), error


def jacobian(net: LeakyRNN, w: Array, slope: Array) -> Array:
    """J_kl = dr_k^t / dr_l^{t-1} = (1 - alpha) delta_kl + alpha phi'(v_k) W_rec_kl, shape (n, n)."""
    n = w.shape[0]
    return (1 - net.alpha) * jnp.eye(n, dtype=w.dtype) + (net.alpha * slope)[:, None] * recurrent(w)


def jacobian_vector(net: LeakyRNN, w: Array, slope: Array, a: Array) -> Array:
    """J a without forming J, shape (n,): how a small change of the rates is carried forward by one step.

    Args:
      net: fixed properties.
      w: (n, m), or its recurrent part (n, n).
      slope: (n,), phi'(v).
      a: (n,).
    """
    w = _square_enough(w)
    return (1 - net.alpha) * a + net.alpha * slope * (w @ jnp.pad(a, (0, w.shape[1] - w.shape[0])))


def vector_jacobian(net: LeakyRNN, w: Array, slope: Array, c: Array) -> Array:
    """c J without forming J, shape (n,): how credit for the rates is carried back by one step.

    Args:
      net: fixed properties.
      w: (n, m), or its recurrent part (n, n), which pays where one W carries many vectors back.
      slope: (n,), phi'(v).
      c: (n,).
    """
    w = _square_enough(w)
    return (1 - net.alpha) * c + ((net.alpha * slope * c) @ w)[: w.shape[0]]


def _square_enough(w: Array) -> Array:
    """W itself if a product with all of it reads less than copying W_rec does: (n, m), or (n, n)."""
    n, m = w.shape
    return w if m <= 3 * n else recurrent(w)
