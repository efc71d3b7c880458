r"""Truncation to one step: no credit is carried through time at all, B = 0.

    delta^j = (e^j V) phi'^j,   G_W = sum_j delta^j h^{j-1}^T

The baseline of every rule that carries credit back: a task that it solves says nothing of them.

Source: Lansdell, Prakash & Kording (2019), section 4.3, at a truncation of 1; Elman (1990). Kind: approximate; exact
where W = 0.
Memory: none beside the activity. Time per step: a product with W, forward, and the outer products. Each synapse reads
its presynaptic activity and one error signal of its postsynaptic neuron, both of the present step.
"""

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.networks.vanilla_rnn import VanillaRNN
from plasticity_jax.rules.feedback.recurrent_common import WindowTraces, fixed_feedback, rest
from plasticity_jax.typing import Example, Key, Params, Updates


def truncated_to_one_step(net: VanillaRNN) -> LearningRule:
    """Each step's error teaches that step alone.

    Args:
      net: the network.

    Returns:
      A rule over ``u``, ``w``, ``bias``, ``v`` and ``bias_out``; it does not read ``w_fb``. Its batch is windows,
      x (B, S, n_in), y (B, S, n_out).

    Example:
      >>> from plasticity_jax.networks.vanilla_rnn import vanilla_rnn
      >>> rule = truncated_to_one_step(vanilla_rnn())

    Reference:
      Elman, "Finding structure in time", Cognitive Science 1990.
    """

    def init(params: Params, key: Key, batch: Example) -> WindowTraces:
        return rest(params, batch)

    def update(params: Params, traces: WindowTraces, key: Key, batch: Example) -> tuple[Updates, WindowTraces, Info]:
        return fixed_feedback(net, params, traces, batch, None)

    return LearningRule(init, update)
