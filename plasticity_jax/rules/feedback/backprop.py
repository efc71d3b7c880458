r"""Backpropagation: errors are carried back through the transposes of the forward weights.

    e^i = (e^{i+1} W^{i+1}) phi_i'(v^i),   G^i = mean e^i h^{i-1}^T

These are the equations of dense layers. In any other layer, e W stands for linear(W, .)^T e, and e h^T for
linear(., h)^T e.

Source: Rumelhart, Hinton & Williams (1986); the reference of Lansdell, Prakash & Kording (2020). Kind: exact.
Memory: no traces. Time: three matrix products a layer. Each feedback synapse reads the weight of a forward synapse:
this is the weight transport that the other rules of this wing avoid.
"""

from plasticity_jax.base import LearningRule
from plasticity_jax.layers.chain import Chain
from plasticity_jax.rules.feedback.common import feedback_rule


def backprop(net: Chain) -> LearningRule:
    """The exact gradient, by the chain rule.

    Args:
      net: a chain of layers, of `plasticity_jax.layers`.

    Returns:
      A rule over ``w`` and ``bias``; it does not read the group "feedback", which may be left out.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((3, 20, 1), ("tanh", "identity"))
      >>> learn = pj.learner(backprop(net), optax.sgd(0.1))
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> batch = pj.Example(x, jnp.sin(x[:, :1] - x[:, 1:2]))
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=300)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Rumelhart, Hinton & Williams, "Learning representations by back-propagating errors", Nature 1986.
    """
    return feedback_rule(net, back=lambda params: tuple(params["forward"]["w"])[1:])
