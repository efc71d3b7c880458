r"""Fixed recurrent weights: only the readout learns, the lower bound on performance.

    G = 0

Source: Marschall, Cho & Savin (2019), "fixed-W". Kind: local; the readout's gradient is exact, that of W absent.
Memory: none. Time: O(n m) for the forward step. A readout synapse reads its output's error and its presynaptic rate.
"""

import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.networks.leaky_rnn import LeakyRNN
from plasticity_jax.rules.online.common import Credit, Moment, Plausibility, online_rule
from plasticity_jax.typing import Key

PLAUSIBILITY = Plausibility(tensor="none", facing="none", stochastic=False, solved="closed form", fails={})


def fixed_recurrent(net: LeakyRNN) -> LearningRule:
    """Trains the readout and nothing else.

    Args:
      net: the network.

    Returns:
      A rule whose updates for ``w`` are zero and for ``w_out`` (n_out, n + 1) the exact gradient.

    Raises:
      AssertionError: on the first step, if weights and batch do not fit together.

    Example:
      >>> from plasticity_jax.networks.leaky_rnn import leaky_rnn
      >>> fixed_recurrent(leaky_rnn()).lag
      0

    Reference:
      Marschall, Cho & Savin (2019), Figure 1.
    """

    def step(moment: Moment, traces: tuple[()], shared: tuple[()], key: Key) -> Credit:
        return Credit(jnp.zeros_like(moment.w), ())

    return online_rule(net, lambda key, sizes: (), step)
