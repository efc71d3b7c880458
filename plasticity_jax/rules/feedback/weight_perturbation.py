r"""Weight perturbation: noise on all weights at once; each learns from its own noise times the change of the loss.

    G = (L(w + sigma xi) - L(w)) xi / sigma,   xi independent, of mean 0 and variance 1, one for each weight

E G = grad L + O(sigma^2): the gradient of the loss averaged over the noise, exactly so for normal noise, and the
gradient itself where L is quadratic in w. The variance grows as |grad L|^2 times the number of weights.

Source: Jabri & Flower (1992); Cauwenberghs (1993). Kind: approximate; unbiased where L is quadratic.
Memory: one random number for each weight; no traces. Time: two forward passes, three if antithetic. Each synapse reads
its own noise and one number for the whole network.
"""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp

from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.layers.chain import Chain
from plasticity_jax.ops import groups
from plasticity_jax.ops.checks import number
from plasticity_jax.ops.noise import check_noise
from plasticity_jax.ops.perturbation import credited, noise_like, real_dtype, shaken
from plasticity_jax.rules.feedback.perturbation_common import perturbed
from plasticity_jax.typing import Array, Batch, Key, Params, Scalar, Updates


def weight_perturbation(
    net: Chain | Callable[[Params, Batch], Array],
    *,
    sigma: Scalar = 1e-2,
    noise: Literal["gaussian", "rademacher"] = "gaussian",
    antithetic: bool = False,
) -> LearningRule:
    """Descends the loss along random directions, without any error carried back.

    Args:
      net: a chain of layers, where the group "forward" learns; or any ``(params, batch) -> loss ()``, where all
        floating params learn.
      sigma: the noise's standard deviation, above 0; in float32 best within 1e-3 to 1e-1.
      noise: "gaussian" or "rademacher" (cheaper, with less variance).
      antithetic: use (L(w + sigma xi) - L(w - sigma xi)) / 2 in place of L(w + sigma xi) - L(w), for a third pass.

    Returns:
      A rule over the params of the network; for a chain its batch is an `Example`.

    Raises:
      ValueError: if an option is not known or out of range, or the function returns more than one number.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> def loss(params, batch):  # a model of your own, with params of any form
      ...     return jnp.mean((batch.x @ params["slope"] + params["offset"] - batch.y) ** 2)
      >>> x = jax.random.normal(jax.random.key(0), (50, 3))
      >>> batch = pj.Example(x, x[:, 0] - x[:, 1] + 1.0)
      >>> learn = pj.learner(weight_perturbation(loss), optax.sgd(0.03))
      >>> state = learn.init({"slope": jnp.zeros(3), "offset": jnp.zeros(())}, jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=300)
      >>> bool(info.loss[-1] < 0.01 * info.loss[0])
      True

    Reference:
      Jabri & Flower, "Weight perturbation: an optimal architecture and learning technique for analog VLSI feedforward
      and recurrent multilayer networks", IEEE Transactions on Neural Networks 1992.
    """
    check_noise(noise)
    number("sigma", sigma, 0, open_low=True, why="the standard deviation of the noise, which divides its effect")
    learning, fit, loss_of = perturbed(net)

    def init(params: Params, key: Key, batch: Batch) -> tuple[()]:
        fit(params, batch)
        return ()

    def update(params: Params, traces: tuple[()], key: Key, batch: Batch) -> tuple[Updates, tuple[()], Info]:
        batch, weights = fit(params, batch), learning(params)
        xi = noise_like(key, weights, noise)
        size = jnp.asarray(sigma, real_dtype(weights))

        def loss_with(size: Array) -> Array:
            return loss_of(shaken(weights, size, xi), batch)[0]

        loss, aux = loss_of(weights, batch)
        effect = (loss_with(size) - loss_with(-size)) / (2 * size) if antithetic else (loss_with(size) - loss) / size
        return groups.filled(params, credited(effect, xi)), (), Info(loss, READY, aux)

    return LearningRule(init, update)
