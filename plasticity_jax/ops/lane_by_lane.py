"""Factorisations under vmap, on a CPU one lane after the other.

jaxlib 0.10 lets a batch of LAPACK calls wait for helper threads while it occupies one itself: on few cores two batches
at once (of two layers, or on two devices) wait for each other for ever. A single matrix's call does its work alone.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

from plasticity_jax.typing import PyTree


def lane_by_lane(f: Callable[..., PyTree]) -> Callable[..., Any]:
    """The function itself, whose vmap on a CPU is a loop; elsewhere it is the usual one.

    Args:
      f: pure, of arrays; what it closes over must not be traced.

    Returns:
      A function of the same arguments; differentiable to any order, its derivative under vmap being the usual one.

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

    # A copy, for custom rules do not take NumPy's arrays, nor those that an outer vmap is given.
    return lambda *args: differentiable(*jax.tree.map(jnp.array, args))
