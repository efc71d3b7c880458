r"""Evolution strategies: whole lives under perturbed meta-parameters, in antithetic pairs.

    u_p ~ N(0, I),   L_p^+- = mean over episodes of  L(theta +- sigma u_p),   L as in `plasticity_jax.meta.lifetime`
    G = mean over p of  (L_p^+ - L_p^-) u_p / (2 sigma)

All lives share their episodes and keys, so that a pair differs by its perturbation alone. sigma may differ from leaf to
leaf, and then multiplies and divides leaf by leaf.

Source: Salimans et al. (2017); proposed in Lindsey & Litwin-Kumar (2020), section 8.2. Kind: unbiased for the loss
smoothed over theta + sigma u, which for a loss that is quadratic in theta has the gradient of the loss itself. The
variance grows with the number of meta-parameters.
Memory: the present states of 2 pairs B lives, and their prepared batches (`Life.prepare`). Time: 2 pairs lives, in
parallel. It reads only the loss of each life: the life need not be differentiable.
"""

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.meta.episodes import (
    antithetic,
    both_signs,
    check_sigma,
    count_episodes,
    mean_outcome,
    report,
    summary,
    unit_normals,
)
from plasticity_jax.meta.lifetime import Life, check_life
from plasticity_jax.ops.checks import check_counts
from plasticity_jax.typing import Array, Episode, Key, PyTree, Updates


def es(life: Life, *, sigma: PyTree, pairs: int) -> LearningRule:
    """An estimate of the meta-gradient from the losses of whole lives.

    Args:
      life: the lifetime.
      sigma: size of the perturbations, a number or a prefix of theta: a number for each group, say.
      pairs: number of antithetic pairs of lives.

    Returns:
      A rule like `plasticity_jax.meta.gradient.meta_gradient`; its loss is the mean over all perturbed lives.

    Raises:
      ValueError: if there is no pair, or a sigma is not positive.

    Example:
      >>> import jax, plasticity_jax as pj
      >>> case, key = pj.RULES["es"], jax.random.key(0)
      >>> updates, _, info = case.make(sigma=0.1).update(case.params(key), (), key, case.batch(key))
      >>> updates["offset"].shape
      (1,)

    Reference:
      Salimans, Ho, Chen, Sidor & Sutskever, "Evolution strategies as a scalable alternative to reinforcement
      learning", arXiv:1703.03864.
    """
    check_life(life)
    check_counts(pairs=pairs)
    check_sigma("es", sigma)

    def init(params: PyTree, key: Key, batch: Episode) -> tuple[()]:
        count_episodes(batch)
        return ()

    def update(params: PyTree, traces: tuple[()], key: Key, batch: Episode) -> tuple[Updates, tuple[()], Info]:
        key_units, key_lives = jax.random.split(key)
        units = unit_normals(key_units, params, pairs)

        def lives(theta: PyTree) -> tuple[Array, dict[str, Array]]:
            return mean_outcome(life, theta, key_lives, batch, remat=False)

        losses, aux = jax.vmap(jax.vmap(lives))(both_signs(params, sigma, units))
        updates = antithetic(losses, sigma, units)
        return updates, (), report(jnp.mean(losses), summary(summary(aux)), updates)

    return LearningRule(init, update)
