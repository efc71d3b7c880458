r"""RFLO, random feedback local online learning: one eligibility trace per synapse; on spiking neurons e-prop.

    eps_ij^t = D_i^t eps_ij^{t-1} + b_i^t rhat_j^t           one trace for each variable of the neuron
    G_ij     = sum_a c_ai^t eps_aij^t,   c^t = dL^t / ds^t

D_i = ds_i'/ds_i (S x S) and b_i = ds_i'/dv_i are the neuron's own derivatives. For the leaky network
eps_ij^t = (1 - alpha) eps_ij^{t-1} + alpha phi'(v_i^t) rhat_j^t.

Source: Murray (2019); Marschall, Cho & Savin (2019), Table 1; Bellec et al. (2020) for any neuron. Influence tensor
M_kij approximated by delta_ki eps_ij. Kind: approximate; exact where no neuron receives from another (W_rec = 0).
Memory: S G n m. Time: O(S^2 G n m). A synapse reads its pre- and postsynaptic activity, its own trace, and one credit
signal per neuron: all of criteria i to vi are met.
Departure: despite the name, the paper's figure uses the readout's transpose as feedback, as the default here does.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.cells.dynamics import NeuronsDynamics, need_neurons
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.ops.checks import in_range, of_each_neuron
from plasticity_jax.rules.online.common import Collected, Credit, Feedback, Moment, Plausibility, Sizes, online_rule
from plasticity_jax.typing import Array, Key, PyTree, Scalar

PLAUSIBILITY = Plausibility(tensor="delta_ki B_ij", facing="past", stochastic=False, solved="closed form", fails={})


class RFLOTraces(NamedTuple):
    """Attributes: eligibility: each synapse's filtered immediate influence, "w" (S, G, n, m), each of "own" (S, n)."""

    eligibility: PyTree


def rflo(cell: Neurons, *, leak: Scalar | None = None, feedback: Feedback = "readout") -> LearningRule:
    """Eligibility traces times immediate credit.

    Args:
      cell: a network of neurons, of `plasticity_jax.cells`.
      leak: forgetting rate of the trace per step, in (0, 1], a number or (n,), in place of the neuron's own D; for
        cells with one variable per neuron. None takes the neuron's own D. The leak can be meta-learned.
      feedback: "readout" (the transpose of W_out), "random" (the fixed ``w_fb``) or "adaptive" (``w_fb`` learns
        like ``w_out``).

    Returns:
      A rule over ``w`` (G, n, m), ``own`` and ``w_out`` (n_out, n + 1).

    Raises:
      TypeError: if ``cell`` is not a cell of neurons.
      ValueError: if the feedback is not known, or the leak is outside its range or given for several variables.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(rflo(cell, feedback="random"), optax.sgd(0.1))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=50)
      >>> bool(info.loss[-1] < 0.01 * info.loss[0])
      True

    Reference:
      Murray, "Local online learning in recurrent networks with random feedback", eLife 2019.
    """
    cell = need_neurons(cell, "rflo")
    dynamics = NeuronsDynamics(cell)
    if leak is not None:
        each: Scalar = of_each_neuron("leak", leak, cell.n)
        in_range("leak", each, 0, 1, open_low=True, why="the share that a trace forgets at each step")
        if len(cell.variables) > 1:
            raise ValueError(
                f"leak={leak} is for cells of one variable; {cell.name} has {', '.join(cell.variables)}: leave it out"
            )

    def init(key: Key, sizes: Sizes) -> RFLOTraces:
        return RFLOTraces(dynamics.empty_influence(sizes.dtype))

    def step(moment: Moment, traces: RFLOTraces, shared: tuple[()], key: Key) -> Credit:
        carried, new = dynamics.fade(_decay(moment), traces.eligibility), dynamics.influence(moment.local)
        eligibility = jax.tree.map(jnp.add, carried, new)
        return Credit(Collected(moment.credit, eligibility), RFLOTraces(eligibility))

    def _decay(moment: Moment) -> Array:
        if leak is None:
            return moment.local.decay
        decay = 1 - jnp.asarray(leak, moment.s.dtype)
        return moment.carried_on(decay.reshape(1, 1, -1))

    return online_rule(cell, init, step, feedback=feedback)
