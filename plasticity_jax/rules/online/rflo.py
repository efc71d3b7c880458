r"""RFLO, random feedback local online learning: one leaky eligibility trace per synapse.

    B_ij^t = (1 - alpha) B_ij^{t-1} + alpha phi'(v_i^t) rhat_j^t
    G_ij   = q_i^t B_ij^t

Source: Murray (2019); Marschall, Cho & Savin (2019), Table 1. Influence tensor M_kij approximated by delta_ki B_ij.
Kind: approximate; exact where no unit listens to another (W_rec = 0).
Memory: n m. Time: O(n m). Each synapse reads its pre- and postsynaptic activity, its own trace, and one credit signal
per neuron: all of criteria i to vi are met.
Departure: the paper's figure used the readout's transpose as feedback in spite of the name; so does the default here.
"""

from typing import NamedTuple

import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.networks.leaky_rnn import LeakyRNN
from plasticity_jax.rules.online.common import Credit, Feedback, Moment, Plausibility, Sizes, online_rule
from plasticity_jax.typing import Array, Key, Scalar

PLAUSIBILITY = Plausibility(tensor="delta_ki B_ij", facing="past", stochastic=False, solved="closed form", fails={})


class RFLOTraces(NamedTuple):
    """Attributes: eligibility: (n, m), B_ij, each synapse's filtered immediate influence."""

    eligibility: Array


def rflo(net: LeakyRNN, *, leak: Scalar | None = None, feedback: Feedback = "readout") -> LearningRule:
    """Leaky eligibility traces times immediate credit.

    Args:
      net: the network.
      leak: forgetting rate of the trace, in (0, 1] per step; None is the network's alpha. A coefficient that can be
        meta-learned.
      feedback: "readout" (the transpose of W_out) or "random" (the fixed ``w_fb``).

    Returns:
      A rule over ``w`` (n, m) and ``w_out`` (n_out, n + 1).

    Raises:
      ValueError: if the feedback is not known.

    Example:
      >>> from plasticity_jax.networks.leaky_rnn import leaky_rnn
      >>> rule = rflo(leaky_rnn(alpha=0.5), feedback="random")

    Reference:
      Murray, "Local online learning in recurrent networks with random feedback", eLife 2019.
    """

    def init(key: Key, sizes: Sizes) -> RFLOTraces:
        return RFLOTraces(jnp.zeros((sizes.n, sizes.m), sizes.dtype))

    def step(moment: Moment, traces: RFLOTraces, shared: tuple[()], key: Key) -> Credit:
        rate = moment.net.alpha if leak is None else leak
        eligibility = (1 - rate) * traces.eligibility + moment.immediate[:, None] * moment.rhat
        return Credit(moment.credit[:, None] * eligibility, RFLOTraces(eligibility))

    return online_rule(net, init, step, feedback=feedback)
