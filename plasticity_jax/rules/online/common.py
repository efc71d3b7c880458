"""Shared parts of the online rules: forward step, immediate credit, the readout's gradient, mean over streams.

A rule adds what is its own: its traces, and a step that turns the immediate credit c^t = dL^t/ds^t into a gradient of
the cell's weights. It is written for one stream; `online_rule` maps it over the batch, starts streams afresh where a
trial begins, and gives padding a weight of zero.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.cells import dynamics as dyn
from plasticity_jax.cells.door import Sizes, cell_weights, enter, keep_dtypes, same_streams
from plasticity_jax.cells.dynamics import AnyCell, CellDynamics, NeuronsDynamics
from plasticity_jax.cells.neurons import Neurons, masked, read_out, with_bias
from plasticity_jax.ops.checks import like, number, one_of
from plasticity_jax.ops.losses import loss_and_error
from plasticity_jax.ops.prng import normal
from plasticity_jax.ops.sums import leading_mean, mean_of
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Scalar, Updates

STREAMS = "streams"
"""Name of the batch axis while a rule's step is mapped over it."""

Feedback = Literal["readout", "random", "adaptive"]


class Moment(NamedTuple):
    """Signals available to one stream at step t. For a cell of tier one S is absent and n is the state's size.

    Attributes:
      dynamics: the cell's step and its derivatives.
      weights: ``{"w": (G, n, m)}`` and the cell's other learned parameters, as used in this step, not yet updated.
      s_tm1: (S, n), state before the step.
      s: (S, n), state after it.
      local: the step's local quantities: `plasticity_jax.cells.dynamics.NeuronsLocal` with the presynaptic
        activity rhat (m,) and the immediate influence gain (S, G, n): W_gij acts on s_ai as gain_agi rhat_j.
      x: (n_in,), input.
      y: (n_out,), target.
      output: (n_out,), z^t.
      loss: shape ().
      error: (n_out,), dL/dz.
      credit: (S, n), immediate credit c^t = dL^t/ds^t, or its image under random feedback.
      noise: (G, n), noise on the gates' sums; None without noise.
      alive: shape (), 0 where a trial starts, else 1; None if the batch has no starts.
      weight: shape (), the share of this step in the loss, already in `loss`, `error` and `credit`; None is 1.
    """

    dynamics: NeuronsDynamics | CellDynamics
    weights: PyTree
    s_tm1: Array
    s: Array
    local: Any
    x: Array
    y: Array
    output: Array
    loss: Array
    error: Array
    credit: Array
    noise: Array | None
    alive: Array | None
    weight: Array | None = None

    def push(self, a: Array) -> Array:
        """J a, of the state's shape."""
        return self.dynamics.push(self.weights, self.local, a)

    def pull(self, c: Array) -> Array:
        """c J, of the state's shape."""
        return self.dynamics.pull(self.weights, self.local, c)

    def jacobian(self) -> Array:
        """J, (N, N), the state's numbers end to end."""
        return self.dynamics.jacobian(self.weights, self.local)

    def weigh(self, c: Array, over: Scalar = 1.0) -> PyTree:
        """Gradient of the weights, through this step alone, for credit c / over of the state; a tree like them."""
        return self.dynamics.weigh(self.weights, self.local, c, over)

    def weigh_norm(self, c: Array) -> Array:
        """The norm of the gradient that `weigh` returns."""
        return self.dynamics.weigh_norm(self.weights, self.local, c)

    def carried_on(self, trace: PyTree) -> PyTree:
        """A trace of the step before, or zeros where a trial starts; for traces that J does not carry."""
        alive = self.alive
        return trace if alive is None else jax.tree.map(lambda leaf: jnp.where(alive > 0, leaf, 0), trace)


class Collected(NamedTuple):
    """A gradient in two factors, credit times trace: `Credit.grad` of a rule that is fast on many streams.

    The mean over streams is taken while the factors are multiplied, so that no stream's product is written to memory.

    Attributes:
      credit: (S, n), of the state.
      trace: the influence of the weights on the state, (S, G, n, m), or a tree like the weights with S leading axes.
    """

    credit: Array
    trace: PyTree


class Credit(NamedTuple):
    """One stream's gradient and updated traces.

    Attributes:
      grad: a tree like `Moment.weights`, or (G, n, m) for "w" alone, or a `Collected`.
      traces: the rule's own traces of this stream.
      shared: what the rule learns in common for all streams; average its changes with `mean_over_streams`.
      ready: False while the rule only accumulates.
    """

    grad: PyTree | Collected
    traces: PyTree
    shared: PyTree = ()
    ready: bool | Array = True


class OnlineTraces(NamedTuple):
    """State that an online rule carries.

    Attributes:
      state: (B, S, n), state of the network; (B, N) of a cell of tier one.
      own: the rule's traces, every leaf with a leading axis B.
      shared: what the rule learns in addition to the weights, without that axis; () for most rules.
    """

    state: Array
    own: PyTree
    shared: PyTree


class Plausibility(NamedTuple):
    """A rule's place in the paper's Table 1, declared next to its equations.

    Attributes:
      tensor: what it carries in place of the influence tensor M_kij.
      facing: "past" (dL^t/dW), "future" (dL/dW^t), or "none".
      stochastic: whether it draws random numbers.
      solved: "closed form" or "numerical" (learned).
      fails: the paper's criteria that it does not meet, each with the reason: "i" vectors are rates or voltages, "ii"
        matrices are synapses that change continuously and locally, "iii" matrix-vector products act on rates, "iv" no
        matrix-matrix products, "v" noise is independent and additive, "vi" no noisy copy of the network; and "time"
        (nonlocal in time) or "memory" (more than n^2 numbers), which the paper counts against BPTT and RTRL.
    """

    tensor: str
    facing: Literal["past", "future", "none"]
    stochastic: bool
    solved: Literal["closed form", "numerical"]
    fails: Mapping[str, str]


def mean_over_streams(x: Array) -> Array:
    """Mean over the batch, inside a rule's step; what streams share may change only by such means."""
    return jax.lax.pmean(x, STREAMS)


def online_rule(
    cell: AnyCell,
    init: Callable[[Key, Sizes], PyTree],
    step: Callable[[Moment, Any, Any, Key], Credit],
    *,
    init_shared: Callable[[Key, Sizes, Params], PyTree] = lambda key, sizes, params: (),
    feedback: Feedback = "readout",
    noise: Scalar | None = None,
    lag: int = 0,
) -> LearningRule:
    """Makes a `LearningRule` from its step for one stream.

    Args:
      cell: the network, of `plasticity_jax.cells`.
      init: ``(key, sizes) -> traces`` of one stream.
      step: ``(moment, traces, shared, key) -> Credit`` for one stream.
      init_shared: ``(key, sizes, params) -> shared``.
      feedback: "readout" carries the error back through W_out, "random" through the fixed matrix
        ``params["feedback"]["w_fb"]``, "adaptive" through that matrix while it learns like W_out.
      noise: standard deviation of normal noise on the gates' sums (on the state of a cell of tier one), or None.
      lag: that of the cell's updates.

    Returns:
      The rule; its params are those of `plasticity_jax.cells.init_params`, its batch an `Example`.

    Raises:
      TypeError: if ``cell`` is not a cell.
      ValueError: if the feedback is not known or the noise is negative.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=1, n=8, n_out=1, loss="squared")
      >>> def step(moment, average, shared, key):  # reward-modulated Hebb: noise that lowers the loss is learned
      ...     surprise = moment.loss - average
      ...     grad = surprise * moment.noise[..., None] * moment.local.rhat[None, None]
      ...     return Credit(grad, average + 0.1 * surprise)
      >>> rule = online_rule(cell, lambda key, sizes: jnp.zeros((), sizes.dtype), step, noise=0.1)
      >>> learn = pj.learner(rule, optax.sgd(0.1))
      >>> batch = pj.Example(jnp.ones((16, 1)), jnp.ones((16, 1)))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=200)
      >>> bool(info.loss[-1] < 0.1 * info.loss[0])
      True
    """
    one_of("feedback", feedback, ("readout", "random", "adaptive"))
    if noise is not None:
        number("noise", noise, 0, why="the standard deviation of the noise on the neurons' inputs")
    dynamics = dyn.dynamics(cell)

    def init_traces(params: Params, key: Key, batch: Example) -> OnlineTraces:
        params, batch, sizes = enter(cell, params, batch, feedback)
        streams = batch.x.shape[0]
        key_own, key_shared = jax.random.split(key)
        own = jax.vmap(lambda k: init(k, sizes))(jax.random.split(key_own, streams))
        state = jnp.array(jnp.broadcast_to(dynamics.start(sizes.dtype)[None], (streams, *dynamics.state_shape)))
        return OnlineTraces(state, own, init_shared(key_shared, sizes, params))

    def update(params: Params, traces: OnlineTraces, key: Key, batch: Example) -> tuple[Updates, OnlineTraces, Info]:
        given_params = params
        params, batch, sizes = enter(cell, params, batch, feedback)
        streams = batch.x.shape[0]
        same_streams(traces.state, streams)
        weights, w_out = cell_weights(cell, params), params["forward"]["w_out"]
        w_back = w_out if feedback == "readout" else params["feedback"]["w_fb"]
        width = w_out.shape[1] - 1

        def one_stream(s_tm1: Array, own: PyTree, key: Key, example: Example) -> Any:
            alive, start = None, example.start
            if start is not None:
                alive = 1 - start.astype(sizes.dtype)
                s_tm1 = jnp.where(start, dynamics.start(sizes.dtype), s_tm1)
                own = _finite_at_start(start, own)
            if noise is None:
                gate_noise = None
            else:
                key, key_noise = jax.random.split(key)
                shape = dynamics.noise_shape
                gate_noise = (noise * normal(key_noise, math.prod(shape), sizes.dtype)).astype(sizes.dtype)
                gate_noise = gate_noise.reshape(shape)
            s, local = dynamics.step(weights, s_tm1, example.x, alive, gate_noise)
            r = dynamics.read(s)
            z = read_out(w_out, r)
            loss, error = loss_and_error(cell.loss, z, example.y, example.weight)
            if example.weight is not None:
                loss, error = example.weight * loss, example.weight * error
            immediate = dynamics.unread(s, (error @ w_back)[:width])
            of_step = dynamics, weights, s_tm1, s, local, example.x, example.y
            moment = Moment(*of_step, z, loss, error, immediate, gate_noise, alive, example.weight)
            credit = step(moment, own, traces.shared, key)
            grad = credit.grad if isinstance(credit.grad, Mapping | Collected) else {"w": credit.grad}
            grad_out = error[:, None] * with_bias(r)[None]
            return (s, credit.traces, grad, grad_out, loss, z, credit.ready), credit.shared

        always_ready: list[bool] = []

        def mapped(*arguments: Any) -> Any:
            out, shared = one_stream(*arguments)
            always_ready.append(out[-1] is True)
            return (*out[:-1], jnp.asarray(out[-1])), shared

        keys = jax.random.split(key, streams) if streams > 1 else key[None]
        run = jax.vmap(mapped, axis_name=STREAMS, out_axes=(0, None))
        (state, own, grad, grad_out, loss, z, ready), shared = run(traces.state, traces.own, keys, batch)
        if not isinstance(grad, Collected):
            mean = jax.tree.map(leading_mean, grad)
        elif isinstance(dynamics, NeuronsDynamics):
            mean = mean_of(dynamics.collect, *grad)
            mean = mean if isinstance(mean, Mapping) else {"w": mean}
        else:
            raise ValueError("the gradient is a Collected, which needs a cell of neurons: give a tree like the weights")
        grad = {**jax.tree.map(jnp.zeros_like, weights), **mean}
        if "w" in grad and isinstance(cell, Neurons):
            grad["w"] = masked(cell, grad["w"])
        mean_out = leading_mean(grad_out)
        updates = {
            **jax.tree.map(jnp.zeros_like, {name: group for name, group in params.items() if name != "forward"}),
            "forward": {**grad, "w_out": mean_out},
        }
        if feedback == "adaptive":
            updates["feedback"] = {**updates["feedback"], "w_fb": mean_out[:, :width]}
        new_traces = keep_dtypes(OnlineTraces(state, own, shared), traces)
        is_ready = READY if always_ready[-1] else {"forward": dict.fromkeys(weights, jnp.all(ready))}
        return like(updates, given_params), new_traces, Info(jnp.mean(loss), is_ready, {"output": z})

    return LearningRule(init_traces, update, lag)


def _finite_at_start(start: Array, own: PyTree) -> PyTree:
    """Traces with 0 for non-finite entries where a trial starts: J = 0 leaves NaN there, as 0 times infinity."""

    def leaf(trace: Array) -> Array:
        return jnp.where(start & ~jnp.isfinite(trace), 0, trace) if jnp.issubdtype(trace.dtype, jnp.floating) else trace

    return jax.tree.map(leaf, own)
