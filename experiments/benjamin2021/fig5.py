"""Figure 5 of Benjamin & Kording (2021): moving digits, predicted in closed loop by what discriminators reward.

"combined" has critics of frames and of latents and a sleep phase, equation 8; "predicting" is without constraint on the
latents: gamma = 0, and its D_z has no opinion. In the combined objective D_z, above which there is no layer, compares
wake with sleep at a weight of 1 whatever gamma. "squared" is no method of the paper: the same network descends the
squared error, summed over pixels, as a ceiling of what such a measure rewards, with blur. Each method predicts test
videos from the same seeds, in closed loop: one sample, the mean of all, and of all the one of least error.

Baselines: a blank frame, the mean frame (of the test videos themselves, which favours it), the mean of what was
watched, its last frame, another video, and, by cheating, the true frame before. A blank frame beats the last one
from the second frame on; on the paper's task, at every one.

The default preset is not the paper's task: one digit of 7 x 7 pixels on 16 x 16, five frames from three, networks a
quarter as wide, rates 10 to 20 times as high. How it was found, by errors of "combined" on test videos, summed over
pixels (a blank frame has 3.8, the mean frame 3.4, the last one 3.0 at first and 6.3 at the end, the untrained network
43), one seed each, two in the last three rows:

    frame      batch   rates (model, critic)   features' weight   after    next frame
    sigmoid    16      1e-3, 2e-3              1, of a mean       400      3.9: black, when it was stopped
    identity   8       1e-3, 4e-3              1, of a mean       1,200    4.5: grainy, at the digit's place
    identity   8       2e-3, 4e-3              20, of a mean      1,200    7.8: smooth, nearer its place, too bright
    identity   8       2e-3, 4e-3              5, of a mean       2,400    5.4: blobs that hardly move
    identity   8       2e-3, 4e-3              0.05, of a sum     2,400    6.2
    identity   8       2e-3, 4e-3              1, of a sum        2,400    3.4: blobs that follow the digit
    identity   8       2e-3, 4e-3              1, of a sum        4,800    2.3: taken

The distance between features is what teaches to predict, and a mean of it over features is too little.

What is seen at this scale: predictions follow the digit, within 0.7 pixels at first and 1.6 to 2.1 at the end (the last
frame: 0.9 and 3.5), and begin with something of its shape, which they lose; their ink is spread, little more than half
as bright as the digit's. "squared" has the lower error and the fainter blobs. Asleep, "combined" dreams of next to
nothing, and "predicting", whose latents no one has told of the prior, of several blobs at once.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benjamin2021.common import EPOCHS, SITES, adversarial_training, digits, optimiser
from experiments.benjamin2021.fig5_figures import BASELINES, DREAMS, METHODS, SHOWN, figures
from experiments.shared.images import unfolded
from plasticity_jax.base import Info, LearningRule
from plasticity_jax.diagnostics.video import squared_error, ssim
from plasticity_jax.networks.conv_lstm import ConvLstm, conv_lstm, init_params, predict
from plasticity_jax.networks.hierarchy import FREE, Judgement, Parents, Phases
from plasticity_jax.rules.generative.adversarial import adversarial
from plasticity_jax.run import Claim, Experiment, Program, gap, put
from plasticity_jax.run.program import Metrics, TrainingState, once
from plasticity_jax.tasks.moving_mnist import Scene, moving_mnist, render
from plasticity_jax.typing import Array, Batch, Example, Key, Params, Updates

SCENES, PREDICTIONS = 50, 51
"""Keys of test videos and of their predictions."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: networks and videos, shared by all methods.
      data: "mnist", or "prototypes" (random images under noise, which need no files).
      side: pixels of a digit, 28 or a divisor of it: digits are averaged over squares.
      size: side of a frame, a multiple of 8.
      count: digits in a video.
      speed: of a digit, where 1 crosses the canvas in a step.
      context: frames that are watched.
      horizon: frames that are predicted, and bounced in sleep.
      hidden: channels of each LSTM.
      decoder_hidden: channels between frames and states.
      kernel: side of the network's kernels.
      critic_width: channels of a critic.
      output: of a frame, "identity" or "sigmoid".
      gamma: weight of wake/sleep against prediction, for "combined".
      penalty: weight of the gradient penalty.
      reconstruction: weight of the distance between features, a sum over them.
      model_rate: of Adam on inference and generation.
      critic_rate: of Adam on discriminators.
      batch: videos in a step.
      steps: of training.
      points: of each curve, between which a run can be saved.
      videos: of test digits, the same for all seeds.
      samples: K, predictions of each of these.
    """

    seeds: int = 2
    data: str = "mnist"
    side: int = 7
    size: int = 16
    count: int = 1
    speed: float = 0.1
    context: int = 3
    horizon: int = 5
    hidden: int = 8
    decoder_hidden: int = 8
    kernel: int = 3
    critic_width: int = 16
    output: str = "identity"
    gamma: float = 0.5
    penalty: float = 1.0
    reconstruction: float = 1.0
    model_rate: float = 2e-3
    critic_rate: float = 4e-3
    batch: int = 8
    steps: int = 4800
    points: int = 12
    videos: int = 128
    samples: int = 8

    def __post_init__(self) -> None:
        if min(self.seeds, self.batch, self.steps, self.points, self.samples) < 1:
            raise ValueError("seeds, batch, steps, points and samples must be at least 1")
        if self.videos < SHOWN:
            raise ValueError(f"videos={self.videos} must be at least {SHOWN}, which are shown")
        if self.steps % self.points:
            raise ValueError(f"steps={self.steps} must be a multiple of points={self.points}")
        if self.horizon < 2:
            raise ValueError(f"horizon={self.horizon} must be at least 2, so that an error can grow with it")


PRESETS = {
    "smoke": Config(
        data="prototypes",
        hidden=2,
        decoder_hidden=2,
        kernel=1,
        critic_width=4,
        context=2,
        horizon=2,
        batch=2,
        steps=4,
        points=2,
        videos=4,
        samples=2,
    ),
    "default": Config(),
    "paper": Config(
        seeds=3,
        side=28,
        size=64,
        count=2,
        context=10,
        horizon=10,
        hidden=32,
        decoder_hidden=16,
        kernel=5,
        critic_width=64,
        model_rate=1e-4,
        critic_rate=4e-4,
        batch=32,
        steps=400 * 312,
        points=100,
    ),
}


class Predicting(NamedTuple):
    """A network whose latents are free: its D_z says nothing of them.

    Attributes:
      net: what it is otherwise.
    """

    net: ConvLstm

    @property
    def sites(self) -> tuple[tuple[int, ...], ...]:
        """As of the network."""
        return self.net.sites

    def phases(self, params: Params, x: Array, key: Key, parents: Parents = FREE, oscillate: bool = True) -> Phases:
        """As of the network."""
        return self.net.phases(params, x, key, parents, oscillate)

    def judge(self, params: Params, site: int, activity: tuple[Array, ...]) -> Judgement:
        """Of frames as the network's; of latents nothing."""
        said = self.net.judge(params, site, activity)
        return said if site == 0 else jax.tree.map(jnp.zeros_like, said)

    def check(self, params: Params, x: Array) -> None:
        """As of the network."""
        self.net.check(params, x)


def squared(net: ConvLstm) -> LearningRule:
    """The rule that descends the squared error of predictions in closed loop; discriminators rest."""

    def init(params: Params, key: Key, batch: Batch) -> tuple[()]:
        net.check(params, batch.x)
        return ()

    def update(params: Params, traces: tuple[()], key: Key, batch: Batch) -> tuple[Updates, tuple[()], Info]:
        def error(params: Params) -> Array:
            phases = net.phases(params, batch.x, key)
            return jnp.mean(jnp.sum((phases.oscillation[0] - phases.wake[0]) ** 2, (1, 2, 3)))

        loss, updates = jax.value_and_grad(error)(params)
        none = jnp.zeros(len(net.sites), loss.dtype)
        aux = {**dict.fromkeys(SITES, none), "critic": none[0]}
        return updates, (), Info(loss, jnp.asarray(True), aux)

    return LearningRule(init, update)


def build_net(config: Config) -> ConvLstm:
    """The network, its fields those of the config that have their names."""
    return conv_lstm(**{name: getattr(config, name) for name in ConvLstm._fields if hasattr(config, name)})


def build_rule(config: Config, net: ConvLstm, method: str) -> LearningRule:
    """One of `METHODS`."""
    if method == "squared":
        return squared(net)
    judged, gamma = (Predicting(net), 0.0) if method == "predicting" else (net, config.gamma)
    return adversarial(judged, gamma, penalty=config.penalty, reconstruction=config.reconstruction)


class Bank(NamedTuple):
    """What videos are made of, on the device.

    Attributes:
      train: (N, side, side) digits, uint8.
      test: (M, side, side).
      scene: of the test videos.
    """

    train: Array
    test: Array
    scene: Scene


def bank(config: Config) -> Bank:
    """Digits, and scenes of the test videos from a key of their own.

    Raises:
      MissingData: if the digits are not on this machine.
    """
    shown = digits(config.data, config.side)
    train, test = (image.reshape(-1, config.side, config.side) for image in (shown.train, shown.test))
    stream = moving_mnist(len(test), config.count, config.videos)
    scene = jax.tree.map(lambda leaf: leaf[0], stream.take(stream.init(jax.random.key(SCENES)), 1)[1])
    return Bank(train, test, scene)


def filmed(config: Config, images: Array, scene: Scene) -> Example:
    """Videos of scenes."""
    frames = config.context + config.horizon
    return render(images, scene, size=config.size, frames=frames, speed=config.speed)


def centroid(frames: Array) -> Array:
    """Row and column of the ink's centre, (..., 2), of frames (..., H, W, 1); of the top left corner if it is blank."""
    ink = jnp.clip(frames[..., 0], 0, 1)
    total = jnp.maximum(jnp.sum(ink, (-2, -1)), 1e-6)
    row = jnp.sum(ink, -1) @ jnp.arange(ink.shape[-2], dtype=ink.dtype)
    column = jnp.sum(ink, -2) @ jnp.arange(ink.shape[-1], dtype=ink.dtype)
    return jnp.stack([row, column], -1) / total[..., None]


def brightness(frames: Array) -> Array:
    """Mean value of a pixel that is drawn in proportion to its ink, by horizon; blur lowers it. (B, T, H, W, 1)."""
    ink = jnp.clip(frames, 0, 1)
    return jnp.sum(ink**2, (0, 2, 3, 4)) / jnp.maximum(jnp.sum(ink, (0, 2, 3, 4)), 1e-6)


def compared(predicted: Array, true: Array) -> Metrics:
    """By horizon: error, ssim, ink (the sum of a frame), centroid (its error in pixels) and brightness."""
    return {
        "error": squared_error(predicted, true),
        "ssim": ssim(predicted, true),
        "ink": jnp.mean(jnp.sum(predicted, (2, 3, 4)), 0),
        "centroid": jnp.mean(jnp.linalg.norm(centroid(predicted) - centroid(true), axis=-1), 0),
        "brightness": brightness(predicted),
    }


def baselines(config: Config, bank: Bank) -> Metrics:
    """Of each of `BASELINES`, and of the truth, what `compared` measures; some test videos."""
    x = filmed(config, bank.test, bank.scene).x
    context, true = x[:, : config.context], x[:, config.context :]
    predicted = {
        "true": true,
        "blank": jnp.zeros_like(true),
        "mean": jnp.broadcast_to(jnp.mean(x, (0, 1)), true.shape),
        "watched": jnp.broadcast_to(jnp.mean(context, 1, keepdims=True), true.shape),
        "last": jnp.broadcast_to(context[:, -1:], true.shape),
        "previous": x[:, config.context - 1 : -1],
        "other": jnp.roll(true, 1, 0),
    }
    found = {f"{what}_{name}": v for name, each in predicted.items() for what, v in compared(each, true).items()}
    return {**found, "video": picture(x)}


def picture(frames: Array) -> Array:
    """The first videos as bytes (SHOWN, T, H, W)."""
    return jnp.round(255 * jnp.clip(frames[:SHOWN, ..., 0], 0, 1)).astype(jnp.uint8)


def tested(config: Config, net: ConvLstm, bank: Bank, params: Params) -> Metrics:
    """Predictions of test videos, and what the phases and their critics are like.

    Returns:
      What `compared` measures of one sample, of the mean ("_mean") and of the best ("_best") of K by the error over all
      horizons; scores "d_x_wake" and so on; of latents, units taken one by one, the root mean square of their means,
      their mean variance and the divergence from N(0, 1) of Gaussians that have these, in nats; pictures.
    """
    x = filmed(config, bank.test, bank.scene).x
    context, true = x[:, : config.context], x[:, config.context :]
    keys = jax.random.split(jax.random.key(PREDICTIONS), config.samples)
    drawn = jax.lax.map(lambda key: predict(net, params, context, key, config.horizon), keys)
    best = jnp.argmin(jnp.sum((drawn - true) ** 2, (2, 3, 4, 5)), 0)
    chosen = drawn[best, jnp.arange(config.videos)]
    found = {}
    for name, predicted in {"": drawn[0], "_mean": jnp.mean(drawn, 0), "_best": chosen}.items():
        found |= {f"{what}{name}": value for what, value in compared(predicted, true).items()}
    phases = net.phases(params, x, keys[0])
    for phase, activity in phases._asdict().items():
        for site, (name, h) in enumerate(zip("xz", activity, strict=False)):
            found[f"d_{name}_{phase}"] = jnp.mean(net.judge(params["discriminator"][site], site, (h,)).score)
    for phase, z in (("wake", phases.wake[1]), ("sleep", phases.sleep[1])):
        mean, variance = jnp.mean(z, 0), jnp.var(z, 0)
        found[f"z_mean_{phase}"] = jnp.sqrt(jnp.mean(mean**2))
        found[f"z_variance_{phase}"] = jnp.mean(variance)
        found[f"z_apart_{phase}"] = jnp.mean(mean**2 + variance - 1 - jnp.log(variance)) / 2
    dreams = phases.sleep[0].reshape(config.videos, config.horizon, *x.shape[2:])
    return {**found, "picture": picture(drawn[0]), "dream": picture(dreams)[:DREAMS]}


def part(config: Config, bank: Bank, method: str) -> Program:
    """One method's training, tested at each point; or the "untrained" network."""
    net = build_net(config)

    def weights(key: Key) -> Params:
        return init_params(key, net)

    def evaluate(params: Params) -> Metrics:
        return tested(config, net, unfolded(bank), params)

    if method == "untrained":  # the first part of its lane's key makes the weights of all methods
        return once(lambda lane: evaluate(weights(jax.random.split(lane, 3)[0])), 1)

    def tests(state: TrainingState) -> Metrics:
        return evaluate(state.learner.params)

    return adversarial_training(
        build_rule(config, net, method),
        weights,
        optimiser(config.model_rate, config.critic_rate, epoch_steps=config.steps / EPOCHS),
        moving_mnist(len(bank.train), config.count, config.batch),
        lambda scene: filmed(config, unfolded(bank.train), scene),
        tests,
        steps=config.steps,
        points=config.points,
    )


def make_parts(config: Config) -> dict[str, Program]:
    """ "data", the baselines; "untrained"; and `METHODS`."""
    found = bank(config)
    parts = {"data": once(lambda lane: baselines(config, unfolded(found)), 1)}
    return parts | {name: part(config, found, name) for name in ("untrained", *METHODS)}


MEASURES = ("error", "ssim", "ink", "centroid", "brightness")
LATENT = ("z_mean", "z_variance", "z_apart")


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """At the end of training, "method/measure" over all horizons, "_1" at the first and "_n" at the last, and gaps.

    "data/measure_baseline" likewise; gaps, named "gap/...", are paired and above 0 where a claim is right.
    """
    summary: dict[str, float] = {}
    last = {name: values[:, -1] for name, values in metrics.items() if values.ndim > 1}

    def horizons(name: str, values: np.ndarray) -> None:
        for suffix, value in (("", values.mean(1)), ("_1", values[:, 0]), ("_n", values[:, -1])):
            put(summary, f"{name}{suffix}", value)

    for baseline in ("true", *BASELINES):
        for what in MEASURES:
            horizons(f"data/{what}_{baseline}", last[f"data/{what}_{baseline}"])
    for method in ("untrained", *METHODS):
        for what in (*MEASURES, *(f"{what}_{kind}" for what in ("error", "ssim") for kind in ("mean", "best"))):
            horizons(f"{method}/{what}", last[f"{method}/{what}"])
        for what in (f"{what}_{phase}" for what in LATENT for phase in ("wake", "sleep")):
            put(summary, f"{method}/{what}", last[f"{method}/{what}"])
    mean, copied = last["data/error_mean"], last["data/error_last"]
    for method in METHODS:
        error = last[f"{method}/error"]
        put(summary, f"gap/{method}/first", (mean - error)[:, 0])
        for kind in ("mean", "best"):
            put(summary, f"gap/{method}/{kind}", (mean - last[f"{method}/error_{kind}"])[:, -1])
        for at, lead in enumerate((copied - error).T):
            put(summary, f"gap/{method}/last_{at + 1}", lead)
        put(summary, f"gap/{method}/grows", error[:, -1] - error[:, 0])
        put(summary, f"gap/{method}/untrained", (last["untrained/error"] - error).mean(1))
        put(summary, f"{method}/ink_ratio", (last[f"{method}/ink"] / last["data/ink_true"]).mean(1))
        put(
            summary, f"{method}/brightness_ratio", (last[f"{method}/brightness"] / last["data/brightness_true"]).mean(1)
        )
        for rival in ("last", "mean"):
            off = last[f"data/centroid_{rival}"] - last[f"{method}/centroid"]
            put(summary, f"gap/{method}/centroid_{rival}", off.mean(1))
        if method != "squared":
            put(summary, f"{method}/d_x_gap", last[f"{method}/d_x_wake"] - last[f"{method}/d_x_oscillation"])
            put(summary, f"{method}/d_x_sleep_gap", last[f"{method}/d_x_wake"] - last[f"{method}/d_x_sleep"])
    put(summary, "combined/d_z_gap", last["combined/d_z_wake"] - last["combined/d_z_sleep"])
    put(summary, "gap/z_apart", last["predicting/z_apart_wake"] - last["combined/z_apart_wake"])
    put(summary, "cost", (last["combined/error"] / last["predicting/error"]).mean(1))
    put(summary, "gap/squared/combined", (last["combined/error"] - last["squared/error"]).mean(1))
    bright = {method: last[f"{method}/brightness"][:, -1] for method in METHODS}
    put(summary, "gap/brightness", bright["combined"] - bright["squared"])
    return summary


def _within(name: str, statement: str, key: str, least: float, most: float) -> Claim:
    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        return summary[key], least <= summary[key] <= most

    return Claim(name, statement, None, measure)


def _pooled(method: str, statement: str) -> Claim:
    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        gaps = [(summary[f"gap/{method}/{kind}"], summary[f"gap/{method}/{kind}_sem"]) for kind in ("mean", "best")]
        return max(gap for gap, _ in gaps), any(gap > 2 * sem for gap, sem in gaps)

    return Claim(f"{method}-many", statement, None, measure)


def _copying(method: str, statement: str) -> Claim:
    """At every horizon that the summary has."""

    def measure(summary: Mapping[str, float]) -> tuple[float, bool]:
        start = f"gap/{method}/last_"
        gaps = [name for name in summary if name.startswith(start) and not name.endswith("_sem")]
        return gap("", "", None, *gaps).measure(summary)

    return Claim(f"{method}-copying", statement, None, measure)


def _claims() -> list[Claim]:
    claims = []
    for method, title in {"combined": "Combined", "predicting": "Prediction alone"}.items():
        gap = f"gap/{method}/"
        claims += [
            gap(
                f"{method}-learns",
                f'{title}: "worked well": errors are below the untrained network\'s (gap of squared errors)',
                "worked well",
                f"{gap}untrained",
            ),
            gap(
                f"{method}-first",
                f"{title}: a sampled next frame has a lower error than the mean frame (gap)",
                None,
                f"{gap}first",
            ),
            _pooled(method, f"{title}: the last frame's, of the mean or the best of all samples, too (larger gap)"),
            _copying(method, f"{title}: at every horizon a sample has a lower error than the last frame (least gap)"),
            gap(f"{method}-grows", f"{title}: the error grows with the horizon (last - first)", None, f"{gap}grows"),
            _within(
                f"{method}-ink",
                f"{title}: plausible digits: as much ink as in truth, within a fifth (ratio)",
                f"{method}/ink_ratio",
                0.8,
                1.2,
            ),
            _within(
                f"{method}-bright",
                f"{title}: plausible digits: ink as bright as in truth, within a fifth (ratio)",
                f"{method}/brightness_ratio",
                0.8,
                1.2,
            ),
            gap(
                f"{method}-trajectories",
                f"{title}: plausible trajectories: centroids are nearer than the last frame's and the mean's (px)",
                "plausible trajectories",
                f"{gap}centroid_last",
                f"{gap}centroid_mean",
            ),
        ]
    return [
        *claims,
        gap(
            "sleep-prior",
            "Sleep brings latents nearer to N(0, 1) than prediction alone (gap of divergences by unit, nats)",
            "matches a prior",
            "gap/z_apart",
        ),
        _within(
            "sleep-matches",
            "With sleep they match it: below 0.05 nats by unit",
            "combined/z_apart_wake",
            0,
            0.05,
        ),
        _within(
            "sleep-cheap", "Sleep costs little: errors at most a tenth higher than without (ratio)", "cost", 0, 1.1
        ),
        gap(
            "squared-lower",
            "Descending it, the network comes to a lower squared error than by the combined objective (gap)",
            None,
            "gap/squared/combined",
        ),
        gap(
            "squared-blurs",
            "But what it last predicts is blurred: the combined objective's ink is brighter (gap)",
            None,
            "gap/brightness",
        ),
    ]


CLAIMS = _claims()


def plot(metrics: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Pictures, measures by horizon, training, and the pictures moving."""
    return figures(metrics)


experiment = Experiment(
    title="Figure 5: moving digits, predicted in closed loop, beside trivial baselines",
    cost={
        "smoke": "under a minute, nearly all of it compilation",
        "default": "2 seeds, ten minutes on two cores: a tiny part of the paper's training",
        "paper": "3 seeds x 400 epochs, ten hours each on the authors' GPU, in resumable pieces",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
)
