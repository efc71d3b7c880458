r"""Direct feedback alignment: the output's error reaches every hidden layer through a fixed random matrix of its own.

    e~^i = (e^L B^i) phi_i'(v^i),   G^i = mean e~^i h^{i-1}^T,   B^i fixed, (n_L, n_i)

Source: Nokland (2016); Lansdell, Prakash & Kording (2020). Kind: approximate; exact in a linear network where B^i is
the product of the weights above layer i, and in any network of one hidden layer at B = W.
Memory: none carried, beside B. Time: at most that of backpropagation; the layers do not wait for one another.
Each synapse reads its presynaptic activity and one error signal of its postsynaptic neuron.
"""

from plasticity_jax.base import LearningRule
from plasticity_jax.networks.mlp import MLP
from plasticity_jax.rules.feedback.common import feedback_rule


def direct_feedback_alignment(net: MLP) -> LearningRule:
    """Fixed random feedback, straight from the output.

    Args:
      net: the network.

    Returns:
      A rule over ``w`` and ``bias``, with ``w_fb`` of the form "direct", which it leaves alone.

    Example:
      >>> from plasticity_jax.networks.mlp import mlp
      >>> rule = direct_feedback_alignment(mlp(["tanh", "identity"]))

    Reference:
      Nokland, "Direct feedback alignment provides learning in deep neural networks", NeurIPS 2016.
    """
    return feedback_rule(net, form="direct")
