"""Figure 2 of Lindsey & Litwin-Kumar (2020): how networks that learn by FLP differ from feature reuse and gradients.

A: an error with every layer learning, and with all but the readout frozen at birth and the readout fitted in closed
form to the life's data; and the control, a feature-reuse network whose weights are kept while FLP upstream is learned.
B: what a task of a continual life does to the answers to the tasks before it. C: cosine between the updates of FLP and
the negative gradient of the task's loss, at the same weights and batch, means over lifetimes. D: norms of the updates.
The gradient-based learner is of second order, from scratch. The authors' was first order, from the weights that FLP had
found; `lindsey2020_table1` has both, the latter at rates ten times smaller, for at these its lives diverge.
The paper does not say whether C is an average over lifetimes, nor if the norms of D are total or relative to the
weights: here C is a mean over lifetimes, and both norms are judged. Bands are standard errors over networks.

What fails in the smaller problem. In A (medians over lives) the best frozen features are those of two plastic layers,
and a readout fitted to features at birth beats the same network's plasticity sevenfold or more: in 1,600 meta-steps it
is the plastic readout that holds back, not its features. The control gains as much as plasticity upstream from the
start; but it gets twice the meta-steps, in which the readout's own feedback, alpha and beta go on learning, so that the
gain is not upstream's for sure. In B the gradient-based learner, of second order, reaches a tenth of FLP's error, which
may be why its answers change less. No layer's cosine is negative on average. FLP's updates of the readout are smaller
than the gradient's at no time.

The default is the smaller problem of `lindsey2020_table1`, with its outer loop.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from experiments.lindsey2020.fig2_claims import CLAIMS
from experiments.lindsey2020.fig2_figures import plot
from experiments.lindsey2020.fig2_summary import summarise
from experiments.lindsey2020.networks import flp_theta, gradient_theta, layers
from experiments.lindsey2020.sines import DEEP, PAPER_SINES, SMALL_SINES, Sines, sines
from experiments.lindsey2020.training import continued, meta_training
from experiments.lindsey2020.watched import analyses
from experiments.lindsey2020.why import FIG2
from experiments.shared.claims import explained
from plasticity_jax.base import Info, LearningRule
from plasticity_jax.meta import flp_life, gradient_life, meta_gradient
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.rules.hebbian.flp import flp
from plasticity_jax.run import Experiment, Program
from plasticity_jax.run.program import Metrics
from plasticity_jax.tasks.episodes import Order
from plasticity_jax.typing import Key, PyTree, Scalar


@dataclasses.dataclass(frozen=True)
class Config(Sines):
    """The problem, the network, and the outer loop.

    Attributes:
      ridge: of the readout of frozen features.
    """

    ridge: float

    def __post_init__(self) -> None:
        """Refuses what the analyses cannot be made of."""
        super().__post_init__()
        if min(self.functions, self.batches, self.lifetimes) < 2:
            counts = f"functions={self.functions}, batches={self.batches} and lifetimes={self.lifetimes}"
            raise ValueError(f"{counts} must be at least 2 each")


DEFAULT = Config(seeds=4, episodes=1600, points=4, lifetimes=40, ridge=1e-6, **SMALL_SINES)
PRESETS = {
    "smoke": dataclasses.replace(
        DEFAULT, seeds=2, episodes=4, lives=1, points=2, lifetimes=2, functions=2, batches=2, batch=4, hidden=(8, 8)
    ),
    "default": DEFAULT,
    "paper": Config(points=20, rate_rate=1e-4, ridge=1e-6, **PAPER_SINES),
}


def make_parts(config: Config) -> dict[str, Program]:
    """Meta-trainings; the control goes on from feature reuse, whose own results are its first half."""
    upstream = flp_program(config, DEEP, "iid", frozen=True)
    return {
        "iid/control": continued(flp_program(config, 1, "iid"), upstream, upstream_of_reuse),
        "iid/flp2": flp_program(config, 2, "iid"),
        "iid/flp3": flp_program(config, DEEP, "iid", steps=True),
        "iid/gradient": gradient_program(config, "iid", steps=True),
        "continual/flp3": flp_program(config, DEEP, "continual", steps=True),
        "continual/gradient": gradient_program(config, "continual"),
    }


def flp_program(config: Config, depth: int, order: Order, *, frozen: bool = False, steps: bool = False) -> Program:
    """FLP in the last layers, meta-trained; `frozen` keeps the initial weights, and learns the rest of theta."""
    cut = layers((config.functions + 1, *config.hidden, 1), depth)
    life = flp_life(cut.net, prefix=cut.features if cut.front else None)
    rates = {
        "weights": 0.0 if frozen else config.rate,
        "feedback": config.rate,
        "alpha": config.alpha_reuse if depth == 1 else config.alpha_flp,
        "beta": config.rate,
    }

    def rule(theta: PyTree) -> LearningRule:
        return flp(cut.net, alpha=theta["alpha"], beta=theta["beta"])

    evaluate = analyses(config, order, cut, life, rule, ridge=config.ridge, steps=steps)
    return trained(config, order, meta_gradient(life, remat=False), rates, lambda key: flp_theta(key, cut), evaluate)


def gradient_program(config: Config, order: Order, *, steps: bool = False) -> Program:
    """Gradient descent in the last layers, meta-trained."""
    cut = layers((config.functions + 1, *config.hidden, 1), DEEP)
    life = gradient_life(cut.net, prefix=cut.features if cut.front else None)
    exact = backprop(cut.net)

    def rule(theta: PyTree) -> LearningRule:
        def update(*args: Any) -> tuple[PyTree, tuple[()], Info]:
            updates, traces, info = exact.update(*args)
            return {**updates, "forward": jax.tree.map(jnp.multiply, theta["rate"], updates["forward"])}, traces, info

        return exact._replace(update=update)

    evaluate = analyses(config, order, cut, life, rule, ridge=config.ridge, steps=steps)
    rates = {"weights": config.rate, "rate": config.rate_rate}
    learn, start = meta_gradient(life, remat=False), lambda key: gradient_theta(key, cut, config.inner_rate)
    return trained(config, order, learn, rates, start, evaluate)


def trained(
    config: Config,
    order: Order,
    rule: LearningRule,
    rates: Mapping[str, Scalar],
    theta: Callable[[Key], PyTree],
    evaluate: Callable[[Key, PyTree], Metrics],
) -> Program:
    """Meta-training on one order."""
    return meta_training(
        rule,
        rates,
        theta,
        sines(config, order, config.lives),
        evaluate,
        episodes=config.episodes,
        points=config.points,
        clip=config.clip,
        backoff=config.backoff,
    )


def upstream_of_reuse(old: PyTree, fresh: PyTree) -> PyTree:
    """Theta of more plastic layers, with all that feature reuse has found; FLP upstream is as at the start."""
    weights = {name: old["prefix"][name] + old["forward"][name] for name in ("w", "bias")}
    rest = len(fresh["prefix"]["w"])
    return {
        "prefix": {name: leaves[:rest] for name, leaves in weights.items()},
        "forward": {name: leaves[rest:] for name, leaves in weights.items()},
        "feedback": {name: leaves[:-1] + old["feedback"][name] for name, leaves in fresh["feedback"].items()},
        "alpha": fresh["alpha"][:-1] + old["alpha"],
        "beta": fresh["beta"][:-1] + old["beta"],
    }


experiment = Experiment(
    title="Figure 2: frozen features, interference, alignment with the gradient and size of the updates of FLP",
    cost={
        "smoke": "half a minute, nearly all of it compilation",
        "default": "4 seeds x 7 meta-trainings, eight minutes on two cores",
        "paper": "2 seeds x 7 meta-trainings x 20,000 episodes of 400 steps: days on two cores; resumable",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, FIG2),
    plot=plot,
)
