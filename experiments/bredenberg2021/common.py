"""Training on the artificial task and its measurements, shared by the experiments of Bredenberg et al. (2021).

Losses are in the authors' units, 2 (log q~ - log p~) without the normalisers: twice the library's loss, less a constant
with opposite signs awake and asleep. At steps of wake the authors' log also adds the number of neurons, because their
code lacks a square; ours does not.
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.base import Learner, LearnerState, LearningRule, learner
from plasticity_jax.diagnostics.linear_readout import linear_readout
from plasticity_jax.networks.two_stream import Sample, TwoStream, init_params, log_p, log_q, trajectory
from plasticity_jax.ops.activations import activation_of
from plasticity_jax.ops.lane_by_lane import lane_by_lane
from plasticity_jax.run import Program, evaluated, online_training
from plasticity_jax.run.program import Metrics, TrainingState
from plasticity_jax.tasks.ou_mixture import ou_mixture
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Scalar

EVERY = 1000
"""Largest number of steps for which stimuli are drawn at once."""
STREAMS, STEPS, SETTLE, TRACE_STEPS, SPARSE = 16, 512, 160, 400, 32
"""Streams and steps of a test; steps for a dream to forget its start; steps of a trace, and between scatter points."""
LAGS = tuple(range(0, 81, 4))
"""Lags of the autocorrelations."""

METHODS = ("il", "ws", "ws_coordinatewise", "bp", "nvi", "published")
LABELS = {
    "il": "impression learning",
    "il_authors": "the same, hidden weights rest on waking",
    "ws": "wake-sleep, phases of 32",
    "ws_coordinatewise": "wake-sleep, one update a phase",
    "bp": "backpropagation",
    "nvi": "NVI*, corrected",
    "published": "NVI*, as published",
    "untrained": "untrained",
    "pca": "PCA",
}
COLOURS = {
    "il": "#0072b2",
    "il_authors": "#56b4e9",
    "ws": "#009e73",
    "ws_coordinatewise": "#56b4e9",
    "bp": "#000000",
    "nvi": "#d55e00",
    "published": "#cc79a7",
    "untrained": "#7f7f7f",
    "pca": "#b79f00",
}
"""Colours by method, the same in every figure and distinguishable by the colour-blind (after Okabe and Ito)."""


def training(
    net: TwoStream,
    rule: LearningRule,
    rates: Sequence[float],
    *,
    steps: int,
    points: int,
    period: int = 2,
    traces: bool = True,
    latents: int | None = None,
    further: Callable[[Params, Key, Array], Metrics] | None = None,
) -> Program:
    """Trains a rule on the artificial task by plain SGD, with the same seed at every rate and a test after each chunk.

    Args:
      net: the network, with one layer.
      rule: a rule for its weights.
      rates: learning rates, each for all weights.
      steps: steps of training.
      points: number of chunks, and of tests.
      period: steps of a phase in the alternating test.
      traces: whether to keep the metrics that only figures use: traces, and points of a scatter plot.
      latents: latents behind the stimuli; None is one for each neuron.
      further: ``(params, key, stimuli (T, B, n)) -> metrics``, further metrics of each test; None is ``slope_wake``
        and ``slope_sleep`` of `transition_slopes` under the test's phases.

    Returns:
      A `Program` with a key as its lane, which determines world, weights and stimuli. Its metrics are (points, rates,
      ...): those of `measurements` and the further ones, the training loss, the rate and the step.
    """
    stimuli, latents = net.sizes[0], net.sizes[1] if latents is None else latents
    wake = jnp.arange(STEPS) % (2 * period) < period

    def slopes(params: Params, key: Key, z: Array) -> Metrics:
        return dict(zip(("slope_wake", "slope_sleep"), transition_slopes(net, params, key, z, wake), strict=True))

    measure = slopes if further is None else further

    def build(lane: tuple[Key, Scalar]) -> tuple[Learner, Stream]:
        return learner(rule, optax.sgd(lane[1])), ou_mixture(latents, stimuli)

    def init(lane: tuple[Key, Scalar], learn: Learner, stream: Stream) -> tuple[LearnerState, PyTree]:
        key_weights, key_stream, key_run, _ = _keys(lane[0])
        example = Example(jnp.zeros((1, stimuli)), jnp.zeros((1, latents)))
        return learn.init(init_params(key_weights, net), key_run, example), stream.init(key_stream)

    every = math.gcd(steps // points, EVERY)
    program = online_training(build, init, steps=steps, every=every, chunks=points)

    def chunk(state: TrainingState) -> tuple[TrainingState, Metrics]:
        state, online = program.chunk(state)
        return state, {"bad_step": online["bad_step"][-1:], "loss": jnp.mean(online["loss"])[None]}

    def test(state: TrainingState) -> Metrics:
        key, examples = _test_of(state)
        params = state.learner.params
        metrics = {**measurements(net, params, key, examples, period), **measure(params, key, examples.x)}
        recorded = {
            name: value for name, value in metrics.items() if traces or not name.startswith(("trace_", "scatter_"))
        }
        return {"rate": state.lane[1], "step": state.learner.step, **recorded}

    at_one_rate = evaluated(program._replace(chunk=chunk, points=1), test)
    lane_rates = jnp.asarray(rates, jnp.zeros(()).dtype)

    def at_all_rates(states: PyTree) -> tuple[PyTree, Metrics]:
        # One by one is three times as fast as a batch of rates: seeds are a batch already.
        states, metrics = jax.lax.map(at_one_rate.chunk, states)
        return states, jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, 1), metrics)

    return at_one_rate._replace(
        init=lambda key: jax.vmap(lambda rate: at_one_rate.init((key, rate)))(lane_rates), chunk=at_all_rates
    )


def measurements(net: TwoStream, params: Params, key: Key, examples: Example, period: int) -> Metrics:
    """Measurements at fixed weights, awake throughout, alternating, and asleep, under the same noise.

    Args:
      net: the network, with one layer.
      params: its weights.
      key: consumed.
      examples: x (T, B, stimuli), y (T, B, latents); T above `SETTLE` + the largest of `LAGS`, B at least 2.
      period: K, steps of a phase when alternating; T must hold at least three cycles of 2 K steps.

    Returns:
      ``wake``, the loss awake; ``alternating``, the loss with phases, and its parts ``alternating_wake`` and
      ``alternating_sleep``; ``r2`` of D_s r against z; ``decoding``, R2 of a linear readout of the latents from r on
      streams that it was not fitted to, and ``decoding_noiseless`` from f(W z); ``transition``, the mean of D_r;
      ``correlation`` of r awake with r alternating, mean over neurons; ``dispersion``, variance of dreamed stimuli over
      that of stimuli; autocorrelations at `LAGS`, ``acf_wake`` and ``acf_dream`` of r, and ``acf_stimulus``; the first
      `TRACE_STEPS` of the first neuron and input as ``trace_...``; and from all streams, every `SPARSE` steps, the
      first four inputs as ``scatter_stimulus`` and their ``scatter_reconstruction``.
    """
    z, latents = examples.x, examples.y
    t, cycle = jnp.arange(len(z)), 2 * period
    patterns = jnp.stack([t >= 0, t % cycle < period, t < 1])
    walks = jax.vmap(lambda wake: trajectory(net, params, key, z, wake))(patterns)
    awake, alternating, asleep = (jax.tree.map(lambda leaf, i=i: leaf[i], walks) for i in range(3))

    used = slice(cycle, len(z) - len(z) % cycle)
    wakes = patterns[1, used]
    loss = authors_loss(net, awake, patterns[0])[used]
    phases = authors_loss(net, alternating, patterns[1])[used].mean(1)
    reconstruction, r, z = awake.generated[0][used], awake.x[1][used], z[used]
    noiseless = activation_of(net.activation).phi(z @ params["inference"]["w"][0].T)
    decoded = jax.vmap(decoding, in_axes=(0, None))(jnp.stack([r, noiseless]), latents[used])
    dream = [x[SETTLE:] for x in asleep.x]
    return {
        "wake": jnp.mean(loss),
        "alternating": jnp.mean(phases),
        "alternating_wake": jnp.sum(phases * wakes) / jnp.sum(wakes),
        "alternating_sleep": jnp.sum(phases * ~wakes) / jnp.sum(~wakes),
        "r2": r_squared(reconstruction, z),
        "decoding": decoded[0],
        "decoding_noiseless": decoded[1],
        "transition": jnp.mean(params["generation"]["transition"]),
        "correlation": correlation(r, alternating.x[1][used]),
        "dispersion": jnp.sum(jnp.var(dream[0], (0, 1))) / jnp.sum(jnp.var(z, (0, 1))),
        "acf_wake": autocorrelation(r),
        "acf_stimulus": autocorrelation(z),
        "acf_dream": autocorrelation(dream[1]),
        "trace_stimulus": z[:TRACE_STEPS, 0, 0],
        "trace_reconstruction": reconstruction[:TRACE_STEPS, 0, 0],
        "trace_wake": r[:TRACE_STEPS, 0, 0],
        "trace_alternating": alternating.x[1][used][:TRACE_STEPS, 0, 0],
        "scatter_stimulus": z[::SPARSE, :, :4].ravel(),
        "scatter_reconstruction": reconstruction[::SPARSE, :, :4].ravel(),
    }


def transition_slopes(net: TwoStream, params: Params, key: Key, z: Array, wake: Array) -> Array:
    """The exact gradient of impression learning's loss by the transitions, split into the parts awake and asleep: (2,).

    The loss of a step is E[(2 lambda - 1) (log q - log p_m)], in the library's units. It is differentiated through its
    own samples along the whole walk. A rule that follows this gradient moves a transition by -rate times the sum of
    both parts in a step.

    Args:
      net: the network; Gaussian noise.
      params: its weights.
      key: consumed.
      z: (T, B, stimuli).
      wake: (T,), bool, lambda.

    Returns:
      The derivatives of the terms awake and of those asleep by one transition, divided by T, averaged over transitions
      and streams, and multiplied by sigma_gen^2, as a rule's updates are.
    """

    def losses(transition: Array) -> Array:
        walk = trajectory(
            net, {**params, "generation": {**params["generation"], "transition": transition}}, key, z, wake
        )
        energy = jnp.mean(log_q(net, walk) - log_p(net, walk), 1)
        return jnp.stack([jnp.where(wake, energy, 0), jnp.where(wake, 0, -energy)]).sum(1) / len(wake)

    start = params["generation"]["transition"]
    every = jnp.full_like(start, 1 / start.size)
    return net.sigma_gen[-1] ** 2 * jax.jvp(losses, (start,), (every,))[1]


def authors_loss(net: TwoStream, walk: Sample, wake: Array) -> Array:
    """2 (2 lambda - 1) (log q - log p_m) without normalisers, (T, B).

    Args:
      net: the network.
      walk: samples of a walk, arrays (T, B, n_l).
      wake: (T,), lambda.
    """
    constants = [x.shape[-1] * jnp.log(g / i) for x, i, g in zip(walk.x, net.sigma_inf, net.sigma_gen, strict=True)]
    energy = log_q(net, walk) - log_p(net, walk) - sum(constants)
    return 2 * jnp.where(wake, 1, -1)[:, None] * energy


def r_squared(prediction: Array, truth: Array) -> Array:
    """1 - residual over total variance, both summed over the last axis and averaged over all others."""
    axes = tuple(range(truth.ndim - 1))
    total = jnp.sum(jnp.var(truth, axes))
    return 1 - jnp.sum(jnp.mean((truth - prediction) ** 2, axes)) / total


def pca_r_squared(data: Array, components: int) -> Array:
    """R2 of the best linear reconstruction of data (..., n) from so many components, fitted to the same data."""
    values = lane_by_lane(jnp.linalg.eigvalsh)(jnp.cov(data.reshape(-1, data.shape[-1]), rowvar=False, bias=True))
    return jnp.sum(values[-components:]) / jnp.sum(values)


def decoding(features: Array, targets: Array, ridge: float = 1e-8) -> Array:
    """R2 of a linear readout of targets (T, B, m) from features (T, B, n), on streams that it was not fitted to.

    Features are first scaled to a mean variance of 1, because an untrained network's are small against the ridge.
    """
    half = features.shape[1] // 2
    features = features / jnp.sqrt(jnp.mean(jnp.var(features[:, :half], (0, 1))))
    x, y = (part[:, :half].reshape(-1, part.shape[-1]) for part in (features, targets))
    return r_squared(linear_readout(x, y, ridge)(features[:, half:]), targets[:, half:])


def correlation(a: Array, b: Array) -> Array:
    """Pearson's correlation of (T, B, n) over time and streams, mean over n."""
    a, b = (x - jnp.mean(x, (0, 1)) for x in (a, b))
    return jnp.mean(jnp.mean(a * b, (0, 1)) / jnp.sqrt(jnp.mean(a**2, (0, 1)) * jnp.mean(b**2, (0, 1))))


def autocorrelation(x: Array, lags: Sequence[int] = LAGS) -> Array:
    """Pooled autocorrelation of processes (T, B, n) with mean 0; all lags start from the first T - max(lags) steps."""
    origins = x.shape[0] - max(lags)

    def at(lag: Array) -> Array:
        later = jax.lax.dynamic_slice_in_dim(x, lag, origins)
        return jnp.sum(x[:origins] * later) / jnp.sqrt(jnp.sum(x[:origins] ** 2) * jnp.sum(later**2))

    return jax.lax.map(at, jnp.array(lags))


def _keys(key: Key) -> Sequence[Key]:
    """Keys for weights, stream, run and test."""
    return jax.random.split(key, 4)  # pyright: ignore[reportReturnType]


def _test_of(state: TrainingState) -> tuple[Key, Example]:
    """Key of the noise, and fresh examples of the state's world; both are the same at every test of a seed."""
    mixing = state.stream.mixing
    key_latents, key_noise = jax.random.split(_keys(state.lane[0])[3])
    stream = ou_mixture(mixing.shape[1], mixing.shape[0], batch=STREAMS, mixing=mixing)
    return key_noise, stream.take(stream.init(key_latents), STEPS)[1]
