"""Appendix A of Bredenberg et al. (2021): the bias of impression learning and its bound, as p~ approaches q~.

IL approximates log x by x - 1 for x = p~ / q~, then relabels lambda -> 1 - lambda. The two steps can be measured
separately. The first step drops E[(x - 1 - log x) dlog q~] = E[R dlog q~] / 2, where R = 2 (x - 1 - log x) is the
square in Taylor's theorem. B = sqrt(E R^2) can therefore be computed, and with it the bounds of equations 2 and 3. The
second step is not exact, because k_t, the onset of wake, depends on lambda. Its bias E_q~(1-lambda) dlog p~(1-lambda) -
E_p~(lambda) dlog q~(lambda) is sampled without importance weights, from p~ as a walk that sleeps when q~ is awake.

    held         lambda_t = lambda_0: no phase ends in the window, k = 0
    no onset     phases of two steps, k set to 0: the transition always predicts
    onset        the same, with k as in the paper

Along the path eps -> 0, stimulus and weights are eps times a draw (W and D_s of spectral norm 1), and both streams have
the same noise: at 0, p~ = q~ except at onsets. On this path E x^2 is finite only for small eps, below about 0.6. At
onsets it is never finite: there x compares r_{t-1} with f(W s), and their difference is as broad as the noise. With the
paper's noise it is infinite at every step awake, because p^2 / q is integrable only if sigma_gen^2 < 2 sigma_inf^2. B
is then infinite and the bound is empty. Errors in print: the formula has sqrt(S T / 2) / sigma, the text sqrt(T) /
sigma^2; and no S bounds a Gaussian s, so S is the largest E s_j^2 here.

Without onsets the appendix holds, with room to spare: the bias falls nearly as eps^3, its bound as eps^2, the gradient
as eps. What does not hold: B is treated as constant in T but grows like T, so the bound grows relative to the gradient;
and at onsets relabelling adds a bias of a tenth of the gradient, at any eps. In the paper's own network this bias is
small compared with that of the Taylor step.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp

from experiments.bredenberg2021.bias_claims import CLAIMS, summarise
from experiments.bredenberg2021.bias_figures import plot
from experiments.bredenberg2021.bias_trials import (
    KINDS,
    LATENTS,
    PAPER,
    SIGMA,
    SIZES,
    VECTORS,
    W,
    bias_and_bounds,
    initial_weights,
    patterns,
)
from experiments.bredenberg2021.gradients import BLOCK, checkpoints, path
from experiments.bredenberg2021.why import BIAS
from experiments.shared.claims import explained
from plasticity_jax.networks.two_stream import two_stream
from plasticity_jax.run import Experiment, Program, Range, once
from plasticity_jax.typing import Array, Key, Params


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
      seeds: draws of weights and stimuli.
      eps: distances of p~ from q~, ascending.
      steps: T on that path, a multiple of 4.
      windows: longer T, multiples of 4, ascending.
      eps_windows: the eps at which the windows are compared, one of `eps`.
      groups: groups of `per_group` trials at each point.
      per_group: draws of noise, each used with four signs, in a pattern and in its complement.
      trained: steps of learning after which the paper's own network is measured again.
    """

    seeds: int = 5
    eps: tuple[float, ...] = (0.05, 0.1, 0.15, 0.2, 0.3)
    steps: int = 4
    windows: tuple[int, ...] = (8, 16)
    eps_windows: float = 0.1
    groups: Annotated[int, Range(2)] = 100
    per_group: int = 100
    trained: int = 50_000

    def __post_init__(self) -> None:
        if any(steps % 4 for steps in (self.steps, *self.windows)):
            raise ValueError("steps and windows must be multiples of 4, so that patterns wake half of the time")
        if list(self.eps) != sorted(set(self.eps)) or len(self.eps) < 2 or self.eps[0] <= 0:
            raise ValueError(f"eps={self.eps} must ascend from above 0, at least two of them")
        if list(self.windows) != sorted(set(self.windows)) or self.windows[:1] <= (self.steps,):
            raise ValueError(f"windows={self.windows} must ascend from above steps={self.steps}")
        if self.eps_windows not in self.eps:
            raise ValueError(f"eps_windows={self.eps_windows} must be one of eps={self.eps}")


PRESETS = {
    "smoke": Config(seeds=2, eps=(0.1, 0.4), windows=(8,), groups=4, per_group=50, trained=BLOCK),
    "default": Config(),
    "paper": Config(seeds=20, groups=5000),
}


def on_path(config: Config, kinds: tuple[str, ...], eps: tuple[float, ...], steps: int) -> Program:
    """Program for networks on the path, at some eps and one T; metrics (1, kinds, eps, ...)."""
    net = two_stream(SIZES, (SIGMA, SIGMA), (SIGMA, SIGMA))
    shape = (config.groups, config.per_group)
    settings = jax.tree.map(lambda *each: jnp.stack(each), *[patterns(kind, steps) for kind in kinds])

    def compute(key: Key) -> dict[str, Array]:
        key_weights, key_path, key_trials = jax.random.split(key, 3)
        params = initial_weights(key_weights)
        z = path(key_path, LATENTS, 2 * LATENTS, max(config.steps, *config.windows))[:steps]

        def at(lam: tuple[Array, ...], eps: Array) -> dict[str, Array]:
            scaled = jax.tree.map(lambda leaf: eps * leaf, params)
            return {**bias_and_bounds(net, scaled, key_trials, eps * z, lam, shape), "eps": eps}

        return jax.lax.map(lambda lam: jax.lax.map(lambda eps: at(lam, eps), jnp.asarray(eps)), settings)

    return once(compute, len(kinds) * len(eps) * config.groups * config.per_group * steps)


def own_network(config: Config) -> Program:
    """Program for the paper's network and noise before and after learning: W's bias, and the part of relabelling."""
    shape = (config.groups, config.per_group)

    def measure(key: Key, params: Params, mixing: Array) -> dict[str, Array]:
        z = path(key, LATENTS, 2 * LATENTS, config.steps, mixing)
        each = bias_and_bounds(PAPER, params, key, z, patterns("onset", config.steps), shape)
        return {name: each[name][W] for name in (*VECTORS, *(f"{name}_error" for name in VECTORS))}

    return checkpoints(PAPER, 1e-3, (0, config.trained), measure)


def make_parts(config: Config) -> dict[str, Program]:
    """Programs for the path, the longer windows, and the paper's network."""
    return {
        "path": on_path(config, KINDS, config.eps, config.steps),
        **{f"window.{steps}": on_path(config, ("no_onset",), (config.eps_windows,), steps) for steps in config.windows},
        "own": own_network(config),
    }


experiment = Experiment(
    title="Appendix A: the bias of impression learning against its bounds, as p~ approaches q~; what relabelling adds",
    cost={
        "smoke": "half a minute, nearly all of it compilation",
        "default": "5 seeds: about a minute on two cores",
        "paper": "6 hours on two cores; meant for an accelerator",
    },
    scale={
        "default": "the appendix has no scale; 10,000 samples a seed",
        "paper": "as default, with 50 times the samples",
    },
    tuned="the path eps along which p~ becomes q~ is our own",
    presets=PRESETS,
    parts=make_parts,
    summarise=summarise,
    claims=explained(CLAIMS, BIAS),
    plot=plot,
)
