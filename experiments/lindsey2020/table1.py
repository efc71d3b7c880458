"""Table 1 of Lindsey & Litwin-Kumar (2020): incremental sines, by lives of FLP, feature reuse and gradient descent.

The authors' gradient-based learner was first order, and started from the weights that FLP had found ("gradient, first
order, from FLP"); here it stands beside itself from scratch, and beside the second order, which it lacked. OML is the
published one: a fixed inner rate, first order, learned on continual data alone. Every learner is tried on both orders.

The default is a smaller problem: 3 functions of 10 batches in place of 10 of 40, three hidden layers of 64 in place of
eight of 300 to 900, so that lives have 30 steps and not 400. Its outer loop is not the authors' either: four lives to a
meta-step, rates of 1e-3, each group's meta-gradient clipped to a norm of 1, and a tenth taken off the plasticity by a
life that diverged, for otherwise alpha grows until all lives do. Lives that still diverge have no mean error: judged is
the median over lives; the mean, and the fraction that diverged, are in the record. Rates of alpha and of inner rates
were tried in powers of about 3, on the same seeds, for every learner. First order needs smaller ones: nothing in it
asks for an inner loop that stays stable. The errors of the smaller problem are not the table's: `paper` judges those.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from experiments.lindsey2020.common import (
    COLOURS,
    DEEP,
    LABELS,
    PAPER_SINES,
    SMALL_SINES,
    Layers,
    Sines,
    continued,
    curves,
    flp_theta,
    gradient_theta,
    held_out,
    layers,
    meta_training,
    over_lives,
)
from plasticity_jax.meta import first_order, flp_life, gradient_life, meta_gradient
from plasticity_jax.run import Claim, Experiment, Program, gap, mean_sem, put
from plasticity_jax.run.program import Metrics
from plasticity_jax.tasks.incremental_sines import incremental_sines, no_lifetime_learning, predict_zero
from plasticity_jax.typing import Array, PyTree

ORDERS = ("iid", "continual")
PLASTIC = {"reuse": 1, "flp2": 2, "flp3": 3}
GRADIENT = ("gradient_first", "gradient_second", "gradient_warm")
METHODS = (*PLASTIC, *GRADIENT)
PAPER = {
    "iid": {"reuse": 0.050, "flp2": 0.00093, "flp3": 0.00051, "gradient_warm": 0.00057, "oml": 0.072},
    "continual": {"reuse": 0.035, "flp2": 0.0016, "flp3": 0.0068, "gradient_warm": 0.069, "oml": 0.40},
}


@dataclasses.dataclass(frozen=True)
class Config(Sines):
    """The problem, the network, and the outer loop.

    Attributes:
      rate_first: meta-learning rate of the weights of first-order learners; OML has `rate`, with the authors' early
        decay.
      rate_rate_first: that of the gradient-based learner's rates, first order.
      oml_rate: inner rate of OML, for half the squared error.
    """

    rate_first: float
    rate_rate_first: float
    oml_rate: float


FIRST = {"rate_first": 1e-4, "rate_rate_first": 1e-5, "oml_rate": 6e-3}
DEFAULT = Config(seeds=4, episodes=2000, points=10, lifetimes=50, **SMALL_SINES, **FIRST)
PRESETS = {
    "smoke": dataclasses.replace(
        DEFAULT, seeds=2, episodes=8, lives=1, points=2, lifetimes=2, functions=2, batches=2, batch=4, hidden=(8, 8, 8)
    ),
    "default": DEFAULT,
    "paper": Config(points=100, rate_rate=1e-5, **PAPER_SINES, **FIRST),
}


def make_parts(config: Config) -> dict[str, Program]:
    """A program for each order and learner, and one for OML."""
    parts = {f"{order}/{method}": make_program(config, order, method) for order in ORDERS for method in METHODS}
    return {**parts, "continual/oml": make_program(config, "continual", "oml")}


def make_program(config: Config, order: str, method: str) -> Program:
    """One learner, meta-trained on one order and tried on both."""
    sizes = (config.functions + 1, *config.hidden, 1)

    def sines(order: str, episodes: int):
        return incremental_sines(
            order=order,  # pyright: ignore[reportArgumentType]
            functions=config.functions,
            batches=config.batches,
            batch=config.batch,
            episodes=episodes,
        )

    def program(rule, life, rates: Mapping[str, Any], theta) -> Program:
        errors = {name: held_out(life, sines(name, 1), config.lifetimes) for name in ORDERS}

        def evaluate(key: Array, theta: PyTree) -> Metrics:
            found = {}
            for name in ORDERS:
                each = errors[name](key, theta)
                found |= {f"test_{name}": jnp.mean(each), f"median_{name}": over_lives(each)}
                found[f"diverged_{name}"] = jnp.mean(~jnp.isfinite(each) * 1.0)
            if "alpha" in theta:
                found["largest_alpha"] = jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in theta["alpha"]]))
            return found

        return meta_training(
            rule,
            rates,
            theta,
            sines(order, config.lives),
            evaluate,
            episodes=config.episodes,
            points=config.points,
            clip=config.clip or None,
            backoff=config.backoff,
        )

    def flp_program(plastic: int) -> Program:
        cut = layers(sizes, plastic)
        life = flp_life(cut.net, prefix=cut.features if cut.front else None)
        alpha = config.alpha_reuse if plastic == 1 else config.alpha_flp
        rates = {"weights": config.rate, "feedback": config.rate, "alpha": alpha, "beta": config.rate}
        return program(meta_gradient(life, remat=False), life, rates, lambda key: flp_theta(key, cut))

    if method in PLASTIC:
        return flp_program(PLASTIC[method])
    cut = layers(sizes, DEEP)
    prefix = cut.features if cut.front else None
    life = gradient_life(cut.net, prefix=prefix)
    second = meta_gradient(life, remat=False)
    first = first_order(cut.net, prefix=prefix)
    if method == "oml":
        drop = {int(config.episodes * part / 20): 0.3 for part in (1.5, 2.5, 3.5)}
        rates = {"weights": optax.piecewise_constant_schedule(config.rate, drop), "rate": 0.0}
        return program(first, life, rates, lambda key: gradient_theta(key, cut, config.oml_rate))
    if method == "gradient_second":
        rule, rates = second, {"weights": config.rate, "rate": config.rate_rate}
    else:
        rule, rates = first, {"weights": config.rate_first, "rate": config.rate_rate_first}
    scratch = program(rule, life, rates, lambda key: gradient_theta(key, cut, config.inner_rate))
    if method != "gradient_warm":
        return scratch
    return continued(flp_program(DEEP), scratch, lambda old, fresh: hand_over(cut, old, fresh))


def hand_over(cut: Layers, old: PyTree, fresh: PyTree) -> PyTree:
    """The gradient-based learner's theta, with the weights that FLP of as many plastic layers has found."""
    return {**fresh, "prefix": old["prefix"], "forward": old["forward"]}


def final(metrics: Mapping[str, np.ndarray], order: str, method: str, what: str = "median") -> np.ndarray:
    """Error at the end of meta-training, by seed; OML's is of the learner trained on continual data."""
    trained = "continual" if method == "oml" else order
    return np.asarray(metrics[f"{trained}/{method}/{what}_{order}"])[:, -1]


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final errors (medians over lives), and the paired gaps that the claims read, in powers of ten."""
    summary: dict[str, float] = {"predict_zero": predict_zero(), "no_lifetime_learning": no_lifetime_learning()}
    for order in ORDERS:
        for method in (*METHODS, "oml"):
            put(summary, f"{order}/{method}", final(metrics, order, method))
            put(summary, f"{order}/{method}/mean", final(metrics, order, method, "test"))
            put(summary, f"{order}/{method}/diverged", final(metrics, order, method, "diverged"))
    for method in METHODS:
        put(summary, f"iid_tried_on_continual/{method}", np.asarray(metrics[f"iid/{method}/median_continual"])[:, -1])

    def gap(order: str, worse: str, better: str) -> None:
        ratio = np.log10(final(metrics, order, worse)) - np.log10(final(metrics, order, better))
        put(summary, f"gap/{order}/{worse}-{better}", ratio)

    for order in ORDERS:
        for worse, better in GAPS:
            gap(order, worse, better)
    summary["full_problem"] = float(np.asarray(metrics["iid/flp2/episode"]).max() >= 20_000)
    return summary


GAPS = (
    ("reuse", "flp2"),
    ("reuse", "flp3"),
    ("flp2", "flp3"),
    ("flp3", "flp2"),
    ("reuse", "gradient_first"),
    ("reuse", "gradient_warm"),
    ("gradient_first", "gradient_warm"),
    ("gradient_first", "gradient_second"),
    ("gradient_warm", "gradient_second"),
    ("gradient_first", "flp2"),
    ("gradient_warm", "flp2"),
    ("gradient_second", "flp2"),
    ("gradient_warm", "flp3"),
    ("oml", "reuse"),
    ("oml", "gradient_warm"),
)


def within_factor_claim(name: str, statement: str, gap: str, factor: float) -> Claim:
    """Two errors differ by less than a factor; measured is the ratio of their geometric means over seeds."""

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        ratio = 10 ** summary[gap]
        return ratio, 1 / factor < ratio < factor

    return Claim(name, statement, None, measure)


def printed_claim(order: str, method: str, paper: float) -> Claim:
    """An error of the table is reached, on the table's problem and at its number of episodes."""

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        reached = bool(summary["full_problem"])
        error = summary[f"{order}/{method}/mean"] if reached else float("nan")
        return error, reached and error <= paper

    words = {"iid": "i.i.d.", "continual": "continual"}[order]
    return Claim(
        f"printed_{order}_{method}",
        f"{LABELS[method]}, {words}: the printed error or less (full problem)",
        paper,
        measure,
    )


def learning_claim(order: str) -> Claim:
    """Plastic layers learn in a life: below what is possible without."""

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        error = summary[f"{order}/flp2"] + 2 * summary[f"{order}/flp2_sem"]
        return summary[f"{order}/flp2"], error < summary["no_lifetime_learning"]

    statement = f"{order}: FLP(2) learns in its life: its error is below that of the best answer without learning"
    return Claim(f"learns_{order}", statement, None, measure)


def gap_of(name: str, statement: str, *gaps: str) -> Claim:
    """Every gap is positive; measured is the least, in powers of ten."""
    return gap(name, statement, None, *(f"gap/{gap}" for gap in gaps))


CLAIMS = [
    learning_claim("iid"),
    learning_claim("continual"),
    gap_of(
        "deep_plasticity_pays_iid",
        "i.i.d.: plastic hidden layers beat feature reuse",
        "iid/reuse-flp2",
        "iid/reuse-flp3",
    ),
    gap_of(
        "deep_plasticity_pays_continual",
        "continual: plastic hidden layers beat feature reuse",
        "continual/reuse-flp2",
        "continual/reuse-flp3",
    ),
    gap_of("three_beat_two_iid", "i.i.d.: FLP (3) is better than FLP (2)", "iid/flp2-flp3"),
    gap_of("two_beat_three_continual", "continual: FLP (2) is better than FLP (3)", "continual/flp3-flp2"),
    within_factor_claim(
        "gradient_matches_iid",
        "i.i.d.: the gradient-based learner (first order, from FLP) is on a par with FLP (3), within a factor of 2",
        "gap/iid/gradient_warm-flp3",
        2.0,
    ),
    gap_of(
        "flp_beats_gradient_continual",
        "continual: FLP (2) beats the gradient-based learner, as the authors had it (first order, from FLP)",
        "continual/gradient_warm-flp2",
    ),
    gap_of(
        "flp_beats_second_order_continual",
        "continual: FLP (2) beats the gradient-based learner of second order",
        "continual/gradient_second-flp2",
    ),
    gap_of(
        "flp_beats_gradient_from_scratch",
        "FLP (2) beats the first-order learner from scratch, on both orders",
        "iid/gradient_first-flp2",
        "continual/gradient_first-flp2",
    ),
    Claim(
        "naive_gradient_is_reuse",
        "i.i.d.: from scratch, the first-order learner does not exceed feature reuse (appendix B.2)",
        None,
        lambda summary: (
            summary["gap/iid/reuse-gradient_first"],
            summary["gap/iid/reuse-gradient_first"] < 2 * summary["gap/iid/reuse-gradient_first_sem"],
        ),
    ),
    gap_of(
        "warm_start_helps",
        "Starting from FLP's weights improves the first-order learner, on both orders (appendix B.2)",
        "iid/gradient_first-gradient_warm",
        "continual/gradient_first-gradient_warm",
    ),
    gap_of(
        "second_order_helps",
        "Second order improves the gradient-based learner from scratch, on both orders",
        "iid/gradient_first-gradient_second",
        "continual/gradient_first-gradient_second",
    ),
    gap_of("oml_is_worst", "OML is worse than feature reuse, on both orders", "iid/oml-reuse", "continual/oml-reuse"),
    gap_of(
        "baseline_beats_oml",
        "The gradient-based learner (first order, from FLP) exceeds the unmodified OML, on both orders",
        "iid/oml-gradient_warm",
        "continual/oml-gradient_warm",
    ),
    *(printed_claim(order, method, value) for order in ORDERS for method, value in PAPER[order].items()),
]


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Table 1 in Markdown, with the paper's numbers beside ours."""
    lines = ["| learner | i.i.d. | paper | continual | paper |", "|---|---|---|---|---|"]
    for method in (*METHODS, "oml"):
        cells = []
        for order in ORDERS:
            mean, sem = mean_sem(final(metrics, order, method))
            printed = PAPER[order].get(method)
            cells += [f"{mean:.4f} ({sem:.4f})", "" if printed is None else f"{printed:g}"]
        lines.append(f"| {LABELS[method]} | " + " | ".join(cells) + " |")
    lines += [
        "",
        "Squared error on new functions, median over lives; standard error over seeds in brackets.",
    ]
    return "\n".join(lines)


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Errors on new functions in the course of meta-training, for both orders."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), sharey=True, layout="constrained")
    for axis, order in zip(axes, ORDERS, strict=True):
        for method in (*METHODS, "oml"):
            trained = "continual" if method == "oml" else order
            part = f"{trained}/{method}"
            error, episode = np.asarray(metrics[f"{part}/median_{order}"]), np.asarray(metrics[f"{part}/episode"])[0]
            if method == "gradient_warm":  # its second half; the first is FLP's
                error, episode = error[:, error.shape[1] // 2 :], episode[len(episode) // 2 :]
            curves(axis, episode, error, color=COLOURS[method], label=LABELS[method])
        axis.axhline(no_lifetime_learning(), color="0.6", lw=1, ls="--")
        axis.text(
            0.99,
            no_lifetime_learning() * 1.08,
            "best without learning in the life",
            ha="right",
            fontsize=8,
            color="0.4",
            transform=axis.get_yaxis_transform(),
        )
        axis.set(yscale="log", xlabel="meta-steps", title={"iid": "i.i.d.", "continual": "continual"}[order])
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("squared error on new functions, median over lives")
    figure.legend(*axes[0].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside right center")
    return figure


experiment = Experiment(
    title="Table 1: incremental sines by feedback and local plasticity, feature reuse and gradient-based learners",
    cost={
        "smoke": "about a minute, most of it compilation",
        "default": "4 seeds x 13 learners, fourteen minutes on two cores",
        "paper": "2 seeds x 13 learners x 20,000 episodes of 400 steps: days on two cores; resumable",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
    text=text,
)
