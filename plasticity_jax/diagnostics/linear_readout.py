r"""The best linear readout of fixed features, in closed form: the limit for learning the readout alone.

    W, b  =  argmin  1/N sum_k |W f_k + b - y_k|^2  +  ridge |W|^2

Source: Lindsey & Litwin-Kumar (2020), section 7, where readouts were trained for many epochs: ridge -> 0. We use a QR
factorisation of the centred features stacked on sqrt(N ridge) I, because the normal equations square the condition
number, too much for single precision.
"""

from typing import NamedTuple

import chex
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from plasticity_jax.ops.lane_by_lane import lane_by_lane
from plasticity_jax.typing import Array, Scalar


class Readout(NamedTuple):
    """A linear map with an intercept.

    Attributes:
      w: (n_out, n).
      bias: (n_out,).
    """

    w: Array
    bias: Array

    def __call__(self, features: Array) -> Array:
        """Outputs (..., n_out) for features (..., n)."""
        return features @ self.w.T + self.bias


def linear_readout(features: Array, targets: Array, ridge: Scalar) -> Readout:
    """Ridge regression of targets on features; the intercept is not penalised.

    Args:
      features: (N, n).
      targets: (N, n_out).
      ridge: relative to the mean squared error of an example; positive if features may be collinear or constant.

    Returns:
      The `Readout`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> features = jax.random.normal(jax.random.key(0), (50, 2))
      >>> readout = linear_readout(features, features @ jnp.array([[2.0], [-1.0]]) + 3, 1e-6)
      >>> [round(float(x), 3) for x in (*readout.w[0], readout.bias[0])]
      [2.0, -1.0, 3.0]

    Reference:
      Hoerl & Kennard, "Ridge regression: biased estimation for nonorthogonal problems", Technometrics 1970.
    """
    chex.assert_rank([features, targets], 2, custom_message="features are (N, n), targets (N, n_out)")
    chex.assert_equal_shape_prefix([features, targets], 1, custom_message="features and targets: one row an example")
    count, n = features.shape
    middle, mean = jnp.mean(features, 0), jnp.mean(targets, 0)
    penalty = jnp.sqrt(count * jnp.asarray(ridge, features.dtype)) * jnp.eye(n, dtype=features.dtype)
    w = _least_squares(jnp.concatenate([features - middle, penalty]), targets - mean).T
    return Readout(w, mean - w @ middle)


@lane_by_lane
def _least_squares(a: Array, b: Array) -> Array:
    """The x that minimises |a x - b|, with b padded by rows of 0."""
    q, r = jnp.linalg.qr(a)
    return solve_triangular(r, q[: len(b)].T @ b)
