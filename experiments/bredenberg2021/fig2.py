"""Figure 2 of Bredenberg et al. (2021): how good are the gradients of W by IL, NVI* and BP, on the same network.

All estimators see windows of four steps, one stimulus path, from r = 0: the authors' window, two steps awake and two
asleep, and its complement, which the theory wants as often. A sample is the mean over one trial of each. The truth is
the mean of many reparameterised gradients of the same loss; that of single samples is the best that an unbiased
estimator of known noise does, "BP". "BP of the ELBO" is the authors' rival: always awake, hence of another loss.

    IL            2 sum_t (1 - lambda_t) dlog q_t / dW                       the factor 2 of equation 5 restored
    NVI*          gamma_g = 1: unbiased. Without a baseline, and with the converged running average as one
    published     NVI* by the authors' code (sign, factor, and a missing square in its loss), likewise with a baseline

Signal-to-noise is |mean|^2 over the summed variances of one trial; per step, it is the authors' statistic, squared mean
over variance of the updates of all steps alike, averaged over weights. Of unbiased estimators the signal is the truth,
for their own mean is too noisy: what it has left of noise is 1 / N. Of the others the noise in |mean|^2 is taken off.

What falls otherwise than the paper has it: for one stimulus IL's cosine is .3 to .8, and it falls with latents, if less
than NVI*'s; averaged over stimuli, which is what learning follows, it rises with them. IL is 2 to 6 times too short, so
that its relative bias is near 1, and training does not lessen it. Where IL has converged (2 latents) its mean over
stimuli is nearly zero and the gradient is not: all of a gradient that has shrunk is then bias, and IL's direction is
arbitrary. IL and BP have about the same variance before training, not after; and then the baseline, one number for wake
and sleep, helps NVI* little where latents are few.
"""

import dataclasses
import fnmatch
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bredenberg2021.authors import published_nvi
from experiments.bredenberg2021.gradients import BLOCK, checkpoints, following, pairs, path
from plasticity_jax.base import LearningRule
from plasticity_jax.diagnostics.bias_variance import moments, updates_along
from plasticity_jax.networks.two_stream import TwoStream, trajectory_loss, two_stream
from plasticity_jax.ops.norms import cosine
from plasticity_jax.rules.generative import impression, neural_variational
from plasticity_jax.run import Claim, Experiment, Program, gap, mean_sem, put
from plasticity_jax.typing import Array, Example, Key, Params

T, PHASE = 4, 2
BATCH = 100  # trials whose mean is one of the averaged estimates
AVERAGED = (1, 100, 10_000)
UNBIASED = ("bp", "nvi", "nvi_baseline")
LABELS = {
    "bp": "BP, same loss",
    "elbo": "BP of the ELBO",
    "il": "IL",
    "nvi": "NVI*",
    "nvi_baseline": "NVI*, with baseline",
    "published": "NVI*, published code",
}
COLOURS = {
    "bp": "#000000",
    "elbo": "#7f7f7f",
    "il": "#0072b2",
    "nvi": "#d55e00",
    "nvi_baseline": "#e69f00",
    "published": "#cc79a7",
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: of networks, mixtures and stimuli.
      latents: n_r = n_lat of each network; n_s is twice as many.
      followed: those of them that are measured all through training; the others before and after.
      steps: of training, by impression learning.
      checkpoints: during training, both ends counted.
      rate: of training, times the variance of each weight's density.
      groups: of 100 trials, for the statistics of all estimators.
      truth: groups of 100 trials, for the true gradient.
    """

    seeds: int = 5
    latents: tuple[int, ...] = (2, 4, 8, 16, 32)
    followed: tuple[int, ...] = (2, 8)
    steps: int = 100_000
    checkpoints: int = 6
    rate: float = 1e-3
    groups: int = 100
    truth: int = 300

    def __post_init__(self) -> None:
        if self.seeds < 1 or self.checkpoints < 2 or min(self.groups, self.truth) < 2:
            raise ValueError("seeds must be at least 1, checkpoints, groups and truth at least 2")
        if min(self.latents) < 2 or not set(self.followed) <= set(self.latents):
            raise ValueError(f"followed={self.followed} must be among latents={self.latents}, all at least 2")
        if self.steps % (BLOCK * (self.checkpoints - 1)):
            raise ValueError(f"steps={self.steps} must be a multiple of {BLOCK} times the checkpoints less one")


PRESETS = {
    "smoke": Config(seeds=2, latents=(2,), followed=(2,), steps=BLOCK, checkpoints=2, groups=4, truth=4),
    "default": Config(),
    "paper": Config(seeds=20, steps=2_000_000, checkpoints=21, groups=10_000, truth=10_000),
}


class Trials(NamedTuple):
    """Means over a group of trials, of updates of W.

    Attributes:
      total: (windows, n_r, n_s), summed over the steps of a window.
      steps: (T, n_r, n_s), step by step of the first window; () if not asked for.
    """

    total: Array
    steps: Any = ()


def network(latents: int) -> TwoStream:
    """The paper's, with a neuron for each latent and two stimuli."""
    return two_stream((2 * latents, latents))


def with_baseline(rule: LearningRule, baseline: Array) -> LearningRule:
    """NVI* from a baseline that has converged, in place of 0."""

    def init(params: Params, key: Key, batch: Example) -> Any:
        traces = rule.init(params, key, batch)
        return traces._replace(baseline=jnp.full_like(traces.baseline, baseline))

    return LearningRule(init, rule.update)


def nvi(net: TwoStream, pattern: Array, published: bool = False) -> LearningRule:
    """NVI* that does not forget, and whose baseline stands still."""
    rule = published_nvi if published else neural_variational
    return rule(net, schedule=following(pattern), gamma_g=1.0, gamma_baseline=0.0)


def exact(net: TwoStream, params: Params, key: Key, z: Array) -> tuple[Array, Array]:
    """The loss of a step and the reparameterised gradient, (), and (3, n_r, n_s): both windows, and always awake."""
    patterns = jnp.concatenate([pairs(T, PHASE), jnp.ones((1, T), bool)])

    def one(key: Key, pattern: Array) -> tuple[Array, Array]:
        def loss(params: Params) -> Array:
            return jnp.mean(trajectory_loss(net, params, key, z, pattern))

        value, gradient = jax.value_and_grad(loss)(params)
        return value / T, net.sigma_inf[1] ** 2 * gradient["inference"]["w"][0]

    values, gradients = jax.vmap(one)(jax.random.split(key, 3), patterns)
    return jnp.mean(values[:2]), gradients


def by_rule(make: Callable[[Array], LearningRule], params: Params, key: Key, z: Array, factor: float = 1.0) -> Trials:
    """The mean of trials of a rule, one for each stream, with independent noise in both windows."""

    def one(key: Key, pattern: Array) -> Array:
        return factor * updates_along(make(pattern), params, key, Example(z, z))["inference"]["w"][0]

    steps = jax.vmap(one)(jax.random.split(key, 2), pairs(T, PHASE))
    return Trials(jnp.sum(steps, 1), steps[0])


def quality(config: Config, key: Key, params: Params, mixing: Array) -> dict[str, Array]:
    """Every estimator against the truth, all at the same weights and stimulus: "name.statistic"."""
    key_path, key_truth, key_trials, key_stimuli = jax.random.split(key, 4)
    net = network(mixing.shape[1])
    z = path(key_path, mixing.shape[1], mixing.shape[0], T, mixing)
    z = jnp.broadcast_to(z, (T, BATCH, z.shape[-1]))
    found = moments(lambda key: exact(net, params, key, z), jax.random.split(key_truth, (config.truth, 1)))
    truth, error = found.mean[1][:2], found.standard_error[1][:2]
    baseline = -found.mean[0]
    wanted = jnp.mean(truth, 0)

    def trials(key: Key) -> dict[str, Trials]:
        gradient = exact(net, params, jax.random.fold_in(key, 1), z)[1]
        return {
            "bp": Trials(gradient[:2]),
            "elbo": Trials(jnp.stack([gradient[2]] * 2)),
            "il": by_rule(lambda pattern: impression(net, schedule=following(pattern)), params, key, z, 2.0),
            "nvi": by_rule(lambda pattern: nvi(net, pattern), params, key, z),
            "nvi_baseline": by_rule(lambda pattern: with_baseline(nvi(net, pattern), baseline), params, key, z),
            # Their signal is -2 l, but for normalisers and a slip, which are small beside it.
            "published": by_rule(lambda pattern: with_baseline(nvi(net, pattern, True), -2 * baseline), params, key, z),
        }

    def with_cosines(key: Key) -> tuple[dict[str, Trials], dict[str, Array]]:
        each = trials(key)
        return each, {name: cosine(jnp.mean(one.total, 0), wanted) for name, one in each.items()}

    all_trials = moments(with_cosines, jax.random.split(key_trials, (config.groups, 1)))
    (mean, cosines), (variance, _) = all_trials.mean, all_trials.variance
    metrics = {}
    for name in mean:
        one = jax.tree.map(lambda leaf: BATCH * leaf, variance[name])  # of one trial
        statistics = assessed(name, mean[name], one, config.groups * BATCH, truth, error)
        metrics |= {f"{name}.{key}": value for key, value in {**statistics, "cosine_100": cosines[name]}.items()}

    # Of the mean over stimuli, which is what learning follows: every trial has a path of its own.
    def any_stimulus(key: Key) -> tuple[Array, Array]:
        key_path, key_trials = jax.random.split(key)
        paths = path(key_path, mixing.shape[1], mixing.shape[0], T, mixing, BATCH)
        il = by_rule(lambda pattern: impression(net, schedule=following(pattern)), params, key_trials, paths, 2.0)
        return jnp.mean(exact(net, params, jax.random.fold_in(key_trials, 1), paths)[1][:2], 0), jnp.mean(il.total, 0)

    over = moments(any_stimulus, jax.random.split(key_stimuli, (config.truth, 1)))
    (wanted, own), noise = over.mean, [jnp.sum(leaf**2) for leaf in over.standard_error]
    length = jnp.sum(wanted**2) - noise[0]
    off = jnp.maximum(jnp.sum((own - wanted) ** 2) - noise[0] - noise[1], 0)
    return metrics | {
        "stimuli.cosine": cosine(own, wanted),
        "stimuli.norm_ratio": jnp.sqrt(jnp.maximum(jnp.sum(own**2) - noise[1], 0) / length),
        "stimuli.bias": jnp.sqrt(off / length),
        "stimuli.absolute_bias": jnp.sqrt(off),
    }


def assessed(name: str, mean: Trials, variance: Trials, count: int, truth: Array, error: Array) -> dict[str, Array]:
    """Statistics of one estimator.

    Args:
      name: of the estimator.
      mean: of all trials.
      variance: of one trial.
      count: of trials.
      truth: (2, n_r, n_s), the gradient on both windows.
      error: same shape, its standard error.
    """
    wanted, found = jnp.mean(truth, 0), jnp.mean(mean.total, 0)
    length, power = jnp.sum(wanted**2), jnp.sum(variance.total) / 4  # of the mean over two windows
    if name == "elbo":
        power = 2 * power  # twice the same trial
    noise = power / count
    unbiased = name in UNBIASED
    own_length = length if unbiased else jnp.maximum(jnp.sum(found**2) - noise, 0)
    along = jnp.where(unbiased, length, jnp.sum(found * wanted))
    off = jnp.maximum(jnp.sum((found - wanted) ** 2) - noise - jnp.sum(error**2) / 4, 0)

    def cosine_of(trials: int) -> Array:
        return along / jnp.sqrt(length * (own_length + power / trials))

    spread = jnp.sum(variance.total, 0) / 4 / count + jnp.sum(error**2, 0) / 4
    window_signal = jnp.sum(truth[0] ** 2 if unbiased else mean.total[0] ** 2 - variance.total[0] / count)
    statistics = {
        "cosine": cosine(found, wanted),
        **{f"expected_cosine_{trials}": cosine_of(trials) for trials in AVERAGED},
        "norm_ratio": jnp.sqrt(jnp.maximum(jnp.sum(found**2) - noise, 0) / length),
        "bias": jnp.sqrt(off / length),
        "absolute_bias": jnp.sqrt(off),
        "variance": power / length,
        "z_rms": jnp.sqrt(jnp.mean((found - wanted) ** 2 / spread)),
        "window_cosine": cosine(mean.total[0], truth[0]),
        "snr": window_signal / jnp.sum(variance.total[0]),
    }
    if len(mean.steps):
        step = truth[0] / T if unbiased else mean.total[0] / T
        pooled = jnp.mean(variance.steps + mean.steps**2, 0) - jnp.mean(mean.steps, 0) ** 2
        statistics["snr_step"] = jnp.mean(step**2 / pooled)
    return statistics


def make_parts(config: Config) -> dict[str, Program]:
    """A program for each number of latents."""

    def until(n: int) -> list[int]:
        apart = config.steps // (config.checkpoints - 1)
        return [i * apart for i in range(config.checkpoints)] if n in config.followed else [0, config.steps]

    def measure(key: Key, params: Params, mixing: Array) -> dict[str, Array]:
        return quality(config, key, params, mixing)

    return {f"n{n}": checkpoints(network(n), config.rate, until(n), measure) for n in config.latents}


POINTS = ("before", "after")
KEPT = {
    "bp": ("cosine_100", "expected_cosine_1", "expected_cosine_100", "expected_cosine_10000", "variance", "snr"),
    "elbo": ("cosine", "norm_ratio", "bias", "variance", "snr"),
    "il": (
        "cosine",
        "cosine_100",
        "window_cosine",
        "norm_ratio",
        "bias",
        "absolute_bias",
        "variance",
        "snr",
        "snr_step",
    ),
    "nvi": ("cosine", "expected_cosine_10000", "variance", "snr", "snr_step"),
    "nvi_baseline": ("cosine", "cosine_100", "expected_cosine_1", "expected_cosine_100", "expected_cosine_10000")
    + ("variance", "snr", "snr_step"),
    "published": ("cosine", "norm_ratio", "z_rms"),
    "stimuli": ("cosine", "norm_ratio", "bias", "absolute_bias"),
}


def sizes(metrics: Mapping[str, np.ndarray]) -> list[int]:
    """Numbers of latents, ascending."""
    return sorted(int(name.partition("/")[0][1:]) for name in metrics if name.endswith("/il.cosine"))


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Statistics before and after training, by "n2/before/il/cosine", and what the claims read."""
    summary: dict[str, float] = {}
    all_n = sizes(metrics)
    first, last = all_n[0], all_n[-1]

    def of(n: int, name: str) -> np.ndarray:
        return np.asarray(metrics[f"n{n}/{name}"], float)  # (seeds, points)

    for n in all_n:
        for index, when in zip((0, -1), POINTS, strict=True):
            for name, statistics in KEPT.items():
                for statistic in statistics:
                    put(summary, f"n{n}/{when}/{name}/{statistic}", of(n, f"{name}.{statistic}")[:, index])
            variances = [of(n, f"{name}.variance")[:, index] for name in ("il", "bp", "nvi", "nvi_baseline")]
            put(summary, f"n{n}/{when}/log10_variance/il-bp", np.log10(variances[0] / variances[1]))
            put(summary, f"n{n}/{when}/log10_variance/nvi_baseline-bp", np.log10(variances[3] / variances[1]))
            put(summary, f"n{n}/{when}/log10_variance/nvi-nvi_baseline", np.log10(variances[2] / variances[3]))
        for name in ("il", "stimuli"):
            bias, absolute = of(n, f"{name}.bias"), of(n, f"{name}.absolute_bias")
            put(summary, f"n{n}/bias_falls/{name}/relative", bias[:, 0] - bias[:, -1])
            put(summary, f"n{n}/bias_falls/{name}/absolute", 1 - absolute[:, -1] / absolute[:, 0])
    for when, index in zip(POINTS, (0, -1), strict=True):
        for name, statistic in (("il", "cosine"), ("nvi_baseline", "expected_cosine_10000"), ("stimuli", "cosine")):
            ends = [of(n, f"{name}.{statistic}")[:, index] for n in (first, last)]
            put(summary, f"{when}/{name}/last-first", ends[1] - ends[0])
            put(summary, f"{when}/{name}/first-last", ends[0] - ends[1])
        both = [of(last, f"{name}")[:, index] for name in ("il.cosine", "nvi_baseline.expected_cosine_10000")]
        put(summary, f"{when}/il-nvi_at_last", both[0] - both[1])
        slopes = [of(n, "nvi_baseline.variance")[:, index] / of(n, "bp.variance")[:, index] for n in (first, last)]
        put(summary, f"{when}/variance_gap_grows", np.log10(slopes[1] / slopes[0]))
    for name in ("il.cosine", "stimuli.cosine"):
        summary[f"worst/{name}"] = min(float(of(n, name).min()) for n in all_n)
        summary[f"worst_mean/{name}"] = min(float(of(n, name).mean(0).min()) for n in all_n)
        summary[f"worst_before/{name}"] = min(float(of(n, name)[:, 0].min()) for n in all_n)
    for statistic in ("snr", "snr_step"):
        for rival in ("nvi", "nvi_baseline"):
            ratios = [of(n, f"il.{statistic}").mean(0) / of(n, f"{rival}.{statistic}").mean(0) for n in all_n]
            summary[f"least_ratio/{statistic}/{rival}"] = min(float(ratio.min()) for ratio in ratios)
    squares = [of(n, f"{name}.z_rms") ** 2 for n in all_n for name in ("nvi", "nvi_baseline")]
    summary["nvi_z_rms"] = float(np.sqrt(np.mean([square.mean() for square in squares])))
    agree = [of(n, "nvi_baseline.cosine_100") - of(n, "nvi_baseline.expected_cosine_100") for n in all_n]
    summary["expected_cosine_off"] = float(np.max([np.abs(gap.mean(0)).max() for gap in agree]))
    return summary


def _above(name: str, statement: str, paper: str | None, low: float, *keys: str) -> Claim:
    """The least of some numbers exceeds a bound."""

    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        least = min(summary[key] for key in keys)
        return least, least > low

    return Claim(name, statement, paper, check)


def _all(pattern: str) -> Callable[[Mapping[str, float]], list[str]]:
    return lambda summary: [key for key in summary if fnmatch.fnmatch(key, pattern)]


def _equal_variance(when: str) -> Claim:
    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        ratios = [10 ** summary[key] for key in _all(f"n*/{when}/log10_variance/il-bp")(summary)]
        worst = max(ratios, key=lambda ratio: abs(np.log(ratio)))
        return worst, 1 / 1.5 < worst < 1.5

    statement = f"IL and BP have equal variance, {when} training (worst geometric mean of ratios, within a factor 1.5)"
    return Claim(f"equal-variance-{when}", statement, "1", check)


def _keeps(name: str, what: str, kind: str) -> Claim:
    """The cosine falls by less than 0.1 from the fewest latents to the most."""

    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        least = min(summary[f"{when}/{kind}/last-first"] for when in POINTS)
        return least, least > -0.1

    return Claim(
        name, f"{what} falls by less than 0.1 from the fewest latents to the most (before, after)", None, check
    )


def _gaps(name: str, statement: str, pattern: str) -> Claim:
    """Every one of the differences that the pattern names is above 0 by two standard errors; measured is the least."""

    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        keys = _all(pattern)(summary)
        return min(summary[key] for key in keys), all(summary[key] > 2 * summary[f"{key}_sem"] for key in keys)

    return Claim(name, statement, None, check)


def _near_bp(summary: Mapping[str, float]) -> tuple[float, bool]:
    least = min(summary[key] for when in POINTS for key in _all(f"n*/{when}/il/cosine")(summary))
    return least, least > 0.9


CLAIMS = [
    _above(
        "positive", "IL's alignment with the true gradient is positive everywhere (least)", None, 0, "worst/il.cosine"
    ),
    _above(
        "positive-before",
        "... before training, at every number of latents and seed (least)",
        *(None, 0, "worst_before/il.cosine"),
    ),
    _above(
        "positive-mean",
        "... of means over seeds, throughout training (least)",
        *(None, 0, "worst_mean/il.cosine"),
    ),
    _above(
        "positive-stimuli",
        "IL's alignment is positive everywhere for gradients averaged over stimuli (least)",
        *(None, 0, "worst/stimuli.cosine"),
    ),
    Claim(
        "near-bp",
        "IL's cosine to the true gradient is near BP's, 1 (least of means over seeds, above 0.9)",
        None,
        _near_bp,
    ),
    _keeps("il-keeps", "IL's cosine", "il"),
    _keeps("il-keeps-stimuli", "IL's cosine for gradients averaged over stimuli", "stimuli"),
    gap(
        "nvi-collapses",
        "The cosine of a mean of 10^4 NVI* estimates, with baseline, falls with latents (before training)",
        None,
        "before/nvi_baseline/first-last",
    ),
    gap(
        "il-beats-nvi",
        "At the most latents 10^4 trials of IL are better aligned than of NVI* with baseline (before, after)",
        None,
        *(f"{when}/il-nvi_at_last" for when in POINTS),
    ),
    gap(
        "variance-grows",
        "NVI*'s variance grows faster with latents than BP's (log10 of ratios, before and after)",
        None,
        *(f"{when}/variance_gap_grows" for when in POINTS),
    ),
    _above(
        "snr",
        "IL's signal-to-noise exceeds NVI*'s, with and without baseline, 50 times: a window's total (least ratio)",
        *(None, 50, "least_ratio/snr/nvi", "least_ratio/snr/nvi_baseline"),
    ),
    _above(
        "snr-step",
        "... and per step, the authors' statistic (least ratio)",
        *(None, 50, "least_ratio/snr_step/nvi", "least_ratio/snr_step/nvi_baseline"),
    ),
    _gaps(
        "bias-shrinks",
        "IL's bias relative to the gradient shrinks as the model fits (every network)",
        "n*/bias_falls/il/relative",
    ),
    _gaps(
        "bias-shrinks-absolute",
        "IL's bias shrinks as the model fits, in absolute terms (every network; least fraction lost)",
        "n*/bias_falls/il/absolute",
    ),
    Claim(
        "bias-shrinks-stimuli",
        "IL's bias shrinks as the model fits, absolute, averaged over stimuli, fewest latents (fraction lost)",
        None,
        lambda summary: _first(summary, "bias_falls/stimuli/absolute", 1),
    ),
    _equal_variance("before"),
    _equal_variance("after"),
    Claim(
        "nvi-unbiased",
        "NVI* with gamma_g = 1 is unbiased (root mean square of z over all, below 1.2)",
        "unbiased",
        lambda summary: (summary["nvi_z_rms"], summary["nvi_z_rms"] < 1.2),
    ),
    _gaps(
        "baseline-pays", "The baseline takes variance off NVI* (log10 of ratios)", "n*/log10_variance/nvi-nvi_baseline"
    ),
    Claim(
        "published-climbs",
        "The published NVI* climbs: its mean is opposed to the gradient (cosine, fewest latents, before training)",
        None,
        lambda summary: _first(summary, "before/published/cosine", -1),
    ),
]


def _first(summary: Mapping[str, float], tail: str, sign: int) -> tuple[float, bool]:
    """Of the fewest latents, a number that has this sign by two standard errors."""
    key = min(_all(f"n*/{tail}")(summary), key=lambda key: int(key.partition("/")[0][1:]))
    return summary[key], sign * summary[key] > 2 * summary[f"{key}_sem"]


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Against latents (top) and against training (bottom): alignment, length and bias, variance, signal-to-noise."""
    import matplotlib.pyplot as plt

    all_n = sizes(metrics)
    figure, axes = plt.subplots(2, 4, figsize=(19, 8.6), constrained_layout=True)

    def curve(axis: Any, x: Any, values: list[np.ndarray], label: str | None, colour: str, style: str = "o-") -> None:
        mean, sem = np.array([mean_sem(column) for column in values]).T
        axis.errorbar(x, mean, sem, fmt=style, color=colour, label=label, ms=4, capsize=2, lw=1.4)

    def against_n(axis: Any, statistic: str, names: tuple[str, ...], label: str = "") -> None:
        for index, style in ((0, "o-"), (-1, "s--")):
            for name in names:
                values = [np.asarray(metrics[f"n{n}/{name}.{statistic}"])[:, index] for n in all_n]
                shown = label or LABELS[name]
                curve(axis, all_n, values, shown if index == 0 else None, COLOURS.get(name, "#009e73"), style)

    one, two, three, four = axes[0]
    against_n(one, "expected_cosine_10000", ("bp", "il", "nvi_baseline", "nvi"))
    against_n(one, "cosine", ("elbo",))
    one.axhline(0, color="black", lw=0.6)
    one.set(title="alignment of the mean of 10,000 trials", ylabel="cosine to the true gradient", ylim=(-0.1, 1.05))
    for trials, style in ((1, "o:"), (100, "^--"), (10_000, "s-")):
        for name in ("bp", "il", "nvi_baseline"):
            values = [np.asarray(metrics[f"n{n}/{name}.expected_cosine_{trials}"])[:, 0] for n in all_n]
            curve(two, all_n, values, f"{LABELS[name]}, {trials:,}", COLOURS[name], style)
    two.set(title="by number of trials (before training)", ylabel="cosine to the true gradient", yscale="log")
    against_n(three, "variance", ("nvi", "nvi_baseline", "bp", "il", "elbo"))
    three.set(title="variance of one trial", ylabel="summed variance / |gradient|^2", yscale="log")
    against_n(four, "snr", ("elbo", "bp", "il", "nvi_baseline", "nvi"))
    four.set(title="signal-to-noise of one trial", ylabel="|mean|^2 / summed variance", yscale="log")
    four.set_ylim(bottom=1e-11)
    for axis in axes[0]:
        axis.set(xscale="log", xlabel="latents (solid: before, dashed: after training)")
        axis.set_xticks(all_n, [str(n) for n in all_n])
        axis.minorticks_off()
    two.set_xlabel("latents")

    followed = [n for n in all_n if metrics[f"n{n}/steps"].shape[1] > 2] or all_n[:1]
    five, six, seven, eight = axes[1]
    for n, style in zip(followed, ("o-", "s--", "^:"), strict=False):

        def through(axis: Any, name: str, label: str, colour: str, n: int = n, style: str = style) -> None:
            curve(
                axis,
                metrics[f"n{n}/steps"][0] / 1000,
                list(np.asarray(metrics[f"n{n}/{name}"]).T),
                label,
                colour,
                style,
            )

        through(five, "il.cosine", f"IL, one stimulus, n = {n}", COLOURS["il"])
        through(five, "stimuli.cosine", f"IL, mean over stimuli, n = {n}", "#009e73")
        through(six, "il.norm_ratio", f"|IL| / |gradient|, n = {n}", COLOURS["il"])
        through(six, "il.bias", f"|IL - gradient| / |gradient|, n = {n}", "#56b4e9")
        through(six, "stimuli.bias", f"same, mean over stimuli, n = {n}", "#009e73")
        for name in ("bp", "il", "nvi_baseline", "nvi"):
            through(seven, f"{name}.snr", f"{LABELS[name]}, n = {n}", COLOURS[name])
            if name != "bp":
                through(eight, f"{name}.snr_step", f"{LABELS[name]}, n = {n}", COLOURS[name])
    five.axhline(0, color="black", lw=0.6)
    five.set(title="alignment of IL through its training", ylabel="cosine to the true gradient")
    six.set(title="length and bias of IL", ylabel="relative to the true gradient")
    seven.set(title="signal-to-noise of one trial", ylabel="|mean|^2 / summed variance", yscale="log")
    seven.set_ylim(bottom=1e-10)
    eight.set(title="per step, the authors' statistic", ylabel="mean over weights of mean^2 / variance", yscale="log")
    eight.set_ylim(bottom=1e-9)
    for axis, letter in zip(axes.flat, "abcdefgh", strict=True):
        axis.legend(frameon=False, fontsize=7, ncols=2 if axis in (seven, eight) else 1)
        axis.grid(alpha=0.2, lw=0.5)
        axis.text(-0.13, 1.03, letter, transform=axis.transAxes, weight="bold", fontsize=13)
    for axis in axes[1]:
        axis.set_xlabel("training by IL, thousands of steps")
    figure.suptitle(
        "Bredenberg et al. (2021), Figure 2: gradients of W on the same networks and windows of four steps. "
        "Mean and standard error over seeds"
    )
    return figure


experiment = Experiment(
    title="Figure 2: gradients by IL, NVI* and BP on the same network: cosine, bias, variance, signal-to-noise",
    cost={
        "smoke": "half a minute, nearly all of it compilation",
        "default": "5 seeds, up to 32 latents: two to three minutes on two cores",
        "paper": "days on two cores; meant for an accelerator",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
)
