"""Section 8 of Lindsey & Litwin-Kumar (2020), their future work: other rules and other outer loops.

8.1, rules. "Meta-learning the plasticity rule itself, within some parameterized family": a polynomial of what a synapse
can read (`plasticity_jax.rules.hebbian.taylor`) starts from FLP's rule, which is one of the family. "The feedback
weights themselves being subject to plasticity": `plastic_feedback`, by the same local rule. FLP is compared with as few
numbers: one alpha and one beta for each layer, where the paper has an alpha for each weight.

8.2, outer loops. "Alternatives to backpropagation-based meta-training (e.g. evolutionary algorithms)": FLP by evolution
strategies (ES) and persistent ones (PES), and by truncated backpropagation, compared with the exact meta-gradient. The
last two divide a life into windows, with an outer step for each, and are judged at the end of every window, not only at
the end of the life. "To meta-train networks that generalize to longer lifetimes than were used": every network is
tested in lives up to eight times as long.

The task is a single sine in each life, with batches of 8 points, hidden layers of 12 and 12, and the last two layers
plastic; about 230 numbers are meta-learned. Costs are counted in steps of inner lives, backward steps as two; seconds
of an outer step are measured on the host, which may be busy. Rates and sizes of perturbations were explored on seed
100, which is not reported; ES and PES have rates of their own.
"""

import dataclasses
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.lindsey2020.networks import Layers, flp_theta, layers
from experiments.lindsey2020.outer_claims import CLAIMS
from experiments.lindsey2020.outer_figures import plot, text
from experiments.lindsey2020.outer_summary import LOOPS, RULES, TERMS, name_of, summarise
from experiments.lindsey2020.training import held_out, meta_training, over_lives
from experiments.lindsey2020.why import OUTER
from experiments.shared.claims import explained
from plasticity_jax.base import LearningRule, learner
from plasticity_jax.meta import Life, es, flp_life, meta_gradient, pes, truncated
from plasticity_jax.meta.supervised import supervised_life
from plasticity_jax.rules.hebbian import plastic_feedback, taylor
from plasticity_jax.rules.hebbian.taylor import flp_terms
from plasticity_jax.run import Experiment, Program
from plasticity_jax.run.program import Metrics
from plasticity_jax.tasks.incremental_sines import incremental_sines
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Episode, Key, Params, PyTree


@dataclasses.dataclass(frozen=True)
class Config:
    """The task, and the outer loops.

    Attributes:
      seeds: networks, meta-trained independently.
      steps: meta-steps of the exact meta-gradient and of ES, on whole lives; the other two have one for each window.
      points: evaluations.
      lifetimes: of an evaluation.
      lives: in a meta-step.
      functions: of a life.
      batches: inner steps for each function.
      batch: points in an inner step.
      hidden: widths of the hidden layers.
      windows: of a life, for PES and the truncated meta-gradient.
      longer: lengths of lives in evaluation, in units of a life of meta-training; the first is 1.
      rate: meta-learning rate of weights, feedback and beta.
      rate_rule: of alpha, of plasticity of the feedback, and of the polynomial's coefficients.
      rate_es: of weights, feedback and beta by ES and PES.
      rate_rule_es: of alpha by ES and PES.
      alpha: its initial value.
      sigma: perturbation of weights, feedback and beta by ES and PES.
      sigma_rule: of alpha.
      pairs: of perturbed lives.
      clip: largest norm of the meta-gradient of a group.
      backoff: fraction by which a life that diverged reduces alpha.
      rules: to meta-train by the exact meta-gradient.
      loops: other outer loops, for FLP's rule.
    """

    seeds: int = 4
    steps: int = 3200
    points: int = 8
    lifetimes: int = 100
    lives: int = 4
    functions: int = 1
    batches: int = 20
    batch: int = 8
    hidden: tuple[int, ...] = (12, 12)
    windows: int = 4
    longer: tuple[int, ...] = (1, 2, 4, 8)
    rate: float = 3e-3
    rate_rule: float = 3e-5
    rate_es: float = 3e-3
    rate_rule_es: float = 1e-4
    alpha: float = 1e-3
    sigma: float = 0.03
    sigma_rule: float = 3e-4
    pairs: int = 8
    clip: float = 1.0
    backoff: float = 0.1
    rules: tuple[str, ...] = RULES
    loops: tuple[str, ...] = LOOPS

    def __post_init__(self) -> None:
        """Refuses windows and evaluations that do not divide, and names that are not known."""
        if self.functions * self.batches % self.windows or self.steps % (self.points * self.windows):
            raise ValueError(
                f"windows={self.windows} must divide a life's steps, and with points={self.points} the meta-steps"
            )
        if unknown := sorted({*self.rules, *self.loops} - {*RULES, *LOOPS}):
            raise ValueError(f"{unknown} are not known; rules are {', '.join(RULES)}, loops {', '.join(LOOPS)}")
        if not self.longer or self.longer[0] != 1:
            raise ValueError(f"longer={self.longer} must begin with 1, the lives of meta-training")


PRESETS = {
    "smoke": Config(
        seeds=2,
        steps=4,
        points=2,
        lifetimes=2,
        lives=1,
        batches=4,
        batch=2,
        hidden=(4, 4),
        windows=2,
        longer=(1, 2),
        pairs=2,
    ),
    "default": Config(),
    "long": Config(seeds=8, steps=32_000, points=20),
}


class Outer(NamedTuple):
    """An outer loop.

    Attributes:
      rule: over theta.
      windows: of a life; 1 is a whole life.
      inner: steps of inner lives in an outer step, backward steps counted as two.
      es: whether it is an evolution strategy.
    """

    rule: LearningRule
    windows: int
    inner: int
    es: bool = False


def make_parts(config: Config) -> dict[str, Program]:
    """A meta-training for each rule, and for FLP with each outer loop; the exact one is among the rules."""
    parts = {f"rule/{name}": make_program(config, name, "exact") for name in config.rules}
    return {**parts, **{f"loop/{name}": make_program(config, "flp", name) for name in config.loops}}


def cut_of(config: Config) -> Layers:
    """The network, with two plastic layers."""
    return layers((config.functions + 1, *config.hidden, 1), 2)


def life_of(config: Config, rule: str) -> Life:
    """A life of one of the rules."""
    cut = cut_of(config)
    prefix = cut.features if cut.front else None
    if rule == "flp":
        return flp_life(cut.net, prefix=prefix)

    def learns(theta: PyTree):
        if rule == "taylor":
            terms = {term: theta["alpha"][name_of(term)] for term in TERMS}
            return learner(taylor(cut.net, terms), optax.sgd(1.0))
        return learner(
            plastic_feedback(cut.net, alpha=theta["alpha"], alpha_fb=theta["alpha_fb"], beta=theta["beta"]),
            optax.sgd(1.0),
        )

    def params(theta: PyTree) -> Params:
        return {"forward": theta["forward"], "feedback": theta["feedback"]}

    return supervised_life(cut.net, learns, params, prefix=prefix)


def theta_of(config: Config, rule: str, key: Key) -> PyTree:
    """Theta at the start: the same weights and feedback for every rule, and the same rule, FLP's."""
    cut = cut_of(config)
    theta = flp_theta(key, cut)
    dtype = theta["beta"][0].dtype

    def each(value: Any) -> tuple[Array, ...]:
        return (jnp.asarray(value, dtype),) * cut.plastic

    theta = {**theta, "alpha": each(config.alpha)}
    if rule == "plastic_feedback":
        return {**theta, "alpha_fb": each(0.0)}
    if rule == "taylor":
        start = flp_terms(config.alpha, 0.5)
        coefficients = {name_of(term): each(start.get(term, 0.0)) for term in TERMS}
        return {name: theta[name] for name in ("prefix", "forward", "feedback")} | {"alpha": coefficients}
    return theta


def outer_loop(config: Config, life: Life, loop: str) -> Outer:
    """One of the outer loops, with the cost of a step."""
    steps = config.lives * config.functions * config.batches
    window = steps // config.windows
    sigma = dict.fromkeys(("prefix", "forward", "feedback", "beta"), config.sigma) | {"alpha": config.sigma_rule}
    if loop == "exact":
        return Outer(meta_gradient(life, remat=False), 1, 3 * steps)
    if loop == "es":
        return Outer(es(life, sigma=sigma, pairs=config.pairs), 1, 2 * config.pairs * steps, es=True)
    if loop == "pes":
        rule = pes(life, sigma=sigma, pairs=config.pairs, windows=config.windows)
        return Outer(rule, config.windows, 2 * config.pairs * window, es=True)
    return Outer(truncated(life, windows=config.windows, remat=False), config.windows, 3 * window)


def in_windows(stream: Stream, windows: int) -> Stream:
    """Each life of a stream in so many parts, one to a step, all judged by the life's own query.

    Steps are taken from it in multiples of the windows.
    """

    def take(state: PyTree, steps: int) -> tuple[PyTree, Episode]:
        state, lives = stream.take(state, -(-steps // windows))

        def parts(leaf: Array) -> Array:
            leaf = leaf.reshape(*leaf.shape[:2], windows, -1, *leaf.shape[3:])
            return jnp.moveaxis(leaf, 2, 1).reshape(-1, leaf.shape[1], *leaf.shape[3:])[:steps]

        def again(leaf: Array) -> Array:
            return jnp.repeat(leaf, windows, 0)[:steps]

        whole: Any = lives  # an episode is a meta-learner's example
        return state, Episode(jax.tree.map(parts, whole.support), jax.tree.map(again, whole.query))

    return Stream(stream.init, take)  # pyright: ignore[reportArgumentType] # an episode is a meta-learner's example


def task(config: Config, episodes: int, length: int = 1) -> Stream:
    """Stream of lives of the task, with `length` times as many steps as in meta-training."""
    return incremental_sines(
        functions=config.functions, batches=length * config.batches, batch=config.batch, episodes=episodes
    )


def make_program(config: Config, rule: str, loop: str) -> Program:
    """One rule, meta-trained by one outer loop."""
    life = life_of(config, rule)
    outer = outer_loop(config, life, loop)
    errors = {length: held_out(life, task(config, 1, length), config.lifetimes) for length in config.longer}
    weights, own = (config.rate_es, config.rate_rule_es) if outer.es else (config.rate, config.rate_rule)

    def evaluate(key: Key, theta: PyTree) -> Metrics:
        life_errors = [errors[length](key, theta) for length in config.longer]
        metrics = {
            "median": jnp.stack([over_lives(each) for each in life_errors]),
            "mean": jnp.stack([jnp.mean(each) for each in life_errors]),
            "length": jnp.asarray(config.longer, float),
            "inner_steps": jnp.asarray(outer.inner * config.steps * outer.windows, float),
        }
        if rule == "taylor":
            coefficients = [jnp.stack(theta["alpha"][name_of(term)]) for term in TERMS]
            metrics["coefficients"] = jnp.stack(coefficients)
        elif "alpha" in theta:
            metrics |= {name: jnp.stack(theta[name]) for name in ("alpha", "beta", "alpha_fb") if name in theta}
        return metrics

    stream = task(config, config.lives)
    program = meta_training(
        outer.rule,
        {"weights": weights, "feedback": weights, "beta": weights, "alpha": own, "alpha_fb": own},
        lambda key: theta_of(config, rule, key),
        stream if outer.windows == 1 else in_windows(stream, outer.windows),
        evaluate,
        episodes=config.steps * outer.windows,
        points=config.points,
        clip=config.clip,
        backoff=config.backoff,
    )
    return program._replace(may_diverge=True)  # lives that diverge are skipped, and the table counts seeds


def measure(config: Config, progress: bool = True) -> dict[str, np.ndarray]:
    """Seconds that outer steps take for a batch of whole lives: "seconds/<loop>", (); least of three timings."""
    seconds = {}
    for loop in ("exact", *config.loops):
        life = life_of(config, "flp")
        outer = outer_loop(config, life, loop)
        key = jax.random.key(0)
        stream = task(config, config.lives)
        stream = stream if outer.windows == 1 else in_windows(stream, outer.windows)
        batch = jax.tree.map(lambda leaf: leaf[0], stream.take(stream.init(key), outer.windows)[1])
        theta = theta_of(config, "flp", key)
        step = jax.jit(outer.rule.update)
        traces = outer.rule.init(theta, key, batch)
        jax.block_until_ready(step(theta, traces, key, batch))
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            for _ in range(10):
                jax.block_until_ready(step(theta, traces, key, batch))
            times.append((time.perf_counter() - begin) / 10)
        seconds[f"seconds/{loop}"] = np.array(min(times) * outer.windows)
    return seconds


experiment = Experiment(
    title="Section 8: meta-learned rules, plastic feedback, evolution strategies and truncation, and longer lives",
    cost={
        "smoke": "about a minute, nearly all of it compilation",
        "default": "4 seeds x 6 meta-trainings, three minutes on two cores",
        "long": "8 seeds and ten times the meta-steps, an hour on two cores; resumable",
    },
    scale={
        "default": "lives of one sine, 3,200 meta-steps; section 8 names these extensions, and runs none of this kind",
        "long": "lives of one sine, 32,000 meta-steps; section 8 names these extensions, and runs none of this kind",
    },
    tuned="on seed 100, which is not reported: FLP's rates among three settings, those of ES among three, the family's "
    "among two",
    selects=("rules", "loops"),
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, OUTER),
    plot=plot,
    text=text,
    measure=measure,
)
