r"""Persistent evolution strategies: perturbed lives advance a window at each outer step and sum their perturbations.

    u_{p,k} ~ N(0, I),   s_{p,k}^+- = live(theta +- sigma u_{p,k}, s_{p,k-1}^+-, window k)
    x_{p,k} = x_{p,k-1} + u_{p,k},   x_{p,0} = 0
    G_k = mean over p of  (L_{p,k}^+ - L_{p,k}^-) x_{p,k} / (2 sigma),   L = mean over episodes of the window's loss

Credit goes to all perturbations since birth, including those of past windows, and so to theta's effect on the state
that enters the window, which truncation ignores. At the end of a life, states and sums start over.

Source: Vicol, Metz & Sohl-Dickstein (2021), with antithetic pairs. Kind: unbiased, window by window, for the gradient
of the window's loss over theta in all windows up to it, smoothed over an independent perturbation in each; over a life
that adds up to the gradient of the sum of its windows' losses, if theta does not change. The variance grows with the
windows of a life.
Memory: 2 pairs B states, and pairs sums of the shape of theta. Time: 2 pairs windows, in parallel. It reads only the
loss of each window: the life need not be differentiable.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.meta.episodes import (
    Inner,
    antithetic,
    both_signs,
    check_sigma,
    mean_window,
    report,
    start_lives,
    summary,
    unit_normals,
)
from plasticity_jax.meta.lifetime import Life, check_life
from plasticity_jax.ops.checks import check_counts
from plasticity_jax.typing import Array, Episode, Key, PyTree, Updates


class PESTraces(NamedTuple):
    """The perturbed lives.

    Attributes:
      inner: their states; leaves have the leading axes (pairs, 2, B).
      total: x_p, the sum of perturbations since birth, in units of sigma; theta's leaves with a leading axis (pairs,).
      lived: shape (), int32, windows so far.
    """

    inner: Inner
    total: PyTree
    lived: Array


def pes(life: Life, *, sigma: PyTree, pairs: int, windows: int) -> LearningRule:
    """An estimate of the meta-gradient from the losses of windows, without the bias of truncation.

    Args:
      life: the lifetime.
      sigma: size of the perturbations, a number or a prefix of theta: a number for each group, say.
      pairs: number of antithetic pairs of lives.
      windows: number of windows in a life; an outer step lives one of them.

    Returns:
      A rule like `plasticity_jax.meta.truncated.truncated`; its loss is the mean over all perturbed lives.

    Raises:
      ValueError: if there is no pair or no window, or a sigma is not positive.

    Example:
      >>> import jax, optax, plasticity_jax as pj
      >>> case, key = pj.RULES["pes"], jax.random.key(0)
      >>> learn = pj.learner(case.make(sigma=0.1), optax.sgd(0.1))
      >>> state = learn.init(case.params(key), key, case.batch(key))
      >>> state, info = learn.step(state, case.batch(key))
      >>> int(state.traces.lived)
      1

    Reference:
      Vicol, Metz & Sohl-Dickstein, "Unbiased gradient estimation in unrolled computation graphs with persistent
      evolution strategies", ICML 2021.
    """
    check_life(life)
    check_counts(pairs=pairs, windows=windows)
    check_sigma("pes", sigma)

    def init(params: PyTree, key: Key, batch: Episode) -> PESTraces:
        born = start_lives(life, params, key, batch)
        inner = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (pairs, 2, *leaf.shape)), born)
        total = jax.tree.map(lambda leaf: jnp.zeros((pairs, *leaf.shape), leaf.dtype), params)
        return PESTraces(inner, total, jnp.zeros((), jnp.int32))

    def update(params: PyTree, traces: PESTraces, key: Key, batch: Episode) -> tuple[Updates, PESTraces, Info]:
        key_units, key_lives = jax.random.split(key)
        fresh = traces.lived % windows == 0
        units = unit_normals(key_units, params, pairs)
        total = jax.tree.map(lambda old, new: jnp.where(fresh, new, old + new), traces.total, units)

        def window(theta: PyTree, inner: Inner) -> tuple[Array, tuple[dict[str, Array], Inner]]:
            return mean_window(life, theta, key_lives, batch, inner, fresh, remat=False)

        losses, (aux, inner) = jax.vmap(jax.vmap(window))(both_signs(params, sigma, units), traces.inner)
        updates = antithetic(losses, sigma, total)
        traces = PESTraces(inner, total, traces.lived + 1)
        return updates, traces, report(jnp.mean(losses), summary(summary(aux)), updates)

    return LearningRule(init, update)
