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
    drawn,
    measured,
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
    """The path of networks, at some eps and one T; metrics (1, kinds, eps, ...)."""
    net = two_stream(SIZES, (SIGMA, SIGMA), (SIGMA, SIGMA))
    shape = (config.groups, config.per_group)
    settings = jax.tree.map(lambda *each: jnp.stack(each), *[patterns(kind, steps) for kind in kinds])

    def compute(key: Key) -> dict[str, Array]:
        key_weights, key_path, key_trials = jax.random.split(key, 3)
        params, z = drawn(key_weights), path(key_path, LATENTS, 2 * LATENTS, max(config.steps, *config.windows))[:steps]

        def at(lam: tuple[Array, ...], eps: Array) -> dict[str, Array]:
            scaled = jax.tree.map(lambda leaf: eps * leaf, params)
            return {**measured(net, scaled, key_trials, eps * z, lam, shape), "eps": eps}

        return jax.lax.map(lambda lam: jax.lax.map(lambda eps: at(lam, eps), jnp.asarray(eps)), settings)

    return once(compute, len(kinds) * len(eps) * config.groups * config.per_group * steps)


def own_network(config: Config) -> Program:
    """The paper's network and noise before and after learning: W's bias, and what relabelling adds."""
    shape = (config.groups, config.per_group)

    def measure(key: Key, params: Params, mixing: Array) -> dict[str, Array]:
        z = path(key, LATENTS, 2 * LATENTS, config.steps, mixing)
        each = measured(PAPER, params, key, z, patterns("onset", config.steps), shape)
        return {name: each[name][W] for name in (*VECTORS, *(f"{name}_error" for name in VECTORS))}

    return checkpoints(PAPER, 1e-3, (0, config.trained), measure)


def make_parts(config: Config) -> dict[str, Program]:
    """The path, the longer windows, and the paper's network."""
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
