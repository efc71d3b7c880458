r"""Truncation to one step: no credit is carried through time at all, neither between neurons nor within one.

    c^t = q^t = dL^t / ds^t,   G_W = sum_t (b^t q^t) rhat^t^T

This is the baseline of the rules that carry credit back: a task that it solves is no test of them.

Source: Lansdell, Prakash & Kording (2019), section 4.3, at a truncation of 1; Elman (1990). Kind: approximate; exact
where there is nothing to carry: W_rec = 0 in the vanilla network, leaky with alpha = 1.
Memory: the state. Time per step: a product with W, forward, and the outer products. Each synapse reads its presynaptic
activity and one credit signal of its postsynaptic neuron, both of the present step.
"""

from plasticity_jax.base import LearningRule
from plasticity_jax.cells.dynamics import need_neurons
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.rules.feedback.recurrent_common import windowed_rule


def truncated_to_one_step(cell: Neurons) -> LearningRule:
    """Credit from the error of the present step alone.

    Args:
      cell: a network of neurons, of `plasticity_jax.cells`.

    Returns:
      A rule over ``w`` (G, n, m), ``own`` and ``w_out`` (n_out, n + 1); it reads no feedback group. Its batch is
      windows, x (B, S, n_in), y (B, S, n_out), start and weight (B, S).

    Raises:
      TypeError: if ``cell`` is not a cell of neurons.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=2, n=16, n_out=1, alpha=1.0, loss="squared")
      >>> key = jax.random.key(0)
      >>> x = jax.random.normal(key, (20, 6, 2))
      >>> batch = pj.Example(x, x[..., :1] - x[..., 1:])
      >>> learn = pj.learner(truncated_to_one_step(cell), optax.sgd(0.02))
      >>> state = learn.init(pj.cells.init_params(key, cell), key, batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=200)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Elman, "Finding structure in time", Cognitive Science 1990.
    """
    cell = need_neurons(cell, "truncated_to_one_step")
    return windowed_rule(cell, lambda params, window: window.credit)
