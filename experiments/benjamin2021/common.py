"""Optimiser, digits, training and judge that the experiments on Benjamin & Kording (2021) share, and methods' names.

The paper gives no numbers. Here a small classifier, trained on real digits, judges pictures: whether a reconstruction
keeps its digit, how confident the classifier is, and how its features are distributed (Frechet distance).
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.core import eval_context
from jax.typing import ArrayLike

from experiments.shared.images import Images, images, scaled
from plasticity_jax.base import Info, Learner, LearnerState, LearningRule, learner
from plasticity_jax.data import looking_up, minibatches
from plasticity_jax.layers import Chain, forward, init_params
from plasticity_jax.networks import mlp
from plasticity_jax.ops.lane_by_lane import lane_by_lane
from plasticity_jax.rules.feedback import backprop
from plasticity_jax.run import Program, evaluated, online_training
from plasticity_jax.run.program import Metrics, TrainingState
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Batch, Example, Key, Params, PyTree, Scalar

EPOCHS = 400
"""Epochs of the paper's training, for every task; rates fall from the 200th to the 250th."""

COLOURS = {
    "wake_sleep": "#d55e00",
    "wake_sleep_no_recurrence": "#f2a65a",
    "combined": "#0072b2",
    "combined_no_recurrence": "#56b4e9",
    "combined_per_layer": "#009e73",
    "marginals": "#cc79a7",
}
"""Colours of the methods, the same in every figure; the colour-blind can distinguish them (after Okabe and Ito)."""

LINES = {
    "wake_sleep": "-",
    "wake_sleep_no_recurrence": "-",
    "combined": "-",
    "combined_no_recurrence": (0, (4, 2)),
    "combined_per_layer": (0, (1, 1.5)),
    "marginals": (0, (3, 1.5, 1, 1.5)),
}
"""Line styles of the methods; where two curves coincide, both stay visible."""

LABELS = {
    "wake_sleep": "wake/sleep",
    "wake_sleep_no_recurrence": "wake/sleep, no recurrence",
    "combined": "combined",
    "combined_no_recurrence": "combined, no recurrence",
    "combined_per_layer": "combined, layer by layer",
    "marginals": "wake/sleep, local",
}


def legend_below(figure: Any, handles: Sequence[Any], labels: Sequence[str], ncols: int, **style: Any) -> None:
    """A legend in a strip kept free under all panels of a constrained layout.

    Matplotlib's "outside lower" is relative to the saved area, so that a caption added below would cover the legend.
    """
    rows = -(-len(labels) // ncols) + ("title" in style)
    strip = (0.25 * rows + 0.1) / figure.get_figheight()
    figure.get_layout_engine().set(rect=(0, strip, 1, 1 - strip))
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 0), "bbox_transform": figure.transFigure}
    figure.legend(handles, labels, ncols=ncols, **place, **({"frameon": False, "fontsize": 10} | style))


def seeds_in_words(count: int) -> str:
    """ "1 seed", "2 seeds"."""
    return f"{count} seed{'s' if count > 1 else ''}"


def percent(share: float) -> str:
    """A share in whole per cent, without a sign on zero."""
    return f"{100 * share:.0f} %".replace("-0 %", "0 %")


CLASSES = 10
SITES = ("wake_sleep", "oscillation", "reconstruction", "penalty")


def optimiser(
    model_rate: Scalar = 1e-4,
    critic_rate: Scalar = 4e-4,
    *,
    epoch_steps: float,
    fall: tuple[int, int] = (200, 250),
    factor: float = 0.96,
    weight_decay: Scalar = 2e-5,
    b1: Scalar = 0.5,
    b2: Scalar = 0.99,
) -> optax.GradientTransformation:
    """The paper's Adam, with one rate for inference and generation and another for the discriminators.

    Args:
      model_rate: of inference and generation.
      critic_rate: of the discriminators.
      epoch_steps: steps in an epoch; in training shorter than the paper's, an `EPOCHS`-th of all steps.
      fall: epochs between which rates fall.
      factor: by which they fall in each of these epochs.
      weight_decay: of all weights and biases, added to their gradient.
      b1: of Adam.
      b2: of Adam.

    Returns:
      A transformation of params ``{"inference", "generation", "discriminator"}``.
    """

    def adam(rate: Scalar) -> optax.GradientTransformation:
        def rate_at(step: ArrayLike) -> Array:
            epochs_of_decay = jnp.clip(jnp.floor(jnp.asarray(step) / epoch_steps) - fall[0], 0, fall[1] - fall[0])
            return rate * factor**epochs_of_decay

        # Weight decay comes first, so that Adam's averages include it.
        return optax.chain(
            optax.add_decayed_weights(weight_decay), optax.scale_by_adam(b1, b2), optax.scale_by_learning_rate(rate_at)
        )

    groups = {"inference": "model", "generation": "model", "discriminator": "critic"}
    return optax.partition({"model": adam(model_rate), "critic": adam(critic_rate)}, groups)


@functools.cache
@eval_context()  # a sweep makes its parts under a trace
def digits(data: str, side: int = 28) -> Images:
    """Digits on the device, flat.

    Args:
      data: "mnist", or "prototypes", ten random images under noise, which need no files.
      side: pixels, 28 or a divisor of it: digits are then averaged over squares.

    Raises:
      ValueError: if the set is not known, or the side does not divide.
      MissingData: if it is not on this machine.
    """
    if side < 1 or 28 % side:
        raise ValueError(f"side={side} must be 28 or a divisor of it")
    if data == "prototypes":
        return images(data, side**2)
    whole, by = images(data, 28**2), 28 // side

    def pooled(image: Array) -> Array:
        squares = image.reshape(len(image), side, by, side, by)
        return jnp.round(jnp.mean(squares, (2, 4), dtype=jnp.float32)).astype(jnp.uint8).reshape(len(image), -1)

    return whole._replace(train=pooled(whole.train), test=pooled(whole.test)) if by > 1 else whole


def fetching(data: Images) -> Callable[[Array], Example]:
    """Returns a look-up of training images in [0, 1] by index; y has their labels, which the rule does not read."""
    return lambda index: Example(scaled(data.train[index]), data.train_label[index])


def measured(info: Info, batch: Batch) -> Metrics:
    """Objectives of one step; those of the discriminators have an axis of sites."""
    return {"loss": info.loss, "critic": info.aux["critic"], **{name: info.aux[name] for name in SITES}}


def adversarial_training(
    rule: LearningRule,
    weights: Callable[[Key], Params],
    tx: optax.GradientTransformation,
    stream: Stream,
    fetch: Callable[[PyTree], Batch],
    evaluate: Callable[[TrainingState], Metrics],
    *,
    steps: int,
    points: int,
) -> Program:
    """Training, one chunk and one evaluation at a time.

    Args:
      rule: an adversarial rule.
      weights: ``key -> params``, the initial ones.
      tx: the optimiser of all groups.
      stream: of inputs to `fetch`: indices (`minibatches`), or scenes.
      fetch: makes a batch inside the step; for digits, `fetching`.
      evaluate: ``state -> metrics``, at the end of each chunk; ``step`` is added to them.
      steps: of training.
      points: chunks, and evaluations.

    Returns:
      A `Program` with a key for a lane, which alone determines the initial weights and the data. Metrics are those of
      `measured`, of `evaluate` and of `online_training`.
    """

    def build(lane: Key) -> tuple[Learner, Stream]:
        return looking_up(learner(rule, tx), fetch), stream

    def init(lane: Key, learn: Learner, stream: Stream) -> tuple[LearnerState, PyTree]:
        key_weights, key_stream, key_run = jax.random.split(lane, 3)
        state = stream.init(key_stream)
        first = jax.tree.map(lambda leaf: leaf[0], stream.take(state, 1)[1])
        return learn.init(weights(key_weights), key_run, first), state

    every = steps // points
    program = online_training(build, init, steps=steps, every=every, chunks=points, measure=measured)
    return evaluated(program, lambda state: {"step": state.learner.step, **evaluate(state)})


class Classifier(NamedTuple):
    """A judge of digits, trained on real ones.

    Attributes:
      weights: of its layers.
      accuracy: (), on test digits.
    """

    weights: PyTree
    accuracy: Array


def perceptron(side: int) -> Chain:
    """The classifier of pictures, with hidden layers of 256 and 64."""
    return mlp((side**2, 256, 64, CLASSES), ("relu", "relu", "identity"), "softmax")


@functools.cache
@eval_context()  # a sweep makes its parts under a trace
def classifier(data: str, side: int = 28, *, epochs: int = 5, batch: int = 128, rate: float = 1e-3) -> Classifier:
    """Trains the `perceptron`, from a key of its own, so that all seeds share one judge.

    Args:
      data: as in `digits`.
      side: likewise.
      epochs: of training.
      batch: images in a step.
      rate: of Adam at the start; it falls linearly to zero.
    """
    examples, net = digits(data, side), perceptron(side)
    key_weights, key_stream, key_run = jax.random.split(jax.random.key(20), 3)
    steps = max(1, epochs * len(examples.train) // batch)

    @jax.jit
    def train(examples: Images) -> Classifier:
        def fetch(index: Array) -> Example:
            return Example(scaled(examples.train[index]), jax.nn.one_hot(examples.train_label[index], CLASSES))

        tx = optax.adam(optax.linear_schedule(rate, 0, steps))
        learn = looking_up(learner(backprop(net), tx), fetch)
        stream = minibatches(len(examples.train), batch)
        state, index = stream.take(stream.init(key_stream), steps)
        params = init_params(key_weights, net)
        state, _ = jax.lax.scan(learn.step, learn.init(params, key_run, index[0]), index)
        weights = state.params["forward"]
        logits, _ = judged(weights, scaled(examples.test))
        return Classifier(weights, jnp.mean(jnp.argmax(logits, -1) == examples.test_label))

    return train(examples)


def judged(weights: PyTree, x: Array) -> tuple[Array, Array]:
    """Logits (N, 10) that the classifier gives pictures (N, pixels), and its last hidden layer (N, 64)."""
    activity = forward(perceptron(math.isqrt(x.shape[1])), weights, x)
    return activity.h[-1], activity.h[-2]


def verdict(logits: Array) -> Metrics:
    """Confidence of a classifier in pictures, and the evenness of the classes that it finds among them.

    Args:
      logits: (N, classes).

    Returns:
      ``confidence``, the mean of the largest probability; ``entropy``, of the shares of the classes, bits; ``shares``
      (classes,).
    """
    shares = jnp.mean(jax.nn.one_hot(jnp.argmax(logits, -1), logits.shape[-1]), 0)
    entropy = -jnp.sum(jax.scipy.special.xlogy(shares, shares)) / jnp.log(2)
    return {"confidence": jnp.mean(jnp.max(jax.nn.softmax(logits), -1)), "entropy": entropy, "shares": shares}


def gaussian_pictures(key: Key, train: Array, count: int) -> Array:
    """Samples (count, ...) of a Gaussian with the mean and covariance of pictures (N, ...), a baseline for dreams."""
    flat = train.reshape(len(train), -1)
    centred = flat - jnp.mean(flat, 0)
    drawn = jax.random.normal(key, (count, len(flat)), flat.dtype) @ centred / (len(flat) - 1) ** 0.5
    return (jnp.mean(flat, 0) + drawn).reshape(count, *train.shape[1:])


def frechet(a: Array, b: Array) -> Array:
    """Squared Frechet distance of the Gaussians that have the means and covariances of two samples.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2)

    Args:
      a: (N, n) features.
      b: (M, n).

    Returns:
      Shape ().

    Reference:
      Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium", NeurIPS 2017.
    """
    (mean_a, cov_a), (mean_b, cov_b) = ((jnp.mean(x, 0), jnp.cov(x, rowvar=False)) for x in (a, b))
    values, vectors = lane_by_lane(jnp.linalg.eigh)(cov_a)
    root = (vectors * jnp.sqrt(jnp.maximum(values, 0))) @ vectors.T
    shared = lane_by_lane(jnp.linalg.eigvalsh)(root @ cov_b @ root)
    covariances = jnp.trace(cov_a) + jnp.trace(cov_b) - 2 * jnp.sum(jnp.sqrt(jnp.maximum(shared, 0)))
    return jnp.sum((mean_a - mean_b) ** 2) + covariances
