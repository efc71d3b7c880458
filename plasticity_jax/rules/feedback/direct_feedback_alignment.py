r"""Direct feedback alignment: the output's error reaches every hidden layer through a fixed random matrix of its own.

    e~^i = (e^L B^i) phi_i'(v^i),   G^i = mean e~^i h^{i-1}^T,   B^i fixed, (n_L, n_i)

n_L counts all entries of v^L and n_i those of h^i. In a layer that is not dense, e h^T stands for linear(., h)^T e.

Source: Nokland (2016); Lansdell, Prakash & Kording (2020). Kind: approximate; exact in a linear network where B^i is
the product of the weights above layer i, and in any network with one hidden layer at B = W.
Memory: B; no traces. Time: at most that of backpropagation; the layers do not wait for one another.
Each synapse reads its presynaptic activity and one error signal of its postsynaptic neuron.
"""

from plasticity_jax.base import LearningRule
from plasticity_jax.layers.chain import Chain
from plasticity_jax.rules.feedback.common import feedback_rule


def direct_feedback_alignment(net: Chain) -> LearningRule:
    """Fixed random feedback, straight from the output.

    Args:
      net: a chain of layers, of `plasticity_jax.layers`.

    Returns:
      A rule over ``w`` and ``bias``; it reads ``w_fb`` of the pathway "direct" and does not change it.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((3, 20, 1), ("tanh", "identity"))
      >>> learn = pj.learner(direct_feedback_alignment(net), optax.sgd(0.1))
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> batch = pj.Example(x, jnp.sin(x[:, :1] - x[:, 1:2]))
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net, pathway="direct"), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=300)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Nokland, "Direct feedback alignment provides learning in deep neural networks", NeurIPS 2016.
    """
    return feedback_rule(net, pathway="direct")
