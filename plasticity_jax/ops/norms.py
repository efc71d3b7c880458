"""Norms and ratios that stay differentiable where they vanish."""

import jax
import jax.numpy as jnp

from plasticity_jax.typing import Array, PyTree, Scalar

GUARD = 1e-7
"""Added to both sides of a ratio of norms; far below any trace that carries information."""


def safe_norm(x: Array) -> Array:
    """Euclidean (Frobenius) norm with gradient 0, not NaN, at x = 0.

    Args:
      x: any shape.

    Returns:
      Shape ().

    Example:
      >>> import jax, jax.numpy as jnp
      >>> jax.grad(safe_norm)(jnp.zeros(3)).tolist()
      [0.0, 0.0, 0.0]
    """
    squares = jnp.sum(x * x)
    positive = squares > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squares, 1)), 0)


def tree_norm(tree: PyTree) -> Array:
    """Euclidean norm of all leaves end to end, with gradient 0 at 0; shape ()."""
    leaves = jax.tree.leaves(tree)
    return safe_norm(leaves[0]) if len(leaves) == 1 else safe_norm(jnp.stack([safe_norm(leaf) for leaf in leaves]))


def cosine(x: Array, y: Array) -> Array:
    """Cosine of the angle between two arrays taken as vectors; 0 if either vanishes.

    Args:
      x: any shape.
      y: same shape.

    Returns:
      Shape (), in [-1, 1].
    """
    scale = safe_norm(x) * safe_norm(y)
    positive = scale > 0
    return jnp.where(positive, jnp.sum(x * y) / jnp.where(positive, scale, 1), 0)


def balance(numerator: Scalar, denominator: Scalar) -> Array:
    """sqrt(numerator / denominator) of two norms, guarded against 0 / 0.

    The rho of the stochastic rules: with rho = sqrt(|B| / |A|) the factors rho A and B / rho have equal norms, which
    minimises the variance of their product's estimate among all rho > 0. Every rho > 0 leaves it unbiased, so the
    guard costs no correctness.

    Args:
      numerator: a norm, shape ().
      denominator: a norm, shape ().

    Returns:
      Shape (), positive.
    """
    return jnp.sqrt((numerator + GUARD) / (denominator + GUARD))
