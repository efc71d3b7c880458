r"""Angle between credit carried back through time and the true credit, by the number of steps carried back.

    c_{t,0} = q^t = dL^t / ds^t,   c_{t,k} = D^T c_{t,k-1} + o (sum_g B_g^T (b_g c_{t,k-1}))

is the credit for s^{t-k} by the loss of step t; with W_rec in place of B it is dL^t / ds^{t-k}. In the vanilla network
(leaky with alpha = 1) c_{t,k} = (c_{t,k-1} * phi'^{t-k+1}) B. Angles are means over the batch and over all t for which
t - k is in the window and in the same trial. They are not folded: 90 degrees is chance, more is the wrong direction.

Source: Lansdell, Prakash & Kording (2019), figure 4B, which shows k = 1, the arc cosine of a mean cosine.
"""

import chex
import jax
import jax.numpy as jnp

from plasticity_jax.cells.door import cell_weights, enter
from plasticity_jax.cells.dynamics import NeuronsDynamics, need_neurons
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.cells.window import run_window, time_first
from plasticity_jax.diagnostics.alignment import angle
from plasticity_jax.typing import Array, Example, Params


def angles_by_lag(cell: Neurons, params: Params, s_0: Array, batch: Example, back: Array | None = None) -> Array:
    """Angles between credit carried back by B and by W_rec, after 1, 2, ... steps.

    Args:
      cell: a network of neurons.
      params: its weights.
      s_0: (B, S, n), state before the window.
      batch: windows, x (B, S, n_in), y (B, S, n_out), start and weight (B, S).
      back: (G, n, n), the matrices that carry credit back; None: ``params["feedback"]["w_back"]``.

    Returns:
      Shape (S - 1,), degrees, from k = 1; credit of 0 counts 90; a lag longer than every trial is NaN.

    Raises:
      TypeError: if the cell is not one of neurons.

    Example:
      >>> import jax, jax.numpy as jnp, plasticity_jax as pj
      >>> cell, key = pj.cells.leaky(n_in=2, n=5, n_out=1, alpha=1.0, loss="squared"), jax.random.key(0)
      >>> params = pj.cells.init_params(key, cell)
      >>> batch = Example(jax.random.normal(key, (3, 4, 2)), jnp.ones((3, 4, 1)))
      >>> opposite = -params["forward"]["w"][:, :, :5]
      >>> angles_by_lag(cell, params, jnp.zeros((3, 1, 5)), batch, back=opposite).round().tolist()
      [180.0, 0.0, 180.0]
    """
    cell = need_neurons(cell, "angles_by_lag")
    params, batch, sizes = enter(cell, params, batch, "back" if back is None else "readout", ("B", "S"))
    chex.assert_shape(s_0, (len(batch.x), sizes.variables, sizes.n), custom_message="s_0 must be (B, variables, n)")
    w_back = params["feedback"]["w_back"] if back is None else back
    wanted = (sizes.gates, sizes.n, sizes.n)
    chex.assert_shape(w_back, wanted, custom_message=f"back must be (gates, n, n) = {wanted}")
    example = time_first(batch)
    window = run_window(cell, params, s_0, example)
    pull = jax.vmap(jax.vmap(NeuronsDynamics(cell).pull, (None, 0, 0)), (None, 0, 0))
    carried = true = window.credit
    same_trial = None if example.start is None else jnp.ones(example.start.shape, bool)
    angles = []
    for k in range(1, len(example.x)):  # rows are the steps t = k, ..., S - 1, from which s^{t-k} lies in the window
        step = slice(1, len(example.x) - k + 1)
        local = jax.tree.map(lambda leaf, step=step: leaf[step], window.local)
        carried = pull({"w": w_back}, local, carried[1:])
        true = pull(cell_weights(cell, params), local, true[1:])
        if example.start is None or same_trial is None:
            angles.append(angle(_flat(carried), _flat(true)))
        else:
            same_trial = same_trial[1:] & ~example.start[step]
            each_angle = jax.vmap(jax.vmap(angle))(_flat(carried), _flat(true))
            angles.append(jnp.sum(jnp.where(same_trial, each_angle, 0)) / jnp.sum(same_trial))
    return jnp.stack(angles)


def _flat(credit: Array) -> Array:
    """Credit for the state as one vector."""
    return credit.reshape(*credit.shape[:-2], -1)
