r"""Feedback alignment: errors are carried back, layer by layer, through fixed random matrices.

    e~^i = (e~^{i+1} B^{i+1}) phi_i'(v^i),   G^i = mean e~^i h^{i-1}^T,   B^{i+1} fixed, of the shape of W^{i+1}

Source: Lillicrap et al. (2016); Lansdell, Prakash & Kording (2020), section 4. Kind: approximate; exact at B = W.
Memory: none carried, beside B. Time: that of backpropagation. Each synapse reads its presynaptic activity and one
error signal of its postsynaptic neuron; no synapse reads another's weight.
"""

from plasticity_jax.base import LearningRule
from plasticity_jax.networks.mlp import MLP
from plasticity_jax.rules.feedback.common import feedback_rule


def feedback_alignment(net: MLP) -> LearningRule:
    """Fixed random feedback, through the layers.

    Args:
      net: the network.

    Returns:
      A rule over ``w`` and ``bias``, with ``w_fb`` of the form "chain", which it leaves alone.

    Example:
      >>> from plasticity_jax.networks.mlp import mlp
      >>> rule = feedback_alignment(mlp(["tanh", "identity"]))

    Reference:
      Lillicrap, Cownden, Tweed & Akerman, "Random synaptic feedback weights support error backpropagation for deep
      learning", Nature Communications 2016.
    """
    return feedback_rule(net)
