"""Figure 4 of Benjamin & Kording (2021): CIFAR-10 in a stochastic hierarchy of convolutions, all learning adversarial.

The combined objective (gamma = 0.5) with a discriminator for each layer; beside it the same network untrained, and
wake/sleep alone with the same discriminators ("marginals", gamma = 1), which ties no image to what it is inferred to
be. All tests are on test images, one sample each; pixels run from -1 to 1.

The paper shows reconstructions and no numbers. Here: the squared error after turning at each layer, beside the mean
image, another image and principal components; how often a reconstruction is nearer to its own image than to another
one; whether a classifier finds the same class in it; the Frechet distance of the classifier's features between real
images and dreams or reconstructions; the class, read out of each layer by ridge regression. The classifier is a small
convolutional network, trained here. A squared error rewards grey: the mean image is hard to beat for a sharp sample.

The default preset is a smaller problem (16 x 16 pixels, layers half as wide, batches of 32) that starts from larger
weights and quieter layers than the paper preset: from weights of 0.02 and deviations of 0.7, two hundred steps at
several times the paper's rates brought grey noise. How it was found, one seed each, squared error on test images after
turning at layers 1 to 4 (mean image 0.23, another image 0.46), critics' rate 2e-3:

    L_RECON, gamma, lambda, model's rate   steps    h1      h2      h3      h4
    mean, 0.5, 1, 2e-3                     300      0.75    0.31 at the top: nothing learned
    mean, 0.5, 10, 1e-3                    300      0.34    0.48 at the top: nothing learned
    sum, 0.5, 1, 1e-3                      400      0.06    0.24    0.30    0.30
    sum, 0.5, 10, 1e-3                     400      0.06    0.20    0.43    0.43    taken
    sum, 0.5, 10, 2e-3                     1,200    0.04    0.52    0.56    0.56
    sum, 0.1, 10, 1e-3                     1,200    0.01    0.13    0.78    0.66

So in this time the layers learn from below: what turns at layer 1 is the image, at layer 2 its coarse shades, above it
one picture for all. The readout of classes is to be measured by that of pixels (h0), of principal components and of the
untrained network, whose random features may tell something of the class.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.sparse.linalg import cg

from experiments.benjamin2021.cifar import Pictures, judge, judged, pictures, signed
from experiments.benjamin2021.common import (
    CLASSES,
    EPOCHS,
    adversarial_training,
    frechet,
    optimiser,
    verdict,
)
from experiments.benjamin2021.fig4_figures import MEASURED, PARTS, TRAINED, figures, table
from experiments.shared.images import unfolded
from plasticity_jax.data import minibatches
from plasticity_jax.networks.dcgan import Dcgan, dcgan, init_params
from plasticity_jax.networks.hierarchy import reconstruct
from plasticity_jax.rules.generative.adversarial import adversarial
from plasticity_jax.run import Claim, Experiment, Program, gap, put
from plasticity_jax.run.program import Metrics, TrainingState, once
from plasticity_jax.typing import Array, Example, Key, Params

SHOWN = 10
"""Images of a row of pictures."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings; the paper's are in its preset.

    Attributes:
      seeds: networks and orders of the images, shared by all methods.
      data: "cifar10", or "prototypes" (ten random images under noise, which need no files).
      side: pixels, 32 or a divisor of it: images are then averaged over squares.
      examples: images to learn from, the first of the set.
      tests: test images, the first of the set, and as many of training for what they are compared with.
      channels: of layer 1; each further one has twice as many.
      top: neurons of the topmost layer.
      critic_width: channels of the discriminators.
      gamma: weight of wake/sleep against the oscillation.
      reconstruction: weight of the distance between features, summed over them.
      penalty: weight of the gradient penalty.
      initial_scale: of all weights at first, in units of the library's 0.02.
      initial_spread: bias of what the softplus makes the layers' standard deviations of, at first.
      steps: of training.
      points: tests in the course of it, each at the end of a chunk.
      batch: images of a step.
      model_rate: of inference and generation.
      critic_rate: of the discriminators.
      judge_steps: of the classifier, each of 128 images of the whole training split.
    """

    seeds: int = 2
    data: str = "cifar10"
    side: int = 16
    examples: int = 10_000
    tests: int = 2000
    channels: int = 16
    top: int = 64
    critic_width: int = 32
    gamma: float = 0.5
    reconstruction: float = 1.0
    penalty: float = 10.0
    initial_scale: float = 4.0
    initial_spread: float = -3.0
    steps: int = 900
    points: int = 6
    batch: int = 32
    model_rate: float = 1e-3
    critic_rate: float = 2e-3
    judge_steps: int = 800

    def __post_init__(self) -> None:
        if min(self.seeds, self.points, self.batch, self.judge_steps, self.steps) < 1 or self.steps % self.points:
            raise ValueError("points must divide steps, and both, seeds, batch and judge_steps be at least 1")
        if self.tests < 2 * SHOWN or self.examples < self.tests:
            raise ValueError(f"tests={self.tests} must be at least {2 * SHOWN}, and no more than the examples")
        if self.side not in (8, 16, 32):
            raise ValueError(f"side={self.side} must be 8, 16 or 32")
        if min(self.model_rate, self.critic_rate) <= 0 or not 0 <= self.gamma <= 1:
            raise ValueError("the rates must be above 0, and gamma in [0, 1]")


PRESETS = {
    "smoke": Config(
        data="prototypes", side=8, examples=500, tests=200, channels=4, top=8, critic_width=4, steps=4, points=2,
        batch=8, judge_steps=20,
    ),
    "default": Config(),
    "paper": Config(
        seeds=3, side=32, examples=50_000, tests=10_000, channels=32, top=100, critic_width=64, steps=39_200,
        points=80, batch=512, model_rate=1e-4, critic_rate=4e-4, penalty=1.0, initial_scale=1.0, initial_spread=0.0,
        judge_steps=4000,
    ),
}  # fmt: skip


class Probe(NamedTuple):
    """What networks are tested with.

    Attributes:
      shown: the images; of both splits, `Config.tests` are used.
      weights: the judge's.
    """

    shown: Pictures
    weights: Params


def probe_of(config: Config) -> Probe:
    """As many images of training and of test."""
    shown = jax.tree.map(lambda leaf: leaf[: config.tests], pictures(config.data, config.side))
    return Probe(shown, judge(config.data, config.side, config.judge_steps))


def tested(net: Dcgan, probe: Probe, params: Params, key: Key) -> Metrics:
    """Measurements at fixed weights.

    Args:
      net: the network.
      params: its weights.
      probe: images and judge.
      key: consumed.

    Returns:
      By the layer that is turned at, (L,): ``mse`` of reconstructions, ``nearer``, how often one is nearer to its own
      image than to another, and ``kept``, how often the judge finds the same class in both. ``kept_chance``, in the
      topmost's and in another image; ``frechet_dream`` and ``frechet_reconstruction`` (the topmost's) from test images;
      ``entropy`` and ``confidence`` of dreams; ``right``, (L + 1,), the share of test images whose class is read out
      linearly; and pictures.
    """
    probe = unfolded(probe)
    key_up, key_train, key_recall = jax.random.split(key, 3)
    x = signed(probe.shown.test)
    asleep = net.phases(params, x, key_up, oscillate=False)
    learnt = net.phases(params, signed(probe.shown.train), key_train, oscillate=False)
    recalled = jnp.stack([reconstruct(net, params, x, key_recall, top)[0] for top in range(1, net.depth + 1)])
    every = jnp.concatenate([x[None], asleep.sleep[0][None], recalled])  # judged at once: less to compile
    answers = judged(probe.weights, every.reshape(-1, *x.shape[1:]))
    logits, features = (leaf.reshape(len(every), len(x), -1) for leaf in answers)
    classes = jnp.argmax(logits, -1)
    distances = jax.vmap(lambda made: frechet(made, features[0]))(features[jnp.asarray([1, -1])])
    sure = verdict(logits[1])
    return {
        "mse": jnp.mean((recalled - x) ** 2, (1, 2, 3, 4)),
        "nearer": jax.vmap(lambda made: nearer(made, x))(recalled),
        "kept": jnp.mean(classes[2:] == classes[0], 1),
        "kept_chance": jnp.mean(classes[-1] == jnp.roll(classes[0], 1)),
        "frechet_dream": distances[0],
        "frechet_reconstruction": distances[1],
        "entropy": sure["entropy"],
        "confidence": sure["confidence"],
        "right": jnp.stack([
            readable(train.reshape(len(train), -1), test.reshape(len(test), -1), probe.shown)
            for train, test in zip(learnt.wake, asleep.wake, strict=True)
        ]),
        "picture_recalled": recalled[:, :SHOWN],
        "picture_dream": asleep.sleep[0][: 2 * SHOWN],
    }  # fmt: skip


def nearer(made: Array, x: Array) -> Array:
    """The share of pairs (i, j), i != j, in which made_i is nearer to x_i than to x_j, (N, ...) both; chance is 1/2."""
    a, b = made.reshape(len(made), -1), x.reshape(len(x), -1)
    apart = jnp.sum(b * b, 1) - 2 * a @ b.T  # squared distances, less what a row shares
    return jnp.sum(jnp.diag(apart)[:, None] < apart) / (len(a) * (len(a) - 1))


def readable(train: Array, test: Array, shown: Pictures, ridge: float = 0.1) -> Array:
    """Share of test images whose class ridge regression tells from features (N, n), each scaled to a variance of 1.

    By conjugate gradients on the normal equations, for there may be thousands of features.
    """
    middle, scale = jnp.mean(train, 0), jnp.maximum(jnp.std(train, 0), 1e-6)
    x, targets = (train - middle) / scale, jax.nn.one_hot(shown.train_label, CLASSES, dtype=train.dtype)
    gram, mean = x.T @ x / len(x), jnp.mean(targets, 0)
    w = cg(lambda w: gram @ w + ridge * w, x.T @ (targets - mean) / len(x), tol=1e-4, maxiter=200)[0]
    return jnp.mean(jnp.argmax((test - middle) / scale @ w + mean, -1) == shown.test_label)


def baselines(config: Config, axes: np.ndarray, probe: Probe) -> Metrics:
    """What needs no network: squared errors, Frechet distances, classes.

    Args:
      config: settings.
      axes: (pixels, n), the strongest principal components of training.
      probe: images and judge.
    """
    probe = unfolded(probe)
    train, x = (signed(part) for part in (probe.shown.train, probe.shown.test))
    logits, features = judged(probe.weights, x)
    middle, basis = jnp.mean(train, 0), jnp.asarray(axes, x.dtype)
    code_train, code = ((part - middle).reshape(len(part), -1) @ basis for part in (train, x))
    recalled = (code @ basis.T).reshape(x.shape) + middle
    noise = jax.random.uniform(jax.random.key(22), x.shape, x.dtype, -1, 1)
    pca_logits, pca_features = judged(probe.weights, recalled)
    return {
        "mse_mean": jnp.mean((x - middle) ** 2),
        "mse_other": jnp.mean((x - jnp.roll(x, 1, 0)) ** 2),
        "mse_pca": jnp.mean((x - recalled) ** 2),
        "kept_pca": jnp.mean(jnp.argmax(pca_logits, -1) == jnp.argmax(logits, -1)),
        "frechet_real": frechet(judged(probe.weights, train)[1], features),
        "frechet_noise": frechet(judged(probe.weights, noise)[1], features),
        "frechet_pca": frechet(pca_features, features),
        "entropy_real": verdict(logits)["entropy"],
        "accuracy": jnp.mean(jnp.argmax(logits, -1) == probe.shown.test_label),
        "right_pca": readable(code_train, code, probe.shown),
        "picture": x[:SHOWN],
    }


def components(shown: Array, count: int) -> np.ndarray:
    """(pixels, count), the strongest principal components of images."""
    pixels = np.asarray(shown).reshape(len(shown), -1)
    centred = pixels.astype(np.float32) - pixels.mean(0, dtype=np.float32)
    return np.linalg.eigh(centred.T @ centred)[1][:, : -count - 1 : -1]


def initial(net: Dcgan, key: Key, scale: float, spread: float) -> Params:
    """`init_params` times a factor, but for the biases of what the softplus makes standard deviations of."""
    params = jax.tree.map(lambda leaf: scale * leaf, init_params(key, net))

    def narrowed(layer: Params) -> Params:
        bias = layer["output"]["bias"]
        return {**layer, "output": {**layer["output"], "bias": bias.at[len(bias) // 2 :].set(spread)}}

    return {**params, **{group: tuple(map(narrowed, params[group])) for group in ("inference", "generation")}}


def make_parts(config: Config) -> dict[str, Program]:
    """`PARTS`, and "data", the baselines that have no network."""
    net = dcgan((config.side, config.side, 3), config.channels, config.top, config.critic_width)
    shown, probe = pictures(config.data, config.side), probe_of(config)
    count = min(config.examples, len(shown.train))
    axes = components(shown.train[:count], config.top)
    tx = optimiser(config.model_rate, config.critic_rate, epoch_steps=config.steps / EPOCHS)

    def weights(key: Key) -> Params:
        return initial(net, key, config.initial_scale, config.initial_spread)

    def part(gamma: float) -> Program:
        def evaluate(state: TrainingState) -> Metrics:
            return tested(net, probe, state.learner.params, jax.random.fold_in(state.lane, 1))

        return adversarial_training(
            adversarial(net, gamma, reconstruction=config.reconstruction, reduction="sum", penalty=config.penalty),
            weights,
            tx,
            minibatches(count, config.batch),
            lambda index: Example(signed(shown.train[index]), shown.train_label[index]),
            evaluate,
            steps=config.steps,
            points=config.points,
        )

    def untrained(key: Key) -> Metrics:
        return tested(net, probe, weights(jax.random.split(key, 3)[0]), jax.random.fold_in(key, 1))

    return {
        "combined": part(config.gamma),
        "marginals": part(1.0),
        "untrained": once(untrained, config.tests),
        "data": once(lambda key: baselines(config, axes, probe), config.tests),
    }


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What each of `PARTS` ends at, and "data/..."; names end in the layer, for `mse`, `nearer`, `kept` in the one
    that is turned at, "top" for the topmost.

    "part/wake_sleep_h..." and "part/oscillation_h..." are the critics' gaps at the end, "part/growth" the largest of
    them in the last third of training over the largest before, "part/lost" the share of lanes whose loss was not
    finite, "fall/..." untrained over trained, "gap/..." paired differences, positive where the paper expects it.
    """
    ends = {part: {k: metrics[f"{part}/{k}"][:, -1] for k in MEASURED} for part in PARTS}
    data = {k[5:]: v[:, 0] for k, v in metrics.items() if k.startswith("data/")}
    summary: dict[str, float] = {}
    for name, values in data.items():
        if values.ndim == 1:
            put(summary, f"data/{name}", values)
    for part, end in ends.items():
        for name, values in end.items():
            by_layer = (
                {"": values} if values.ndim == 1 else {f"_h{i}": v for i, v in enumerate(values.T, name != "right")}
            )
            for layer, column in by_layer.items():
                put(summary, f"{part}/{name}{layer}", column)
            if values.ndim == 2:
                put(summary, f"{part}/{name}_top", values[:, -1])
    for part in TRAINED:
        gaps = {name: metrics[f"{part}/{name}"] for name in ("wake_sleep", "oscillation")}
        for name, values in gaps.items():
            for i, column in enumerate(values[:, -1].T):
                put(summary, f"{part}/{name}_h{i}", column)
        largest = np.abs(np.concatenate(list(gaps.values()), 2)).max(2)
        before = max(1, largest.shape[1] - max(1, largest.shape[1] // 3))
        put(summary, f"{part}/growth", largest[:, before - largest.shape[1] :].max(1) / largest[:, :before].max(1))
        summary[f"{part}/lost"] = float((metrics[f"{part}/bad_step"][:, -1] >= 0).mean())
        for name in ("frechet_dream", "frechet_reconstruction"):
            put(summary, f"{part}/fall_{name}", ends["untrained"][name] / ends[part][name])
    end, plain, marginals = (ends[part] for part in ("combined", "untrained", "marginals"))
    gaps = {
        "mse-other": data["mse_other"] - end["mse"][:, -1],
        "mse-mean": data["mse_mean"] - end["mse"][:, -1],
        "mse_h1-mean": data["mse_mean"] - end["mse"][:, 0],
        "mse-untrained": plain["mse"][:, -1] - end["mse"][:, -1],
        "mse_depth": end["mse"][:, -1] - end["mse"][:, 0],
        "nearer": end["nearer"][:, -1] - 0.5,
        "nearer-marginals": (end["nearer"] - marginals["nearer"])[:, -1],
        "kept": end["kept"][:, -1] - end["kept_chance"],
        "dream-untrained": plain["frechet_dream"] - end["frechet_dream"],
        "right_depth": (end["right"][:, 1] - end["right"][:, -1]),
        "right_top-pca": end["right"][:, -1] - data["right_pca"],
        **{f"right_h{i}": column for i, column in enumerate((end["right"] - plain["right"]).T) if i},
    }
    gaps["right"] = np.min([v for k, v in gaps.items() if k.startswith("right_h")], 0)
    for name, values in gaps.items():
        put(summary, f"gap/{name}", values)
    return summary


def _bounded(name: str, statement: str, key: str, bound: float) -> Claim:
    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        return summary[key], summary[key] <= bound

    return Claim(name, statement, None, measure)


def _at_least(name: str, statement: str, paper: str | None, key: str, bound: float) -> Claim:
    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        return summary[key], summary[key] >= bound

    return Claim(name, statement, paper, measure)


CLAIMS = [
    gap(
        "reconstructs",
        "Turned at the top, reconstructions are nearer to their image than another is, as grey is too (squared error)",
        "as seen in pictures",
        "gap/mse-other",
    ),
    gap("reconstructs-mean", "And nearer than the mean image (gap in squared error)", None, "gap/mse-mean"),
    gap("reconstructs-h1", "Turned at layer 1, nearer than the mean image", None, "gap/mse_h1-mean"),
    gap("reconstructs-depth", "The higher the turn, the larger the error (top less h1)", None, "gap/mse_depth"),
    gap(
        "posterior",
        "A reconstruction from the top is nearer to its own image than to another (share above chance, 1/2)",
        "inference maps to the support of the generative posterior",
        "gap/nearer",
    ),
    gap(
        "posterior-marginals",
        "And it is so more often than without the oscillation, gamma = 1 (share)",
        None,
        "gap/nearer-marginals",
    ),
    gap("class-kept", "It keeps the class that the judge finds (share above chance)", None, "gap/kept"),
    _at_least(
        "dreams",
        "A purely adversarial approach is feasible: dreams' Frechet distance is at most half the untrained network's",
        "feasible for deeper networks",
        "combined/fall_frechet_dream",
        2,
    ),
    gap("reads-out", "Every layer tells the class better than untrained (least gap)", None, "gap/right"),
    gap("reads-out-depth", "What is read out falls with depth (h1 less the top)", None, "gap/right_depth"),
    gap("reads-out-pca", "The top tells it better than as many principal components", None, "gap/right_top-pca"),
    _bounded("stable", "Training is stable: no loss that is not finite (share of networks)", "combined/lost", 0),
    _bounded(
        "stable-critics",
        "The largest gap of a critic in the last third of training is at most twice the largest before (ratio)",
        "combined/growth",
        2,
    ),
]


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """By layer in Markdown: squared errors, own images, classes kept and read out."""
    return table(summarise(metrics), metrics["combined/mse"].shape[2])


def plot(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """By name: pictures, the course of training, what is read out."""
    return figures(metrics, summarise(metrics))


experiment = Experiment(
    title="Figure 4: CIFAR-10 in a convolutional hierarchy: reconstructions, dreams, classes read out by layer",
    cost={
        "smoke": "about a minute, nearly all of it compilation",
        "default": "2 seeds, images of 16 x 16, 900 steps: some six minutes on two cores",
        "paper": "3 seeds x 400 epochs at full size: for an accelerator, in resumable pieces",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
    text=text,
)
