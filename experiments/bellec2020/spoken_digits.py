"""Spoken digits, our own task with the rule of Bellec et al. (2020): real recordings and online rules.

A network receives a recording as mel frames of 23 ms, and the digit is due in the second half; recordings have
different lengths. "gru" is a gated recurrent unit, "alif" a spiking network in which half of the neurons adapt. On
both, e-prop and RFLO are one equation (`plasticity_jax.rules.online.eprop`): a neuron's own eligibility traces times
the error broadcast to it. On spiking neurons it is called e-prop ("alif.eprop"); on a GRU, which has no spikes, RFLO
("gru.rflo"). Both broadcast through the readout's transpose; "random" broadcasts through fixed random weights, like
Murray's RFLO. "blind" is RFLO on the voltage alone, that is e-prop without the adaptation's traces. SnAp-1 differs from
RFLO by a neuron's synapse on itself; therefore the ALIF networks have such synapses here, unlike those of Bellec et al.
E-prop leaves the reset out of its derivatives, like the authors; BPTT, SnAp and UORO, which stand for the whole
derivative, include it.

For comparison there are "frozen", in which the readout alone learns, online; "ridge", the best linear readout of the
same frozen network's mean activity while the digit is due, in closed form; and two readouts without a network,
"mel.mean" from the mean frame of a recording and "mel.whole" from the whole spectrogram, padded. Chance is 10 %.

Each seed leaves out one of the six speakers at random. Networks learn takes 5 to 49 of each digit by the other five
speakers, and are judged on takes 0 to 4 of the same speakers, the customary test, and on all takes of the speaker who
is left out. A spectrogram is relative to the loudest entry of its own recording, which would not be available live.

The search for the rates: mean cross-entropy of takes 5 to 9, held out of training, after 120 updates of the GRU and 80
of the spiking network, on one seed that is not reported. At .001 all are worse on the GRU (BPTT .964, UORO 1.873).

    GRU     BPTT    RFLO    random  SnAp-1  UORO    readout alone
    .003    .440    .461    .842    .459    1.471   1.742
    .01     .364    .276    .440    .279    1.492   1.378
    .03     .409    .326    .492    .415    2.147   1.180

    ALIF    BPTT    e-prop  random  blind   SnAp-1  UORO    readout alone
    .003    1.244   1.355   1.660   1.363   1.344   1.871   1.892
    .01     .872    1.002   1.319   1.012   1.061   1.895   1.580
    .03     .960    .983    1.588   1.099   .913    2.314   1.388

The ridges were chosen on the same takes, among three or four that differ by factors of ten. The mean frame has 80.8 and
81.6 % at .001 and .01, the whole spectrogram 92.0 % at .01 and .1, and the activity of the GRU and of the spiking
network 89.6 and 79.6 % at .001. With that readout, scales of 1, 2 and 4 of the spiking network's weights are equally
good (79.6, 80.4, 78.8 %).
"""

import dataclasses
from functools import partial
from typing import Annotated

import jax
import jax.numpy as jnp

from experiments.bellec2020.common import (
    Positive,
    build_rule,
    check_points,
    decay_factor,
    optimiser,
    over_trials,
    spiking,
    training,
)
from experiments.bellec2020.spoken_digits_answers import answers, measured, shares, states
from experiments.bellec2020.spoken_digits_claims import CLAIMS, PARTS, summarise
from experiments.bellec2020.spoken_digits_figures import plot, text
from experiments.bellec2020.spoken_digits_sounds import BANDS, DIGITS, FRAME, Sounds, listening, sounds_of
from experiments.bellec2020.why import SPOKEN_DIGITS
from experiments.shared.checks import check_names
from experiments.shared.claims import explained
from plasticity_jax.base import LearningRule, learner
from plasticity_jax.cells import Neurons, gru, init_params
from plasticity_jax.diagnostics.linear_readout import linear_readout
from plasticity_jax.rules import online
from plasticity_jax.run import Experiment, Program, Range
from plasticity_jax.run.program import Metrics, TrainingState, once
from plasticity_jax.typing import Array, Key

SAME = {"rflo": "eprop"}
"""Methods that are another method under a different name."""
WHOLE = ("bptt", "snap", "uoro")
"""Methods whose derivatives include the reset."""
SHOWN = 3
"""The digit in the picture of a trial."""


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings; times are in milliseconds.

    Attributes:
      seeds: networks, recordings drawn and the speaker left out, shared by all methods.
      data: "spoken_digit", or "made" (gliding resonances, which need no files).
      held: takes of each speaker and digit that are held out and replace those of the test, for tuning.
      frames: after which a recording is cut; 98 % of the recordings are shorter than 36.
      n: neurons.
      batch: recordings in an update.
      updates: total number.
      points: of each curve, with a test at the end of each, between which a run can be saved.
      tau: of the voltage.
      tau_readout: of the spiking network's readout.
      tau_adaptation: of the adaptation.
      strength: rise of the threshold by a spike, in thresholds.
      scale: of the initial weights of the spiking network, see `spiking`.
      gru_ridge: penalty of the closed forms, relative to the mean squared error of a recording.
      alif_ridge: as above.
      mel_mean_ridge: as above.
      mel_whole_ridge: as above.
      gru_bptt_rate: Adam's rate for the GRU.
      gru_rflo_rate: as above.
      gru_random_rate: as above.
      gru_snap_rate: as above.
      gru_uoro_rate: as above.
      gru_frozen_rate: as above.
      alif_bptt_rate: Adam's rate for the spiking network.
      alif_eprop_rate: as above.
      alif_random_rate: as above.
      alif_blind_rate: as above.
      alif_snap_rate: as above.
      alif_uoro_rate: as above.
      alif_frozen_rate: as above.
      parts: those that are run; claims that need the others are not judged.
    """

    seeds: int = 4
    data: str = "spoken_digit"
    held: Annotated[int, Range(0, 40)] = 0
    frames: int = 36
    n: int = 64
    batch: int = 16
    updates: int = 400
    points: int = 10
    tau: Positive = 60.0
    tau_readout: Positive = 60.0
    tau_adaptation: Positive = 500.0
    strength: float = 0.2
    scale: Positive = 1.0
    gru_ridge: Positive = 1e-3
    alif_ridge: Positive = 1e-3
    mel_mean_ridge: Positive = 1e-2
    mel_whole_ridge: Positive = 0.1
    gru_bptt_rate: float = 0.01
    gru_rflo_rate: float = 0.01
    gru_random_rate: float = 0.01
    gru_snap_rate: float = 0.01
    gru_uoro_rate: float = 0.003
    gru_frozen_rate: float = 0.03
    alif_bptt_rate: float = 0.01
    alif_eprop_rate: float = 0.03
    alif_random_rate: float = 0.01
    alif_blind_rate: float = 0.01
    alif_snap_rate: float = 0.03
    alif_uoro_rate: float = 0.003
    alif_frozen_rate: float = 0.03
    parts: tuple[str, ...] = PARTS

    def __post_init__(self) -> None:
        """Refuses unknown parts, and unevenly spaced points."""
        check_names("parts", self.parts, PARTS)
        check_points(self.updates, self.points)


RATES = [field.name for field in dataclasses.fields(Config) if field.name.endswith("_rate")]
PRESETS = {
    "smoke": Config(seeds=2, data="made", frames=12, n=6, batch=4, updates=8, points=4),
    "default": Config(),
    "paper": dataclasses.replace(
        Config(seeds=10, n=256, batch=64, updates=4000, points=40), **dict.fromkeys(RATES, 0.003)
    ),
}


def network(config: Config, kind: str, method: str) -> Neurons:
    """The network of a part."""
    sizes = (BANDS, config.n, DIGITS)
    if kind == "gru":
        return gru(*sizes, loss="softmax")
    cell = spiking(
        kind,
        sizes,
        decay=decay_factor(config.tau, FRAME),
        readout_decay=decay_factor(config.tau_readout, FRAME),
        adaptation_decay=decay_factor(config.tau_adaptation, FRAME),
        strength=config.strength,
        scale=config.scale,
        loss="softmax",
        method="bptt" if method in WHOLE else method,
    )
    return cell._replace(mask=None)  # with synapses of neurons on themselves


def rule_of(cell: Neurons, method: str) -> LearningRule:
    """The rule of a method, for batches of whole trials."""
    if method in ("snap", "uoro"):
        return over_trials(getattr(online, method)(cell))
    return build_rule(cell, SAME.get(method, method))


def part(config: Config, sounds: Sounds, name: str) -> Program:
    """A method in a network, both named by `name`, such as "alif.eprop"."""
    kind, method = name.split(".")
    cell = network(config, kind, method)

    def evaluate(state: TrainingState) -> Metrics:
        params = state.learner.params
        _, test, strangers = sounds.roles(state.stream.left_out, config.held)
        right, loss, spikes, output = answers(cell, params, sounds, test)
        metrics = {"judged": jnp.mean(loss), **shares(right, answers(cell, params, sounds, strangers)[0])}
        if kind == "alif":
            in_recording = jnp.arange(config.frames) < sounds.length[test][:, None]
            metrics["rate"] = 1000 / FRAME * jnp.sum(jnp.mean(spikes, -1) * in_recording) / jnp.sum(in_recording)
        if name == "alif.eprop":
            drawn_row = jnp.argmax(sounds.digit(test) == SHOWN)
            drawn = test[drawn_row]
            metrics |= {"bands": sounds.x[drawn], "length": sounds.length[drawn], "said": sounds.digit(drawn)}
            metrics |= {"spikes": spikes[drawn_row].astype(jnp.uint8), "probability": jax.nn.softmax(output[drawn_row])}
        return metrics

    rate = getattr(config, f"{kind}_{method}_rate")
    learn = learner(rule_of(cell, method), optimiser(rate, method, 0.0))
    stream = listening(sounds, config.held, config.batch)
    return training(learn, stream, cell, evaluate, measured, updates=config.updates, points=config.points)


def closed_form(config: Config, sounds: Sounds, name: str) -> Program:
    """A linear readout by ridge regression, of a frozen network ("gru.ridge", "alif.ridge") or of frames ("mel")."""
    kind, form = name.split(".")
    cell = None if kind == "mel" else network(config, kind, "frozen")
    ridge = getattr(config, f"mel_{form}_ridge" if kind == "mel" else f"{kind}_ridge")

    def compute(lane: Key) -> Metrics:
        key_weights, key_stream, _ = jax.random.split(lane, 3)  # as `training` splits it
        left_out = listening(sounds, config.held, config.batch).init(key_stream).left_out
        params = None if cell is None else init_params(key_weights, cell)

        def features(index: Array) -> Array:
            batch = sounds.trials(index)
            assert batch.weight is not None
            if cell is None or params is None:
                in_recording = jnp.arange(config.frames) < sounds.length[index][:, None]
                mean = jnp.sum(batch.x * in_recording[..., None], 1) / jnp.sum(in_recording, 1, keepdims=True)
                return mean if form == "mean" else batch.x.reshape(len(index), -1)
            read = jax.vmap(partial(states, cell, params))(batch.x)
            return jnp.sum(read * batch.weight[..., None], 1)

        training_set, *test_sets = sounds.roles(left_out, config.held)
        targets = jax.nn.one_hot(sounds.digit(training_set), DIGITS, dtype=sounds.x.dtype)
        readout = linear_readout(features(training_set), targets, ridge)
        return shares(*(jnp.argmax(readout(features(index)), -1) == sounds.digit(index) for index in test_sets))

    return once(compute, 1)


def make_parts(config: Config) -> dict[str, Program]:
    """The methods in the networks, and the readouts in closed form."""
    sounds = sounds_of(config.data, config.frames)
    chosen = [name for name in PARTS if name in config.parts]
    closed = {"gru.ridge", "alif.ridge", "mel.mean", "mel.whole"}
    return {name: (closed_form if name in closed else part)(config, sounds, name) for name in chosen}


experiment = Experiment(
    title="Spoken digits, our own task: a GRU and a spiking network by e-prop, SnAp, UORO, BPTT, and readouts alone",
    cost={
        "smoke": "half a minute, nearly all of it compilation; needs no files",
        "default": "4 seeds x 400 updates of 16 recordings x 13 rules: three minutes on one core",
        "paper": "10 seeds x 4,000 updates of 64 recordings, networks of 256: for an accelerator",
    },
    scale={
        "smoke": "made sounds, networks of 6",
        "default": "our own task: all recordings, networks of 64, 400 updates of 16 recordings",
        "paper": "our own task, larger: networks of 256, 4,000 updates of 64 recordings",
    },
    tuned="Adam's rate, for each rule in each network among three, by the loss on takes 5 to 9, held out of training, "
    "on one seed that is not reported; the closed forms' ridge likewise",
    selects=("parts",),
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, SPOKEN_DIGITS),
    plot=plot,
    text=text,
)
