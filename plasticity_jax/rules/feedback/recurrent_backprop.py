r"""Backpropagation through time over disjoint windows: credit is carried back through the transpose of W.

    delta^j = (e^j V + delta^{j+1} W) phi'^j,   G_W = sum_j delta^j h^{j-1}^T

Source: Werbos (1990); the reference of Lansdell, Prakash & Kording (2019), section 4.3. Kind: exact within the window.
Memory: S n, the window. Time per step: three products with W. Each synapse reads, at the window's end, the activity of
all its steps, and credit that was carried back by the weights of other synapses: weight transport.
"""

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.networks.vanilla_rnn import VanillaRNN
from plasticity_jax.rules.feedback.recurrent_common import WindowTraces, fixed_feedback, rest
from plasticity_jax.typing import Example, Key, Params, Updates


def recurrent_backprop(net: VanillaRNN) -> LearningRule:
    """The gradient of the loss summed over a window, by the chain rule written out.

    Args:
      net: the network.

    Returns:
      A rule over ``u``, ``w``, ``bias``, ``v`` and ``bias_out``; its batch is windows, x (B, S, n_in), y (B, S, n_out).

    Example:
      >>> from plasticity_jax.networks.vanilla_rnn import vanilla_rnn
      >>> rule = recurrent_backprop(vanilla_rnn())

    Reference:
      Werbos, "Backpropagation through time: what it does and how to do it", 1990.
    """

    def init(params: Params, key: Key, batch: Example) -> WindowTraces:
        return rest(params, batch)

    def update(params: Params, traces: WindowTraces, key: Key, batch: Example) -> tuple[Updates, WindowTraces, Info]:
        return fixed_feedback(net, params, traces, batch, params["forward"]["w"])

    return LearningRule(init, update)
