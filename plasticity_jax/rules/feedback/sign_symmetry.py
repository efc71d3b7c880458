r"""Sign symmetry: feedback weights have the signs of the forward weights, but not their sizes.

    e~^i = (e~^{i+1} s sign(W^{i+1})) phi_i'(v^i),   G^i = mean e~^i h^{i-1}^T

These are the equations of dense layers. In any other layer, e B stands for linear(B, .)^T e, and e h^T for
linear(., h)^T e.

Source: Liao, Leibo & Poggio (2016). Kind: approximate; exact where every entry of W is +s or -s.
Memory: no traces. Time: that of backpropagation. Each synapse reads its presynaptic activity and one error signal
of its postsynaptic neuron; a feedback synapse reads the sign of the forward one that it mirrors.
The scale s is free: 1, the plain sign matrix, is that of Lansdell, Prakash & Kording's (2020) script for recurrent
networks; the mean absolute weight, sqrt(2 / pi) sqrt(2 / n_in) at the paper's initial weights, preserves the size of
the credit.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.layers.chain import Chain
from plasticity_jax.rules.feedback.common import feedback_rule
from plasticity_jax.typing import Params, PyTree, Scalar


def sign_symmetry(net: Chain, *, scale: Scalar = 1.0) -> LearningRule:
    """Feedback weights with the signs of the forward weights.

    Args:
      net: a chain of layers, of `plasticity_jax.layers`.
      scale: s, the size of every feedback weight; the same for all layers.

    Returns:
      A rule over ``w`` and ``bias``; it does not read the group "feedback", which may be left out.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((3, 20, 1), ("tanh", "identity"))
      >>> learn = pj.learner(sign_symmetry(net, scale=0.3), optax.sgd(0.1))
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> batch = pj.Example(x, jnp.sin(x[:, :1] - x[:, 1:2]))
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=300)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Liao, Leibo & Poggio, "How important is weight symmetry in backpropagation?", AAAI 2016.
    """

    def signs(params: Params) -> Sequence[PyTree]:
        return jax.tree.map(lambda w: jnp.asarray(scale, w.dtype) * jnp.sign(w), tuple(params["forward"]["w"])[1:])

    return feedback_rule(net, back=signs)
