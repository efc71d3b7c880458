"""The learners of incremental sines: FLP, feature reuse, and gradient descent of first and second order."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from experiments.lindsey2020.networks import Layers, flp_theta, gradient_theta, in_blocks, layers
from experiments.lindsey2020.sines import DEEP, PLASTIC, Sines, sines
from experiments.lindsey2020.training import meta_training
from plasticity_jax.base import Info, LearningRule
from plasticity_jax.meta import Life, first_order, flp_life, gradient_life, meta_gradient
from plasticity_jax.meta.supervised import Prefix
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.rules.hebbian.flp import flp
from plasticity_jax.run import Program
from plasticity_jax.run.program import Metrics
from plasticity_jax.tasks.episodes import Order
from plasticity_jax.typing import Key, PyTree


class SineLearner(NamedTuple):
    """One learner.

    Attributes:
      cut: its network, and where plasticity begins.
      life: its lifetime.
      rule: learns theta.
      rates: meta-rates of the groups of theta, see `experiments.lindsey2020.training.adams`.
      theta: ``key -> theta``, the initial one.
      within: ``theta -> rule`` of the plastic layers within a life; its updates are subtracted as they are.
    """

    cut: Layers
    life: Life
    rule: LearningRule
    rates: Mapping[str, optax.ScalarOrSchedule]
    theta: Callable[[Key], PyTree]
    within: Callable[[PyTree], LearningRule]


def flp_learner(config: Sines, name: str, *, frozen: bool = False) -> SineLearner:
    """FLP in the last layers; `name` is one of `PLASTIC`, and `frozen` keeps theta's initial weights as they are."""
    cut, prefix = network(config, PLASTIC[name])
    life = flp_life(cut.net, prefix=prefix)
    rate, alpha = getattr(config, name)
    rates = {"weights": 0.0 if frozen else rate, "feedback": rate, "alpha": alpha, "beta": rate}

    def within(theta: PyTree) -> LearningRule:
        return flp(cut.net, alpha=theta["alpha"], beta=theta["beta"])

    rule = meta_gradient(life, remat=config.remat or False)
    return SineLearner(cut, life, rule, rates, lambda key: flp_theta(key, cut), within)


def gradient_learner(
    config: Sines, rates: tuple[optax.ScalarOrSchedule, float], inner: float, *, second: bool = False
) -> SineLearner:
    """Gradient descent in the last layers, at inner rates that begin as `inner`, of first or of second order.

    Args:
      config: the problem.
      rates: meta-rates of the weights and of the inner rates.
      inner: see above.
      second: whether the meta-gradient is of second order.
    """
    cut, prefix = network(config, DEEP)
    life = gradient_life(cut.net, prefix=prefix)
    exact = backprop(cut.net)

    def within(theta: PyTree) -> LearningRule:
        def update(*args: Any) -> tuple[PyTree, tuple[()], Info]:
            updates, traces, info = exact.update(*args)
            return {**updates, "forward": jax.tree.map(jnp.multiply, theta["rate"], updates["forward"])}, traces, info

        return exact._replace(update=update)

    rule = meta_gradient(life, remat=config.remat or False) if second else first_order(cut.net, prefix=prefix)
    named = {"weights": rates[0], "rate": rates[1]}
    return SineLearner(cut, life, rule, named, lambda key: gradient_theta(key, cut, inner), within)


def network(config: Sines, plastic: int) -> tuple[Layers, Prefix | None]:
    """The network, and a prefix of the layers that do not learn in a life, if there are any."""
    cut = layers((config.functions + 1, *config.hidden, 1), plastic)
    return cut, in_blocks(cut.features, config.rows) if cut.front else None


def hand_over(old: PyTree, fresh: PyTree) -> PyTree:
    """The gradient-based learner's theta, with the weights that FLP with as many plastic layers has learned."""
    return {**fresh, "prefix": old["prefix"], "forward": old["forward"]}


def trained(config: Sines, order: Order, learner: SineLearner, evaluate: Callable[[Key, PyTree], Metrics]) -> Program:
    """Meta-training of a learner on one order."""
    return meta_training(
        learner.rule,
        learner.rates,
        learner.theta,
        sines(config, order, config.lives),
        evaluate,
        episodes=config.episodes,
        points=config.points,
        clip=config.clip,
        backoff=config.backoff,
    )
