"""Figures 1, 2d and 3 of Bredenberg et al. (2021): what impression learning and its rivals learn from OU mixtures.

"standard" is Figure 1, 20 latents behind 100 inputs; "d2" to "d32" Figure 2d, d latents behind 2 d inputs; "K1" to
"K32" Figure 3, phases of K steps, 4 latents behind 10 inputs; "rates" the learning rates that 2 latents behind 4 inputs
bear. A seed is a world, its initial weights, its stimuli, and its test; it is shared by all methods and rates.

Rates are those of the authors, times sigma^2 of each weight's density. Their backpropagation had its own loss, without
the 1/2: 2e-2 in these units. NVI* is run at several rates, and judged at the best of them for what is compared; the
published code at the authors' rate of 3.16e-10, where nothing moves, and at 1e-7. The generated stimulus is linear in
the neurons for all methods; the authors' is a tanh for backpropagation alone. The default is shorter than the paper's
2 million steps (Figure 1; backpropagation 300,000) and 3.6 million (Figure 2d).

Trivial baselines. Principal components, as many as neurons, reconstruct the stimuli without error, for they have no
noise of their own. A random network of as many neurons as latents is almost surely invertible: without noise the
latents can be read out linearly from it as well, so that what learning brings is a code that stands out of the noise of
the neurons. An untrained network's dreams forget by 0.6 a step.

What does not hold: dreams do not vary as the stimuli do, but more. NVI* does not get going in so few steps in any
dimension, so that nothing shows of a gap that widens. And phases of 32 end with half the loss of phases of 2, tested
with phases of 2, though with more awake.
"""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.bredenberg2021.authors import published_nvi
from experiments.bredenberg2021.common import LAGS, METHODS, pca_r_squared, training
from experiments.bredenberg2021.learning_figures import best, figures, final, tasks_of
from plasticity_jax.base import LearningRule, learner
from plasticity_jax.networks.two_stream import TwoStream, init_params, two_stream
from plasticity_jax.rules.generative import impression, neural_variational, reparameterised, wake_sleep
from plasticity_jax.rules.generative.schedules import alternating
from plasticity_jax.run import Claim, Experiment, Program, gap, put
from plasticity_jax.run.program import Metrics
from plasticity_jax.tasks.ou_mixture import ou_mixture
from plasticity_jax.typing import Key

LONG = 32


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings; rates are of SGD on updates without the factors 1 / sigma^2.

    Attributes:
      seeds: worlds and networks, shared by all methods.
      latents: of the standard task.
      stimuli: inputs of the standard task.
      steps: of all methods there.
      rate: of impression learning and wake-sleep there.
      rate_bp: of backpropagation, everywhere.
      rates_nvi: of NVI* in the standard task and in every dimension; the best of them counts.
      rates_published: of the published NVI*: 0, the untrained network; the authors'; one at which weights move.
      dimensions: d, latents behind 2 d inputs.
      dimension_steps: of all methods there.
      dimension_rate: of impression learning there.
      phases: K.
      phase_steps: steps at each.
      phase_rate: rate there.
      tolerance_steps: steps in which a rate must prove itself.
      tolerance_il: rates of impression learning that are tried, ascending.
      tolerance_nvi: rates of NVI*, likewise.
      points: tests in the course of training, except for dimensions and tolerances, which have two.
    """

    seeds: int = 5
    latents: int = 20
    stimuli: int = 100
    steps: int = 600_000
    rate: float = 1e-3
    rate_bp: float = 2e-2
    rates_nvi: tuple[float, ...] = (1e-6, 3e-6)
    rates_published: tuple[float, ...] = (0.0, 3.16e-10, 1e-7)
    dimensions: tuple[int, ...] = (2, 8, 32)
    dimension_steps: int = 200_000
    dimension_rate: float = 3.16e-3
    phases: tuple[int, ...] = (1, 2, 5, 11, 32)
    phase_steps: int = 1_000_000
    phase_rate: float = 5e-4
    tolerance_steps: int = 200_000
    tolerance_il: tuple[float, ...] = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0, 3.0, 10.0)
    tolerance_nvi: tuple[float, ...] = (3e-7, 1e-6, 3e-6, 1e-5, 3e-5, 1e-4, 3e-4)
    points: int = 8

    def __post_init__(self) -> None:
        if min(self.seeds, self.latents, self.stimuli, self.points, *self.dimensions) < 1:
            raise ValueError("seeds, latents, stimuli, points and dimensions must be at least 1")
        for field in ("steps", "phase_steps", "dimension_steps", "tolerance_steps"):
            points = self.points if field in ("steps", "phase_steps") else FEW
            if getattr(self, field) < 1 or getattr(self, field) % points:
                raise ValueError(f"{field}={getattr(self, field)} must be a positive multiple of its {points} tests")
        if not self.phases or max(self.phases) > LONG:
            raise ValueError(f"phases={self.phases} must name phases of at most {LONG} steps, which a test can hold")


FEW = 2
PRESETS = {
    "smoke": Config(
        seeds=2,
        latents=2,
        stimuli=4,
        steps=400,
        rates_nvi=(1e-6, 3e-6),
        dimensions=(2,),
        dimension_steps=400,
        phases=(1, 2),
        phase_steps=400,
        tolerance_steps=400,
        tolerance_il=(1e-3, 1e-2),
        tolerance_nvi=(1e-6, 1e-5),
        points=4,
    ),
    "default": Config(),
    "paper": Config(
        seeds=20,
        steps=2_000_000,
        points=20,
        dimensions=(2, 4, 8, 16, 32),
        dimension_steps=3_600_000,
        phase_steps=1_000_000,
        tolerance_steps=3_600_000,
    ),
}


def build_rule(method: str, net: TwoStream) -> LearningRule:
    """One of `METHODS`."""
    rules = {
        "il": impression(net),
        "ws": wake_sleep(net, phase=LONG),
        "ws_coordinatewise": wake_sleep(net, phase=LONG, coordinatewise=True),
        "bp": reparameterised(net),
        "nvi": neural_variational(net),
        "published": published_nvi(net),
    }
    return rules[method]


def make_parts(config: Config) -> dict[str, Program]:
    """Programs by "task.method", and "identity", which compares wake-sleep with impression learning."""
    parts = {}
    rates = {"bp": (config.rate_bp,), "nvi": config.rates_nvi, "published": config.rates_published}

    def add(task: str, sizes: tuple[int, int], methods: Sequence[str], rate: float, steps: int, points: int) -> None:
        net = two_stream(sizes)
        for method in methods:
            tried = rates.get(method, (LONG * rate if method == "ws_coordinatewise" else rate,))
            program = training(net, build_rule(method, net), tried, steps=steps, points=points)
            parts[f"{task}.{method}"] = program._replace(may_diverge=method == "nvi")

    add("standard", (config.stimuli, config.latents), METHODS, config.rate, config.steps, config.points)
    for d in config.dimensions:
        add(f"d{d}", (2 * d, d), ("il", "bp", "nvi", "published"), config.dimension_rate, config.dimension_steps, FEW)
    for period in config.phases:
        net = two_stream((10, 4))
        rule = impression(net, schedule=alternating(period))
        parts[f"K{period}.il"] = training(
            net, rule, (config.phase_rate,), steps=config.phase_steps, points=config.points, period=period
        )
    for method, tried in (("il", (0.0, *config.tolerance_il)), ("nvi", config.tolerance_nvi)):
        net = two_stream((4, 2))
        program = training(net, build_rule(method, net), tried, steps=config.tolerance_steps, points=FEW)
        parts[f"rates.{method}"] = program._replace(may_diverge=True)
    parts["identity"] = identity((config.stimuli, config.latents), config.rate)
    return parts


def identity(sizes: tuple[int, int], rate: float, steps: int = 1000) -> Program:
    """What needs no training: wake-sleep with phases of 2 against impression learning, and PCA of the stimuli.

    Metrics: ``difference``, the largest of any weight after some steps; ``pca``, R2 of as many components as latents.
    """

    net = two_stream(sizes)

    def chunk(key: Key) -> tuple[Key, Metrics]:
        stream = ou_mixture(sizes[1], sizes[0])
        examples = stream.take(stream.init(key), steps)[1]

        def weights(rule: LearningRule) -> Any:
            learn = learner(rule, optax.sgd(rate))
            start = learn.init(init_params(key, net), key, jax.tree.map(lambda leaf: leaf[0], examples))
            return jax.lax.scan(learn.step, start, examples)[0].params

        rules = wake_sleep(net, phase=2), impression(net, schedule=alternating(2))
        gaps = jax.tree.map(lambda a, b: jnp.max(jnp.abs(a - b)), *map(weights, rules))
        gap = jnp.max(jnp.stack(jax.tree.leaves(gaps)))
        return key, {"difference": gap[None], "pca": pca_r_squared(examples.x, sizes[1])[None]}

    return Program(lambda key: key, chunk, 1, 2 * steps, 1)


SCALARS = ("wake", "alternating", "r2", "decoding", "decoding_noiseless", "transition", "correlation", "dispersion")
LAG = 20


def largest_stable(losses: np.ndarray, untrained: np.ndarray, rates: Sequence[float]) -> float:
    """The largest of ascending rates up to which every seed's loss ends finite and not above the untrained network's.

    Args:
      losses: (seeds, rates).
      untrained: (seeds,).
      rates: ascending.

    Returns:
      The rate; NaN if there is none.
    """
    stable = (np.isfinite(losses) & (losses <= untrained[:, None])).all(0)
    count = len(rates) if stable.all() else int(np.argmin(stable))
    return float(rates[count - 1]) if count else float("nan")


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Means over seeds at the end of training, by "task/method/what", and what the claims compare.

    Progress is a fall of a loss from the untrained network's, as a fraction of another method's, in the same seed.
    """
    summary: dict[str, float] = {}
    tasks = tasks_of(metrics)
    dims = [task for task in tasks if task.startswith("d")]
    phases = [task for task in tasks if task.startswith("K")]

    def progress(task: str, method: str, other: str, loss: str) -> None:
        start, ours, theirs = (final(metrics, task, name, loss) for name in ("untrained", method, other))
        put(summary, f"{task}/{method}/{loss}_progress_over_{other}", (start - ours) / (start - theirs))

    for task in ("standard", *dims):
        methods = METHODS if task == "standard" else ("il", "bp", "nvi", "published")
        for method in (*methods, "untrained"):
            for name in SCALARS:
                put(summary, f"{task}/{method}/{name}", final(metrics, task, method, name))
            for which in ("wake", "stimulus", "dream"):
                acf = final(metrics, task, method, f"acf_{which}")[:, LAGS.index(LAG)]
                put(summary, f"{task}/{method}/acf_{which}_{LAG}", acf)
        for method, other in (("il", "bp"), ("nvi", "bp"), ("nvi", "il")):
            progress(task, method, other, "wake")
        progress(task, "nvi", "il", "alternating")
        start = final(metrics, task, "untrained", "alternating")
        published = np.asarray(metrics[f"{task}.published/alternating"])[:, -1]
        for column, name in ((1, "authors"), (-1, "largest")):
            put(summary, f"{task}/published/rise_at_{name}_rate", published[:, column] / start - 1)
        rates = np.asarray(metrics[f"{task}.nvi/rate"])[0, -1]
        summary[f"{task}/nvi/rate"] = float(rates[best(metrics, task)])

    start, end = (final(metrics, "standard", method, "alternating") for method in ("untrained", "il"))
    put(summary, "standard/il/alternating_fall", start / end)
    for method in ("bp", "ws"):
        put(summary, f"standard/{method}-il/alternating", final(metrics, "standard", method, "alternating") - end)
    for name in ("decoding", "decoding_noiseless"):
        gain = final(metrics, "standard", "il", "decoding") - final(metrics, "standard", "untrained", name)
        put(summary, f"standard/il-untrained/{name}", gain)
    put(summary, "pca/r2", np.asarray(metrics["identity/pca"])[:, -1])
    summary["identity/difference"] = float(np.max(metrics["identity/difference"]))

    for task in phases:
        for name in SCALARS:
            put(summary, f"{task}/{name}", final(metrics, task, "il", name))
        summary[f"{task}/transition_moved"] = float(np.abs(final(metrics, task, "il", "transition") - 0.6).min())
        summary[f"{task}/transition_most"] = float(np.abs(final(metrics, task, "il", "transition") - 0.6).max())
    for short, long in itertools.pairwise(phases):
        gap = final(metrics, short, "il", "correlation") - final(metrics, long, "il", "correlation")
        put(summary, f"gap/{short}-{long}/correlation", gap)
    if "K2" in phases:
        gap = final(metrics, phases[-1], "il", "wake") - final(metrics, "K2", "il", "wake")
        put(summary, f"gap/{phases[-1]}-K2/wake", gap)

    untrained = np.asarray(metrics["rates.il/alternating"])[:, -1, 0]
    for method in ("il", "nvi"):
        losses, rates = (np.asarray(metrics[f"rates.{method}/{name}"]) for name in ("alternating", "rate"))
        kept = rates[0, -1] > 0
        tried = rates[0, -1][kept]
        summary[f"rates/{method}/largest_stable"] = largest_stable(losses[:, -1, kept], untrained, tried)
        for rate, column in zip(tried, losses[:, -1, kept].T, strict=True):
            put(summary, f"rates/{method}/{rate:.3g}", column)
    summary["rates/ratio"] = summary["rates/il/largest_stable"] / summary["rates/nvi/largest_stable"]
    return summary


def _bound(name: str, statement: str, key: str, holds: Any, paper: float | str | None = None) -> Claim:
    """A number of the summary against a bound, by two standard errors where it has them; ``holds(low, high)``."""

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        value, sem = summary[key], summary.get(f"{key}_sem", 0.0)
        return value, bool(holds(value - 2 * sem, value + 2 * sem))

    return Claim(name, statement, paper, measure)


def _dimensions(name: str, statement: str, what: str, worst: Any, holds: Any) -> Claim:
    """A number of every dimension against a bound; measured is the worst of them."""

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        found = {key: value for key, value in summary.items() if key.startswith("d") and key.endswith(what)}
        ends = [(value - 2 * summary[f"{key}_sem"], value + 2 * summary[f"{key}_sem"]) for key, value in found.items()]
        return worst(found.values()), all(holds(*end) for end in ends)

    return Claim(name, statement, None, measure)


def _widening(summary: Mapping[str, float]) -> tuple[float, bool]:
    """NVI*'s progress over impression learning's, of the most dimensions less that of the fewest."""
    what = "/nvi/wake_progress_over_il"
    dims = sorted(int(key[1 : -len(what)]) for key in summary if key.startswith("d") and key.endswith(what))
    few, many = f"d{dims[0]}{what}", f"d{dims[-1]}{what}"
    error = 2 * np.hypot(summary[f"{few}_sem"], summary[f"{many}_sem"])
    change = summary[many] - summary[few]
    return change, bool(change < -error)


def _frozen(summary: Mapping[str, float]) -> tuple[float, bool]:
    """The most that K = 1 moves a mean transition, against the least that K = 2 does."""
    frozen, moved = summary["K1/transition_most"], summary["K2/transition_moved"]
    return frozen, frozen < 1e-6 and moved > 0.1


def _falling(summary: Mapping[str, float]) -> tuple[float, bool]:
    """From K = 2 on, each step to a larger K."""
    gaps = [key for key in summary if key.startswith("gap/K") and key.endswith("/correlation") and "/K1-" not in key]
    return min((summary[gap] for gap in gaps), default=np.nan), all(
        summary[gap] > 2 * summary[f"{gap}_sem"] for gap in gaps
    )


CLAIMS = [
    _bound(
        "il_learns",
        "Impression learning lowers its loss, with phases, by a factor above 2",
        "standard/il/alternating_fall",
        lambda low, high: low > 2,
        "5.1 after 2M steps (authors' code)",
    ),
    _bound(
        "il_reconstructs",
        "It reconstructs the stimuli with R2 above 0.95 (principal components: 1)",
        "standard/il/r2",
        lambda low, high: low > 0.95,
        "0.991 (authors' code)",
    ),
    _bound(
        "il_at_bp_level",
        "It attains at least 95 % of what backpropagation gains in the loss awake, at equal steps",
        "standard/il/wake_progress_over_bp",
        lambda low, high: low > 0.95,
        "close to BP",
    ),
    gap(
        "il_beats_bp_in_its_own_loss",
        "In the loss with phases, its own, it ends below backpropagation",
        None,
        "standard/bp-il/alternating",
    ),
    gap(
        "il_beats_wake_sleep_in_its_own_loss",
        "In the loss with phases of 2, its own, it ends below wake-sleep with phases of 32",
        None,
        "standard/ws-il/alternating",
    ),
    _bound(
        "transition_found",
        "Its transitions come within 0.02 of the latents' 0.975",
        "standard/il/transition",
        lambda low, high: low > 0.955 and high < 0.995,
        "0.973 (authors' code)",
    ),
    gap(
        "decodes_above_untrained",
        "The latents are read out linearly from its neurons better than from an untrained network's",
        None,
        "standard/il-untrained/decoding",
    ),
    gap(
        "decodes_above_untrained_noiseless",
        "Better even than from an untrained network without noise (a random, invertible map)",
        None,
        "standard/il-untrained/decoding_noiseless",
    ),
    _bound(
        "dreams_as_slow",
        "Its dreams are as slow as the latents: autocorrelation at lag 20 within 0.1 of 0.975^20 = 0.603",
        "standard/il/acf_dream_20",
        lambda low, high: low > 0.503 and high < 0.703,
        "0.571 (authors' code)",
    ),
    _bound(
        "dreams_vary_alike",
        "Its dreams have the variance of the stimuli, within a factor of 2",
        "standard/il/dispersion",
        lambda low, high: low > 0.5 and high < 2,
        "4.3 (authors' code)",
    ),
    _bound(
        "nvi_far_behind",
        "At equal steps NVI* makes less than half the progress of impression learning in the loss awake",
        "standard/nvi/wake_progress_over_il",
        lambda low, high: high < 0.5,
    ),
    _bound(
        "published_nvi_stands_still",
        "At the authors' rate the published NVI* changes its loss by less than 1 %",
        "standard/published/rise_at_authors_rate",
        lambda low, high: low > -0.01 and high < 0.01,
    ),
    _bound(
        "published_nvi_climbs",
        "At a rate that moves weights, 1e-7, the published NVI* raises its loss",
        "standard/published/rise_at_largest_rate",
        lambda low, high: low > 0,
    ),
    _bound(
        "rates_orders_apart",
        "The largest stable rate of impression learning is over 100 times that of NVI*",
        "rates/ratio",
        lambda low, high: low > 100,
    ),
    _bound(
        "alternating_wake_sleep_is_il",
        "Wake-sleep with alternating phases of 2 is impression learning: the weights are the same to the last bit",
        "identity/difference",
        lambda low, high: high == 0,
    ),
    _dimensions(
        "il_near_bp_in_all_dimensions",
        "In all dimensions: at least 95 % of what backpropagation gains in the loss awake",
        "/il/wake_progress_over_bp",
        min,
        lambda low, high: low > 0.95,
    ),
    _dimensions(
        "nvi_far_behind_in_all_dimensions",
        "In all dimensions: NVI* makes less than half the progress of impression learning in the loss awake",
        "/nvi/wake_progress_over_il",
        max,
        lambda low, high: high < 0.5,
    ),
    Claim("gap_widens", "NVI*'s progress over impression learning's falls with dimension", None, _widening),
    Claim(
        "one_step_phases_freeze_the_transition",
        "With phases of one step the transition never learns; with two it does",
        None,
        _frozen,
    ),
    Claim(
        "correlation_falls_with_phases",
        "From K = 2 on, neurons follow the stimulus less through wake and sleep the longer the phases",
        None,
        _falling,
    ),
    gap(
        "short_phases_beat_wake_sleep",
        "Phases of 2 end with a lower loss awake than phases of 32 (wake-sleep)",
        None,
        "gap/K32-K2/wake",
    ),
]


def plot(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Figure 1 (standard task), Figure 2d (dimensions and rates), Figure 3 (phases)."""
    return figures(metrics)


experiment = Experiment(
    title="Figures 1, 2d and 3: impression learning, wake-sleep, backpropagation and NVI* on the artificial stimuli",
    cost={
        "smoke": "about a minute, most of it compilation",
        "default": "5 seeds, about seven minutes on two cores, a third of it compilation",
        "paper": "20 seeds at the paper's lengths: hours on two cores, in resumable pieces",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
)
