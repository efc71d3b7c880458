r"""Hebb's rule: a weight grows with the product of its pre- and postsynaptic activity.

    W^i <- W^i + alpha^i sum_b h^i_b h^{i-1}_b^T

over the examples b of the batch. All layers change at once, from one forward pass.

Source: Hebb (1949); the plain rule of Lindsey & Litwin-Kumar (2020), section 4 and appendix A. Kind: local.
Memory: no traces. Time: two products a layer, one of them the forward pass. Each synapse reads its presynaptic and
its postsynaptic activity. Nothing bounds the weights: in a linear layer W grows as powers of I + alpha sum x x^T.
"""

from collections.abc import Sequence

from plasticity_jax.base import LearningRule
from plasticity_jax.layers.chain import Chain
from plasticity_jax.ops.hebbian import hebb_product
from plasticity_jax.rules.hebbian.common import Activity, Layers, Reduction, local_rule
from plasticity_jax.typing import Array, Params


def hebb(
    net: Chain, *, alpha: Layers = 1e-3, plastic: Sequence[int] | None = None, reduction: Reduction = "sum"
) -> LearningRule:
    """Plain Hebbian plasticity.

    Args:
      net: a chain of layers; the dense ones can learn.
      alpha: plasticity; in each layer a number, or (n_i,) for each neuron, or (n_i, n_{i-1}) for each weight.
      plastic: indices of the layers that learn, from the end if negative; None for all dense layers.
      reduction: "sum" or "mean" over the batch. A mean over B examples needs B times the alpha of a sum.

    Returns:
      A rule over ``{"forward": {"w", "bias"}}`` that changes only w. A target is read only for the reported loss,
      which is 0 if the batch's y is None.

    Raises:
      ValueError: if the reduction is not known, a layer does not exist, or there is not one alpha for each.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> net = pj.networks.mlp((4, 1), ("identity",))
      >>> x = jax.random.normal(jax.random.key(0), (200, 4)) * jnp.array([2.0, 1.0, 0.5, 0.5])
      >>> learn = pj.learner(hebb(net, alpha=1e-3), optax.sgd(1.0))
      >>> batch = pj.Example(x, None)  # a target would be read only for the loss
      >>> state = learn.init(pj.layers.init_params(jax.random.key(1), net), jax.random.key(2), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=20)
      >>> w, first = state.params["forward"]["w"][0][0], jnp.linalg.eigh(x.T @ x)[1][:, -1]
      >>> bool(abs(w @ first) > 0.999 * jnp.linalg.norm(w)), bool(jnp.linalg.norm(w) > 100)  # along it, without bound
      (True, True)

    Reference:
      Hebb, "The organization of behavior", Wiley 1949.
    """

    def change(i: int, params: Params, act: Activity) -> Array:
        return hebb_product(act.seen[i], act.h[i + 1], params["forward"]["w"][i], act.weight)

    return local_rule(net, change, alpha=alpha, plastic=plastic, reduction=reduction, target=False)
