r"""Backpropagation: errors are carried back through the transposes of the weights that carried activity forward.

    e^i = (e^{i+1} W^{i+1}) phi_i'(v^i),   G^i = mean e^i h^{i-1}^T

Source: Rumelhart, Hinton & Williams (1986); the reference of Lansdell, Prakash & Kording (2020). Kind: exact.
Memory: none carried. Time: three matrix products a layer. Each feedback synapse reads the
weight of another, of the forward path: the weight transport that the other rules of this wing do without.
"""

from plasticity_jax.base import LearningRule
from plasticity_jax.networks.mlp import MLP
from plasticity_jax.rules.feedback.common import feedback_rule


def backprop(net: MLP) -> LearningRule:
    """The gradient, by the chain rule written out.

    Args:
      net: the network.

    Returns:
      A rule over ``w`` and ``bias``; it does not read the group "feedback", which may be left out.

    Example:
      >>> from plasticity_jax.networks.mlp import mlp
      >>> rule = backprop(mlp(["tanh", "identity"]))

    Reference:
      Rumelhart, Hinton & Williams, "Learning representations by back-propagating errors", Nature 1986.
    """
    return feedback_rule(net, back=lambda params: params["forward"]["w"][1:])
