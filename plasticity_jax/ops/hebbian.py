"""Local products of pre- and postsynaptic activity, summed over a batch."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax.numpy as jnp

from plasticity_jax.typing import Array


def hebb_product(pre: Array, post: Array, w: Array) -> Array:
    """Hebb's: sum over the batch of post_i pre_j.

    Args:
      pre: (B, n_in), presynaptic activity.
      post: (B, n_out), postsynaptic activity.
      w: (n_out, n_in), the weights, which this rule does not read.

    Returns:
      (n_out, n_in), the change of the weights at a rate of one.
    """
    return post.T @ pre


def oja_product(pre: Array, post: Array, w: Array) -> Array:
    """Oja's: sum over the batch of post_i pre_j - post_i^2 w_ij.

    Args:
      pre: (B, n_in), presynaptic activity.
      post: (B, n_out), postsynaptic activity.
      w: (n_out, n_in), the weights.

    Returns:
      (n_out, n_in), the change of the weights at a rate of one.
    """
    return post.T @ pre - jnp.sum(post * post, 0)[:, None] * w


PRODUCTS: Mapping[str, Callable[[Array, Array, Array], Array]] = MappingProxyType(
    {"hebb": hebb_product, "oja": oja_product}
)
