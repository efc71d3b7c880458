r"""Section 4.2 of Lindsey & Litwin-Kumar (2020): the network of the universality theorem, constructed and run.

The theorem states that for any learning algorithm f(training set, x*) there is a network that becomes it by FLP. The
proof (appendix A) constructs one: see `experiments.lindsey2020.construction`. Here it learns training sets by the
library's FLP, in double precision, and three things are measured.

1. Errors of the counts that are read from its output z*, against those of the training set, for every x*. If all counts
   round to the right ones, f_out, a universal approximator, can compute any algorithm from them; f_out is not built.
2. Equations 1 to 3, in networks of random weights: the part of z* beyond them falls as alpha^2.
3. A learning algorithm of real x and y, Nadaraya and Watson's smoother, computed from the counts: the paper's "to
   arbitrary precision" is J values of x and as many of y. "binned" is the smoother of the true counts, for the loss by
   binning alone; the baseline is the mean of the training set's y.

As printed, the decoding of the proof gives the wrong counts. Either of two slips is enough: a block of equation 6 that
belongs in G_0 alone, and J^2 matrices for J^2 pairs where one more is needed. Mended, it gives the right ones. The
theorem is not affected: the wrong counts are still an invertible function of the training set.

The plasticity of the proof is small, and so must be alpha K (the second order, for Oja's rule) and epsilon^2 K.
"""

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Literal

import jax
import numpy as np

from experiments.lindsey2020.construction import (
    PRINTS,
    Network,
    construct,
    counted,
    decode,
    features,
    first_order,
    lived,
    width,
)
from experiments.lindsey2020.universality_claims import CLAIMS, RULES, summarise
from experiments.lindsey2020.universality_figures import plot, text
from experiments.lindsey2020.why import UNIVERSALITY
from experiments.shared.claims import explained
from plasticity_jax.run import Experiment, Range

Small = Annotated[float, Range(1e-9, 0.5)]
TARGETS = 2
"""d, number of values of y, except for the smoother."""
BANDWIDTH = 0.15
"""Bandwidth of the smoother, for x in [0, 1]."""
QUERIES = 50


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: training sets.
      examples: K, in a life.
      values: J, numbers of values of x, increasing.
      at: J for the sweeps of alpha and epsilon, the slips of the print, and the shields.
      epsilon: makes the G invertible.
      alpha: plasticity.
      epsilons: to sweep, decreasing.
      alphas: to sweep, decreasing.
      fine: J of the smoother, of x and of y alike, increasing.
      layers: N of the random networks of equations 1 to 3.
      units: width of these networks.
    """

    seeds: int = 4
    examples: Annotated[int, Range(2, 100_000)] = 32
    values: tuple[int, ...] = (2, 3, 4, 6)
    at: Annotated[int, Range(2, 64)] = 3
    epsilon: Small = 1e-2
    alpha: Small = 1e-5
    epsilons: tuple[Small, ...] = (1e-1, 3e-2, 1e-2, 3e-3)
    alphas: tuple[Small, ...] = (1e-2, 1e-3, 1e-4, 1e-5)
    fine: tuple[int, ...] = (2, 3, 4, 6)
    layers: Annotated[int, Range(1, 64)] = 3
    units: Annotated[int, Range(1, 1024)] = 6

    def __post_init__(self) -> None:
        """Refuses axes without a slope."""
        for name, values in (("values", self.values), ("fine", self.fine)):
            if len(values) < 2 or sorted(set(values)) != list(values) or values[0] < 2:
                raise ValueError(f"{name}={values} must be at least two numbers from 2 on, increasing")
        for name, values in (("alphas", self.alphas), ("epsilons", self.epsilons)):
            if len(values) < 2 or sorted(set(values), reverse=True) != list(values):
                raise ValueError(f"{name}={values} must be at least two numbers, decreasing")


PRESETS = {
    "smoke": Config(seeds=2, examples=8, values=(2, 3), at=2, alphas=(1e-3, 1e-5), epsilons=(1e-1, 1e-2), fine=(2, 3)),
    "default": Config(),
    "paper": Config(seeds=20, examples=64, values=(2, 3, 4, 6, 8), fine=(2, 3, 4, 6, 8)),
}


def drawn(seed: int, count: int, values: int, targets: int) -> tuple[np.ndarray, np.ndarray]:
    """x and y of a training set, by number; both (K,)."""
    rng = np.random.default_rng([seed, values, targets])
    return rng.integers(0, values, count), rng.integers(0, targets, count)


def life_errors(
    network: Network, alpha: float, seeds: int, count: int, values: int, rule: str, shields: bool = False
) -> np.ndarray:
    """Largest error of a count, of all (x, y), after each example, for each query: (seeds, K, J).

    It is infinite where the query itself is decoded wrongly.
    """
    targets, queries = network.b[0].shape[1], np.arange(values)
    errors = []
    for seed in range(seeds):
        x, y = drawn(seed, count, values, targets)
        inputs, one_hot_y = features(x, values, targets), np.eye(targets)[y]
        z = lived(network, alpha, inputs, one_hot_y, features(queries, values, targets), rule, shields)
        read, counts = decode(z, network, alpha, values)
        worst = np.abs(counts - counted(x, y, values, targets)[:, None]).max((2, 3))
        errors.append(np.where(read == queries, worst, np.inf))
    return np.stack(errors)


def rest_of_equations(config: Config, rule: Literal["hebb", "oja"]) -> np.ndarray:
    """Largest entry of z* beyond equation 3, by alpha: (seeds, alphas); weights, features and feedback are random.

    They are not negative, so that the rectifiers never act.
    """
    remainders = []
    for seed in range(config.seeds):
        rng = np.random.default_rng([seed, config.layers, config.units])
        n, layers = config.units, range(config.layers)
        w = [rng.random((n, n)) * 2 / n for _ in layers]
        network = Network(w, [rng.random((n, TARGETS)) for _ in layers], [True for _ in layers])
        x, queries = rng.random((3, n)), rng.random((2, n))
        y = np.eye(TARGETS)[rng.integers(0, TARGETS, 3)]
        rests = []
        for alpha in config.alphas:
            z = lived(network, alpha, x, y, queries, rule, shields=True)[-1]
            rests.append(np.abs(z - first_order(network, alpha, x, y, queries, rule)).max())
        remainders.append(rests)
    return np.array(remainders)


def smoother(x: np.ndarray, y: np.ndarray, queries: np.ndarray, weight: np.ndarray | float = 1.0) -> np.ndarray:
    """Nadaraya and Watson's estimate at queries (Q,), from points (N,), by weight (Q, N)."""
    kernel = weight * np.exp(-((queries[:, None] - x) ** 2) / (2 * BANDWIDTH**2))
    return kernel @ y / kernel.sum(1)


def smoother_errors(values: int, seed: int, config: Config) -> tuple[float, float, float]:
    """Root mean squares of differences from the smoother: by FLP's counts, by the true counts, and of the mean of y."""
    rng = np.random.default_rng([seed, 7])
    x, phase, queries = rng.random(config.examples), rng.random(), rng.random(QUERIES)
    y = np.clip(0.5 + 0.4 * np.sin(2 * np.pi * (x + phase)) + 0.05 * rng.standard_normal(len(x)), 0, 1)
    expected = smoother(x, y, queries)

    bins, y_bins, query_bins = (np.minimum((each * values).astype(int), values - 1) for each in (x, y, queries))
    middle = (np.arange(values) + 0.5) / values
    at_x, at_y = (each.ravel() for each in np.meshgrid(middle, middle, indexing="ij"))
    network = construct(values, values, config.epsilon)
    inputs, one_hot_y = features(bins, values, values), np.eye(values)[y_bins]
    z = lived(network, config.alpha, inputs, one_hot_y, features(np.arange(values), values, values), "hebb", False)[-1]
    read, counts = decode(z, network, config.alpha, values)
    true = np.broadcast_to(counted(bins, y_bins, values, values)[-1], counts.shape)

    def error(counts: np.ndarray, read: np.ndarray) -> float:
        weight = np.round(counts).reshape(values, -1)[query_bins]
        return float(np.sqrt(np.mean((smoother(at_x, at_y, middle[read[query_bins]], weight) - expected) ** 2)))

    return error(counts, read), error(true, np.arange(values)), float(np.sqrt(np.mean((y.mean() - expected) ** 2)))


def measure(config: Config, progress: bool = True) -> dict[str, np.ndarray]:
    """All lives, in double precision.

    Returns:
      "values/J", "/width", "/layers", "/weights"; "values/<rule>/error" (seeds, K, J's), the worst over queries;
      "untrained/error" (seeds, K), of counts that are all 0; "print/<slips>/error" (seeds, K, queries);
      "shields/<rule>/error" (seeds, K); "alpha/<rule>/error" (seeds, alphas), "epsilon/error" (seeds, epsilons), at the
      end of life; "equations/<rule>/rest" (seeds, alphas); "smoother/flp", "/binned" and "/mean" (seeds, J's).
    """
    seeds, count, at = config.seeds, config.examples, config.at
    metrics = {
        "values/J": np.array(config.values),
        "values/width": np.array([width(J, TARGETS) for J in config.values]),
        "values/layers": np.array([2 * (J**2 + 1) for J in config.values]),
        "alpha/alpha": np.array(config.alphas),
        "epsilon/epsilon": np.array(config.epsilons),
        "smoother/J": np.array(config.fine),
    }
    metrics["values/weights"] = metrics["values/width"] ** 2 * (metrics["values/J"] ** 2 + 1)
    with jax.enable_x64(True):
        networks = {J: construct(J, TARGETS, config.epsilon) for J in {*config.values, at}}
        for rule in RULES:
            errors = [life_errors(networks[J], config.alpha, seeds, count, J, rule).max(2) for J in config.values]
            metrics[f"values/{rule}/error"] = np.stack(errors, -1)
            shielded = life_errors(networks[at], config.alpha, seeds, count, at, rule, shields=True)
            metrics[f"shields/{rule}/error"] = shielded.max(2)
            errors = [life_errors(networks[at], a, seeds, count, at, rule)[:, -1].max(1) for a in config.alphas]
            metrics[f"alpha/{rule}/error"] = np.stack(errors, -1)
            metrics[f"equations/{rule}/rest"] = rest_of_equations(config, rule)
        for slips in PRINTS:
            network = construct(at, TARGETS, config.epsilon, slips)
            metrics[f"print/{slips}/error"] = life_errors(network, config.alpha, seeds, count, at, "hebb")
        least = min(config.alphas)  # so that the second order is negligible
        errors = [construct(at, TARGETS, epsilon) for epsilon in config.epsilons]
        errors = [life_errors(network, least, seeds, count, at, "hebb")[:, -1].max(1) for network in errors]
        metrics["epsilon/error"] = np.stack(errors, -1)
        rows = [[smoother_errors(J, seed, config) for J in config.fine] for seed in range(seeds)]
    for name, values in zip(("flp", "binned", "mean"), np.moveaxis(np.array(rows), -1, 0), strict=True):
        metrics[f"smoother/{name}"] = values
    true = [counted(*drawn(seed, count, at, TARGETS), at, TARGETS).max((1, 2)) for seed in range(seeds)]
    return {**metrics, "untrained/error": np.stack(true)}


def make_parts(config: Config) -> Mapping[str, object]:
    """No trainings: everything is measured on the host, in double precision."""
    return {}


experiment = Experiment(
    title="Section 4.2, appendix A: the network of the universality theorem, which by FLP writes down its training set",
    cost={
        "smoke": "seconds",
        "default": "4 training sets, under a minute on two cores",
        "paper": "20 training sets of 64, up to 8 values: some minutes on two cores",
    },
    scale={
        "default": "the theorem has no scale; 4 training sets of 32",
        "paper": "the theorem has no scale; 20 training sets of 64",
    },
    tuned="nothing",
    presets=PRESETS,
    parts=make_parts,  # pyright: ignore[reportArgumentType] # there are none
    summarise=summarise,
    claims=explained(CLAIMS, UNIVERSALITY),
    plot=plot,
    text=text,
    measure=measure,
)
