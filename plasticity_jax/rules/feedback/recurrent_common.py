r"""Shared parts of the recurrent rules of this wing: a window, the credit in it, and the gradients.

    q^t = dL^t / ds^t                                                    through the readout of its own step
    c^t = q^t + D^T c^{t+1} + o (sum_g B_g^T delta_g^{t+1}),   delta_g^t = b_g^t c^t,   c^{S+1} = 0

    G_W = sum_t delta^t rhat^t^T,   G_out = sum_t e^t [read(s^t); 1]^T

delta_g^t is credit for the sum that gate g receives. It is the sum, over the losses of steps t and later, of the
paper's delta_{t,j}: it is linear in q, so one sweep computes all of them. With B = W_rec it is backpropagation through
time, exact within the window. Only W_rec has a feedback matrix B: the readout carries its error back through its own
weights, and a neuron carries its own credit through D, which needs no other neuron's weights.

The loss is the mean over the batch of the SUM over the window's steps, for all rules and all weights, so that they
share a step size. A window starts from the state at the end of the previous one; no credit flows between them.

Memory: the window. Time per step: O(G n m). A synapse's gradient takes the presynaptic activity and the credit of the
postsynaptic neuron at all steps of a window, at its end; what else it reads depends on the rule.
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.cells.door import enter, keep_dtypes, same_streams
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.cells.window import (
    Window,
    WindowTraces,
    at_rest,
    gradients,
    run_window,
    time_first,
    window_report,
)
from plasticity_jax.ops.checks import like
from plasticity_jax.typing import Array, Example, Key, Params, Updates

AXES = ("B", "S")


def windowed_rule(
    cell: Neurons, credit: Callable[[Params, Window], Array], feedback: Literal["readout", "back"] = "readout"
) -> LearningRule:
    """Makes a `LearningRule` from a function that collects the credit of a window.

    Args:
      cell: a network of neurons.
      credit: ``(params, window) -> c`` of the shape of ``window.credit``, (S, B, S, n), time first.
      feedback: "back" if the rule reads ``params["feedback"]["w_back"]``, or else "readout".

    Returns:
      The rule; it does not change the feedback. Its batch is windows, x (B, S, n_in), y (B, S, n_out), start and weight
      (B, S).

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=2, n=16, n_out=1, loss="squared")
      >>> def fading(params, window):  # a step's credit and half of the next step's
      ...     later = jnp.concatenate([window.credit[1:], jnp.zeros_like(window.credit[:1])])
      ...     return window.credit + 0.5 * later
      >>> x = jax.random.normal(jax.random.key(0), (20, 6, 2))
      >>> batch = pj.Example(x, x[..., :1] - x[..., 1:])
      >>> learn = pj.learner(windowed_rule(cell, fading), optax.sgd(0.02))
      >>> state = learn.init(pj.cells.init_params(jax.random.key(0), cell), jax.random.key(1), batch)
      >>> state, info = jax.lax.scan(lambda s, _: learn.step(s, batch), state, length=200)
      >>> bool(info.loss[-1] < 0.2 * info.loss[0])
      True

    Reference:
      Lansdell, Prakash & Kording, "Learning to solve the credit assignment problem", arXiv:1906.00889.
    """

    def init(params: Params, key: Key, batch: Example) -> WindowTraces:
        _, batch, sizes = enter(cell, params, batch, feedback, AXES)
        return at_rest(cell, len(batch.x), sizes.dtype)

    def update(params: Params, traces: WindowTraces, key: Key, batch: Example) -> tuple[Updates, WindowTraces, Info]:
        given_params = params
        params, batch, _ = enter(cell, params, batch, feedback, AXES)
        same_streams(traces.state, len(batch.x))
        window = run_window(cell, params, traces.state, time_first(batch))
        weight_gradients = gradients(cell, params, window, credit(params, window))
        new_traces = keep_dtypes(WindowTraces(window.s[-1]), traces)
        loss, aux = window_report(window)
        updates = like(filled(params, {"forward": weight_gradients}), given_params)
        return updates, new_traces, Info(loss, READY, aux)

    return LearningRule(init, update)


def filled(params: Params, updates: Updates) -> Updates:
    """Updates of all groups of the params: those given, and zeros for all others."""
    return {name: updates.get(name, jax.tree.map(jnp.zeros_like, group)) for name, group in params.items()}
