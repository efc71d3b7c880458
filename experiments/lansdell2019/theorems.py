"""The two theorems of Lansdell, Prakash & Kording (2020) and what lies beyond them: curves of error against samples.

At fixed weights W, the feedback B that is regressed on the effects of noise becomes W: in a network with one nonlinear
hidden layer (theorem 1) and in a deep linear one (theorem 2). Each panel draws the theory's error, which
`experiments.lansdell2019.fixed_weights` computes from moments of exact errors, through measured points.

The limit of small noise is needed where the readout is nonlinear; with a linear one the estimate has no bias at any
noise. The theorems assume that the errors of each layer span all its directions (A3): a layer wider than the output
breaks that in a linear network, and its B then becomes W only within the span. That suffices for credit, which takes no
other direction. Depth and nonlinearity together are beyond the theorems, but not beyond the method. Recurrent feedback
is as in section 4.3, and "legacy" is the authors' code, which takes the noise of the wrong step.

Weights do not move, and all estimates are sums over samples: so batches are large. B is set anew at each step, which
matters for the errors of lower layers (ridge, in contrast with offline): the first batch is carried by a random B, and
stays in the sums. Float32 throughout, the sums compensated.
"""

import dataclasses
import fnmatch
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.lansdell2019.authors import own_step_perturbation
from experiments.lansdell2019.common import COLOURS
from experiments.lansdell2019.fixed_weights import (
    HELD,
    Inherited,
    drawn_weights,
    expected,
    inherited,
    layers_of,
    regression,
    second_order,
)
from experiments.lansdell2019.windows import glorot_params, vanilla
from plasticity_jax.base import Info, Learner, LearnerState, learner
from plasticity_jax.cells.window import at_rest, run_window, sums_credit, time_first
from plasticity_jax.diagnostics.alignment import alignment, angle, relative_error
from plasticity_jax.layers import init_params
from plasticity_jax.networks import mlp
from plasticity_jax.ops.lane_by_lane import lane_by_lane
from plasticity_jax.ops.norms import cosine
from plasticity_jax.rules.feedback import node_perturbation, recurrent_node_perturbation
from plasticity_jax.run import Claim, Experiment, Program, put
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Array, Batch, Example, Key, Params

EXACT = 20_000  # samples from which theory takes its moments
WINDOW = 7  # steps of the recurrent network's window
BLUE, ORANGE, GREEN, PINK = (COLOURS[name] for name in ("np", "fa", "matching", "np_forget"))
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
      recurrent_samples: windows seen by the recurrent network.
      batch: samples to a step.
      recurrent_batch: windows to a step; many, for the first B^ must not be so large that errors explode.
      points: of each curve.
      sizes: networks of theorem 1, (inputs, hidden, outputs).
      sigmas: noise levels of the bias test; 0.01 and 1 must be among them.
      units: of the recurrent network, (inputs, units, outputs).
    """

    seeds: int = 20
    networks: int = 3
    samples: int = 131_072
    bias_samples: int = 131_072
    recurrent_samples: int = 131_072
    batch: int = 256
    recurrent_batch: int = 1024
    points: int = 32
    sizes: tuple[tuple[int, int, int], ...] = ((8, 5, 3), (16, 10, 5), (32, 20, 10))
    sigmas: tuple[float, ...] = (1e-7, 1e-6, 1e-3, 1e-2, 1e-1, 3e-1, 1.0, 3.0)
    units: tuple[int, int, int] = (5, 20, 3)

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.points < 2:
            raise ValueError("seeds must be at least 1 and points at least 2")
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
      angle: whether to measure the angle between credit and gradient, too.
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
    found: dict[str, Case] = {}
    for sizes in config.sizes:
        for noise in ("gaussian", "rademacher"):
            found[theorem_1(sizes, noise)] = Case(shallow, sizes, config.samples, {**ridge, "noise": noise})
    for estimator, options in (("offline", offline), ("ridge", ridge)):
        found[f"theorem2.{estimator}"] = Case(linear, (6, 3, 4, 5), config.samples, options, True)
        wide = {**options, "ridge": 1.0}
        found[f"rank.{estimator}"] = Case(linear, (8, 6, 4, 3), config.samples, wide, True, angle=True)
    restart = max(1, config.samples // config.batch // 16)
    found["deep.ridge"] = Case(deep, (6, 3, 4, 5), config.samples, ridge, True)
    found["deep.staged"] = found["deep.ridge"]._replace(restart=restart)
    found = {name: case._replace(networks=config.networks) for name, case in found.items()}
    for name, readout in (("linear", "identity"), ("antithetic", "identity"), ("sigmoid", "sigmoid")):
        options = {**ridge, "antithetic": name == "antithetic"}
        case = Case(("tanh", readout), (8, 5, 3), config.bias_samples, options, sigmas=config.sigmas)
        found[f"bias.{name}"] = case
    return found


def theorem_1(sizes: tuple[int, ...], noise: str) -> str:
    """A part's name."""
    return f"theorem1.{'-'.join(map(str, sizes))}.{noise}"


def normal_pairs(x_shape: tuple[int, ...], y_shape: tuple[int, ...]) -> Stream:
    """Inputs and targets that are independent normal numbers: errors then take all directions.

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
    """Samples of the same kind that no regression sees."""
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
    """Forgets, at a step, what the regression of the lowest layer has seen: errors carried by a poor B above it."""

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
    _, seen = stream.take(stream.init(jax.random.key(1)), 1)
    first = time_first(jax.tree.map(lambda leaf: leaf[0], seen))

    def make(sigma: Array) -> Learner:
        if legacy:
            return learner(own_step_perturbation(cell, sigma=sigma, p=P, ridge=0.1), HELD)
        return learner(recurrent_node_perturbation(cell, sigma=sigma, p=P, estimator="ridge"), HELD)

    def evaluate(params: Params) -> Mapping[str, Array]:
        w, b = params["forward"]["w"][0, :, :n], params["feedback"]["w_back"][0]
        window = run_window(cell, params, at_rest(cell, batch, w.dtype).state, first)
        own = window.credit[:, :, 0]
        delta = sums_credit(cell, window.local, window.credit)[:, :, 0]
        found = {
            "relative_error": relative_error(w, b),
            "cosine": cosine(w, b),
            "angle": angle(delta @ b, delta @ w),
            "angle_own": angle(delta @ b, own),
        }
        return {name: value[None] for name, value in found.items()}

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


def make_parts(config: Config) -> dict[str, Program]:
    """Every part by name."""
    parts = {name: feedforward(config, case) for name, case in cases(config).items()}
    return {**parts, **{f"recurrent.{name}": recurrent(config, name == "legacy") for name in ("corrected", "legacy")}}


def measure(config: Config, progress: bool) -> dict[str, np.ndarray]:
    """The errors that theory expects of every feedforward part, "part/expected", (seeds, points, settings, layers)."""
    found = {}
    for name, case in cases(config).items():
        net, batch = mlp(case.sizes, case.activations), held_out(EXACT, case.sizes)
        samples = case.samples // config.points * np.arange(1, config.points + 1)
        signs, pairs = case.options.get("noise") == "rademacher", case.options.get("antithetic", False)
        rows = []
        for seed, network in np.ndindex(config.seeds, case.networks):
            layers = layers_of(net, drawn_weights(drawing(case), seed, network), batch)
            for sigma in case.sigmas:
                extra = 0.0 if len(layers) > 1 or signs or pairs else second_order(layers[0].w, sigma)
                each = [expected(layer, samples, case.options["ridge"], signs, extra).error for layer in layers]
                if name.startswith(("theorem2", "deep")):
                    dropped = case.restart * config.batch
                    each[0] = lower_error(each[0], samples, dropped, name, inherited(layers[0], layers[1], seed))
                rows.append(np.stack(each, -1))
        curves = np.stack(rows).reshape(config.seeds, -1, *rows[0].shape)
        found[f"{name}/expected"] = curves.swapaxes(1, 2)
    return found


def lower_error(own: np.ndarray, samples: np.ndarray, dropped: int, name: str, above: Inherited) -> np.ndarray:
    """Adds to the error of a layer what it inherits: from the final B above, or from all the Bs since the sums began.

    Args:
      own: relative error with exact errors after all the samples, (points,).
      samples: T, (points,).
      dropped: samples T0 after which the sums start over.
      name: of the part; "offline" uses the final B.
      above: inherited error.
    """
    if name.endswith("offline"):
        return np.sqrt(own**2 + (above.cross + above.square) / samples)
    began = np.where(samples > dropped, dropped, 0)
    u = np.maximum(began / samples, 1e-12)
    counted = samples * (1 - u) ** 2  # of the means of ln(T / max(s, T0)) over samples, and of its square
    once, twice = 1 - u * (1 - np.log(u)), 2 - u * (2 - 2 * np.log(u))
    return np.sqrt(own**2 / (1 - u) + (above.cross * once + above.square * twice) / counted)


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Final errors over networks by "part/Wk", or "bias.readout/c=..".

    With them: 95th percentile, maximum, slope of log error against log samples, and the ratio to what theory expects
    (of root mean squares).
    """
    summary: dict[str, float] = {}
    for name in [name for name in metrics if name.endswith("/relative_error")]:
        part = name.partition("/")[0]
        samples, sigmas = metrics[f"{part}/samples"][0, :, 0], metrics[f"{part}/sigma"][0, 0]
        theory = metrics.get(f"{part}/expected")
        for sigma in np.unique(sigmas):
            columns = np.flatnonzero(sigmas == sigma)
            for k in range(metrics[name].shape[3]):
                where = f"{part}/c={sigma:.3g}" if part.startswith("bias") else f"{part}/W{k + 2}"
                errors = networks(metrics[name], columns, k)
                put(summary, where, errors[:, -1])
                summary[f"{where}_p95"] = float(np.quantile(errors[:, -1], 0.95))
                summary[f"{where}_max"] = float(errors[:, -1].max())
                curve = root_mean_square(errors)
                summary[f"{where}_slope"] = float(np.polyfit(np.log(samples), np.log(curve), 1)[0])
                if theory is not None:
                    ratio = curve / root_mean_square(networks(theory, columns, k))
                    summary[f"{where}_ratio"] = float(ratio[-1])
        for metric in ("true_angle", "cosine", "angle", "angle_own"):
            if f"{part}/{metric}" in metrics and part.startswith(("rank", "recurrent")):
                for k in range(metrics[name].shape[3]):
                    values = networks(metrics[f"{part}/{metric}"], np.arange(len(sigmas)), k)
                    put(summary, f"{part}/W{k + 2}_{metric}", values[:, -1])
    for part in [name.removesuffix(".gaussian/samples") for name in metrics if name.endswith(".gaussian/samples")]:
        _, hidden, out = map(int, part.partition(".")[2].split("-"))
        count = metrics[f"{part}.gaussian/samples"][0, -1, 0]
        for noise, one in (("gaussian", 1), ("rademacher", -1)):
            isotropic = ((out + 2) * (hidden + one) / count) ** 0.5
            summary[f"{part}.{noise}/isotropic_ratio"] = summary[f"{part}.{noise}/W2"] / isotropic
    return summary


def networks(values: np.ndarray, columns: np.ndarray, layer: int) -> np.ndarray:
    """A metric (seeds, points, settings, layers) at some settings: (seeds * settings, points)."""
    chosen = values[:, :, columns, layer]
    return chosen.swapaxes(1, 2).reshape(-1, values.shape[1])


def root_mean_square(values: np.ndarray) -> np.ndarray:
    """Over networks."""
    return np.sqrt((np.asarray(values, float) ** 2).mean(0))


INF = float("inf")
FALLS = "error falls as 1/sqrt(samples), slope within (-0.65, -0.4)"
MATCHES = "rms error is what theory expects, ratio within (0.9, 1.1)"
CHECKS = (  # id, statement, bounds of all numbers of the summary that the pattern names
    ("theorem1", "Theorem 1, tanh 8-5-3: B becomes W, largest error below 0.05", -INF, 0.05, "theorem1.8-5-3.*/W2_max"),
    ("theorem1-rate", f"Theorem 1: {FALLS}", -0.65, -0.4, "theorem1.*/W2_slope"),
    ("theorem1-expected", f"Theorem 1: {MATCHES}", 0.9, 1.1, "theorem1.*/W2_ratio"),
    (
        "theorem1-isotropic",
        "Theorem 1: error over sqrt((m+2)(n+-1)/T), that for isotropic errors, within (0.8, 1.2)",
        *(0.8, 1.2, "theorem1.*/isotropic_ratio"),
    ),
    ("theorem2-offline", "Theorem 2, offline: largest error below 0.05", -INF, 0.05, "theorem2.offline/W?_max"),
    ("theorem2-online", "Theorem 2, online: largest error below 0.05", -INF, 0.05, "theorem2.ridge/W?_max"),
    ("theorem2-rate", f"Theorem 2: {FALLS}", -0.65, -0.4, "theorem2.*/W?_slope"),
    ("theorem2-expected", f"Theorem 2: {MATCHES}", 0.9, 1.1, "theorem2.*/W?_ratio"),
    ("bias", "Sigmoid readout: biased at c = 1, error above 0.1", 0.1, INF, "bias.sigmoid/c=1"),
    (
        "bias-stays",
        "Sigmoid readout, c = 1: samples do not mend it, slope above -0.15",
        -0.15,
        INF,
        "*.sigmoid/c=1_slope",
    ),
    (
        "bias-limit",
        "Sigmoid readout: bias vanishes with c, error below 0.02 at 0.01",
        -INF,
        0.02,
        "bias.sigmoid/c=0.01",
    ),
    ("linear-no-bias", f"Linear readout, c = 1: no bias; {FALLS}", -0.65, -0.4, "bias.linear/c=1_slope"),
    ("linear-expected", f"Linear readout, c = 1: {MATCHES}", 0.9, 1.1, "bias.linear/c=1_ratio"),
    ("antithetic-expected", f"Antithetic, c = 1, no term in c^2: {MATCHES}", 0.9, 1.1, "bias.antithetic/c=1_ratio"),
    ("rank", "A3 violated (linear 8-6-4-3): B2 does not become W2, error above 0.3", 0.3, INF, "rank.*/W2"),
    (
        "rank-expected",
        "A3 violated, offline: B2 misses one dimension of 4, error 0.5 +- 0.02",
        0.48,
        0.52,
        "rank.offline/W2",
    ),
    ("rank-top", "A3 violated: B3 becomes W3, largest error below 0.05", -INF, 0.05, "rank.*/W3_max"),
    (
        "rank-angle",
        "A3 violated: angle of W2's credit to the gradient below 5 degrees",
        -INF,
        5,
        "rank.*/W2_true_angle",
    ),
    ("deep", "Deep and tanh, staged: largest error below 0.05", -INF, 0.05, "deep.staged/W?_max"),
    ("deep-expected", f"Deep and tanh: {MATCHES}", 0.9, 1.1, "deep.*/W?_ratio"),
    ("deep-rate", f"Deep and tanh: {FALLS}", -0.65, -0.4, "deep.*/W?_slope"),
    ("recurrent", "Recurrent: B becomes W, error below 0.15", -INF, 0.15, "recurrent.corrected/W2"),
    ("recurrent-angle", "Recurrent: angle one step back below 10 degrees", -INF, 10, "recurrent.corrected/W2_angle"),
    (
        "legacy",
        "Recurrent, authors' code: B is unrelated to W, cosine within 0.2 of 0",
        -0.2,
        0.2,
        "*.legacy/W2_cosine",
    ),
    ("legacy-angle", "Recurrent, authors' code: 80 to 100 degrees one step back", 80, 100, "recurrent.legacy/W2_angle"),
    (
        "legacy-own",
        "Recurrent, authors' code: B learns the step's own credit (angle)",
        -INF,
        45,
        "*.legacy/W2_angle_own",
    ),
)


def _claim(name: str, statement: str, low: float, high: float, pattern: str) -> Claim:
    """What is measured is the number nearest to leaving the bounds."""

    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        values = [summary[key] for key in fnmatch.filter(summary, pattern)]
        worst = min(values, key=lambda value: min(value - low, high - value), default=float("nan"))
        return worst, low < worst < high

    return Claim(name, statement, None, check)


def _signs(summary: Mapping[str, float]) -> tuple[float, bool]:
    ratio = summary["theorem1.8-5-3.rademacher/W2"] / summary["theorem1.8-5-3.gaussian/W2"]
    return ratio, ratio < 0.9


CLAIMS = [_claim(*check) for check in CHECKS]
CLAIMS.append(Claim("signs", "Theorem 1, 8-5-3: signs err less than normal noise (ratio, below 0.9)", None, _signs))


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Six panels: root mean square over networks with the middle 90 %, and theory as dashed lines."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, 3, figsize=(15, 8.6), constrained_layout=True)

    def curve(axis: Any, part: str, layer: int, colour: str, label: str, marker: str = "o") -> None:
        if f"{part}/relative_error" not in metrics:
            return
        values = metrics[f"{part}/relative_error"]
        every = np.arange(values.shape[2])
        samples, errors = metrics[f"{part}/samples"][0, :, 0], networks(values, every, layer)
        shown = np.unique(np.geomspace(1, len(samples), 12).round().astype(int)) - 1
        axis.plot(samples[shown], root_mean_square(errors)[shown], marker, color=colour, ms=4, label=label)
        axis.fill_between(samples, *np.quantile(errors, (0.05, 0.95), 0), color=colour, alpha=0.15, lw=0)
        if f"{part}/expected" in metrics:
            theory = root_mean_square(networks(metrics[f"{part}/expected"], every, layer))
            axis.plot(samples, theory, "--", color=colour, lw=1.2)
        axis.set(xscale="log", yscale="log", xlabel="samples", ylabel="relative error of B")

    one, two, three, four, five, six = axes.flat
    parts = [name.removesuffix(".gaussian/samples") for name in metrics if name.endswith(".gaussian/samples")]
    for part, colour in zip(parts, (BLUE, GREEN, PINK), strict=False):
        sizes = part.partition(".")[2]
        curve(one, f"{part}.gaussian", 0, colour, f"{sizes}, normal noise")
        curve(one, f"{part}.rademacher", 0, colour, f"{sizes}, signs", "^")
    one.set_title("Theorem 1: one hidden layer, tanh")

    for readout, colour, label in (
        ("sigmoid", ORANGE, "sigmoid readout"),
        ("linear", BLUE, "linear readout"),
        ("antithetic", GREEN, "linear, antithetic pairs"),
    ):
        values, sigmas = metrics[f"bias.{readout}/relative_error"][:, -1, :, 0], metrics[f"bias.{readout}/sigma"][0, 0]
        two.plot(sigmas, root_mean_square(values), "o", color=colour, ms=4, label=label)
        two.vlines(sigmas, *np.quantile(values, (0.05, 0.95), 0), color=colour, alpha=0.4)
        if f"bias.{readout}/expected" in metrics and readout != "sigmoid":
            theory = root_mean_square(metrics[f"bias.{readout}/expected"][:, -1, :, 0])
            two.plot(sigmas, theory, "--", color=colour, lw=1.2)
    samples = metrics["bias.linear/samples"][0, -1, 0]
    two.set(xscale="log", yscale="log", xlabel="standard deviation c of the noise", ylabel="relative error of B")
    two.set_title(f"Bias at finite noise: tanh 8-5-3, {samples:,.0f} samples")

    for axis, family, title in (
        (three, "theorem2", "Theorem 2: linear 6-3-4-5"),
        (four, "rank", "A3 violated: linear 8-6-4-3"),
        (five, "deep", "Beyond the theorems: tanh 6-3-4-5"),
    ):
        other = "staged" if family == "deep" else "offline"
        curve(axis, f"{family}.ridge", 0, ORANGE, "W2, online")
        curve(axis, f"{family}.{other}", 0, BLUE, f"W2, {other}", "s")
        curve(axis, f"{family}.{other}", 1, GREEN, "W3", "^")
        axis.set_title(title)
    values = metrics["rank.offline/true_angle"]
    four.plot(
        metrics["rank.offline/samples"][0, :, 0],
        np.radians(networks(values, np.arange(values.shape[2]), 0).mean(0)),
        color="black",
        lw=1.2,
        label="angle of W2's credit (radians)",
    )
    for name, colour, marker in (("corrected", BLUE, "o"), ("legacy", ORANGE, "s")):
        curve(six, f"recurrent.{name}", 0, colour, name, marker)
    six.set(title="Recurrent: 20 tanh units", xlabel="windows of 7 steps")
    for axis, letter in zip(axes.flat, "abcdef", strict=True):
        axis.legend(frameon=False, fontsize=8)
        axis.grid(alpha=0.2, which="both", lw=0.5)
        axis.text(-0.12, 1.03, letter, transform=axis.transAxes, weight="bold", fontsize=13)
    figure.suptitle(
        "Lansdell, Prakash & Kording (2020), theorems: feedback at fixed weights. "
        "Root mean square and middle 90 % of networks; dashed: theory"
    )
    return figure


experiment = Experiment(
    title="Theorems 1 and 2: learned feedback becomes the weights, within predicted errors; bias, rank, depth, "
    "recurrence",
    cost={
        "smoke": "half a minute to one and a half, nearly all of it compilation",
        "default": "20 seeds, 60 networks for the theorems: 13 minutes on two cores that others shared",
        "paper": "eight times the samples of default; an hour or two on two cores",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
    measure=measure,
)
