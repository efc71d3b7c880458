r"""A window of steps, run forward, with credit carried back and gradients, for all rules that learn from windows.

    c^t = q^t + D^T c^{t+1} + o (sum_g B_g^T (b_g c^{t+1})),   c^{S+1} = 0      backward, q^t = dL^t / ds^t
    G_W = sum_t (b_g^t c^t) rhat^t^T,   G_own = sum_t c^t ds^t / d own,   G_out = sum_t e^t [read(s^t); 1]^T

D, b and o are those of step t + 1. B takes the place of W_rec: with B = W_rec, c^t is the derivative of the window's
whole loss by s^t, and G the gradient. The loss is the mean over the batch of the SUM over the window's steps. The state
before the window is an argument, and no credit flows through it.

A batch of windows is x (B, S, n_in), y (B, S, n_out), start and weight (B, S). In this file time leads, (S, B, ...).
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.cells.door import cell_weights
from plasticity_jax.cells.dynamics import AnyCell, NeuronsDynamics, NeuronsLocal, dynamics, need_neurons
from plasticity_jax.cells.neurons import Neurons, derivatives, masked, slope_of, start_of, updated
from plasticity_jax.ops.checks import default_float
from plasticity_jax.ops.losses import loss_and_error
from plasticity_jax.typing import Array, Example, Key, Params, PyTree

UNROLLED = 16
"""Steps of the longest window whose loops are unrolled."""


class WindowTraces(NamedTuple):
    """Attributes: state: (B, S, n), at the end of the last window; (B, N) of a cell of tier one."""

    state: Array


class Window(NamedTuple):
    """A window run forward; time leads.

    Attributes:
      s: (S, B, S, n), state after each step; (S, B, N) of a cell of tier one.
      local: what the derivatives of each step are computed from, leaves (S, B, ...).
      readout_input: (S, B, k), what the readout receives.
      output: (S, B, n_out).
      loss: (S, B), of each step.
      error: (S, B, n_out), dL/dz.
      credit: of the shape of s, q^t: credit for the state by the loss of the same step alone.
    """

    s: Array
    local: Any
    readout_input: Array
    output: Array
    loss: Array
    error: Array
    credit: Array


def at_rest(cell: AnyCell, streams: int, dtype: Any) -> WindowTraces:
    """Traces of streams before their first step."""
    dyn = dynamics(cell)
    return WindowTraces(jnp.array(jnp.broadcast_to(dyn.start(dtype)[None], (streams, *dyn.state_shape))))


def time_first(batch: Example) -> Example:
    """Swaps the axes of time and batch: leaves (S, B, ...) of leaves (B, S, ...), or the reverse."""
    return jax.tree.map(lambda leaf: jnp.swapaxes(leaf, 0, 1), batch)


def run_window(cell: AnyCell, params: Params, s_0: Array, example: Example, w_fb: Array | None = None) -> Window:
    """Runs the network over a window.

    Args:
      cell: of either tier.
      params: its weights.
      s_0: (B, S, n), state before the window.
      example: leaves (S, B, ...), time first.
      w_fb: (n_out, k), carries the error back to the readout's input; None: the readout's own weights.

    Returns:
      The `Window`.
    """
    dyn, w_out = dynamics(cell), params["forward"]["w_out"]
    path = _neurons_path if isinstance(cell, Neurons) else _path
    s, local = path(cell, cell_weights(cell, params), s_0, example)  # pyright: ignore[reportArgumentType]
    readout_input = jax.vmap(jax.vmap(dyn.read))(s)
    output, loss, error = answers(cell, w_out, readout_input, example)
    back = error @ (w_out[:, :-1] if w_fb is None else w_fb)
    return Window(s, local, readout_input, output, loss, error, jax.vmap(jax.vmap(dyn.unread))(s, back))


def answers(cell: AnyCell, w_out: Array, readout_input: Array, example: Example) -> tuple[Array, Array, Array]:
    """``(output, loss, error)`` for the readout's input, (S, B, ...) each."""
    output = readout_input @ w_out[:, :-1].T + w_out[None, None, :, -1]
    loss_and_errors = jax.vmap(jax.vmap(functools.partial(loss_and_error, cell.loss)))
    loss, error = loss_and_errors(output, example.y, example.weight)
    if example.weight is not None:
        loss, error = example.weight * loss, example.weight[..., None] * error
    return output, loss, error


def noisy_readout_input(cell: Neurons, params: Params, s_0: Array, example: Example, noise: Array) -> Array:
    """The readout's input when noise is added to the neurons' outputs, for the readout and, a step later, for neurons.

    Args:
      cell: of neurons.
      params: its weights.
      s_0: (B, S, n), state before the window, received without noise.
      example: leaves (S, B, ...), time first.
      noise: (S, B, n). The first step of a trial does not receive the noise of the step before.

    Returns:
      (S, B, n), with the noise.
    """
    weights = cell_weights(cell, params)
    rest, own = start_of(cell, noise.dtype), weights.get("own", {})
    w_rec, drive = _parts(cell, weights["w"], example.x)

    def one_stream(s_tm1: Array, drive_t: Array, start: Array | None, noise_tm1: Array) -> Array:
        if start is not None:
            s_tm1, noise_tm1 = jnp.where(start, rest, s_tm1), jnp.where(start, 0, noise_tm1)
        v = drive_t + ((cell.output(s_tm1) + noise_tm1) @ w_rec.T).reshape(drive_t.shape)
        return updated(cell, own, s_tm1, v)

    def step(s_tm1: Array, at: tuple[Array, Array | None, Array]) -> tuple[Array, Array]:
        s = jax.vmap(one_stream)(s_tm1, *at)
        return s, jax.vmap(cell.read)(s)

    noise_before = jnp.concatenate([jnp.zeros_like(noise[:1]), noise[:-1]])
    _, readout_input = jax.lax.scan(step, s_0, (drive, example.start, noise_before), unroll=_unroll(example))
    return readout_input + noise


def carry_back(cell: AnyCell, weights: PyTree, local: Any, credit: Array) -> Array:
    """The credit that each step's state collects from its own step and all later ones.

    Args:
      cell: of either tier.
      weights: of the way back, `plasticity_jax.cells.door.cell_weights`, or for neurons ``{"w": B}``, B (G, n, n).
      local: of a `Window`.
      credit: (S, B, S, n), q^t.

    Returns:
      c^t, of the same shape.
    """
    dyn = dynamics(cell)
    weights = dyn.for_pulls(weights)

    def step(carried: Array, at: tuple[Array, Any]) -> tuple[Array, Array]:
        q, local_t = at
        c = q + carried
        return jax.vmap(dyn.pull, (None, 0, 0))(weights, local_t, c), c

    unroll = len(credit) <= UNROLLED
    return jax.lax.scan(step, jnp.zeros_like(credit[0]), (credit, local), reverse=True, unroll=unroll)[1]


def sums_credit(cell: Neurons, local: Any, credit: Array) -> Array:
    """b c: credit for the gates' sums, (S, B, G, n), of credit (S, B, S, n) for the state."""
    return jax.vmap(jax.vmap(NeuronsDynamics(cell).sums_credit))(local, credit)


def gradients(cell: AnyCell, params: Params, window: Window, credit: Array) -> dict[str, Any]:
    """Updates for ``params["forward"]``: sums over the window, means over the batch.

    Args:
      cell: of either tier.
      params: its weights.
      window: run forward.
      credit: (S, B, S, n), c^t.

    Returns:
      A tree like ``params["forward"]``.
    """
    streams = credit.shape[1]

    def flat(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)

    weights = cell_weights(cell, params)
    sums = dynamics(cell).weigh_all(weights, flat(window.local), flat(credit))
    if isinstance(cell, Neurons):
        sums = {**sums, "w": masked(cell, sums["w"])}
    error, readout_input = flat((window.error, window.readout_input))
    w_out = jnp.concatenate([error.T @ readout_input, jnp.sum(error, 0)[:, None]], 1)
    means = jax.tree.map(lambda leaf: leaf / streams, {**sums, "w_out": w_out})
    return {**jax.tree.map(jnp.zeros_like, params["forward"]), **means}


def window_report(window: Window) -> tuple[Array, dict[str, Array]]:
    """The loss and the output (B, S, n_out) of a window, for `plasticity_jax.base.Info`."""
    return jnp.mean(jnp.sum(window.loss, 0)), {"output": jnp.swapaxes(window.output, 0, 1)}


def init_feedback(key: Key, cell: Neurons, dtype: Any = None) -> dict[str, Array]:
    """Random matrices that carry credit back through time in place of W_rec, at its scale.

    B_g ~ N(0, mean square of W_rec,g), with W as the cell draws it: N(0, 1/n) for an orthogonal W_rec; 0 where there is
    no connection.

    Args:
      key: split, one part for B and one for the W that sets its scale.
      cell: a network of neurons.
      dtype: of the matrices; JAX's default float if None.

    Returns:
      ``{"w_back": (G, n, n)}``, for ``params["feedback"]``.

    Raises:
      TypeError: if the cell is not one of neurons.

    Example:
      >>> import jax
      >>> from plasticity_jax.cells import init_params, leaky
      >>> cell = leaky(n_in=2, n=8, n_out=3)
      >>> params = {**init_params(jax.random.key(0), cell), "feedback": init_feedback(jax.random.key(1), cell)}
      >>> params["feedback"]["w_back"].shape
      (1, 8, 8)
    """
    cell = need_neurons(cell, "init_feedback")
    dtype = default_float() if dtype is None else dtype
    real, n = jnp.promote_types(dtype, jnp.float32), cell.n
    key_b, key_w = jax.random.split(key)
    exists = masked(cell, jnp.ones((len(cell.gates), n, cell.m), real))[:, :, :n]
    w_rec = exists * cell.init_w(key_w, cell, dtype)[:, :, :n].astype(real)
    count = jnp.maximum(jnp.sum(exists, (1, 2)), 1)
    scale = jnp.sqrt(jnp.sum(w_rec * w_rec, (1, 2)) / count)
    w_back = exists * scale[:, None, None] * jax.random.normal(key_b, w_rec.shape, real)
    return {"w_back": w_back.astype(dtype)}


def masked_back(cell: Neurons, back: Array) -> Array:
    """Matrices (G, n, n) that carry credit back, 0 where no connection goes forward."""
    return back if cell.mask is None else jnp.where(cell.mask[:, :, : cell.n], back, 0)


def _path(cell: AnyCell, weights: PyTree, s_0: Array, example: Example) -> tuple[Array, Any]:
    """``(s, local)`` of every step."""
    dyn = dynamics(cell)
    rest = dyn.start(s_0.dtype)

    def one_stream(s_tm1: Array, x: Array, start: Array | None) -> tuple[Array, Any]:
        if start is None:
            return dyn.step(weights, s_tm1, x)
        return dyn.step(weights, jnp.where(start, rest, s_tm1), x, 1 - start.astype(rest.dtype))

    def step(s_tm1: Array, at: tuple[Array, Array | None]) -> tuple[Array, tuple[Array, Any]]:
        s, local = jax.vmap(one_stream)(s_tm1, *at)
        return s, (s, local)

    return jax.lax.scan(step, s_0, (example.x, example.start), unroll=_unroll(example))[1]


def _neurons_path(cell: Neurons, weights: PyTree, s_0: Array, example: Example) -> tuple[Array, NeuronsLocal]:
    """The same as `_path`, with the gates' sums over inputs and biases computed for all steps at once."""
    rest, own = start_of(cell, s_0.dtype), weights.get("own", {})
    w_rec, drive = _parts(cell, weights["w"], example.x)

    def one_stream(s_tm1: Array, drive_t: Array, start: Array | None) -> tuple[Array, ...]:
        if start is not None:
            s_tm1 = jnp.where(start, rest, s_tm1)
        h = cell.output(s_tm1)
        s, decay, gain, own_gain = derivatives(cell, own, s_tm1, drive_t + (h @ w_rec.T).reshape(drive_t.shape))
        slope = slope_of(cell.output, s_tm1)
        if start is not None:
            alive = 1 - start.astype(rest.dtype)
            decay, slope = alive * decay, alive * slope
        return s, h, decay, gain, own_gain, slope

    def step(s_tm1: Array, at: tuple[Array, Array | None]) -> tuple[Array, tuple[Array, ...]]:
        s, *local = jax.vmap(one_stream)(s_tm1, *at)
        return s, (s, *local)

    steps = jax.lax.scan(step, s_0, (drive, example.start), unroll=_unroll(example))[1]
    s, h, decay, gain, own_gain, slope = steps
    rhat = jnp.concatenate([h, example.x, jnp.ones_like(h[..., :1])], -1)
    return s, NeuronsLocal(rhat, decay, gain, own_gain if cell.own else (), slope)


def _parts(cell: Neurons, w: Array, x: Array) -> tuple[Array, Array]:
    """W_rec as (G n, n), and the gates' sums over inputs and biases, (S, B, G, n)."""
    rows = w.reshape(-1, cell.m)
    drive = x @ rows[:, cell.n : -1].T + rows[None, None, :, -1]
    return rows[:, : cell.n], drive.reshape(*x.shape[:2], len(cell.gates), cell.n)


def _unroll(example: Example) -> bool:
    """Returns whether the loops over a window are unrolled."""
    return len(example.x) <= UNROLLED
