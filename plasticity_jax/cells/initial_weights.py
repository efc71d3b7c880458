"""Initial weights of cells of neurons: orthogonal recurrent weights, normal input weights."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from plasticity_jax.ops.lane_by_lane import lane_by_lane
from plasticity_jax.typing import Array, Key

if TYPE_CHECKING:  # it imports this file
    from plasticity_jax.cells.neurons import Neurons


def orthogonal_weights(key: Key, cell: "Neurons", dtype: Any) -> Array:
    """W_rec orthogonal, W_in ~ N(0, 1/n_in), biases 0, for each gate; shape (G, n, m)."""
    key_rec, key_in = jax.random.split(key, 2)
    return gates_from(key_rec, key_in, cell, dtype)


def gates_from(key_rec: Key, key_in: Key, cell: "Neurons", dtype: Any) -> Array:
    """The weights of `orthogonal_weights`, from one key for W_rec and one for W_in."""
    n, n_in, sums = cell.n, cell.n_in, len(cell.gates)
    real = jnp.promote_types(dtype, jnp.float32)  # QR needs float32 at least

    def orthogonal(words: Array) -> Array:
        return jax.random.orthogonal(jax.random.wrap_key_data(words, impl=jax.random.key_impl(key_rec)), n, dtype=real)

    def gate(key_rec: Key, key_in: Key) -> Array:
        w_rec = lane_by_lane(orthogonal)(jax.random.key_data(key_rec)).astype(dtype)
        w_in = jax.random.normal(key_in, (n, n_in), dtype) / max(n_in, 1) ** 0.5
        return jnp.concatenate([w_rec, w_in, jnp.zeros((n, 1), dtype)], axis=1)

    if sums == 1:
        return gate(key_rec, key_in)[None]
    return jnp.stack(list(map(gate, jax.random.split(key_rec, sums), jax.random.split(key_in, sums))))
