"""Figure 3 of Lansdell, Prakash & Kording (2020): an autoencoder of MNIST with a bottleneck of two units.

784-200-2-200-784 (tanh, identity, tanh, relu), squared error, batches of 32; node perturbation learns its feedback by
SGD. "Tuned" rates are those of the authors' random searches; node perturbation's own rate is run beside them. Losses
are half the squared error, summed over the pixels of 32 test images, as printed.

The authors compare networks of different sizes: their code has 50 hidden units for node perturbation and matching, 200
for the others. Here all have 200. Two controls are not in the paper. Noise on the hidden layers under backpropagation,
which is in their repository and makes up most of node perturbation's lead there. And a rate that rises over the first
1,000 steps: for the first few steps of plain backpropagation overshoot, and half or more of the rectified outputs fall
silent on every image; at the tuned rate it may be all of them, and for good. Started gently, backpropagation learns
faster than node perturbation. The default is a small part of the paper's 1,000 epochs: it judges who learns fast, not
where each would end, and is too short to overfit.
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
from plasticity_jax.base import Info, Learner, LearningRule, learner
from plasticity_jax.diagnostics.alignment import alignment
from plasticity_jax.layers import Chain, forward, init_params, loss_and_credit, perturbed_output
from plasticity_jax.networks import mlp
from plasticity_jax.ops.noise import noise_of_shapes
from plasticity_jax.rules import feedback
from plasticity_jax.run import Claim, Experiment, Program, gap, mean_sem, put
from plasticity_jax.run.program import TrainingState
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Updates

SUMMED = 32  # test images over which a printed loss is summed
SHOWN = 8  # test images whose reconstructions are drawn
SCATTERED = 1000  # test images in the scatter of the latent space
FED_BACK = ("fa", "fa_tuned", "matching", "np")  # methods with feedback matrices of their own


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings, those of the authors' code; its rates are for sums over a batch.

    Attributes:
      seeds: networks and batches, shared by all methods.
      data: "mnist" or "prototypes" (random, no files).
      sizes: widths, from the pixels to the pixels; the third is the bottleneck, which the scatter needs of two units.
      batch: examples in a step.
      epochs: of 1,000 steps.
      points: evaluations, evenly spaced; so many chunks.
      rate: of node perturbation, and of the runs that share it.
      feedback_rate: beta of node perturbation.
      sigma: c of node perturbation.
      bp_rate: tuned, of backpropagation.
      fa_rate: tuned, of feedback alignment.
      matching_rate: tuned.
      adam_rate: tuned.
      activity_noise: standard deviation, for the noisy control.
      rise: steps over which the rate rises to its value, for the control that is warmed up.
    """

    seeds: int = 4
    data: str = "mnist"
    sizes: tuple[int, int, int, int, int] = (784, 200, 2, 200, 784)
    batch: int = 32
    epochs: int = 12
    points: int = 6
    rate: float = 1e-4
    feedback_rate: float = 8e-6
    sigma: float = 0.018942
    bp_rate: float = 3.728e-4
    fa_rate: float = 3.472e-6
    matching_rate: float = 1.994e-4
    adam_rate: float = 1.411e-4
    activity_noise: float = 0.1
    rise: int = EPOCH

    def __post_init__(self) -> None:
        if min(self.seeds, self.batch, *self.sizes) < 1:
            raise ValueError("seeds, batch and sizes must be at least 1")
        check_schedule(self.epochs, self.points)
        if self.sizes[2] != 2 or self.sizes[0] != self.sizes[-1]:
            raise ValueError(f"sizes={self.sizes} must have two units in the middle and as many outputs as inputs")
        if round(self.sizes[0] ** 0.5) ** 2 != self.sizes[0]:
            raise ValueError(f"sizes={self.sizes} must begin with the pixels of a square image")


PRESETS = {
    "smoke": Config(seeds=2, data="prototypes", sizes=(64, 20, 2, 20, 64), epochs=1, points=2),
    "default": Config(),
    "paper": Config(seeds=3, epochs=1000, points=250),
}


def noisy_backprop(net: Chain, sigma: float) -> LearningRule:
    """The gradient of the loss of a forward pass with noise on all hidden layers, as node perturbation's but larger."""

    def init(params: Params, key: Key, batch: Example) -> tuple[()]:
        return ()

    def update(params: Params, traces: tuple[()], key: Key, batch: Example) -> tuple[Updates, tuple[()], Info]:
        shapes = [(len(batch.x), *shape) for shape in net.h_shapes[1:-1]]
        xi = noise_of_shapes(key, shapes, batch.x.dtype, "gaussian")

        def loss(weights: PyTree) -> tuple[Array, Array]:
            first = forward(net, weights, batch.x).h[1]
            output = perturbed_output(net, weights, first, [sigma * each for each in xi])
            return jnp.mean(loss_and_credit(net, output, batch.y)[0]), output

        (value, output), gradients = jax.value_and_grad(loss, has_aux=True)(params["forward"])
        updates = {"forward": gradients, "feedback": jax.tree.map(jnp.zeros_like, params["feedback"])}
        return updates, (), Info(value, jnp.asarray(True), {"output": output})

    return LearningRule(init, update)


def methods(config: Config, net: Chain) -> dict[str, tuple[LearningRule, optax.GradientTransformation]]:
    """Rule and optimiser of every method."""

    def sgd(rate: float, rise: int = 0) -> optax.GradientTransformation:
        rate *= config.batch  # the library's updates are means
        return optax.sgd(optax.linear_schedule(0, rate, rise) if rise else rate)

    exact, fixed = feedback.backprop(net), feedback.feedback_alignment(net)
    return {
        "bp": (exact, sgd(config.rate)),
        "bp_tuned": (exact, sgd(config.bp_rate)),
        "bp_noise": (noisy_backprop(net, config.activity_noise), sgd(config.bp_rate)),
        "bp_warm": (exact, sgd(config.bp_rate, config.rise)),
        "adam": (exact, optax.adam(config.adam_rate)),
        "fa": (fixed, sgd(config.rate)),
        "fa_tuned": (fixed, sgd(config.fa_rate)),
        "matching": (feedback.matching(net), sgd(config.matching_rate)),
        "np": (
            feedback.node_perturbation(net, sigma=config.sigma),
            two_rates(config.rate * config.batch, config.feedback_rate * config.batch),
        ),
    }


def start(key: Key, net: Chain, sizes: tuple[int, ...]) -> Params:
    """The authors' initial weights: biases are drawn as the weights are, from normals of variance 2 / n_in."""
    key_weights, key_biases = jax.random.split(key)
    params = init_params(key_weights, net)
    keys = jax.random.split(key_biases, len(sizes) - 1)
    bias = [(2 / n) ** 0.5 * jax.random.normal(k, (m,)) for k, n, m in zip(keys, sizes[:-1], sizes[1:], strict=True)]
    return {**params, "forward": {**params["forward"], "bias": tuple(bias)}}


def same_as_nearest(latent: Array, label: Array) -> Array:
    """Per cent of points whose nearest other point is of their class, shape ()."""
    distance = jnp.sum((latent[:, None] - latent[None]) ** 2, -1)
    nearest = jnp.argmin(jnp.where(jnp.eye(len(latent), dtype=bool), jnp.inf, distance), 1)
    return 100 * jnp.mean(label[nearest] == label)


def part(config: Config, net: Chain, data: Images, name: str, learn: Learner) -> Program:
    """One method, evaluated at the end of each chunk."""

    def fetch(index: Array) -> Example:
        image = scaled(data.train[index])
        return Example(image, image)

    def evaluate(state: TrainingState) -> dict[str, Array]:
        params = state.learner.params
        test = scaled(unfolded(data.test))
        h = forward(net, params["forward"], test).h
        lit = jnp.any(test > 0, 0)
        found = {
            "test_loss": SUMMED * 0.5 * jnp.mean(jnp.sum((h[-1] - test) ** 2, -1)),
            "separation": same_as_nearest(h[2][:SCATTERED], data.test_label[:SCATTERED]),
            "silent": 100 * jnp.sum(jnp.all(h[-1] == 0, 0) & lit) / jnp.sum(lit),
            "latent": h[2][:SCATTERED],
            "digit": data.test_label[:SCATTERED].astype(jnp.uint8),
            "reconstruction": (255 * jnp.clip(h[-1][:SHOWN], 0, 1)).astype(jnp.uint8),
            "image": data.test[:SHOWN],
        }
        if name in FED_BACK:
            some = Example(test[:SCATTERED], test[:SCATTERED])
            found["true_angle"] = alignment(net, params, some).true_angle
        return found

    return training(
        len(data.train),
        fetch,
        learn,
        lambda key: start(key, net, config.sizes),
        evaluate,
        batch=config.batch,
        epochs=config.epochs,
        points=config.points,
        measure=lambda info, batch: {"train_loss": SUMMED * info.loss},
    )


def make_parts(config: Config) -> dict[str, Program]:
    """Every method, by name."""
    net = mlp(config.sizes, ("tanh", "identity", "tanh", "relu"))
    data = images(config.data, config.sizes[0])
    return {name: part(config, net, data, name, learner(rule, tx)) for name, (rule, tx) in methods(config, net).items()}


GAPS = (
    *((worse, better) for worse in ("fa", "fa_tuned") for better in ("np", "adam", "bp", "bp_tuned")),
    *(("bp_tuned", better) for better in ("np", "bp_noise", "bp_warm")),
    ("bp", "np"),
    ("np", "bp_warm"),
)
"""Methods whose paired differences are put in the summary, as "worse-better"."""


def table(metrics: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """What each method comes to, (seeds,), by method."""
    rows = {}
    for method in dict.fromkeys(key.split("/")[0] for key in metrics):
        loss = metrics[f"{method}/test_loss"]
        with np.errstate(invalid="ignore"):
            rows[method] = {
                "loss": loss.min(1),
                "rise": 100 * (loss[:, -1] / loss.min(1) - 1),
                "separation": metrics[f"{method}/separation"][:, -1],
                "silent": metrics[f"{method}/silent"][:, -1],
            }
        if method in FED_BACK:
            rows[method]["angle"] = metrics[f"{method}/true_angle"][:, -1, 0]
    return rows


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Least test loss and final values by "method/metric", and the differences that claims read."""
    summary: dict[str, float] = {}
    rows = table(metrics)
    pixels = metrics["np/image"].shape[-1]
    for method, row in rows.items():
        for metric, values in row.items():
            put(summary, f"{method}/{metric}", values)
        put(summary, f"{method}/squared_error_per_pixel", row["loss"] * 2 / (SUMMED * pixels))
    for worse, better in GAPS:
        put(summary, f"{worse}-{better}/loss", rows[worse]["loss"] - rows[better]["loss"])
        put(summary, f"{worse}-{better}/silent", rows[worse]["silent"] - rows[better]["silent"])
        put(summary, f"{better}-{worse}/separation", rows[better]["separation"] - rows[worse]["separation"])
    for fixed in ("fa", "fa_tuned"):
        put(summary, f"{fixed}-np/angle", rows[fixed]["angle"] - rows["np"]["angle"])
    return summary


def _near(name: str, statement: str, paper: float, one: str, other: str, bound: float) -> Claim:
    """The loss of one is within so many per cent of the other's."""

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        excess = 100 * (summary[f"{one}/loss"] / summary[f"{other}/loss"] - 1)
        return excess, abs(excess) <= bound

    return Claim(name, statement, paper, measure)


def _overfits(summary: Mapping[str, float]) -> tuple[float, bool]:
    return summary["adam/rise"], summary["adam/rise"] > 1 > summary["np/rise"]


def _share_of_noise(summary: Mapping[str, float]) -> tuple[float, bool]:
    share = summary["bp_tuned-bp_noise/loss"] / summary["bp_tuned-np/loss"]
    return share, share > 0.5 and summary["bp_tuned-np/loss"] > 2 * summary["bp_tuned-np/loss_sem"]


CLAIMS = [
    gap(
        "fa-poor",
        "Feedback alignment's least test loss is above backpropagation's, both at tuned rates",
        149.4,
        "fa_tuned-bp_tuned/loss",
    ),
    gap(
        "fa-poor-same-rate",
        "Feedback alignment's least test loss is above backpropagation's, both at node perturbation's rate",
        None,
        "fa-bp/loss",
    ),
    gap(
        "fa-worse-than-np",
        "Feedback alignment's least test loss, at its tuned rate, is above node perturbation's",
        243.9,
        "fa_tuned-np/loss",
    ),
    gap(
        "fa-worse-than-np-same-rate",
        "Feedback alignment's least test loss is above node perturbation's, both at the latter's rate",
        None,
        "fa-np/loss",
    ),
    gap(
        "np-better-than-bp",
        "Node perturbation's least test loss is below backpropagation's at its tuned rate",
        94.5,
        "bp_tuned-np/loss",
    ),
    gap(
        "np-better-than-bp-same-rate",
        "Node perturbation's least test loss is below backpropagation's, both at the former's rate",
        None,
        "bp-np/loss",
    ),
    _near("np-near-adam", "Node perturbation is comparable to Adam (excess, within 5 %)", -4.3, "np", "adam", 5),
    _near(
        "matching-near-bp",
        "Matching performs similarly to backpropagation, both tuned (excess, within 10 %)",
        5.5,
        "matching",
        "bp_tuned",
        10,
    ),
    Claim(
        "adam-overfits", "Adam's test loss rises by 1 % over its minimum, node perturbation's does not", None, _overfits
    ),
    *(
        gap(
            f"separation-{method}",
            f"{LABELS[method]} separates the digits in the latent space better than feedback alignment does (points)",
            None,
            f"{method}-fa_tuned/separation",
        )
        for method in ("np", "bp_tuned", "adam")
    ),
    gap(
        "errors-pass-the-bottleneck",
        "Below the bottleneck node perturbation errs less in direction than feedback alignment, tuned or not (degrees)",
        None,
        "fa_tuned-np/angle",
        "fa-np/angle",
    ),
    gap(
        "noise-helps-bp",
        "Ours: noise on the activity lowers the loss of backpropagation (72.9 in the authors' repository)",
        None,
        "bp_tuned-bp_noise/loss",
    ),
    Claim(
        "noise-is-most-of-it",
        "Ours: noise makes up more than half of node perturbation's lead over backpropagation (share; theirs 0.77)",
        None,
        _share_of_noise,
    ),
    gap(
        "outputs-fall-silent",
        "Ours: at the tuned rate backpropagation silences more outputs than if its rate rises slowly (per cent)",
        None,
        "bp_tuned-bp_warm/silent",
    ),
    gap(
        "warm-bp-beats-np",
        "Ours: backpropagation whose rate rises over the first epoch reaches a lower loss than node perturbation",
        None,
        "np-bp_warm/loss",
    ),
]


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """The results in Markdown."""
    heads = {
        "loss": "least test loss (1/2 SSE of 32 images)",
        "rise": "rise since (%)",
        "separation": "nearest neighbour of the same digit (%)",
        "angle": "angle to the gradient below the bottleneck (degrees)",
        "silent": "silent outputs, of the pixels that are ever lit (%)",
    }
    lines = [["method", *heads.values(), "squared error per pixel"], ["---"] * (len(heads) + 2)]
    pixels = metrics["np/image"].shape[-1]
    for method, row in table(metrics).items():
        cells = ["{:.4g} ± {:.2g}".format(*mean_sem(row[head])) if head in row else "-" for head in heads]
        lines.append([LABELS[method], *cells, f"{mean_sem(row['loss'])[0] * 2 / (SUMMED * pixels):.4f}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def plot(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Test loss and silent outputs over training; latent space and reconstructions of the first seed."""
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(key.split("/")[0] for key in metrics))
    seeds = len(metrics["np/test_loss"])
    curves, axes = plt.subplots(1, 2, figsize=(13, 5.2), constrained_layout=True)
    for axis, metric, unit in zip(
        axes,
        ("test_loss", "silent"),
        ("test loss (1/2 SSE, sum over 32 images)", "lit pixels whose output is always zero (%)"),
        strict=True,
    ):
        for name in names:
            draw(
                axis, metrics[f"{name}/epoch"][0], metrics[f"{name}/{metric}"], color=COLOURS[name], label=LABELS[name]
            )
        axis.set(xlabel="epochs of 1,000 steps", ylabel=unit)
    curves.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    curves.suptitle(f"Lansdell, Prakash & Kording (2020), Figure 3a: mean and standard error over {seeds} seeds")

    side = round(metrics["np/image"].shape[-1] ** 0.5)
    pictures, axes = plt.subplots(
        2, len(names), figsize=(2.3 * len(names), 7.6), constrained_layout=True, height_ratios=(1, 2.3)
    )
    for column, name in enumerate(names):
        latent, digit = metrics[f"{name}/latent"][0, -1], metrics[f"{name}/digit"][0, -1]
        for d in range(10):
            shown = latent[digit == d][:60]
            axes[0, column].scatter(*shown.T, s=12, lw=0.4, marker=f"${d}$", color=f"C{d}")
        axes[0, column].set_title(LABELS[name].replace(", ", ",\n").replace("feedback ", "feedback\n"), fontsize=10)
        axes[0, column].set(xticks=[], yticks=[], xlabel="latent 1", ylabel="latent 2" if column == 0 else "")
        pairs = [
            np.hstack([metrics[f"{name}/{what}"][0, -1, i].reshape(side, side) for what in ("image", "reconstruction")])
            for i in range(SHOWN)
        ]
        axes[1, column].imshow(np.vstack(pairs), cmap="gray_r", vmin=0, vmax=255)
        axes[1, column].set(xticks=[side / 2, 1.5 * side], yticks=[])
        axes[1, column].set_xticklabels(["image", "output"], fontsize=8)
    pictures.suptitle("Latent space of test digits (above) and their reconstructions, first seed")
    return {"lansdell2019_fig3_loss": curves, "lansdell2019_fig3_pictures": pictures}


experiment = Experiment(
    title="Figure 3: an autoencoder with a bottleneck, by node perturbation, feedback alignment, matching, "
    "Adam and SGD",
    cost={
        "smoke": "20 seconds, most of it compilation",
        "default": "4 seeds x 12 epochs, ten minutes on two cores with much other work beside it",
        "paper": "3 seeds x 1,000 epochs: five to ten hours on two cores, in resumable pieces of under a minute",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
    text=text,
)
