r"""Reverse KF-RTRL: the Kronecker factors of KF-RTRL with the roles of the two sides exchanged.

    A_gi^t = rho_0 A_gi^{t-1} + rho_1 nu_gi
    B^t    = J^t B^{t-1} / rho_0 + (sum_g nu_g b_g^t) rhat^t^T / rho_1        B: (S n) x m
    G_gij  = A_gi^t (c^t B^t)_j,   nu_gi = +-1, for each gate of each neuron, fresh at every step
    rho_0 = sqrt(|J B| / |A|),  rho_1 = sqrt(|sum_g nu_g b_g rhat^T| / |nu|)

Source: Marschall, Cho & Savin, "A unified framework" (2019); Table 1 of the paper. M_kij approximated by A_i B_kj.
Kind: unbiased at fixed weights.
Memory: G n + S n m. Time: 2 S^2 n^2 m for J B. Fails criterion iv (a matrix times a matrix). A synapse reads a factor
of its neuron and one of its input. A neuron's own parameters count as gates with the bias's presynaptic activity of 1.
Departures from the paper: nu_k (not nu_i, which is free there) and the factor alpha in B. A and B start at N(0, 1).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.cells.dynamics import NeuronsDynamics, need_neurons
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.ops.checks import check_scales
from plasticity_jax.ops.noise import Noise, check_noise, unit_noise
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
    """Attributes: a: (G + P, n), the postsynaptic factor A. b: (S n, m), the factor B."""

    a: Array
    b: Array


def reverse_kf_rtrl(
    cell: Neurons,
    *,
    rho0: Scalar | None = None,
    rho1: Scalar | None = None,
    noise: Noise = "rademacher",
    feedback: Feedback = "readout",
) -> LearningRule:
    """A Kronecker-factored unbiased estimate of RTRL's gradient, as noisy as UORO's.

    Args:
      cell: a network of neurons, of `plasticity_jax.cells`.
      rho0: positive; None balances the norms of the carried factors at each step (least variance).
      rho1: positive; None balances the norms of the new factors.
      noise: "rademacher" or "gaussian".
      feedback: "readout", "random" (the fixed ``w_fb``) or "adaptive" (``w_fb`` learns like ``w_out``).

    Returns:
      A stochastic rule over the cell's weights and ``w_out`` (n_out, n + 1).

    Raises:
      TypeError: if ``cell`` is not a cell of neurons.
      ValueError: if the noise or the feedback is not known, or a rho is not positive.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(reverse_kf_rtrl(cell), optax.sgd(0.02))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=200)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Marschall, Cho & Savin, "A unified framework of online learning algorithms", arXiv:1907.02649.
    """
    cell = need_neurons(cell, "reverse_kf_rtrl")
    check_noise(noise)
    check_scales(rho0=rho0, rho1=rho1)
    dynamics = NeuronsDynamics(cell)

    def init(key: Key, sizes: Sizes) -> ReverseKFRTRLTraces:
        key_a, key_b = jax.random.split(key)
        a = jax.random.normal(key_a, (sizes.gates + sizes.own, sizes.n), sizes.dtype)
        return ReverseKFRTRLTraces(a, jax.random.normal(key_b, (sizes.variables * sizes.n, sizes.m), sizes.dtype))

    def step(moment: Moment, traces: ReverseKFRTRLTraces, shared: tuple[()], key: Key) -> Credit:
        nu = unit_noise(key, traces.a.size, moment.s.dtype, noise).reshape(traces.a.shape)
        sums, gain, rhat = len(cell.gates), moment.local.gain, moment.local.rhat
        forward = moment.jacobian() @ traces.b
        post = jnp.sum(gain * nu[None, :sums], 1).reshape(-1)
        if cell.own:  # own parameters read the bias alone
            of_bias = jnp.sum(moment.local.own_gain * nu[None, sums:], 1).reshape(-1)
            new = (post[:, None] * rhat[None]).at[:, -1].add(of_bias)
            size = safe_norm(new)
        else:
            of_bias, size = None, safe_norm(post) * safe_norm(rhat)
        keep = balance(safe_norm(forward), safe_norm(traces.a)) if rho0 is None else rho0
        write = balance(size, safe_norm(nu)) if rho1 is None else rho1
        a = keep * traces.a + write * nu
        b = forward / keep + (post / write)[:, None] * rhat[None]
        b = b if of_bias is None else b.at[:, -1].add(of_bias / write)
        of_inputs = moment.credit.reshape(-1) @ b
        grad = dynamics.tree(a[:sums, :, None] * of_inputs[None, None], a[sums:] * of_inputs[-1])
        return Credit(grad, ReverseKFRTRLTraces(a, b))

    return online_rule(cell, init, step, feedback=feedback)
