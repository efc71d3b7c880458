"""Table 1 of Marschall, Cho & Savin (2019), made measurable.

Memory and time of every rule against the number of neurons; bias of the stochastic rules against RTRL at fixed weights;
alignment of all rules' gradients on one trajectory; and the paper's plausibility criteria, as the rules declare them.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.marschall2019.fig1 import LABELS, RULES
from plasticity_jax.base import Learner, LearningRule, compare, learner
from plasticity_jax.cells import Neurons, init_params, leaky
from plasticity_jax.diagnostics.bias_variance import bias_variance, updates_along
from plasticity_jax.rules import online
from plasticity_jax.rules.online.cases import PLAUSIBILITY
from plasticity_jax.run import Claim, Experiment, Program, once, put, sweep
from plasticity_jax.tasks.add import add, check_lags
from plasticity_jax.typing import Array, Example, Key, PyTree

STOCHASTIC = ("uoro", "kf_rtrl", "reverse_kf_rtrl")
CRITERIA = ("memory", "time", "i", "ii", "iii", "iv", "v", "vi")
BATCHES = 20  # the samples of a bias test come in so many groups, whose spread gives the standard error


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: networks and data.
      sizes: neurons at which the cost is measured, increasing.
      cost_seconds: wall seconds spent on each cost point.
      bias_n: neurons of the bias test.
      bias_steps: steps at fixed weights before the estimates are compared.
      bias_samples: noise draws of each stochastic rule, a multiple of 20.
      align_n: neurons of the alignment run.
      align_steps: its steps; the second half is averaged.
      align_rate: learning rate of RTRL, which drives it.
      align_window: T of BPTT there.
      alpha: inverse time constant of the first alignment run; the second has alpha 1.
      lags: Add's lags in the first.
      long_lags: Add's lags in the second.
      chunks: pieces of each alignment run.
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
        if self.seeds < 1 or len(self.sizes) < 2 or sorted(set(self.sizes)) != list(self.sizes):
            raise ValueError("seeds must be at least 1, and sizes at least two, increasing")
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
    """All of Figure 1's rules on one network, DNI with the authors' rates: faster at alpha 1."""
    a, jacobian = (0.05, 0.01) if alpha == 1 else (1e-3, 1e-3)
    options = {
        "future_facing_bptt": {"window": window},
        "dni": {"learning_rate": a},
        "dni_b": {"learning_rate": a, "jacobian_learning_rate": jacobian},
    }
    return {name: getattr(online, name)(cell, **options.get(name, {})) for name in RULES}


def bias(config: Config, name: str) -> Program:
    """Estimates of one stochastic rule at fixed weights against RTRL's, in standard errors."""
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
        found = bias_variance(lambda k: gradient(estimate, k), keys, target)
        return {
            "z_rms": jnp.sqrt(jnp.mean(found.z**2)),
            "z_max": jnp.max(jnp.abs(found.z)),
            "cosine_of_mean": found.cosine,
            "noise": found.rms_error / jnp.linalg.norm(target),
        }

    return once(compute, config.bias_samples * config.bias_steps)


class AlignState(NamedTuple):
    """State of an alignment run: RTRL learns, the others look on.

    Attributes:
      params: the weights.
      traces: of every rule, by name.
      stream: the task's state.
      key: base key.
      step: steps taken.
      recent: (lag + 1, rules, n * m), each rule's latest gradients, newest first.
    """

    params: PyTree
    traces: dict[str, PyTree]
    stream: PyTree
    key: Key
    step: Array
    recent: Array


def alignment(config: Config, alpha: float, lags: tuple[int, int]) -> Program:
    """Cosines between all pairs of rules' recurrent gradients for the same step, averaged over each half of the run."""
    cell = leaky(2, config.align_n, 2, alpha=alpha)
    stream = add(lags, max(1, round(1 / alpha)))
    named = {
        name: rule for name, rule in rules_at(cell, alpha, config.align_window).items() if name != "fixed_recurrent"
    }
    # A rule of lag l speaks at step t of step t - l: hold every other rule's word back until the latest has spoken.
    latest = max(rule.lag for rule in named.values())
    delay = np.array([latest - rule.lag for rule in named.values()])
    half = config.align_steps // (2 * config.chunks)
    size = config.align_n * (config.align_n + 3)

    def init(key: Key) -> AlignState:
        key_w, key_x, key_run, key_rules = jax.random.split(key, 4)
        params = init_params(key_w, cell)
        example = Example(jnp.zeros((1, 2)), jnp.zeros((1, 2)))
        traces = {
            name: rule.init(params, jax.random.fold_in(key_rules, index), example)
            for index, (name, rule) in enumerate(named.items())
        }
        recent = jnp.zeros((latest + 1, len(named), size))
        return AlignState(params, traces, stream.init(key_x), key_run, jnp.zeros((), jnp.int32), recent)

    def step(state: AlignState, example: Example) -> tuple[AlignState, Array]:
        key = jax.random.fold_in(state.key, state.step)
        updates, traces, _ = compare(named, state.params, state.traces, key, example)
        params = jax.tree.map(lambda p, g: p - config.align_rate * g, state.params, updates["rtrl"])
        grads = jnp.stack([updates[name]["forward"]["w"].ravel() for name in named])
        recent = jnp.concatenate([grads[None], state.recent[:-1]])
        spoken = recent[delay, jnp.arange(len(named))]
        norms = jnp.linalg.norm(spoken, axis=1)
        valid = (norms > 0) & (state.step >= latest)
        unit = spoken / jnp.where(norms > 0, norms, 1)[:, None]
        cosines = jnp.where(valid[:, None] & valid[None], unit @ unit.T, 0)
        state = AlignState(params, traces, state.stream, state.key, state.step + 1, recent)
        return state, jnp.stack([cosines, (valid[:, None] & valid[None]).astype(cosines.dtype)])

    def chunk(state: AlignState) -> tuple[AlignState, Mapping[str, Array]]:
        def point(state: AlignState, _: None) -> tuple[AlignState, Array]:
            stream_state, examples = stream.take(state.stream, half)

            def add_up(carry: tuple[AlignState, Array], example: Example) -> tuple[tuple[AlignState, Array], None]:
                inner, total = carry
                inner, cosines = step(inner, example)
                return (inner, total + cosines), None

            zero = jnp.zeros((2, len(named), len(named)))
            (state, total), _ = jax.lax.scan(add_up, (state._replace(stream=stream_state), zero), examples)
            return state, total

        state, totals = jax.lax.scan(point, state, None, length=2)
        return state, {"cosines": totals[:, 0], "count": totals[:, 1]}

    return Program(init, chunk, config.chunks, config.align_steps // config.chunks, 2)


def make_parts(config: Config) -> dict[str, Program]:
    """Bias of each stochastic rule, and the alignment at two settings."""
    return {
        **{f"bias.{name}": bias(config, name) for name in STOCHASTIC},
        "align.short": alignment(config, config.alpha, config.lags),
        "align.long": alignment(config, 1.0, config.long_lags),
    }


def measure(config: Config, progress: bool = True) -> dict[str, np.ndarray]:
    """Numbers carried, operations counted by the compiler, and wall time of one step, at each size.

    Returns:
      "cost/<rule>/memory", "/flops" and "/seconds", each (sizes,), and "cost/sizes".
    """
    found: dict[str, np.ndarray] = {"cost/sizes": np.array(config.sizes)}
    for name in RULES:
        rows = [_cost(config, name, n) for n in config.sizes]
        for column, metric in enumerate(("memory", "flops", "seconds")):
            found[f"cost/{name}/{metric}"] = np.array([row[column] for row in rows], float)
    return found


def _cost(config: Config, name: str, n: int) -> tuple[float, float, float]:
    cell = leaky(2, n, 2, alpha=0.5)
    rule = rules_at(cell, 0.5, 10)[name]
    learn: Learner = learner(rule, optax.sgd(1e-3))
    key = jax.random.key(0)
    example = Example(jnp.ones((1, 2)), jnp.full((1, 2), 0.5))
    state = learn.init(init_params(key, cell), key, example)
    own = jax.eval_shape(lambda: (state.traces.own, state.traces.shared))
    memory = sum(leaf.size for leaf in jax.tree.leaves(own))
    one = jax.jit(lambda s: learn.step(s, example)[0]).lower(state).compile()
    flops = float((one.cost_analysis() or {}).get("flops", float("nan")))

    steps = int(np.clip(config.cost_seconds / (1e-5 + flops / 2e10), 3, 3000))
    lanes = jax.tree.map(lambda leaf: leaf[None], state)
    loop = sweep(lambda s: jax.lax.scan(lambda s, _: (learn.step(s, example)[0], None), s, None, length=steps)[0])
    seconds = []
    for _ in range(4):
        begun = time.perf_counter()
        jax.block_until_ready(loop(lanes))
        seconds.append(time.perf_counter() - begun)
    return memory, flops, min(seconds[1:]) / steps


def exponent(sizes: np.ndarray, cost: np.ndarray) -> float:
    """Slope of log cost against log n over the larger half of the sizes."""
    kept = slice(-max(2, len(sizes) // 2), None)
    return float(np.polyfit(np.log(sizes[kept]), np.log(cost[kept]), 1)[0])


def cosines(metrics: Mapping[str, np.ndarray], setting: str) -> np.ndarray:
    """Mean alignment over the second half of the run, (seeds, rules, rules)."""
    total, count = metrics[f"align.{setting}/cosines"], metrics[f"align.{setting}/count"]
    kept = slice(total.shape[1] // 2, None)
    return total[:, kept].sum(1) / np.maximum(count[:, kept].sum(1), 1)


ALIGNED = tuple(rule for rule in RULES if rule != "fixed_recurrent")


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Exponents, bias in standard errors, alignments, and how many criteria each rule fails."""
    summary: dict[str, float] = {}
    sizes = metrics["cost/sizes"]
    for rule in RULES:
        for metric in ("memory", "flops", "seconds"):
            values = metrics[f"cost/{rule}/{metric}"]
            if values.all():
                summary[f"cost/{rule}/{metric}_exponent"] = exponent(sizes, values)
            summary[f"cost/{rule}/{metric}_at_{sizes[-1]}"] = float(values[-1])
        summary[f"plausibility/{rule}/failed"] = len(PLAUSIBILITY[rule].fails)
        summary[f"plausibility/{rule}/fails_iv"] = float("iv" in PLAUSIBILITY[rule].fails)
    for rule in STOCHASTIC:
        for metric in ("z_rms", "z_max", "cosine_of_mean", "noise"):
            put(summary, f"bias/{rule}/{metric}", metrics[f"bias.{rule}/{metric}"][:, 0])
        summary[f"bias/{rule}/z_rms_worst"] = float(metrics[f"bias.{rule}/z_rms"].max())
    for setting in ("short", "long"):
        matrix = cosines(metrics, setting)
        for i, one in enumerate(ALIGNED):
            for j, other in enumerate(ALIGNED[:i]):
                put(summary, f"align/{setting}/{one}~{other}", matrix[:, i, j])
    return summary


def aligned(summary: Mapping[str, float], setting: str, one: str, other: str) -> float:
    """A pair's mean alignment from the summary, in either order."""
    return summary.get(f"align/{setting}/{one}~{other}", summary.get(f"align/{setting}/{other}~{one}", float("nan")))


def _exponent(rule: str, metric: str, value: float, tolerance: float, paper: str) -> Claim:
    name = f"cost/{rule}/{metric}_exponent"

    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        return summary[name], abs(summary[name] - value) <= tolerance

    what = {"memory": "numbers carried", "flops": "operations per step"}[metric]
    return Claim(f"{rule}-{metric}", f"{LABELS[rule]}: {what} grow as n^{value:g} (exponent)", paper, check)


def _unbiased(rule: str) -> Claim:
    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        worst = summary[f"bias/{rule}/z_rms_worst"]
        return worst, worst < 2

    statement = f"{LABELS[rule]} is unbiased at fixed weights (worst seed's RMS of the entries' z, below 2)"
    return Claim(f"{rule}-unbiased", statement, "unbiased", check)


def _more_aligned(setting: str, rule: str, nearer: str, farther: str) -> Claim:
    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        gap = aligned(summary, setting, rule, nearer) - aligned(summary, setting, rule, farther)
        return gap, gap > 0

    statement = f"Alignment, {setting} setting: {LABELS[rule]} is nearer to {LABELS[nearer]} than to {LABELS[farther]}"
    return Claim(f"align-{setting}-{rule}", statement, None, check)


def _plausible(rule: str, passes: bool) -> Claim:
    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        failed = summary[f"plausibility/{rule}/failed"]
        return failed, (failed == 0) == passes

    verb = "meets all criteria" if passes else "fails at least one criterion"
    return Claim(f"{rule}-plausible", f"{LABELS[rule]} {verb} (criteria failed, as declared)", None, check)


def _matrix_products(summary: Mapping[str, float]) -> tuple[float, bool]:
    counted = [summary[f"cost/{rule}/flops_exponent"] > 2.5 for rule in ALIGNED]
    declared = [summary[f"plausibility/{rule}/fails_iv"] > 0 for rule in ALIGNED]
    wrong = sum(one != other for one, other in zip(counted, declared, strict=True))
    return wrong, wrong == 0


def _kernl_like_rflo(summary: Mapping[str, float]) -> tuple[float, bool]:
    value = min(aligned(summary, setting, "kernl", "rflo") for setting in ("short", "long"))
    return value, value > 0.9


def _uoro_unaligned(summary: Mapping[str, float]) -> tuple[float, bool]:
    value = max(aligned(summary, setting, "uoro", "rtrl") for setting in ("short", "long"))
    return value, value < 0.15


def _claims() -> list[Claim]:
    square = ("rflo", "kernl", "dni", "dni_b", "uoro", "kf_rtrl", "reverse_kf_rtrl")
    claims = [_exponent("rtrl", "memory", 3, 0.1, "O(n^3)")]
    claims += [_exponent(rule, "memory", 2, 0.1, "O(n^2)") for rule in square]
    claims.append(_exponent("rtrl", "flops", 4, 0.2, "O(n^4)"))
    claims += [_exponent(rule, "flops", 3, 0.2, "O(n^3)") for rule in ("kf_rtrl", "reverse_kf_rtrl")]
    claims += [_exponent(rule, "flops", 2, 0.2, "O(n^2)") for rule in ("rflo", "kernl", "dni", "dni_b", "uoro")]
    claims += [_unbiased(rule) for rule in STOCHASTIC]
    claims.append(
        Claim(
            "criterion-iv",
            "Matrix-matrix products are declared where operations grow faster than n^2.5, and only there (mismatches)",
            None,
            _matrix_products,
        )
    )
    claims += [_plausible(rule, rule in ("rflo", "dni_b")) for rule in ALIGNED]
    for setting in ("short", "long"):
        claims += [_more_aligned(setting, rule, "rtrl", "future_facing_bptt") for rule in ("rflo", "kernl", "kf_rtrl")]
        claims.append(_more_aligned(setting, "dni", "future_facing_bptt", "rtrl"))
    claims.append(Claim("kernl-like-rflo", "KeRNL and RFLO give nearly the same gradient", None, _kernl_like_rflo))
    claims.append(Claim("uoro-unaligned", "UORO is hardly aligned with RTRL at any one step", None, _uoro_unaligned))
    return claims


CLAIMS = _claims()


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The plausibility table in Markdown, from the rules' own declarations."""
    head = ("rule", "carries", "facing", "stochastic", "solved", *CRITERIA)
    rows = []
    for rule in ALIGNED:
        own = PLAUSIBILITY[rule]
        marks = ["fails" if criterion in own.fails else "ok" for criterion in CRITERIA]
        rows.append((LABELS[rule], own.tensor, own.facing, "yes" if own.stochastic else "no", own.solved, *marks))
    lines = [head, ("---",) * len(head), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    why = [
        f"- {LABELS[rule]}, {criterion}: {reason}"
        for rule in ALIGNED
        for criterion, reason in PLAUSIBILITY[rule].fails.items()
    ]
    return "\n".join([table, "", *why])


def plot(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Cost against n, and the two alignment matrices."""
    import matplotlib.pyplot as plt

    sizes = metrics["cost/sizes"]
    cost, axes = plt.subplots(1, 3, figsize=(15, 4.6), constrained_layout=True)
    for axis, metric, unit in zip(
        axes, ("memory", "flops", "seconds"), ("numbers carried", "operations / step", "seconds / step"), strict=True
    ):
        for index, rule in enumerate(RULES):
            values = metrics[f"cost/{rule}/{metric}"]
            if values.all():
                slope = exponent(sizes, values)
                axis.loglog(sizes, values, "o-", color=f"C{index}", ms=4, label=f"{LABELS[rule]} ~ n^{slope:.1f}")
        axis.set(xlabel="neurons n", ylabel=unit)
        axis.set_xticks(sizes, [str(size) for size in sizes])
        axis.minorticks_off()
        axis.legend(fontsize=7)
    cost.suptitle("Cost of one step, one stream, one seed")

    names = [LABELS[rule] for rule in ALIGNED]
    matrices, axes = plt.subplots(1, 2, figsize=(13, 6), constrained_layout=True)
    titles = {"short": "alpha 0.5, lags 3 and 5", "long": "alpha 1, lags 5 and 9"}
    for axis, setting in zip(axes, titles, strict=True):
        matrix = cosines(metrics, setting).mean(0)
        image = axis.imshow(matrix, vmin=-1, vmax=1, cmap="RdBu_r")
        for i, row in enumerate(matrix):
            for j, value in enumerate(row):
                colour = "white" if abs(value) > 0.7 else "black"
                axis.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
        axis.set_xticks(range(len(names)), names, rotation=45, ha="right")
        axis.set_yticks(range(len(names)), names)
        axis.set_title(titles[setting])
    matrices.colorbar(image, ax=axes, shrink=0.8, label="mean cosine")
    matrices.suptitle("Alignment of the recurrent gradients while RTRL learns (second half, delays respected)")
    return {"cost": cost, "alignment": matrices}


experiment = Experiment(
    title="Table 1: cost, bias, alignment and plausibility of every rule",
    cost={
        "smoke": "under a minute",
        "default": "5 seeds, two to four minutes on two cores",
        "paper": "20 seeds and five times the samples, about half an hour on two cores",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
    text=text,
    measure=measure,
)
