r"""KeRNL, kernel RNN learning: eligibility traces with learned time constants and a learned sensitivity matrix.

    B_ij^t   = kappa_i B_ij^{t-1} + b_i^t rhat_j^t,     kappa_i = max(0, 1 - alpha_i)
    G_ij     = (sum_k c_k^t A_ki) B_ij^t,               b_i = ds_i/dv_i, alpha phi'(v_i) in the leaky network

A and alpha_i are fitted to the effect of small noise, zeta^t ~ N(0, sigma^2), on a second copy of the network:

    s~^t     = F(s~^{t-1} + zeta^{t-1}, x^t)            the noisy copy, reset only by a new trial
    Gamma_i  <- kappa_i Gamma_i - Omega_i                          dOmega_i / dalpha_i
    Omega_i  <- kappa_i Omega_i + zeta_i^t                         filtered noise
    eps      = A Omega - (s~^t + zeta^t - s^t)
    A        <- A - eta eps Omega^T,   alpha_i <- alpha_i - eta (eps A)_i Gamma_i

Source: Roth, Kanitscheider & Fiete (2019); Marschall, Cho & Savin (2019), Table 1, which does not print the recursions
for Omega, Gamma and alpha_i. M_kij is approximated by A_ki B_ij. Kind: approximate; with A = I, alpha_i = alpha and
eta = 0 it is RFLO, which is exact at W_rec = 0.
Cells of one variable. Memory: n^2 + G n m. Time: O(G n m). Fails criterion vi (a noisy copy of the network).
Departures: the immediate influence has the network's alpha (alpha_i in the paper); the newest noise, which is in
Omega, is also in the perturbation that A Omega has to predict. The authors' code adds it one step late, eps = A Omega -
(s~^t - s^t), and its A converges to (1 - kappa^2) sum_{s>=1} (kappa J)^s instead of (1 - kappa^2) (I - kappa J)^{-1} at
constant J; `fitted_kernel` takes either effect.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.cells.dynamics import NeuronsDynamics, need_neurons
from plasticity_jax.cells.neurons import Neurons, advance
from plasticity_jax.ops.checks import in_range, number, of_each_neuron
from plasticity_jax.ops.noise import stored_noise
from plasticity_jax.rules.online.common import (
    Collected,
    Credit,
    Feedback,
    Moment,
    Plausibility,
    Sizes,
    mean_over_streams,
    online_rule,
)
from plasticity_jax.typing import Array, Key, Params, PyTree, Scalar

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
      eligibility: B, "w" (1, G, n, m), each of "own" (1, n).
      noisy_s: (n,), the noisy copy's state.
      zeta: (n,), the last noise.
      omega: (n,), filtered noise.
      gamma: (n,), its derivative with respect to alpha_i.
    """

    eligibility: PyTree
    noisy_s: Array
    zeta: Array
    omega: Array
    gamma: Array


class KeRNLShared(NamedTuple):
    """Parameters learned in addition to the weights, common to all streams.

    Attributes:
      a: (n, n), sensitivities A_ki.
      leak: (n,), alpha_i, the traces' forgetting rates per step.
    """

    a: Array
    leak: Array


def kernl(
    cell: Neurons,
    *,
    learning_rate: Scalar = 5.0,
    sigma: Scalar = 1e-3,
    initial_leak: Scalar = 0.8,
    feedback: Feedback = "readout",
) -> LearningRule:
    """Eligibility traces with a kernel learned from perturbations.

    Args:
      cell: a network of neurons of one variable, of `plasticity_jax.cells`.
      learning_rate: eta, of A and alpha_i; the rate at which A moves is eta sigma^2 per step.
      sigma: standard deviation of the noise on the copy's state.
      initial_leak: alpha_i at the start, positive, a number or (n,); at 1 or above, a trace keeps nothing.
      feedback: "readout" (exact), "random" (the fixed ``w_fb``) or "adaptive" (``w_fb`` learns like ``w_out``).

    Returns:
      A stochastic rule over ``w`` (G, n, m), ``own`` and ``w_out`` (n_out, n + 1).

    Raises:
      TypeError: if ``cell`` is not a cell of neurons.
      ValueError: if its neurons have several variables, an option is not known, or a coefficient is outside its range.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(kernl(cell), optax.sgd(0.05))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=100)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Roth, Kanitscheider & Fiete, "Kernel RNN learning (KeRNL)", ICLR 2019.
    """
    number("sigma", sigma, 0, why="the standard deviation of the noise on the copy")

    def effect(noisy_s: Array, zeta: Array, s: Array) -> Array:
        return noisy_s + zeta - s

    return fitted_kernel(cell, effect, learning_rate, sigma, initial_leak, feedback)


def fitted_kernel(
    cell: Neurons,
    effect: Callable[[Array, Array, Array], Array],
    learning_rate: Scalar = 5.0,
    sigma: Scalar = 1e-3,
    initial_leak: Scalar = 0.8,
    feedback: Feedback = "readout",
) -> LearningRule:
    """`kernl` with an effect of your own for A Omega to predict.

    Args:
      cell: a network of neurons of one variable, of `plasticity_jax.cells`.
      effect: ``(noisy_s, zeta, s) -> (n,)`` of the copy's state s~^t, the newest noise zeta^t, which moves the copy at
        the next step, and the network's state s^t.
      learning_rate: see `kernl`.
      sigma: standard deviation of the noise, a number or (n,).
      initial_leak: alpha_i at the start.
      feedback: see `kernl`.

    Returns:
      A rule like that of `kernl`.

    Raises:
      TypeError: if ``cell`` is not a cell of neurons.
      ValueError: as for `kernl`.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> late = fitted_kernel(cell, lambda noisy_s, zeta, s: noisy_s - s)  # the effect of all noise but the newest
      >>> learn = pj.learner(late, optax.sgd(0.05))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=100)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Roth, Kanitscheider & Fiete, "Kernel RNN learning (KeRNL)", ICLR 2019.
    """
    cell = need_neurons(cell, "kernl")
    if len(cell.variables) > 1:
        raise ValueError(
            f"kernl perturbs one variable a neuron, and {cell.name} has {', '.join(cell.variables)}: use uoro or rflo"
        )
    initial_leak = of_each_neuron("initial_leak", initial_leak, cell.n)
    sigma = of_each_neuron("sigma", sigma, cell.n)
    in_range("sigma", sigma, 0, why="the standard deviation of the noise on the copy")
    in_range("initial_leak", initial_leak, 0, open_low=True, why="the share that a trace forgets at each step")
    dynamics = NeuronsDynamics(cell)

    def init(key: Key, sizes: Sizes) -> KeRNLTraces:
        rest = jnp.zeros((sizes.n,), sizes.dtype)
        return KeRNLTraces(dynamics.empty_influence(sizes.dtype), dynamics.start(sizes.dtype)[0], rest, rest, rest)

    def init_shared(key: Key, sizes: Sizes, params: Params) -> KeRNLShared:
        leak = jnp.full((sizes.n,), initial_leak, sizes.dtype)
        return KeRNLShared(jnp.eye(sizes.n, dtype=sizes.dtype), leak)

    def step(moment: Moment, traces: KeRNLTraces, shared: KeRNLShared, key: Key) -> Credit:
        kappa = jnp.maximum(0, 1 - shared.leak)
        s, start = moment.s[0], traces.noisy_s + traces.zeta
        if moment.alive is not None:
            start = jnp.where(moment.alive > 0, start, moment.s_tm1[0])
        noisy_s = advance(cell, moment.weights, start[None], moment.x)[0]
        zeta = sigma * stored_noise(key, s.size, s.dtype, "gaussian")
        previous = moment.carried_on(traces)
        gamma = kappa * previous.gamma - previous.omega
        omega = kappa * previous.omega + zeta
        carried = dynamics.fade(kappa[None, None], previous.eligibility)
        eligibility = jax.tree.map(jnp.add, carried, dynamics.influence(moment.local))

        error = shared.a @ omega - effect(noisy_s, zeta, s)
        a = shared.a - learning_rate * mean_over_streams(error[:, None] * omega[None])
        leak = shared.leak - learning_rate * mean_over_streams((error @ shared.a) * gamma)

        grad = Collected((moment.credit[0] @ a)[None], eligibility)
        return Credit(grad, KeRNLTraces(eligibility, noisy_s, zeta, omega, gamma), KeRNLShared(a, leak))

    return online_rule(cell, init, step, init_shared=init_shared, feedback=feedback)
