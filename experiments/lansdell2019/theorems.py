"""The two theorems of Lansdell, Prakash & Kording (2020) and cases beyond them: curves of error against samples.

At fixed weights W, the feedback B that is regressed on the effects of noise becomes W: in a network with one nonlinear
hidden layer (theorem 1) and in a deep linear one (theorem 2). Each panel draws the predicted error, which
`experiments.lansdell2019.fixed_weights` computes from moments of exact errors, over the measured points.

The limit of small noise is needed only if the readout is nonlinear; with a linear readout the estimate is unbiased at
any noise. The theorems assume that the errors of each layer span all its directions (A3). A layer wider than the output
violates this in a linear network, and its B then becomes W only within the span. That suffices for credit, which has no
part in other directions. Depth and nonlinearity together are beyond the theorems, but not beyond the method. Recurrent
feedback is as in section 4.3; "legacy" is the authors' code, which uses the noise of the wrong step.

Weights are fixed and all estimates are sums over samples, so batches can be large. B is recomputed at each step, which
matters for the errors of lower layers ("ridge", unlike "offline"): the first batch is carried back by a random B and
stays in the sums. Arithmetic is in float32 throughout, with compensated sums.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lansdell2019.authors import own_step_perturbation
from experiments.lansdell2019.baseline import with_and_without
from experiments.lansdell2019.common import Positive
from experiments.lansdell2019.fixed_weights import (
    HELD,
    drawn_weights,
    expected,
    inherited,
    layers_of,
    lower_error,
    regression,
    second_order,
)
from experiments.lansdell2019.theorems_claims import CLAIMS, summarise
from experiments.lansdell2019.theorems_figures import plot
from experiments.lansdell2019.windows import glorot_params, vanilla
from plasticity_jax.base import Info, Learner, LearnerState, learner
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.cells.window import at_rest, run_window, sums_credit, time_first
from plasticity_jax.diagnostics.alignment import alignment, angle, relative_error
from plasticity_jax.layers import init_params
from plasticity_jax.networks import mlp
from plasticity_jax.ops.lane_by_lane import lane_by_lane
from plasticity_jax.ops.norms import cosine
from plasticity_jax.rules.feedback import node_perturbation, recurrent_node_perturbation
from plasticity_jax.run import Experiment, Program, Range
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Batch, Example, Key, Params

EXACT = 20_000  # samples for the moments in the theory
BASELINE_EXAMPLES = 16
WINDOW = 7  # steps of the recurrent network's window
SIGMA, SIGMA_RECURRENT, P = 1e-2, 0.05, 0.1
RIDGE = 1e-6


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings. Samples are multiples of batch times points.

    Attributes:
      seeds: of networks and data.
      networks: drawn from each seed for the theorems, the deep and the rank-deficient network.
      samples: T of both theorems, of the deep and of the rank-deficient network.
      bias_samples: T at each noise level of the bias test.
      recurrent_samples: number of windows for the recurrent network.
      batch: samples in a step.
      recurrent_batch: windows in a step; many, since errors explode if the first B^ is too large.
      points: of each curve.
      sizes: networks of theorem 1, (inputs, hidden, outputs).
      sigmas: noise levels of the bias test; 0.01 and 1 must be among them.
      baseline_draws: of the noise, for each example, with the loss of the clean pass and without it.
      units: of the recurrent network, (inputs, units, outputs).
    """

    seeds: int = 20
    networks: int = 3
    samples: int = 131_072
    bias_samples: int = 131_072
    recurrent_samples: int = 131_072
    batch: int = 256
    recurrent_batch: int = 1024
    points: Annotated[int, Range(2, 2**31 - 1)] = 32
    sizes: tuple[tuple[int, int, int], ...] = ((8, 5, 3), (16, 10, 5), (32, 20, 10))
    sigmas: tuple[Positive, ...] = (1e-7, 1e-6, 1e-3, 1e-2, 1e-1, 3e-1, 1.0, 3.0)
    baseline_draws: Annotated[int, Range(2, 2**31 - 1)] = 4096
    units: tuple[int, int, int] = (5, 20, 3)

    def __post_init__(self) -> None:
        """Refuses noise levels that lack those of the claims."""
        if not {1e-2, 1.0} <= set(self.sigmas):
            raise ValueError("sigmas must hold 0.01 and 1, which claims compare")


PRESETS = {
    "smoke": Config(
        seeds=2,
        networks=2,
        samples=1024,
        bias_samples=1024,
        recurrent_samples=256,
        batch=64,
        recurrent_batch=64,
        points=2,
        sizes=((8, 5, 3),),
        sigmas=(1e-2, 1.0),
        baseline_draws=256,
        units=(3, 6, 2),
    ),
    "default": Config(),
    "paper": Config(samples=1_048_576, bias_samples=1_048_576, recurrent_samples=1_048_576),
}


class Case(NamedTuple):
    """One network whose feedback is regressed.

    Attributes:
      activations: of its layers.
      sizes: n_0, ..., n_L.
      samples: T.
      options: of `node_perturbation`.
      orthonormal: weights with orthonormal columns (or rows), else N(0, 1 / n_in).
      sigmas: noise levels.
      restart: step at which the sums of the lowest layer start over; 0 is never.
      networks: drawn from each seed.
      angle: whether to measure the angle between credit and gradient as well.
    """

    activations: tuple[str, ...]
    sizes: tuple[int, ...]
    samples: int
    options: Mapping[str, Any]
    orthonormal: bool = False
    sigmas: tuple[float, ...] = (SIGMA,)
    restart: int = 0
    networks: int = 1
    angle: bool = False


def cases(config: Config) -> dict[str, Case]:
    """Every feedforward part by name."""
    ridge, offline = ({"estimator": name, "ridge": RIDGE} for name in ("ridge", "offline"))
    shallow, linear, deep = ("tanh", "identity"), ("identity",) * 3, ("tanh", "tanh", "identity")
    by_name: dict[str, Case] = {}
    for sizes in config.sizes:
        for noise in ("gaussian", "rademacher"):
            by_name[theorem_1(sizes, noise)] = Case(shallow, sizes, config.samples, {**ridge, "noise": noise})
    for estimator, options in (("offline", offline), ("ridge", ridge)):
        by_name[f"theorem2.{estimator}"] = Case(linear, (6, 3, 4, 5), config.samples, options, True)
        wide = {**options, "ridge": 1.0}
        by_name[f"rank.{estimator}"] = Case(linear, (8, 6, 4, 3), config.samples, wide, True, angle=True)
    restart = max(1, config.samples // config.batch // 16)
    by_name["deep.ridge"] = Case(deep, (6, 3, 4, 5), config.samples, ridge, True)
    by_name["deep.staged"] = by_name["deep.ridge"]._replace(restart=restart)
    by_name = {name: case._replace(networks=config.networks) for name, case in by_name.items()}
    for name, readout in (("linear", "identity"), ("antithetic", "identity"), ("sigmoid", "sigmoid")):
        options = {**ridge, "antithetic": name == "antithetic"}
        case = Case(("tanh", readout), (8, 5, 3), config.bias_samples, options, sigmas=config.sigmas)
        by_name[f"bias.{name}"] = case
    return by_name


def theorem_1(sizes: tuple[int, ...], noise: str) -> str:
    """Name of a part for theorem 1."""
    return f"theorem1.{'-'.join(map(str, sizes))}.{noise}"


def normal_pairs(x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> Stream:
    """Independent normal inputs and targets, so that errors have all directions.

    Args:
      x_shape: of a batch, (B, ..., n_in).
      y_shape: of a batch.

    Returns:
      A `Stream`.
    """

    def init(key: Key) -> tuple[Key, Array]:
        return key, jnp.zeros((), jnp.int32)

    def take(state: tuple[Key, Array], steps: int) -> tuple[tuple[Key, Array], Example]:
        key, step = state

        def draw(t: Array) -> Example:
            key_x, key_y = jax.random.split(jax.random.fold_in(key, t))
            return Example(jax.random.normal(key_x, x_shape), jax.random.normal(key_y, y_shape))

        return (key, step + steps), jax.vmap(draw)(step + jnp.arange(steps))

    return Stream(init, take)


def held_out(count: int, sizes: tuple[int, ...]) -> Example:
    """Samples of the same kind that no regression uses."""
    key_x, key_y = jax.random.split(jax.random.key(1))
    return Example(jax.random.normal(key_x, (count, sizes[0])), jax.random.normal(key_y, (count, sizes[-1])))


def drawing(case: Case) -> Callable[[Key], Params]:
    """``key -> params`` of a case."""

    def matrix(key: Key, n_out: int, n_in: int) -> Array:
        wide = jax.random.normal(key, (n_out, n_in)) / n_in**0.5
        if not case.orthonormal:
            return wide
        orthonormal = lane_by_lane(lambda tall: jnp.linalg.qr(tall)[0])
        return orthonormal(wide) if n_out >= n_in else orthonormal(wide.T).T

    def draw(key: Key) -> Params:
        params = init_params(key, mlp(case.sizes, case.activations))
        keys = jax.random.split(jax.random.fold_in(key, 1), len(case.sizes) - 1)
        shapes = zip(keys, case.sizes[1:], case.sizes, strict=False)
        return {**params, "forward": {**params["forward"], "w": tuple(matrix(*shape) for shape in shapes)}}

    return draw


def staged(learn: Learner, restart: int) -> Learner:
    """The same learner, which clears the lowest layer's sums at one step: their errors came through a poor B above."""

    def step(state: LearnerState, batch: Batch) -> tuple[LearnerState, Info]:
        def clear(sums: tuple[Any, ...]) -> tuple[Any, ...]:
            return (jax.tree.map(lambda leaf: jnp.where(state.step == restart, 0, leaf), sums[0]), *sums[1:])

        traces = state.traces._replace(second=clear(state.traces.second), cross=clear(state.traces.cross))
        return learn.step(state._replace(traces=traces), batch)

    return Learner(learn.init, step)


def feedforward(config: Config, case: Case) -> Program:
    """A case as a program; metrics (points, sigmas, layers)."""
    net, unseen = mlp(case.sizes, case.activations), held_out(512, case.sizes)

    def make(sigma: Array) -> Learner:
        learn = learner(node_perturbation(net, sigma=sigma, **case.options), HELD)
        return staged(learn, case.restart) if case.restart else learn

    def evaluate(params: Params) -> Mapping[str, Array]:
        pairs = zip(params["forward"]["w"][1:], params["feedback"]["w_fb"], strict=True)
        return {"relative_error": jnp.stack([relative_error(w, b) for w, b in pairs])}

    def with_angle(params: Params) -> Mapping[str, Array]:
        return {**evaluate(params), "true_angle": alignment(net, params, unseen).true_angle}

    return regression(
        make,
        drawing(case),
        normal_pairs((config.batch, case.sizes[0]), (config.batch, case.sizes[-1])),
        with_angle if case.angle else evaluate,
        sigmas=case.sigmas,
        samples=case.samples,
        batch=config.batch,
        points=config.points,
        networks=case.networks,
    )


def recurrent(config: Config, legacy: bool) -> Program:
    """The recurrent rule, on windows of normal noise; metrics (points, 1, 1)."""
    (n_in, n, n_out), batch = config.units, config.recurrent_batch
    cell = vanilla(n_in, n, n_out)
    stream = normal_pairs((batch, WINDOW, n_in), (batch, WINDOW, n_out))
    _, batches = stream.take(stream.init(jax.random.key(1)), 1)
    first = time_first(jax.tree.map(lambda leaf: leaf[0], batches))

    def make(sigma: Array) -> Learner:
        if legacy:
            return learner(own_step_perturbation(cell, sigma=sigma, p=P, ridge=0.1), HELD)
        return learner(recurrent_node_perturbation(cell, sigma=sigma, p=P, estimator="ridge"), HELD)

    def evaluate(params: Params) -> Mapping[str, Array]:
        measures = one_step_back(cell, params, at_rest(cell, batch, jnp.zeros(()).dtype).state, first)
        return {name: value[None] for name, value in measures.items()}

    return regression(
        make,
        lambda key: glorot_params(key, cell),
        stream,
        evaluate,
        sigmas=(SIGMA_RECURRENT,),
        samples=config.recurrent_samples,
        batch=batch,
        points=config.points,
    )


def one_step_back(cell: Neurons, params: Params, s_0: Array, example: Example) -> Mapping[str, Array]:
    """Relative error and cosine of B and W, and angles of B's credit one step back to W's and to the step's own.

    Args:
      cell: the network.
      params: its weights.
      s_0: (B, 1, n), state before the windows.
      example: windows, time first.
    """
    w, b = params["forward"]["w"][0, :, : cell.n], params["feedback"]["w_back"][0]
    window = run_window(cell, params, s_0, example)
    own = window.credit[:, :, 0]
    delta = sums_credit(cell, window.local, window.credit)[:, :, 0]
    return {
        "relative_error": relative_error(w, b),
        "cosine": cosine(w, b),
        "angle": angle(delta @ b, delta @ w),
        "angle_own": angle(delta @ b, own),
    }


def make_parts(config: Config) -> dict[str, Program]:
    """Every part by name."""
    parts = {name: feedforward(config, case) for name, case in cases(config).items()}
    return {**parts, **{f"recurrent.{name}": recurrent(config, name == "legacy") for name in ("corrected", "legacy")}}


def measure(config: Config, progress: bool) -> dict[str, np.ndarray]:
    """Predicted errors, and a comparison of estimates with and without the loss of the clean pass, (seeds,)."""
    case = Case(("tanh", "identity"), (8, 5, 3), 0, {})
    net, batch = mlp(case.sizes, case.activations), held_out(BASELINE_EXAMPLES, case.sizes)
    comparisons = [
        with_and_without(net, drawn_weights(drawing(case), seed), batch, SIGMA, config.baseline_draws, seed)
        for seed in range(config.seeds)
    ]
    return {
        **theory(config),
        **{f"baseline/{name}": np.array([numbers[name] for numbers in comparisons]) for name in comparisons[0]},
    }


def theory(config: Config) -> dict[str, np.ndarray]:
    """Predicted errors of every feedforward part, as "part/expected", (seeds, points, settings, layers)."""
    curves_by_name = {}
    for name, case in cases(config).items():
        net, batch = mlp(case.sizes, case.activations), held_out(EXACT, case.sizes)
        samples = case.samples // config.points * np.arange(1, config.points + 1)
        signs, pairs = case.options.get("noise") == "rademacher", case.options.get("antithetic", False)
        rows = []
        for seed, network in np.ndindex(config.seeds, case.networks):
            layers = layers_of(net, drawn_weights(drawing(case), seed, network), batch)
            for sigma in case.sigmas:
                extra = 0.0 if len(layers) > 1 or signs or pairs else second_order(layers[0].w, sigma)
                errors = [expected(layer, samples, case.options["ridge"], signs, extra).error for layer in layers]
                if name.startswith(("theorem2", "deep")):
                    dropped = case.restart * config.batch
                    errors[0] = lower_error(errors[0], samples, dropped, name, inherited(layers[0], layers[1], seed))
                rows.append(np.stack(errors, -1))
        curves = np.stack(rows).reshape(config.seeds, -1, *rows[0].shape)
        curves_by_name[f"{name}/expected"] = curves.swapaxes(1, 2)
    return curves_by_name


experiment = Experiment(
    title="Theorems 1 and 2: learned feedback becomes the weights, within predicted errors; bias, rank, depth, "
    "recurrence",
    cost={
        "smoke": "half a minute to one and a half, nearly all of it compilation",
        "default": "20 seeds, 60 networks for the theorems: 13 minutes on two cores that others shared",
        "paper": "eight times the samples of default; an hour or two on two cores",
    },
    scale={
        "default": "the theorems have no scale; errors fall with samples as predicted",
        "paper": "as default, with eight times the samples",
    },
    tuned="nothing",
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
    measure=measure,
)
