r"""Fixed recurrent weights: only the readout learns, the lower bound on performance.

    G = 0

Source: Marschall, Cho & Savin (2019), "fixed-W". Kind: local; the readout's gradient is exact, and W has none.
Memory: none. Time: O(n m) for the forward step. Any cell. A readout synapse reads its output's error and its
presynaptic rate.
"""

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.cells.dynamics import AnyCell
from plasticity_jax.rules.online.common import Credit, Moment, Plausibility, online_rule
from plasticity_jax.typing import Key

PLAUSIBILITY = Plausibility(tensor="none", facing="none", stochastic=False, solved="closed form", fails={})


def fixed_recurrent(cell: AnyCell) -> LearningRule:
    """Trains the readout and nothing else.

    Args:
      cell: the network, of `plasticity_jax.cells`, of either tier.

    Returns:
      A rule with zero updates for the cell and the exact gradient for ``w_out`` (n_out, n + 1).

    Raises:
      TypeError: if ``cell`` is not a cell.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(fixed_recurrent(cell), optax.sgd(0.05))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=100)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Marschall, Cho & Savin (2019), Figure 1.
    """

    def step(moment: Moment, traces: tuple[()], shared: tuple[()], key: Key) -> Credit:
        return Credit(jax.tree.map(jnp.zeros_like, moment.weights), ())

    return online_rule(cell, lambda key, sizes: (), step)
