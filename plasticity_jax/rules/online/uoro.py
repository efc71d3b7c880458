r"""UORO, unbiased online recurrent optimisation: a rank-one random estimate of the influence tensor.

    A^t  = rho_0 J^t A^{t-1} + rho_1 nu
    B^t  = B^{t-1} / rho_0 + (nu ds^t/dW) / rho_1              immediate influence only; a tree like the weights
    G    = (c^t . A^t) B^t,   nu = +-1 for each number of the state, fresh at every step
    rho_0 = sqrt(|B| / |J A|),  rho_1 = sqrt(|nu ds/dW| / |nu|)

On neurons nu ds/dW = (sum_a nu_a b_ag) rhat^T; on the leaky network nu_i alpha phi'(v_i) rhat_j.

Source: Tallec & Ollivier (2017); Marschall, Cho & Savin (2019), Table 1. M_kij approximated by A_k B_ij. Kind: unbiased
at fixed weights for every rho > 0; these rho minimise the variance.
Memory: S n + G n m. Time: O(G n m). Any cell. Fails criterion ii: with 1/rho in one of the two updates, A and B cannot
both be continuous; a synapse reads the global products c . A and the norms of A and B.
Departures from the paper: the factor alpha in B; rho recomputed at each step, positive rather than above 1.
A and B start at N(0, 1), independent, which avoids 0/0 and adds no bias.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.cells.dynamics import AnyCell, dynamics
from plasticity_jax.ops.checks import check_scales
from plasticity_jax.ops.noise import Noise, check_noise, normal_like, unit_noise
from plasticity_jax.ops.norms import balance, safe_norm, tree_norm
from plasticity_jax.rules.online.common import (
    Credit,
    Feedback,
    Moment,
    Plausibility,
    Sizes,
    online_rule,
)
from plasticity_jax.typing import Array, Key, PyTree, Scalar

PLAUSIBILITY = Plausibility(
    tensor="A_k B_ij",
    facing="past",
    stochastic=True,
    solved="closed form",
    fails={
        "ii": "B is a matrix, and with 1/rho_0 and 1/rho_1 in its update not both A and B can change continuously; "
        "J^t is not available to synapses",
    },
)


class UOROTraces(NamedTuple):
    """Attributes: a: (S, n), the network-side factor A. b: the synapse-side factor B, a tree like the weights."""

    a: Array
    b: PyTree


def uoro(
    cell: AnyCell,
    *,
    rho0: Scalar | None = None,
    rho1: Scalar | None = None,
    noise: Noise = "rademacher",
    feedback: Feedback = "readout",
) -> LearningRule:
    """A rank-one unbiased estimate of RTRL's gradient.

    Args:
      cell: the network, of `plasticity_jax.cells`, of either tier.
      rho0: positive; None balances the norms of the carried factors at each step (least variance).
      rho1: positive; None balances the norms of the new factors.
      noise: "rademacher" or "gaussian".
      feedback: "readout", "random" (the fixed ``w_fb``) or "adaptive" (``w_fb`` learns like ``w_out``).

    Returns:
      A stochastic rule over the cell's weights and ``w_out`` (n_out, n + 1).

    Raises:
      TypeError: if ``cell`` is not a cell.
      ValueError: if the noise or the feedback is not known, or a rho is not positive.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(uoro(cell, noise="gaussian"), optax.sgd(0.02))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=200)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Tallec & Ollivier, "Unbiased online recurrent optimization", arXiv:1702.05043.
    """
    check_noise(noise)
    check_scales(rho0=rho0, rho1=rho1)
    shape = dynamics(cell).state_shape

    def init(key: Key, sizes: Sizes) -> UOROTraces:
        key_a, key_b = jax.random.split(key)
        return UOROTraces(jax.random.normal(key_a, shape, sizes.dtype), normal_like(key_b, sizes.weights))

    def step(moment: Moment, traces: UOROTraces, shared: tuple[()], key: Key) -> Credit:
        nu = unit_noise(key, moment.s.size, moment.s.dtype, noise).reshape(shape)
        forward = moment.push(traces.a)
        keep = balance(tree_norm(traces.b), safe_norm(forward)) if rho0 is None else rho0
        write = balance(moment.weigh_norm(nu), safe_norm(nu)) if rho1 is None else rho1
        a = keep * forward + write * nu
        b = jax.tree.map(lambda old, new: old / keep + new, traces.b, moment.weigh(nu, write))
        along = jnp.sum(moment.credit * a)
        return Credit(jax.tree.map(lambda leaf: along * leaf, b), UOROTraces(a, b))

    return online_rule(cell, init, step, feedback=feedback)
