"""Factorisations under vmap, on a CPU one lane after the other.

In jaxlib 0.10 a batch of LAPACK calls waits for helper threads while it occupies one itself: on few cores, two batches
at once (of two layers, or on two devices) wait for each other for ever. A call for a single matrix needs no helper.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from plasticity_jax.typing import PyTree


def lane_by_lane(f: Callable[..., PyTree]) -> Callable[..., Any]:
    """The same function with a vmap that is a loop on a CPU, and the usual one elsewhere.

    Args:
      f: pure, of arrays; it must not close over traced arrays.

    Returns:
      A function of the same arguments; differentiable to any order, with the usual vmap of its derivative.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> solve = lane_by_lane(jnp.linalg.solve)
      >>> jax.vmap(solve)(jnp.stack([jnp.eye(2), 2 * jnp.eye(2)]), jnp.ones((2, 2, 1)))[:, 0, 0].tolist()
      [1.0, 0.5]
    """

    @custom_vmap
    def call(*args: PyTree) -> PyTree:
        return f(*args)

    @call.def_vmap
    def _(lanes: int, batched: tuple[PyTree, ...], *args: PyTree) -> tuple[PyTree, PyTree]:
        axes = jax.tree.map(lambda is_batched: 0 if is_batched else None, tuple(batched))

        def loop(*args: PyTree) -> PyTree:
            full = jax.vmap(lambda *lane: lane, axes, axis_size=lanes)(*args)
            return jax.lax.map(lambda lane: call(*lane), full)

        out = jax.lax.platform_dependent(*args, cpu=loop, default=jax.vmap(f, axes, axis_size=lanes))
        return out, jax.tree.map(lambda _: True, out)

    # `custom_vmap` has no reverse mode of its own.
    differentiable = jax.custom_jvp(call)

    @differentiable.defjvp
    def _(primals: tuple[PyTree, ...], tangents: tuple[PyTree, ...]) -> tuple[PyTree, PyTree]:
        return differentiable(*primals), jax.jvp(f, primals, tangents)[1]

    # A copy: custom rules accept neither NumPy arrays nor the arguments of an outer vmap.
    return lambda *args: differentiable(*jax.tree.map(jnp.array, args))
