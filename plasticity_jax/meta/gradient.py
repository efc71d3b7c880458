r"""The meta-gradient: backpropagation through whole lifetimes, as a learning rule over theta.

    G = mean over episodes of  d/dtheta [ loss(theta, params_T(theta), query) + on_the_way(l_1, ..., l_T) ]

Source: Finn, Abbeel & Levine (2017); Lindsey & Litwin-Kumar (2020), section 4.1. Kind: exact.
Memory: that of a life, which grows as sqrt(T) with rematerialisation. Time: three times that of a life, or four. It
reads everything: this is the outer loop, of evolution or of a designer, without a claim that a synapse could do it.
"""

import jax

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.meta.episodes import count_episodes, mean_outcome, report
from plasticity_jax.meta.lifetime import Life, check_life
from plasticity_jax.typing import Array, Episode, Key, PyTree, Updates


def meta_gradient(life: Life, *, remat: bool | int = True) -> LearningRule:
    """The exact gradient of a life's loss with respect to theta: at its end, on the way, or both.

    A life that learns by Adam needs ``optax.adam(rate, eps_root=1e-8)``: without it one weight with a gradient of zero,
    behind a silent unit or input, makes the meta-gradient NaN, while the loss is finite. An ``optax.apply_if_finite``
    around the outer optimiser then skips every step; `plasticity_jax.run.run` reports this.

    Args:
      life: the lifetime.
      remat: see `plasticity_jax.meta.lifetime.lifetime`.

    Returns:
      A rule with theta as params and an `Episode` with leading axis (B,) as batch. Its aux holds that of
      `plasticity_jax.meta.lifetime.outcome`, averaged over episodes, and "finite_updates", (leaves,), bool: whether
      each leaf of the meta-gradient is finite.

    Example:
      The leak of RFLO and the rate of Adam are meta-learned, for a small mean loss within a life:

      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> case, key = pj.RULES["rflo"], jax.random.key(0)
      >>> life = Life(
      ...     learner=lambda theta: pj.learner(
      ...         case.make(leak=theta["leak"]), optax.adam(theta["rate"], eps_root=1e-8)
      ...     ),
      ...     params=lambda theta: case.params(key),
      ...     on_the_way=jnp.mean,
      ... )
      >>> support = jax.vmap(jax.vmap(case.batch))(jax.random.split(key, (2, 10)))
      >>> theta = {"leak": jnp.asarray(0.5), "rate": jnp.asarray(0.01)}
      >>> learn = pj.learner(meta_gradient(life), optax.sgd(1e-3))
      >>> state, losses = learn.init(theta, key, pj.Episode(support, ())), []
      >>> for _ in range(3):
      ...     state, info = learn.step(state, pj.Episode(support, ()))
      ...     losses.append(float(info.loss))
      >>> bool(info.aux["finite_updates"].all()), losses[0] > losses[1] > losses[2]
      (True, True)

    Reference:
      Finn, Abbeel & Levine, "Model-agnostic meta-learning for fast adaptation of deep networks", ICML 2017.
    """
    check_life(life, remat)

    def init(params: PyTree, key: Key, batch: Episode) -> tuple[()]:
        count_episodes(batch)
        return ()

    def update(params: PyTree, traces: tuple[()], key: Key, batch: Episode) -> tuple[Updates, tuple[()], Info]:
        def total(theta: PyTree) -> tuple[Array, dict[str, Array]]:
            return mean_outcome(life, theta, key, batch, remat)

        (loss, aux), gradient = jax.value_and_grad(total, has_aux=True)(params)
        return gradient, (), report(loss, aux, gradient)

    return LearningRule(init, update)
