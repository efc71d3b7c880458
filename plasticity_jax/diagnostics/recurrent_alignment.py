r"""How far credit that is carried back through time is from the true one, by how many steps it has been carried.

    c_{t,0} = e^t V,   c_{t,k} = (c_{t,k-1} * phi'^{t-k+1}) B        what reaches h^{t-k} of the loss of step t

With W in place of B it is dL^t / dh^{t-k}. Angles are means over the batch and over all t whose t - k lies in the
window. They are not folded: 90 degrees is chance, more is the wrong way.
Source: Lansdell, Prakash & Kording (2019), figure 4B, which shows k = 1, the arc cosine of a mean cosine.
"""

import chex
import jax.numpy as jnp

from plasticity_jax.diagnostics.alignment import angle
from plasticity_jax.networks import vanilla_rnn
from plasticity_jax.networks.vanilla_rnn import VanillaRNN
from plasticity_jax.rules.feedback.recurrent_common import check, observe, time_first
from plasticity_jax.typing import Array, Example, Params


def angles_by_lag(net: VanillaRNN, params: Params, h_0: Array, batch: Example, back: Array | None = None) -> Array:
    """Angles between credit carried back by B and by W, after 1, 2, ... steps.

    Args:
      net: the network.
      params: its weights.
      h_0: (B, n), activity before the window.
      batch: windows, x (B, S, n_in), y (B, S, n_out).
      back: (n, n), what carries credit back; None is ``params["feedback"]["w_fb"]``.

    Returns:
      Shape (S - 1,), degrees, from k = 1; credit that vanishes counts 90.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> net, key = vanilla_rnn.vanilla_rnn(), jax.random.key(0)
      >>> params = vanilla_rnn.init_params(key, 2, 5, 1)
      >>> batch = Example(jax.random.normal(key, (3, 4, 2)), jnp.ones((3, 4, 1)))
      >>> angles_by_lag(net, params, jnp.zeros((3, 5)), batch, back=-params["forward"]["w"]).round().tolist()
      [180.0, 0.0, 180.0]
    """
    check(params, batch)
    weights = params["forward"]
    chex.assert_shape(h_0, (batch.x.shape[0], len(weights["w"])))
    w_fb: Array = params["feedback"]["w_fb"] if back is None else back
    x, y = time_first(batch)
    window = observe(weights, h_0, vanilla_rnn.trajectory(net, weights, h_0, x), x, y)
    carried = true = window.credit
    angles = []
    for k in range(1, len(x)):  # rows are the steps t = k, ..., S - 1, from which h^{t-k} lies in the window
        slope = window.slope[1 : len(x) - k + 1]
        carried, true = (carried[1:] * slope) @ w_fb, (true[1:] * slope) @ weights["w"]
        angles.append(angle(carried, true))
    return jnp.stack(angles)
