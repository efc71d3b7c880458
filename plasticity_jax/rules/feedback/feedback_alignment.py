r"""Feedback alignment: errors are carried back, layer by layer, through fixed random matrices.

    e~^i = (e~^{i+1} B^{i+1}) phi_i'(v^i),   G^i = mean e~^i h^{i-1}^T,   B^{i+1} fixed, of the form of W^{i+1}

These are the equations of dense layers. In any other layer, e B stands for linear(B, .)^T e, and e h^T for
linear(., h)^T e; in a convolution B is a kernel.

Source: Lillicrap et al. (2016); Lansdell, Prakash & Kording (2020), section 4. Kind: approximate; exact at B = W.
Memory: B; no traces. Time: that of backpropagation. Each synapse reads its presynaptic activity and one error signal
of its postsynaptic neuron; no synapse reads the weight of another.
"""

from plasticity_jax.base import LearningRule
from plasticity_jax.layers.chain import Chain
from plasticity_jax.rules.feedback.common import feedback_rule


def feedback_alignment(net: Chain) -> LearningRule:
    """Fixed random feedback, layer by layer.

    Args:
      net: a chain of layers, of `plasticity_jax.layers`.

    Returns:
      A rule over ``w`` and ``bias``; it reads ``w_fb`` of the pathway "chain" and does not change it.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((3, 20, 1), ("tanh", "identity"))
      >>> learn = pj.learner(feedback_alignment(net), optax.sgd(0.1))
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> batch = pj.Example(x, jnp.sin(x[:, :1] - x[:, 1:2]))
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=300)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Lillicrap, Cownden, Tweed & Akerman, "Random synaptic feedback weights support error backpropagation for deep
      learning", Nature Communications 2016.
    """
    return feedback_rule(net)
