r"""Matched feedback: the feedback weights take the same changes as the forward weights, and so come to resemble them.

    e~^i = (e~^{i+1} B^{i+1}) phi_i'(v^i),   G^i = mean e~^i h^{i-1}^T
    updates of W^i:  G^i + decay W^i,   of B^i:  G^i + decay B^i,   i >= 2

With the same optimiser for both, each step of SGD multiplies W - B by 1 - eta decay. Without decay (`matching`, the
paper's control) W - B stays constant, and only the relative error falls as W grows; with decay (`kolen_pollack`) B
converges to W. W^1 decays too; biases do not.

Source: Kolen & Pollack (1994); Lansdell, Prakash & Kording (2020), figure 2. Kind: approximate; exact at B = W, which
it preserves: it is then backpropagation with decay.
Memory: B; no traces. Time: that of backpropagation. Each synapse reads its presynaptic activity and one error signal of
its postsynaptic neuron; a feedback synapse reads the same two, with their roles exchanged.
"""

import jax

from plasticity_jax.base import LearningRule
from plasticity_jax.layers.chain import Chain
from plasticity_jax.layers.passes import Pass
from plasticity_jax.ops.checks import like, number
from plasticity_jax.rules.feedback.common import feedback_rule
from plasticity_jax.typing import Key, Params, PyTree, Scalar


def matching(net: Chain, *, decay: Scalar = 0.0) -> LearningRule:
    """Feedback weights that take the same changes as the forward weights.

    Args:
      net: a chain of layers, of `plasticity_jax.layers`.
      decay: the decay of W and B alike, relative to the learning rate, at least 0; at 0, W - B stays constant.

    Returns:
      A rule over ``w`` and ``bias``, and over ``w_fb`` of the pathway "chain", for which it emits W's own gradients:
      give both groups the same optimiser.

    Raises:
      ValueError: if the decay is negative.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((3, 20, 1), ("tanh", "identity"))
      >>> learn = pj.learner(matching(net), optax.sgd(0.1))
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> batch = pj.Example(x, jnp.sin(x[:, :1] - x[:, 1:2]))
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=300)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Lansdell, Prakash & Kording, "Learning to solve the credit assignment problem", ICLR 2020.
    """
    number("decay", decay, 0, why="the share of a weight lost at each step, relative to the learning rate")

    def decayed(gradients: PyTree, weights: PyTree) -> PyTree:
        weights = tuple(weights)
        return jax.tree.map(lambda g, w: g + decay * w, like(tuple(gradients), weights), weights)

    def teach(params: Params, gradients: PyTree, activity: Pass, key: Key) -> PyTree:
        return {
            "forward": {**gradients, "w": decayed(gradients["w"], params["forward"]["w"])},
            "feedback": {"w_fb": decayed(gradients["w"][1:], params["feedback"]["w_fb"])},
        }

    return feedback_rule(net, teach=teach)


def kolen_pollack(net: Chain, *, decay: Scalar = 1e-3) -> LearningRule:
    """Matched changes with weight decay, by which B converges to W.

    Args:
      net: a chain of layers, of `plasticity_jax.layers`.
      decay: as in `matching`; at a learning rate eta the difference W - B falls like exp(-eta decay t).

    Returns:
      A rule like that of `matching`.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((3, 20, 1), ("tanh", "identity"))
      >>> learn = pj.learner(kolen_pollack(net, decay=0.01), optax.sgd(0.1))
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> batch = pj.Example(x, jnp.sin(x[:, :1] - x[:, 1:2]))
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=300)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Kolen & Pollack, "Backpropagation without weight transport", IEEE ICNN 1994.
    """
    return matching(net, decay=decay)
