"""Figure 5 of Benjamin & Kording (2021): moving digits, predicted in closed loop, learned from discriminators.

"combined" has critics of frames and of latents and a sleep phase, equation 8; "predicting" does not constrain the
latents: gamma = 0, and its D_z is always zero. In the combined objective D_z, which has no layer above it, compares
wake with sleep at a weight of 1 whatever gamma. "squared" is not a method of the paper: the same network descends the
squared error, summed over pixels, as a limit for this measure, which rewards blur, too. Each method predicts test
videos from the same seeds, in closed loop; judged are one sample, the mean of all samples, and the one of least error.

Baselines: a blank frame, the mean frame (of the test videos themselves, which favours it), the mean of the watched
frames, the last of them, another video, and, as a cheat, the true previous frame. A blank frame beats the last one
from the second predicted frame on; on the paper's task, at every one.

The default preset is not the paper's task: one digit of 7 x 7 pixels on 16 x 16, five frames from three, networks a
quarter as wide, rates 10 to 20 times as high. It was chosen by errors of "combined" on test videos, summed over pixels
(a blank frame has 3.8, the mean frame 3.4, the last one 3.0 at first and 6.3 at the end, the untrained network 43),
with one seed each, and two in the last three rows:

    frame      batch   rates (model, critic)   features' weight   after    next frame
    sigmoid    16      1e-3, 2e-3              1, of a mean       400      3.9: black, when it was stopped
    identity   8       1e-3, 4e-3              1, of a mean       1,200    4.5: grainy, at the digit's place
    identity   8       2e-3, 4e-3              20, of a mean      1,200    7.8: smooth, nearer its place, too bright
    identity   8       2e-3, 4e-3              5, of a mean       2,400    5.4: blobs that hardly move
    identity   8       2e-3, 4e-3              0.05, of a sum     2,400    6.2
    identity   8       2e-3, 4e-3              1, of a sum        2,400    3.4: blobs that follow the digit
    identity   8       2e-3, 4e-3              1, of a sum        4,800    2.3: chosen

Networks learn to predict by the distance between features; its mean over features is too weak.

At this scale, predictions follow the digit, within 0.7 pixels at first and 1.4 to 2.0 at the end (the last frame: 0.9
and 3.5). They begin with something of its shape, which they lose; their ink is spread, little more than half as bright
as the digit's. "squared" has the lower error and the fainter blobs. Asleep, "combined" has as much ink as the truth;
"predicting", with latents that no prior constrains, has less than half of it.
"""

import dataclasses
from typing import Annotated, Literal, NamedTuple

import jax
import jax.numpy as jnp

from experiments.benjamin2021.common import EPOCHS, SITES, adversarial_training, digits, optimiser
from experiments.benjamin2021.fig5_claims import CLAIMS, summarise
from experiments.benjamin2021.fig5_figures import figures
from experiments.benjamin2021.fig5_scores import METHODS, SHOWN, baselines, tested
from experiments.benjamin2021.why import FIG5
from experiments.shared.claims import explained
from experiments.shared.images import unfolded
from plasticity_jax.base import Info, LearningRule
from plasticity_jax.networks.conv_lstm import ConvLstm, conv_lstm, init_params
from plasticity_jax.networks.hierarchy import FREE, Judgement, Parents, Phases
from plasticity_jax.rules.generative.adversarial import adversarial
from plasticity_jax.run import Experiment, Program, Range
from plasticity_jax.run.program import Metrics, once
from plasticity_jax.tasks.moving_mnist import Scene, moving_mnist, render
from plasticity_jax.typing import Array, Batch, Example, Key, Params, Updates

SCENES = 50
"""Key of the test videos."""


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
    output: Literal["identity", "sigmoid"] = "identity"
    gamma: Annotated[float, Range(0, 1)] = 0.5
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
    """A network with unconstrained latents: its D_z is zero.

    Attributes:
      net: the network itself.
    """

    net: ConvLstm

    @property
    def sites(self) -> tuple[tuple[int, ...], ...]:
        """Sites of the network."""
        return self.net.sites

    def phases(self, params: Params, x: Array, key: Key, parents: Parents = FREE, oscillate: bool = True) -> Phases:
        """Phases of the network."""
        return self.net.phases(params, x, key, parents, oscillate)

    def judge(self, params: Params, site: int, activity: tuple[Array, ...]) -> Judgement:
        """Judgement of frames by the network; zero for latents."""
        judgement = self.net.judge(params, site, activity)
        return judgement if site == 0 else jax.tree.map(jnp.zeros_like, judgement)

    def check(self, params: Params, x: Array) -> None:
        """Checks as the network does."""
        self.net.check(params, x)


def squared(net: ConvLstm) -> LearningRule:
    """Rule that descends the squared error of predictions in closed loop; discriminators do not learn."""

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
    """The network, with the config's fields of the same names."""
    return conv_lstm(**{name: getattr(config, name) for name in ConvLstm._fields if hasattr(config, name)})


def build_rule(config: Config, net: ConvLstm, method: str) -> LearningRule:
    """One of `METHODS`."""
    if method == "squared":
        return squared(net)
    judged, gamma = (Predicting(net), 0.0) if method == "predicting" else (net, config.gamma)
    return adversarial(judged, gamma, penalty=config.penalty, reconstruction=config.reconstruction)


class Bank(NamedTuple):
    """Digits and scenes that videos are made of, on the device.

    Attributes:
      train: (N, side, side) digits, uint8.
      test: (M, side, side).
      scene: of the test videos.
    """

    train: Array
    test: Array
    scene: Scene


def bank_of(config: Config) -> Bank:
    """Digits, and scenes of the test videos from a key of their own.

    Raises:
      MissingData: if the digits are not on this machine.
    """
    images = digits(config.data, config.side)
    train, test = (digit.reshape(-1, config.side, config.side) for digit in (images.train, images.test))
    stream = moving_mnist(len(test), config.count, config.videos)
    scene = jax.tree.map(lambda leaf: leaf[0], stream.take(stream.init(jax.random.key(SCENES)), 1)[1])
    return Bank(train, test, scene)


def filmed(config: Config, images: Array, scene: Scene) -> Example:
    """Videos of scenes."""
    frames = config.context + config.horizon
    return render(images, scene, size=config.size, frames=frames, speed=config.speed)


def shown_videos(config: Config, bank: Bank) -> Array:
    """The test videos, (videos, context + horizon, size, size, 1)."""
    bank = unfolded(bank)
    return filmed(config, bank.test, bank.scene).x


def part(config: Config, bank: Bank, method: str) -> Program:
    """One method's training, tested at each point; or the "untrained" network."""
    net = build_net(config)

    def weights(key: Key) -> Params:
        return init_params(key, net)

    def evaluate(params: Params) -> Metrics:
        return tested(net, params, shown_videos(config, bank), config.samples)

    if method == "untrained":  # all methods draw their weights from this part of the key
        return once(lambda lane: evaluate(weights(jax.random.split(lane, 3)[0])), 1)

    return adversarial_training(
        build_rule(config, net, method),
        weights,
        optimiser(config.model_rate, config.critic_rate, epoch_steps=config.steps / EPOCHS),
        moving_mnist(len(bank.train), config.count, config.batch),
        lambda scene: filmed(config, unfolded(bank.train), scene),
        lambda state: evaluate(state.learner.params),
        steps=config.steps,
        points=config.points,
    )


def make_parts(config: Config) -> dict[str, Program]:
    """Parts: "data" (the baselines), "untrained" (the initial network), and `METHODS`."""
    bank = bank_of(config)
    parts = {"data": once(lambda lane: baselines(shown_videos(config, bank), config.context), 1)}
    return parts | {name: part(config, bank, name) for name in ("untrained", *METHODS)}


experiment = Experiment(
    title="Figure 5: moving digits, predicted in closed loop, beside trivial baselines",
    cost={
        "smoke": "under a minute, nearly all of it compilation",
        "default": "2 seeds, ten minutes on two cores: a tiny part of the paper's training",
        "paper": "3 seeds x 400 epochs, ten hours each on the authors' GPU, in resumable pieces",
    },
    scale={
        "default": "one digit of 7 x 7 on 16 x 16, five frames from three, a quarter of the width, 4,800 steps of 8; "
        "the paper two on 64 x 64, ten from ten, 124,800 of 32",
        "paper": "the paper's problem and steps",
    },
    tuned="rates and the weight of features, by single runs on reported seeds",
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, FIG5),
    plot=figures,
)
