"""L6: the gradient through a lifetime of learner steps is the derivative of what was computed.

The differentiated function is the sum of the losses and a fixed random projection of the final params. Its arguments
are a move of the initial params along one random direction of unit length, and a relative move of every coefficient.

The reference is the central difference of fourth order, (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h, in float64. Its
errors: truncation, h^4 f'''''/30, which at h = 1e-3 is 3e-14 f'''''; and rounding, at most 1.5 eps |f| k / h, which is
3e-13 |f| k, where k is the growth of rounding over the steps. Together they are 1e-13 to 6e-11 as measured on the
registry, with f about 7 (most for the rules that divide norms). The tolerance of 1e-9 (1 + |f|) is a hundred times
that, and a thousand times less than the smallest gradient that counts as alive: an error within it is below 1e-3 of a
gradient that is already tiny. Where learning is steep, truncation is larger: it is estimated with h / 2 in place of h,
and twice the change is added to the tolerance.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np

from plasticity_jax.testing.equality import is_floating, require
from plasticity_jax.testing.problem import Problem, compiled, seed
from plasticity_jax.typing import Array, Key, PyTree

H, TOLERANCE = 1e-3, 1e-9
ALIVE = 1e-5
"""Smallest size of a gradient that counts as one; the smallest of the registry is 1e-4."""

ROUGH = 1e-5
"""Relative uncertainty of a difference quotient above which it judges nothing."""


def meta_gradient_is_the_derivative(rule: Problem) -> None:
    """L6, from the rule's own traces; from traces of zero the gradient has to be finite."""
    value_and_gradient, no_moves = lifetime(rule)
    value, gradient = value_and_gradient(no_moves, 1.0)
    tolerance = TOLERANCE * (1 + abs(float(value)))
    for name in no_moves:
        points = {step: {**no_moves, name: step * H} for step in (-2, -1, -0.5, 0.5, 1, 2)}
        f = {step: float(value_and_gradient(moves, 1.0)[0]) for step, moves in points.items()}
        difference, finer = ((8 * (f[s] - f[-s]) - (f[2 * s] - f[-2 * s])) / (12 * s * H) for s in (1, 0.5))
        slope, doubt = float(gradient[name]), 2 * abs(difference - finer)
        require(
            doubt <= tolerance + ROUGH * abs(slope),
            f"by {name}, difference quotients do not settle ({difference:.6g}, {finer:.6g}): learning jumps, or is too "
            f"steep at a rate of {rule.rate:g}",
        )
        require(
            abs(slope - difference) <= tolerance + doubt,
            f"by {name}, the gradient is {slope:.12g}, the difference quotient {difference:.12g}",
        )
        require(
            abs(slope) > ALIVE,
            f"by {name}, there is no gradient ({slope:.1e}) in {rule.steps} steps; what has none is no coefficient",
        )
    _, gradient = value_and_gradient(no_moves, 0.0)
    for name, slope in gradient.items():
        require(np.isfinite(slope), f"from traces of zero, the gradient by {name} is {slope}")


def lifetime(rule: Problem) -> tuple[Callable[..., Any], dict[str, float]]:
    """``(moves, keep) -> (scalar, its gradient)``, and moves of 0: one for the params, one for each coefficient.

    keep scales the initial traces: 1 for the rule's own, 0 for traces that are all zero.
    """
    key = seed(60)
    params = rule.params(key)
    direction, projection = _unit_like(params, seed(61)), _unit_like(params, seed(62))

    def scalar(moves: Mapping[str, Array], keep: Array) -> Array:
        coefficients = {
            name: value + moves[name] * jnp.where(value == 0, 1, value) for name, value in rule.coefficients.items()
        }
        moved = jax.tree.map(lambda leaf, by: leaf if by is None else leaf + moves["params"] * by, params, direction)
        state = rule.learner(coefficients).init(moved, key, rule.batch())
        state = state._replace(traces=jax.tree.map(lambda leaf: (leaf * keep).astype(leaf.dtype), state.traces))
        end, infos = rule.trial(state, rule.batches(), coefficients)
        products = jax.tree.map(lambda leaf, by: 0.0 if by is None else jnp.sum(leaf * by), end.params, projection)
        return jnp.sum(infos.loss) + sum(jax.tree.leaves(products))

    return compiled(jax.value_and_grad(scalar)), {"params": 0.0, **dict.fromkeys(rule.coefficients, 0.0)}


def _unit_like(tree: PyTree, key: Key) -> PyTree:
    """A random direction of length one; None in place of leaves that are not floating."""
    moving = jax.tree.map(lambda leaf: leaf if is_floating(leaf) else None, tree)
    flat, unravel = jax.flatten_util.ravel_pytree(moving)
    move = jax.random.normal(key, flat.shape, flat.dtype)
    return unravel(move / jnp.linalg.norm(move))
