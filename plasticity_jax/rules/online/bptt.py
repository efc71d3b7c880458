r"""BPTT, backpropagation through time, made online: disjoint windows, kept or given as the batch, and a sliding one.

    c^s  = q^s + c^{s+1} J^{s+1}                      credit recursion, q^s = dL^s / ds^s, backward over the window
    G    = sum_s c^s ds^s / dW                        by step s alone; leaky: (c^s alpha phi'(v^s)) rhat^s^T

`bptt` waits for T steps, then sends credit back once and returns the sum over the window. `future_facing_bptt` sends
every new q^t back through the last T steps, adds it to the credit that they hold, and returns the contribution of the
oldest step, t - T + 1, which has then collected the T losses of t - T + 1 to t: it is late by T - 1 steps, its `lag`.
`bptt` with window=None takes batches that are windows themselves, and teaches all weights by each of them at once.

Source: Werbos (1990); Marschall, Cho & Savin (2019), eq. 1, whose "BPTT" is the sliding form with T = 10. Kind: exact
within the window.
Any cell. Memory: T (S (S + G + 2) n + m) on neurons, T states and inputs on a cell of tier one. Time per step: O(n^2)
amortised for disjoint windows (O(T n^2) at once, at their end; under a vmap that maps the position too, at each step),
O(T n^2) sliding. Nonlocal in time: reads activity of T steps.
J^s uses the activity stored at s and the present W_rec; q^s the readout of step s. The readout is updated at each step,
or with the batch that is a window.
"""

from typing import NamedTuple, get_args

import jax
import jax.numpy as jnp

from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.cells.door import cell_weights, enter, keep_dtypes, same_streams
from plasticity_jax.cells.dynamics import AnyCell, NeuronsDynamics, check_cell, dynamics, local_shapes
from plasticity_jax.cells.window import (
    WindowTraces,
    at_rest,
    carry_back,
    gradients,
    run_window,
    time_first,
    window_report,
)
from plasticity_jax.ops.checks import like, one_of, whole
from plasticity_jax.rules.online.common import Credit, Feedback, Moment, Plausibility, Sizes, online_rule
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Updates

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
      local: what each step left for its derivatives, leaves (T, ...).
      credit: (T, S, n), q^s (disjoint) or the credit collected so far (sliding).
    """

    local: PyTree
    credit: Array


def _empty(cell: AnyCell, window: int, sizes: Sizes) -> BPTTTraces:
    local = local_shapes(cell, sizes.weights, sizes.dtype)
    zeros = jax.tree.map(lambda leaf: jnp.zeros((window, *leaf.shape), leaf.dtype), local)
    return BPTTTraces(zeros, jnp.zeros((window, *dynamics(cell).state_shape), sizes.dtype))


def _check(window: int) -> None:
    whole("window", window, 1, "step")


def _count(key: Key, sizes: Sizes, params: Params) -> Array:
    return jnp.zeros((), jnp.int32)


def bptt(
    cell: AnyCell,
    *,
    window: int | None = 10,
    feedback: Feedback = "readout",
) -> LearningRule:
    """Backpropagation through disjoint windows; the sum over a window, at its last step, and zero before.

    Args:
      cell: the network, of `plasticity_jax.cells`, of either tier.
      window: T, in steps. None: the batch itself holds windows, x (B, T, n_in), y (B, T, n_out), start and weight
        (B, T). The loss is then the mean over B of the sum over a window; the state is carried from window to window,
        and credit is not.
      feedback: "readout" (exact), "random" (the fixed ``w_fb``) or "adaptive" (``w_fb`` learns as ``w_out`` does).

    Returns:
      A rule over the cell's weights, which are `Info.ready` at the end of each window, and ``w_out`` (n_out, n + 1),
      which learns at every step. With window=None all of them learn at every step, a window.

    Raises:
      TypeError: if the cell is not one.
      ValueError: if the window is below 1 or the feedback is not known.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(bptt(cell, window=5), optax.sgd(0.05))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=100)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True
      >>> learn = pj.learner(bptt(cell, window=None), optax.sgd(0.05))
      >>> batch = pj.Example(jnp.ones((4, 5, 1)), jnp.ones((4, 5, 1)))  # four windows of five steps
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=20)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Werbos, "Backpropagation through time: what it does and how to do it", 1990.
    """
    if window is None:
        return _of_windows(cell, feedback)
    _check(window)

    dyn = dynamics(cell)

    def step(moment: Moment, traces: BPTTTraces, count: Array, key: Key) -> Credit:
        position = count % window
        newest = BPTTTraces(moment.local, moment.credit)
        traces = jax.tree.map(lambda history, new: history.at[position].set(new), traces, newest)
        ready = position == window - 1

        def backward(history: BPTTTraces) -> PyTree:
            recurrent = dyn.for_pulls(moment.weights)

            def back(c: Array, at: BPTTTraces) -> tuple[Array, Array]:
                c = c + at.credit
                return dyn.pull(recurrent, at.local, c), c

            _, c = jax.lax.scan(back, jnp.zeros_like(moment.s), history, reverse=True)
            return dyn.weigh_all(moment.weights, history.local, c)

        def nothing(history: BPTTTraces) -> PyTree:
            return jax.tree.map(jnp.zeros_like, moment.weights)

        return Credit(jax.lax.cond(ready, backward, nothing, traces), traces, count + 1, ready)

    return online_rule(
        cell, lambda key, sizes: _empty(cell, window, sizes), step, init_shared=_count, feedback=feedback
    )


def future_facing_bptt(
    cell: AnyCell,
    *,
    window: int = 10,
    feedback: Feedback = "readout",
) -> LearningRule:
    """Backpropagation through a sliding window, the paper's "BPTT".

    Args:
      cell: the network, of `plasticity_jax.cells`, of either tier.
      window: T, in steps; losses up to T - 1 steps ahead reach a weight.
      feedback: "readout" (exact), "random" (the fixed ``w_fb``) or "adaptive" (``w_fb`` learns as ``w_out`` does).

    Returns:
      A rule over the cell's weights, late by ``lag = window - 1`` and zero before, and ``w_out`` (n_out, n + 1), which
      is not late.

    Raises:
      TypeError: if the cell is not one.
      ValueError: if the window is below 1 or the feedback is not known.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> learn = pj.learner(future_facing_bptt(cell, window=5), optax.sgd(0.05))
      >>> batch = pj.Example(jnp.ones((1, 1)), jnp.ones((1, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=100)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True

    Reference:
      Marschall, Cho & Savin (2019), eq. 1; "A unified framework", arXiv:1907.02649.
    """
    _check(window)

    dyn = dynamics(cell)

    def step(moment: Moment, traces: BPTTTraces, count: Array, key: Key) -> Credit:
        newest = BPTTTraces(moment.local, jnp.zeros_like(moment.credit))
        history = jax.tree.map(lambda new, old: jnp.concatenate([new[None], old[:-1]]), newest, traces)

        recurrent = dyn.for_pulls(moment.weights)

        def back(q: Array, local: PyTree) -> tuple[Array, Array]:
            return dyn.pull(recurrent, local, q), q

        _, arriving = jax.lax.scan(back, moment.credit, history.local, unroll=window <= 16)
        credit = history.credit + arriving
        grad = dyn.weigh(moment.weights, jax.tree.map(lambda leaf: leaf[-1], history.local), credit[-1])
        # Before the window is full the oldest place is empty, and its immediate influence zero.
        ready = count >= window - 1
        grad = grad if isinstance(dyn, NeuronsDynamics) else jax.tree.map(lambda leaf: jnp.where(ready, leaf, 0), grad)
        return Credit(grad, BPTTTraces(history.local, credit), count + 1, ready)

    return online_rule(
        cell,
        lambda key, sizes: _empty(cell, window, sizes),
        step,
        init_shared=_count,
        feedback=feedback,
        lag=window - 1,
    )


def _of_windows(cell: AnyCell, feedback: Feedback) -> LearningRule:
    """Backpropagation through the windows that a batch holds."""
    one_of("feedback", feedback, get_args(Feedback))
    check_cell(cell)
    axes = ("B", "S")

    def init(params: Params, key: Key, batch: Example) -> WindowTraces:
        _, batch, sizes = enter(cell, params, batch, feedback, axes)
        return at_rest(cell, len(batch.x), sizes.dtype)

    def update(params: Params, traces: WindowTraces, key: Key, batch: Example) -> tuple[Updates, WindowTraces, Info]:
        given = params
        params, batch, _ = enter(cell, params, batch, feedback, axes)
        same_streams(traces.state, len(batch.x))
        w_fb = None if feedback == "readout" else params["feedback"]["w_fb"]
        window = run_window(cell, params, traces.state, time_first(batch), w_fb)
        credit = carry_back(cell, cell_weights(cell, params), window.local, window.credit)
        taught = gradients(cell, params, window, credit)
        updates = {**jax.tree.map(jnp.zeros_like, params), "forward": taught}
        if feedback == "adaptive":
            updates["feedback"] = {**updates["feedback"], "w_fb": taught["w_out"][:, :-1]}
        after = keep_dtypes(WindowTraces(window.s[-1]), traces)
        loss, aux = window_report(window)
        return like(updates, given), after, Info(loss, READY, aux)

    return LearningRule(init, update)
