r"""Appendix C of Bredenberg et al. (2021): variance of IL, BP and NVI* on the one problem where it has closed forms.

T = n independent normal variables, p = N(mu_p, s2) and q = N(mu_q, s2) at each step, and hybrids of them by lambda_t in
{0, 1}. The learned parameter is mu_q; the true gradient is -dL/dmu_q = n D / s2, with D = mu_p - mu_q and
L = n D^2 / (2 s2). A sample has x_t = r_t - mu_q = eta_t + (1 - lambda_t) D, eta_t ~ N(0, s2). The estimators are

    BP      sum_t [D + (1 - 2 lambda_t) eta_t] / s2                                  autodiff of the sample's loss
    IL      sum_t (D + eta_t) / s2                         marginal: every r_t from p, as Eq. 23 has it
            2 sum_t (1 - lambda_t) x_t / s2                online: all that a network that follows lambda_t can use
    NVI*    sum_t (1 - lambda_t) x_t / s2  +  1/c sum_t l_t sum_{t' <= t} lambda_t' eta_t' / s2

where l_t = lambda_t D eta_t / s2 is log p~/q~ less its mean -D^2 / (2 s2). "full" also keeps the loss of the steps with
lambda_t = 0, as Eq. 6 does: l_t = (2 lambda_t - 1) D eta_t / s2. "no baseline" does not subtract the mean. lambda is
drawn once ("global"), at each step ("iid"), or alternates 1, 0, 1, 0, ... ("alternating", here for even n).

Errors in the printed equations:
- NVI* is unbiased at c = 1 only. Eq. 27 prints lambda / (2 sigma^4), c = 2, with a mean of 3/4 of the gradient; the
  1/(4 sigma^4) of Eq. 26 would make it c = 4 and 5/8. Eq. 28 has the right mean because it drops P(lambda = 1) once.
- Eq. 18 (and 32) is neither the variance at c = 1 nor that at c = 2. It exceeds the mean squared error at c = 2 by
  L / (4 s2), because in Eq. 32 the sum over t' < t counts n (n + 1) / 2 pairs in place of n (n - 1) / 2.
- Sums run over t = 0, ..., T and are counted as T terms; we test both T = n and T = n - 1.
- Eq. 17 leaves out the variance from the sampling of lambda for BP and IL, whereas Eq. 29 includes it for NVI*. For BP
  this makes no difference. The online IL has a variance of at least 2 n / s2, and with a global lambda it can vary more
  than NVI*.

All methods use the same draws. Measured variances are compared with closed forms by z-tests. The test of an equality
raises a false alarm with probability below ALARM: Bonferroni over all its comparisons, and a normal quantile, because
standard errors have seeds * chunks * (groups - 1) degrees of freedom. s2 times a variance depends on n and D / sigma
alone, so the panel of gaps shows every sigma.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bredenberg2021.appendix_c_cells import Settings
from experiments.bredenberg2021.appendix_c_claims import CLAIMS, summarise
from experiments.bredenberg2021.appendix_c_figures import plot, text
from experiments.bredenberg2021.toy import alternating, methods
from experiments.bredenberg2021.why import APPENDIX_C
from experiments.shared.claims import explained
from plasticity_jax.diagnostics.bias_variance import moments
from plasticity_jax.run import Experiment, Program, Range
from plasticity_jax.typing import Array, Key


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: independent repetitions.
      lengths: values of n, increasing; the second and all later ones are even.
      settings: (sigma, D) pairs; claims about sizes use the first, and one pair must have D = 0.
      groups: groups of samples in a chunk, at least 2.
      per_group: samples in a group, drawn at once.
      chunks: chunks of each length's run; a seed has chunks * groups * per_group samples.
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
    groups: Annotated[int, Range(2)] = 100
    per_group: int = 250
    chunks: int = 4

    def __post_init__(self) -> None:
        lengths = list(self.lengths)
        if len(lengths) < 2 or sorted(set(lengths)) != lengths or any(n % 2 for n in lengths[1:]):
            raise ValueError("lengths must be two or more, increasing, all but the first even")
        if any(sigma == 0 for sigma, _ in self.settings) or self.settings[0][1] == 0:
            raise ValueError("settings are pairs (sigma, D): no sigma is 0, and D of the first is not")
        if all(gap for _, gap in self.settings):
            raise ValueError("settings must hold one pair (sigma, 0): claims read the limit of no loss")


PRESETS = {
    "smoke": Config(seeds=2, lengths=(1, 4, 8), settings=((1.0, 1.0), (1.0, 0.0)), per_group=50, chunks=1),
    "default": Config(),
    "paper": Config(chunks=40),
}


def theory(settings: Settings, n: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Closed forms of each method's mean and variance, (settings,) each."""
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
        """Samples of each method, (2, settings): the estimate, and its squared deviation to estimate the variance."""
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
        estimates = moments(estimate, keys)
        metrics = {"sigma": sigmas, "gap": gaps}
        for name in centre:
            metrics |= {f"{name}/mean": estimates.mean[name][0], f"{name}/variance": estimates.variance[name][0]}
            metrics[f"{name}/mean_error"], metrics[f"{name}/variance_error"] = estimates.standard_error[name]
        return (key, done + 1), {name: values[None] for name, values in metrics.items()}

    samples = config.groups * config.per_group
    return Program(lambda key: (jax.random.fold_in(key, n), jnp.zeros((), jnp.int32)), chunk, config.chunks, samples, 1)


def make_parts(config: Config) -> dict[str, Program]:
    """One part for each n, "n=1" and so on."""
    return {f"n={n}": monte_carlo(config, n) for n in config.lengths}


experiment = Experiment(
    title="Appendix C: variance of BP, IL and NVI* in closed form, as printed and corrected, against Monte Carlo",
    cost={
        "smoke": "seconds",
        "default": "20 seeds, a minute on two cores",
        "paper": "20 seeds, ten times the samples of default, ten to fifteen minutes on two cores",
    },
    scale={
        "default": "closed forms, and 2e6 samples of each",
        "paper": "closed forms, and 2e7 samples of each",
    },
    tuned="nothing",
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, APPENDIX_C),
    plot=plot,
    text=text,
)
