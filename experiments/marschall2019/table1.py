"""Measurements for Table 1 of Marschall, Cho & Savin (2019).

Memory and time of every rule by number of neurons; bias of the stochastic rules, compared with RTRL at fixed weights;
alignment of all rules' gradients along one trajectory; and the paper's plausibility criteria, as declared by the rules.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.marschall2019 import costs
from experiments.marschall2019.alignment import alignment, mean_cosines
from experiments.marschall2019.common import ALIGNED, RULES, STOCHASTIC
from experiments.marschall2019.table1_claims import CLAIMS, NEARER
from experiments.marschall2019.table1_figures import plot, text
from experiments.marschall2019.why import TABLE1
from experiments.shared.claims import explained
from plasticity_jax.base import LearningRule, learner
from plasticity_jax.cells import Neurons, init_params, leaky
from plasticity_jax.diagnostics.bias_variance import BiasVariance, bias_variance, updates_along
from plasticity_jax.rules import online
from plasticity_jax.rules.online.cases import PLAUSIBILITY
from plasticity_jax.run import Experiment, Program, once, put
from plasticity_jax.tasks.add import add, check_lags
from plasticity_jax.typing import Array, Key

BATCHES = 20
"""Groups of samples in a bias test; their spread gives the standard error."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: networks and data.
      sizes: numbers of neurons at which the cost is measured, increasing.
      cost_seconds: wall seconds for each measurement of cost.
      bias_n: neurons of the bias test.
      bias_steps: steps at fixed weights before the estimates are compared.
      bias_samples: noise draws of each stochastic rule, a multiple of 20.
      align_n: neurons of the alignment run.
      align_steps: steps of the alignment run; the second half is averaged.
      align_rate: learning rate of RTRL in the alignment run.
      align_window: T of BPTT in the alignment run.
      alpha: inverse time constant of the first alignment run; the second has alpha 1.
      lags: Add's lags in the first alignment run.
      long_lags: Add's lags in the second alignment run.
      chunks: chunks of each alignment run.
    """

    seeds: int = 5
    sizes: tuple[int, ...] = (32, 64, 128, 256)
    cost_seconds: float = 0.3
    bias_n: int = 8
    bias_steps: int = 12
    bias_samples: int = 4000
    align_n: int = 32
    align_steps: int = 12_000
    align_rate: float = 1e-3
    align_window: int = 24
    alpha: float = 0.5
    lags: tuple[int, int] = (3, 5)
    long_lags: tuple[int, int] = (5, 9)
    chunks: int = 10

    def __post_init__(self) -> None:
        """Refuses sizes without a slope, samples and steps that do not divide, and lags longer than the run."""
        if len(self.sizes) < 2 or sorted(set(self.sizes)) != list(self.sizes):
            raise ValueError(f"sizes={self.sizes} must be at least two, increasing")
        if self.bias_samples % BATCHES or self.align_steps % (2 * self.chunks):
            raise ValueError(f"bias_samples must be a multiple of {BATCHES}, align_steps of twice chunks={self.chunks}")
        leaky(1, 1, 1, alpha=self.alpha)
        check_lags(self.lags, max(1, round(1 / self.alpha)), self.align_steps)
        check_lags(self.long_lags, 1, self.align_steps)


PRESETS = {
    "smoke": Config(
        seeds=2,
        sizes=(8, 16),
        cost_seconds=0.01,
        bias_samples=200,
        align_n=8,
        align_steps=200,
        align_window=6,
        chunks=1,
    ),
    "default": Config(),
    "paper": Config(seeds=20, bias_samples=20_000, align_steps=60_000),
}


def rules_at(cell: Neurons, alpha: float, window: int) -> dict[str, LearningRule]:
    """Figure 1's rules on one network, by name; DNI and DNI(b) have the authors' rates, which are larger at alpha 1."""
    a, jacobian = (0.05, 0.01) if alpha == 1 else (1e-3, 1e-3)
    options = {
        "future_facing_bptt": {"window": window},
        "dni": {"learning_rate": a},
        "dni_b": {"learning_rate": a, "jacobian_learning_rate": jacobian},
    }
    return {name: getattr(online, name)(cell, **options.get(name, {})) for name in RULES}


def bias(config: Config, name: str) -> Program:
    """Program that compares estimates of one stochastic rule at fixed weights with RTRL's, in standard errors."""
    cell = leaky(2, config.bias_n, 2, alpha=config.alpha)
    stream = add(config.lags, max(1, round(1 / config.alpha)))
    exact, estimate = online.rtrl(cell), getattr(online, name)(cell)

    def compute(key: Key) -> dict[str, Array]:
        key_w, key_x, key_noise = jax.random.split(key, 3)
        params = init_params(key_w, cell)
        _, examples = stream.take(stream.init(key_x), config.bias_steps)

        def gradient(rule: LearningRule, key: Key) -> Array:
            return updates_along(rule, params, key, examples)["forward"]["w"][-1]

        target = gradient(exact, key_noise)
        keys = jax.random.split(key_noise, (BATCHES, config.bias_samples // BATCHES))
        statistics = bias_variance(lambda k: gradient(estimate, k), keys, target)
        return bias_scores(statistics, target)

    return once(compute, config.bias_samples * config.bias_steps)


def bias_scores(statistics: BiasVariance, target: Array) -> dict[str, Array]:
    """Size of the entries' z, cosine of the mean estimate and the target, and the relative error of one estimate."""
    return {
        "z_rms": jnp.sqrt(jnp.mean(statistics.z**2)),
        "z_max": jnp.max(jnp.abs(statistics.z)),
        "cosine_of_mean": statistics.cosine,
        "noise": statistics.rms_error / jnp.linalg.norm(target),
    }


def alignment_part(config: Config, alpha: float, lags: tuple[int, int]) -> Program:
    """Program of the alignment of all rules except fixed W, which has no recurrent gradient."""
    cell = leaky(2, config.align_n, 2, alpha=alpha)
    rules = rules_at(cell, alpha, config.align_window)
    stream = add(lags, max(1, round(1 / alpha)))
    return alignment(
        cell, {name: rules[name] for name in ALIGNED}, stream, config.align_rate, config.align_steps, config.chunks
    )


def make_parts(config: Config) -> dict[str, Program]:
    """Programs of the bias of each stochastic rule, and of the alignment at two settings."""
    return {
        **{f"bias.{name}": bias(config, name) for name in STOCHASTIC},
        "align.short": alignment_part(config, config.alpha, config.lags),
        "align.long": alignment_part(config, 1.0, config.long_lags),
    }


def measure(config: Config, progress: bool = True) -> dict[str, np.ndarray]:
    """Numbers carried, operations counted by the compiler, and wall time of one step, at each size.

    Returns:
      "cost/<rule>/memory", "/flops" and "/seconds", each (sizes,), and "cost/sizes".
    """
    metrics: dict[str, np.ndarray] = {"cost/sizes": np.array(config.sizes)}
    for name in RULES:
        rows = []
        for n in config.sizes:
            cell = leaky(2, n, 2, alpha=0.5)
            rows.append(costs.cost(cell, learner(rules_at(cell, 0.5, 10)[name], optax.sgd(1e-3)), config.cost_seconds))
        for column, metric in enumerate(costs.METRICS):
            metrics[f"cost/{name}/{metric}"] = np.array([row[column] for row in rows], float)
    return metrics


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Exponents, bias in standard errors, alignments, and the number of criteria that each rule fails."""
    summary: dict[str, float] = {}
    sizes = metrics["cost/sizes"]
    for rule in RULES:
        for metric in costs.METRICS:
            values = metrics[f"cost/{rule}/{metric}"]
            if values.all():
                summary[f"cost/{rule}/{metric}_exponent"] = costs.exponent(sizes, values)
            summary[f"cost/{rule}/{metric}_at_{sizes[-1]}"] = float(values[-1])
        summary[f"plausibility/{rule}/failed"] = len(PLAUSIBILITY[rule].fails)
        summary[f"plausibility/{rule}/fails_iv"] = float("iv" in PLAUSIBILITY[rule].fails)
    for rule in STOCHASTIC:
        for metric in ("z_rms", "z_max", "cosine_of_mean", "noise"):
            put(summary, f"bias/{rule}/{metric}", metrics[f"bias.{rule}/{metric}"][:, 0])
        summary[f"bias/{rule}/z_rms_worst"] = float(metrics[f"bias.{rule}/z_rms"].max())
    for setting in ("short", "long"):
        matrix = mean_cosines(metrics, f"align.{setting}")
        at = {rule: index for index, rule in enumerate(ALIGNED)}
        for i, one in enumerate(ALIGNED):
            for j, other in enumerate(ALIGNED[:i]):
                put(summary, f"align/{setting}/{one}~{other}", matrix[:, i, j])
        for rule, (nearer, farther) in NEARER.items():
            lead = matrix[:, at[rule], at[nearer]] - matrix[:, at[rule], at[farther]]
            put(summary, f"align/{setting}/{rule}~{nearer}-{farther}", lead)
    return summary


experiment = Experiment(
    title="Table 1: cost, bias, alignment and plausibility of every rule",
    cost={
        "smoke": "under a minute",
        "default": "5 seeds, two to four minutes on two cores",
        "paper": "20 seeds and five times the samples, about half an hour on two cores",
    },
    scale={
        "default": "the table has no scale; costs at 32 to 256 neurons, biases at 8",
        "paper": "as default, with more samples",
    },
    tuned="nothing",
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, TABLE1),
    plot=plot,
    text=text,
    measure=measure,
)
