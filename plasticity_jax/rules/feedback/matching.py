r"""Matched feedback: the feedback weights undergo the changes of the forward weights, and so come to resemble them.

    e~^i = (e~^{i+1} B^{i+1}) phi_i'(v^i),   G^i = mean e~^i h^{i-1}^T
    updates of W^i:  G^i + decay W^i,   of B^i:  G^i + decay B^i,   i >= 2

With the same optimiser for both, W - B shrinks by the factor 1 - eta decay at each step of SGD: without decay
(`matching`, the paper's control) it stays what it was for ever, and only the relative error falls as W grows; with
decay (`kolen_pollack`) B becomes W. W^1 decays too; biases do not.

Source: Kolen & Pollack (1994); Lansdell, Prakash & Kording (2020), figure 2. Kind: approximate; exact at B = W, and
there it stays, so that it is then backpropagation with decay.
Memory: none carried, beside B. Time: that of backpropagation. Each synapse reads its presynaptic activity and one error
signal of its postsynaptic neuron; a feedback synapse reads the same two, which it joins the other way round.
"""

from plasticity_jax.base import LearningRule
from plasticity_jax.networks.mlp import MLP
from plasticity_jax.ops.checks import in_range
from plasticity_jax.rules.feedback.common import feedback_rule
from plasticity_jax.typing import Params, PyTree, Scalar


def matching(net: MLP, *, decay: Scalar = 0.0) -> LearningRule:
    """The same change for feedback as for forward weights.

    Args:
      net: the network.
      decay: of W and B alike, a rate relative to the learning rate, at least 0, which keeps W - B constant.

    Returns:
      A rule over ``w`` and ``bias``, and over ``w_fb`` of the form "chain", for which it emits W's own gradients: give
      both groups the same optimiser.

    Raises:
      ValueError: if the decay is negative.

    Example:
      >>> from plasticity_jax.networks.mlp import mlp
      >>> rule = matching(mlp(["tanh", "identity"]))

    Reference:
      Lansdell, Prakash & Kording, "Learning to solve the credit assignment problem", ICLR 2020.
    """
    in_range("decay", decay, 0, why="the share of a weight that each step takes off, relative to the learning rate")

    def teach(params: Params, gradients: PyTree) -> PyTree:
        w, w_fb = params["forward"]["w"], params["feedback"]["w_fb"]
        same = gradients["w"][1:]
        return {
            "forward": {
                "w": tuple(g + decay * a for g, a in zip(gradients["w"], w, strict=True)),
                "bias": gradients["bias"],
            },
            "feedback": {"w_fb": tuple(g + decay * b for g, b in zip(same, w_fb, strict=True))},
        }

    return feedback_rule(net, teach=teach)


def kolen_pollack(net: MLP, *, decay: Scalar = 1e-3) -> LearningRule:
    """Matched changes with weight decay, which makes B become W.

    Args:
      net: the network.
      decay: as in `matching`; at a learning rate eta the difference W - B falls like exp(-eta decay t).

    Returns:
      A rule, as `matching`.

    Example:
      >>> from plasticity_jax.networks.mlp import mlp
      >>> rule = kolen_pollack(mlp(["tanh", "identity"]), decay=0.01)

    Reference:
      Kolen & Pollack, "Backpropagation without weight transport", IEEE ICNN 1994.
    """
    return matching(net, decay=decay)
