r"""A lifetime: the steps of a learner under one scan, differentiable from end to end.

    theta  ->  params_0(theta),  learner(theta)  ->  l_1, ..., l_T,  params_T
    L = loss(theta, params_T, query) + on_the_way(l_1, ..., l_T)

where l_t is the loss that step t reports. Reverse mode stores the intermediate values of all T steps. With
rematerialisation only the states at the edges of blocks are stored, and one block at a time is computed again on the
way back: with blocks of sqrt(T) steps memory grows as sqrt(T), at the cost of one more forward pass.

Adam within a life needs ``eps_root``, as in ``optax.adam(rate, eps_root=1e-8)``: where a gradient has been zero so far,
Adam takes the root of zero. Its derivative is infinite, and the meta-gradient through it is NaN, although losses and
weights are finite. The same holds for any root or norm of your own that can be zero.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, Learner, LearnerState
from plasticity_jax.typing import Array, Batch, Episode, Key, Params, PyTree


def _not_judged(theta: PyTree, params: Params, query: PyTree) -> tuple[Array, Mapping[str, Array]]:
    return jnp.asarray(0.0), {}


class Life(NamedTuple):
    """A lifetime as a function of the meta-parameters theta, for the rules over theta.

    Attributes:
      learner: ``theta -> learner``, built while JAX traces, so that theta may hold its coefficients.
      params: ``theta -> params`` at birth.
      loss: ``(theta, params, query) -> (loss, aux)`` at the end; loss of shape (), aux diagnostics by name. By default
        the end is not judged, and an episode's query may be ``()``.
      on_the_way: ``losses -> loss``, of the losses (T,) that the steps report, such as `jax.numpy.mean`; it is added to
        the loss at the end. None does not judge them. In a life of windows it judges each window.
      prepare: ``(theta, batches) -> batches``, computations that do not depend on the state, for many steps at once:
        layers that are fixed within a lifetime belong here, as one large product. Leaves have a leading axis of steps.
      embed: ``(theta, episode) -> episode``, the same once for the whole episode, including its query; for layers that
        are better evaluated in one call than again for each block.
    """

    learner: Callable[[PyTree], Learner]
    params: Callable[[PyTree], Params]
    loss: Callable[[PyTree, Params, PyTree], tuple[Array, Mapping[str, Array]]] = _not_judged
    prepare: Callable[[PyTree, Batch], Batch] = lambda theta, batches: batches
    embed: Callable[[PyTree, Episode], Episode] = lambda theta, episode: episode
    on_the_way: Callable[[Array], Array] | None = None


def check_life(life: Life, remat: bool | int = True) -> None:
    """Refuses what is not a life, a life that nothing judges, and blocks of no whole number of steps.

    Raises:
      TypeError: if it is not a `Life`, or `remat` is neither a bool nor an int.
      ValueError: if the life has neither a loss nor `on_the_way`, or blocks have no steps.
    """
    if not isinstance(life, Life):
        raise TypeError(f"life is a {type(life).__name__}: give a Life, as in Life(learner, params, loss)")
    if life.loss is _not_judged and life.on_the_way is None:
        raise ValueError("nothing judges this Life: give it a loss, or on_the_way=jnp.mean")
    if not isinstance(remat, bool | int):
        raise TypeError(f"remat={remat!r} must be True, False or the number of steps in a block")
    if remat < 1 and remat is not False:
        raise ValueError(f"remat={remat}: a block must have at least 1 step; False keeps all intermediate values")


def of_theta(theta: PyTree, name: str) -> PyTree:
    """A group of the meta-parameters.

    Raises:
      ValueError: naming the group that is missing, and those that are there.
    """
    if not isinstance(theta, Mapping) or name not in theta:
        has = f"has {', '.join(map(str, theta)) or 'nothing'}" if isinstance(theta, Mapping) else "has no names"
        raise ValueError(f'theta["{name}"] is missing, and this life reads it: theta {has}')
    return theta[name]


def lifetime(
    learn: Learner,
    state: LearnerState,
    batches: Batch,
    *,
    prepare: Callable[[Batch], Batch] = lambda batches: batches,
    collect: Callable[[Info], PyTree] = lambda info: info.loss,
    remat: bool | int = True,
) -> tuple[LearnerState, PyTree]:
    """Lives through the batches, one step for each.

    Args:
      learn: the learner.
      state: at birth.
      batches: leaves of shape (T, b, ...).
      prepare: see `Life`; applied to a block of steps at a time, to the whole life if it is not rematerialised.
      collect: what to keep of each step's `Info`.
      remat: True for blocks of ceil(sqrt(T)) steps, a number for blocks of that size, False to store everything.

    Returns:
      ``(state, collected)``, the latter with leaves (T, ...).

    Raises:
      ValueError: if there is no step, or blocks have less than one.

    Example:
      >>> import jax, optax, plasticity_jax as pj
      >>> case, key = pj.RULES["rflo"], jax.random.key(0)
      >>> learn = pj.learner(case.make(), optax.sgd(0.1))
      >>> batches = jax.vmap(case.batch)(jax.random.split(key, 10))
      >>> end, losses = lifetime(learn, learn.init(case.params(key), key, case.batch(key)), batches)
      >>> losses.shape
      (10,)
    """
    steps = jax.tree.leaves(batches)[0].shape[0]
    root = math.isqrt(max(steps - 1, 0)) + 1
    block = {True: root, False: steps}[remat] if isinstance(remat, bool) else remat
    if steps < 1 or block < 1:
        raise ValueError(f"lifetime: {steps} steps in blocks of {block}; both must be at least 1")

    def step(state: LearnerState, batch: Batch) -> tuple[LearnerState, PyTree]:
        state, info = learn.step(state, batch)
        return state, collect(info)

    def live(state: LearnerState, batches: Batch) -> tuple[LearnerState, PyTree]:
        return jax.lax.scan(step, state, prepare(batches))

    if block >= steps:
        return live(state, batches)
    relived = jax.checkpoint(live, prevent_cse=False)  # pyright: ignore[reportPrivateImportUsage]
    whole = steps - steps % block
    first = jax.tree.map(lambda leaf: leaf[:whole].reshape(-1, block, *leaf.shape[1:]), batches)
    state, collected = jax.lax.scan(relived, state, first)
    collected = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), collected)
    if whole < steps:
        state, rest = relived(state, jax.tree.map(lambda leaf: leaf[whole:], batches))
        collected = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), collected, rest)
    return state, collected


def birth(life: Life, theta: PyTree, key: Key, episode: Episode) -> LearnerState:
    """The state at birth; only the shapes of the episode are read.

    Args:
      life: the lifetime.
      theta: meta-parameters.
      key: the key of the life.
      episode: a single one, without an axis of episodes.
    """
    batches = jax.eval_shape(lambda: life.prepare(theta, life.embed(theta, episode).support))
    batch = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape[1:], leaf.dtype), batches)
    return life.learner(theta).init(life.params(theta), key, batch)


def live(
    life: Life, theta: PyTree, state: LearnerState, episode: Episode, *, remat: bool | int = True
) -> tuple[Array, tuple[dict[str, Array], LearnerState]]:
    """Lives through an episode's support from any state, and judges the life.

    Args:
      life: the lifetime.
      theta: meta-parameters.
      state: at birth, or at the end of an earlier part of the life.
      episode: a single one, without an axis of episodes.
      remat: see `lifetime`.

    Returns:
      ``(loss, (aux, state))``, loss and aux as in `outcome`, with the state at the end.

    Raises:
      AssertionError: (chex) if the loss is not of shape ().
      ValueError: if the life has neither a loss nor `on_the_way`.
    """
    check_life(life, remat)
    episode = life.embed(theta, episode)
    state, losses = lifetime(
        life.learner(theta), state, episode.support, prepare=lambda block: life.prepare(theta, block), remat=remat
    )
    loss, aux = life.loss(theta, state.params, episode.query)
    if life.on_the_way is not None:
        loss = loss + life.on_the_way(losses)
    chex.assert_shape(loss, (), custom_message="the loss of a life, or of its losses on the way, has shape ()")
    return loss, ({**aux, "inner_loss": jnp.mean(losses)}, state)


def outcome(
    life: Life, theta: PyTree, key: Key, episode: Episode, *, remat: bool | int = True
) -> tuple[Array, dict[str, Array]]:
    """The loss of a whole life, as a differentiable function of theta.

    Args:
      life: the lifetime.
      theta: meta-parameters.
      key: the key of the life.
      episode: a single one, without an axis of episodes.
      remat: see `lifetime`.

    Returns:
      ``(loss, aux)``: loss of shape (); aux is that of `Life.loss`, with "inner_loss", the mean over the life's steps,
      which is not finite if the loss of any of them is not.
    """
    loss, (aux, _) = live(life, theta, birth(life, theta, key, episode), episode, remat=remat)
    return loss, aux
