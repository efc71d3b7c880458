"""Figure 2 of Lindsey & Litwin-Kumar (2020): how networks that learn by FLP differ from feature reuse and gradients.

A: an error with every layer learning, and with all but the readout frozen at birth and the readout fitted in closed
form to the life's data; and the control, a feature-reuse network whose weights are kept while FLP upstream is learned.
B: what a task of a continual life does to the answers to the tasks before it. C: cosine between the updates of FLP and
the negative gradient of the task's loss, at the same weights and batch, means over lifetimes. D: norms of the updates.
The gradient-based learner is of second order, from scratch. The authors' was first order, from the weights that FLP had
found; `lindsey2020_table1` has both, the latter at rates ten times smaller, for at these its lives diverge.
The paper does not say whether C is an average over lifetimes, nor if the norms of D are total or relative to the
weights: here C is a mean over lifetimes, and both norms are judged. Bands are standard errors over networks.

What fails in the smaller problem. In A (medians over lives) the best frozen features are those of two plastic layers,
and a readout fitted to features at birth beats the same network's plasticity sevenfold or more: in 1,600 meta-steps it
is the plastic readout that holds back, not its features. The control gains as much as plasticity upstream from the
start; but it gets twice the meta-steps, in which the readout's own feedback, alpha and beta go on learning, so that the
gain is not upstream's for sure. In B the gradient-based learner, of second order, reaches a tenth of FLP's error, which
may be why its answers change less. No layer's cosine is negative on average. FLP's updates of the readout are smaller
than the gradient's at no time.

The default is the smaller problem of `lindsey2020_table1`, with its outer loop.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lindsey2020.common import (
    COLOURS,
    DEEP,
    LABELS,
    PAPER_SINES,
    SMALL_SINES,
    Layers,
    Sines,
    continued,
    flp_theta,
    gradient_theta,
    layers,
    meta_training,
    over_lives,
)
from experiments.shared.curves import draw
from plasticity_jax.base import Info, LearningRule, compare
from plasticity_jax.diagnostics.interference import interference
from plasticity_jax.diagnostics.linear_readout import linear_readout
from plasticity_jax.layers import Chain, forward
from plasticity_jax.meta import Life, flp_life, gradient_life, meta_gradient
from plasticity_jax.ops.norms import cosine, safe_norm
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.rules.hebbian.flp import flp
from plasticity_jax.run import Claim, Experiment, Program, gap, put
from plasticity_jax.run.program import Metrics
from plasticity_jax.tasks.incremental_sines import incremental_sines, no_lifetime_learning
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Episode, Example, Key, Params, PyTree


@dataclasses.dataclass(frozen=True)
class Config(Sines):
    """The problem, the network, and the outer loop.

    Attributes:
      ridge: of the readout of frozen features.
    """

    ridge: float

    def __post_init__(self) -> None:
        """Refuses what the analyses cannot be made of."""
        super().__post_init__()
        if self.functions < 2 or self.batches < 2:
            raise ValueError(f"functions={self.functions} and batches={self.batches} must be at least 2 each")


DEFAULT = Config(seeds=4, episodes=1600, points=4, lifetimes=40, ridge=1e-6, **SMALL_SINES)
PRESETS = {
    "smoke": dataclasses.replace(
        DEFAULT, seeds=2, episodes=4, lives=1, points=2, lifetimes=2, functions=2, batches=2, batch=4, hidden=(8, 8)
    ),
    "default": DEFAULT,
    "paper": Config(points=20, rate_rate=1e-4, ridge=1e-6, **PAPER_SINES),
}


def make_parts(config: Config) -> dict[str, Program]:
    """Meta-trainings; the control goes on from feature reuse, whose own results are its first half."""
    upstream = flp_program(config, DEEP, "iid", frozen=True)
    return {
        "iid/control": continued(flp_program(config, 1, "iid"), upstream, upstream_of_reuse),
        "iid/flp2": flp_program(config, 2, "iid"),
        "iid/flp3": flp_program(config, DEEP, "iid", steps=True),
        "iid/gradient": gradient_program(config, "iid", steps=True),
        "continual/flp3": flp_program(config, DEEP, "continual", steps=True),
        "continual/gradient": gradient_program(config, "continual"),
    }


def flp_program(config: Config, depth: int, order: str, *, frozen: bool = False, steps: bool = False) -> Program:
    """FLP in the last layers, meta-trained; `frozen` keeps the initial weights, and learns the rest of theta."""
    cut = layers((config.functions + 1, *config.hidden, 1), depth)
    life = flp_life(cut.net, prefix=cut.features if cut.front else None)
    rates = {
        "weights": 0.0 if frozen else config.rate,
        "feedback": config.rate,
        "alpha": config.alpha_reuse if depth == 1 else config.alpha_flp,
        "beta": config.rate,
    }

    def rule(theta: PyTree) -> LearningRule:
        return flp(cut.net, alpha=theta["alpha"], beta=theta["beta"])

    evaluate = analyses(config, order, cut, life, rule, steps)
    return trained(config, order, meta_gradient(life, remat=False), rates, lambda key: flp_theta(key, cut), evaluate)


def gradient_program(config: Config, order: str, *, steps: bool = False) -> Program:
    """Gradient descent in the last layers, meta-trained."""
    cut = layers((config.functions + 1, *config.hidden, 1), DEEP)
    life = gradient_life(cut.net, prefix=cut.features if cut.front else None)
    exact = backprop(cut.net)

    def rule(theta: PyTree) -> LearningRule:
        def update(*args: Any) -> tuple[PyTree, tuple[()], Info]:
            updates, traces, info = exact.update(*args)
            return {**updates, "forward": jax.tree.map(jnp.multiply, theta["rate"], updates["forward"])}, traces, info

        return exact._replace(update=update)

    evaluate = analyses(config, order, cut, life, rule, steps)
    rates = {"weights": config.rate, "rate": config.rate_rate}
    learn, start = meta_gradient(life, remat=False), lambda key: gradient_theta(key, cut, config.inner_rate)
    return trained(config, order, learn, rates, start, evaluate)


def trained(
    config: Config,
    order: str,
    rule: LearningRule,
    rates: Mapping[str, float],
    theta: Callable[[Key], PyTree],
    evaluate: Callable[[Key, PyTree], Metrics],
) -> Program:
    """Meta-training on one order."""
    return meta_training(
        rule,
        rates,
        theta,
        sines(config, order, config.lives),
        evaluate,
        episodes=config.episodes,
        points=config.points,
        clip=config.clip or None,
        backoff=config.backoff,
    )


def sines(config: Config, order: str, episodes: int) -> Stream:
    """Of the problem, so many lifetimes at a time."""
    return incremental_sines(
        order=order,  # pyright: ignore[reportArgumentType]
        functions=config.functions,
        batches=config.batches,
        batch=config.batch,
        episodes=episodes,
    )


def upstream_of_reuse(old: PyTree, fresh: PyTree) -> PyTree:
    """Theta of more plastic layers, with all that feature reuse has found; FLP upstream is as at the start."""
    weights = {name: old["prefix"][name] + old["forward"][name] for name in ("w", "bias")}
    rest = len(fresh["prefix"]["w"])
    return {
        "prefix": {name: leaves[:rest] for name, leaves in weights.items()},
        "forward": {name: leaves[rest:] for name, leaves in weights.items()},
        "feedback": {name: leaves[:-1] + old["feedback"][name] for name, leaves in fresh["feedback"].items()},
        "alpha": fresh["alpha"][:-1] + old["alpha"],
        "beta": fresh["beta"][:-1] + old["beta"],
    }


def analyses(
    config: Config, order: str, cut: Layers, life: Life, rule: Callable[[PyTree], LearningRule], steps: bool
) -> Callable[[Key, PyTree], Metrics]:
    """``(key, theta) -> metrics``, means over lifetimes; `steps` for those of every inner step."""

    def evaluate(key: Key, theta: PyTree) -> Metrics:
        stream = sines(config, order, config.lifetimes)
        _, episodes = stream.take(stream.init(key), 1)

        def one(episode: Episode) -> Metrics:
            episode, params = life.embed(theta, episode), life.params(theta)
            answers, reports = lived(cut.net, rule(theta), params, episode, config.functions)
            found = {"error": jnp.mean((answers[-1].reshape(episode.query.y.shape) - episode.query.y) ** 2)}
            if order == "iid":
                found["frozen"] = frozen_error(cut.net, params, episode, config.ridge)
            else:
                found["interference"] = interference(answers)
            return {**found, **reports} if steps else found

        first = jax.tree.map(lambda leaf: leaf[0], episodes)
        found = jax.lax.map(one, first, batch_size=min(10, config.lifetimes))
        judged = ("error", "frozen")
        means = {name: over_lives(values) if name in judged else jnp.mean(values, 0) for name, values in found.items()}
        if steps:  # life by life, for what a layer does on average, and its chance
            t = jnp.arange(config.functions * config.batches) - (config.functions * config.batches - 1) / 2
            means["cosine_of_lives"] = jnp.mean(found["cosine"], 1)
            means["rise_of_lives"] = jnp.einsum("t,ltp->lp", t, found["cosine"]) / jnp.sum(t * t) * len(t)
        return means

    return evaluate


def lived(
    net: Chain, rule: LearningRule, params: Params, episode: Episode, functions: int
) -> tuple[Array, dict[str, Array]]:
    """A life under plain steps, watched.

    Args:
      net: the plastic layers.
      rule: theirs; its updates are applied as they are.
      params: at birth.
      episode: one; its support (T, b, ...) is cut into as many blocks as functions, after each of which all is asked.
      functions: K.

    Returns:
      ``(answers, reports)``: answers (K, K, q, n_out), after a block, to a function; reports (T, P) for each plastic
      layer: "cosine" of the change of w and the negative gradient, "norm" of the change, "relative" to that of w.
    """
    rules = {"own": rule, "exact": backprop(net)}

    def step(params: Params, batch: Example) -> tuple[Params, dict[str, Array]]:
        updates, _, _ = compare(rules, params, {"own": (), "exact": ()}, jax.random.key(0), batch)
        changes, gradients = (updates[name]["forward"]["w"] for name in rules)
        norms = jnp.stack([safe_norm(change) for change in changes])
        report = {
            "cosine": jnp.stack([cosine(*pair) for pair in zip(changes, gradients, strict=True)]),
            "norm": norms,
            "relative": norms / jnp.stack([safe_norm(w) for w in params["forward"]["w"]]),
        }
        return jax.tree.map(jnp.subtract, params, updates["own"]), report

    def block(params: Params, batches: Example) -> tuple[Params, tuple[Array, dict[str, Array]]]:
        params, reports = jax.lax.scan(step, params, batches)
        return params, (forward(net, params["forward"], episode.query.x).h[-1], reports)

    blocks = jax.tree.map(lambda leaf: leaf.reshape(functions, -1, *leaf.shape[1:]), episode.support)
    _, (answers, reports) = jax.lax.scan(block, params, blocks)
    reports = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), reports)
    return answers.reshape(functions, functions, -1, answers.shape[-1]), reports


def frozen_error(net: Chain, params: Params, episode: Episode, ridge: float) -> Array:
    """Error of the best readout of the features at birth, fitted to all of the life's data."""
    support = jax.tree.map(lambda leaf: leaf.reshape(-1, leaf.shape[-1]), episode.support)
    seen, asked = (forward(net, params["forward"], data.x).h[-2] for data in (support, episode.query))
    return jnp.mean((linear_readout(seen, support.y, ridge)(asked) - episode.query.y) ** 2)


HALVES = {"iid/reuse": ("iid/control", 0), "iid/upstream": ("iid/control", 1)}
"""Networks that are not a part of their own: the part, and the half of it."""
DEPTHS = {1: "iid/reuse", 2: "iid/flp2", 3: "iid/flp3"}
NETWORKS = (*DEPTHS.values(), "iid/upstream", "iid/gradient", "continual/flp3", "continual/gradient")


def final(metrics: Mapping[str, np.ndarray], name: str, metric: str) -> np.ndarray:
    """At the end of the meta-training, (seeds, ...)."""
    part, half = HALVES.get(name, (name, 1))
    values = np.asarray(metrics[f"{part}/{metric}"], float)
    return values[:, -1 if half else values.shape[1] // 2 - 1]


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Errors, gaps in powers of ten, and what became of cosines and norms; over seeds."""
    summary: dict[str, float] = {"no_lifetime_learning": no_lifetime_learning()}
    for name in NETWORKS:
        put(summary, f"error/{name}", final(metrics, name, "error"))
    for name in DEPTHS.values():
        put(summary, f"frozen/{name}", final(metrics, name, "frozen"))

    def gap(key: str, metric: str, worse: str, better: str) -> None:
        """Mean difference of logarithms, which takes in the blocks or the layers that there are."""
        ratio = np.log10(final(metrics, worse, metric)) - np.log10(final(metrics, better, metric))
        put(summary, key, ratio.reshape(len(ratio), -1).mean(1))

    for less, more in ((1, 2), (2, 3)):
        gap(f"gap/frozen/{more}-{less}", "frozen", DEPTHS[more], DEPTHS[less])
        gap(f"gap/error/{less}-{more}", "error", DEPTHS[less], DEPTHS[more])
    gap("gap/error/reuse-upstream", "error", "iid/reuse", "iid/upstream")
    gap("gap/error/upstream-flp3", "error", "iid/upstream", "iid/flp3")
    gap("gap/interference/gradient-flp3", "interference", "continual/gradient", "continual/flp3")
    for name in ("continual/flp3", "continual/gradient"):
        for k, values in enumerate(final(metrics, name, "interference").T):
            put(summary, f"interference/{name}/{k + 2}", values)
    for order in ("iid", "continual"):
        summary |= alignment(metrics, order)
    put(summary, "periodicity", periodicity(metrics).mean(1))
    for metric in ("norm", "relative"):
        ours, theirs = (final(metrics, name, metric).mean(1) for name in ("iid/flp3", "iid/gradient"))
        for k, ratio in enumerate(np.log10(ours / theirs).T):
            put(summary, f"{metric}/{LAYERS[k]}", ratio)
            put(summary, f"-{metric}/{LAYERS[k]}", -ratio)
    return summary


LAYERS = ("third_from_end", "penultimate", "readout")
WEAK = 0.5
"""A cosine below it is called weak: an angle of more than 60 degrees."""


def alignment(metrics: Mapping[str, np.ndarray], order: str) -> dict[str, float]:
    """Of the cosines in one order: how often weak, how different by layer, where negative or rising."""
    found: dict[str, float] = {}
    steps, lives, rises = (
        final(metrics, f"{order}/flp3", metric) for metric in ("cosine", "cosine_of_lives", "rise_of_lives")
    )  # (seeds, T, P), (seeds, lifetimes, P) twice
    found[f"weak/{order}"] = float((np.abs(steps) < WEAK).mean())
    for k, values in enumerate(lives.mean(1).T):
        put(found, f"cosine/{order}/{LAYERS[k]}", values)
        put(found, f"rise/{order}/{LAYERS[k]}", rises.mean(1)[:, k])
    put(found, f"rise/{order}/mean", rises.mean((1, 2)))
    # The highest and the lowest layer are chosen on one half of the lifetimes and held apart on the other.
    chosen, held = lives[:, ::2].mean(1), lives[:, 1::2].mean(1)
    seeds = np.arange(len(held))
    put(found, f"spread/{order}", held[seeds, chosen.argmax(1)] - held[seeds, chosen.argmin(1)])
    for kind, values in (("negative", -lives), ("rising", rises), ("falling", -rises)):
        error = values.std(1, ddof=1) / values.shape[1] ** 0.5
        found[f"{kind}/{order}"] = float((values.mean(1) > 2 * error).mean())
    return found


def periodicity(metrics: Mapping[str, np.ndarray]) -> np.ndarray:
    """Autocorrelation of a continual life's cosines at a block's length, above that at half a block less and more.

    Returns:
      (seeds, P).
    """
    series = final(metrics, "continual/flp3", "cosine")
    series = series - series.mean(1, keepdims=True)
    steps = series.shape[1]
    block = steps // (final(metrics, "continual/flp3", "interference").shape[1] + 1)
    half = block // 2

    def at(lag: int) -> np.ndarray:
        variance = np.maximum((series**2).mean(1), 1e-12)
        return (series[:, lag:] * series[:, : steps - lag]).mean(1) / variance

    return at(block) - (at(block - half) + at(block + half)) / 2


def fraction_claim(name: str, statement: str, kind: str, least: float) -> Claim:
    """In both orders more than a fraction of the networks' layers; measured is the lesser."""

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        measured = min(summary[f"{kind}/{order}"] for order in ("iid", "continual"))
        return measured, measured > least

    return Claim(name, statement, None, measure)


def not_above_claim(name: str, statement: str, *keys: str) -> Claim:
    """None of these is above 0 by more than two standard errors; measured is the largest."""

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        return max(summary[key] for key in keys), all(summary[key] <= 2 * summary[f"{key}_sem"] for key in keys)

    return Claim(name, statement, None, measure)


CLAIMS = [
    gap(
        "frozen_features_get_worse",
        "A: with more plastic layers (1, 2, 3), a readout of the frozen initial features does worse",
        None,
        "gap/frozen/2-1",
        "gap/frozen/3-2",
    ),
    gap(
        "two_layers_adapt_better",
        "A: two plastic layers do better than a plastic readout alone",
        None,
        "gap/error/1-2",
    ),
    gap(
        "three_layers_adapt_better",
        "A: three plastic layers do better than two",
        None,
        "gap/error/2-3",
    ),
    not_above_claim(
        "upstream_does_not_help_reuse",
        "Control: FLP upstream of a feature-reuse network whose initial weights are kept does not improve it",
        "gap/error/reuse-upstream",
    ),
    gap(
        "control_misses_flp",
        "Control: it stays worse than a network that was meta-trained with as many plastic layers from the start",
        None,
        "gap/error/upstream-flp3",
    ),
    gap(
        "less_interference",
        "B: FLP changes the answers to earlier functions less than the gradient-based learner (powers of ten)",
        None,
        "gap/interference/gradient-flp3",
    ),
    fraction_claim("often_weak", f"C: most cosines with the negative gradient are below {WEAK} in size", "weak", 0.5),
    gap(
        "layers_differ",
        "C: the mean cosine differs between the layers of a network, in both orders",
        None,
        "spread/iid",
        "spread/continual",
    ),
    fraction_claim("some_negative", "C: some layers' updates point against the gradient's, on average", "negative", 0),
    not_above_claim(
        "no_upward_trend",
        "C: the cosine does not rise in the course of a life, in either order (mean over layers of slope times steps)",
        "rise/iid/mean",
        "rise/continual/mean",
    ),
    Claim(
        "diverse_trends",
        "C: i.i.d., it rises in some layers and falls in others (the lesser of the two fractions)",
        None,
        lambda summary: (
            min(summary["rising/iid"], summary["falling/iid"]),
            min(summary["rising/iid"], summary["falling/iid"]) > 0,
        ),
    ),
    gap(
        "periodic",
        "C: continual, it has the blocks' period: autocorrelation there, above that half a block away on both sides",
        None,
        "periodicity",
    ),
    gap(
        "larger_updates_upstream",
        "D: FLP's updates are larger than the gradient's in each layer but the readout (norm, powers of ten)",
        None,
        "norm/third_from_end",
        "norm/penultimate",
    ),
    gap("smaller_updates_of_readout", "D: and smaller in the readout (norm)", None, "-norm/readout"),
    gap(
        "larger_relative_upstream",
        "D: the same upstream, relative to the norm of the weights",
        None,
        "relative/third_from_end",
        "relative/penultimate",
    ),
    gap("smaller_relative_of_readout", "D: the same in the readout, relative", None, "-relative/readout"),
]


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """The four panels; C in both orders, D total and relative."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, 2, figsize=(8.6, 9.6), layout="constrained")
    draw_depths(axes[0, 0], metrics)
    for name in ("flp3", "gradient_second"):
        values = final(metrics, f"continual/{name.split('_')[0]}", "interference")
        draw(axes[0, 1], np.arange(2, values.shape[1] + 2), values, color=COLOURS[name], label=LABELS[name])
    blocks = values.shape[1] + 1
    axes[0, 1].set(yscale="log", xlabel="functions met so far", ylabel="squared change of earlier answers")
    axes[0, 1].xaxis.get_major_locator().set_params(integer=True)
    axes[0, 1].set_title("B  interference, continual", loc="left", fontsize=10)
    for axis, order, title in zip(axes[1], ("iid", "continual"), ("i.i.d.", "continual"), strict=True):
        values = final(metrics, f"{order}/flp3", "cosine")
        for k, layer in enumerate(LAYERS):
            draw(axis, steps_of(values), values[:, :, k], color=TONES[k], label=words(layer)).set_marker("")
        axis.axhline(0, color="0.6", lw=0.8, zorder=0)
        axis.set(xlabel="inner step", ylabel=r"cosine of update and $-\nabla_W L$")
        axis.set_title(f"C  alignment of FLP (3), {title}", loc="left", fontsize=10)
    for block in range(1, blocks):
        axes[1, 1].axvline(block * values.shape[1] / blocks + 0.5, color="0.7", lw=0.8, ls=":", zorder=0)
    axes[1, 0].sharey(axes[1, 1])
    labels = (("norm", r"$\|\Delta W\|$"), ("relative", r"$\|\Delta W\| \;/\; \|W\|$"))
    for axis, (metric, label) in zip(axes[2], labels, strict=True):
        for name in ("flp3", "gradient_second"):
            values = final(metrics, f"iid/{name.split('_')[0]}", metric)
            for k, style in enumerate((":", "--", "-")):
                named = f"{LABELS[name]}: {words(LAYERS[k])}"
                draw(axis, steps_of(values), values[:, :, k], color=COLOURS[name], ls=style, label=named).set_marker("")
        axis.set(yscale="log", xlabel="inner step", ylabel=label)
    axes[2, 0].set_title("D  size of the updates, i.i.d.", loc="left", fontsize=10)
    axes[2, 1].set_title("D  relative to the weights, i.i.d.", loc="left", fontsize=10)
    for axis in (*axes[0], axes[1, 0]):
        axis.legend(frameon=False, fontsize=8)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes[2, 1].get_legend_handles_labels(), frameon=False, fontsize=8, loc="outside lower center", ncols=2
    )
    return figure


TONES = ("#009e73", "#e69f00", "#4d4d4d")
"""Of layers, from the lowest."""


def words(layer: str) -> str:
    """A layer's name, to be read."""
    return layer.replace("_", " ").replace("from end", "from the end")


def steps_of(values: np.ndarray) -> np.ndarray:
    """1, ..., T of values (seeds, T, ...)."""
    return np.arange(1, values.shape[1] + 1)


def draw_depths(axis: Any, metrics: Mapping[str, np.ndarray]) -> None:
    """Panel A: errors by number of plastic layers, and of the control."""

    def bars(names: Mapping[int, str], metric: str, **style: Any) -> None:
        values = np.stack([final(metrics, name, metric) for name in names.values()], 1)
        error = values.std(0, ddof=1) / len(values) ** 0.5 if len(values) > 1 else 0 * values[0]
        axis.errorbar(list(names), values.mean(0), error, ms=5, capsize=3, **style)

    bars(DEPTHS, "error", color="#e69f00", marker="o", label="plastic layers learn")
    bars(DEPTHS, "frozen", color="#0072b2", marker="o", label="features frozen at birth, readout fitted")
    bars({DEEP: "iid/upstream"}, "error", color="k", marker="s", ls="", label="control: FLP upstream of feature reuse")
    axis.set(yscale="log", xticks=list(DEPTHS), xlabel="plastic layers", ylabel="squared error, median over lives")
    axis.set_title("A  plastic against frozen features, i.i.d.", loc="left", fontsize=10)


experiment = Experiment(
    title="Figure 2: frozen features, interference, alignment with the gradient and size of the updates of FLP",
    cost={
        "smoke": "half a minute, nearly all of it compilation",
        "default": "4 seeds x 7 meta-trainings, eight minutes on two cores",
        "paper": "2 seeds x 7 meta-trainings x 20,000 episodes of 400 steps: days on two cores; resumable",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
)
