r"""BPTT, backpropagation through time, online: over disjoint windows, stored or given as batches, or a sliding window.

    c^s  = q^s + c^{s+1} J^{s+1}                      credit recursion, q^s = dL^s / ds^s, backward over the window
    G    = sum_s c^s ds^s / dW                        through step s alone; leaky: (c^s alpha phi'(v^s)) rhat^s^T

`bptt` collects T steps, then carries credit back once and emits the sum over the window. `future_facing_bptt` carries
every new q^t back through the last T steps, adds it to their credit, and emits the contribution of the oldest step,
t - T + 1, which by then has collected the T losses of t - T + 1 to t: its `lag` is T - 1 steps. `bptt` with window=None
takes batches that are windows themselves, and updates all weights once for each of them.

Source: Werbos (1990); Marschall, Cho & Savin (2019), eq. 1, whose "BPTT" is the sliding form with T = 10. Kind: exact
within the window.
Any cell. Memory: T (S (S + G + 2) n + m) on neurons, T states and inputs on a cell of tier one. Time per step: O(n^2)
amortised for disjoint windows (O(T n^2) at once, at their end; at each step under a vmap that maps the position too),
O(T n^2) sliding. Nonlocal in time: reads activity of T steps.
J^s uses the activity stored at s and the present W_rec; q^s uses the readout of step s. The readout is updated at each
step, or once for each batch that is a window.
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
      local: what the derivatives of each step need, leaves (T, ...).
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


def _no_steps(key: Key, sizes: Sizes, params: Params) -> Array:
    return jnp.zeros((), jnp.int32)


def bptt(
    cell: AnyCell,
    *,
    window: int | None = 10,
    feedback: Feedback = "readout",
) -> LearningRule:
    """Backpropagation through disjoint windows; updates are a window's sum at its last step, and zero before.

    Args:
      cell: the network, of `plasticity_jax.cells`, of either tier.
      window: T, in steps. None: the batch itself holds windows, x (B, T, n_in), y (B, T, n_out), start and weight
        (B, T). The loss is then the mean over B of the sum over a window; the state is carried from window to window,
        and credit is not.
      feedback: "readout" (exact), "random" (the fixed ``w_fb``) or "adaptive" (``w_fb`` learns like ``w_out``).

    Returns:
      A rule over the cell's weights, which are `Info.ready` at the end of each window, and ``w_out`` (n_out, n + 1),
      which learns at every step. With window=None all of them learn at every step, which is a window.

    Raises:
      TypeError: if ``cell`` is not a cell.
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

            def step_back(c: Array, at: BPTTTraces) -> tuple[Array, Array]:
                c = c + at.credit
                return dyn.pull(recurrent, at.local, c), c

            _, c = jax.lax.scan(step_back, jnp.zeros_like(moment.s), history, reverse=True)
            return dyn.weigh_all(moment.weights, history.local, c)

        def zeros(history: BPTTTraces) -> PyTree:
            return jax.tree.map(jnp.zeros_like, moment.weights)

        return Credit(jax.lax.cond(ready, backward, zeros, traces), traces, count + 1, ready)

    return online_rule(
        cell, lambda key, sizes: _empty(cell, window, sizes), step, init_shared=_no_steps, feedback=feedback
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
      feedback: "readout" (exact), "random" (the fixed ``w_fb``) or "adaptive" (``w_fb`` learns like ``w_out``).

    Returns:
      A rule over the cell's weights, with updates that lag by ``lag = window - 1`` steps and are zero before, and
      ``w_out`` (n_out, n + 1), without a lag.

    Raises:
      TypeError: if ``cell`` is not a cell.
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

        def step_back(q: Array, local: PyTree) -> tuple[Array, Array]:
            return dyn.pull(recurrent, local, q), q

        _, arriving = jax.lax.scan(step_back, moment.credit, history.local, unroll=window <= 16)
        credit = history.credit + arriving
        grad = dyn.weigh(moment.weights, jax.tree.map(lambda leaf: leaf[-1], history.local), credit[-1])
        # Before the window is full, the oldest entry is empty and its immediate influence is zero.
        ready = count >= window - 1
        grad = grad if isinstance(dyn, NeuronsDynamics) else jax.tree.map(lambda leaf: jnp.where(ready, leaf, 0), grad)
        return Credit(grad, BPTTTraces(history.local, credit), count + 1, ready)

    return online_rule(
        cell,
        lambda key, sizes: _empty(cell, window, sizes),
        step,
        init_shared=_no_steps,
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
        given_params = params
        params, batch, _ = enter(cell, params, batch, feedback, axes)
        same_streams(traces.state, len(batch.x))
        w_fb = None if feedback == "readout" else params["feedback"]["w_fb"]
        window = run_window(cell, params, traces.state, time_first(batch), w_fb)
        credit = carry_back(cell, cell_weights(cell, params), window.local, window.credit)
        weight_gradients = gradients(cell, params, window, credit)
        updates = {**jax.tree.map(jnp.zeros_like, params), "forward": weight_gradients}
        if feedback == "adaptive":
            updates["feedback"] = {**updates["feedback"], "w_fb": weight_gradients["w_out"][:, :-1]}
        new_traces = keep_dtypes(WindowTraces(window.s[-1]), traces)
        loss, aux = window_report(window)
        return like(updates, given_params), new_traces, Info(loss, READY, aux)

    return LearningRule(init, update)
