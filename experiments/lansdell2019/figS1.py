"""Supplementary figure 1 of Lansdell, Prakash & Kording (2020): feedback regressed on MNIST at fixed weights.

Panels a to c: relative error, angle and sign congruence in 784-50-20-10 at three noise levels. Panels d and e: error
and angle for first hidden layers of N neurons, in 784-N-10 and 784-N-50-10. Dashed: theory, by the moments
of exact errors on MNIST (`experiments.lansdell2019.fixed_weights`); panel f shows why W2's feedback converges so late.
W2 and W3 are the second and third layers' weights, each with its B.

It is rank, not a distortion that builds up from layer to layer: ten outputs excite hardly more than ten of the twenty
directions that the errors for W2's B have. In the others B^ is noise for billions of samples, which harms nothing: no
error takes them, so that credit is right. Theory has the errors exact, but those of the run are carried by B3 as it is:
while it is poor its errors excite the weak directions, and they stay in the sums. W2's B errs less than theory has it
for that.

All noise levels share the draws of W, which matter more than c; the authors drew W anew for each c, and once for all
repeats. Batches are of 1024, not 32, for sums do not care and W does not move: B is set anew 32 times less often.
Float32, the sums compensated. Biases are zero and have no noise and no feedback.
"""

import dataclasses
import fnmatch
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lansdell2019.common import COLOURS
from experiments.lansdell2019.fixed_weights import HELD, drawn_weights, expected, layers_of, regression, second_order
from experiments.shared.images import Images, images, scaled
from plasticity_jax.base import Learner, learner
from plasticity_jax.data import looking_up, minibatches
from plasticity_jax.diagnostics.alignment import alignment
from plasticity_jax.layers import Chain, init_params
from plasticity_jax.networks import mlp
from plasticity_jax.rules.feedback import node_perturbation
from plasticity_jax.run import Claim, Experiment, Program, put
from plasticity_jax.typing import Array, Example, Key, Params

PAPER_SAMPLES = 32_000_000  # of panels a to c
METRICS = ("relative_error", "sign_congruence", "local_angle", "true_angle")


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings. Samples are multiples of batch times points.

    Attributes:
      seeds: draws of weights and batches, shared by all noise levels.
      data: "mnist" or "prototypes" (random, no files).
      sizes: the network of panels a to c.
      sigmas: its noise levels c, increasing.
      samples: seen there.
      widths: N of panels d and e.
      second: neurons of the second hidden layer there.
      width_sigma: c there.
      width_samples: seen there.
      batch: images to a step.
      points: of each curve.
      ridge: gamma.
      examples: images on which angles are taken.
      exact: images from which theory takes its moments.
    """

    seeds: int = 5
    data: str = "mnist"
    sizes: tuple[int, int, int, int] = (784, 50, 20, 10)
    sigmas: tuple[float, ...] = (1e-3, 1e-2, 1e-1)
    samples: int = 1_048_576
    widths: tuple[int, ...] = (30, 100, 300, 1000)
    second: int = 50
    width_sigma: float = 1e-3
    width_samples: int = 131_072
    batch: int = 1024
    points: int = 32
    ridge: float = 0.1
    examples: int = 1000
    exact: int = 10_000

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.points < 2 or not self.sigmas or not self.widths:
            raise ValueError("seeds must be at least 1, points at least 2, and sigmas and widths name one each")


PRESETS = {
    "smoke": Config(
        seeds=2,
        data="prototypes",
        sizes=(36, 12, 14, 10),
        sigmas=(1e-2, 1e-1),
        samples=8192,
        widths=(8, 16),
        second=14,
        width_samples=4096,
        batch=512,
        points=4,
        examples=200,
        exact=1000,
    ),
    "default": Config(),
    "paper": Config(samples=32_768_000, width_samples=65_536_000, points=500),
}


def networks(config: Config) -> dict[str, tuple[tuple[int, ...], tuple[float, ...], int]]:
    """Sizes, noise levels and samples of every part."""
    pixels, classes = config.sizes[0], config.sizes[-1]
    one = ((config.width_sigma,), config.width_samples)
    return {
        "noise": (config.sizes, config.sigmas, config.samples),
        **{f"shallow.{n}": ((pixels, n, classes), *one) for n in config.widths},
        **{f"deep.{n}": ((pixels, n, config.second, classes), *one) for n in config.widths},
    }


def network(sizes: tuple[int, ...]) -> Chain:
    """Sigmoid, with a linear output and squared error."""
    return mlp(sizes, ("sigmoid",) * (len(sizes) - 2) + ("identity",))


def fetching(data: Images, classes: int) -> Callable[[Array], Example]:
    """``indices -> examples``."""
    return lambda index: Example(scaled(data.train[index]), jax.nn.one_hot(data.train_label[index], classes))


def part(config: Config, data: Images, sizes: tuple[int, ...], sigmas: tuple[float, ...], samples: int) -> Program:
    """A network at its noise levels; metrics (points, sigmas, layers)."""
    net, fetch = network(sizes), fetching(data, sizes[-1])

    def make(sigma: Array) -> Learner:
        rule = node_perturbation(net, sigma=sigma, estimator="ridge", ridge=config.ridge)
        return looking_up(learner(rule, HELD), fetch)

    def evaluate(params: Params) -> Mapping[str, Array]:
        found = alignment(net, params, fetch(jnp.arange(config.examples)))
        return {name: getattr(found, name) for name in METRICS}

    return regression(
        make,
        drawing(sizes),
        minibatches(len(data.train), config.batch),
        evaluate,
        sigmas=sigmas,
        samples=samples,
        batch=config.batch,
        points=config.points,
    )


def drawing(sizes: tuple[int, ...]) -> Callable[[Key], Params]:
    """``key -> params``, the authors' draw but for the biases."""
    return lambda key: init_params(key, network(sizes))


def make_parts(config: Config) -> dict[str, Program]:
    """Every part by name."""
    data = images(config.data, config.sizes[0])
    return {name: part(config, data, *setting) for name, setting in networks(config).items()}


def measure(config: Config, progress: bool) -> dict[str, np.ndarray]:
    """What theory expects of every part, (seeds, points, 1, layers), and the spectra of errors, (seeds, n)."""
    data = images(config.data, config.sizes[0])
    found: dict[str, list[np.ndarray]] = {}
    for name, (sizes, sigmas, samples) in networks(config).items():
        some = fetching(data, sizes[-1])(jnp.arange(min(config.exact, len(data.train))))
        counts = np.append(samples // config.points * np.arange(1, config.points + 1), PAPER_SAMPLES)
        for seed in range(config.seeds):
            layers = layers_of(network(sizes), drawn_weights(drawing(sizes), seed), some)
            curves = []
            for layer in layers:
                extra = second_order(layer.w, sigmas[0]) if len(layers) == 1 else 0.0
                curves.append(expected(layer, counts, config.ridge, extra=extra))
            for metric in ("error", "angle"):
                values = np.stack([getattr(curve, metric) for curve in curves], -1)[:, None]
                found.setdefault(f"{name}/expected_{metric}", []).append(values[:-1])
                found.setdefault(f"{name}/expected_{metric}_at_paper", []).append(values[-1:])
            if name == "noise":
                for k, layer in enumerate(layers):
                    values = np.linalg.eigvalsh(layer.error.T @ layer.error)[::-1]
                    found.setdefault(f"noise/spectrum_W{k + 2}", []).append(values / values[0])
    return {name: np.stack(values) for name, values in found.items()}


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Ends of all curves by "part/Wk", with c in panels a to c; theory's; ratios of measured to expected."""
    summary: dict[str, float] = {}
    for name in [name for name in metrics if name.endswith("/relative_error")]:
        part = name.removesuffix("/relative_error")
        sigmas, layers = metrics[f"{part}/sigma"][0, 0], metrics[name].shape[3]
        for k in range(layers):
            for i, sigma in enumerate(sigmas):
                where = f"{part}/c={sigma:.3g}/W{k + 2}" if part == "noise" else f"{part}/W{k + 2}"
                for metric in METRICS:
                    put(summary, f"{where}/{metric}", metrics[f"{part}/{metric}"][:, -1, i, k])
                if f"{part}/expected_error" in metrics:
                    ratio = metrics[name][:, -1, i, k] / metrics[f"{part}/expected_error"][:, -1, 0, k]
                    put(summary, f"{where}/over_expected", ratio)
            for metric in ("error", "angle"):
                for when in ("", "_at_paper"):
                    if f"{part}/expected_{metric}{when}" in metrics:
                        values = metrics[f"{part}/expected_{metric}{when}"][:, -1, 0, k]
                        put(summary, f"{part}/W{k + 2}/expected_{metric}{when}", values)
    errors = metrics["noise/relative_error"][:, -1, :, -1]
    put(summary, "noise/W3/spread_over_c", errors.max(1) / errors.min(1))
    summary["noise/W3/spread_over_draws"] = float((errors.max(0) / errors.min(0)).mean())
    if "noise/spectrum_W2" in metrics:
        outputs = metrics["noise/spectrum_W3"].shape[1]
        put(summary, "noise/W2/eigenvalue_beyond_outputs", metrics["noise/spectrum_W2"][:, outputs])
    return summary


INF = float("inf")
CHECKS = (  # id, statement, the paper's number, bounds of all numbers of the summary that the pattern names
    (
        "top-error",
        "B3 becomes W3 to 0.8 % (error at the end of the run, any c; below 1.6 %)",
        *(0.008, -INF, 0.016, "noise/c=*/W3/relative_error"),
    ),
    (
        "top-expected",
        "The same, as theory has it at the paper's 3.2e7 samples",
        *(0.008, -INF, 0.016, "noise/W3/expected_error_at_paper"),
    ),
    (
        "top-theory",
        "Error of B3 over theory's, all c, within (0.9, 1.1) (sampling error 7 %: one weak direction has most of it)",
        *(None, 0.9, 1.1, "noise/c=*/W3/over_expected"),
    ),
    ("same-over-c", "Noise levels give equal accuracy (largest B3 error over least)", None, 0, 1.1, "*/spread_over_c"),
    ("lower-worse", "B2 is less accurate (its error, any c, above 0.5)", 0.6, 0.5, INF, "noise/c=*/W2/relative_error"),
    (
        "lower-rank",
        "Why: the 11th eigenvalue of the errors that B2 is regressed on is below 1e-3 of the first",
        *(None, -INF, 1e-3, "noise/W2/eigenvalue_beyond_outputs"),
    ),
    ("angle-top", "W3's credit is within 2 degrees of the gradient", 0.2, -INF, 2, "noise/c=*/W3/true_angle"),
    ("angle-lower", "W2's credit is within 10 degrees of the gradient", 1.0, -INF, 10, "noise/c=*/W2/true_angle"),
    ("signs-top", "Signs of B3 are those of W3 (fraction, above 0.9)", 0.99, 0.9, INF, "noise/c=*/W3/sign_congruence"),
    ("signs-lower", "Signs of B2 are W2's in part (above 0.55)", 0.82, 0.55, INF, "noise/c=*/W2/sign_congruence"),
    ("width-theory", "784-N-10: error over theory's, all N, (0.9, 1.1)", None, 0.9, 1.1, "shallow.*/W2/over_expected"),
    ("width-theory-deep", "784-N-50-10: the same for W3", None, 0.9, 1.1, "deep.*/W3/over_expected"),
    (
        "width-useful",
        "784-N-50-10: W2's credit is of use at all N (angle below 80)",
        None,
        -INF,
        80,
        "deep.*/W2/true_angle",
    ),
)


def _claim(name: str, statement: str, paper: float | None, low: float, high: float, pattern: str) -> Claim:
    """What is measured is the number nearest to leaving the bounds."""

    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        values = [summary[key] for key in fnmatch.filter(summary, pattern)]
        worst = min(values, key=lambda value: min(value - low, high - value), default=float("nan"))
        return worst, low < worst < high

    return Claim(name, statement, paper, check)


def _wider(metric: str) -> Callable[[Mapping[str, float]], tuple[float, bool]]:
    """The number grows with N; what is measured is the ratio of the widest to the narrowest."""

    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        keys = [key for key in summary if fnmatch.fnmatch(key, f"shallow.*/W2/{metric}")]
        values = [summary[key] for key in sorted(keys, key=lambda key: int(key.split("/")[0].partition(".")[2]))]
        return values[-1] / values[0], values == sorted(values)

    return check


CLAIMS = [_claim(*check) for check in CHECKS]
CLAIMS += [
    Claim("width-error", "784-N-10: error grows with N (N = 1000 over 30)", 10.8, _wider("relative_error")),
    Claim("width-angle", "784-N-10: angle grows with N (N = 1000 over 30)", 6.5, _wider("true_angle")),
]


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Six panels: mean and standard error over draws, and theory as dashed lines."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(15, 8.6), constrained_layout=True)
    colours = [COLOURS[name] for name in ("np", "fa", "matching", "np_forget", "adam")]
    samples, sigmas = metrics["noise/samples"][0, :, 0], metrics["noise/sigma"][0, 0]
    shown = np.unique(np.geomspace(1, len(samples), 10).round().astype(int)) - 1
    labels = {
        "relative_error": "relative error of B",
        "true_angle": "angle to the gradient (degrees)",
        "sign_congruence": "sign congruence (fraction)",
    }

    def spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return values.mean(0), values.std(0) / max(1, len(values) - 1) ** 0.5

    for axis, metric in zip(axes[0], labels, strict=True):
        for k, marker in ((0, "s"), (1, "o")):
            for i, sigma in enumerate(sigmas):
                mean, sem = spread(metrics[f"noise/{metric}"][:, shown, i, k])
                at = samples[shown] * 1.06 ** (i - (len(sigmas) - 1) / 2)
                axis.errorbar(
                    *(at, mean, sem),
                    fmt=marker,
                    ms=4,
                    color=colours[i],
                    mfc="none" if k == 0 else None,
                    label=f"W{k + 2}, c = {sigma:g}",
                )
            theory = {"relative_error": "error", "true_angle": "angle"}.get(metric)
            if f"noise/expected_{theory}" in metrics:
                axis.plot(samples, metrics[f"noise/expected_{theory}"][:, :, 0, k].mean(0), "--", color="black", lw=1.1)
        axis.set(xscale="log", xlabel="samples", ylabel=labels[metric])
        if metric == "sign_congruence":
            axis.axhline(0.5, color="0.5", ls=":", lw=1)
        else:
            axis.set_yscale("log")
    names = {kind: [name for name in metrics if name.startswith(f"{kind}.")] for kind in ("shallow", "deep")}
    widths = sorted({int(name.split("/")[0].partition(".")[2]) for name in names["shallow"]})
    for axis, metric, theory in zip(axes[1], ("relative_error", "true_angle"), ("error", "angle"), strict=False):
        for kind, k, colour, marker, label in (
            ("shallow", 0, colours[0], "o", "N-10: W2"),
            ("deep", 1, colours[2], "^", "N-50-10: W3"),
            ("deep", 0, colours[1], "s", "N-50-10: W2"),
        ):
            mean, sem = np.array([spread(metrics[f"{kind}.{n}/{metric}"][:, -1, 0, k]) for n in widths]).T
            axis.errorbar(widths, mean, sem, fmt=marker, ms=5, color=colour, label=label)
            if f"{kind}.{widths[0]}/expected_{theory}" in metrics:
                line = [metrics[f"{kind}.{n}/expected_{theory}"][:, -1, 0, k].mean() for n in widths]
                axis.plot(widths, line, "--", color=colour, lw=1.1)
        axis.set(xscale="log", yscale="log", xlabel="neurons N of the first hidden layer", ylabel=labels[metric])
        axis.set_title(f"after {metrics[f'deep.{widths[0]}/samples'][0, -1, 0]:,.0f} samples")
    last = axes[1, 2]
    for k, colour, marker in ((0, colours[1], "s"), (1, colours[2], "^")):
        if f"noise/spectrum_W{k + 2}" in metrics:
            values = metrics[f"noise/spectrum_W{k + 2}"].clip(1e-12)
            mean = np.exp(np.log(values).mean(0))
            last.plot(np.arange(1, len(mean) + 1), mean, marker, color=colour, ms=4, label=f"errors that B{k + 2} sees")
    last.set(yscale="log", xlabel="direction", ylabel="eigenvalue of E e e^T / largest", title="why W2 is late")
    last.xaxis.get_major_locator().set_params(integer=True)
    for axis, letter in zip(axes.flat, "abcdef", strict=True):
        if axis is axes[0, 0]:
            axis.legend(frameon=False, fontsize=8, ncols=2, loc=(0.03, 0.4))
        elif axis not in axes[0]:
            axis.legend(frameon=False, fontsize=8)
        axis.grid(alpha=0.2, which="both", lw=0.5)
        axis.text(-0.12, 1.03, letter, transform=axis.transAxes, weight="bold", fontsize=13)
    figure.suptitle(
        "Lansdell, Prakash & Kording (2020), supplementary figure 1: feedback at fixed weights. Mean and "
        f"standard error over {len(metrics['noise/samples'])} draws; dashed: theory"
    )
    return figure


experiment = Experiment(
    title="Supplementary figure 1: feedback becomes the fixed weights on MNIST, by noise level and by width",
    cost={
        "smoke": "half a minute, nearly all of it compilation",
        "default": "5 draws, 1e6 samples by noise level and 1.3e5 by width: eight minutes on two shared cores",
        "paper": "3.3e7 samples by noise level and 6.6e7 by width, in pieces: for an accelerator",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
    measure=measure,
)
