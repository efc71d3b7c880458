r"""What the recurrent rules of this wing share: the window run forward, credit carried back, the gradients.

    c^t = e^t V                                                   credit for h^t by the readout of its own step
    delta^j = (c^j + delta^{j+1} B) phi'^j,   delta^{S+1} = 0     backward over the window

    G_U = sum_j delta^j x^j^T,  G_W = sum_j delta^j h^{j-1}^T,  G_b = sum_j delta^j,  G_V = sum_j e^j h^j^T

delta^j is the sum over t >= j of what the paper calls delta_{t,j}, the credit that the loss of step t lends to step j:
it is linear in c, so one sweep carries all of them. With B = W it is backpropagation through time, exact within the
window. The readout V is used as it is: only W has a B.

The loss is the mean over the batch of the SUM over the window's steps, for all rules and all weights, so that they
share a step size. The activity that a window starts from is an argument, through which no credit flows.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from plasticity_jax.base import Info
from plasticity_jax.networks import vanilla_rnn
from plasticity_jax.networks.vanilla_rnn import Trajectory, VanillaRNN
from plasticity_jax.typing import Array, Example, Params, PyTree, Updates


class WindowTraces(NamedTuple):
    """Attributes: h: (B, n), activity at the end of the last window."""

    h: Array


class Window(NamedTuple):
    """A window run forward; time leads.

    Attributes:
      x: (S, B, n_in), input.
      h_tm1: (S, B, n), activity before each step.
      h: (S, B, n), after each step.
      slope: (S, B, n), phi'.
      output: (S, B, n_out).
      loss: (S, B), of each step.
      error: (S, B, n_out), e^t.
      credit: (S, B, n), c^t.
    """

    x: Array
    h_tm1: Array
    h: Array
    slope: Array
    output: Array
    loss: Array
    error: Array
    credit: Array


def time_first(batch: Example) -> tuple[Array, Array]:
    """x (S, B, n_in) and y (S, B, n_out) of a batch whose windows are (B, S, ...)."""
    return jnp.swapaxes(batch.x, 0, 1), jnp.swapaxes(batch.y, 0, 1)


def observe(weights: PyTree, h_0: Array, path: Trajectory, x: Array, y: Array) -> Window:
    """What the network's path through a window amounts to."""
    output = vanilla_rnn.read_out(weights, path.h)
    loss, error = vanilla_rnn.loss_and_error(output, y)
    h_tm1 = jnp.concatenate([h_0[None], path.h[:-1]])
    return Window(x, h_tm1, path.h, path.slope, output, loss, error, error @ weights["v"])


def carry_back(credit: Array, slope: Array, back: Array) -> Array:
    """delta (S, B, n) of c and phi', both (S, B, n), through `back` (n, n)."""

    def step(delta: Array, at: tuple[Array, Array]) -> tuple[Array, Array]:
        c, slope_j = at
        delta = (c + delta @ back) * slope_j
        return delta, delta

    return jax.lax.scan(step, jnp.zeros_like(credit[0]), (credit, slope), reverse=True, unroll=len(credit) <= 16)[1]


def gradients(window: Window, delta: Array) -> PyTree:
    """Updates for ``params["forward"]``: sums over the window, means over the batch."""
    batch = delta.shape[1]

    def outer(post: Array, pre: Array) -> Array:
        return jnp.einsum("sbi,sbj->ij", post, pre) / batch

    return {
        "u": outer(delta, window.x),
        "w": outer(delta, window.h_tm1),
        "bias": jnp.sum(delta, (0, 1)) / batch,
        "v": outer(window.error, window.h),
        "bias_out": jnp.sum(window.error, (0, 1)) / batch,
    }


def info(window: Window, ready: Array) -> Info:
    """Loss, and the output as (B, S, n_out)."""
    loss = jnp.mean(jnp.sum(window.loss, 0))
    return Info(loss, ready, {"output": jnp.swapaxes(window.output, 0, 1)})


def rest(params: Params, batch: Example) -> WindowTraces:
    """Traces of a network at rest."""
    check(params, batch)
    w = params["forward"]["w"]
    return WindowTraces(jnp.zeros((batch.x.shape[0], len(w)), w.dtype))


def fixed_feedback(
    net: VanillaRNN, params: Params, traces: WindowTraces, batch: Example, back: Array | None
) -> tuple[Updates, WindowTraces, Info]:
    """A step of a rule that only differs in the matrix that carries credit back; None carries none."""
    check(params, batch)
    chex.assert_shape(traces.h, (batch.x.shape[0], len(params["forward"]["w"])))
    x, y = time_first(batch)
    path = vanilla_rnn.trajectory(net, params["forward"], traces.h, x)
    window = observe(params["forward"], traces.h, path, x, y)
    delta = window.credit * window.slope if back is None else carry_back(window.credit, window.slope, back)
    updates = {
        "forward": gradients(window, delta),
        "feedback": jax.tree.map(jnp.zeros_like, params["feedback"]),
    }
    return updates, WindowTraces(window.h[-1]), info(window, jnp.asarray(True))


def check(params: Params, batch: Example) -> None:
    """Asserts that weights and batch fit together.

    Raises:
      AssertionError: (chex) naming the array and the shape that it should have.
    """
    weights, w_fb = params["forward"], params["feedback"]["w_fb"]
    chex.assert_rank([weights["u"], weights["v"]], 2, custom_message="u is (n, n_in), v is (n_out, n)")
    chex.assert_rank([batch.x, batch.y], 3, custom_message="a batch holds windows: x (B, S, n_in), y (B, S, n_out)")
    (n, n_in), n_out = weights["u"].shape, weights["v"].shape[0]
    windows = batch.x.shape[:2]
    chex.assert_shape(batch.x, (*windows, n_in), custom_message=f"batch.x must be (B, S, n_in); u has n_in={n_in}")
    chex.assert_shape(batch.y, (*windows, n_out), custom_message=f"batch.y must be (B, S, n_out); v has n_out={n_out}")
    chex.assert_shape(weights["v"], (n_out, n), custom_message=f"v must be (n_out, n); u has n={n}")
    chex.assert_shape([weights["w"], w_fb], (n, n), custom_message=f"w and w_fb must be (n, n); u has n={n}")
    chex.assert_shape(weights["bias"], (n,), custom_message=f"bias must be (n,); u has n={n}")
    chex.assert_shape(weights["bias_out"], (n_out,), custom_message=f"bias_out must be (n_out,); v has {n_out}")
