"""Figure 1 of Marschall, Cho & Savin (2019): ten online algorithms and BPTT on the Add and Mimic tasks.

Two readings of the figure, on the same seeds: "written" follows the text (lags 3 and 5, alpha in every rule), "run"
what the authors' code did (lags read one symbol short, 2 and 4; no alpha in the recurrent step of the exact and the
stochastic rules, which makes it 1/alpha larger; KeRNL's perturbation one step late). A third setting, "long" (alpha 1,
lags 5 and 9), is where exact and local credit assignment differ most clearly.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.marschall2019.authors import kernl_late
from experiments.shared.curves import smooth
from plasticity_jax.base import Info, Learner, LearnerState, LearningRule, learner
from plasticity_jax.cells import Neurons, init_params, leaky
from plasticity_jax.rules import online
from plasticity_jax.run import Claim, Experiment, Program, online_training, put
from plasticity_jax.run.program import at_each
from plasticity_jax.tasks.add import add, add_entropy_floors, check_lags
from plasticity_jax.tasks.mimic import mimic
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Batch, Example, Key, PyTree

RULES = (
    "fixed_recurrent",
    "rflo",
    "kernl",
    "dni",
    "dni_b",
    "uoro",
    "reverse_kf_rtrl",
    "kf_rtrl",
    "future_facing_bptt",
    "rtrl",
)
LONG_RULES = ("fixed_recurrent", "rflo", "future_facing_bptt", "rtrl")
PAIRS = (
    *((worse, better) for worse in ("rflo", "dni") for better in ("rtrl", "future_facing_bptt")),
    *(("fixed_recurrent", better) for better in ("rflo", "dni", "dni_b", "rtrl")),
    ("rtrl", "future_facing_bptt"),
    ("dni_b", "dni"),
    *((stochastic, "rtrl") for stochastic in ("kf_rtrl", "reverse_kf_rtrl", "uoro")),
    *(("rflo", stochastic) for stochastic in ("kf_rtrl", "reverse_kf_rtrl", "uoro")),
    ("uoro", "fixed_recurrent"),
)
TASKS = ("add", "mimic")
READINGS = ("written", "run")
SMOOTHING = 10  # points in the figure's running average
LABELS = {
    "fixed_recurrent": "fixed W",
    "rflo": "RFLO",
    "kernl": "KeRNL",
    "dni": "DNI",
    "dni_b": "DNI(b)",
    "uoro": "UORO",
    "reverse_kf_rtrl": "R-KF",
    "kf_rtrl": "KF-RTRL",
    "future_facing_bptt": "BPTT",
    "rtrl": "RTRL",
}


def hold(alpha: float) -> int:
    """Steps for which a symbol is held, 1 / alpha."""
    return max(1, round(1 / alpha))


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings; where the paper is silent, those of the authors' script of May 2019.

    Attributes:
      seeds: networks, data and targets, shared by all rules and readings.
      n: recurrent units.
      alpha: inverse time constant; symbols are held for 1 / alpha steps.
      lags_written: Add's lags in the text.
      lags_run: Add's lags in effect in the authors' code.
      add_steps: steps on Add.
      add_rate: learning rate on Add.
      mimic_steps: steps on Mimic.
      mimic_rate: learning rate on Mimic.
      mimic_size: inputs, units and outputs of the Mimic target.
      long_lags: lags of the discriminating setting, at alpha 1.
      long_steps: its steps.
      long_rate: its learning rate.
      window: T of BPTT.
      points: points of each curve.
      chunks: pieces of each run, between which it can be saved.
      rules: which rules to run.
    """

    seeds: int = 20
    n: int = 32
    alpha: float = 0.5
    lags_written: tuple[int, int] = (3, 5)
    lags_run: tuple[int, int] = (2, 4)
    add_steps: int = 100_000
    add_rate: float = 1e-3
    mimic_steps: int = 20_000
    mimic_rate: float = 3e-3
    mimic_size: int = 32
    long_lags: tuple[int, int] = (5, 9)
    long_steps: int = 30_000
    long_rate: float = 3e-2
    window: int = 10
    points: int = 100
    chunks: int = 10
    rules: tuple[str, ...] = RULES

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.n < 1 or self.mimic_size < 1:
            raise ValueError("seeds, n and mimic_size must be at least 1")
        unknown = sorted(set(self.rules) - set(RULES))
        if unknown:
            raise ValueError(f"rules: {', '.join(unknown)} not known; choose from {', '.join(RULES)}")
        leaky(1, 1, 1, alpha=self.alpha)
        tau = hold(self.alpha)
        check_lags(self.lags_written, tau, self.add_steps)
        check_lags(self.lags_run, tau, self.add_steps)
        check_lags(self.long_lags, 1, self.long_steps)
        for field in ("add_steps", "mimic_steps", "long_steps"):
            if getattr(self, field) % self.points or self.points % self.chunks:
                raise ValueError(f"{field} must be a multiple of points={self.points}, and points one of chunks")


PRESETS = {
    "smoke": Config(seeds=2, n=8, add_steps=400, mimic_steps=400, mimic_size=8, long_steps=400, points=20, chunks=2),
    "default": Config(),
    "paper": Config(
        add_steps=1_000_000, add_rate=1e-4, mimic_steps=1_000_000, mimic_rate=1e-4, long_steps=30_000, chunks=100
    ),
}


class Setting(NamedTuple):
    """What a reading changes; every field may be a tracer. gain: of phi' in the immediate influence; late: KeRNL."""

    lags: tuple[Array, Array]
    gain: Array
    late: Array


def with_gain(cell: Neurons, alpha: float, gain: Array) -> Neurons:
    """A leaky cell whose immediate influence has `gain` in the place of alpha; at 1 as in the authors' code of 2019.

    The Jacobian keeps its alpha: what the weights pass on is divided by what the immediate influence is multiplied by.
    """
    partials, scale = cell.partials, gain / alpha
    assert partials is not None

    def scaled(own: Any, s: Array, v: Array) -> Any:
        step = partials(own, s, v)
        return step._replace(gain=scale * step.gain)

    def output(s: Array) -> Array:
        return s[0] / scale + jax.lax.stop_gradient(s[0] - s[0] / scale)

    return cell._replace(partials=scaled, output=output)


def build_rule(name: str, cell: Neurons, alpha: float, window: int, setting: Setting) -> LearningRule:
    """One of `RULES` at a reading's setting."""
    if name == "future_facing_bptt":
        return online.future_facing_bptt(with_gain(cell, alpha, setting.gain), window=window)
    if name in ("rtrl", "uoro", "kf_rtrl", "reverse_kf_rtrl"):
        return getattr(online, name)(with_gain(cell, alpha, setting.gain))
    if name == "kernl":
        return kernl_late(cell, setting.late)
    return getattr(online, name)(cell)


def settings(config: Config, task: str, rule: str) -> Setting:
    """The readings in which this rule differs on this task, stacked; one only where both are the same."""
    if task == "long":
        rows = [(config.long_lags, 1.0, False)]
    else:
        lags = [config.lags_written, config.lags_run] if task == "add" else [(0, 0), (0, 0)]
        legacy = rule in ("rtrl", "uoro", "kf_rtrl", "reverse_kf_rtrl", "future_facing_bptt")
        gains = [config.alpha, 1.0 if legacy else config.alpha]
        rows = list(dict.fromkeys(zip(lags, gains, [False, rule == "kernl"], strict=True)))
    lags, gains, late = zip(*rows, strict=True)
    first, second = jnp.array(lags, jnp.int32).T
    return Setting((first, second), jnp.array(gains, jnp.zeros(()).dtype), jnp.array(late))


def part(config: Config, task: str, name: str) -> Program:
    """One rule on one task, at all its readings."""
    alpha = 1.0 if task == "long" else config.alpha
    tau = hold(alpha)
    if task == "mimic":
        size, n = (config.mimic_size,) * 2, config.mimic_size
        steps, rate = config.mimic_steps, config.mimic_rate
    else:
        size, n = (2, 2), config.n
        steps, rate = (config.add_steps, config.add_rate) if task == "add" else (config.long_steps, config.long_rate)
    cell = leaky(size[0], n, size[1], alpha=alpha, loss="squared" if task == "mimic" else "softmax")

    def build(lane: tuple[Key, Setting]) -> tuple[Learner, Stream]:
        stream = mimic(cell, tau=tau) if task == "mimic" else add(lane[1].lags, tau)
        return learner(build_rule(name, cell, alpha, config.window, lane[1]), optax.sgd(rate)), stream

    def init(lane: tuple[Key, Setting], learn: Learner, stream: Stream) -> tuple[LearnerState, PyTree]:
        key_weights, key_stream, key_run = jax.random.split(lane[0], 3)
        params = init_params(key_weights, cell)
        example = Example(jnp.zeros((1, size[0])), jnp.zeros((1, size[1])))
        return learn.init(params, key_run, example), stream.init(key_stream)

    def measure(info: Info, batch: Batch) -> dict[str, Array]:
        if task == "mimic":  # the figure's mean over outputs; the gradient is that of the sum
            return {"loss": info.loss / size[1]}
        return {"loss": info.loss, "floor": jnp.mean(jnp.sum(jax.scipy.special.entr(batch.y), -1))}

    program = online_training(
        build, init, steps=steps, every=steps // config.points, chunks=config.chunks, measure=measure
    )
    return at_each(program, settings(config, task, name))


def make_parts(config: Config) -> dict[str, Program]:
    """Every rule on every task, by the name "task.rule"."""
    names = [(task, rule) for task in TASKS for rule in RULES] + [("long", rule) for rule in LONG_RULES]
    return {f"{task}.{rule}": part(config, task, rule) for task, rule in names if rule in config.rules}


def final(metrics: Mapping[str, np.ndarray], task: str, reading: str, rule: str, metric: str = "loss") -> np.ndarray:
    """Mean over the last tenth of the curve, (seeds,)."""
    curve = metrics[f"{task}.{rule}/{metric}"]
    column = min(READINGS.index(reading) if reading in READINGS else 0, curve.shape[2] - 1)
    return curve[:, -max(1, curve.shape[1] // 10) :, column].mean(1)


def cases() -> list[tuple[str, str, tuple[str, ...]]]:
    """(task, reading, rules) of every panel."""
    return [*((task, reading, RULES) for task in TASKS for reading in READINGS), ("long", "exact", LONG_RULES)]


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final losses by "task/reading/rule", paired differences that claims read, and the floors."""
    summary: dict[str, float] = {f"floor/{name}": floor for name, floor in add_entropy_floors().items()}
    for task, reading, rules in cases():
        ran = {rule: final(metrics, task, reading, rule) for rule in rules if f"{task}.{rule}/loss" in metrics}
        where = f"{task}/{reading}"
        for rule, losses in ran.items():
            put(summary, f"{where}/{rule}", losses)
            if task != "mimic":
                put(summary, f"{where}/{rule}_above_floor", losses - final(metrics, task, reading, rule, "floor"))
        for worse, better in PAIRS:
            if worse in ran and better in ran:
                put(summary, f"{where}/{worse}-{better}", ran[worse] - ran[better])
    return summary


def _worse(task: str, reading: str, worse: str, *better: str) -> Claim:
    """Worse than each of `better` by more than two standard errors of the paired difference."""
    where = f"{task}/{reading}"

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        gaps = [(summary[f"{where}/{worse}-{one}"], summary[f"{where}/{worse}-{one}_sem"]) for one in better]
        return min(gap for gap, _ in gaps), all(gap > 2 * sem for gap, sem in gaps)

    names = " and ".join(LABELS[one] for one in better)
    statement = f"{task.capitalize()}, as {reading}: {LABELS[worse]} ends worse than {names} (least paired gap)"
    return Claim(f"{task}-{reading}-{worse}-worse-than-{'-'.join(better)}", statement, None, measure)


def _same(task: str, reading: str) -> Claim:
    where = f"{task}/{reading}"

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        gap = abs(summary[f"{where}/rtrl-future_facing_bptt"])
        return gap, gap <= 0.1 * summary[f"{where}/fixed_recurrent-rtrl"]

    statement = (
        f"{task.capitalize()}, as {reading}: RTRL and BPTT reach the same loss (gap, at most a tenth of their lead)"
    )
    return Claim(f"{task}-{reading}-rtrl-equals-bptt", statement, None, measure)


def _best(task: str, reading: str) -> Claim:
    where = f"{task}/{reading}"

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        exact = max(summary[f"{where}/rtrl"], summary[f"{where}/future_facing_bptt"])
        others = [summary[f"{where}/{rule}"] for rule in RULES if rule not in ("rtrl", "future_facing_bptt")]
        gap = float(np.nanmin(others)) - exact
        return gap, gap > 0

    statement = (
        f"{task.capitalize()}, as {reading}: RTRL and BPTT are the best (lead of the worse of them on all others)"
    )
    return Claim(f"{task}-{reading}-exact-best", statement, None, measure)


def _stochastic(reading: str, rule: str, bound: float) -> Claim:
    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        excess = summary[f"add/{reading}/{rule}-rtrl"]
        return excess, abs(excess) <= bound and summary[f"add/{reading}/rflo-{rule}"] > 0

    statement = f"Add, as {reading}: {LABELS[rule]} ends within {bound} nats of RTRL, and below RFLO (excess over RTRL)"
    return Claim(f"add-{reading}-{rule}-near-rtrl", statement, None, measure)


def _long(rule: str, bound: float, above: bool) -> Claim:
    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        excess = summary[f"long/exact/{rule}_above_floor"]
        return excess, excess > bound if above else excess <= bound

    verb = f"stays more than {bound} nats above" if above else f"reaches to within {bound} nats"
    return Claim(f"long-{rule}", f"Lags 5 and 9, alpha 1: {LABELS[rule]} {verb} the entropy floor", None, measure)


def _uoro_on_mimic(summary: Mapping[str, float]) -> tuple[float, bool]:
    gap = summary["mimic/written/uoro-fixed_recurrent"]
    return gap, gap > 2 * summary["mimic/written/uoro-fixed_recurrent_sem"]


def _claims() -> list[Claim]:
    exact = ("rtrl", "future_facing_bptt")
    claims = []
    for task in TASKS:
        for reading in READINGS:
            claims += [
                _same(task, reading),
                _best(task, reading),
                _worse(task, reading, "rflo", *exact),
                _worse(task, reading, "dni", *exact),
                _worse(task, reading, "fixed_recurrent", "rflo", "dni"),
                _worse(task, reading, "dni_b", "dni"),
                _worse(task, reading, "fixed_recurrent", "dni_b"),
            ]
    for reading in READINGS:
        claims += [_stochastic(reading, "kf_rtrl", 0.01)]
        claims += [_stochastic(reading, rule, 0.03) for rule in ("reverse_kf_rtrl", "uoro")]
    claims.append(
        Claim("mimic-uoro", "Mimic: UORO ends worse than fixed W at this rate (paired gap)", None, _uoro_on_mimic)
    )
    claims += [_long("rtrl", 0.01, False), _long("future_facing_bptt", 0.01, False), _long("rflo", 0.03, True)]
    return claims


CLAIMS = _claims()


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Smoothed curves, mean and standard error over seeds, with the entropy floors."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(15, 8.4), constrained_layout=True)
    panels = [("add", "written"), ("add", "run"), ("long", "exact"), ("mimic", "written"), ("mimic", "run")]
    colours = {rule: f"C{index}" for index, rule in enumerate(RULES)}
    titles = {"add": "Add", "mimic": "Mimic", "long": "Add, lags 5 and 9, alpha = 1"}
    handles = {}
    for axis, (task, reading) in zip(axes.flat, panels, strict=False):
        for rule in RULES:
            if f"{task}.{rule}/loss" not in metrics:
                continue
            curves = metrics[f"{task}.{rule}/loss"]
            curves = curves[:, :, min(READINGS.index(reading) if reading in READINGS else 0, curves.shape[2] - 1)]
            curves = smooth(curves[np.isfinite(curves).all(1)], min(SMOOTHING, curves.shape[1]))
            if not len(curves):
                continue
            mean = curves.mean(0)
            error = curves.std(0, ddof=1) / len(curves) ** 0.5 if len(curves) > 1 else 0 * mean
            x = np.linspace(0, 1, len(mean))
            (handles[LABELS[rule]],) = axis.plot(x, mean, color=colours[rule], lw=1.4)
            axis.fill_between(x, mean - error, mean + error, color=colours[rule], alpha=0.2, lw=0)
        if task != "mimic":
            for name in ("nothing", "first", "both"):
                floor = add_entropy_floors()[name]
                axis.axhline(floor, color="0.4", ls=":", lw=1)
                axis.annotate(f" {name}", (1.05, floor), fontsize=7, color="0.4", va="center", annotation_clip=False)
        axis.set(title=titles[task] + ("" if task == "long" else f", as {reading}"), xlabel="fraction of training")
        axis.set_ylabel("mean squared error / 2" if task == "mimic" else "cross-entropy (nats)")
        if task == "mimic":
            axis.set_yscale("log")
    axes.flat[-1].axis("off")
    axes.flat[-1].legend(handles.values(), handles.keys(), loc="center", ncols=2, frameon=False)
    seeds = next(iter(metrics.values())).shape[0]
    figure.suptitle(f"Marschall, Cho & Savin (2019), Figure 1: mean and standard error over {seeds} seeds")
    return figure


experiment = Experiment(
    title="Figure 1: loss of ten online algorithms and BPTT on Add (a) and Mimic (b), and a discriminating setting",
    cost={
        "smoke": "about a minute, most of it compilation",
        "default": "20 seeds, three to seven minutes on two cores",
        "paper": "20 seeds x 1e6 steps: about two hours on two cores, in resumable pieces of under a minute",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
)
