r"""KF-RTRL, Kronecker-factored real-time recurrent learning.

    A_j^t  = nu_0 rho_0 A_j^{t-1} + nu_1 rho_1 rhat_j^t
    B^t    = nu_0 J^t B^{t-1} / rho_0 + nu_1 b^t / rho_1         B: (S n) x (G n), b the immediate influence of v on s
    G_gij  = (c^t B^t)_gi A_j^t,   nu_0, nu_1 = +-1, two fresh scalars at every step
    rho_0 = sqrt(|J B| / |A|),  rho_1 = sqrt(|b| / |rhat|)

Source: Mujika, Meier & Steger (2018); Marschall, Cho & Savin (2019), Table 1. M_kij approximated by A_j B_ki. Kind:
unbiased at fixed weights.
Memory: m + S G n^2. Time: 2 S^2 G n^3 for J B. Fails criterion iv (a matrix times a matrix). A synapse reads a factor
of its own and one of its neuron. A neuron's own parameters count as gates with the bias's presynaptic activity of 1.
Departures from the paper: A is indexed by the presynaptic j in R^m, and nu_0, nu_1, which it leaves undefined, are
fresh scalars. A and B start at N(0, 1).
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
    tensor="A_j B_ki",
    facing="past",
    stochastic=True,
    solved="closed form",
    fails={"iv": "J B is a matrix-matrix product", "ii": "J^t is not available to synapses"},
)


class KFRTRLTraces(NamedTuple):
    """Attributes: a: (m,), the presynaptic factor A_j. b: (S n, (G + P) n), the factor B."""

    a: Array
    b: Array


def kf_rtrl(
    cell: Neurons,
    *,
    rho0: Scalar | None = None,
    rho1: Scalar | None = None,
    noise: Noise = "rademacher",
    feedback: Feedback = "readout",
) -> LearningRule:
    """A Kronecker-factored unbiased estimate of RTRL's gradient, with less variance than UORO and reverse KF-RTRL.

    Args:
      cell: a network of neurons, of `plasticity_jax.cells`.
      rho0: positive; None balances the norms of the carried factors at each step (least variance).
      rho1: positive; None balances the norms of the new factors.
      noise: "rademacher", or "gaussian", which is unbiased too but multiplies the carried estimate by nu_0^2 at every
        step: its variance grows without bound over time.
      feedback: "readout", "random" (the fixed ``w_fb``) or "adaptive" (``w_fb`` learns like ``w_out``).

    Returns:
      A stochastic rule over the cell's weights and ``w_out`` (n_out, n + 1).

    Raises:
      TypeError: if ``cell`` is not a cell of neurons.
      ValueError: if the noise or the feedback is not known, or a rho is not positive.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(kf_rtrl(cell), optax.sgd(0.02))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=200)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Mujika, Meier & Steger, "Approximating real-time recurrent learning with random Kronecker factors", 2018.
    """
    cell = need_neurons(cell, "kf_rtrl")
    check_noise(noise)
    check_scales(rho0=rho0, rho1=rho1)
    dynamics = NeuronsDynamics(cell)

    def init(key: Key, sizes: Sizes) -> KFRTRLTraces:
        key_a, key_b = jax.random.split(key)
        a = jax.random.normal(key_a, (sizes.m,), sizes.dtype)
        shape = (sizes.variables * sizes.n, (sizes.gates + sizes.own) * sizes.n)
        return KFRTRLTraces(a, jax.random.normal(key_b, shape, sizes.dtype))

    def step(moment: Moment, traces: KFRTRLTraces, shared: tuple[()], key: Key) -> Credit:
        nu = unit_noise(key, 2, moment.s.dtype, noise)
        rhat, gain = moment.local.rhat, dynamics.all_gains(moment.local)
        forward = moment.jacobian() @ traces.b
        keep = balance(safe_norm(forward), safe_norm(traces.a)) if rho0 is None else rho0
        write = balance(safe_norm(gain), safe_norm(rhat)) if rho1 is None else rho1
        a = (nu[0] * keep) * traces.a + (nu[1] * write) * rhat
        diagonal = jnp.eye(cell.n, dtype=a.dtype)[None, :, None] * (nu[1] / write * gain)[:, None]  # (S, n, G, n)
        b = (nu[0] / keep) * forward + diagonal.reshape(forward.shape)
        of_gates = (moment.credit.reshape(-1) @ b).reshape(-1, cell.n)
        sums = len(cell.gates)
        grad = dynamics.tree(of_gates[:sums, :, None] * a[None, None], of_gates[sums:] * a[-1])
        return Credit(grad, KFRTRLTraces(a, b))

    return online_rule(cell, init, step, feedback=feedback)
