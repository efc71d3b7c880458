r"""Truncated meta-gradients: backpropagation through one window of a life at a time.

    s_k = live(theta, s_{k-1}, window k),   G_k = mean over episodes of  d/dtheta L_k
    L_k = loss(theta, s_k, query k) + on_the_way(the losses of window k)

with s_{k-1} held constant: theta's effect on the state that enters the window is ignored. At the first of `windows`
windows the lives begin with theta, and the gradient passes through their birth; after the last they begin again, with
the theta of that time.

Source: Williams & Peng (1990) for the truncation; Wu et al. (2018) for its effect on meta-learning: it ignores benefits
after the window, and prefers benefits within it. Kind: approximate; exact where a life is one window.
Memory: B states between the steps, and a window's within. Time: three times that of a window, or four. It reads
everything within the window.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.meta.episodes import Inner, mean_window, report, start_lives
from plasticity_jax.meta.lifetime import Life, check_life
from plasticity_jax.ops.checks import check_counts
from plasticity_jax.typing import Array, Episode, Key, PyTree, Updates


class TruncatedTraces(NamedTuple):
    """States of the lives.

    Attributes:
      inner: their states; leaves have the leading axes (B,).
      lived: shape (), int32, windows so far.
    """

    inner: Inner
    lived: Array


def truncated(life: Life, *, windows: int, remat: bool | int = True) -> LearningRule:
    """The gradient of a window's loss with respect to theta, through that window alone.

    Args:
      life: the lifetime.
      windows: number of windows in a life; an outer step lives one of them.
      remat: see `plasticity_jax.meta.lifetime.lifetime`.

    Returns:
      A rule like `plasticity_jax.meta.gradient.meta_gradient`; its batch holds one window of each of the B lives: the
      next steps, and a query to judge them by.

    Raises:
      ValueError: if a life has no window.

    Example:
      >>> import jax, optax, plasticity_jax as pj
      >>> case, key = pj.RULES["truncated"], jax.random.key(0)
      >>> learn = pj.learner(case.make(), optax.sgd(0.1))
      >>> state = learn.init(case.params(key), key, case.batch(key))
      >>> state, info = learn.step(state, case.batch(key))
      >>> int(state.traces.lived)
      1

    Reference:
      Wu, Ren, Liao & Grosse, "Understanding short-horizon bias in stochastic meta-optimization", ICLR 2018.
    """
    check_life(life, remat)
    check_counts(windows=windows)

    def init(params: PyTree, key: Key, batch: Episode) -> TruncatedTraces:
        return TruncatedTraces(start_lives(life, params, key, batch), jnp.zeros((), jnp.int32))

    def update(
        params: PyTree, traces: TruncatedTraces, key: Key, batch: Episode
    ) -> tuple[Updates, TruncatedTraces, Info]:
        def window(theta: PyTree) -> tuple[Array, tuple[dict[str, Array], Inner]]:
            return mean_window(life, theta, key, batch, traces.inner, traces.lived % windows == 0, remat)

        (loss, (aux, inner)), gradient = jax.value_and_grad(window, has_aux=True)(params)
        return gradient, TruncatedTraces(inner, traces.lived + 1), report(loss, aux, gradient)

    return LearningRule(init, update)
