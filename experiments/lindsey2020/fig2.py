"""Figure 2 of Lindsey & Litwin-Kumar (2020): how networks that learn by FLP differ from feature reuse and gradients.

A: the error with every plastic layer learning, and with all but the readout frozen at birth and the readout fitted in
closed form to the life's data; and the control, a feature-reuse network that keeps its weights while FLP upstream is
meta-learned. B: the change that a task of a continual life makes to the outputs for earlier tasks. C: cosine between
the updates of FLP and the negative gradient of the task's loss, at the same weights and batch, means over lifetimes. D:
norms of the updates. The gradient-based learner of B and D is the paper's: of first order, from the weights that FLP
had learned. A learner of second order, from scratch, is our own, harder comparison. B has the change of the earlier
outputs after every inner step; the paper shows it at the end of each function.

The control continues from feature reuse, with as many meta-steps again. For claims on the control, feature reuse also
continues for as long, once as it is, and once with its weights kept, so that only the readout's feedback, alpha and
beta go on learning: any further gain of the control comes from upstream.

The paper does not state whether C is an average over lifetimes, or whether the norms of D are total or relative to the
weights: here C is a mean over lifetimes, and both norms are judged. Claims on errors are on medians over lives; means,
as the paper has them, are in the record. Bands are standard errors over networks.

The default is the smaller problem of `lindsey2020_table1`, with its outer loop and the meta-rates tuned there.
"""

import dataclasses

from experiments.lindsey2020.fig2_claims import CLAIMS
from experiments.lindsey2020.fig2_figures import plot
from experiments.lindsey2020.fig2_summary import PARTS, summarise
from experiments.lindsey2020.learners import SineLearner, flp_learner, gradient_learner, hand_over, trained
from experiments.lindsey2020.sines import PAPER_SINES, SMALL_SINES, Sines
from experiments.lindsey2020.training import continued
from experiments.lindsey2020.watched import analyses
from experiments.lindsey2020.why import FIG2
from experiments.shared.claims import explained
from plasticity_jax.run import Experiment, Program
from plasticity_jax.tasks.episodes import Order
from plasticity_jax.typing import PyTree


@dataclasses.dataclass(frozen=True)
class Config(Sines):
    """The problem, the network, and the outer loop.

    Attributes:
      ridge: of the readout of frozen features.
      networks: meta-trainings to run.
    """

    ridge: float
    networks: tuple[str, ...] = PARTS

    def __post_init__(self) -> None:
        """Refuses problems too small for the analyses, and unknown networks."""
        super().__post_init__()
        if min(self.functions, self.batches, self.lifetimes) < 2:
            counts = f"functions={self.functions}, batches={self.batches} and lifetimes={self.lifetimes}"
            raise ValueError(f"{counts} must be at least 2 each")
        if unknown := sorted(set(self.networks) - set(PARTS)):
            raise ValueError(f"networks must be of {', '.join(PARTS)}; not {', '.join(unknown)}")


DEFAULT = Config(seeds=4, episodes=1600, points=4, lifetimes=40, ridge=1e-6, **SMALL_SINES)
PRESETS = {
    "smoke": dataclasses.replace(
        DEFAULT, seeds=2, episodes=4, lives=1, points=2, lifetimes=2, functions=2, batches=2, batch=4, hidden=(8, 8)
    ),
    "default": DEFAULT,
    "long": dataclasses.replace(DEFAULT, episodes=16_000, points=8),
    "paper": Config(points=20, ridge=1e-6, **PAPER_SINES),
}


def make_parts(config: Config) -> dict[str, Program]:
    """Meta-trainings; if a part has two halves, the second starts from the result of the first."""
    parts = {
        "iid/reuse": reuse_and(config, flp_learner(config, "reuse")),
        "iid/control": reuse_and(config, flp_learner(config, "flp3", frozen=True)),
        "iid/readout": reuse_and(config, flp_learner(config, "reuse", frozen=True)),
        "iid/flp2": one(config, "iid", flp_learner(config, "flp2")),
        "iid/flp3": flp_and_gradient(config, "iid"),
        "iid/gradient": second_order(config, "iid"),
        "continual/flp3": flp_and_gradient(config, "continual"),
        "continual/gradient": second_order(config, "continual"),
    }
    return {name: parts[name] for name in PARTS if name in config.networks}


def one(config: Config, order: Order, learner: SineLearner, *, steps: bool = False) -> Program:
    """A learner, meta-trained on an order and analysed in lives of that order; see `analyses`."""
    return trained(config, order, learner, analyses(config, order, learner, ridge=config.ridge, steps=steps))


def reuse_and(config: Config, after: SineLearner) -> Program:
    """Feature reuse, and then as many meta-steps of a learner that starts from it."""
    before = flp_learner(config, "reuse")
    return continued(one(config, "iid", before), one(config, "iid", after), upstream_of_reuse)


def flp_and_gradient(config: Config, order: Order) -> Program:
    """FLP in three layers, and then the paper's gradient-based learner, which starts from its weights."""
    after = gradient_learner(config, config.gradient_warm, config.inner_rate)
    before = one(config, order, flp_learner(config, "flp3"), steps=True)
    return continued(before, one(config, order, after, steps=True), hand_over)


def second_order(config: Config, order: Order) -> Program:
    """The gradient-based learner of second order, from scratch."""
    learner = gradient_learner(config, config.gradient_second, config.inner_rate, second=True)
    return one(config, order, learner, steps=True)


def upstream_of_reuse(old: PyTree, fresh: PyTree) -> PyTree:
    """Theta of as many plastic layers or more, with what feature reuse has learned; FLP upstream is at its start."""
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
        "default": "4 seeds x 13 meta-trainings in 8 parts, twelve minutes on two cores",
        "long": "ten times the default: two hours on two cores; resumable",
        "paper": "2 seeds x 13 meta-trainings x 20,000 episodes of 400 steps: days on two cores; resumable",
    },
    scale={
        "default": "lives of 3 functions and 30 steps, layers of 64, 1,600 meta-steps of 4 lives (paper: 10 "
        "functions, 400 steps, layers of 300 to 900, 20,000 meta-steps of one life)",
        "long": "lives of 3 functions and 30 steps, layers of 64, 16,000 meta-steps of 4 lives (paper: 10 "
        "functions, 400 steps, layers of 300 to 900, 20,000 meta-steps of one life)",
        "paper": "the paper's; the gradient-based learners' inner rates, which it does not print, begin as 2e-3 and "
        "are learned at 1e-5",
    },
    tuned="default and long: the meta-rates of lindsey2020_table1, tuned there on seeds that are not reported",
    selects=("networks",),
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, FIG2),
    plot=plot,
)
