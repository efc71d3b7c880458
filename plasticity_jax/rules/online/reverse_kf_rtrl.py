r"""Reverse KF-RTRL: the Kronecker factors of KF-RTRL with the roles of the two sides exchanged.

    A_i^t  = rho_0 A_i^{t-1} + rho_1 nu_i
    B_kj^t = sum_l J_kl^t B_lj^{t-1} / rho_0 + nu_k alpha phi'(v_k^t) rhat_j^t / rho_1
    G_ij   = A_i^t sum_k q_k^t B_kj^t,   nu_i = +-1, fresh at every step

    rho_0 = sqrt(|J B| / |A|),  rho_1 = sqrt(|nu alpha phi' rhat^T| / |nu|)

Source: Marschall, Cho & Savin, "A unified framework" (2019); Table 1 of the paper. M_kij approximated by A_i B_kj.
Kind: unbiased at fixed weights.
Memory: n + n m. Time: 2 n^2 m for J B. Fails criterion iv (a matrix times a matrix).
Departures from the print: nu_k (not nu_i, which is free there) and the factor alpha in B. A and B start at N(0, 1).
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
    tensor="A_i B_kj",
    facing="past",
    stochastic=True,
    solved="closed form",
    fails={"iv": "J B is a matrix-matrix product", "ii": "J^t is not available to synapses"},
)


class ReverseKFRTRLTraces(NamedTuple):
    """Attributes: a: (n,), the postsynaptic factor A_i. b: (n, m), the factor B_kj."""

    a: Array
    b: Array


def reverse_kf_rtrl(
    net: LeakyRNN,
    *,
    rho0: Scalar | None = None,
    rho1: Scalar | None = None,
    noise: str = "rademacher",
    feedback: Feedback = "readout",
    immediate_gain: Scalar | None = None,
) -> LearningRule:
    """A Kronecker-factored unbiased estimate of RTRL's gradient, as noisy as UORO's.

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
      >>> rule = reverse_kf_rtrl(leaky_rnn(alpha=0.5))

    Reference:
      Marschall, Cho & Savin, "A unified framework of online learning algorithms", arXiv:1907.02649.
    """
    check_noise(noise)

    def init(key: Key, sizes: Sizes) -> ReverseKFRTRLTraces:
        key_a, key_b = jax.random.split(key)
        a = jax.random.normal(key_a, (sizes.n,), sizes.dtype)
        return ReverseKFRTRLTraces(a, jax.random.normal(key_b, (sizes.n, sizes.m), sizes.dtype))

    def step(moment: Moment, traces: ReverseKFRTRLTraces, shared: tuple[()], key: Key) -> Credit:
        nu = unit_noise(key, moment.r.size, moment.r.dtype, noise)
        forward = leaky_rnn.jacobian(moment.net, moment.w, moment.slope) @ traces.b
        post = nu * moment.immediate
        keep = balance(safe_norm(forward), safe_norm(traces.a)) if rho0 is None else rho0
        write = balance(safe_norm(post) * safe_norm(moment.rhat), safe_norm(nu)) if rho1 is None else rho1
        a = keep * traces.a + write * nu
        b = forward / keep + (post / write)[:, None] * moment.rhat
        return Credit(a[:, None] * (moment.credit @ b), ReverseKFRTRLTraces(a, b))

    return online_rule(net, init, step, feedback=feedback, immediate_gain=immediate_gain)
