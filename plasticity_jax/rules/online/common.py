"""What every online rule shares: the forward step, the immediate credit, the readout's gradient, the mean over streams.

A rule adds the one thing in which it differs: what it carries, and how it turns the immediate credit q^t = dL^t/dr^t
into a gradient for the recurrent weights. It is written for one stream; `online_rule` maps it over the batch.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp

from plasticity_jax.base import Info, LearningRule
from plasticity_jax.networks import leaky_rnn
from plasticity_jax.networks.leaky_rnn import LeakyRNN
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Scalar, Updates

STREAMS = "streams"
"""Name of the batch axis while a rule's step is mapped over it."""

Feedback = Literal["readout", "random"]


class Sizes(NamedTuple):
    """Shapes that an initial state is made from."""

    n: int
    n_in: int
    n_out: int
    m: int
    dtype: jnp.dtype


class Moment(NamedTuple):
    """What the synapses of one stream may read at step t.

    Attributes:
      net: the network's fixed properties.
      w: (n, m), the weights that made this step, not yet updated.
      r_tm1: (n,), rates before the step.
      rhat: (m,), presynaptic activity [r^{t-1}; x^t; 1].
      slope: (n,), phi'(v^t).
      immediate: (n,), alpha phi'(v^t): the immediate influence of W_ij on r_i is immediate_i rhat_j.
      r: (n,), rates after the step.
      x: (n_in,), input.
      y: (n_out,), target.
      credit: (n,), immediate credit q^t = dL^t/dr^t, or its image under random feedback.
    """

    net: LeakyRNN
    w: Array
    r_tm1: Array
    rhat: Array
    slope: Array
    immediate: Array
    r: Array
    x: Array
    y: Array
    credit: Array


class Credit(NamedTuple):
    """What a rule makes of a moment.

    Attributes:
      grad: (n, m), gradient for W.
      traces: the rule's own traces of this stream.
      shared: what is learned and the same for all streams; its changes are averaged with `mean_over_streams`.
      ready: False while the rule only accumulates.
    """

    grad: Array
    traces: PyTree
    shared: PyTree = ()
    ready: bool | Array = True


class OnlineTraces(NamedTuple):
    """What an online rule carries.

    Attributes:
      r: (B, n), rates of the network.
      own: the rule's traces, every leaf with a leading axis B.
      shared: what the rule learns beside the weights, without that axis; () for most rules.
    """

    r: Array
    own: PyTree
    shared: PyTree


class Plausibility(NamedTuple):
    """A rule's place in the paper's Table 1, declared beside its equations.

    Attributes:
      tensor: what it carries in place of the influence tensor M_kij.
      facing: "past" (dL^t/dW), "future" (dL/dW^t), or "none".
      stochastic: whether it draws random numbers.
      solved: "closed form" or "numerical" (learned).
      fails: the paper's criteria that it does not meet, each with the reason: "i" vectors are rates or voltages, "ii"
        matrices are synapses that change continuously and locally, "iii" matrix-vector products act on rates, "iv" no
        matrix-matrix products, "v" noise is independent and additive, "vi" no noisy copy of the network; and "time"
        (nonlocal in time) or "memory" (more than n^2 numbers), which the paper holds against BPTT and RTRL.
    """

    tensor: str
    facing: Literal["past", "future", "none"]
    stochastic: bool
    solved: Literal["closed form", "numerical"]
    fails: Mapping[str, str]


def mean_over_streams(x: Array) -> Array:
    """Mean over the batch, inside a rule's step; what is shared by the streams may change by nothing else."""
    return jax.lax.pmean(x, STREAMS)


def online_rule(
    net: LeakyRNN,
    init: Callable[[Key, Sizes], PyTree],
    step: Callable[[Moment, Any, Any, Key], Credit],
    *,
    init_shared: Callable[[Key, Sizes, Params], PyTree] = lambda key, sizes, params: (),
    feedback: Feedback = "readout",
    immediate_gain: Scalar | None = None,
    lag: int = 0,
) -> LearningRule:
    """Makes a `LearningRule` of what one rule does with one stream.

    Args:
      net: the network.
      init: ``(key, sizes) -> traces`` of one stream.
      step: ``(moment, traces, shared, key) -> Credit`` for one stream.
      init_shared: ``(key, sizes, params) -> shared``.
      feedback: "readout" carries the error back through W_out, "random" through the fixed matrix
        ``params["feedback"]["w_fb"]``.
      immediate_gain: factor of phi' in `Moment.immediate`; None is alpha, which is right. 1 is the authors' 2019 code.
      lag: of the recurrent weights' updates.

    Returns:
      The rule; its params are those of `plasticity_jax.networks.leaky_rnn.init_params`, its batch an `Example`.

    Raises:
      ValueError: if the feedback is not known.
    """
    if feedback not in ("readout", "random"):
        raise ValueError(f"feedback={feedback!r} is not known; use 'readout' (exact) or 'random' (fixed matrix)")
    gain = net.alpha if immediate_gain is None else immediate_gain

    def init_traces(params: Params, key: Key, batch: Example) -> OnlineTraces:
        sizes = check(params, batch)
        streams = batch.x.shape[0]
        key_own, key_shared = jax.random.split(key)
        own = jax.vmap(lambda k: init(k, sizes))(jax.random.split(key_own, streams))
        rates = jnp.zeros((streams, sizes.n), sizes.dtype)
        return OnlineTraces(rates, own, init_shared(key_shared, sizes, params))

    def update(params: Params, traces: OnlineTraces, key: Key, batch: Example) -> tuple[Updates, OnlineTraces, Info]:
        sizes = check(params, batch)
        streams = batch.x.shape[0]
        chex.assert_shape(traces.r, (streams, sizes.n))
        w, w_out = params["forward"]["w"], params["forward"]["w_out"]
        w_back = w_out if feedback == "readout" else params["feedback"]["w_fb"]

        def one_stream(r_tm1: Array, own: PyTree, key: Key, x: Array, y: Array) -> Any:
            rhat, slope, r = leaky_rnn.advance(net, w, r_tm1, x)
            z = leaky_rnn.read_out(w_out, r)
            loss, error = leaky_rnn.loss_and_error(net, z, y)
            moment = Moment(net, w, r_tm1, rhat, slope, gain * slope, r, x, y, credit=(error @ w_back)[: sizes.n])
            credit = step(moment, own, traces.shared, key)
            grad_out = error[:, None] * leaky_rnn.with_bias(r)
            return (r, credit.traces, credit.grad, grad_out, loss, z, jnp.asarray(credit.ready)), credit.shared

        keys = jax.random.split(key, streams) if streams > 1 else key[None]
        mapped = jax.vmap(one_stream, axis_name=STREAMS, out_axes=(0, None))
        out, shared = mapped(traces.r, traces.own, keys, batch.x, batch.y)
        r, own, grad, grad_out, loss, z, ready = out
        updates = {
            "forward": {"w": jnp.mean(grad, 0), "w_out": jnp.mean(grad_out, 0)},
            "feedback": jax.tree.map(jnp.zeros_like, params["feedback"]),
        }
        return updates, OnlineTraces(r, own, shared), Info(jnp.mean(loss), jnp.all(ready), {"output": z})

    return LearningRule(init_traces, update, lag)


def check(params: Params, batch: Example) -> Sizes:
    """Shapes of a problem, after asserting that weights and batch fit together.

    Raises:
      AssertionError: (chex) naming the array and the shape that it should have.
    """
    w, w_out, w_fb = params["forward"]["w"], params["forward"]["w_out"], params["feedback"]["w_fb"]
    chex.assert_rank([w, w_out, batch.x, batch.y], 2, custom_message="w, w_out and the batch's (B, n_in), (B, n_out)")
    (n, m), n_out = w.shape, w_out.shape[0]
    n_in = m - n - 1
    streams = batch.x.shape[0]
    chex.assert_shape(
        batch.x, (streams, n_in), custom_message=f"batch.x must be (B, n_in); w {w.shape} has n_in={n_in}"
    )
    chex.assert_shape(batch.y, (streams, n_out), custom_message=f"batch.y must be (B, n_out); w_out has n_out={n_out}")
    chex.assert_shape(w_out, (n_out, n + 1), custom_message="w_out must be (n_out, n + 1), the bias last")
    chex.assert_shape(w_fb, (n_out, n), custom_message="w_fb must be (n_out, n)")
    return Sizes(n, n_in, n_out, m, w.dtype)
