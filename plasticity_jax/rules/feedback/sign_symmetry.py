r"""Sign symmetry: feedback knows the signs of the forward weights, and not their sizes.

    e~^i = (e~^{i+1} s sign(W^{i+1})) phi_i'(v^i),   G^i = mean e~^i h^{i-1}^T

Source: Liao, Leibo & Poggio (2016). Kind: approximate; exact where every entry of W is +s or -s.
Memory: none carried. Time: that of backpropagation. Each synapse reads its presynaptic activity and one error signal
of its postsynaptic neuron; a feedback synapse reads the sign of the forward one that it mirrors.
The scale s is the caller's: 1, the bare sign matrix, is what the script of Lansdell, Prakash & Kording (2020) for
recurrent networks has; the mean absolute weight, sqrt(2 / pi) sqrt(2 / n_in) at the paper's initial weights, keeps
credit at its size.
"""

import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.networks.mlp import MLP
from plasticity_jax.rules.feedback.common import feedback_rule
from plasticity_jax.typing import Scalar


def sign_symmetry(net: MLP, *, scale: Scalar = 1.0) -> LearningRule:
    """Feedback by the signs of the forward weights.

    Args:
      net: the network.
      scale: s, the size of every feedback weight; the same for all layers.

    Returns:
      A rule over ``w`` and ``bias``; it does not read the group "feedback", which may be left out.

    Example:
      >>> from plasticity_jax.networks.mlp import mlp
      >>> rule = sign_symmetry(mlp(["tanh", "identity"]), scale=0.1)

    Reference:
      Liao, Leibo & Poggio, "How important is weight symmetry in backpropagation?", AAAI 2016.
    """
    return feedback_rule(net, back=lambda params: [scale * jnp.sign(w) for w in params["forward"]["w"][1:]])
