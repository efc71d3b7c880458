r"""The gradient-based inner loop (MAML, OML): SGD on the task's own loss within a life, at meta-learned rates.

    g_t = grad of the step's loss for (w, b) at (w_t, b_t),   (w, b)_{t+1} = (w, b)_t - rate g_t

Weights and biases learn; the rate is one number, or one for each parameter. Layers in front that are fixed within a
life (OML's representation) are a prefix, evaluated outside the scan: only the meta-gradient teaches them.

    second order   meta_gradient(gradient_life(...)), through every g_t
    first order    G = sum_t g_t held:  d/dtheta loss(theta, (w, b)_0 - rate G, query)

so that to first order the initial weights get the gradient at the end of the life unchanged, the rate gets -G times it,
and the prefix gets only the gradient through the query.

Source: Finn, Abbeel & Levine (2017); Javed & White (2019); and Lindsey & Litwin-Kumar (2020), section 5, where it is
the baseline, to first order in the authors' code. Kind of `first_order`: approximate; exact where the g_t do not depend
on theta. Memory of `first_order`: a life's present state and G; for second order see `plasticity_jax.meta.gradient`.
Time: a life's, forward. Departure: the network's squared error is half the sum over outputs, mean over the batch; the
authors' is the mean over both, which for n outputs is 2 / n times as large. Their rates times 2 / n are the rates here.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.base import Info, Learner, LearningRule, learner
from plasticity_jax.layers.chain import Chain
from plasticity_jax.meta.episodes import cast_like, count_episodes, over_episodes, report, summary
from plasticity_jax.meta.lifetime import Life, birth, lifetime, of_theta
from plasticity_jax.meta.supervised import Prefix, supervised_life
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.typing import Array, Episode, Key, Params, PyTree, Updates


def gradient_life(net: Chain, *, prefix: Prefix | None = None, blockwise: bool = False) -> Life:
    """A life of SGD, by backpropagation, on the network's own loss.

    Args:
      net: the layers that learn within a life.
      prefix: see `plasticity_jax.meta.supervised.supervised_life`.
      blockwise: see `plasticity_jax.meta.supervised.supervised_life`.

    Returns:
      A `Life` over ``{"forward": {"w", "bias"}, "rate"}``, and "prefix" if there is one. The rate is a number, or
      a tree prefix of "forward" with a number, or one for each parameter, at its leaves. Episodes are those of
      `supervised_life`.

    Example:
      >>> import jax, jax.numpy as jnp, plasticity_jax as pj
      >>> from plasticity_jax.layers import forward, init_params
      >>> front = pj.networks.mlp((11, 30, 30), ("relu", "relu"))
      >>> net = pj.networks.mlp((30, 30, 1), ("relu", "identity"))
      >>> life = gradient_life(net, prefix=lambda weights, x: forward(front, weights, x).h[-1])
      >>> keys = jax.random.split(jax.random.key(0))
      >>> theta = {
      ...     "prefix": init_params(keys[0], front)["forward"],
      ...     "forward": init_params(keys[1], net)["forward"],
      ...     "rate": jnp.asarray(0.006),
      ... }
      >>> sorted(life.params(theta))
      ['forward']

    Reference:
      Javed & White, "Meta-learning representations for continual learning", NeurIPS 2019.
    """

    def learns(theta: PyTree) -> Learner:
        return learner(backprop(net), _sgd(of_theta(theta, "rate")))

    def params(theta: PyTree) -> Params:
        return {"forward": of_theta(theta, "forward")}

    return supervised_life(net, learns, params, prefix=prefix, blockwise=blockwise)


def first_order(net: Chain, *, prefix: Prefix | None = None) -> LearningRule:
    """The meta-gradient of `gradient_life` with the gradients of the inner loop held constant.

    Args:
      net: the layers that learn within a life.
      prefix: see `plasticity_jax.meta.supervised.supervised_life`.

    Returns:
      A rule like `plasticity_jax.meta.gradient.meta_gradient` of `gradient_life`.

    Example:
      >>> import jax, plasticity_jax as pj
      >>> case, key = pj.RULES["first_order"], jax.random.key(0)
      >>> updates, _, info = case.make().update(case.params(key), (), key, case.batch(key))
      >>> sorted(updates)
      ['forward', 'prefix', 'rate']

    Reference:
      Finn, Abbeel & Levine, "Model-agnostic meta-learning for fast adaptation of deep networks", ICML 2017.
    """
    # Blockwise, to embed the query apart from the support: the gradient passes through the query alone.
    life = gradient_life(net, prefix=prefix, blockwise=True)
    summing = life._replace(learner=lambda theta: learner(backprop(net), _summing_sgd(of_theta(theta, "rate"))))

    def init(params: PyTree, key: Key, batch: Episode) -> tuple[()]:
        count_episodes(batch)
        return ()

    def update(params: PyTree, traces: tuple[()], key: Key, batch: Episode) -> tuple[Updates, tuple[()], Info]:
        def gradient(key: Key, episode: Episode) -> tuple[Updates, dict[str, Array]]:
            end, losses = lifetime(
                summing.learner(params),
                birth(summing, params, key, episode),
                episode.support,
                prepare=lambda batches: life.prepare(params, batches),
                remat=False,
            )

            def held_loss(theta: PyTree) -> tuple[Array, Mapping[str, Array]]:
                total: PyTree = end.opt_state  # of the gradients
                steps = _scaled(of_theta(theta, "rate"), total["forward"])
                moved = jax.tree.map(jnp.subtract, of_theta(theta, "forward"), steps)
                return life.loss(theta, {"forward": moved}, episode.query)

            (loss, aux), updates = jax.value_and_grad(held_loss, has_aux=True)(params)
            return updates, {**aux, "loss": loss, "inner_loss": jnp.mean(losses)}

        updates, aux = over_episodes(gradient, key, cast_like(params, batch))
        aux = summary(aux)
        loss = aux.pop("loss")
        updates = jax.tree.map(lambda leaf: jnp.mean(leaf, 0), updates)
        return updates, (), report(loss, aux, updates)

    return LearningRule(init, update)


def _scaled(rate: PyTree, gradients: PyTree) -> PyTree:
    """The rate, a number or a prefix of the gradients' tree, times the gradients."""
    return jax.tree.map(jnp.multiply, jax.tree.broadcast(rate, gradients), gradients)


def _steps(rate: PyTree, updates: Updates) -> Updates:
    return {**updates, "forward": jax.tree.map(jnp.negative, _scaled(rate, updates["forward"]))}


def _sgd(rate: PyTree) -> optax.GradientTransformation:
    return optax.stateless(lambda updates, _: _steps(rate, updates))


def _summing_sgd(rate: PyTree) -> optax.GradientTransformation:
    """`_sgd`, with the sum of all gradients so far as its state."""

    def init(params: Params) -> PyTree:
        return jax.tree.map(jnp.zeros_like, params)

    def update(updates: Updates, state: PyTree, params: Params | None = None) -> tuple[Updates, PyTree]:
        return _steps(rate, updates), jax.tree.map(jnp.add, state, updates)

    return optax.GradientTransformation(init, update)
