"""A life of FLP: the plastic layers learn by feedback and local plasticity, at meta-learned alpha and beta.

    theta = {"prefix", "forward": {"w", "bias"}, "feedback": {"w_fb", "bias"}, "alpha", "beta"}

Source: Lindsey & Litwin-Kumar (2020), section 4.1. The frozen layers are the prefix, one large product for the whole
life. All of theta is learned between lives; only the plastic w changes within one.
"""

from typing import Literal

import optax

from plasticity_jax.base import Learner, learner
from plasticity_jax.layers.chain import Chain
from plasticity_jax.meta.lifetime import Life, of_theta
from plasticity_jax.meta.supervised import Prefix, supervised_life
from plasticity_jax.rules.hebbian import flp
from plasticity_jax.typing import Params, PyTree


def flp_life(
    net: Chain,
    *,
    prefix: Prefix | None = None,
    blockwise: bool = False,
    signal: Literal["error", "target"] = "error",
    output: Literal["mixed", "clamped"] = "mixed",
    presynaptic: Literal["before", "after"] = "before",
    product: Literal["hebb", "oja"] = "oja",
    reduction: Literal["sum", "mean"] = "sum",
) -> Life:
    """A life of `plasticity_jax.rules.hebbian.flp`.

    Args:
      net: the plastic layers; all of them learn.
      prefix: see `supervised_life`.
      blockwise: see `supervised_life`.
      signal: see `flp`; theta holds alpha and beta, one for each layer.
      output: see `flp`.
      presynaptic: see `flp`.
      product: see `flp`.
      reduction: see `flp`.

    Returns:
      A `Life` over the theta of the module's docstring; "prefix" only if there is one. Episodes are those of
      `supervised_life`.

    Example:
      >>> import jax, jax.numpy as jnp, plasticity_jax as pj
      >>> from plasticity_jax.tasks.incremental_sines import incremental_sines
      >>> key, net = jax.random.key(0), pj.networks.mlp((3, 20, 1), ("relu", "identity"))
      >>> theta = {
      ...     "forward": pj.layers.init_params(key, net)["forward"],
      ...     "feedback": pj.rules.flp_feedback(key, net),
      ...     "alpha": (jnp.zeros((20, 3)), jnp.zeros((1, 20))),
      ...     "beta": (jnp.asarray(0.5), jnp.asarray(0.5)),
      ... }
      >>> rule = pj.meta.meta_gradient(flp_life(net))
      >>> stream = incremental_sines(functions=2, batches=5)
      >>> _, episodes = stream.take(stream.init(key), 1)
      >>> updates, _, info = rule.update(theta, (), key, jax.tree.map(lambda leaf: leaf[0], episodes))
      >>> bool(abs(updates["alpha"][0]).max() > 0), float(updates["beta"][0])
      (True, 0.0)

    Reference:
      Lindsey & Litwin-Kumar, "Learning to learn with feedback and local plasticity", NeurIPS 2020.
    """

    def learns(theta: PyTree) -> Learner:
        rule = flp(
            net,
            alpha=of_theta(theta, "alpha"),
            beta=of_theta(theta, "beta"),
            signal=signal,
            output=output,
            presynaptic=presynaptic,
            product=product,
            reduction=reduction,
        )
        return learner(rule, optax.sgd(1.0))

    def params(theta: PyTree) -> Params:
        return {name: of_theta(theta, name) for name in ("forward", "feedback")}

    return supervised_life(net, learns, params, prefix=prefix, blockwise=blockwise)
