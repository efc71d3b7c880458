"""Local products of pre- and postsynaptic activity, summed over a batch."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax.numpy as jnp

from plasticity_jax.typing import Array


def hebb_product(pre: Array, post: Array, w: Array, weight: Array | None = None) -> Array:
    """Hebb's: sum over the batch of post_i pre_j.

    Args:
      pre: (B, n_in), presynaptic activity.
      post: (B, n_out), postsynaptic activity.
      w: (n_out, n_in), the weights, which this rule does not read.
      weight: (B,), of the examples in the sum; None is 1 for all.

    Returns:
      (n_out, n_in), the change of the weights at a rate of one.
    """
    return weighed(post, weight).T @ pre


def oja_product(pre: Array, post: Array, w: Array, weight: Array | None = None) -> Array:
    """Oja's: sum over the batch of post_i pre_j - post_i^2 w_ij.

    Args:
      pre: (B, n_in), presynaptic activity.
      post: (B, n_out), postsynaptic activity.
      w: (n_out, n_in), the weights.
      weight: (B,), of the examples in the sum; None is 1 for all.

    Returns:
      (n_out, n_in), the change of the weights at a rate of one.
    """
    share = weighed(post, weight)
    return share.T @ pre - jnp.sum(share * post, 0)[:, None] * w


def weighed(rows: Array, weight: Array | None) -> Array:
    """Rows (B, n), each times its weight."""
    return rows if weight is None else rows * weight[:, None]


PRODUCTS: Mapping[str, Callable[..., Array]] = MappingProxyType({"hebb": hebb_product, "oja": oja_product})
