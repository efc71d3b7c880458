"""Appendix A of Bredenberg et al. (2021): the bias of impression learning and its bound, as p~ approaches q~.

IL takes log x ~ x - 1 for x = p~ / q~, then relabels lambda -> 1 - lambda. Both steps can be measured apart. What the
first drops is E[(x - 1 - log x) dlog q~] = E[R dlog q~] / 2 with R = 2 (x - 1 - log x), the square of Taylor's theorem:
so B = sqrt(E R^2), and with it the bounds of equations 2 and 3, hold no unknown. The second is not exact, for k_t, the
onset of wake, depends on lambda: E_q~(1-lambda) dlog p~(1-lambda) - E_p~(lambda) dlog q~(lambda) is sampled without
weights, p~ being the walk that sleeps where q~ wakes.

    held         lambda_t = lambda_0: no phase ends in the window, k = 0
    no onset     phases of two steps, k = 0 by force: the transition always predicts
    onset        the same, k as the paper has it

On the path eps -> 0 stimulus and weights are eps times a draw (W and D_s of spectral norm 1), the noise of both streams
is alike: p~ = q~ at 0 but for onsets. E x^2 is finite on the path only while eps is small, about below 0.6; at onsets
never: x there compares r_{t-1} with f(W s), whose difference is as broad as the noise. Nor is it at the paper's
noise, wherever awake: for p^2 / q to be integrable it takes sigma_gen^2 < 2 sigma_inf^2. B is then infinite, and the
bound says nothing. Slips of the print: the formula has sqrt(S T / 2) / sigma, the text sqrt(T) / sigma^2; no S bounds a
Gaussian s, so that S is the largest E s_j^2 here.

Without onsets the appendix holds, with room to spare: the bias falls nearly as eps^3 and its bound as eps^2, the
gradient as eps. What does not hold: B is taken for a constant in T but grows like T, so that the bound grows relative
to the gradient; and at onsets relabelling adds a bias in proportion to it, a tenth, at any eps.
In the paper's own network that is small beside what the Taylor step adds.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from experiments.bredenberg2021.gradients import BLOCK, checkpoints, pairs, path
from plasticity_jax.diagnostics.bias_variance import moments
from plasticity_jax.networks.two_stream import Sample, TwoStream, advance, draw, init_params, log_p, log_q, two_stream
from plasticity_jax.ops.prng import fold_in
from plasticity_jax.rules.generative.common import scores
from plasticity_jax.run import Claim, Experiment, Program, mean_sem, once, put
from plasticity_jax.typing import Array, Key, Params, PyTree

LATENTS = 2
W = slice(LATENTS + 2 * LATENTS**2, None)  # among all weights, transition and D_s first
SIGMA = 0.5  # of both streams and layers: that of the stimulus
SIZES = (2 * LATENTS, LATENTS)
PAPER = two_stream(SIZES)
VECTORS = ("il", "truth", "bias", "taylor", "relabel", "rest")
KINDS = ("held", "no_onset", "onset")
LABELS = {"held": "phase never ends", "no_onset": "phases of 2, k = 0", "onset": "phases of 2, k as printed"}
COLOURS = {"held": "#009e73", "no_onset": "#0072b2", "onset": "#d55e00"}
FAR = 5.0  # standard errors of 99 degrees of freedom; one of 900 is farther by chance with a probability of 0.002


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: of weights and stimuli.
      eps: how far p~ is from q~, ascending.
      steps: T on that path, a multiple of 4.
      windows: longer T, multiples of 4, ascending.
      eps_windows: the eps at which they are compared, one of `eps`.
      groups: of `per_group` trials, at each point.
      per_group: draws of noise, each with four signs, in a pattern and in its complement.
      trained: steps of learning of the paper's own network, after which it is measured again.
    """

    seeds: int = 5
    eps: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3)
    steps: int = 4
    windows: tuple[int, ...] = (8, 16)
    eps_windows: float = 0.1
    groups: int = 100
    per_group: int = 100
    trained: int = 50_000

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.groups < 2 or self.per_group < 1:
            raise ValueError("seeds and per_group must be at least 1, groups at least 2")
        if any(steps < 4 or steps % 4 for steps in (self.steps, *self.windows)):
            raise ValueError("steps and windows must be multiples of 4, so that patterns wake half of the time")
        if list(self.eps) != sorted(set(self.eps)) or self.eps[0] <= 0 or len(self.eps) < 2:
            raise ValueError(f"eps={self.eps} must ascend from above 0, at least two of them")
        if list(self.windows) != sorted(set(self.windows)) or not self.windows or self.windows[0] <= self.steps:
            raise ValueError(f"windows={self.windows} must ascend from above steps={self.steps}")
        if self.eps_windows not in self.eps:
            raise ValueError(f"eps_windows={self.eps_windows} must be one of eps={self.eps}")


PRESETS = {
    "smoke": Config(seeds=2, eps=(0.1, 0.4), windows=(8,), groups=4, per_group=50, trained=BLOCK),
    "default": Config(),
    "paper": Config(seeds=20, groups=5000),
}


class Trial(NamedTuple):
    """What a trial is given.

    Attributes:
      key: of the noise.
      signs: (2,), that the noise of s is multiplied by, and that of r at odd steps.
      z: (T, 1, n_0), the stimulus.
    """

    key: Key
    signs: Array
    z: Array


def walk(net: TwoStream, params: Params, trial: Trial, wake: Array, onset: Array) -> Sample:
    """`trajectory` with the onsets given, (T,), and signs of the noise; leaves lead with (T, 1)."""

    def step(top: Array, x: tuple[Array, ...]) -> tuple[Array, Sample]:
        t, z_t, wake_t, onset_t = x
        noise = draw(net, fold_in(trial.key, t), 1, top.dtype)
        innovations = (trial.signs[0] * noise[0], jnp.where(t % 2 == 1, trial.signs[1], 1) * noise[1])
        now = advance(net, params, wake_t, onset_t, top, z_t, innovations)
        return now.x[-1], now

    steps = jnp.arange(trial.z.shape[0], dtype=jnp.uint32)
    return jax.lax.scan(step, jnp.zeros((1, net.sizes[-1])), (steps, trial.z, wake, onset))[1]


def onsets(wake: Array) -> Array:
    """k_t of a pattern, as if awake before."""
    return wake & ~jnp.concatenate([jnp.ones(1, bool), wake[:-1]])


def sample(
    net: TwoStream, params: Params, trial: Trial, wake: Array, onset: Array, mirrored: Array
) -> dict[str, Array]:
    """One trial; vectors are over all weights.

    Args:
      net: the network.
      params: its weights.
      trial: stimulus and noise.
      wake: (T,), lambda.
      onset: (T,), k.
      mirrored: (T,), k of the complement.

    Returns:
      "il", "truth" and the "bias" of the former; "taylor", what the Taylor step adds to it, "relabel", what relabelling
      adds, and the "rest"; "score_square" of dlog q~, "remainder_square", R^2, and "s_square", (T, n_0).
    """

    def score(now: Sample, onset: Array, inference: Array) -> PyTree:
        def one(now: Sample, onset: Array, weight: Array) -> PyTree:
            return scores(net, params, now, onset * 1.0, inference=weight, generation=1 - weight, precondition=False)

        each = jax.vmap(one)(now, onset, inference)
        return ravel_pytree(jax.tree.map(lambda leaf: jnp.sum(leaf, 0), each))[0]

    def loss(params: Params) -> tuple[Array, Sample]:
        now = walk(net, params, trial, wake, onset)
        energy = log_q(net, now) - log_p(net, now)
        return jnp.sum((2 * lam - 1) * energy[:, 0]), now

    lam = wake * 1.0
    gradient, now = jax.grad(loss, has_aux=True)(params)
    log_x = -loss(params)[0]
    truth = -ravel_pytree(gradient)[0]
    il = 2 * score(now, onset, 1 - lam)
    remainder = 2 * (jnp.expm1(log_x) - log_x)
    score_q = score(now, onset, lam)
    taylor = remainder * score_q / 2
    # With k of lambda, p~(lambda) sleeps where q~ wakes; q~(1 - lambda) has the onsets of the complement.
    from_p = score(walk(net, params, trial, ~wake, onset), onset, lam)
    from_q = score(walk(net, params, trial, ~wake, mirrored), mirrored, lam)
    return {
        "il": il,
        "truth": truth,
        "bias": il - truth,
        "taylor": taylor,
        "relabel": from_q - from_p,
        "rest": il - truth - taylor - (from_q - from_p),
        "score_square": score_q**2,
        "remainder_square": remainder**2,
        "s_square": now.x[0][:, 0] ** 2,
    }


def patterns(kind: str, steps: int) -> tuple[Array, Array, Array]:
    """lambda, k, and k of the complement, of a window and its complement: (2, steps) each."""
    wake = pairs(steps, steps if kind == "held" else 2)
    onset = jax.vmap(onsets)(wake) & (kind == "onset")
    return wake, onset, onset[::-1]


def measured(
    net: TwoStream, params: Params, key: Key, z: Array, lam: tuple[Array, ...], config: Config
) -> dict[str, Array]:
    """Bias, its two parts, and bounds, by weight: of all trials in both patterns.

    Each draw of noise is used with all four signs, which takes off what is odd in the noise of s, or in that of r at
    odd steps: at small eps nearly all of the noise.
    """
    signs = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])

    def balanced(key: Key) -> dict[str, Array]:
        def one(signs: Array, pattern: tuple[Array, ...]) -> dict[str, Array]:
            return sample(net, params, Trial(key, signs, z), *pattern)

        each = jax.vmap(lambda signs: jax.vmap(lambda pattern: one(signs, pattern))(lam))(signs)
        return jax.tree.map(lambda leaf: jnp.mean(leaf, (0, 1)), each)

    found = moments(balanced, jax.random.split(key, (config.groups, config.per_group)))
    mean, error = found.mean, found.standard_error
    b = jnp.sqrt(mean["remainder_square"])
    largest_s = jnp.max(mean["s_square"])
    return {
        **{name: mean[name] for name in VECTORS},
        **{f"{name}_error": error[name] for name in VECTORS},
        "b": b,
        "score": jnp.sqrt(jnp.sum(mean["score_square"])),
        "steps": jnp.asarray(z.shape[0]),
        "bound": 0.5 * b * jnp.sqrt(mean["score_square"]),
        "bound_3": 0.5 * b * jnp.sqrt(largest_s * z.shape[0] / 2) / net.sigma_inf[1],
    }


def drawn(key: Key) -> Params:
    """Weights of the path at eps = 1: normal matrices of spectral norm 1, transitions 0.6."""
    params = init_params(key, PAPER)

    def unit(w: Array) -> Array:
        return w / jnp.linalg.norm(w, 2)

    return {half: {**params[half], "w": tuple(map(unit, params[half]["w"]))} for half in params}


def on_path(config: Config, kinds: tuple[str, ...], eps: tuple[float, ...], steps: int) -> Program:
    """The path of networks, at some eps and one T; metrics (1, kinds, eps, ...)."""
    net = two_stream(SIZES, (SIGMA, SIGMA), (SIGMA, SIGMA))
    settings = jax.tree.map(lambda *each: jnp.stack(each), *[patterns(kind, steps) for kind in kinds])

    def compute(key: Key) -> dict[str, Array]:
        key_weights, key_path, key_trials = jax.random.split(key, 3)
        params, z = drawn(key_weights), path(key_path, LATENTS, 2 * LATENTS, max(config.steps, *config.windows))[:steps]

        def at(lam: tuple[Array, ...], eps: Array) -> dict[str, Array]:
            scaled = jax.tree.map(lambda leaf: eps * leaf, params)
            return {**measured(net, scaled, key_trials, eps * z, lam, config), "eps": eps}

        return jax.lax.map(lambda lam: jax.lax.map(lambda eps: at(lam, eps), jnp.asarray(eps)), settings)

    return once(compute, len(kinds) * len(eps) * config.groups * config.per_group * steps)


def own_network(config: Config) -> Program:
    """The paper's network and noise before and after learning: W's bias, and what relabelling adds."""

    def measure(key: Key, params: Params, mixing: Array) -> dict[str, Array]:
        z = path(key, LATENTS, 2 * LATENTS, config.steps, mixing)
        each = measured(PAPER, params, key, z, patterns("onset", config.steps), config)
        return {name: each[name][W] for name in (*VECTORS, *(f"{name}_error" for name in VECTORS))}

    return checkpoints(PAPER, 1e-3, (0, config.trained), measure)


def make_parts(config: Config) -> dict[str, Program]:
    """The path, the longer windows, and the paper's network."""
    return {
        "path": on_path(config, KINDS, config.eps, config.steps),
        **{f"window.{steps}": on_path(config, ("no_onset",), (config.eps_windows,), steps) for steps in config.windows},
        "own": own_network(config),
    }


def values_of(metrics: Mapping[str, np.ndarray], curve: str, name: str) -> np.ndarray:
    """A metric along a curve, (seeds, points, ...), a kind of pattern against eps, "windows" against T, or "own"."""
    if curve == "own":
        return np.asarray(metrics[f"own/{name}"], float)
    if curve in KINDS:
        return np.asarray(metrics[f"path/{name}"], float)[:, 0, KINDS.index(curve)]
    eps = metrics[f"window.{windows_of(metrics)[1]}/eps"][0, 0, 0, 0]
    column = int(np.flatnonzero(metrics["path/eps"][0, 0, 0] == eps)[0])
    shortest = values_of(metrics, "no_onset", name)[:, column : column + 1]
    longer = [np.asarray(metrics[f"window.{steps}/{name}"], float)[:, 0, 0] for steps in windows_of(metrics)[1:]]
    return np.concatenate([shortest, *longer], 1)


def windows_of(metrics: Mapping[str, np.ndarray]) -> np.ndarray:
    """Every T, ascending."""
    longer = {int(name.partition("/")[0].partition(".")[2]) for name in metrics if name.startswith("window.")}
    return np.array([int(metrics["path/steps"][0, 0, 0, 0]), *sorted(longer)])


def norm(metrics: Mapping[str, np.ndarray], curve: str, name: str) -> np.ndarray:
    """Length over all weights, less what noise adds to that of a mean but no less than that; (seeds, points)."""
    values = values_of(metrics, curve, name)
    if values.ndim == 2:
        return values
    if name not in VECTORS:
        return np.linalg.norm(values, axis=-1)
    noise = (values_of(metrics, curve, f"{name}_error") ** 2).sum(-1)
    return np.sqrt(np.maximum((values**2).sum(-1) - noise, noise))


def slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of log y against log x, for each seed; y is (seeds, points)."""
    return np.polyfit(np.log(x), np.log(y).T, 1)[0]


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Lengths over all weights by "kind/eps=../name", slopes of logarithms, and the worst weights."""
    summary: dict[str, float] = {}
    eps = metrics["path/eps"][0, 0, 0]
    for kind in KINDS:
        gradient, bound = norm(metrics, kind, "truth"), norm(metrics, kind, "bound")
        # Without onsets the Taylor step is all, and measured with far less noise; with them B is infinite.
        bias = norm(metrics, kind, "bias" if kind == "onset" else "taylor")
        curves = {"gradient": gradient, "bias": bias, "relative_bias": bias / gradient}
        if kind == "onset":
            curves["relabel"] = norm(metrics, kind, "relabel")
            curves["relative_relabel"] = curves["relabel"] / gradient
        else:
            curves |= {"bound": bound, "relative_bound": bound / gradient}
        for name, curve in curves.items():
            for value, column in zip(eps, curve.T, strict=True):
                put(summary, f"{kind}/eps={value:.3g}/{name}", column)
            put(summary, f"{kind}/slope/{name}", slope(eps, curve))
            put(summary, f"{kind}/{name}", curve[:, 0])
        put(summary, f"{kind}/cosine", cosines(metrics, kind)[:, -1])
        if kind != "onset":
            values, error, each, third, rest, rest_error = (
                values_of(metrics, kind, name)
                for name in ("bias", "bias_error", "bound", "bound_3", "rest", "rest_error")
            )
            beyond = np.abs(values) - FAR * error
            summary[f"{kind}/violations"] = float((beyond > each).sum())
            summary[f"{kind}/violations_3"] = float((beyond[..., W] > third[..., None]).sum())
            shown = np.abs(values_of(metrics, kind, "taylor")) / each
            summary[f"{kind}/largest_share"] = float(shown.max())
            summary[f"{kind}/rest_z"] = float((np.abs(rest) / np.maximum(rest_error, 1e-12)).max())
    windows = windows_of(metrics)
    names = {"gradient": "truth", "score": "score", "b": "b", "bias": "taylor", "bound": "bound"}
    curves = {name: norm(metrics, "windows", metric) for name, metric in names.items()}
    curves |= {f"relative_{name}": curves[name] / curves["gradient"] for name in ("bias", "bound")}
    for name, curve in curves.items():
        for steps, column in zip(windows, curve.T, strict=True):
            put(summary, f"windows/T={steps}/{name}", column)
        put(summary, f"windows/slope/{name}", slope(windows, curve))
    gradient, bias, relabel = (norm(metrics, "own", name) for name in ("truth", "bias", "relabel"))
    for index, when in enumerate(("before", "after")):
        put(summary, f"own/{when}/relative_bias", (bias / gradient)[:, index])
        put(summary, f"own/{when}/relative_relabel", (relabel / gradient)[:, index])
        put(summary, f"own/{when}/relabel_share", (relabel / bias)[:, index])
    summary["own/finite"] = 2 * PAPER.sigma_inf[-1] ** 2 / PAPER.sigma_gen[-1] ** 2  # pyright: ignore
    return summary


def cosines(metrics: Mapping[str, np.ndarray], curve: str) -> np.ndarray:
    """Of the mean update of IL to the gradient, over all weights, (seeds, points)."""
    il, truth = (values_of(metrics, curve, name) for name in ("il", "truth"))
    return (il * truth).sum(-1) / (np.linalg.norm(il, axis=-1) * np.linalg.norm(truth, axis=-1))


def _between(name: str, statement: str, paper: str | None, low: float, high: float, *keys: str) -> Claim:
    """All these numbers lie between the bounds, with two standard errors; measured is the nearest to leaving them."""

    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        found = [(summary[key], summary.get(f"{key}_sem", 0.0)) for key in keys]
        holds = all(value - 2 * sem > low and value + 2 * sem < high for value, sem in found)
        return min((value for value, _ in found), key=lambda value: min(value - low, high - value)), holds

    return Claim(name, statement, paper, check)


INF, FREE = float("inf"), ("held", "no_onset")
FASTER = "as p~ approaches q~ the bias of IL shrinks faster than the gradient (slope of log ratio on log eps, above 0)"
CLAIMS = [
    _between(
        "bound",
        "Equation 2 bounds the bias of every weight, k = 0 (weights beyond it by 5 s.e.)",
        *("0", -1, 0.5),
        *(f"{kind}/violations" for kind in FREE),
    ),
    _between(
        "bound-3",
        "Equation 3, with E s^2 for S, bounds the bias of every W_ij, k = 0 (weights beyond it by 5 s.e.)",
        *("0", -1, 0.5),
        *(f"{kind}/violations_3" for kind in FREE),
    ),
    _between(
        "sole-source",
        "k = 0: the Taylor step is the sole source of the bias (largest |z| of what it leaves, below 5)",
        *("sole source", -INF, FAR),
        *(f"{kind}/rest_z" for kind in FREE),
    ),
    _between(
        "sole-source-onset",
        "k as printed: it is still the sole source (share of relabelling in the gradient at the least eps, below 1 %)",
        *("sole source", -INF, 0.01, "onset/relative_relabel"),
    ),
    _between("faster", f"k = 0: {FASTER}", None, 0, INF, *(f"{kind}/slope/relative_bias" for kind in FREE)),
    _between(
        "faster-bound", "k = 0: so does its bound", None, 0, INF, *(f"{kind}/slope/relative_bound" for kind in FREE)
    ),
    _between(
        "faster-onset",
        "k as printed: it still does, as fast as a power 0.5 of eps",
        *(None, 0.5, INF, "onset/slope/relative_bias"),
    ),
    _between(
        "sqrt-T",
        "The scores' root mean square grows as sqrt(T), slope 0.4 to 0.6",
        *("0.5", 0.4, 0.6, "windows/slope/score"),
    ),
    _between("gradient-T", "The gradient grows as T, slope 0.8 to 1.2", "1", 0.8, 1.2, "windows/slope/gradient"),
    _between(
        "relative-bound-T",
        "So the bound relative to the gradient falls with T (slope below 0); B is taken for a constant",
        *("-0.5", -INF, 0, "windows/slope/relative_bound"),
    ),
    _between(
        "relative-bias-T",
        "The bias itself, relative to the gradient, does not grow with T (slope below 0.1)",
        *(None, -INF, 0.1, "windows/slope/relative_bias"),
    ),
    _between(
        "finite",
        "B is finite at the paper's own noise (2 sigma_inf^2 / sigma_gen^2 above 1)",
        *("assumed", 1, INF, "own/finite"),
    ),
    _between(
        "relabel-minor",
        "In the paper's network, before and after learning, relabelling is the lesser part of W's bias (below half)",
        *(None, -INF, 0.5, "own/before/relabel_share", "own/after/relabel_share"),
    ),
]


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Bias, bounds and gradient against eps; their ratios; the same against T; and the paper's own network."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 4, figsize=(19, 4.7), constrained_layout=True)

    def curve(axis: Any, x: np.ndarray, values: np.ndarray, label: str, colour: str, style: str = "o-") -> None:
        mean, sem = np.array([mean_sem(column) for column in values.T]).T
        axis.errorbar(x, mean, sem, fmt=style, color=colour, label=label, ms=4, capsize=2, lw=1.4)

    one, two, three, four = axes
    eps = metrics["path/eps"][0, 0, 0]
    third = values_of(metrics, "no_onset", "bound_3") * (2 * LATENTS**2) ** 0.5
    curve(one, eps, third, "bound of eq. 3, W", "#cc79a7", "^--")
    curve(one, eps, norm(metrics, "no_onset", "bound"), "bound of eq. 2", "#e69f00", "s--")
    curve(one, eps, norm(metrics, "no_onset", "truth"), "gradient", "black")
    curve(one, eps, norm(metrics, "no_onset", "taylor"), "bias: Taylor step", "#0072b2")
    curve(one, eps, norm(metrics, "no_onset", "bias"), "bias: IL less gradient, noisier", "#56b4e9", "x:")
    one.set(title="phases of 2, k = 0", xlabel="eps, distance of p~ from q~", ylabel="length over all weights")
    for kind in KINDS:
        gradient = norm(metrics, kind, "truth")
        bias = norm(metrics, kind, "bias" if kind == "onset" else "taylor")
        curve(two, eps, bias / gradient, LABELS[kind], COLOURS[kind])
        if kind == "onset":
            curve(two, eps, norm(metrics, kind, "relabel") / gradient, "of it relabelling", "#f2a65a", "s--")
    two.set(title="bias relative to the gradient", xlabel="eps, distance of p~ from q~", ylabel="|bias| / |gradient|")
    windows = windows_of(metrics)
    grown = [norm(metrics, "windows", name) for name in ("bound", "b", "truth", "score")]
    scaled = [values / values[:, :1] for values in grown]
    labels = ("bound of eq. 2", "B", "gradient", "scores (r.m.s.)")
    for values, label, colour in zip(scaled, labels, ("#e69f00", "#d55e00", "black", "#009e73"), strict=True):
        power = slope(windows, values).mean()
        curve(three, windows, values, f"{label} ~ T^{power:.2f}", colour)
    three.set(title="growth with the window, k = 0", xlabel="T, steps", ylabel="relative to the shortest window")
    gradient = norm(metrics, "own", "truth")
    for index, (name, label) in enumerate((("bias", "bias of IL"), ("relabel", "of it relabelling"))):
        values = norm(metrics, "own", name) / gradient
        mean, sem = np.array([mean_sem(column) for column in values.T]).T
        four.bar(
            np.arange(2) + 0.36 * index,
            mean,
            0.34,
            yerr=sem,
            color=("#0072b2", "#f2a65a")[index],
            label=label,
            capsize=3,
        )
    steps = metrics["own/steps"][0]
    four.set_xticks(np.arange(2) + 0.18, [f"{count:,} steps" for count in steps])
    four.set(title="the paper's network (2 latents), W", ylabel="relative to the gradient", ylim=(0, 1.3))
    for axis, letter in zip(axes, "abcd", strict=True):
        if axis is not four:
            axis.set(xscale="log", yscale="log")
        if axis in (one, two):
            axis.set_xticks(eps, [f"{value:g}" for value in np.round(eps, 4)])
        if axis is three:
            axis.set_xticks(windows, [str(steps) for steps in windows])
        axis.minorticks_off()
        axis.legend(frameon=False, fontsize=8)
        axis.grid(alpha=0.2, lw=0.5)
        axis.text(-0.13, 1.03, letter, transform=axis.transAxes, weight="bold", fontsize=13)
    figure.suptitle("Bredenberg et al. (2021), appendix A: bias of impression learning. Mean and s.e. over seeds")
    return figure


experiment = Experiment(
    title="Appendix A: the bias of impression learning against its bounds, as p~ approaches q~; what relabelling adds",
    cost={
        "smoke": "half a minute, nearly all of it compilation",
        "default": "5 seeds: about a minute on two cores",
        "paper": "6 hours on two cores; meant for an accelerator",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
)
