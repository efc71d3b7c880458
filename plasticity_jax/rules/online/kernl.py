r"""KeRNL, kernel RNN learning: eligibility traces with learned time constants and a learned sensitivity matrix.

    B_ij^t   = kappa_i B_ij^{t-1} + alpha phi'(v_i^t) rhat_j^t,     kappa_i = max(0, 1 - alpha_i)
    G_ij     = (sum_k q_k^t A_ki) B_ij^t

A and alpha_i are fitted to the effect of small noise, zeta^t ~ N(0, sigma^2), on a second copy of the network:

    s^t      = F(s^{t-1} + zeta^{t-1}, x^t)                        the noisy copy, never resynchronised
    Gamma_i  <- kappa_i Gamma_i - Omega_i                          dOmega_i / dalpha_i
    Omega_i  <- kappa_i Omega_i + zeta_i^t                         filtered noise
    eps      = A Omega - (s^t + zeta^t - r^t)
    A        <- A - eta eps Omega^T,   alpha_i <- alpha_i - eta (eps A)_i Gamma_i

Source: Roth, Kanitscheider & Fiete (2019); Marschall, Cho & Savin (2019), Table 1, whose recursions for Omega, Gamma
and alpha_i are left out of the print. M_kij approximated by A_ki B_ij. Kind: approximate; with A = I, alpha_i = alpha
and eta = 0 it is RFLO, which is exact at W_rec = 0.
Memory: n^2 + n m. Time: O(n m). Fails criterion vi (a noisy copy of the network).
Departures: the immediate influence has the network's alpha (the print has alpha_i); the newest noise, which is in
Omega, is also in the perturbation that Omega is to explain. The authors' code adds it one step late
(``aligned=False``), and its A converges to (1 - kappa^2) sum_{s>=1} (kappa J)^s instead of
(1 - kappa^2) (I - kappa J)^{-1} at constant J.
"""

from typing import NamedTuple

import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.networks import leaky_rnn
from plasticity_jax.networks.leaky_rnn import LeakyRNN
from plasticity_jax.ops.noise import stored_noise
from plasticity_jax.rules.online.common import (
    Credit,
    Feedback,
    Moment,
    Plausibility,
    Sizes,
    mean_over_streams,
    online_rule,
)
from plasticity_jax.typing import Array, Key, Params, Scalar

PLAUSIBILITY = Plausibility(
    tensor="A_ki B_ij",
    facing="past",
    stochastic=True,
    solved="numerical",
    fails={"vi": "the perturbation is measured against a second, noisy copy of the network"},
)


class KeRNLTraces(NamedTuple):
    """One stream's traces.

    Attributes:
      eligibility: (n, m), B_ij.
      noisy_r: (n,), rates of the noisy copy.
      zeta: (n,), the last noise.
      omega: (n,), filtered noise.
      gamma: (n,), its derivative with respect to alpha_i.
    """

    eligibility: Array
    noisy_r: Array
    zeta: Array
    omega: Array
    gamma: Array


class KeRNLShared(NamedTuple):
    """What is learned beside the weights, common to all streams.

    Attributes:
      a: (n, n), sensitivities A_ki.
      leak: (n,), alpha_i, the traces' forgetting rates per step.
    """

    a: Array
    leak: Array


def kernl(
    net: LeakyRNN,
    *,
    learning_rate: Scalar = 5.0,
    sigma: Scalar = 1e-3,
    initial_leak: Scalar = 0.8,
    aligned: bool | Array = True,
    feedback: Feedback = "readout",
) -> LearningRule:
    """Eligibility traces whose kernel is learned from perturbations.

    Args:
      net: the network.
      learning_rate: eta, of A and alpha_i; the rate at which A moves is eta sigma^2 per step.
      sigma: standard deviation of the noise on the copy's rates.
      initial_leak: alpha_i at the start, in (0, 1].
      aligned: False reproduces the authors' delay of one step between noise and effect (legacy).
      feedback: "readout" or "random" (the fixed ``w_fb``).

    Returns:
      A stochastic rule over ``w`` (n, m) and ``w_out`` (n_out, n + 1).

    Raises:
      ValueError: if the feedback is not known.

    Example:
      >>> from plasticity_jax.networks.leaky_rnn import leaky_rnn
      >>> rflo_again = kernl(leaky_rnn(alpha=0.5), learning_rate=0.0, initial_leak=0.5)

    Reference:
      Roth, Kanitscheider & Fiete, "Kernel RNN learning (KeRNL)", ICLR 2019.
    """

    def init(key: Key, sizes: Sizes) -> KeRNLTraces:
        rest = jnp.zeros((sizes.n,), sizes.dtype)
        return KeRNLTraces(jnp.zeros((sizes.n, sizes.m), sizes.dtype), rest, rest, rest, rest)

    def init_shared(key: Key, sizes: Sizes, params: Params) -> KeRNLShared:
        leak = jnp.full((sizes.n,), initial_leak, sizes.dtype)
        return KeRNLShared(jnp.eye(sizes.n, dtype=sizes.dtype), leak)

    def step(moment: Moment, traces: KeRNLTraces, shared: KeRNLShared, key: Key) -> Credit:
        kappa = jnp.maximum(0, 1 - shared.leak)
        noisy_r = leaky_rnn.advance(moment.net, moment.w, traces.noisy_r + traces.zeta, moment.x).r
        zeta = sigma * stored_noise(key, moment.r.size, moment.r.dtype, "gaussian")
        gamma = kappa * traces.gamma - traces.omega
        omega = kappa * traces.omega + zeta
        eligibility = kappa[:, None] * traces.eligibility + moment.immediate[:, None] * moment.rhat

        effect = noisy_r + jnp.where(aligned, zeta, 0) - moment.r
        error = shared.a @ omega - effect
        a = shared.a - learning_rate * mean_over_streams(error[:, None] * omega)
        leak = shared.leak - learning_rate * mean_over_streams((error @ shared.a) * gamma)

        grad = (moment.credit @ a)[:, None] * eligibility
        return Credit(grad, KeRNLTraces(eligibility, noisy_r, zeta, omega, gamma), KeRNLShared(a, leak))

    return online_rule(net, init, step, init_shared=init_shared, feedback=feedback)
