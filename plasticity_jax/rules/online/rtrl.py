r"""RTRL, real-time recurrent learning: carries the exact influence of every weight on every rate.

    M_kij^t = sum_l J_kl^t M_lij^{t-1} + delta_ki alpha phi'(v_i^t) rhat_j^t
    G_ij    = sum_k q_k^t M_kij^t

Source: Williams & Zipser (1989); Marschall, Cho & Savin (2019), eq. 2. Kind: exact at fixed weights; under learning,
M mixes the Jacobians of the weights along the way.
Memory: n^2 m. Time: one (n m x n)(n x n) product, 2 n^3 m operations, and nothing else of that size: the immediate
influence is added to its diagonal blocks alone. Fails criterion iv and the n^2 bound on memory.
Layout: influence[i, j, k] = dr_k / dW_ij, so that the product and the contraction with q both run along the last axis.
"""

from typing import NamedTuple

import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.networks import leaky_rnn
from plasticity_jax.networks.leaky_rnn import LeakyRNN
from plasticity_jax.rules.online.common import Credit, Feedback, Moment, Plausibility, Sizes, online_rule
from plasticity_jax.typing import Array, Key, Scalar

PLAUSIBILITY = Plausibility(
    tensor="M_kij",
    facing="past",
    stochastic=False,
    solved="closed form",
    fails={
        "memory": "n^2 m numbers, and no biological structure stores them",
        "iv": "J M is a product of a matrix and an order-3 tensor",
        "ii": "needs the Jacobian J^t, which synapses cannot follow instantly",
    },
)


class RTRLTraces(NamedTuple):
    """Attributes: influence: (n, m, n), influence[i, j, k] = dr_k / dW_ij."""

    influence: Array


def rtrl(
    net: LeakyRNN,
    *,
    decay: Scalar = 1.0,
    feedback: Feedback = "readout",
    immediate_gain: Scalar | None = None,
) -> LearningRule:
    """The exact online gradient.

    Args:
      net: the network.
      decay: factor on the carried influence at each step, in [0, 1]; 1 is exact. Can be meta-learned.
      feedback: "readout" (exact) or "random" (the fixed ``w_fb``).
      immediate_gain: factor of phi' in the immediate influence; None is alpha. Legacy: 1 reproduces the authors' 2019
        code, whose recurrent step was 1/alpha too large.

    Returns:
      A rule over ``w`` (n, m) and ``w_out`` (n_out, n + 1).

    Raises:
      ValueError: if the feedback is not known.

    Example:
      >>> from plasticity_jax.networks.leaky_rnn import leaky_rnn
      >>> rule = rtrl(leaky_rnn(alpha=0.5))

    Reference:
      Williams & Zipser, "A learning algorithm for continually running fully recurrent neural networks", 1989.
    """

    def init(key: Key, sizes: Sizes) -> RTRLTraces:
        return RTRLTraces(jnp.zeros((sizes.n, sizes.m, sizes.n), sizes.dtype))

    def step(moment: Moment, traces: RTRLTraces, shared: tuple[()], key: Key) -> Credit:
        i = jnp.arange(moment.r.size)
        j = decay * leaky_rnn.jacobian(moment.net, moment.w, moment.slope)
        carried = jnp.einsum("ijl,kl->ijk", traces.influence, j)
        influence = carried.at[i, :, i].add(moment.immediate[:, None] * moment.rhat)
        return Credit(influence @ moment.credit, RTRLTraces(influence))

    return online_rule(net, init, step, feedback=feedback, immediate_gain=immediate_gain)
