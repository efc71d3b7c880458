r"""BPTT, backpropagation through time, made online in two ways: disjoint windows, and a sliding window.

    c^s  = q^s + c^{s+1} J^{s+1}                      credit recursion, backward over the window
    G    = sum_s (c^s alpha phi'(v^s)) rhat^s^T

`bptt` waits for T steps, then sends credit back once and returns the sum over the window. `future_facing_bptt` sends
every new q^t back through the last T steps, adds it to the credit that they hold, and returns the contribution of the
oldest step, t - T + 1, which has then collected the T losses of t - T + 1 to t: it is late by T - 1 steps, its `lag`.

Source: Werbos (1990); Marschall, Cho & Savin (2019), eq. 1, whose "BPTT" is the sliding form with T = 10. Kind: exact
within the window.
Memory: T (3 n + m). Time per step: O(n^2) amortised for disjoint windows (O(T n^2) at once, at their end; under a vmap
that maps the position too, at each step), O(T n^2) sliding. Nonlocal in time: reads activity of T steps.
J^s uses the activity stored at s and the present W_rec; q^s the readout of step s. The readout is updated at each step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import LearningRule
from plasticity_jax.networks import leaky_rnn
from plasticity_jax.networks.leaky_rnn import LeakyRNN
from plasticity_jax.rules.online.common import Credit, Feedback, Moment, Plausibility, Sizes, online_rule
from plasticity_jax.typing import Array, Key, Params, Scalar

PLAUSIBILITY = Plausibility(
    tensor="histories",
    facing="future",
    stochastic=False,
    solved="closed form",
    fails={"time": "each update reads activity of many steps", "ii": "J^s is not available to synapses"},
)


class BPTTTraces(NamedTuple):
    """The window's history; in `bptt` oldest first, in `future_facing_bptt` newest first.

    Attributes:
      slope: (T, n), phi'(v^s).
      immediate: (T, n), alpha phi'(v^s).
      rhat: (T, m), presynaptic activity.
      credit: (T, n), q^s (disjoint) or the credit collected so far (sliding).
    """

    slope: Array
    immediate: Array
    rhat: Array
    credit: Array


def _empty(window: int, sizes: Sizes) -> BPTTTraces:
    history = jnp.zeros((window, sizes.n), sizes.dtype)
    return BPTTTraces(history, history, jnp.zeros((window, sizes.m), sizes.dtype), history)


def _check(window: int) -> None:
    if window < 1:
        raise ValueError(f"window={window} must be at least 1 step")


def _count(key: Key, sizes: Sizes, params: Params) -> Array:
    return jnp.zeros((), jnp.int32)


def bptt(
    net: LeakyRNN,
    *,
    window: int = 10,
    feedback: Feedback = "readout",
    immediate_gain: Scalar | None = None,
) -> LearningRule:
    """Backpropagation through disjoint windows; the sum over a window, at its last step, and zero before.

    Args:
      net: the network.
      window: T, in steps.
      feedback: "readout" (exact) or "random" (the fixed ``w_fb``).
      immediate_gain: factor of phi' in the immediate influence; None is alpha, 1 the authors' 2019 code.

    Returns:
      A rule over ``w`` (n, m) and ``w_out`` (n_out, n + 1); `Info.ready` is True at the end of each window.

    Raises:
      ValueError: if the window is below 1 or the feedback is not known.

    Example:
      >>> from plasticity_jax.networks.leaky_rnn import leaky_rnn
      >>> rule = bptt(leaky_rnn(alpha=0.5), window=20)

    Reference:
      Werbos, "Backpropagation through time: what it does and how to do it", 1990.
    """
    _check(window)

    def step(moment: Moment, traces: BPTTTraces, count: Array, key: Key) -> Credit:
        position = count % window
        traces = BPTTTraces(
            traces.slope.at[position].set(moment.slope),
            traces.immediate.at[position].set(moment.immediate),
            traces.rhat.at[position].set(moment.rhat),
            traces.credit.at[position].set(moment.credit),
        )
        ready = position == window - 1

        def backward(history: BPTTTraces) -> Array:
            w_rec = leaky_rnn.recurrent(moment.w)

            def back(c: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
                slope, q = at
                c = c + q
                return leaky_rnn.vector_jacobian(moment.net, w_rec, slope, c), c

            _, c = jax.lax.scan(back, jnp.zeros_like(moment.r), (history.slope, history.credit), reverse=True)
            return (c * history.immediate).T @ history.rhat

        grad = jax.lax.cond(ready, backward, lambda history: jnp.zeros_like(moment.w), traces)
        return Credit(grad, traces, count + 1, ready)

    return online_rule(
        net,
        lambda key, sizes: _empty(window, sizes),
        step,
        init_shared=_count,
        feedback=feedback,
        immediate_gain=immediate_gain,
    )


def future_facing_bptt(
    net: LeakyRNN,
    *,
    window: int = 10,
    feedback: Feedback = "readout",
    immediate_gain: Scalar | None = None,
) -> LearningRule:
    """Backpropagation through a sliding window, the paper's "BPTT".

    Args:
      net: the network.
      window: T, in steps; losses up to T - 1 steps ahead reach a weight.
      feedback: "readout" (exact) or "random" (the fixed ``w_fb``).
      immediate_gain: factor of phi' in the immediate influence; None is alpha, 1 the authors' 2019 code.

    Returns:
      A rule over ``w`` (n, m), late by ``lag = window - 1`` and zero before, and ``w_out`` (n_out, n + 1), not late.

    Raises:
      ValueError: if the window is below 1 or the feedback is not known.

    Example:
      >>> from plasticity_jax.networks.leaky_rnn import leaky_rnn
      >>> future_facing_bptt(leaky_rnn(alpha=0.5), window=10).lag
      9

    Reference:
      Marschall, Cho & Savin (2019), eq. 1; "A unified framework", arXiv:1907.02649.
    """
    _check(window)

    def step(moment: Moment, traces: BPTTTraces, count: Array, key: Key) -> Credit:
        def newest_first(new: Array, history: Array) -> Array:
            return jnp.concatenate([new[None], history[:-1]])

        slope = newest_first(moment.slope, traces.slope)
        immediate = newest_first(moment.immediate, traces.immediate)
        rhat = newest_first(moment.rhat, traces.rhat)
        collected = newest_first(jnp.zeros_like(moment.r), traces.credit)

        w_rec = leaky_rnn.recurrent(moment.w)

        def back(q: Array, slope_s: Array) -> tuple[Array, Array]:
            return leaky_rnn.vector_jacobian(moment.net, w_rec, slope_s, q), q

        _, arriving = jax.lax.scan(back, moment.credit, slope, unroll=window <= 16)
        credit = collected + arriving
        grad = (credit[-1] * immediate[-1])[:, None] * rhat[-1]
        # Before the window is full the oldest place is empty, and its immediate influence zero.
        return Credit(grad, BPTTTraces(slope, immediate, rhat, credit), count + 1, count >= window - 1)

    return online_rule(
        net,
        lambda key, sizes: _empty(window, sizes),
        step,
        init_shared=_count,
        feedback=feedback,
        immediate_gain=immediate_gain,
        lag=window - 1,
    )
