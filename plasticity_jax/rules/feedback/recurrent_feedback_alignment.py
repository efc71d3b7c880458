r"""Feedback alignment through time: credit is carried back through fixed random matrices in place of W_rec.

    c^t = q^t + D^T c^{t+1} + o (sum_g B_g^T (b_g c^{t+1})),   G_W = sum_t (b^t c^t) rhat^t^T,   B fixed

In the vanilla network (leaky with alpha = 1), where D = 0 and o = 1, delta^t = (e^t W_out + delta^{t+1} B) phi'^t.

Source: Lillicrap et al. (2016); Lansdell, Prakash & Kording (2019), section 4.3. Kind: approximate; exact at B = W_rec.
At B = 0 credit stays within its neuron, and the update is the sum over the window of RFLO's (e-prop's on spiking
neurons). Memory: the window, and B. Time per step: three products with matrices of the size of W. Each synapse reads,
at the end of the window, its presynaptic activity and one credit signal of its postsynaptic neuron at all steps.
"""

from plasticity_jax.base import LearningRule
from plasticity_jax.cells.dynamics import need_neurons
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.cells.window import Window, carry_back
from plasticity_jax.rules.feedback.recurrent_common import windowed_rule
from plasticity_jax.typing import Array, Params


def recurrent_feedback_alignment(cell: Neurons) -> LearningRule:
    """Fixed random feedback through time; the readout carries its error back through its own weights.

    Args:
      cell: a network of neurons, of `plasticity_jax.cells`.

    Returns:
      A rule over ``w`` (G, n, m), ``own`` and ``w_out`` (n_out, n + 1); it reads ``params["feedback"]["w_back"]``
      (G, n, n), of `plasticity_jax.cells.init_feedback`, and does not change it. Its batch is windows, x (B, S, n_in),
      y (B, S, n_out), start and weight (B, S).

    Raises:
      TypeError: if ``cell`` is not a cell of neurons.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=2, n=16, n_out=1, alpha=1.0, loss="squared")
      >>> key = jax.random.key(0)
      >>> params = {**pj.cells.init_params(key, cell), "feedback": pj.cells.init_feedback(key, cell)}
      >>> pulse = jnp.zeros((1, 6, 2)).at[0, 0].set(1.0)  # the target is the input of five steps before
      >>> batch = pj.Example(pulse, jnp.zeros((1, 6, 1)).at[0, 5].set(1.0))
      >>> learn = pj.learner(recurrent_feedback_alignment(cell), optax.sgd(0.05))
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), learn.init(params, key, batch), length=200)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Lillicrap, Cownden, Tweed & Akerman, "Random synaptic feedback weights support error backpropagation for deep
      learning", Nature Communications 2016.
    """
    cell = need_neurons(cell, "recurrent_feedback_alignment")

    def credit(params: Params, window: Window) -> Array:
        return carry_back(cell, {"w": params["feedback"]["w_back"]}, window.local, window.credit)

    return windowed_rule(cell, credit, "back")
