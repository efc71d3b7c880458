r"""UORO, unbiased online recurrent optimisation: a rank-one random estimate of the influence tensor.

    A_k^t  = rho_0 sum_l J_kl^t A_l^{t-1} + rho_1 nu_k
    B_ij^t = B_ij^{t-1} / rho_0 + nu_i alpha phi'(v_i^t) rhat_j^t / rho_1
    G_ij   = (sum_k q_k^t A_k^t) B_ij^t,   nu_k = +-1, fresh at every step

    rho_0 = sqrt(|B| / |J A|),  rho_1 = sqrt(|nu alpha phi' rhat^T| / |nu|)

Source: Tallec & Ollivier (2017); Marschall, Cho & Savin (2019), Table 1. M_kij approximated by A_k B_ij. Kind: unbiased
at fixed weights for every rho > 0; these rho minimise the variance.
Memory: n + n m. Time: O(n m). Fails criterion ii: with 1/rho in one of the two updates, not both can be continuous.
Departures from the print: the factor alpha in B; rho recomputed at each step, positive rather than above 1.
A and B start at N(0, 1), independent, which avoids 0/0 and adds no bias.
"""

from typing import NamedTuple

import jax

from plasticity_jax.base import LearningRule
from plasticity_jax.networks import leaky_rnn
from plasticity_jax.networks.leaky_rnn import LeakyRNN
from plasticity_jax.ops.noise import check_noise, unit_noise
from plasticity_jax.ops.norms import balance, safe_norm
from plasticity_jax.rules.online.common import Credit, Feedback, Moment, Plausibility, Sizes, online_rule
from plasticity_jax.typing import Array, Key, Scalar

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
    """Attributes: a: (n,), the network-side factor A_k. b: (n, m), the synapse-side factor B_ij."""

    a: Array
    b: Array


def uoro(
    net: LeakyRNN,
    *,
    rho0: Scalar | None = None,
    rho1: Scalar | None = None,
    noise: str = "rademacher",
    feedback: Feedback = "readout",
    immediate_gain: Scalar | None = None,
) -> LearningRule:
    """A rank-one unbiased estimate of RTRL's gradient.

    Args:
      net: the network.
      rho0: positive; None balances the norms of the carried factors at each step (least variance).
      rho1: positive; None balances the norms of the new factors.
      noise: "rademacher" or "gaussian".
      feedback: "readout" or "random" (the fixed ``w_fb``).
      immediate_gain: factor of phi' in the immediate influence; None is alpha, 1 the authors' 2019 code.

    Returns:
      A stochastic rule over ``w`` (n, m) and ``w_out`` (n_out, n + 1).

    Raises:
      ValueError: if the noise or the feedback is not known.

    Example:
      >>> from plasticity_jax.networks.leaky_rnn import leaky_rnn
      >>> rule = uoro(leaky_rnn(alpha=0.5), noise="gaussian")

    Reference:
      Tallec & Ollivier, "Unbiased online recurrent optimization", arXiv:1702.05043.
    """
    check_noise(noise)

    def init(key: Key, sizes: Sizes) -> UOROTraces:
        key_a, key_b = jax.random.split(key)
        a = jax.random.normal(key_a, (sizes.n,), sizes.dtype)
        return UOROTraces(a, jax.random.normal(key_b, (sizes.n, sizes.m), sizes.dtype))

    def step(moment: Moment, traces: UOROTraces, shared: tuple[()], key: Key) -> Credit:
        nu = unit_noise(key, moment.r.size, moment.r.dtype, noise)
        forward = leaky_rnn.jacobian_vector(moment.net, moment.w, moment.slope, traces.a)
        post = nu * moment.immediate
        keep = balance(safe_norm(traces.b), safe_norm(forward)) if rho0 is None else rho0
        write = balance(safe_norm(post) * safe_norm(moment.rhat), safe_norm(nu)) if rho1 is None else rho1
        a = keep * forward + write * nu
        b = traces.b / keep + (post / write)[:, None] * moment.rhat
        return Credit((moment.credit @ a) * b, UOROTraces(a, b))

    return online_rule(net, init, step, feedback=feedback, immediate_gain=immediate_gain)
