r"""Shared parts of the rules of the two-stream network: the path of the state, and the scores of both densities.

    g_l = (x_l - mean_l) slope_l / sigma_l^2          of inference for l = 1 .. L, of generation for l = 0 .. L-1
    dlog q / dW_l   = g_l x_{l-1}^T      dlog q / da_l = g_l
    dlog p_m / dD_l = g_l x_{l+1}^T      dlog p_m / db_l = g_l
    dlog p_m / dD   = (1 - k) (x_L - D x_L^{t-1}) x_L^{t-1} / sigma_L^2

The samples are held fixed, so that a synapse reads the activity of its two neurons, and the postsynaptic one's mean
and slope. Poisson neurons have the score of their own noise in place of x - mean (`plasticity_jax.ops.densities`).
`precondition` leaves out the factors 1 / sigma^2, as in the authors' code, so that one learning rate suits all weights.
"""

from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from plasticity_jax.base import READY, Info, Ready
from plasticity_jax.networks.two_stream import Sample, TwoStream, advance, check_shapes, draw, log_p, log_q
from plasticity_jax.ops.checks import not_empty
from plasticity_jax.ops.densities import score
from plasticity_jax.rules.generative.schedules import Schedule
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Scalar, Updates


class PathState(NamedTuple):
    """State of the network between two steps.

    Attributes:
      x: the last state, inferred or dreamed, by layer from the sensory one, (B, n_l). The next step reads the top
        layer's alone; all are carried, because carried arrays are written once, and others XLA on a CPU recomputes
        at every use.
      wake: shape (), bool, the last lambda; True at the start, so that the first step is no onset.
      schedule: the schedule's own state.
    """

    x: tuple[Array, ...]
    wake: Array
    schedule: Any


def stimuli(net: TwoStream, params: Params, batch: Example) -> Array:
    """The stimuli (B, n_0) of a batch, in the dtype of the weights, after checks that all fit together.

    Raises:
      AssertionError: (chex) if the shapes of network, weights and batch do not fit.
      TypeError: if the batch is not an `Example`.
      ValueError: if weights are missing, there is no stream, or the batch has starts or weights.
    """
    if not isinstance(batch, Example):
        raise TypeError(f"batch is a {type(batch).__name__}: give an Example, as in Example(x, x)")
    for name in ("start", "weight"):
        if getattr(batch, name) is not None:
            raise ValueError(f"batch.{name} is given, but the rules of this network do not read it: leave it None")
    check_shapes(net, params, batch.x)
    not_empty("batch.x", batch.x.shape[0])
    return jnp.asarray(batch.x, params["generation"]["transition"].dtype)


def init_path(net: TwoStream, schedule: Schedule, params: Params, batch: Example) -> PathState:
    """The path's start, r = 0, after the checks of `stimuli`."""
    z = stimuli(net, params, batch)
    rest = tuple(jnp.zeros((len(z), n), z.dtype) for n in net.sizes)
    return PathState(rest, jnp.asarray(True), schedule.init())


def advance_path(
    net: TwoStream, schedule: Schedule, params: Params, path: PathState, key: Key, batch: Example
) -> tuple[Sample, Array, PathState]:
    """One step of the hybrid density.

    Returns:
      ``(sample, lambda, path)``, lambda of shape () in the weights' dtype.
    """
    z = stimuli(net, params, batch)
    streams, top = len(z), path.x[-1]
    check_streams(streams, top)
    wake, state = schedule.step(path.schedule, key)
    innovations = draw(net, key, streams, top.dtype)
    sample = advance(net, params, wake, wake & ~path.wake, top, z, innovations)
    return sample, wake.astype(top.dtype), PathState(sample.x, wake, state)


def check_streams(streams: int, top: Array) -> None:
    """Asserts that the last state, (B, n_L), has as many streams as the batch."""
    message = f"batch.x has another B than at init, the traces are not of {streams} streams: init anew"
    chex.assert_shape(top, (streams, None), custom_message=message)


def scores(
    net: TwoStream,
    params: Params,
    sample: Sample,
    onset: Array,
    *,
    inference: Scalar,
    generation: Scalar,
    precondition: bool,
) -> Updates:
    """The derivative of ``inference log q_t + generation log p_mt`` with samples held fixed; mean over B.

    Args:
      net: the network.
      params: its weights.
      sample: that of the step.
      onset: shape (), k_t.
      inference: weight of log q.
      generation: weight of log p_m.
      precondition: leave out the factors 1 / sigma^2.

    Returns:
      Updates of "inference" and "generation", with tuples of arrays.
    """
    depth = net.depth

    def local(layer: int, mean: Array, slope: Array | None, weight: Scalar, sigma: Scalar) -> Array:
        error = score(net.noise_of(layer), sample.x[layer], mean)
        error = error if slope is None else error * slope
        return error * (weight if precondition else weight / jnp.asarray(sigma, error.dtype) ** 2)

    up = [
        local(i, sample.inferred[i], sample.inferred_slope[i - 1], inference, net.sigma_inf[i])
        for i in range(1, depth + 1)
    ]
    down = [
        local(i, sample.generated[i], sample.generated_slope[i], generation, net.sigma_gen[i]) for i in range(depth)
    ]
    top = local(depth, sample.generated[-1], None, generation, net.sigma_gen[-1])
    return {
        "inference": {
            "w": tuple(_mean_product(g, pre) for g, pre in zip(up, sample.x[:-1], strict=True)),
            "bias": tuple(jnp.mean(g, 0) for g in up[:-1]),
        },
        "generation": {
            "w": tuple(_mean_product(g, pre) for g, pre in zip(down, sample.x[1:], strict=True)),
            "bias": tuple(jnp.mean(g, 0) for g in down[1:]),
            "transition": (1 - onset) * jnp.mean(top * sample.top_tm1, 0),
        },
    }


def scores_by_stream(
    net: TwoStream,
    params: Params,
    sample: Sample,
    onset: Array,
    *,
    inference: Scalar,
    generation: Scalar,
    precondition: bool,
) -> Updates:
    """`scores` of each stream separately: arrays have a leading axis (B,)."""

    def of_one(stream: Sample) -> Updates:
        alone = jax.tree.map(lambda leaf: leaf[None], stream)
        return scores(net, params, alone, onset, inference=inference, generation=generation, precondition=precondition)

    return jax.vmap(of_one)(sample)


def preconditioned(net: TwoStream, gradient: PyTree) -> Updates:
    """The gradient of each weight times the variance sigma^2 of the density that the weight belongs to."""
    up, down = gradient["inference"], gradient["generation"]

    def times(arrays: tuple[Array, ...], sigmas: tuple[Scalar, ...]) -> tuple[Array, ...]:
        return tuple(jnp.asarray(s, a.dtype) ** 2 * a for a, s in zip(arrays, sigmas, strict=True))

    return {
        "inference": {"w": times(up["w"], net.sigma_inf[1:]), "bias": times(up["bias"], net.sigma_inf[1:-1])},
        "generation": {
            "w": times(down["w"], net.sigma_gen[:-1]),
            "bias": times(down["bias"], net.sigma_gen[1:-1]),
            "transition": times((down["transition"],), net.sigma_gen[-1:])[0],
        },
    }


def report(wake: Array, free_energy: Array, ready: Ready = READY) -> Info:
    """Report of a step, from log q - log p_m, (B,): its mean, and its mean with the phase's sign."""
    mean = jnp.mean(free_energy)
    return Info((2 * wake - 1) * mean, ready, {"wake": wake, "free_energy": mean})


def free_energy(net: TwoStream, sample: Sample) -> Array:
    """log q_t - log p_mt, (B,): awake, a sample of the negative evidence lower bound."""
    return log_q(net, sample) - log_p(net, sample)


def _mean_product(post: Array, pre: Array) -> Array:
    """Mean over the streams of the outer products, (n_post, n_pre)."""
    if post.shape[0] == 1:  # a product without a sum, which XLA fuses with the weights' update
        return post[0][:, None] * pre
    return post.T @ pre / post.shape[0]
