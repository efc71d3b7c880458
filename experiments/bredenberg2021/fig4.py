"""Figure 4 of Bredenberg et al. (2021): spoken digits, learned by impression learning in a network of two layers.

128 mels - 100 - 40 neurons, phases of two frames, the recordings shuffled once and then one after the other. All tests
are on the test split, 300 recordings by the same six speakers: awake throughout, with phases, and in "deep sleep",
which nothing wakes. Losses are printed in the authors' units, 2 (log q~ - log p~) without the normalisers.

NVI* has corrected equations (`plasticity_jax.rules.generative.neural_variational`), and the largest of its rates at
which an epoch does not raise the loss by more than a per cent; "rates" shows all of them. The noise of its estimates is
large against what they tell: weights walk at random, the faster the higher the rate, until they diverge. The published
code runs at the authors' rate of 1e-10.

Trivial baselines. The authors' measure of dreams is the cosine between correlation matrices of frequencies; a matrix of
ones nearly has it, so that Pearson's r off the diagonal is used here. Digits are no measure of the paper's; they are
read out linearly, by ridge regression, from means over a recording (numbers beside the claims are of logistic
regression, one seed of the authors' code). A layer 1 of random weights tells them nearly as well as a trained one. An
untrained layer 2 has signals of the size of its neurons' noise; without noise ("noiseless"), and each neuron scaled to
a variance of 1, it too tells the digits: what learning brings is a code that stands out of the noise.

On waking, the authors' code teaches neither the transition nor layer 1 (D_1, b), of which the density asks the first
alone. It matters: taught as the density has it ("il"), the loss with phases is least at half of training and rises as
dreams become livelier than the data; resting ("il_authors"), it ends where theirs does.

What does not hold: the reconstruction is not that of as many principal components as a layer has neurons (it is that of
some 23), and the dreams' variance is a third too large.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.bredenberg2021.authors import impression_at_rest_on_waking, published_nvi
from experiments.bredenberg2021.common import LABELS, authors_loss, autocorrelation, r_squared
from experiments.bredenberg2021.fig4_figures import (
    BINS,
    FEATURES,
    LAGS,
    LAYERS,
    LOSSES,
    METHODS,
    SETTLE,
    SHOWN,
    figures,
)
from experiments.shared.images import unfolded
from plasticity_jax.base import Learner, LearnerState, LearningRule, learner
from plasticity_jax.data import SpokenDigits, load_spoken_digits, looking_up
from plasticity_jax.data.mel_spectrogram import MELS
from plasticity_jax.diagnostics.linear_readout import linear_readout
from plasticity_jax.networks.two_stream import (
    Sample,
    TwoStream,
    advance,
    draw,
    init_params,
    log_p,
    log_q,
    trajectory,
    two_stream,
)
from plasticity_jax.rules.generative import impression, neural_variational
from plasticity_jax.run import Claim, Experiment, Program, gap, online_training, put
from plasticity_jax.run.program import Metrics, TrainingState, at_each
from plasticity_jax.tasks import spoken_digits
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Scalar

PERIOD = 2


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings, those of the authors' code; rates are of SGD on updates without the factors 1 / sigma^2.

    Attributes:
      seeds: networks and orders of the recordings, shared by all methods.
      data: "spoken_digit", or "made" (gliding resonances, which need no files).
      sizes: neurons of the two layers.
      sigma_inf: of stimulus, first and second layer.
      sigma_gen: likewise.
      transition: of the second layer's neurons at first.
      epochs: of all frames, with a test before each and at the end.
      rate_il: of impression learning.
      rate_nvi: of NVI*.
      rate_published: of the published NVI*.
      rates: of NVI* that are tried, ascending.
      rates_epochs: of each of these.
    """

    seeds: int = 4
    data: str = "spoken_digit"
    sizes: tuple[int, int] = (100, 40)
    sigma_inf: tuple[float, float, float] = (0.01, 0.01, 0.01)
    sigma_gen: tuple[float, float, float] = (0.01, 0.01, 0.13)
    transition: float = 0.6
    epochs: int = 20
    rate_il: float = 5e-4
    rate_nvi: float = 1e-10
    rate_published: float = 1e-10
    rates: tuple[float, ...] = (1e-11, 1e-10, 1e-9, 1e-8, 1e-7)
    rates_epochs: int = 1

    def __post_init__(self) -> None:
        if min(self.seeds, self.epochs, self.rates_epochs, *self.sizes) < 1:
            raise ValueError("seeds, epochs, rates_epochs and sizes must be at least 1")
        if max(self.sizes) > MELS:
            raise ValueError(f"sizes={self.sizes}: a frame has {MELS} components to compare with, and no more")
        if not self.rates or min(self.rate_il, self.rate_nvi, self.rate_published, *self.rates) <= 0:
            raise ValueError("all rates must be above 0")


PRESETS = {
    "smoke": Config(seeds=2, data="made", sizes=(12, 6), epochs=2, rates=(1e-10, 1e-9)),
    "default": Config(),
    "paper": Config(seeds=20),
}


class Sounds(NamedTuple):
    """Both splits on the device.

    Attributes:
      frames: (N, 128) of training and of test.
      recordings: (N,), of which recording a frame is, likewise.
      labels: (files,), the digits, likewise.
    """

    frames: tuple[Array, Array]
    recordings: tuple[Array, Array]
    labels: tuple[Array, Array]


def load(data: str) -> tuple[SpokenDigits, SpokenDigits]:
    """Training and test of a set by name.

    Raises:
      ValueError: if the set is not known.
      MissingData: if it is not on this machine.
    """
    if data == "made":
        return made(100, 0), made(40, 1)
    if data != "spoken_digit":
        raise ValueError(f"data={data!r} is not known; use 'spoken_digit' or 'made' (which needs no files)")
    return load_spoken_digits("train"), load_spoken_digits("test")


def made(recordings: int, seed: int) -> SpokenDigits:
    """Ten words of two resonances that glide, each word its own way; no two recordings are alike."""
    rng = np.random.default_rng(seed)
    words = np.random.default_rng(0).uniform(5, 95, (10, 2, 2))  # word, resonance, begin or end
    labels, lengths = np.arange(recordings, dtype=np.int32) % 10, rng.integers(8, 13, recordings, dtype=np.int32)
    parts = []
    for label, length in zip(labels, lengths, strict=True):
        at = np.linspace(0, 1, length)[:, None]
        centres = words[label, :, 0] + at * (words[label, :, 1] - words[label, :, 0]) + rng.normal(0, 2, 2)
        bumps = np.exp(-(((np.arange(MELS) - centres[:, :, None]) / 10) ** 2) / 2).sum(1)
        parts.append(3 * np.sin(np.pi * (at + 0.1) / 1.2) * bumps + 0.2 * rng.random((length, MELS)))
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int32)
    return SpokenDigits(np.concatenate(parts).astype(np.float32), starts, lengths, labels, 22.0, -80.0)


def resident(splits: tuple[SpokenDigits, SpokenDigits]) -> Sounds:
    """Splits on the device, in JAX's default float."""
    frames = [jnp.asarray(split.frames, jnp.zeros(()).dtype) for split in splits]
    recordings = [jnp.asarray(np.repeat(np.arange(len(split.lengths)), split.lengths)) for split in splits]
    return Sounds(*(tuple(arrays) for arrays in (frames, recordings, [jnp.asarray(s.labels) for s in splits])))  # pyright: ignore


def training(
    config: Config,
    net: TwoStream,
    rule: LearningRule,
    train: SpokenDigits,
    sounds: Sounds,
    test: Callable[[Params, Key], Metrics],
) -> Program:
    """A rule by plain SGD, an epoch a chunk, tested at the start of each.

    Its lane is (key, rate), the key deciding on all but the rate. There is one chunk more than epochs, for its test.
    """
    frames = sounds.frames[0]

    def build(lane: tuple[Key, Scalar]) -> tuple[Learner, Stream]:
        learn = learner(rule, optax.sgd(lane[1]))
        stream = spoken_digits(train.starts, train.lengths)
        return looking_up(learn, lambda index: Example(frames[index], index)), stream

    def init(lane: tuple[Key, Scalar], learn: Learner, stream: Stream) -> tuple[LearnerState, PyTree]:
        key_weights, key_stream, key_run, _ = jax.random.split(lane[0], 4)
        params = init_params(key_weights, net, config.transition)
        return learn.init(params, key_run, jnp.zeros((1,), jnp.int32)), stream.init(key_stream)

    chunks = config.epochs + 1
    program = online_training(build, init, steps=chunks * len(frames), every=len(frames), chunks=chunks)

    def chunk(state: TrainingState) -> tuple[TrainingState, Metrics]:
        found = test(state.learner.params, jax.random.split(state.lane[0], 4)[3])
        state, online = program.chunk(state)
        return state, {**online, **jax.tree.map(lambda leaf: leaf[None], dict(found))}

    return program._replace(chunk=chunk)


def make_parts(config: Config) -> dict[str, Program]:
    """`METHODS`, "rates" of NVI*, and "data", the baselines that have no network."""
    net, splits = two_stream((MELS, *config.sizes), config.sigma_inf, config.sigma_gen), load(config.data)
    sounds = resident(splits)
    (axes, share), (_, own) = (components(split.frames, splits[1].frames) for split in splits)
    tests = {
        "whole": lambda params, key: tested(net, params, key, sounds),
        "losses": lambda params, key: compared(net, params, key, unfolded(sounds.frames[1])),
    }

    def trained(rule: LearningRule, test: str) -> Program:
        return training(config, net, rule, splits[0], sounds, tests[test])

    def at(program: Program, rate: float) -> Program:
        return program._replace(init=lambda key: program.init((key, jnp.asarray(rate, jnp.zeros(()).dtype))))

    def about_data(key: Key) -> tuple[Key, Metrics]:
        told = {"scale": splits[1].scale, "floor": splits[1].floor, "sizes": config.sizes, "rates": config.rates}
        told |= {"pca": share, "pca_own": own[[size - 1 for size in config.sizes]]}
        found = {**{k: jnp.asarray(v) for k, v in told.items()}, **baselines(config.sizes, sounds, axes)}
        return key, jax.tree.map(lambda leaf: leaf[None], found)

    nvi = trained(neural_variational(net), "losses")
    rates = at_each(nvi, jnp.asarray(config.rates, jnp.zeros(()).dtype))
    return {
        "il": at(trained(impression(net), "whole"), config.rate_il),
        "il_authors": at(trained(impression_at_rest_on_waking(net), "losses"), config.rate_il),
        "nvi": at(nvi, config.rate_nvi),
        "published": at(trained(published_nvi(net), "losses"), config.rate_published),
        "rates": rates._replace(chunks=config.rates_epochs + 1, may_diverge=True),
        "data": Program(lambda key: key, about_data, 1, 1, 1),
    }


def walks(net: TwoStream, params: Params, key: Key, frames: Array) -> tuple[Sample, Array]:
    """Over frames (T, 128) under the same noise: awake, with phases, and in deep sleep from the second frame on.

    Returns:
      A `Sample` whose arrays lead with (3, T, 1), and lambda (3, T).
    """
    t = jnp.arange(len(frames))
    wake = jnp.stack([t >= 0, t % (2 * PERIOD) < PERIOD, t < 1])
    return jax.vmap(lambda each: trajectory(net, params, key, frames[:, None], each))(wake), wake


def losses(net: TwoStream, walked: Sample, wake: Array) -> Metrics:
    """Mean loss of a step awake and with phases, in the authors' units and (``_nats``) as log q~ - log p~."""
    cycles = slice(0, wake.shape[1] - wake.shape[1] % (2 * PERIOD))  # as much wake as sleep, for constants to cancel
    units = jax.vmap(lambda *each: authors_loss(net, *each))(walked, wake)[:2, cycles, 0]
    nats = (jnp.where(wake, 1, -1) * (log_q(net, walked) - log_p(net, walked))[..., 0])[:2, cycles]
    found = zip(("wake", "alternating"), jnp.mean(units, 1), jnp.mean(nats, 1), strict=True)
    return {f"{name}{unit}": value for name, *both in found for unit, value in zip(("", "_nats"), both, strict=True)}


def compared(net: TwoStream, params: Params, key: Key, frames: Array) -> Metrics:
    """`losses`, and ``variance``, dreamed over data's, on frames (T, 128)."""
    walked, wake = walks(net, params, key, frames)
    dreamed = walked.x[0][2, SETTLE:, 0]
    return {**losses(net, walked, wake), "variance": jnp.sum(jnp.var(dreamed, 0)) / jnp.sum(jnp.var(frames, 0))}


def tested(net: TwoStream, params: Params, key: Key, sounds: Sounds) -> Metrics:
    """Measurements at fixed weights.

    Args:
      net: the network.
      params: its weights.
      key: consumed.
      sounds: both splits; all but the decoders' training is on the test frames.

    Returns:
      Those of `losses`; ``r2_r1`` and ``r2_r2``, R2 of D_s r1 and of D_s f(D_1 r2 + b) against the frames, awake, and
      ``mse_r1``; ``correlation``, that of dreamed frequencies, bins below 3.5 kHz alone; ``pearson`` and ``cosine``
      between it and the data's, of those bins and (``_all``) of all; ``bin_mean``, correlation of the bins' means in
      dreams and in data; ``variance``, dreamed over data's; autocorrelations of r2 ``acf_wake`` and ``acf_dream``;
      ``digits_...``, the share of test recordings whose digit a linear readout tells; and pictures.
    """
    key_walk, *key_features = jax.random.split(key, 3)
    sounds = unfolded(sounds)
    frames = sounds.frames[1]
    walked, wake = walks(net, params, key_walk, frames)
    awake, dream = (jax.tree.map(lambda leaf, i=i: leaf[i], walked) for i in (0, 2))
    dreamed = dream.x[0][SETTLE:, 0]
    decoder = params["generation"]["w"][0].T
    from_r1, from_r2 = awake.generated[0][:, 0], awake.generated[1][:, 0] @ decoder
    acf = jax.vmap(lambda r: autocorrelation(r - jnp.mean(r, 0), range(LAGS + 1)))(walked.x[2][:, SETTLE:])
    found = {
        **losses(net, walked, wake),
        "r2_r1": r_squared(from_r1, frames),
        "r2_r2": r_squared(from_r2, frames),
        "mse_r1": jnp.mean((from_r1 - frames) ** 2),
        "transition": jnp.mean(params["generation"]["transition"]),
        **resemblance(frames, dreamed),
        "acf_wake": acf[0],
        "acf_dream": acf[2],
        "picture_r1": from_r1[-SHOWN:, :BINS],
        "picture_r2": from_r2[-SHOWN:, :BINS],
        "picture_dream": dreamed[-SHOWN:, :BINS],
    }

    def responses(frames: Array, key: Key) -> tuple[Array, ...]:
        """Both layers' activity when awake, (2, N, n), the second time without noise."""
        innovations = draw(net, key, len(frames), frames.dtype)
        scaled = jax.tree.map(lambda leaf: jnp.stack([leaf, jnp.zeros_like(leaf)]), innovations)
        # Inference is feedforward, so that all frames are one batch.
        still = jnp.zeros((len(frames), net.sizes[-1]), frames.dtype)
        return jax.vmap(lambda xi: advance(net, params, True, False, still, frames, xi).x[1:])(scaled)

    pairs = zip(*(responses(*each) for each in zip(sounds.frames, key_features, strict=True)), strict=True)
    for layer, pair in zip(LAYERS, pairs, strict=True):
        right = jax.vmap(lambda *each: digits(sounds, each))(*pair)
        found |= {f"digits_{layer}{name}": values[0] for name, values in right.items()}
        found |= {f"digits_{layer}_noiseless{name}": values[1] for name, values in right.items()}
    return found


def digits(sounds: Sounds, responses: tuple[Array, Array], ridge: float = 1.0) -> Metrics:
    """Share of test recordings whose digit a linear readout tells from means over the recording.

    Args:
      sounds: for recordings and labels.
      responses: (N, n) to the frames of training and of test.
      ridge: penalty on the squared weights, beside the sum of squared errors over recordings.

    Returns:
      That of the responses as they are, named "", and "_z", each first scaled to a variance of 1.
    """
    train, test = (
        jax.ops.segment_sum(r, of, len(label)) / jax.ops.segment_sum(jnp.ones_like(r[:, :1]), of, len(label))
        for r, of, label in zip(responses, sounds.recordings, sounds.labels, strict=True)
    )
    targets, middle = jax.nn.one_hot(sounds.labels[0], 10, dtype=train.dtype), jnp.mean(train, 0)

    def right(scale: Array) -> Array:
        readout = linear_readout((train - middle) / scale, targets, ridge / len(train))
        return jnp.mean(jnp.argmax(readout((test - middle) / scale), -1) == sounds.labels[1])

    scales = jnp.stack([jnp.ones(train.shape[1], train.dtype), jnp.maximum(jnp.std(train, 0), 1e-12)])
    return dict(zip(("", "_z"), jax.vmap(right)(scales), strict=True))


def resemblance(data: Array, dreamed: Array) -> Metrics:
    """How the statistics of dreamed frames are those of the data, both (frames, 128): see `tested`."""
    (mean, variance, correlation), (mean_d, variance_d, correlation_d) = map(statistics, (data, dreamed))
    found = {
        "correlation": correlation_d[:BINS, :BINS],
        "bin_mean": jnp.corrcoef(mean, mean_d)[0, 1],
        "variance": jnp.sum(variance_d) / jnp.sum(variance),
        "variance_by_bin": jnp.mean((variance_d / variance)[:BINS]),
    }
    for name, bins in (("", BINS), ("_all", len(mean))):
        a, b = correlation[:bins, :bins], correlation_d[:bins, :bins]
        found |= {f"pearson{name}": off_diagonal_pearson(a, b), f"cosine{name}": cosine_of(a, b)}
    return found


def statistics(frames: Array) -> tuple[Array, Array, Array]:
    """Mean, variance and correlations of the bins of (frames, bins); what never changes correlates with nothing."""
    mean = jnp.mean(frames, 0)
    covariance = (frames - mean).T @ (frames - mean) / len(frames)
    variance = jnp.diag(covariance)
    scale = jnp.sqrt(jnp.maximum(variance, 1e-12))
    return mean, variance, covariance / (scale[:, None] * scale)


def off_diagonal_pearson(a: Array, b: Array) -> Array:
    """Pearson's correlation between the entries above the diagonals of two symmetric matrices."""
    above = np.triu_indices(len(a), 1)
    return jnp.corrcoef(a[above], b[above])[0, 1]


def cosine_of(a: Array, b: Array) -> Array:
    """The authors' measure of two correlation matrices, diagonals included."""
    return jnp.sum(a * b) / jnp.sqrt(jnp.sum(a**2) * jnp.sum(b**2))


def components(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of training by column, strongest first, and R2 on test of the first 1 .. 128 of them."""
    centred = train.astype(np.float64) - train.mean(0, dtype=np.float64)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    energy = (((test - train.mean(0, dtype=np.float64)) @ axes) ** 2).mean(0)
    return axes, 1 - (energy.sum() - energy.cumsum()) / test.astype(np.float64).var(0).sum()


def baselines(sizes: tuple[int, int], sounds: Sounds, axes: np.ndarray) -> Metrics:
    """What needs no network: digits from the frames, the data's statistics, a matrix of ones.

    Returns:
      ``digits_...``, from all bins and from as many components as the layers have neurons; ``cosine`` of a matrix of
      ones and the data's correlations, and ``cosine_all``; ``correlation``; ``acf``; ``picture``.
    """
    sounds = unfolded(sounds)
    test = sounds.frames[1]
    correlation = statistics(test)[2]
    found = {
        "correlation": correlation[:BINS, :BINS],
        "cosine": cosine_of(correlation[:BINS, :BINS], jnp.ones((BINS, BINS))),
        "cosine_all": cosine_of(correlation, jnp.ones_like(correlation)),
        "acf": autocorrelation((test - jnp.mean(test, 0))[:, None], range(LAGS + 1)),
        "picture": test[-SHOWN:, :BINS],
    }
    rotations = {"raw": np.eye(MELS)} | {f"pca_{name}": axes[:, :k] for name, k in zip(LAYERS, sizes, strict=True)}
    for name, rotation in rotations.items():
        train, test = (frames @ jnp.asarray(rotation, frames.dtype) for frames in sounds.frames)
        found |= {f"digits_{name}{suffix}": value for suffix, value in digits(sounds, (train, test)).items()}
    return found


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """What impression learning begins with ("untrained/...") and ends at ("il/..."), rivals' losses, and gaps.

    "fall/..." is a loss before over the same after, "..._moved" and "rates/..." the inverse, "..._behind" a loss over
    that of impression learning; "gap/..." are paired; "components_..." principal components with a lower R2.
    """
    summary: dict[str, float] = {}
    first, last = (
        {k[3:]: v[:, at] for k, v in metrics.items() if k.startswith("il/") and v.ndim == 2} for at in (0, -1)
    )
    data = {k[5:]: v[:, 0] for k, v in metrics.items() if k.startswith("data/")}
    for stage in (first, last):
        stage["rmse_r1"] = data["scale"] * stage["mse_r1"] ** 0.5
    for name in first:
        if name not in ("loss", "bad_step"):
            put(summary, f"untrained/{name}", first[name])
            put(summary, f"il/{name}", last[name])
    for name in ("acf_wake", "acf_dream"):
        put(summary, f"il/{name}_5", metrics[f"il/{name}"][:, -1, 5])
    put(summary, "gap/acf", metrics["il/acf_dream"][:, -1, 5] - metrics["il/acf_wake"][:, -1, 5])
    for loss in LOSSES:
        put(summary, f"fall/{loss}", first[loss] / last[loss])
        for method in METHODS[1:]:
            ends = metrics[f"{method}/{loss}"][:, -1]
            put(summary, f"{method}/{loss}", ends)
            put(summary, f"{method}/{loss}_nats", metrics[f"{method}/{loss}_nats"][:, -1])
            put(summary, f"{method}/{loss}_moved", ends / metrics[f"{method}/{loss}"][:, 0])
            put(summary, f"{method}/{loss}_behind", ends / last[loss])
        moved = metrics[f"rates/{loss}"][:, -1] / metrics[f"rates/{loss}"][:, 0]
        put(summary, f"rates/{loss}_best", np.where(np.isfinite(moved), moved, np.inf).min(1))
        for rate, column in zip(metrics["data/rates"][0, 0], moved.T, strict=True):
            put(summary, f"rates/{rate:.3g}/{loss}", column)
    put(summary, "il_authors/variance", metrics["il_authors/variance"][:, -1])
    put(summary, "gap/onset", np.log(metrics["il_authors/alternating"] / metrics["il/alternating"])[:, -1])
    for name, values in data.items():
        if values.ndim == 1:
            put(summary, f"data/{name}", values)
    sizes = metrics["data/sizes"][0, 0].astype(int)
    for layer, size, own in zip(LAYERS, sizes, data["pca_own"].T, strict=True):
        share = data["pca"][:, size - 1]
        put(summary, f"data/pca_{layer}", share)
        put(summary, f"data/pca_own_{layer}", own)
        put(summary, f"gap/r2_r1-pca_{layer}", last["r2_r1"] - share)
        put(summary, f"il/components_{layer}", (data["pca"] < last[f"r2_{layer}"][:, None]).sum(1))
    for name in ("pearson", "pearson_all", *(name for name in first if name.startswith("digits"))):
        put(summary, f"gap/{name}", last[name] - first[name])
    return summary


def _above(name: str, statement: str, paper: float | str | None, key: str, bound: float) -> Claim:
    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        return summary[key], summary[key] > bound

    return Claim(name, statement, paper, measure)


def _near(name: str, statement: str, paper: float | str | None, key: str, target: float, within: float) -> Claim:
    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        return summary[key], abs(summary[key] - target) <= within

    return Claim(name, statement, paper, measure)


def _claims() -> list[Claim]:
    theirs, awake = 1.973e5, 16774 - 140  # their log adds the number of neurons to a step of wake
    return [
        _above("learns", "The loss with phases falls by more than 10 times", 15.8, "fall/alternating", 10),
        _above("learns-awake", "The loss awake falls by more than 10 times", 188, "fall/wake", 10),
        _near(
            "loss",
            "With layer 1 at rest on waking it ends within 15 % of what the authors' code gives",
            theirs,
            "il_authors/alternating",
            theirs,
            0.15 * theirs,
        ),
        _near("loss-awake", "Awake likewise, within 15 %", awake, "il_authors/wake", awake, 0.15 * awake),
        gap("loss-onset", "Taught on waking, as the density has it, it ends lower than that (log)", None, "gap/onset"),
        _above("reconstructs", "Stimuli are reconstructed from layer 1: R2 above 0.9", 0.962, "il/r2_r1", 0.9),
        _above("reconstructs-deep", "And from layer 2 alone: R2 above 0.7", 0.839, "il/r2_r2", 0.7),
        gap(
            "reconstructs-as-40",
            "From layer 1, better than from 40 principal components, as many as layer 2 has neurons (R2)",
            "0.962 / 0.986",
            "gap/r2_r1-pca_r2",
        ),
        gap(
            "reconstructs-as-100",
            "From layer 1, better than from 100 principal components, as many as it has neurons (R2)",
            None,
            "gap/r2_r1-pca_r1",
        ),
        _above("dreams", "Dreamed frequencies correlate like the data's: Pearson above 0.9", 0.962, "il/pearson", 0.9),
        gap("dreams-untrained", "And better than an untrained network's (Pearson)", None, "gap/pearson"),
        _above("dreams-mean", "The dreams' spectrum is the data's: correlation above 0.95", 0.999, "il/bin_mean", 0.95),
        _near("dreams-variance", "And so is its variance, within a quarter (ratio)", 0.87, "il/variance", 1, 0.25),
        _near(
            "dreams-variance-authors",
            "With layer 1 at rest on waking, too (ratio)",
            0.87,
            "il_authors/variance",
            1,
            0.25,
        ),
        _near("dreams-time", "Dreams change as fast as waking activity: lag 5, within 0.1", 0.031, "gap/acf", 0, 0.1),
        _above("cosine", "The authors' cosine is nearly trivial: ones have above 0.95", 0.973, "data/cosine", 0.95),
        _above(
            "nvi-behind",
            "NVI* at its largest rate that does not climb ends at 5 times the loss (ratio)",
            None,
            "nvi/alternating_behind",
            5,
        ),
        _above(
            "nvi-stalls",
            "At no rate does an epoch of NVI* lower the loss by 5 % (best, after over before)",
            None,
            "rates/alternating_best",
            0.95,
        ),
        _above(
            "published-climbs",
            "The published NVI* at the authors' rate raises the loss (after over before)",
            None,
            "published/alternating_moved",
            1,
        ),
        *(
            gap(
                f"digits-{name}".replace("_", "-"),
                f"Digits are read out better than untrained: {what}",
                paper,
                f"gap/digits_{name}",
            )
            for name, what, paper in (
                ("r2", "layer 2", "0.86 / 0.33"),
                ("r2_z", "layer 2, scaled", "0.86 / 0.54"),
                ("r2_noiseless_z", "layer 2, scaled and without noise", None),
                ("r1", "layer 1", "0.87 / 0.70"),
                ("r1_z", "layer 1, scaled", "0.87 / 0.893"),
            )
        ),
    ]


CLAIMS = _claims()


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Losses, and what of digits is read out, in Markdown."""
    summary = summarise(metrics)

    def cell(name: str, form: str) -> str:
        return f"{summary[name]:{form}} ± {summary[f'{name}_sem']:{form}}"

    rows = [("method", "with phases", "awake", "with phases (nats)", "awake (nats)"), ("---",) * 5]
    for name in ("untrained", *METHODS):
        wanted = ("alternating", "wake", "alternating_nats", "wake_nats")
        rows.append((LABELS[name], *(cell(f"{name}/{loss}", ".3e") for loss in wanted)))
    more = [("digits from", "untrained", "trained", "untrained, scaled", "trained, scaled"), ("---",) * 5]
    for feature, label in FEATURES.items():
        if feature in LAYERS or feature.endswith("noiseless"):
            names = (f"{stage}/digits_{feature}{z}" for z in ("", "_z") for stage in ("untrained", "il"))
            more.append((label, *(cell(name, ".3f") for name in names)))
        else:
            found = (f"{summary[f'data/digits_{feature}{z}']:.3f}" for z in ("", "_z"))
            more.append((label, *(part for value in found for part in ("-", value))))
    return "\n\n".join("\n".join("| " + " | ".join(row) + " |" for row in each) for each in (rows, more))


def plot(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Four figures."""
    return figures(metrics, summarise(metrics))


experiment = Experiment(
    title="Figure 4: spoken digits, reconstructed and dreamed by two layers, beside NVI* and trivial baselines",
    cost={
        "smoke": "about half a minute, most of it compilation",
        "default": "4 seeds x 20 epochs, six minutes on two cores",
        "paper": "20 seeds x 20 epochs: half an hour on two cores, in resumable pieces of seconds",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
    text=text,
)
