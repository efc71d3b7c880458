"""The bias of impression learning at given weights: trials, the bias from each of its two steps, and the bounds."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from experiments.bredenberg2021.gradients import pairs
from plasticity_jax.diagnostics.bias_variance import moments
from plasticity_jax.networks.two_stream import Sample, TwoStream, advance, draw, init_params, log_p, log_q, two_stream
from plasticity_jax.ops.prng import fold_in
from plasticity_jax.rules.generative.common import scores
from plasticity_jax.typing import Array, Key, Params, PyTree

LATENTS = 2
W = slice(LATENTS + 2 * LATENTS**2, None)
"""Place of W among all weights, after the transition and D_s."""
SIGMA = 0.5
"""Noise of both streams and layers on the path, equal to that of the stimulus."""
SIZES = (2 * LATENTS, LATENTS)
PAPER = two_stream(SIZES)
VECTORS = ("il", "truth", "bias", "taylor", "relabel", "rest")
KINDS = ("held", "no_onset", "onset")


class Trial(NamedTuple):
    """Arguments of a trial.

    Attributes:
      key: key of the noise.
      signs: (2,), factors of the noise of s, and of that of r at odd steps.
      z: (T, 1, n_0), the stimulus.
    """

    key: Key
    signs: Array
    z: Array


def walk(net: TwoStream, params: Params, trial: Trial, wake: Array, onset: Array) -> Sample:
    """`trajectory` with given onsets (T,) and signs of the noise; leaves lead with (T, 1)."""

    def step(top: Array, x: tuple[Array, ...]) -> tuple[Array, Sample]:
        t, z_t, wake_t, onset_t = x
        noise = draw(net, fold_in(trial.key, t), 1, top.dtype)
        innovations = (trial.signs[0] * noise[0], jnp.where(t % 2 == 1, trial.signs[1], 1) * noise[1])
        now = advance(net, params, wake_t, onset_t, top, z_t, innovations)
        return now.x[-1], now

    steps = jnp.arange(trial.z.shape[0], dtype=jnp.uint32)
    return jax.lax.scan(step, jnp.zeros((1, net.sizes[-1])), (steps, trial.z, wake, onset))[1]


def onsets(wake: Array) -> Array:
    """Onsets k_t of a pattern, as if awake before it."""
    return wake & ~jnp.concatenate([jnp.ones(1, bool), wake[:-1]])


def sample(
    net: TwoStream, params: Params, trial: Trial, wake: Array, onset: Array, mirrored: Array
) -> dict[str, Array]:
    """Results of one trial; vectors are over all weights.

    Args:
      net: the network.
      params: its weights.
      trial: stimulus and noise.
      wake: (T,), lambda.
      onset: (T,), k.
      mirrored: (T,), k of the complement.

    Returns:
      "il", "truth", and their difference "bias"; its parts "taylor", from the Taylor step, "relabel", from
      relabelling, and the "rest"; "score_square" of dlog q~, "remainder_square", R^2, and "s_square", (T, n_0).
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
    # p~(lambda) keeps the onsets of lambda and sleeps when q~ is awake; q~(1 - lambda) has those of the complement.
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
    """lambda, k, and the k of the complement, for a window and its complement: (2, steps) each."""
    wake = pairs(steps, steps if kind == "held" else 2)
    onset = jax.vmap(onsets)(wake) & (kind == "onset")
    return wake, onset, onset[::-1]


def bias_and_bounds(
    net: TwoStream, params: Params, key: Key, z: Array, lam: tuple[Array, ...], shape: tuple[int, int]
) -> dict[str, Array]:
    """Bias, its two parts, and bounds by weight, over trials of both patterns; shape is (groups, trials in a group).

    Each draw of noise is used with all four signs. This removes terms that are odd in the noise of s, or in that of r
    at odd steps: at small eps, nearly all of the variance.
    """
    signs = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])

    def balanced(key: Key) -> dict[str, Array]:
        def one(signs: Array, pattern: tuple[Array, ...]) -> dict[str, Array]:
            return sample(net, params, Trial(key, signs, z), *pattern)

        each = jax.vmap(lambda signs: jax.vmap(lambda pattern: one(signs, pattern))(lam))(signs)
        return jax.tree.map(lambda leaf: jnp.mean(leaf, (0, 1)), each)

    trials = moments(balanced, jax.random.split(key, shape))
    mean, error = trials.mean, trials.standard_error
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


def initial_weights(key: Key) -> Params:
    """Weights of the path at eps = 1: normal matrices scaled to spectral norm 1, and transitions of 0.6."""
    params = init_params(key, PAPER)

    def unit(w: Array) -> Array:
        return w / jnp.linalg.norm(w, 2)

    return {half: {**params[half], "w": tuple(map(unit, params[half]["w"]))} for half in params}
