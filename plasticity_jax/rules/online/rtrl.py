r"""RTRL, real-time recurrent learning: carries the exact influence of every weight on every number of the state.

    M^t = J^t M^{t-1} + ds^t/dW              M_k,gij = ds_k/dW_gij, the last term through this step alone
    G   = c^t M^t,   c^t = dL^t / ds^t

On neurons the immediate influence is diagonal, delta_ki b_agi rhat_j; on the leaky network delta_ki alpha phi'(v_i)
rhat_j.

Source: Williams & Zipser (1989); Marschall, Cho & Savin (2019), eq. 2. Kind: exact at fixed weights; during learning,
M mixes the Jacobians of successive weights.
Memory: S n x G n m. Time: one (G n m x S n)(S n x S n) product, 2 S^2 G n^3 m operations and nothing else of that size:
the immediate influence is added to its diagonal blocks alone. Any cell; on tier one, by one Jacobian of each kind.
Fails criterion iv and the n^2 bound on memory.
Layout: influence[g, i, j, k] = ds_k / dW_gij, so that the product and the contraction with c both run along the last
axis.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.cells.dynamics import AnyCell, NeuronsDynamics, dynamics
from plasticity_jax.ops.checks import in_range
from plasticity_jax.rules.online.common import Credit, Feedback, Moment, Plausibility, Sizes, online_rule
from plasticity_jax.typing import Key, PyTree, Scalar

PLAUSIBILITY = Plausibility(
    tensor="M_kij",
    facing="past",
    stochastic=False,
    solved="closed form",
    fails={
        "memory": "n^2 m numbers, and no biological structure stores them",
        "iv": "J M is a product of a matrix and an order-3 tensor",
        "ii": "needs the Jacobian J^t, which synapses cannot follow instantly",
    },
)


class RTRLTraces(NamedTuple):
    """Attributes: influence: a tree like the weights, each leaf with a last axis over the N numbers of the state."""

    influence: PyTree


def rtrl(cell: AnyCell, *, decay: Scalar = 1.0, feedback: Feedback = "readout") -> LearningRule:
    """The exact online gradient.

    Args:
      cell: the network, of `plasticity_jax.cells`, of either tier.
      decay: factor on the carried influence at each step, in [0, 1]; 1 is exact. Can be meta-learned.
      feedback: "readout" (exact), "random" (the fixed ``w_fb``) or "adaptive" (``w_fb`` learns like ``w_out``).

    Returns:
      A rule over the cell's weights and ``w_out`` (n_out, n + 1).

    Raises:
      TypeError: if ``cell`` is not a cell.
      ValueError: if the feedback is not known or the decay outside its range.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(rtrl(cell), optax.sgd(0.05))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=100)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Williams & Zipser, "A learning algorithm for continually running fully recurrent neural networks", 1989.
    """
    in_range("decay", decay, 0, 1, why="the factor on the carried influence at each step")
    dyn = dynamics(cell)

    def init(key: Key, sizes: Sizes) -> RTRLTraces:
        size = sizes.variables * sizes.n
        return RTRLTraces(jax.tree.map(lambda leaf: jnp.zeros((*leaf.shape, size), sizes.dtype), sizes.weights))

    def step(moment: Moment, traces: RTRLTraces, shared: tuple[()], key: Key) -> Credit:
        j = decay * moment.jacobian()
        carried = jax.tree.map(lambda leaf: jnp.einsum("...l,kl->...k", leaf, j), traces.influence)
        if isinstance(dyn, NeuronsDynamics):
            influence = _add_to_diagonal(dyn, carried, moment)
        else:
            unit = jnp.eye(moment.s.size, dtype=moment.s.dtype)
            influence = jax.tree.map(jnp.add, carried, jax.vmap(moment.weigh, out_axes=-1)(unit))
        credit = moment.credit.reshape(-1)
        return Credit(jax.tree.map(lambda leaf: leaf @ credit, influence), RTRLTraces(influence))

    return online_rule(cell, init, step, feedback=feedback)


def _add_to_diagonal(dyn: NeuronsDynamics, carried: PyTree, moment: Moment) -> PyTree:
    """The carried influence plus ds_ai/dW_gij of this step, which is zero between different neurons."""
    rows, n = dyn.state_shape
    i = jnp.arange(n)
    gain = moment.local.gain.transpose(2, 1, 0)[:, :, None] * moment.local.rhat[None, None, :, None]  # (n, G, m, S)
    w = carried["w"]
    blocks = w.reshape(*w.shape[:-1], rows, n).at[:, i, :, :, i].add(gain)
    own = {}
    for p, name in enumerate(dyn.names):
        of_p = carried["own"][name].reshape(n, rows, n)
        own[name] = of_p.at[i, :, i].add(moment.local.own_gain[:, p].T).reshape(n, rows * n)
    return {"w": blocks.reshape(w.shape), **({"own": own} if own else {})}
