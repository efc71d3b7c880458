r"""SnAp-n, the sparse n-step approximation of RTRL: keeps the influence that arrives within n steps.

    M^t = [J^t M^{t-1} + ds^t/dW] * P        P_k,gij = 1 if W_gij can reach s_k within n steps of the network
    G   = c^t M^t,   c^t = dL^t / ds^t

n = 1 keeps each synapse's influence on its own neuron, carried by the neuron's own block of the Jacobian:
eps_ij' = (D_i + sum_g b_gi W_g,ii o_i) eps_ij + b_i rhat_j, which is RFLO plus the neuron's synapse onto itself. For
larger n the pattern follows from the connections: all count but those that `Neurons.mask` leaves out. As n grows it
becomes RTRL; in a fully connected network it is RTRL at n = 2.

Source: Menick, Elsen, Evci, Osindero, Simonyan & Graves (2021). Kind: approximate; n = 1 is exact where W_rec is
diagonal, any n where no path is longer.
Memory: S G n m at n = 1, K times that with K neurons within reach. Time: O(S^2 G n m), K^2 times that.
At n = 1 each synapse reads its pre- and postsynaptic activity, its own trace, one credit signal and its neuron's
synapse onto itself. On a cell of tier one, init takes the pattern from the Jacobians at random weights and states, and
M is stored whole: time and memory are RTRL's.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.base import LearningRule
from plasticity_jax.cells.cell_dynamics import CellDynamics, CellLocal
from plasticity_jax.cells.dynamics import AnyCell, NeuronsDynamics, dynamics, total
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.ops.checks import whole
from plasticity_jax.ops.noise import normal_like
from plasticity_jax.rules.online.common import (
    Collected,
    Credit,
    Feedback,
    Moment,
    Plausibility,
    Sizes,
    online_rule,
)
from plasticity_jax.typing import Array, Key, Params, PyTree

PLAUSIBILITY = Plausibility(
    tensor="P_kij M_kij",
    facing="past",
    stochastic=False,
    solved="closed form",
    fails={"ii": "needs a block of the Jacobian J^t, which synapses cannot follow instantly"},
)

PROBES = 4
"""Number of random weights and states that give the pattern of a cell of tier one."""


class SnApTraces(NamedTuple):
    """Part of the influence that is kept.

    Attributes:
      influence: n = 1: "w" (S, G, n, m), each of "own" (S, n). Larger n: "w" (n, G, m, S K) and each of "own" (n, S K)
        for the K neurons within reach of each. Tier one: a tree like the weights with a last axis over the state.
    """

    influence: PyTree


def snap(cell: AnyCell, *, n: int = 1, feedback: Feedback = "readout") -> LearningRule:
    """RTRL without the influence that takes more than n steps to arrive.

    Args:
      cell: the network, of `plasticity_jax.cells`, of either tier.
      n: steps, at least 1.
      feedback: "readout" (exact), "random" (the fixed ``w_fb``) or "adaptive" (``w_fb`` learns like ``w_out``).

    Returns:
      A rule over the cell's weights and ``w_out`` (n_out, n + 1).

    Raises:
      TypeError: if ``cell`` is not a cell.
      ValueError: if n is below 1 or the feedback is not known.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(snap(cell), optax.sgd(0.05))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=100)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Menick, Elsen, Evci, Osindero, Simonyan & Graves, "Practical real time recurrent learning with a sparse
      approximation", ICLR 2021.
    """
    whole("n", n, 1, "step")
    dyn = dynamics(cell)
    if isinstance(dyn, CellDynamics):
        return _of_any_cell(dyn, n, feedback)
    return _of_one_step(dyn, feedback) if n == 1 else _of_reach(dyn, n, feedback)


def _of_one_step(dyn: NeuronsDynamics, feedback: Feedback) -> LearningRule:
    """n = 1: the diagonal, at the cost of RFLO."""
    n = dyn.cell.n
    i = jnp.arange(n)

    def init(key: Key, sizes: Sizes) -> SnApTraces:
        return SnApTraces(dyn.empty_influence(sizes.dtype))

    def step(moment: Moment, traces: SnApTraces, shared: tuple[()], key: Key) -> Credit:
        local = moment.local
        w = moment.weights["w"][:, i, i]
        onto_itself = total(local.gain[:, g] * w[g][None] for g in range(len(w)))  # (S, n)
        block = local.decay + onto_itself[:, None] * local.slope[None]
        influence = jax.tree.map(jnp.add, dyn.fade(block, traces.influence), dyn.influence(local))
        return Credit(Collected(moment.credit, influence), SnApTraces(influence))

    return online_rule(dyn.cell, init, step, feedback=feedback)


def _of_reach(dyn: NeuronsDynamics, n: int, feedback: Feedback) -> LearningRule:
    """Larger n: for each neuron, the K neurons within its reach, itself first, and their block of the Jacobian."""
    cell = dyn.cell
    rows, sums = len(cell.variables), len(cell.gates)
    reached, valid = _within_reach(cell, n)
    size = rows * reached.shape[1]

    def init(key: Key, sizes: Sizes) -> SnApTraces:
        own = {"own": {name: jnp.zeros((cell.n, size), sizes.dtype) for name in dyn.names}} if dyn.names else {}
        return SnApTraces({"w": jnp.zeros((cell.n, sums, cell.m, size), sizes.dtype), **own})

    def step(moment: Moment, traces: SnApTraces, shared: tuple[()], key: Key) -> Credit:
        local = moment.local
        j = moment.jacobian().reshape(rows, cell.n, rows, cell.n)
        blocks = j[:, reached[:, :, None], :, reached[:, None, :]]  # (n, K, K, S, S)
        blocks = blocks * (valid[:, :, None] & valid[:, None, :])[..., None, None]
        blocks = blocks.transpose(0, 3, 1, 4, 2).reshape(cell.n, size, size)
        old = traces.influence
        new = jnp.einsum("igml,ikl->igmk", old["w"], blocks).reshape(cell.n, sums, cell.m, rows, -1)
        gain = local.gain.transpose(2, 1, 0)[:, :, None] * local.rhat[None, None, :, None]  # (n, G, m, S)
        influence: dict[str, Any] = {"w": new.at[..., 0].add(gain).reshape(old["w"].shape)}
        credit = (moment.credit[:, reached] * valid[None]).transpose(1, 0, 2).reshape(cell.n, size)
        grad: dict[str, Any] = {"w": jnp.einsum("igmk,ik->gim", influence["w"], credit)}
        if dyn.names:
            own = {}
            for p, name in enumerate(dyn.names):
                carried = jnp.einsum("il,ikl->ik", old["own"][name], blocks).reshape(cell.n, rows, -1)
                own[name] = carried.at[..., 0].add(local.own_gain[:, p].T).reshape(cell.n, size)
            influence["own"] = own
            grad["own"] = {name: jnp.sum(own[name] * credit, -1) for name in dyn.names}
        return Credit(grad, SnApTraces(influence))

    return online_rule(cell, init, step, feedback=feedback)


def _within_reach(cell: Neurons, n: int) -> tuple[np.ndarray, np.ndarray]:
    """``(reached, valid)``, both (n, K): the neurons that each reaches in fewer than n steps, itself first."""
    receives = np.ones((cell.n, cell.n), bool) if cell.mask is None else cell.mask[:, :, : cell.n].any(0)
    reach = np.eye(cell.n, dtype=bool)
    for _ in range(n - 1):
        reach = reach | ((receives.astype(int) @ reach.astype(int)) > 0)  # k receives from l, which i has reached
    sets = [[i, *(k for k in np.flatnonzero(reach[:, i]) if k != i)] for i in range(cell.n)]
    width = max(map(len, sets))
    reached = np.array([each + [each[0]] * (width - len(each)) for each in sets])
    return reached, np.arange(width)[None] < np.array([len(each) for each in sets])[:, None]


def _of_any_cell(dyn: CellDynamics, n: int, feedback: Feedback) -> LearningRule:
    """Tier one: the whole influence, with entries outside the pattern set to zero at each step."""
    size = dyn.state_shape[0]
    unit = np.eye(size)

    def init(key: Key, sizes: Sizes) -> SnApTraces:
        return SnApTraces(jax.tree.map(lambda leaf: jnp.zeros((*leaf.shape, size), sizes.dtype), sizes.weights))

    def init_shared(key: Key, sizes: Sizes, params: Params) -> PyTree:
        def at(key: Key) -> tuple[Array, PyTree]:
            key_w, key_s, key_x = jax.random.split(key, 3)
            weights = normal_like(key_w, sizes.weights)  # not the initial ones, whose zeros may change
            s, x = jax.random.normal(key_s, (size,), sizes.dtype), jax.random.normal(key_x, (sizes.n_in,), sizes.dtype)
            local = CellLocal(s, x, jnp.ones((), sizes.dtype))
            immediate = jax.vmap(lambda c: dyn.weigh(weights, local, c), out_axes=-1)(unit.astype(sizes.dtype))
            return dyn.jacobian(weights, local) != 0, jax.tree.map(lambda leaf: leaf != 0, immediate)

        probes = jax.vmap(at)(jax.random.split(key, PROBES))
        receives, pattern = jax.tree.map(lambda leaf: jnp.any(leaf, 0), probes)
        receives = receives.astype(jnp.float32)
        for _ in range(n - 1):
            pattern = jax.tree.map(lambda leaf: leaf | (jnp.einsum("...l,kl->...k", leaf * 1.0, receives) > 0), pattern)
        return pattern

    def step(moment: Moment, traces: SnApTraces, pattern: PyTree, key: Key) -> Credit:
        j = moment.jacobian()
        new = jax.vmap(moment.weigh, out_axes=-1)(jnp.asarray(unit, moment.s.dtype))

        def leaf(old: Array, new: Array, inside: Array) -> Array:
            return jnp.where(inside, jnp.einsum("...l,kl->...k", old, j) + new, 0)

        influence = jax.tree.map(leaf, traces.influence, new, pattern)
        grad = jax.tree.map(lambda leaf: leaf @ moment.credit, influence)
        return Credit(grad, SnApTraces(influence), pattern)

    return online_rule(dyn.cell, init, step, init_shared=init_shared, feedback=feedback)
