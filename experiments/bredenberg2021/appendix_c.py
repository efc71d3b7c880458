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
        """Samples of each method, (2, settings): a value, and its squared deviation, a sample of the variance."""
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
