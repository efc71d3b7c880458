"""Rates of Table 2's learners (Lindsey & Litwin-Kumar 2020), tuned alike, on characters that are not reported.

The last background characters, from other alphabets, are held out from meta-training and judge it; the evaluation split
of `lindsey2020_table2` is not used. Every learner is tried at three meta-learning rates of its weights times three
values of what drives its plasticity: the meta-rate of alpha for feature reuse and FLP, the initial inner rate for the
gradient-based learners, the fixed one for OML. The middle setting is the one that `lindsey2020_table2` had before; it
adopted those that were better by more than a percent of answers, and all weights learn at one meta-rate since. A claim
for each learner states that no setting is better by more than a percent than Table 2's present one; another, that the
best settings are not at an end of the grid. Lives are i.i.d., and meta-steps as many as in Table 2's default.
"""

import dataclasses
from collections.abc import Mapping
from itertools import product
from typing import Annotated, Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.lindsey2020 import table2
from experiments.lindsey2020.banks import Bank, banks
from experiments.lindsey2020.swept import swept
from experiments.lindsey2020.table2_summary import METHODS, NAMES
from experiments.lindsey2020.why import TABLE2_TUNING
from experiments.shared.claims import explained
from plasticity_jax.run import Claim, Experiment, Program, Range, evaluated, put
from plasticity_jax.typing import Scalar

OWN = {
    "reuse": ("rate", "alpha_rate"),
    "flp2": ("rate", "alpha_rate"),
    "gradient_first": ("rate_first", "inner_rate_first"),
    "gradient_second": ("rate", "inner_rate"),
    "oml": ("rate_oml", "inner_rate_oml"),
}
"""Fields of `table2.Config` that are tried, by learner: the rate of its weights, and what drives its plasticity."""
BEFORE = {"rate": 2e-3, "inner_rate": 0.03}
"""The rates of Table 2 before this tuning that it has changed; the grid is around the earlier ones."""
WORDS = {"alpha_rate": "meta-rate of α"}
MARGIN = 1.0
"""Percent of answers by which another setting has to be better."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: networks at each setting.
      episodes: meta-steps.
      points: evaluations.
      lifetimes: of an evaluation.
      held: background characters that are held out.
      rates: factors of the meta-learning rate of the weights, increasing, odd in number, the middle one 1.
      drives: factors of what drives plasticity, likewise.
      small: the smoke problem of `lindsey2020_table2`, which needs no files.
      methods: learners to run.
    """

    seeds: int = 2
    episodes: int = 400
    points: int = 2
    lifetimes: int = 300
    held: Annotated[int, Range(5, 900)] = 200
    rates: tuple[float, ...] = (1 / 3, 1.0, 3.0)
    drives: tuple[float, ...] = (1 / 3, 1.0, 3.0)
    small: bool = False
    methods: tuple[str, ...] = METHODS

    def __post_init__(self) -> None:
        """Refuses factors without a middle, and learners that are not known."""
        for name, values in (("rates", self.rates), ("drives", self.drives)):
            if len(values) % 2 == 0 or values[len(values) // 2] != 1 or sorted(set(values)) != list(values):
                raise ValueError(f"{name}={values} must be an odd number of factors, increasing, the middle one 1")
        if unknown := sorted({*self.methods} - {*METHODS}):
            raise ValueError(f"methods={unknown} are not known; use some of {', '.join(METHODS)}")


PRESETS = {
    "smoke": Config(episodes=2, points=1, lifetimes=2, held=5, rates=(1.0,), drives=(0.5, 1.0, 2.0), small=True),
    "default": Config(),
}


class Factors(NamedTuple):
    """Attributes: rate: of the weights' meta-learning rate. drive: of what drives plasticity."""

    rate: Scalar
    drive: Scalar


def split(bank: Bank, held: int) -> tuple[Bank, Bank]:
    """Images of the first classes, and of the last ones, which are held out."""
    at = bank.classes - held
    if at < held:
        raise ValueError(f"held={held} leaves {at} of {bank.classes} background classes to learn from")
    images = bank.images.reshape(bank.classes, bank.per_class, *bank.images.shape[1:])
    parts = images[:at], images[at:]
    learn, judge = (Bank(part.reshape(-1, *bank.images.shape[1:]), len(part), bank.per_class) for part in parts)
    return learn, judge


def make_parts(config: Config) -> dict[str, Program]:
    """A program for each learner, at all settings."""
    base = dataclasses.replace(
        table2.PRESETS["smoke" if config.small else "default"],
        **BEFORE,
        episodes=config.episodes,
        points=config.points,
        lifetimes=config.lifetimes,
    )
    learn, judge = split(banks(base.data, base.side)[0], config.held)
    each = Factors(*map(jnp.asarray, zip(*product(config.rates, config.drives), strict=True)))

    def make(method: str, factors: Factors) -> Program:
        rate, drive = OWN[method]
        moved: dict[str, Any] = {rate: factors.rate * getattr(base, rate), drive: factors.drive * getattr(base, drive)}
        program, tried = table2.learned(dataclasses.replace(base, **moved), method, learn, judge)
        about = {"rate": jnp.asarray(moved[rate]), "drive": jnp.asarray(moved[drive])}
        return evaluated(program, lambda state: {**tried(state, 0), **about})

    return {method: swept(lambda factors, method=method: make(method, factors), each) for method in config.methods}


def present(method: str, rate: np.ndarray, drive: np.ndarray) -> int | None:
    """Index of the setting that Table 2 has now; None if it was not tried."""
    own = [getattr(table2.PRESETS["default"], field) for field in OWN[method]]
    at = np.isclose(rate, own[0], rtol=1e-3) & np.isclose(drive, own[1], rtol=1e-3)
    return int(np.argmax(at)) if at.any() else None


def inside(values: np.ndarray, best: int) -> bool:
    """Returns whether a value of several is neither the least nor the largest; of one alone, always."""
    return len(np.unique(values)) == 1 or values.min() < values[best] < values.max()


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Errors at all settings, the best one and whether it is inside the grid, and the excess error of Table 2's own."""
    summary: dict[str, float] = {}
    for method in METHODS:
        if f"{method}/test" not in metrics:
            continue
        errors = np.asarray(metrics[f"{method}/test"])[:, -1]
        at = {name: np.asarray(metrics[f"{method}/{name}"])[0, -1] for name in ("rate", "drive")}
        for k in range(errors.shape[1]):
            put(summary, f"{method}/{at['rate'][k]:.2g}/{at['drive'][k]:.2g}", errors[:, k])
        mean = np.where(np.isfinite(errors), errors, np.inf).mean(0)
        best = int(np.argmin(mean))
        summary |= {f"best/{method}/{name}": float(values[best]) for name, values in at.items()}
        summary[f"best/{method}"] = float(mean[best])
        summary[f"inside/{method}"] = float(all(inside(values, best) for values in at.values()))
        own = present(method, at["rate"], at["drive"])
        if own is not None:
            summary[f"cost/{method}"] = float(mean[own] - mean[best])
    return summary


def settled(method: str) -> Claim:
    """Claim that no other setting is better than Table 2's by more than the margin."""
    return Claim(
        f"settled_{method}",
        f"{NAMES[method]}: no setting tried is better than Table 2's own by more than {MARGIN:g} percent of answers",
        None,
        lambda summary: (summary[f"cost/{method}"], summary[f"cost/{method}"] <= MARGIN),
        own=True,
    )


def _bracketed(summary: Mapping[str, float]) -> tuple[float, bool]:
    """The number of learners whose best setting is inside, and whether it is all of them."""
    count = sum(summary[f"inside/{method}"] for method in METHODS)
    return count, count == len(METHODS)


BRACKETED = Claim(
    "bracketed",
    "The best settings of all five learners are inside the grid, not at an end of it (learners)",
    None,
    _bracketed,
    own=True,
)


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The best setting of each learner, and the cost of Table 2's own, in Markdown."""
    summary = summarise(metrics)
    lines = [
        "| learner | rate of weights | drive of plasticity | error there | Table 2's own costs |",
        "|---" * 5 + "|",
    ]
    for method in METHODS:
        if f"best/{method}" in summary:
            numbers = [f"{summary[f'best/{method}/{name}']:.2g}" for name in ("rate", "drive")]
            cost = summary.get(f"cost/{method}")
            numbers += [f"{summary[f'best/{method}']:.1f}", "not tried" if cost is None else f"{cost:.1f}"]
            lines.append(f"| {NAMES[method]} | " + " | ".join(numbers) + " |")
    lines += ["", "Percent of wrong answers on background characters that were held out; mean over seeds."]
    return "\n".join(lines)


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Errors at all settings, a panel for each learner."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    run = [method for method in METHODS if f"{method}/test" in metrics]
    figure, axes = plt.subplots(2, 3, figsize=(11, 6.6), layout="constrained")
    for axis, method in zip(axes.flat, run, strict=False):
        errors = np.asarray(metrics[f"{method}/test"])[:, -1].mean(0)
        tried = [np.asarray(metrics[f"{method}/{name}"])[0, -1] for name in ("rate", "drive")]
        own, (rates, drives) = present(method, *tried), map(np.unique, tried)
        errors = errors.reshape(len(rates), len(drives))
        axis.imshow(errors, cmap="viridis_r", aspect="auto", vmin=errors.min(), vmax=errors.min() + 20)
        for i, j in product(range(len(rates)), range(len(drives))):
            mark = " *" if errors[i, j] == errors.min() else ""
            if i * len(drives) + j == own:
                axis.add_patch(Rectangle((j - 0.48, i - 0.48), 0.96, 0.96, fill=False, edgecolor="k", lw=2))
            dark = errors[i, j] > errors.min() + 10
            axis.text(j, i, f"{errors[i, j]:.1f}{mark}", ha="center", va="center", color="w" if dark else "k")
        axis.set_xticks(range(len(drives)), [f"{value:.2g}" for value in drives])
        axis.set_yticks(range(len(rates)), [f"{value:.2g}" for value in rates])
        drive = OWN[method][1]
        axis.set(title=NAMES[method], xlabel=WORDS.get(drive, "inner rate"), ylabel="meta-rate of weights")
    for axis in axes.flat[len(run) :]:
        axis.set_visible(False)
    first = np.asarray(metrics[f"{run[0]}/test"])
    steps = int(np.asarray(metrics[f"{run[0]}/episode"]).max())
    figure.suptitle(
        f"Rates of Table 2's learners (Lindsey & Litwin-Kumar 2020): wrong answers (%) on background characters held "
        f"out,\n{steps:,} meta-steps (paper: 40,000), mean of {len(first)} seeds; * best, framed: Table 2's own",
        fontsize=11,
    )
    return figure


experiment = Experiment(
    title="Table 2's learners tuned alike on background characters that are held out and not reported",
    cost={
        "smoke": "about a minute, nearly all of it compilation",
        "default": "2 seeds x 5 learners x 9 settings, twenty minutes on two cores; needs Omniglot",
    },
    scale={"default": "the problem of lindsey2020_table2's default, 9 settings for each learner"},
    tuned="this is the tuning",
    selects=("methods",),
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained([*map(settled, METHODS), BRACKETED], TABLE2_TUNING),
    plot=plot,
    text=text,
)
