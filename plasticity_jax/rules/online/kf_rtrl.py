r"""KF-RTRL, Kronecker-factored real-time recurrent learning.

    A_j^t  = nu_0 rho_0 A_j^{t-1} + nu_1 rho_1 rhat_j^t
    B_ki^t = nu_0 sum_l J_kl^t B_li^{t-1} / rho_0 + nu_1 delta_ki alpha phi'(v_i^t) / rho_1
    G_ij   = (sum_k q_k^t B_ki^t) A_j^t,   nu_0, nu_1 = +-1, two fresh scalars at every step

    rho_0 = sqrt(|J B| / |A|),  rho_1 = sqrt(|alpha phi'| / |rhat|)

Source: Mujika, Meier & Steger (2018); Marschall, Cho & Savin (2019), Table 1. M_kij approximated by A_j B_ki. Kind:
unbiased at fixed weights.
Memory: m + n^2. Time: 2 n^3 for J B. Fails criterion iv (a matrix times a matrix).
Departures from the print: A is indexed by the presynaptic j in R^m, and nu_0, nu_1, which it leaves undefined, are
fresh scalars. A and B start at N(0, 1).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.networks import leaky_rnn
from plasticity_jax.networks.leaky_rnn import LeakyRNN
from plasticity_jax.ops.noise import check_noise, unit_noise
from plasticity_jax.ops.norms import balance, safe_norm
from plasticity_jax.rules.online.common import Credit, Feedback, Moment, Plausibility, Sizes, online_rule
from plasticity_jax.typing import Array, Key, Scalar

PLAUSIBILITY = Plausibility(
    tensor="A_j B_ki",
    facing="past",
    stochastic=True,
    solved="closed form",
    fails={"iv": "J B is a matrix-matrix product", "ii": "J^t is not available to synapses"},
)


class KFRTRLTraces(NamedTuple):
    """Attributes: a: (m,), the presynaptic factor A_j. b: (n, n), the factor B_ki."""

    a: Array
    b: Array


def kf_rtrl(
    net: LeakyRNN,
    *,
    rho0: Scalar | None = None,
    rho1: Scalar | None = None,
    noise: str = "rademacher",
    feedback: Feedback = "readout",
    immediate_gain: Scalar | None = None,
) -> LearningRule:
    """A Kronecker-factored unbiased estimate of RTRL's gradient, with the least variance of the three.

    Args:
      net: the network.
      rho0: positive; None balances the norms of the carried factors at each step (least variance).
      rho1: positive; None balances the norms of the new factors.
      noise: "rademacher", or "gaussian", which is unbiased too but multiplies the carried estimate by nu_0^2 at every
        step: its variance grows without bound over time.
      feedback: "readout" or "random" (the fixed ``w_fb``).
      immediate_gain: factor of phi' in the immediate influence; None is alpha, 1 the authors' 2019 code.

    Returns:
      A stochastic rule over ``w`` (n, m) and ``w_out`` (n_out, n + 1).

    Raises:
      ValueError: if the noise or the feedback is not known.

    Example:
      >>> from plasticity_jax.networks.leaky_rnn import leaky_rnn
      >>> rule = kf_rtrl(leaky_rnn(alpha=0.5))

    Reference:
      Mujika, Meier & Steger, "Approximating real-time recurrent learning with random Kronecker factors", 2018.
    """
    check_noise(noise)

    def init(key: Key, sizes: Sizes) -> KFRTRLTraces:
        key_a, key_b = jax.random.split(key)
        a = jax.random.normal(key_a, (sizes.m,), sizes.dtype)
        return KFRTRLTraces(a, jax.random.normal(key_b, (sizes.n, sizes.n), sizes.dtype))

    def step(moment: Moment, traces: KFRTRLTraces, shared: tuple[()], key: Key) -> Credit:
        nu = unit_noise(key, 2, moment.r.dtype, noise)
        forward = leaky_rnn.jacobian(moment.net, moment.w, moment.slope) @ traces.b
        keep = balance(safe_norm(forward), safe_norm(traces.a)) if rho0 is None else rho0
        write = balance(safe_norm(moment.immediate), safe_norm(moment.rhat)) if rho1 is None else rho1
        a = (nu[0] * keep) * traces.a + (nu[1] * write) * moment.rhat
        b = (nu[0] / keep) * forward + jnp.eye(moment.r.size, dtype=a.dtype) * (nu[1] / write * moment.immediate)
        return Credit((moment.credit @ b)[:, None] * a, KFRTRLTraces(a, b))

    return online_rule(net, init, step, feedback=feedback, immediate_gain=immediate_gain)
