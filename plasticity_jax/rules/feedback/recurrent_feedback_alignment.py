r"""Feedback alignment through time: credit is carried back through a fixed random matrix in place of W.

    delta^j = (e^j V + delta^{j+1} B) phi'^j,   G_W = sum_j delta^j h^{j-1}^T,   B fixed

Source: Lillicrap et al. (2016); Lansdell, Prakash & Kording (2019), section 4.3. Kind: approximate; exact at B = W.
Memory: S n, the window, and B. Time per step: three products with matrices of the size of W. Each synapse reads its
presynaptic activity and one error signal of its postsynaptic neuron, but of all steps of the window, at its end.
"""

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.networks.vanilla_rnn import VanillaRNN
from plasticity_jax.rules.feedback.recurrent_common import WindowTraces, fixed_feedback, rest
from plasticity_jax.typing import Example, Key, Params, Updates


def recurrent_feedback_alignment(net: VanillaRNN) -> LearningRule:
    """Fixed random feedback through time; the readout carries its error back by its own weights.

    Args:
      net: the network.

    Returns:
      A rule over ``u``, ``w``, ``bias``, ``v`` and ``bias_out``; it leaves ``w_fb`` alone. Its batch is windows,
      x (B, S, n_in), y (B, S, n_out).

    Example:
      >>> from plasticity_jax.networks.vanilla_rnn import vanilla_rnn
      >>> rule = recurrent_feedback_alignment(vanilla_rnn())

    Reference:
      Lillicrap, Cownden, Tweed & Akerman, "Random synaptic feedback weights support error backpropagation for deep
      learning", Nature Communications 2016.
    """

    def init(params: Params, key: Key, batch: Example) -> WindowTraces:
        return rest(params, batch)

    def update(params: Params, traces: WindowTraces, key: Key, batch: Example) -> tuple[Updates, WindowTraces, Info]:
        return fixed_feedback(net, params, traces, batch, params["feedback"]["w_fb"])

    return LearningRule(init, update)
