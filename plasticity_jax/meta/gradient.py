r"""The meta-gradient: backpropagation through whole lifetimes, as a learning rule over theta.

    G = mean over episodes of  d/dtheta loss(theta, params_T(theta), query)

Source: Finn, Abbeel & Levine (2017); Lindsey & Litwin-Kumar (2020), section 4.1. Kind: exact.
Memory: that of a life, which grows as sqrt(T) when it is rematerialised. Time: three times a life's, or four. It reads
everything: this is the outer loop, evolution's or a designer's, and no claim is made that a synapse could do it.
"""

import jax

from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.meta.episodes import count_episodes, mean_outcome
from plasticity_jax.meta.lifetime import Life
from plasticity_jax.typing import Array, Episode, Key, PyTree, Updates


def meta_gradient(life: Life, *, remat: bool | int = True) -> LearningRule:
    """The exact gradient by theta of the loss at the end of a life.

    Args:
      life: the lifetime.
      remat: see `plasticity_jax.meta.lifetime.lifetime`.

    Returns:
      A rule whose params are theta and whose batch is an `Episode` with leading axis (B,). Its aux holds the means
      over episodes of that of `plasticity_jax.meta.lifetime.outcome`.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> case, key = pj.RULES["rflo"], jax.random.key(0)
      >>> life = Life(
      ...     learner=lambda theta: pj.learner(case.make(leak=theta["leak"]), optax.sgd(0.1)),
      ...     params=lambda theta: case.params(key),
      ...     loss=lambda theta, params, query: (jnp.sum(params["forward"]["w"] ** 2), {}),
      ... )
      >>> support = jax.vmap(jax.vmap(case.batch))(jax.random.split(key, (2, 10)))
      >>> rule, theta = meta_gradient(life), {"leak": jnp.asarray(0.5)}
      >>> updates, _, info = rule.update(theta, (), key, pj.Episode(support, query=jnp.zeros((2, 1))))
      >>> updates["leak"].shape
      ()

    Reference:
      Finn, Abbeel & Levine, "Model-agnostic meta-learning for fast adaptation of deep networks", ICML 2017.
    """

    def init(params: PyTree, key: Key, batch: Episode) -> tuple[()]:
        count_episodes(batch)
        return ()

    def update(params: PyTree, traces: tuple[()], key: Key, batch: Episode) -> tuple[Updates, tuple[()], Info]:
        def total(theta: PyTree) -> tuple[Array, dict[str, Array]]:
            return mean_outcome(life, theta, key, batch, remat)

        (loss, aux), gradient = jax.value_and_grad(total, has_aux=True)(params)
        return gradient, (), Info(loss, READY, aux)

    return LearningRule(init, update)
