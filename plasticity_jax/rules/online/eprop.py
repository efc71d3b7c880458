r"""E-prop: eligibility traces times a broadcast of the error, for recurrent networks of spiking neurons.

It is RFLO (`plasticity_jax.rules.online.rflo`) on a spiking cell. With the neuron's own D = ds_j^t / ds_j^{t-1},

    eps_ji^t = D_j^t eps_ji^{t-1} + ds_j^t / dW_ji,   dE/dW_ji ~ sum_t L_j^t F_kappa(e_ji^t),   L_j^t = sum_k B_jk e_k^t

where e_k = y_k - y*_k for a squared error and pi_k - pi*_k for a softmax's cross-entropy.

LIF (`pj.cells.lif`), Bellec et al. (2020):

    v_j^t = alpha v_j^{t-1} + sum_i W_ji z_i^{t-1} + sum_i W^in_ji x_i^t - v_th z_j^{t-1},   z = H(v - v_th)
    zbar_i^t = alpha zbar_i^{t-1} + z_i^{t-1}
    e_ji^t = psi_j^t zbar_i^t,   psi = (gamma / v_th) max(0, 1 - |v - v_th| / v_th)

ALIF (`pj.cells.alif`), with A = v_th + beta a, z = H(v - A), psi = (gamma / v_th) max(0, 1 - |v - A| / v_th):

    a_j^t = rho a_j^{t-1} + z_j^{t-1}
    eps_a,ji^t = psi_j^{t-1} zbar_i^{t-1} + (rho - beta psi_j^{t-1}) eps_a,ji^{t-1}
    e_ji^t = psi_j^t (zbar_i^t - beta eps_a,ji^t)

Readout (`pj.cells.leaky_readout`):

    y_k^t = kappa y_k^{t-1} + sum_j w_kj z_j^t + b_k,   F_kappa(e)^t = kappa F_kappa(e)^{t-1} + e^t

In this library's variables u = v / v_th, the cell's a is beta a / v_th, decay = alpha, adaptation_decay = rho,
strength = beta / v_th, the readout's decay = kappa and w_fb = B^T. The readout's filter f^t = kappa f^{t-1} + z^t is a
variable of the neuron, so its row of D is (dz/ds) D and kappa: its eligibility trace obeys eps_f^t = kappa eps_f^{t-1}
+ e^t. This is the filtered trace F_kappa(e), without a separate mechanism; L_j is the credit of f_j.

Source: Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein & Maass (2020). Kind: approximate; exact where no neuron
receives from another (W_rec = 0).
Memory: S G n m, S = 2 for LIF and 3 for ALIF with a leaky readout. Time: O(S^2 G n m). A synapse reads its pre- and
postsynaptic activity, its own traces, and one learning signal per neuron: all of criteria i to vi are met.
Departures: Bellec et al. leave the reset out of D, here by ``reset_derivative=False`` of the cell; their neurons have
no synapse onto themselves, here by a `mask`; the output's bias is added after the filter, not before it; updates are
emitted at each step, for any optimiser, rather than summed over a trial; their regularisation of firing rates and the
weight decay of adaptive broadcast are left out.
"""

from plasticity_jax.base import LearningRule
from plasticity_jax.cells.dynamics import need_neurons
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.rules.online.common import Feedback, Plausibility
from plasticity_jax.rules.online.rflo import PLAUSIBILITY as RFLO
from plasticity_jax.rules.online.rflo import rflo

PLAUSIBILITY: Plausibility = RFLO


def eprop(cell: Neurons, *, feedback: Feedback = "readout") -> LearningRule:
    """Eligibility traces times broadcast errors, on a network of spiking neurons.

    Args:
      cell: a network of neurons, such as `plasticity_jax.cells.lif` or `alif`, in `leaky_readout` for filtered traces;
        the same equations hold for any other.
      feedback: the broadcast weights B: "readout" (symmetric e-prop, the transpose of W_out), "random" (the fixed
        ``w_fb``) or "adaptive" (``w_fb`` learns like ``w_out``).

    Returns:
      A rule over ``w`` (G, n, m), ``own`` and ``w_out`` (n_out, n + 1); its traces are RFLO's.

    Raises:
      TypeError: if ``cell`` is not a cell of neurons.
      ValueError: if the feedback is not known.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.alif(n_in=1, n=50, n_out=1, loss="squared", reset_derivative=False)
      >>> cell = pj.cells.leaky_readout(cell, decay=0.9)
      >>> learn = pj.learner(eprop(cell, feedback="random"), optax.adam(0.01))
      >>> def step(state, t):  # a slow wave from a constant input
      ...     return learn.step(state, pj.Example(jnp.ones((1, 1)), jnp.sin(t / 8)[None, None]))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.zeros((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(1), cell), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(step, state, jnp.arange(2000.0))
      >>> bool(info.loss[-200:].mean() < 0.2 * info.loss[:200].mean())
      True

    Reference:
      Bellec, Scherr, Subramoney, Hajek, Salaj, Legenstein & Maass, "A solution to the learning dilemma for recurrent
      networks of spiking neurons", Nature Communications 11:3625, 2020.
    """
    return rflo(need_neurons(cell, "eprop"), feedback=feedback)
