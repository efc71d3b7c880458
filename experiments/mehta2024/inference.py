"""Mehta et al. (2024): the plasticity rule of a network, inferred from recordings of its activity.

A network of tanh neurons changes its weights by Oja's rule, or by a rule that reward modulates. Its inputs, its rewards
and the noisy activity of some of its neurons are recorded, but not its weights. The rule is fitted within the family of
polynomials of presynaptic and postsynaptic activity, weight and reward (`plasticity_jax.rules.hebbian.taylor`). The
coefficients, and the initial weights that all trajectories share, descend the exact gradient of the misfit between the
model network's activity and the recordings, through all steps of plasticity (`plasticity_jax.meta.meta_gradient`), with
a penalty on the sum of the coefficients' magnitudes. The fitted model then predicts noise-free activity in held-out
trajectories from their inputs and rewards.

Both hidden rules are in the family, and the same 24 terms are fitted for both. The comparisons are no plasticity; a
drift of each weight at a constant rate; the family without reward; the family without the penalty; and, as a ceiling,
the true rule with only the initial weights fitted, starting from the true ones. All are fitted alike.

Only the abstract of the paper was at hand, so sizes, noise and claims with numbers are our own. The paper also infers
rules in the form of a multilayer perceptron, and from choices of flies; neither is done here.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Annotated

import jax
import jax.numpy as jnp
import optax

from experiments.mehta2024.inference_claims import CLAIMS
from experiments.mehta2024.inference_figures import plot, text
from experiments.mehta2024.inference_summary import MODELS, family, summarise, terms_of
from experiments.mehta2024.recordings import (
    RULES,
    Recordings,
    Stimuli,
    network,
    network_learner,
    params_of,
    predictions,
    record,
)
from experiments.mehta2024.why import INFERENCE
from experiments.shared.claims import explained
from plasticity_jax.base import Learner, LearnerState, learner
from plasticity_jax.meta import Life, meta_gradient
from plasticity_jax.rules.hebbian.taylor import Term
from plasticity_jax.run import Experiment, Program, Range, at_each, evaluated
from plasticity_jax.run.program import Metrics
from plasticity_jax.typing import Array, Episode, Key, PyTree, Scalar

Theta = Mapping[str, Array]
"""Initial weights "w" (n, n_in), and the coefficients "rule" (terms,) or "drift" (n, n_in) of models that have them."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Networks, recordings, and the fit.

    Attributes:
      seeds: networks, each with recordings of its own.
      inputs: of the network.
      neurons: of the network.
      weight: standard deviation of the initial weights.
      rate: unit of the coefficients.
      trajectories: number for the fit.
      held_out: number for prediction.
      steps: of a trajectory.
      noise: standard deviations of the noise on activity, which is between -1 and 1; increasing.
      shares: of the neurons that are observed; decreasing.
      powers: largest powers in the family, of presynaptic and postsynaptic activity, weight and reward.
      meta_steps: of the fit.
      points: evaluations.
      meta_rate: of Adam in the fit, with cosine decay to 0.
      penalty: on the sum of the coefficients' magnitudes.
      rules: hidden rules.
      models: fitted models; claims that need the others are not judged.
    """

    seeds: int = 5
    inputs: int = 6
    neurons: int = 8
    weight: float = 0.8
    rate: float = 0.1
    trajectories: int = 16
    held_out: int = 16
    steps: int = 40
    noise: tuple[float, ...] = (0.05, 0.2, 0.5)
    shares: tuple[Annotated[float, Range(0.0, 1.0)], ...] = (1.0, 0.5, 0.125)
    powers: tuple[Annotated[int, Range(0, 4)], ...] = (1, 2, 1, 1)
    meta_steps: int = 1000
    points: int = 8
    meta_rate: float = 0.03
    penalty: float = 1e-4
    rules: tuple[str, ...] = tuple(RULES)
    models: tuple[str, ...] = MODELS

    def __post_init__(self) -> None:
        """Refuses unknown names, settings out of order or twice, and families that lack a hidden rule's term."""
        for field, choices in (("rules", tuple(RULES)), ("models", MODELS)):
            if unknown := sorted({*getattr(self, field)} - {*choices}):
                raise ValueError(f"{field}={unknown} are not known; use some of {', '.join(choices)}")
        if list(self.noise) != sorted(set(self.noise)) or list(self.shares) != sorted(set(self.shares), reverse=True):
            raise ValueError(f"noise={self.noise} must increase, and shares={self.shares} decrease")
        if len(set(counts := self.observed())) < len(counts):
            raise ValueError(f"shares={self.shares} of neurons={self.neurons} are {counts} neurons: give each its own")
        if self.points < 1 or self.meta_steps % self.points:
            raise ValueError(f"points={self.points} must divide meta_steps={self.meta_steps}")
        if len(self.powers) != 4 or any(set(RULES[rule]) - set(family(self.powers)) for rule in self.rules):
            raise ValueError(f"powers={self.powers} must be four, and admit every term of {', '.join(self.rules)}")

    def observed(self) -> list[int]:
        """Numbers of observed neurons, at least one, for each share."""
        return [max(1, round(share * self.neurons)) for share in self.shares]


PRESETS = {
    "smoke": Config(
        seeds=2, inputs=3, neurons=2, trajectories=2, held_out=2, steps=5, noise=(0.05, 0.2), shares=(1.0, 0.5),
        meta_steps=4, points=2,
    ),
    "default": Config(),
    "wide": Config(
        seeds=10, inputs=20, neurons=40, trajectories=32, held_out=32, steps=100, powers=(2, 2, 2, 1), meta_steps=5000,
        points=20,
    ),
}  # fmt: skip


def coefficients(config: Config, rule: str, model: str, theta: Theta) -> dict[Term, Scalar]:
    """Coefficients of a model's plasticity rule at some theta."""
    if model == "true":
        return {term: config.rate * value for term, value in RULES[rule].items()}
    if model == "drift":
        return {(0, 0, 0, 0): config.rate * theta["drift"]}
    return {term: config.rate * theta["rule"][k] for k, term in enumerate(terms_of(config.powers, model))}


def birth(config: Config, model: str, w: Array) -> Theta:
    """Initial theta of the fit: no plasticity and weights of 0, or the true weights for the true rule."""
    if model == "true":
        return {"w": w}
    theta = {"w": jnp.zeros_like(w)}
    if model == "drift":
        return {**theta, "drift": jnp.zeros_like(w)}
    return {**theta, "rule": jnp.zeros(len(terms_of(config.powers, model)), w.dtype)} if model != "none" else theta


def life_of(config: Config, rule: str, model: str) -> Life:
    """A trajectory as a life, whose loss is its misfit to the recordings, mean over steps, and the penalty."""
    net = network(config.inputs, config.neurons)

    def learns(theta: Theta) -> Learner:
        return network_learner(net, coefficients(config, rule, model, theta))

    def penalty(theta: Theta, params: PyTree, query: PyTree) -> tuple[Array, Mapping[str, Array]]:
        share = config.penalty if model in ("fitted", "blind") else 0.0
        return share * jnp.sum(jnp.abs(theta.get("rule", jnp.zeros(1)))), {}

    return Life(learns, lambda theta: params_of(theta["w"]), penalty, on_the_way=jnp.mean)


def settings(config: Config) -> dict[str, Array]:
    """Noise (settings,) and observed neurons (settings, n), with all shares of the first noise first."""
    pairs = list(itertools.product(config.noise, config.observed()))
    counts = jnp.asarray([count for _, count in pairs])
    is_observed = (jnp.arange(config.neurons)[None, :] < counts[:, None]).astype(float)
    return {"noise": jnp.asarray([noise for noise, _ in pairs], is_observed.dtype), "observed": is_observed}


def recordings(
    config: Config, rule: str, key: Key, setting: Mapping[str, Array]
) -> tuple[Array, Recordings, Recordings]:
    """True initial weights, and recordings for the fit and for prediction, with the same draws in every setting."""
    key_w, key_fit, key_test = jax.random.split(key, 3)
    w = config.weight * jax.random.normal(key_w, (config.neurons, config.inputs))
    terms = {term: config.rate * value for term, value in RULES[rule].items()}

    def some(key: Key, trajectories: int) -> Recordings:
        return record(key, w, terms, trajectories=trajectories, steps=config.steps, stimuli=Stimuli(), **setting)

    return w, some(key_fit, config.trajectories), some(key_test, config.held_out)


def make_program(config: Config, rule: str, model: str) -> Program:
    """The fit of a model to the recordings of a hidden rule, in every setting."""
    tx = optax.adam(optax.cosine_decay_schedule(config.meta_rate, config.meta_steps))
    learn = learner(meta_gradient(life_of(config, rule, model), remat=False), tx)
    every = config.meta_steps // config.points

    def init(lane: PyTree) -> PyTree:
        w, fitted, held_out = recordings(config, rule, *lane)
        episode = Episode(fitted.trials, ())
        return lane[1], episode, held_out, learn.init(birth(config, model, w), lane[0], episode)

    def chunk(state: PyTree) -> tuple[PyTree, Metrics]:
        *fixed, learned = state
        learned, info = jax.lax.scan(lambda state, _: learn.step(state, fixed[1]), learned, None, length=every)
        return (*fixed, learned), {"loss": jnp.mean(info.loss)[None]}

    def scores(state: PyTree) -> Metrics:
        setting, _, held_out, learned = state
        return evaluate(config, rule, model, learned, held_out, setting)

    program = evaluated(Program(init, chunk, config.points, every, 1), scores)
    return at_each(program, settings(config))


def evaluate(
    config: Config, rule: str, model: str, learned: LearnerState, held_out: Recordings, setting: Mapping[str, Array]
) -> dict[str, Array]:
    """Explained variance of noise-free activity and of weights, for observed neurons, and the fitted rule."""
    theta = learned.params
    terms = coefficients(config, rule, model, theta)
    activity, weights = predictions(theta["w"], terms, held_out.trials)
    observed = setting["observed"]
    metrics = {
        "meta_step": learned.step,
        "noise": setting["noise"],
        "share": jnp.mean(observed),
        "r2": explained_variance(activity, held_out.activity, observed),
        "r2_weights": explained_variance(weights, held_out.weights, observed[:, None]),
        "predicted": activity[0, :, 0],
        "activity": held_out.activity[0, :, 0],
        "observed": held_out.trials.activity[0, :, 0, 0],
    }
    if terms_of(config.powers, model):
        metrics["coefficients"] = theta["rule"]
        true = [RULES[rule].get(term, 0.0) for term in terms_of(config.powers, model)]
        metrics["true"] = jnp.asarray(true, theta["rule"].dtype)
    return metrics


def explained_variance(predicted: Array, true: Array, observed: Array) -> Array:
    """1 - (squared error) / (squares about the mean over trajectories and steps), summed over observed entries.

    Args:
      predicted: (trajectories, steps, ...).
      true: the same.
      observed: 1 or 0, with a shape that broadcasts to `...`.
    """
    observed = observed[None, None]
    about = jnp.sum(observed * (true - jnp.mean(true, (0, 1), keepdims=True)) ** 2)
    return 1 - jnp.sum(observed * (predicted - true) ** 2) / about


def make_parts(config: Config) -> dict[str, Program]:
    """Every model for every hidden rule, by the name "rule/model"."""
    return {f"{rule}/{model}": make_program(config, rule, model) for rule in config.rules for model in config.models}


experiment = Experiment(
    title="Plasticity rules inferred from recorded activity: Oja's, and one that reward modulates",
    cost={
        "smoke": "under a minute, nearly all of it compilation",
        "default": "5 seeds x 12 fits in 9 settings, four minutes on two cores",
        "wide": "10 seeds, 40 neurons that hear 20 inputs, 54 terms, 5,000 steps: hours on two cores; resumable",
    },
    scale={
        "default": "8 neurons, trajectories of 40 steps; the paper's networks are larger, and its text was not at hand",
        "wide": "40 neurons, trajectories of 100 steps; the paper's text was not at hand",
    },
    tuned="weights at the start, trajectories, the penalty and the rate of the fit, among seven combinations on "
    "network 100, which is not reported; and tanh, where sigmoids had been tried",
    selects=("rules", "models"),
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, INFERENCE),
    plot=plot,
    text=text,
)
