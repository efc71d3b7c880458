"""Masks of a cell's connections, as NumPy arrays, because they decide what is computed."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.core import Tracer

from plasticity_jax.typing import Key


def stack_mask(layers: Sequence[int], n_in: int) -> np.ndarray:
    """Mask of a stack of recurrent layers: each receives its own activity and, one step late, that of the layer below.

    Args:
      layers: neurons of each layer, from the bottom; their sum is the cell's n.
      n_in: inputs.

    Returns:
      (n, m), bool, m = n + n_in + 1; every neuron has its bias.

    Raises:
      ValueError: if a layer is empty.

    Example:
      >>> import plasticity_jax as pj
      >>> mask = stack_mask([3, 2], n_in=1)
      >>> mask[:, :5].astype(int).tolist()
      [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]]
      >>> pj.cells.gru(n_in=1, n=5, n_out=2, mask=mask).mask.shape
      (4, 5, 7)
    """
    if not layers or min(layers) < 1:
        raise ValueError(f"layers={tuple(layers)} must name at least one layer, of at least one neuron each")
    layer = np.repeat(np.arange(len(layers)), layers)
    height = layer[:, None] - layer[None]
    to_input = np.repeat((layer == 0)[:, None], n_in, 1)
    return np.concatenate([(height == 0) | (height == 1), to_input, np.ones((len(layer), 1), bool)], 1)


def sparse_mask(key: Key, n: int, share: float) -> np.ndarray:
    """Random connections between neurons, each with a given probability, and every neuron's connection to itself.

    Weights are not rescaled: multiply W_rec by 1 / sqrt(share) for sums with the variance of a full network.

    Args:
      key: consumed.
      n: neurons.
      share: probability of a connection, in [0, 1].

    Returns:
      (n, n), bool.

    Raises:
      ValueError: if the share is outside [0, 1], or the key is traced.

    Example:
      >>> import jax
      >>> bool(0.1 < sparse_mask(jax.random.key(0), 100, 0.2).mean() < 0.3)
      True
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share={share} is outside [0, 1]: it is the probability of a connection")
    if isinstance(key, Tracer):
        raise ValueError("the key of sparse_mask is traced; draw connections outside of jit and vmap")
    with jax.ensure_compile_time_eval():
        return np.asarray(jax.random.bernoulli(key, share, (n, n))) | np.eye(n, dtype=bool)
