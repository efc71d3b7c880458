r"""Appendix C of Bredenberg et al. (2021): variance of IL, BP and NVI* on the one problem where it has closed forms.

T = n independent normal variables, p = N(mu_p, s2) and q = N(mu_q, s2) at each step, and hybrids of them by lambda_t in
{0, 1}. Learnt is mu_q; the truth is -dL/dmu_q = n D / s2, with D = mu_p - mu_q and L = n D^2 / (2 s2). A sample has
x_t = r_t - mu_q = eta_t + (1 - lambda_t) D, eta_t ~ N(0, s2), and

    BP      sum_t [D + (1 - 2 lambda_t) eta_t] / s2                                  autodiff of the sample's loss
    IL      sum_t (D + eta_t) / s2                         marginal: every r_t from p, as Eq. 23 has it
            2 sum_t (1 - lambda_t) x_t / s2                online: what a network that follows lambda_t can use
    NVI*    sum_t (1 - lambda_t) x_t / s2  +  1/c sum_t l_t sum_{t' <= t} lambda_t' eta_t' / s2

where l_t = lambda_t D eta_t / s2 is log p~/q~ less its mean -D^2 / (2 s2); "full" keeps the loss of the steps with
lambda_t = 0, too, as Eq. 6 does: l_t = (2 lambda_t - 1) D eta_t / s2; "no baseline" leaves the mean in. lambda is drawn
once ("global"), at each step ("iid"), or alternates 1, 0, 1, 0, ... ("alternating", of even n here).

Where print and truth differ:
- NVI* is unbiased at c = 1 only. Eq. 27 prints lambda / (2 sigma^4), c = 2, whose mean is 3/4 of the gradient; the
  1/(4 sigma^4) of Eq. 26 would make it c = 4 and 5/8. Eq. 28 gets the right mean for it drops P(lambda = 1) once.
- Eq. 18 (and 32) is neither the variance of c = 1 nor of c = 2. It exceeds the mean squared error of c = 2 by
  L / (4 s2), for in Eq. 32 the sum over t' < t counts n (n + 1) / 2 pairs in place of n (n - 1) / 2.
- Sums run over t = 0, ..., T and are counted as T terms: both T = n and T = n - 1 are shown.
- Eq. 17 charges neither BP nor IL for the sampling of lambda, as Eq. 29 does NVI*. BP does not mind. The online IL
  does: 2 n / s2 at the least, and with a global lambda it can vary more than NVI* does.

All methods see the same draws. Measured variances are held against closed forms by z-tests; a claim of equality is
false-alarmed with probability below ALARM (Bonferroni over all its comparisons; normal quantile, for standard errors
have seeds * chunks * (groups - 1) degrees of freedom). s2 times a variance depends on n and D / sigma
alone: the panel of gaps shows every sigma.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bredenberg2021.toy import (
    DRAWN,
    Moment,
    alternating,
    gradient,
    loss,
    methods,
    mse_printed,
    printed_17,
    printed_18,
)
from plasticity_jax.diagnostics.bias_variance import moments
from plasticity_jax.run import Claim, Experiment, Program, put
from plasticity_jax.typing import Array, Key

ALARM = 1e-3
Settings = Sequence[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: independent repetitions.
      lengths: n, increasing, the second and all later ones even.
      settings: (sigma, D) pairs; the first is what claims about sizes read, and one must have D = 0.
      groups: of samples in a chunk, at least 2.
      per_group: samples drawn at a time.
      chunks: pieces of each length's run; a seed has chunks * groups * per_group samples.
    """

    seeds: int = 20
    lengths: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    settings: tuple[tuple[float, float], ...] = (
        (1.0, 1.0),
        (1.0, 0.0),
        (1.0, 0.25),
        (1.0, 0.5),
        (1.0, 2.0),
        (0.5, 0.4),
        (2.0, 3.0),
    )
    groups: int = 100
    per_group: int = 250
    chunks: int = 4

    def __post_init__(self) -> None:
        lengths = list(self.lengths)
        if len(lengths) < 2 or sorted(set(lengths)) != lengths or lengths[0] < 1 or any(n % 2 for n in lengths[1:]):
            raise ValueError("lengths must be two or more, increasing and positive, all but the first even")
        if self.seeds < 1 or self.groups < 2 or self.per_group < 1 or self.chunks < 1:
            raise ValueError("seeds, per_group and chunks must be at least 1, groups at least 2")
        if any(sigma <= 0 for sigma, _ in self.settings) or self.settings[0][1] == 0:
            raise ValueError("settings are pairs (sigma, D): every sigma positive, and D of the first not 0")
        if all(gap for _, gap in self.settings):
            raise ValueError("settings must hold one pair (sigma, 0): claims read the limit of no loss")


PRESETS = {
    "smoke": Config(seeds=2, lengths=(1, 4, 8), settings=((1.0, 1.0), (1.0, 0.0)), per_group=50, chunks=1),
    "default": Config(),
    "paper": Config(chunks=40),
}


def theory(settings: Settings, n: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Closed forms of each method's mean and variance, each (settings,)."""
    at = [(n, sigma**2, gap) for sigma, gap in settings]
    return {
        name: (np.array([one.mean(*values) for values in at]), np.array([one.variance(*values) for values in at]))
        for name, one in methods(n).items()
    }


def monte_carlo(config: Config, n: int) -> Program:
    """Mean and variance of every method at one n, with standard errors; metrics (chunks, settings)."""
    centre = {name: jnp.asarray(mean, "f") for name, (mean, _) in theory(config.settings, n).items()}
    sigmas, gaps = jnp.array(config.settings, "f").T

    def estimate(key: Key) -> dict[str, Array]:
        """Of each method (2, settings): a sample, and its square about the mean, which is a sample of the variance."""
        key_eta, key_lam = jax.random.split(key)
        normal = jax.random.normal(key_eta, (n,), "f")
        iid = jax.random.bernoulli(key_lam, 0.5, (n,)).astype("f")
        lam = {"iid": iid, "global": jnp.broadcast_to(iid[0], (n,)), "alternating": jnp.asarray(alternating(n), "f")}

        def at(sigma: Array, gap: Array) -> dict[str, Array]:
            return {name: one.draw(sigma * normal, lam, sigma**2, gap) for name, one in methods(n).items()}

        samples = jax.vmap(at)(sigmas, gaps)
        return {name: jnp.stack([x, (x - centre[name]) ** 2]) for name, x in samples.items()}

    def chunk(state: tuple[Key, Array]) -> tuple[tuple[Key, Array], dict[str, Array]]:
        key, done = state
        keys = jax.random.split(jax.random.fold_in(key, done), (config.groups, config.per_group))
        found = moments(estimate, keys)
        metrics = {"sigma": sigmas, "gap": gaps}
        for name in centre:
            metrics |= {f"{name}/mean": found.mean[name][0], f"{name}/variance": found.variance[name][0]}
            metrics[f"{name}/mean_error"], metrics[f"{name}/variance_error"] = found.standard_error[name]
        return (key, done + 1), {name: values[None] for name, values in metrics.items()}

    samples = config.groups * config.per_group
    return Program(lambda key: (jax.random.fold_in(key, n), jnp.zeros((), jnp.int32)), chunk, config.chunks, samples, 1)


def make_parts(config: Config) -> dict[str, Program]:
    """One part for each n, "n=1" and so on."""
    return {f"n={n}": monte_carlo(config, n) for n in config.lengths}


class Cells(NamedTuple):
    """Everything that was measured of one moment of one method, and where; arrays (cells,), n slowest.

    Attributes:
      n: number of steps.
      s2: sigma^2.
      gap: D.
      value: mean over seeds and chunks.
      error: its standard error.
    """

    n: np.ndarray
    s2: np.ndarray
    gap: np.ndarray
    value: np.ndarray
    error: np.ndarray

    def at(self, closed: Moment) -> np.ndarray:
        """A closed form at every cell."""
        return np.array([closed(int(n), s2, gap) for n, s2, gap in zip(self.n, self.s2, self.gap, strict=True)])


def lengths(metrics: Mapping[str, np.ndarray]) -> list[int]:
    """The n that were run, increasing."""
    return sorted(int(name[2:-4]) for name in metrics if name.endswith("/gap"))


def settings(metrics: Mapping[str, np.ndarray]) -> Settings:
    """The pairs (sigma, D) that were run."""
    part = f"n={lengths(metrics)[0]}"
    pairs = zip(metrics[f"{part}/sigma"][0, 0], metrics[f"{part}/gap"][0, 0], strict=True)
    return tuple((round(float(sigma), 6), round(float(gap), 6)) for sigma, gap in pairs)  # as they were before float32


def cells(metrics: Mapping[str, np.ndarray], method: str, moment: str) -> Cells:
    """One moment ("mean", "variance") of a method, at all n that it has and all settings."""
    rows = []
    for n in lengths(metrics):
        if f"n={n}/{method}/{moment}" in metrics:
            values = np.asarray(metrics[f"n={n}/{method}/{moment}"], float)
            errors = np.asarray(metrics[f"n={n}/{method}/{moment}_error"], float)
            error = np.sqrt(np.mean(errors**2, (0, 1)) / (errors.shape[0] * errors.shape[1]))
            for i, (sigma, gap) in enumerate(settings(metrics)):
                rows.append((n, sigma**2, gap, values[..., i].mean(), error[i]))
    return Cells(*np.array(rows).T)


def error_about_gradient(metrics: Mapping[str, np.ndarray], method: str) -> Cells:
    """Mean squared error about the gradient: the variance and the squared bias."""
    mean, variance = cells(metrics, method, "mean"), cells(metrics, method, "variance")
    bias = mean.value - mean.at(gradient)
    return variance._replace(value=variance.value + bias**2, error=variance.error + 2 * np.abs(bias) * mean.error)


UNBIASED = ("bp", "il_marginal", *(f"il_{drawn}" for drawn in DRAWN), "nvi_no_baseline")
EQUALITIES: Mapping[str, str] = {
    "unbiased": "IL, BP and NVI* (c = 1) all have the gradient as their mean",
    "eq17": "Eq. 17, T = n: BP and the lambda-marginalised IL have variance T/s2",
    "eq17-count": "Eq. 17, T = n - 1, as sums from 0 to T have n terms",
    "eq17-online": "Eq. 17, T = n: the IL of an online network (lambda alternating) has variance T/s2",
    "il": "Corrected: online IL has variance 2n/s2, + nD2/s2^2 if lambda is iid, + n^2 D2/s2^2 if global",
    "eq27": "Eq. 27 as printed (c = 2) is unbiased",
    "eq26": "Eq. 27 with the 1/(4 sigma^4) of Eq. 26 (c = 4) is unbiased",
    "nvi-means": "Corrected: NVI* has mean (1 + 1/c)/2 of the gradient, c = 2 and 4",
    "eq18": "Eq. 18, T = n, is the variance of the unbiased NVI* (c = 1)",
    "eq18-count": "Eq. 18, T = n - 1, is the variance of the unbiased NVI* (c = 1)",
    "eq18-printed": "Eq. 18, T = n, is the variance of NVI* as Eq. 27 prints it (c = 2)",
    "eq32": "Eq. 32, T = n, is the mean squared error of NVI* as Eq. 27 prints it (c = 2)",
    "eq32-corrected": "Corrected: that error is n/(2 s2) + 3L(n+1)/(8 s2)",
    "nvi": "Corrected: NVI* has variance n/(2 s2) + L(n+3)/(2 s2) (c = 1, global), and its like for all others",
}


def equalities(metrics: Mapping[str, np.ndarray]) -> dict[str, list[tuple[Cells, np.ndarray]]]:
    """For each id of EQUALITIES what was measured and what it should be."""
    last = methods(lengths(metrics)[-1])
    scores = [name for name in last if name.startswith("nvi")]

    def pair(found: Cells, closed: Moment) -> tuple[Cells, np.ndarray]:
        return found, found.at(closed)

    def means(names: Iterable[str], closed: Moment | None = None) -> list[tuple[Cells, np.ndarray]]:
        return [pair(cells(metrics, name, "mean"), closed or last[name].mean) for name in names]

    def variances(names: Iterable[str], closed: Moment | None = None) -> list[tuple[Cells, np.ndarray]]:
        return [pair(cells(metrics, name, "variance"), closed or last[name].variance) for name in names]

    def count_17(n: int, s2: float, gap: float) -> float:
        return printed_17(n - 1, s2, gap)

    def count_18(n: int, s2: float, gap: float) -> float:
        return printed_18(n - 1, s2, gap)

    squares = error_about_gradient(metrics, "nvi_global_c2")
    return {
        "unbiased": means([*UNBIASED, *(name for name in scores if name.endswith("c1"))], gradient),
        "eq17": variances(("bp", "il_marginal"), printed_17),
        "eq17-count": variances(("bp", "il_marginal"), count_17),
        "eq17-online": variances(("il_alternating",), printed_17),
        "il": variances(f"il_{drawn}" for drawn in DRAWN),
        "eq27": means(("nvi_global_c2",), gradient),
        "eq26": means(("nvi_global_c4",), gradient),
        "nvi-means": means(name for name in scores if name.endswith(("c2", "c4"))),
        "eq18": variances(("nvi_global_c1",), printed_18),
        "eq18-count": variances(("nvi_global_c1",), count_18),
        "eq18-printed": variances(("nvi_global_c2",), printed_18),
        "eq32": [pair(squares, printed_18)],
        "eq32-corrected": [pair(squares, mse_printed)],
        "nvi": variances(scores),
    }


def summarise(metrics: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Every equality's worst z, its limit and its ratio; variances, growth and comparisons at the first setting."""
    summary: dict[str, float] = {}
    ns, (sigma, gap) = lengths(metrics), settings(metrics)[0]
    top, still = ns[-1], [gap for _, gap in settings(metrics)].index(0)
    for name, pairs in equalities(metrics).items():
        z = np.concatenate([(found.value - wanted) / found.error for found, wanted in pairs])
        found, wanted = pairs[0]
        here = int(np.flatnonzero(found.n == ns[1])[0])  # the second n, the first setting
        summary[f"{name}/z_max"] = float(np.abs(z).max())
        summary[f"{name}/z_limit"] = NormalDist().inv_cdf(1 - ALARM / len(z) / 2)
        summary[f"{name}/comparisons"] = len(z)
        summary[f"{name}/ratio"] = float(found.value[here] / wanted[here])
    by_seed = {
        name: np.stack([metrics[f"n={n}/{name}/variance"].mean(1) for n in ns if f"n={n}/{name}/variance" in metrics])
        for name in methods(top)
    }  # (lengths, seeds, settings)
    for name, values in by_seed.items():
        for n, row in zip(ns[-len(values) :], values, strict=True):
            put(summary, f"{name}/variance,n={n},sigma={sigma:g},D={gap:g}", row[:, 0])
        later = slice(-max(2, len(values) // 2), None)
        slopes = np.polyfit(np.log(ns[later]), np.log(values[later, :, 0]), 1)[0]
        put(summary, f"{name}/slope", slopes)
    for drawn, (il, rival) in RIVALS.items():
        put(summary, f"nvi_over_il/{drawn}", by_seed[rival][-1, :, 0] / by_seed[il][-1, :, 0])
    put(summary, "nvi_over_il/no_loss", (by_seed["nvi_global_c1"] / by_seed["il_marginal"])[:, :, still].max(0))
    for name, (il, rival, bound) in BOUNDS.items():
        one, other = cells(metrics, il, "variance"), cells(metrics, rival, "variance")
        predicted = one.at(loss) < np.array([bound(int(n)) for n in one.n])
        summary[f"bound/{name}"] = float(np.sum((other.value < one.value) != predicted))
    return summary


RIVALS = {  # IL and NVI* under the same lambda
    "marginal": ("il_marginal", "nvi_global_c1"),
    "alternating": ("il_alternating", "nvi_alternating_full_c1"),
    "iid": ("il_iid", "nvi_iid_full_c1"),
    "global": ("il_global", "nvi_global_c1"),
}
BOUNDS: Mapping[str, tuple[str, str, Callable[[int], float]]] = {  # L below which NVI* varies less than IL
    "printed": ("il_marginal", "nvi_global_c1", lambda n: 4 * n / (3 * n + 5)),
    "marginal": ("il_marginal", "nvi_global_c1", lambda n: n / (n + 3)),
    "alternating": ("il_alternating", "nvi_alternating_c1", lambda n: 6 * n / (n + 6)),
}


def _equality(name: str, statement: str) -> Claim:
    """Whether it holds is a z-test over all n and settings; a printed form shows by how much it is off, too."""
    printed = name.startswith("eq") and not name.endswith("corrected")

    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        holds = summary[f"{name}/z_max"] < summary[f"{name}/z_limit"]
        return summary[f"{name}/ratio" if printed else f"{name}/z_max"], holds

    what = "measured over printed, second n, first setting" if printed else "largest |z|"
    return Claim(name, f"{statement} ({what})", 1 if printed else None, check)


def _above(name: str, statement: str, measure: Callable[[Mapping[str, float]], float], least: float) -> Claim:
    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        value = measure(summary)
        return value, value > least

    return Claim(name, statement, None, check)


def _bound(name: str, statement: str) -> Claim:
    def check(summary: Mapping[str, float]) -> tuple[float, bool]:
        wrong = summary[f"bound/{name}"]
        return wrong, wrong == 0

    return Claim(f"bound-{name}", f"{statement} (cells of n and setting where it is not so)", 0, check)


def _no_loss(summary: Mapping[str, float]) -> tuple[float, bool]:
    value = summary["nvi_over_il/no_loss"]
    return value, value < 1


def _claims() -> list[Claim]:
    claims = [_equality(*item) for item in EQUALITIES.items()]
    claims.append(
        _above(
            "nvi-grows",
            "The variance of NVI* grows faster with T than that of BP (slopes of log variance, difference above 0.5)",
            lambda summary: summary["nvi_global_c1/slope"] - summary["bp/slope"],
            0.5,
        )
    )
    said = "IL outperforms NVI* (variances, NVI* over IL, largest n, first setting; above 1)"
    for drawn in RIVALS:
        which = "As printed, lambda marginal for IL, global for NVI*" if drawn == "marginal" else f"Lambda {drawn}"
        claims.append(
            _above(
                f"il-below-nvi-{drawn}",
                f"{which}: {said}",
                lambda summary, drawn=drawn: summary[f"nvi_over_il/{drawn}"],
                1,
            )
        )
    claims.append(
        Claim("no-loss", "NVI* outperforms IL and BP as L -> 0 (variances at D = 0, below 1)", None, _no_loss)
    )
    less = "NVI* varies less than IL if and only if"
    claims.append(_bound("printed", f"{less} L < 4T/(3T + 5), T = n, from Eq. 17 and 18"))
    claims.append(_bound("marginal", f"Corrected: {less} L < n/(n + 3), lambda marginalised for IL"))
    claims.append(_bound("alternating", f"Corrected: {less} L < 6n/(n + 6), the same alternating lambda, not full"))
    return claims


CLAIMS = _claims()


def text(metrics: Mapping[str, np.ndarray]) -> str:
    """Every method at the second and the last n, first setting: measured and in closed form, in Markdown."""
    sigma, gap = settings(metrics)[0]
    lines = [f"sigma = {sigma:g}, D = {gap:g}; measured +- standard error.", ""]
    lines += [
        "| n | method | mean | closed form | gradient | variance | closed form | Eq. 17 or 18, T = n |",
        "|---" * 8 + "|",
    ]
    for n in (lengths(metrics)[1], lengths(metrics)[-1]):
        for name, method in methods(n).items():
            shown = []
            for moment, closed in (("mean", method.mean), ("variance", method.variance)):
                found = cells(metrics, name, moment)
                i = int(np.flatnonzero(found.n == n)[0])
                shown.append((f"{found.value[i]:.4g} +- {found.error[i]:.1g}", f"{closed(n, sigma**2, gap):.5g}"))
            printed = printed_18(n, sigma**2, gap) if name.startswith("nvi") else printed_17(n, sigma**2, gap)
            row = (str(n), name, *shown[0], f"{gradient(n, sigma**2, gap):.5g}", *shown[1], f"{printed:.5g}")
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


SHOWN = {  # method: label, colour, marker
    "bp": ("BP", "black", "o"),
    "il_marginal": (r"IL, $\lambda$ marginalised", "#56b4e9", "x"),
    "il_alternating": (r"IL, $\lambda$ alternating", "#0072b2", "s"),
    "il_global": (r"IL, $\lambda$ global", "#009e73", "^"),
    "nvi_alternating_full_c1": (r"NVI*, $\lambda$ alternating", "#e69f00", "s"),
    "nvi_global_c1": (r"NVI*, $\lambda$ global", "#d55e00", "^"),
    "nvi_no_baseline": (r"NVI*, $\lambda$ global, no baseline", "#cc79a7", "v"),
}


def plot(metrics: Mapping[str, np.ndarray]) -> Any:
    """Variance against n and D, means, and the printed variances: points measured, lines closed forms."""
    import matplotlib.pyplot as plt

    ns, pairs = lengths(metrics), settings(metrics)
    sigma, gap = pairs[0]
    s2, middle = sigma**2, ns[len(ns) // 2]
    steps = np.unique([ns[0], *range(ns[1], ns[-1] + 1, 2)])
    figure, axes = plt.subplots(2, 2, figsize=(13, 9.4), constrained_layout=True)
    (by_n, by_gap), (means, prints) = axes

    def draw(axis: Any, x: np.ndarray, found: Cells, kept: np.ndarray, scale: Any, **style: Any) -> None:
        axis.errorbar(x, found.value[kept] / scale, 2 * found.error[kept] / scale, ls="none", ms=5, mfc="none", **style)

    for name, (label, colour, marker) in SHOWN.items():
        found, closed = cells(metrics, name, "variance"), methods(ns[-1])[name].variance
        style = {"color": colour, "marker": marker}
        first = (found.s2 == s2) & (found.gap == gap)
        own = steps[steps >= found.n.min()]
        draw(by_n, found.n[first], found, first, 1, label=label, **style)
        by_n.plot(own, [closed(int(n), s2, gap) for n in own], color=colour, lw=1)
        swept = found.n == middle
        ratio = found.gap / np.sqrt(found.s2)
        draw(by_gap, ratio[swept], found, swept, 1 / found.s2[swept], **style)
        ratios = np.linspace(0, ratio.max(), 101)
        by_gap.plot(ratios, [closed(middle, 1, float(one)) for one in ratios], color=colour, lw=1)
    by_n.set(
        xscale="log", yscale="log", xlabel="n, number of steps", ylabel=r"variance of one estimate of $-dL/d\mu_q$"
    )
    by_n.set_title(rf"Variance against length ($\sigma$ = {sigma:g}, D = {gap:g})")
    by_gap.set(yscale="log", xlabel=r"gap over noise, D / $\sigma$", ylabel=r"variance times $\sigma^2$")
    sigmas = ", ".join(f"{one:g}" for one in sorted({one for one, _ in pairs}))
    by_gap.set_title(rf"Variance against the gap (n = {middle}, $\sigma$ = {sigmas})")

    for name, label, colour, marker, aside in (
        ("bp", "BP", "black", "o", 0.92),
        ("il_alternating", r"IL, $\lambda$ alternating", "#0072b2", "s", 0.97),
        ("nvi_global_c1", "NVI*, c = 1, corrected", "#d55e00", "^", 1.03),
        ("nvi_global_c2", "NVI*, c = 2, Eq. 27 as printed", "#999999", "D", 1.0),
        ("nvi_global_c4", "NVI*, c = 4, the factor of Eq. 26", "#666666", "v", 1.0),
    ):
        found = cells(metrics, name, "mean")
        first = (found.s2 == s2) & (found.gap == gap)
        scale = found.at(gradient)[first]
        draw(means, found.n[first] * aside, found, first, scale, label=label, color=colour, marker=marker)
        level = methods(ns[-1])[name].mean(1, s2, gap) / gradient(1, s2, gap)
        means.axhline(level, color=colour, lw=1, zorder=0)
    means.set(xscale="log", ylim=(0.5, 1.1), xlabel="n, number of steps", ylabel="mean over true gradient")
    means.set_title(rf"Bias ($\sigma$ = {sigma:g}, D = {gap:g})")

    one, two = cells(metrics, "nvi_global_c1", "variance"), cells(metrics, "nvi_global_c2", "variance")
    for found, closed, label, colour, marker in (
        (one, methods(1)["nvi_global_c1"].variance, "variance, c = 1 (unbiased)", "#d55e00", "^"),
        (error_about_gradient(metrics, "nvi_global_c2"), mse_printed, "mean squared error, c = 2", "#009e73", "o"),
        (two, methods(1)["nvi_global_c2"].variance, "variance, c = 2 (as printed)", "#999999", "D"),
    ):
        first = (found.s2 == s2) & (found.gap == gap)
        draw(prints, found.n[first], found, first, found.n[first], label=label, color=colour, marker=marker)
        prints.plot(steps, [closed(int(n), s2, gap) / n for n in steps], color=colour, lw=1)
    for less, dashes in ((0, "--"), (1, ":")):
        whole = np.arange(1 + less, ns[-1] + 1)
        printed = [printed_18(int(n) - less, s2, gap) / n for n in whole]
        prints.plot(whole, printed, dashes, color="black", lw=1.4, label=f"Eq. 18, T = n{' - 1' if less else ''}")
    prints.set(xscale="log", yscale="log", xlabel="n, number of steps", ylabel="variance / n")
    prints.set_title(rf"NVI*, global $\lambda$: Eq. 18 and what it may mean ($\sigma$ = {sigma:g}, D = {gap:g})")
    for axis, letter in zip(axes.flat, "abcd", strict=True):
        if axis is not by_gap:
            axis.legend(frameon=False, fontsize=8, **({"loc": (0.02, 0.58)} if axis is means else {}))
            axis.set_xticks(ns, [str(n) for n in ns])
            axis.minorticks_off()
        axis.grid(alpha=0.2, lw=0.5)
        axis.text(-0.1, 1.02, letter, transform=axis.transAxes, weight="bold", fontsize=13)
    seeds = next(iter(metrics.values())).shape[0]
    figure.suptitle(
        "Bredenberg et al. (2021), appendix C: points are Monte Carlo "
        f"(mean of {seeds} seeds, bars two standard errors), lines closed forms"
    )
    return figure


experiment = Experiment(
    title="Appendix C: variance of BP, IL and NVI* in closed form, as printed and corrected, against Monte Carlo",
    cost={
        "smoke": "seconds",
        "default": "20 seeds, a minute on two cores",
        "paper": "20 seeds, ten times the samples of default, ten to fifteen minutes on two cores",
    },
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=CLAIMS,
    plot=plot,
    text=text,
)
