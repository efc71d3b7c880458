r"""Distances of feedback from weight transport: errors and signs of matrices, angles between credits.

    relative error   |W - B| / |W|                            0 if B = W
    sign congruence  mean of (sign W sign B + 1) / 2          1/2 by chance
    local angle      between e~ B and e~ W                    of the matrix alone, for the error that it receives
    true angle       between e~ B and dL/dh                   of all the feedback above

A local angle can be small where the true angle is not, as in feedback alignment. Angles are means over the batch, and
are not folded: 90 degrees is chance, more is the wrong direction.
Source: Lansdell, Prakash & Kording (2020), figure 2, whose angles are local, folded, and of one example.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.layers.chain import Chain, Pathway, others_than_dense
from plasticity_jax.layers.passes import credit_through, forward, unweighted
from plasticity_jax.ops.lane_by_lane import lane_by_lane
from plasticity_jax.ops.norms import cosine, safe_norm
from plasticity_jax.rules.feedback.common import carry_back, entered
from plasticity_jax.rules.feedback.node_perturbation import NodePerturbationTraces
from plasticity_jax.typing import Array, Example, Params, PyTree


class Alignment(NamedTuple):
    """One number for each hidden layer, from the lowest; shape (L - 1,).

    Attributes:
      relative_error: |W - B| / |W|, 0 if B = W.
      sign_congruence: fraction of the entries of W and B with equal signs, in [0, 1]; 1/2 by chance.
      local_angle: between e~ B and e~ W, of the feedback weights alone, for the error that they receive; degrees.
      true_angle: between e~ B and dL/dh, of all the feedback above; degrees. 90 is chance, more the wrong direction.
    """

    relative_error: Array
    sign_congruence: Array
    local_angle: Array
    true_angle: Array


def relative_error(w: Array, b: Array) -> Array:
    """|w - b| / |w| in Frobenius norms, shape ()."""
    w, b = _flat(w), _flat(b)
    return safe_norm(w - b) / safe_norm(w)


def sign_congruence(w: Array, b: Array) -> Array:
    """Fraction of entries with equal signs, shape (); a zero counts one half."""
    return jnp.mean((jnp.sign(_flat(w)) * jnp.sign(_flat(b)) + 1) / 2)


def angle(a: Array, b: Array) -> Array:
    """Angle between the rows of two arrays, mean over them.

    Args:
      a: (..., n).
      b: same shape.

    Returns:
      Shape (), degrees in [0, 180]; a row of zeros counts 90.

    Example:
      >>> import jax.numpy as jnp
      >>> float(angle(jnp.array([[1.0, 0.0], [0.0, 0.0]]), jnp.array([[-1.0, 0.0], [0.0, 1.0]])))
      135.0
    """
    cosines = jax.vmap(cosine)(a.reshape(-1, a.shape[-1]), b.reshape(-1, b.shape[-1]))
    return jnp.mean(jnp.degrees(jnp.arccos(jnp.clip(cosines, -1, 1))))


def alignment(
    net: Chain, params: Params, batch: Example, pathway: Pathway = "chain", back: Sequence[Array] | None = None
) -> Alignment:
    """Alignment of feedback with weight transport, on a batch.

    Args:
      net: the network.
      params: its weights.
      batch: any number of examples.
      pathway: "chain", where each matrix is compared with the weights of its layer, or "direct", where it is compared
        with the product of all weights above (the exact feedback to the layer in a linear network). If a layer above
        the first is not dense, there is no such matrix, and all but the true angle are NaN.
      back: L - 1 weights that carry errors back; None: ``params["feedback"]["w_fb"]``. Needed for a rule that does not
        read that group, such as sign symmetry: ``[jnp.sign(w) for w in params["forward"]["w"][1:]]``.

    Returns:
      The `Alignment` of every hidden layer.

    Example:
      >>> import jax, jax.numpy as jnp, plasticity_jax as pj
      >>> net = pj.networks.mlp((3, 20, 20, 1), ("tanh", "tanh", "identity"))
      >>> params = pj.layers.init_params(jax.random.key(0), net)
      >>> batch = pj.Example(jax.random.normal(jax.random.key(1), (50, 3)), jnp.ones((50, 1)))
      >>> pj.diagnostics.alignment(net, params, batch, back=params["forward"]["w"][1:]).relative_error.tolist()
      [0.0, 0.0]
    """
    batch = entered(net, params, batch, pathway if back is None else None)
    matrices: Sequence[Array] = params["feedback"]["w_fb"] if back is None else back
    transported = list(params["forward"]["w"][1:])
    activity = forward(net, params["forward"], batch.x)
    error = activity.pull[-1](unweighted(net, activity.h[-1], batch.y, batch.weight)[1])
    carried = carry_back(net, activity, error, matrices, pathway)
    exact = carry_back(net, activity, error, transported)
    layers = range(len(transported))
    if pathway == "direct":
        if others_than_dense(net):
            unknown = jnp.full((len(transported),), jnp.nan, error.dtype)
            true = [angle(_rows(carried.credit[i]), _rows(exact.credit[i])) for i in layers]
            return Alignment(unknown, unknown, unknown, jnp.stack(true))
        for i in reversed(range(len(transported) - 1)):
            transported[i] = transported[i + 1] @ transported[i]
        wanted = [carried.source[i] @ transported[i] for i in layers]
    else:
        wanted = [credit_through(net, i + 1, transported[i], activity, carried.source[i]) for i in layers]
    credit, wanted, true = ([_rows(c) for c in each] for each in (carried.credit, wanted, exact.credit))
    return Alignment(
        jnp.stack([relative_error(transported[i], matrices[i]) for i in layers]),
        jnp.stack([sign_congruence(transported[i], matrices[i]) for i in layers]),
        jnp.stack([angle(credit[i], wanted[i]) for i in layers]),
        jnp.stack([angle(credit[i], true[i]) for i in layers]),
    )


def _flat(weights: PyTree) -> Array:
    """All entries of a weight as one vector."""
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(weights)])


def _rows(credit: Array) -> Array:
    """One row for each example."""
    return credit.reshape(len(credit), -1)


def feedback_rank(traces: NodePerturbationTraces, tolerance: float = 1e-6) -> Array:
    """Number of directions taken by the errors on which B is regressed (assumption A3 requires all).

    Args:
      traces: of `node_perturbation` with estimator "ridge" or "offline".
      tolerance: an eigenvalue of V counts if it is above this fraction of the largest.

    Returns:
      Shape (number of V,), int32: one rank for each layer in a chain, from the second; one if direct or offline.
    """
    ranks = []
    for v in traces.second:
        values = lane_by_lane(jnp.linalg.eigvalsh)(v.total)
        ranks.append(jnp.sum((values > tolerance * values[-1]) & (values > 0)))
    return jnp.stack(ranks).astype(jnp.int32)
