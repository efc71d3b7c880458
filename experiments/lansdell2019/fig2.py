"""Figure 2 of Lansdell, Prakash & Kording (2020): MNIST by learned, fixed, matched and true feedback.

784-50-20-10, sigmoid, linear output, squared error, batches of 32. Node perturbation regresses its feedback with the
authors' exact ridge, at four noise levels; and, beside the paper, with a ridge that forgets, and by SGD. W2 and W3 are
the second and third layers' weights, each with its feedback matrix.

What the figure hides. The regression of W2's feedback sees errors of 20 neurons that come from 10 outputs: 10
directions have nearly all of their power (assumption A3 all but fails), and in the others B stays far from W, which
harms nothing, for no error takes them. The ridge never forgets, and so lags behind W. The authors took their error
rates on the perturbed forward pass: what rises at c = 0.1 is the noise, not the error. And they drew other initial
weights for each c; from the same ones, the noise levels do not differ. The default is 60 of their 2,000 epochs: enough
for the order of the methods, not for the printed error rates.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.lansdell2019.common import COLOURS, EPOCH, LABELS, check_schedule, training, two_rates
from experiments.shared.curves import draw
from experiments.shared.images import Images, images, scaled, unfolded
from plasticity_jax.base import Learner, LearningRule, learner
from plasticity_jax.diagnostics.alignment import alignment, feedback_rank
from plasticity_jax.layers import Chain, forward, init_params, perturbed_output
from plasticity_jax.networks import mlp
from plasticity_jax.ops.noise import noise_of_shapes
from plasticity_jax.rules import feedback
from plasticity_jax.run import Claim, Experiment, Program, gap, mean_sem, put
from plasticity_jax.run.program import TrainingState
from plasticity_jax.typing import Array, Example

SIGMAS = (1e-4, 1e-3, 1e-2, 1e-1)
LAYERS = ("W2", "W3")
RANK_TOLERANCE = 1e-2  # a direction of the errors counts if its power is above this fraction of the strongest's
UNITS = {
    "relative_error": "relative error |W - B| / |W|",
    "sign_congruence": "sign congruence",
    "local_angle": "local angle (degrees)",
    "true_angle": "angle to the gradient (degrees)",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings, those of the authors' code; its rates are for sums over a batch.

    Attributes:
      seeds: networks and batches, shared by all methods.
      data: "mnist" or "prototypes" (random, no files).
      sizes: the four widths, from the pixels to the classes.
      batch: examples in a step.
      epochs: of 1,000 steps.
      points: evaluations, evenly spaced; so many chunks.
      rate: of the weights, for a summed gradient.
      sigmas: c of node perturbation, increasing.
      ridge: gamma.
      warm_up: steps in which node perturbation learns only its feedback.
      forgetting: factor of the forgetting ridge at each step.
      sgd_rate: beta of the feedback learned by SGD, for a summed gradient.
      extra_sigma: c of the forgetting ridge and of SGD.
      examples: training images on which angles are taken.
    """

    seeds: int = 4
    data: str = "mnist"
    sizes: tuple[int, int, int, int] = (784, 50, 20, 10)
    batch: int = 32
    epochs: int = 60
    points: int = 30
    rate: float = 4e-4
    sigmas: tuple[float, ...] = SIGMAS
    ridge: float = 0.1
    warm_up: int = EPOCH
    forgetting: float = 0.9999
    sgd_rate: float = 4e-4
    extra_sigma: float = 1e-2
    examples: int = 2000

    def __post_init__(self) -> None:
        if min(self.seeds, self.batch, self.examples, *self.sizes) < 1:
            raise ValueError("seeds, batch, examples and sizes must be at least 1")
        check_schedule(self.epochs, self.points)
        if not self.sigmas or min(*self.sigmas, self.extra_sigma) <= 0:
            raise ValueError("sigmas and extra_sigma must be above 0")


PRESETS = {
    "smoke": Config(seeds=2, data="prototypes", sizes=(64, 12, 14, 10), epochs=1, points=2, warm_up=100),
    "default": Config(),
    "paper": Config(seeds=5, epochs=2000, points=500),
}


def at(sigma: float) -> str:
    """Name of node perturbation at a noise level."""
    return f"np_c{sigma:g}"


MIDDLE = at(1e-2)


def methods(config: Config, net: Chain) -> dict[str, tuple[LearningRule, optax.GradientTransformation, float | None]]:
    """Rule, optimiser and noise level (None without noise) of every method."""
    eta = config.rate * config.batch
    ridge = {"estimator": "ridge", "ridge": config.ridge}
    fixed, solved = two_rates(eta, 0.0), two_rates(eta, 1.0)

    def perturbed(sigma: float, **options: Any) -> LearningRule:
        return feedback.node_perturbation(net, sigma=sigma, warm_up=config.warm_up, **options)

    return {
        "bp": (feedback.backprop(net), fixed, None),
        "fa": (feedback.feedback_alignment(net), fixed, None),
        "matching": (feedback.matching(net), optax.sgd(eta), None),
        **{at(c): (perturbed(c, **ridge), solved, c) for c in config.sigmas},
        "np_forget": (
            perturbed(config.extra_sigma, **ridge, forgetting=config.forgetting),
            solved,
            config.extra_sigma,
        ),
        "np_sgd": (perturbed(config.extra_sigma), two_rates(eta, config.sgd_rate * config.batch), config.extra_sigma),
    }


def part(config: Config, net: Chain, data: Images, name: str, learn: Learner, sigma: float | None) -> Program:
    """One method, evaluated at the end of each chunk."""

    def example(image: Array, label: Array) -> Example:
        return Example(scaled(image), jax.nn.one_hot(label, config.sizes[-1]))

    def fetch(index: Array) -> Example:
        return example(data.train[index], data.train_label[index])

    def evaluate(state: TrainingState) -> dict[str, Array]:
        params, traces = state.learner.params, state.learner.traces
        test, seen, digit = unfolded((data.test, data.train[: config.examples], data.train_label[: config.examples]))
        clean = forward(net, params["forward"], scaled(test))
        found = {"error": wrong(clean.h[-1], data.test_label)}
        if name != "bp":  # it has no feedback matrices of its own
            found |= alignment(net, params, example(seen, digit))._asdict()
        if sigma is not None:
            shapes = [(len(data.test), n) for n in config.sizes[1:-1]]
            xi = noise_of_shapes(jax.random.key(0), shapes, clean.h[1].dtype, "gaussian")
            noisy = perturbed_output(net, params["forward"], clean.h[1], [sigma * each for each in xi])
            found["noisy_error"] = wrong(noisy, data.test_label)
            if traces.second:
                found["rank"] = feedback_rank(traces, RANK_TOLERANCE)
                found["rank_full"] = jnp.array(config.sizes[2:])
        return found

    return training(
        len(data.train),
        fetch,
        learn,
        lambda key: init_params(key, net),
        evaluate,
        batch=config.batch,
        epochs=config.epochs,
        points=config.points,
    )


def wrong(output: Array, label: Array) -> Array:
    """Per cent of outputs whose largest entry is not the label's."""
    return 100 * jnp.mean(jnp.argmax(output, -1) != label)


def make_parts(config: Config) -> dict[str, Program]:
    """Every method, by name."""
    net = mlp(config.sizes, ("sigmoid", "sigmoid", "identity"))
    data = images(config.data, config.sizes[0])
    return {
        name: part(config, net, data, name, learner(rule, tx), sigma)
        for name, (rule, tx, sigma) in methods(config, net).items()
    }


def finals(metrics: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """What each method ends at, (seeds,), by method and then "error" or "relative_error_W2"."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for key, values in metrics.items():
        method, metric = key.split("/")
        if metric in UNITS:
            entries = {f"{metric}_{layer}": values[:, -1, i] for i, layer in enumerate(LAYERS)}
        else:
            entries = {metric: values[:, -1]} if metric in ("error", "noisy_error") else {}
        found.setdefault(method, {}).update(entries)
    return found


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final values by "method/metric", the paired differences that claims read, and ranks."""
    summary: dict[str, float] = {}
    ended = finals(metrics)
    for method, found in ended.items():
        for metric, values in found.items():
            put(summary, f"{method}/{metric}", values)
            if "fa" in ended and method != "fa" and metric != "noisy_error":
                sign = -1 if metric.startswith("sign") else 1
                put(summary, f"{method}/{metric}_better_than_fa", sign * (ended["fa"][metric] - values))
    noisy = [method for method in map(at, SIGMAS) if method in ended]
    if len(noisy) == len(SIGMAS):
        low, high = noisy[0], noisy[-1]
        for layer in LAYERS:
            lost = np.stack([ended[method][f"relative_error_{layer}"] for method in noisy])
            mean = lost.mean(1)
            inner, outer = 1 + int(mean[1:-1].argmin()), (0 if mean[0] < mean[-1] else -1)
            put(summary, f"optimum/{layer}", lost[outer] - lost[inner])
        for metric in ("error", "noisy_error"):
            put(summary, f"{high}-{low}/{metric}", ended[high][metric] - ended[low][metric])
        put(summary, "layers_apart", np.abs(ended[MIDDLE]["sign_congruence_W3"] - ended[MIDDLE]["sign_congruence_W2"]))
    if {MIDDLE, "np_forget"} <= set(ended):
        metric = "relative_error_W3"
        put(summary, f"{MIDDLE}-np_forget/{metric}", ended[MIDDLE][metric] - ended["np_forget"][metric])
    for method in ended:
        if f"{method}/rank" in metrics:
            for i, layer in enumerate(LAYERS):
                summary[f"{method}/rank_{layer}"] = float(metrics[f"{method}/rank"][:, -1, i].mean())
                summary[f"{method}/rank_full_{layer}"] = float(metrics[f"{method}/rank_full"][0, -1, i])
    return summary


def _below(name: str, statement: str, paper: float | str | None, bound: float, *metrics: str) -> Claim:
    """The largest of these entries of the summary is below a bound."""

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        worst = max(summary[metric] for metric in metrics)
        return worst, worst < bound

    return Claim(name, statement, paper, measure)


def _near_backprop(summary: Mapping[str, float]) -> tuple[float, bool]:
    gap = summary[f"{MIDDLE}/error"] - summary["bp/error"]
    return gap, gap < 1


def _rank_deficient(summary: Mapping[str, float]) -> tuple[float, bool]:
    (low, all_low), (top, all_top) = [
        (summary[f"{MIDDLE}/rank_{layer}"], summary[f"{MIDDLE}/rank_full_{layer}"]) for layer in LAYERS
    ]
    return low, low < all_low and top == all_top


def _claims() -> list[Claim]:
    every = [at(sigma) for sigma in SIGMAS]
    claims = []
    for metric, what in (
        ("relative_error", "the relative error of B is lower than feedback alignment's"),
        ("local_angle", "the local angle is smaller than feedback alignment's (degrees)"),
        ("true_angle", "the angle to the true gradient is smaller than feedback alignment's (degrees)"),
        ("sign_congruence", "the signs of B agree more with W's than feedback alignment's"),
    ):
        for layer in LAYERS:
            gaps = [f"{method}/{metric}_{layer}_better_than_fa" for method in every]
            statement = f"{layer}, node perturbation at every c: {what} (least paired gap)"
            claims.append(gap(f"{metric}-{layer}".replace("_", "-"), statement, None, *gaps))
    return [
        *claims,
        _below(
            "close-in-both-layers",
            "B comes close to W in both layers at c = 0.01: relative errors below 1, that of no feedback (the larger)",
            0.9,
            1.0,
            *(f"{MIDDLE}/relative_error_{layer}" for layer in LAYERS),
        ),
        *(
            gap(
                f"optimal-noise-{layer}",
                f"{layer}: an intermediate noise level has the lowest relative error (lead on the better extreme)",
                None,
                f"optimum/{layer}",
            )
            for layer in LAYERS
        ),
        _below(
            "sign-in-both-layers", "Sign congruence is comparable between layers (difference)", 0.1, 0.1, "layers_apart"
        ),
        gap(
            "error-below-fa",
            "Node perturbation at c = 0.01 ends with a lower test error than feedback alignment (points)",
            0.64,
            f"{MIDDLE}/error_better_than_fa",
        ),
        Claim(
            "error-near-bp",
            "Node perturbation at c = 0.01 ends within 1 point of backpropagation's test error (points)",
            0.99,
            _near_backprop,
        ),
        _below(
            "error-3",
            "Test error of node perturbation at c = 0.01 comes close to 3 % (below 4)",
            3.64,
            4.0,
            f"{MIDDLE}/error",
        ),
        _below(
            "all-converge",
            "All methods converge: test error below 15 % (the worst; printed is c = 0.1)",
            15.92,
            15.0,
            *(f"{method}/error" for method in ("bp", "fa", *every)),
        ),
        gap(
            "large-noise-hurts",
            "At c = 0.1 the network errs more than at c = 1e-4 (points, clean forward pass)",
            12.41,
            f"{every[-1]}-{every[0]}/error",
        ),
        gap(
            "large-noise-is-read-out",
            "Ours: at c = 0.1 it errs more where, as in the authors' code, the noise is left on (points)",
            12.41,
            f"{every[-1]}-{every[0]}/noisy_error",
        ),
        gap(
            "forgetting-ends-the-lag",
            "Ours: a ridge that forgets follows W3 more closely than one that does not (relative error, paired gap)",
            None,
            f"{MIDDLE}-np_forget/relative_error_W3",
        ),
        Claim(
            "rank-deficient",
            "Ours: the errors that W2's feedback is regressed on leave directions out, W3's do not (rank of 20, W2)",
            None,
            _rank_deficient,
        ),
    ]


CLAIMS = _claims()


def label(method: str) -> str:
    """Name in figure and table."""
    if not method.startswith("np_c"):
        return LABELS[method]
    return f"{LABELS['np']}, c = {float(method.removeprefix('np_c')):g}"


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The end of training in Markdown, and a warning for each layer whose regression lacks directions."""
    ended = finals(metrics)
    columns = ["error", "noisy_error", *(f"{metric}_{layer}" for metric in UNITS for layer in LAYERS)]
    lines = [["method", *(column.replace("_", " ") for column in columns)], ["---"] * (len(columns) + 1)]
    for method, found in ended.items():
        cells = ["{:.3g} ± {:.1g}".format(*mean_sem(found[column])) if column in found else "-" for column in columns]
        lines.append([label(method), *cells])
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + [""] + shortages(metrics))


def shortages(metrics: Mapping[str, np.ndarray]) -> list[str]:
    """One warning for each layer in which the ridge that does not forget lacks directions."""
    warnings = []
    for i, layer in enumerate(LAYERS):
        ranks = metrics[f"{MIDDLE}/rank"][:, -1, i] if f"{MIDDLE}/rank" in metrics else np.zeros(0)
        full = metrics[f"{MIDDLE}/rank_full"][0, -1, i] if len(ranks) else 0
        if np.any(ranks < full):
            warnings.append(
                f"warning: {layer}: the errors that its feedback is regressed on have taken {ranks.min()} of {full} "
                f"directions (above {RANK_TOLERANCE:g} of the strongest's power); B hardly learns in the others (A3)"
            )
    return warnings


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Curves over training, mean and standard error over seeds, and the two readings of the test error."""
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(key.split("/")[0] for key in metrics))
    shades = dict(zip(map(at, SIGMAS), ("#a6cee3", "#5aa2d0", COLOURS["np"], "#08306b"), strict=True))
    figure, axes = plt.subplots(2, 5, figsize=(19, 7.2), constrained_layout=True)
    handles = {}

    def curves(axis: Any, metric: str, column: int | None = None) -> None:
        for name in names:
            if f"{name}/{metric}" in metrics:
                values = metrics[f"{name}/{metric}"]
                values = values if column is None else values[..., column]
                colour = shades.get(name) or COLOURS.get(name, COLOURS["np"])
                handles[label(name)] = draw(axis, metrics[f"{name}/epoch"][0], values, color=colour)
        axis.set_xlabel("epochs of 1,000 steps")

    for row, layer in enumerate(LAYERS):
        for axis, (metric, unit) in zip(axes[row], UNITS.items(), strict=False):
            curves(axis, metric, row)
            same = metric == "true_angle" and layer == LAYERS[-1]
            axis.set(title=f"{layer} (as the local angle, at the top)" if same else layer, ylabel=unit)
            axis.set_ylim(*((0.4, 1) if metric == "sign_congruence" else (0, None)))
    curves(axes[0, 4], "error")
    axes[0, 4].set(title="test error, clean forward pass", ylabel="test error (%)", yscale="log")
    low, high = axes[0, 4].get_ylim()
    ticks = [tick for tick in (3, 4, 6, 8, 10, 15, 20, 30, 40, 60, 80) if low <= tick <= high]
    axes[0, 4].set_yticks(ticks, [str(tick) for tick in ticks])
    axes[0, 4].minorticks_off()
    levels = [name for name in names if name.startswith("np_c")]
    for shift, metric, hatch, what in ((-0.2, "error", "", "clean"), (0.2, "noisy_error", "///", "with the noise on")):
        mean, error = zip(*(mean_sem(metrics[f"{name}/{metric}"][:, -1]) for name in levels), strict=True)
        axes[1, 4].bar(
            np.arange(len(levels)) + shift,
            mean,
            0.38,
            yerr=error,
            hatch=hatch,
            label=what,
            capsize=3,
            color=[shades.get(name, COLOURS["np"]) for name in levels],
            edgecolor="white",
        )
    axes[1, 4].set_xticks(range(len(levels)), [f"{float(name.removeprefix('np_c')):g}" for name in levels])
    axes[1, 4].set(title="node perturbation: final test error", xlabel="noise level c", ylabel="test error (%)")
    axes[1, 4].legend(frameon=False)
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=5, frameon=False)
    seeds = metrics["bp/error"].shape[0]
    figure.suptitle(f"Lansdell, Prakash & Kording (2020), Figure 2: mean and standard error over {seeds} seeds")
    return figure


experiment = Experiment(
    title="Figure 2: MNIST with feedback learned by node perturbation, feedback alignment, matching and "
    "backpropagation",
    cost={
        "smoke": "20 seconds, most of it compilation",
        "default": "4 seeds x 60 epochs, ten minutes on two cores with much other work beside it",
        "paper": "5 seeds x 2,000 epochs: three to seven hours on two cores, in resumable pieces of seconds",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
    text=text,
)
