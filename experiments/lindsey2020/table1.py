"""Table 1 of Lindsey & Litwin-Kumar (2020): incremental sines, by lives of FLP, feature reuse and gradient descent.

The authors' gradient-based learner was first order, and started from the weights that FLP had found ("gradient, first
order, from FLP"); here it stands beside itself from scratch, and beside the second order, which it lacked. OML is the
published one: a fixed inner rate, first order, learned on continual data alone. Every learner is tried on both orders.

The default is a smaller problem: 3 functions of 10 batches in place of 10 of 40, three hidden layers of 64 in place of
eight of 300 to 900, so that lives have 30 steps and not 400. Its outer loop is not the authors' either: four lives to a
meta-step, rates of 1e-3, each group's meta-gradient clipped to a norm of 1, and a tenth taken off the plasticity by a
life that diverged, for otherwise alpha grows until all lives do. Lives that still diverge have no mean error: judged is
the median over lives; the mean, and the fraction that diverged, are in the record. Rates of alpha and of inner rates
were tried in powers of about 3, on the same seeds, for every learner. First order needs smaller ones: nothing in it
asks for an inner loop that stays stable. The errors of the smaller problem are not the table's: `paper` judges those.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import optax

from experiments.lindsey2020.common import ORDERS
from experiments.lindsey2020.networks import flp_theta, gradient_theta, layers
from experiments.lindsey2020.sines import DEEP, PAPER_SINES, SMALL_SINES, Sines, is_full, sines
from experiments.lindsey2020.table1_claims import CLAIMS
from experiments.lindsey2020.table1_figures import plot, text
from experiments.lindsey2020.table1_summary import METHODS, PLASTIC, summarise
from experiments.lindsey2020.training import continued, held_out, meta_training, over_lives
from experiments.lindsey2020.why import TABLE1
from experiments.shared.claims import explained
from plasticity_jax.base import LearningRule
from plasticity_jax.meta import Life, first_order, flp_life, gradient_life, meta_gradient
from plasticity_jax.run import Experiment, Program
from plasticity_jax.run.program import Metrics
from plasticity_jax.tasks.episodes import Order
from plasticity_jax.typing import Array, Key, PyTree


@dataclasses.dataclass(frozen=True)
class Config(Sines):
    """The problem, the network, and the outer loop.

    Attributes:
      rate_first: meta-learning rate of the weights of first-order learners; OML has `rate`, with the authors' early
        decay.
      rate_rate_first: that of the gradient-based learner's rates, first order.
      oml_rate: inner rate of OML, for half the squared error.
    """

    rate_first: float
    rate_rate_first: float
    oml_rate: float


FIRST: Mapping[str, Any] = {"rate_first": 1e-4, "rate_rate_first": 1e-5, "oml_rate": 6e-3}
DEFAULT = Config(seeds=4, episodes=2000, points=10, lifetimes=50, **SMALL_SINES, **FIRST)
PRESETS = {
    "smoke": dataclasses.replace(
        DEFAULT, seeds=2, episodes=8, lives=1, points=2, lifetimes=2, functions=2, batches=2, batch=4, hidden=(8, 8, 8)
    ),
    "default": DEFAULT,
    "paper": Config(points=100, rate_rate=1e-5, **PAPER_SINES, **FIRST),
}


def make_parts(config: Config) -> dict[str, Program]:
    """A program for each order and learner, and one for OML."""
    parts = {f"{order}/{method}": make_program(config, order, method) for order in ORDERS for method in METHODS}
    return {**parts, "continual/oml": make_program(config, "continual", "oml")}


def judged(each: Array, order: Order) -> Metrics:
    """Errors of lives (lifetimes,) in numbers: mean, median, and the fraction that diverged."""
    return {
        f"test_{order}": jnp.mean(each),
        f"median_{order}": over_lives(each),
        f"diverged_{order}": jnp.mean(~jnp.isfinite(each) * 1.0),
    }


def make_program(config: Config, order: Order, method: str) -> Program:
    """One learner, meta-trained on one order and tried on both."""
    sizes = (config.functions + 1, *config.hidden, 1)

    def program(
        rule: LearningRule,
        life: Life,
        rates: Mapping[str, optax.ScalarOrSchedule],
        theta: Callable[[Key], PyTree],
    ) -> Program:
        errors = {name: held_out(life, sines(config, name, 1), config.lifetimes) for name in ORDERS}

        def evaluate(key: Key, theta: PyTree) -> Metrics:
            found: dict[str, Array] = {}
            for name in ORDERS:
                found |= judged(errors[name](key, theta), name)
            found["full_problem"] = jnp.full((), is_full(config), float)
            if "alpha" in theta:
                found["largest_alpha"] = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in theta["alpha"]]))
            return found

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

    def flp_program(plastic: int) -> Program:
        cut = layers(sizes, plastic)
        life = flp_life(cut.net, prefix=cut.features if cut.front else None)
        alpha = config.alpha_reuse if plastic == 1 else config.alpha_flp
        rates = {"weights": config.rate, "feedback": config.rate, "alpha": alpha, "beta": config.rate}
        return program(meta_gradient(life, remat=False), life, rates, lambda key: flp_theta(key, cut))

    if method in PLASTIC:
        return flp_program(PLASTIC[method])
    cut = layers(sizes, DEEP)
    prefix = cut.features if cut.front else None
    life = gradient_life(cut.net, prefix=prefix)
    second = meta_gradient(life, remat=False)
    first = first_order(cut.net, prefix=prefix)
    if method == "oml":
        drop = {int(config.episodes * part / 20): 0.3 for part in (1.5, 2.5, 3.5)}
        rates = {"weights": optax.piecewise_constant_schedule(config.rate, drop), "rate": 0.0}
        return program(first, life, rates, lambda key: gradient_theta(key, cut, config.oml_rate))
    if method == "gradient_second":
        rule, rates = second, {"weights": config.rate, "rate": config.rate_rate}
    else:
        rule, rates = first, {"weights": config.rate_first, "rate": config.rate_rate_first}
    scratch = program(rule, life, rates, lambda key: gradient_theta(key, cut, config.inner_rate))
    if method != "gradient_warm":
        return scratch
    return continued(flp_program(DEEP), scratch, hand_over)


def hand_over(old: PyTree, fresh: PyTree) -> PyTree:
    """The gradient-based learner's theta, with the weights that FLP of as many plastic layers has found."""
    return {**fresh, "prefix": old["prefix"], "forward": old["forward"]}


experiment = Experiment(
    title="Table 1: incremental sines by feedback and local plasticity, feature reuse and gradient-based learners",
    cost={
        "smoke": "about a minute, most of it compilation",
        "default": "4 seeds x 13 learners, fourteen minutes on two cores",
        "paper": "2 seeds x 13 learners x 20,000 episodes of 400 steps: days on two cores; resumable",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, TABLE1),
    plot=plot,
    text=text,
)
