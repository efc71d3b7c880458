"""Factorisations in a compiled program, one matrix at a time on a CPU.

In jaxlib a batch of LAPACK calls waits for helper threads while it occupies one itself. Two batches at once, on two
devices or in one program, may therefore wait for each other for ever. A call on a single matrix uses no other thread.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core

from plasticity_jax.typing import Array, PyTree

LAPACK = {
    "cholesky",
    "eig",
    "eigh",
    "geqp3",
    "geqrf",
    "hessenberg",
    "householder_product",
    "lu",
    "ormqr",
    "qr",
    "schur",
    "svd",
    "triangular_solve",
    "tridiagonal",
    "tridiagonal_solve",
}
"""Names of JAX's primitives that call LAPACK on a CPU; their largest operand is a matrix, or a batch of matrices."""


def matrix_by_matrix(f: Callable[..., PyTree]) -> Callable[..., Any]:
    """The same function with loops in place of all batches of factorisations.

    Args:
      f: a pure function of arrays.

    Returns:
      A function of the same arguments. Call it under a jit.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> roots = matrix_by_matrix(jax.vmap(jnp.linalg.cholesky))
      >>> jax.jit(roots)(jnp.stack([jnp.eye(2), 4 * jnp.eye(2)]))[:, 0, 0].tolist()
      [1.0, 2.0]
      >>> "scan" in str(jax.make_jaxpr(roots)(jnp.ones((5, 2, 2))))
      True
    """

    def call(*args: PyTree) -> PyTree:
        traced, shapes = jax.make_jaxpr(f, return_shape=True)(*args)
        results = core.jaxpr_as_fun(_in_loops(traced))(*jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), results)

    return call


def _in_loops(part: Any) -> Any:
    """A program, or a parameter of an operation, with loops in place of all batches."""
    if not _has_batches(part):
        return part
    if isinstance(part, core.ClosedJaxpr):
        return part.replace(jaxpr=_in_loops(part.jaxpr))
    if isinstance(part, core.Jaxpr):
        return part.replace(eqns=[_loop(eqn) if _is_batch(eqn) else _with_loops(eqn) for eqn in part.eqns])
    return type(part)(*map(_in_loops, part)) if hasattr(part, "_fields") else tuple(map(_in_loops, part))


def _with_loops(eqn: core.JaxprEqn) -> core.JaxprEqn:
    return eqn.replace(params={name: _in_loops(value) for name, value in eqn.params.items()})


def _loop(eqn: core.JaxprEqn) -> core.JaxprEqn:
    axes = _batch_axes(eqn)

    @jax.jit
    def loop(*operands: Array) -> PyTree:
        batch = operands[0].shape[:axes]
        flat = [operand.reshape(math.prod(batch), *operand.shape[axes:]) for operand in operands]
        results = jax.lax.map(lambda matrices: eqn.primitive.bind(*matrices, **eqn.params), flat)
        return jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), results)

    (call,) = jax.make_jaxpr(loop)(*[jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in _avals(eqn)]).jaxpr.eqns
    return call.replace(invars=eqn.invars, outvars=eqn.outvars)


def _has_batches(part: Any) -> bool:
    if isinstance(part, core.ClosedJaxpr):
        return _has_batches(part.jaxpr)
    if isinstance(part, core.Jaxpr):
        return any(_is_batch(eqn) or any(map(_has_batches, eqn.params.values())) for eqn in part.eqns)
    return isinstance(part, tuple) and any(map(_has_batches, part))


def _is_batch(eqn: core.JaxprEqn) -> bool:
    return eqn.primitive.name in LAPACK and _batch_axes(eqn) > 0


def _batch_axes(eqn: core.JaxprEqn) -> int:
    return max(aval.ndim for aval in _avals(eqn)) - 2


def _avals(eqn: core.JaxprEqn) -> list[Any]:
    return [atom.aval for atom in eqn.invars]
