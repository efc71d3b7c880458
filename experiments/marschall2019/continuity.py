"""Test of the argument of Marschall, Cho & Savin (2019), on criterion ii, that one of UORO's two factors must jump.

    A' = rho0 J A + rho1 nu,   B' = B / rho0 + nu alpha phi' rhat / rho1

With rho0 = 1 - eps and rho1 = eps ("smooth A"), A's recursion is a leaky average and B's has gains above 1; with the
inverse rhos ("smooth B") it is the other way round. At fixed weights, along one trajectory on Add, we estimate from
many draws of nu the factors' mean squares, their relative changes in a step, and the error of the gradient's estimate,
to compare with that of the balanced rhos, which minimise the variance. The mean squares have closed forms:

    E|B'|^2 = E|B|^2 / rho0^2 + |alpha phi' rhat|^2 / rho1^2,   E A'A'^T = rho0^2 J E(A A^T) J^T + rho1^2 I
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from experiments.marschall2019.continuity_claims import CLAIMS
from experiments.marschall2019.continuity_figures import plot
from experiments.marschall2019.fig1 import hold
from experiments.marschall2019.tracking import jacobian
from experiments.marschall2019.why import CONTINUITY
from experiments.shared.claims import explained
from plasticity_jax.base import LearningRule
from plasticity_jax.cells import init_params, leaky
from plasticity_jax.diagnostics.bias_variance import updates_along
from plasticity_jax.ops.norms import safe_norm
from plasticity_jax.rules import online
from plasticity_jax.run import Experiment, Program, once, put
from plasticity_jax.tasks.add import add, check_lags
from plasticity_jax.typing import Array, Example, Key, PyTree

FACTORS = ("a", "b")
"""The factor that is smooth."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: networks and data.
      n: recurrent units.
      alphas: inverse time constants, a part for each; symbols are held for 1 / alpha steps.
      lags: Add's lags.
      epsilons: values of eps, from the largest to the smallest.
      steps: steps of the trajectory, at fixed weights.
      samples: draws of nu and of the initial A and B.
    """

    seeds: int = 5
    n: int = 16
    alphas: tuple[float, ...] = (0.5, 0.05)
    lags: tuple[int, int] = (3, 5)
    epsilons: tuple[float, ...] = (0.1, 0.03, 0.01)
    steps: int = 300
    samples: int = 200

    def __post_init__(self) -> None:
        """Refuses epsilons outside (0, 1) or not descending, and lags that are longer than the trajectory."""
        for alpha in self.alphas:
            leaky(1, 1, 1, alpha=alpha)
            check_lags(self.lags, hold(alpha), self.steps)
        if sorted(set(self.epsilons), reverse=True) != list(self.epsilons) or not all(0 < e < 1 for e in self.epsilons):
            raise ValueError(f"epsilons={self.epsilons} must be in (0, 1), from the largest to the least")


PRESETS = {
    "smoke": Config(seeds=2, n=6, steps=220, samples=10),
    "default": Config(),
    "paper": Config(seeds=20, n=32, samples=1000),
}


def scales(config: Config, smooth: str) -> tuple[Array, Array]:
    """Values of rho0 and rho1 that make a factor smooth, one for each epsilon."""
    epsilons = jnp.asarray(config.epsilons)
    rho0, rho1 = 1 - epsilons, epsilons
    return (rho0, rho1) if smooth == "a" else (1 / rho0, 1 / rho1)


def part(config: Config, alpha: float) -> Program:
    """Program for all settings at one time constant, on one trajectory of a seed.

    Metrics start with their setting: "a/" and "b/", with an axis of epsilons, or "balanced/". "a_square" and "b_square"
    are means over samples, with "_sem"; "a_change" and "b_change" are mean relative changes in a step; "error" is the
    root mean square of the estimate's error over the size of RTRL's gradient. "<setting>/a_closed" and "/b_closed" are
    the closed forms of the mean squares. The last axis of each is steps.
    """
    cell = leaky(2, config.n, 2, alpha=alpha)
    stream = add(config.lags, hold(alpha))

    def compute(key: Key) -> dict[str, Array]:
        key_w, key_x, key_noise = jax.random.split(key, 3)
        params = init_params(key_w, cell)
        _, examples = stream.take(stream.init(key_x), config.steps)
        exact = updates_along(online.rtrl(cell), params, key_noise, examples)["forward"]["w"]
        keys = jax.random.split(key_noise, config.samples)

        def run(rule: LearningRule) -> dict[str, Array]:
            return follow(rule, params, keys, examples, exact)

        metrics = {f"balanced/{name}": value for name, value in run(online.uoro(cell)).items()}
        moves = trajectory(params["forward"]["w"][0], examples.x[:, 0], alpha)
        for smooth in FACTORS:
            rhos = scales(config, smooth)
            each = jax.vmap(lambda rho0, rho1: run(online.uoro(cell, rho0=rho0, rho1=rho1)))(*rhos)
            closed = jax.vmap(lambda rho0, rho1: closed_forms(*moves, cell.n * cell.m, rho0, rho1))(*rhos)
            metrics |= {f"{smooth}/{name}": value for name, value in {**each, **closed}.items()}
        return {**metrics, "epsilons": jnp.asarray(config.epsilons)}

    return once(compute, config.steps * config.samples)


def follow(rule: LearningRule, params: PyTree, keys: Key, examples: Example, exact: Array) -> dict[str, Array]:
    """Means over many runs of UORO at fixed weights at each step; see `part`."""
    first = jax.tree.map(lambda leaf: leaf[0], examples)

    def step(traces: PyTree, at: tuple[Array, Example, Array]) -> tuple[PyTree, dict[str, Array]]:
        t, example, target = at

        def one(traces: PyTree, key: Key) -> tuple[PyTree, dict[str, Array]]:
            updates, after, _ = rule.update(params, traces, jax.random.fold_in(key, t), example)
            a, b = after.own.a, after.own.b["w"]
            a_tm1, b_tm1 = traces.own.a, traces.own.b["w"]
            return after, {
                "a_square": jnp.sum(a**2),
                "b_square": jnp.sum(b**2),
                "a_change": safe_norm(a - a_tm1) / safe_norm(a_tm1),
                "b_change": safe_norm(b - b_tm1) / safe_norm(b_tm1),
                "error": safe_norm(updates["forward"]["w"] - target) / safe_norm(target),
            }

        traces, each = jax.vmap(one)(traces, keys)
        means = {name: jnp.mean(values) for name, values in each.items()}
        means["error"] = jnp.sqrt(jnp.mean(each["error"] ** 2))
        for name in ("a_square", "b_square"):
            relative = jnp.std(each[name] / means[name], ddof=1)  # relative, because squares overflow float32
            means[f"{name}_sem"] = means[name] * relative / len(keys) ** 0.5
        return traces, means

    start = jax.vmap(lambda key: rule.init(params, key, first))(keys)
    return jax.lax.scan(step, start, (jnp.arange(len(examples.x)), examples, exact))[1]


def trajectory(w: Array, x: Array, alpha: float) -> tuple[Array, Array]:
    """J, (steps, n, n), and |alpha phi' rhat|^2, (steps,), along the trajectory from rest with inputs (steps, 2)."""
    n = len(w)

    def step(r_tm1: Array, x_t: Array) -> tuple[Array, tuple[Array, Array]]:
        rhat = jnp.concatenate([r_tm1, x_t, jnp.ones((1,), r_tm1.dtype)])
        phi = jnp.tanh(w @ rhat)
        r = (1 - alpha) * r_tm1 + alpha * phi
        return r, (jacobian(w, r_tm1, r, alpha), jnp.sum((alpha * (1 - phi**2)) ** 2) * jnp.sum(rhat**2))

    return jax.lax.scan(step, jnp.zeros((n,), w.dtype), x)[1]


def closed_forms(jacobians: Array, immediate: Array, synapses: int, rho0: Array, rho1: Array) -> dict[str, Array]:
    """Mean squares of A and of B, with so many synapses, at each step; all entries start from N(0, 1)."""
    n = jacobians.shape[1]

    def step(state: tuple[Array, Array], at: tuple[Array, Array]) -> tuple[tuple[Array, Array], dict[str, Array]]:
        a_moment, b_square = state
        j, size = at
        a_moment = rho0**2 * j @ a_moment @ j.T + rho1**2 * jnp.eye(n, dtype=j.dtype)
        b_square = b_square / rho0**2 + size / rho1**2
        return (a_moment, b_square), {"a_closed": jnp.trace(a_moment), "b_closed": b_square}

    begin = (jnp.eye(n, dtype=jacobians.dtype), jnp.full((), synapses, jacobians.dtype))
    return jax.lax.scan(step, begin, (jacobians, immediate))[1]


def make_parts(config: Config) -> dict[str, Program]:
    """One part for each time constant, named "alpha.<value>"."""
    return {f"alpha.{alpha:g}": part(config, alpha) for alpha in config.alphas}


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Growth of the other factor, changes of the smooth one, errors, and deviations of means from closed forms."""
    summary: dict[str, float] = {}
    scores = []
    for alpha in sorted({name.partition("/")[0] for name in metrics}):
        curves = {
            name.removeprefix(f"{alpha}/"): v[:, 0] for name, v in metrics.items() if name.startswith(f"{alpha}/")
        }
        steps = curves["balanced/error"].shape[1]
        half = steps // 2
        balanced = curves["balanced/error"][:, half:].mean(1)
        put(summary, f"{alpha}/balanced/error", balanced)
        for factor in FACTORS:
            put(summary, f"{alpha}/balanced/{factor}_change", curves[f"balanced/{factor}_change"][:, half:].mean(1))
        for smooth, other in (("a", "b"), ("b", "a")):
            change = curves[f"{smooth}/{smooth}_change"][:, :, half:].mean(2)
            for k, epsilon in enumerate(curves["epsilons"][0]):
                where = f"{alpha}/smooth-{smooth}/{epsilon:.4g}"
                square = curves[f"{smooth}/{other}_square"][:, k]
                put(summary, f"{where}/grown", np.log10(square[:, -1] / square[:, half - 1]))
                put(summary, f"{where}/gain", np.full(len(square), -2 * (steps - half) * np.log10(1 - epsilon)))
                put(summary, f"{where}/change", change[:, k])
                put(summary, f"{where}/error-over-balanced", curves[f"{smooth}/error"][:, k, -1] / balanced)
            put(summary, f"{alpha}/smooth-{smooth}/change-falls", change[:, 0] / change[:, -1])
            for factor in FACTORS:
                mean, sem = curves[f"{smooth}/{factor}_square"], curves[f"{smooth}/{factor}_square_sem"]
                scores.append(((mean - curves[f"{smooth}/{factor}_closed"]) / sem)[:, :, [half - 1, -1]].ravel())
    summary["closed-forms/z_rms"] = float(np.sqrt(np.mean(np.concatenate(scores) ** 2)))
    return summary


experiment = Experiment(
    title="Criterion ii and UORO: what becomes of one factor when the other's recursion is made smooth in time",
    cost={
        "smoke": "under a minute, most of it compilation",
        "default": "5 seeds, about a minute on two cores",
        "paper": "20 seeds, 32 units and five times the samples: about ten minutes on two cores",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, CONTINUITY),
    plot=plot,
    scale={
        "smoke": "6 units and 10 draws of nu",
        "default": "16 units, of the 32 of Figure 1; the paper argues in words, and runs nothing",
        "paper": "32 units, as in Figure 1; the paper argues in words, and runs nothing",
    },
    tuned="nothing",
)
