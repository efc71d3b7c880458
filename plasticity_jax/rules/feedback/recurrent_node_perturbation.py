r"""Feedback through time learned by node perturbation: noise measures the effect of a neuron's output on later losses.

    neurons receive output(s^t) + zeta^t, the readout read(s^t) + zeta^t; zeta = sigma m xi, m ~ Bern(p), xi ~ N(0, 1)
    lam_{t,j-1} = (L~^t - L^t) zeta^{j-1} / (p sigma^2)          an estimate of dL^t / d output^{j-1}, t >= j
    delta_{t,j} = b^j c_{t,j}, (G n,),   c_{t,t} = q^t,   c_{t,j-1} = D^T c_{t,j} + o (delta_{t,j} B)    clean path
    B = argmin E sum_{2 <= j <= t <= S} |delta_{t,j} B - lam_{t,j-1}|^2      delta held fixed: no gradient through it
    G_W = sum_j delta^j rhat^j^T,   delta^j = sum_{t >= j} delta_{t,j}          as in feedback alignment

The gates' matrices B_g (n, n) form one matrix B (G n, n). A loss depends on an output through all the gates that
receive it, by sum_g W_g^T (b_g c), so the regression is on the credit of all gates at once. Where the cell's mask has
no connection, B does not change. The leaky cell with alpha = 1 is the paper's network,
h~^t = phi(W [h~^{t-1}; x^t; 1]) + zeta^t.

The regression needs two sums over the pairs (t, j). A backward sweep is linear in the credit that it starts from, so it
collects both without a loop over t. Started from (L~^t - L^t) q^t it gives rho^j; started from s^t q^t, with fresh
signs s^t = +-1, it gives eta^j; and

    C = sum_j rho^j^T zeta^{j-1} / (p sigma^2)    is  sum delta_{t,j}^T lam_{t,j-1}
    V = sum_j eta^j^T eta^j                       is, on average over s,  sum delta_{t,j}^T delta_{t,j}

    sgd    updates of B: (V B - C) / batch, on average the gradient of half the squares above
    ridge  V and C are added up over windows; B^ = (V + ridge I)^{-1} C; the update is B - B^, so that SGD at a rate
           of 1 on the "feedback" group sets B to B^

Source: Lansdell, Prakash & Kording (2019), section 4.3. Kind: approximate; exact at B = W_rec. In a smooth cell
E lam_{t,j-1} is then delta_{t,j} W_rec up to terms of order sigma^2, so that B = W_rec solves the regression. In a
spiking cell noise is added to the spikes that are received: lam estimates the effect of real, thresholded spikes,
smoothed by the noise, while b has the surrogate slope, and B is the best linear map from one to the other.
Where a neuron has several variables, only its output is perturbed, not its other variables.
Memory: the window, B, and for ridge V (G n, G n) and C, twice. Time per step: two products with W forward, three back,
and two for V and C, independent of S. Each forward synapse reads its presynaptic activity and its neuron's credit
signals; a feedback synapse reads the credit that it carries, plain and weighted, and its target's noise of the step
before. A pair (t, j) counts only where no trial starts at j.
Departures from the paper: the noise's index and 1/p. The authors' rule correlates the error with the noise of its own
step, and leaves out 1/p,

    lam_{t,j} = (L~^t - L^t) zeta^j / sigma^2
    updates of B: sum_{j <= t} delta_{t,j}^T (delta_{t,j} B - lam_{t,j}) / batch

and its solution is about p diag(1 / phi'), not W. The noisy path starts each window from the clean one. Losses are
sums over the window and means over the batch. The regression depends on B itself: B^ from few windows can be so
large that delta explodes, and V retains that. Begin with a large `ridge`, or with many windows before the first
solution.
"""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from plasticity_jax.base import READY, Info, LearningRule, Ready
from plasticity_jax.cells.door import enter, keep_dtypes, same_streams
from plasticity_jax.cells.dynamics import need_neurons
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.cells.window import (
    answers,
    at_rest,
    carry_back,
    gradients,
    masked_back,
    noisy_readout_input,
    run_window,
    sums_credit,
    time_first,
    window_report,
)
from plasticity_jax.ops import prng
from plasticity_jax.ops.checks import like, number, one_of
from plasticity_jax.ops.lane_by_lane import lane_by_lane
from plasticity_jax.ops.noise import rademacher
from plasticity_jax.ops.sums import RunningSum, add, empty_sum
from plasticity_jax.rules.feedback.recurrent_common import AXES, filled
from plasticity_jax.typing import Array, Example, Key, Params, PyTree, Scalar, Updates


class RecurrentNodePerturbationTraces(NamedTuple):
    """State carried from window to window.

    Attributes:
      state: (B, S, n), of the neurons at the end of the last window, on the clean path.
      steps: shape (), int32, windows taken.
      second: V, a running sum (G n, G n) for ridge; () for sgd.
      cross: C, a running sum (G n, n) for ridge; () for sgd.
    """

    state: Array
    steps: Array
    second: RunningSum | tuple[()]
    cross: RunningSum | tuple[()]


def recurrent_node_perturbation(
    cell: Neurons,
    *,
    sigma: Scalar = 0.05,
    p: Scalar = 0.1,
    estimator: Literal["sgd", "ridge"] = "sgd",
    ridge: Scalar = 0.1,
    forgetting: Scalar = 1.0,
    solve_every: int = 1,
    warm_up: int = 0,
    clip: Scalar | None = None,
) -> LearningRule:
    """Feedback matrices through time, learned by regression on the effects of noise.

    Args:
      cell: a network of neurons, of `plasticity_jax.cells`.
      sigma: standard deviation of the noise on a perturbed neuron, above 0.
      p: probability that a neuron is perturbed at a step. It is a threshold, so no derivative goes through it.
      estimator: "sgd" or "ridge".
      ridge: added to the diagonal of V at each solution, at least 0; not forgotten.
      forgetting: factor on V and C at each window, in (0, 1].
      solve_every: windows between solutions (ridge); in between the group "feedback" is not ready.
      warm_up: windows in which only B is learned: the group "forward" is not ready.
      clip: bound of each entry of B's updates (sgd), at least 0; None for no bound.

    Returns:
      A rule over ``w`` (G, n, m), ``own``, ``w_out`` (n_out, n + 1) and ``params["feedback"]["w_back"]`` (G, n, n), of
      `plasticity_jax.cells.init_feedback`. Its batch is windows, x (B, S, n_in), y (B, S, n_out), start and weight
      (B, S), S at least 2 for B to learn.

    Raises:
      TypeError: if ``cell`` is not a cell of neurons.
      ValueError: if an option is not known or out of range.

    Example:
      >>> import jax, jax.numpy as jnp, optax, plasticity_jax as pj
      >>> cell = pj.cells.leaky(n_in=2, n=6, n_out=6, alpha=1.0, loss="squared")
      >>> key = jax.random.key(0)
      >>> params = {**pj.cells.init_params(key, cell), "feedback": pj.cells.init_feedback(key, cell)}
      >>> rule = recurrent_node_perturbation(cell, sigma=0.01, estimator="ridge", ridge=100.0, warm_up=300)
      >>> learn = pj.learner(rule, optax.sgd(1.0))
      >>> def windows(key):
      ...     key_x, key_y = jax.random.split(key)
      ...     return pj.Example(jax.random.normal(key_x, (200, 4, 2)), jax.random.normal(key_y, (200, 4, 6)))
      >>> step = lambda s, t: learn.step(s, windows(jax.random.fold_in(key, t)))
      >>> state = learn.init(params, key, windows(key))
      >>> state, info = jax.lax.scan(step, state, jnp.arange(300))  # W does not change meanwhile
      >>> b, w_rec = state.params["feedback"]["w_back"], state.params["forward"]["w"][:, :, :6]
      >>> bool(jnp.linalg.norm(b - w_rec) < 0.3 * jnp.linalg.norm(w_rec))  # B is close to W
      True

    Reference:
      Lansdell, Prakash & Kording, "Learning to solve the credit assignment problem", arXiv:1906.00889.
    """
    cell = need_neurons(cell, "recurrent_node_perturbation")
    one_of("estimator", estimator, ("sgd", "ridge"))
    if solve_every < 1 or warm_up < 0:
        raise ValueError(f"solve_every={solve_every} must be at least 1 window and warm_up={warm_up} at least 0")
    if clip is not None and estimator == "ridge":
        raise ValueError("clip bounds the steps of estimator='sgd'; ridge sets B at once: leave clip out")
    number("p", p, 0, 1, open_low=True, why="the probability that a neuron is perturbed")
    number("sigma", sigma, 0, open_low=True, why="the standard deviation of the noise, which divides its effect")
    number("ridge", ridge, 0, why="added to the diagonal of a second moment")
    number("forgetting", forgetting, 0, 1, open_low=True, why="the fraction of the statistics kept at each window")
    if clip is not None:
        number("clip", clip, 0, why="the bound of an entry of B's updates")
    rows, n = len(cell.gates) * cell.n, cell.n

    def init(params: Params, key: Key, batch: Example) -> RecurrentNodePerturbationTraces:
        _, batch, sizes = enter(cell, params, batch, "back", AXES)
        state, dtype = at_rest(cell, len(batch.x), sizes.dtype).state, sizes.dtype
        sums = (empty_sum((rows, rows), dtype), empty_sum((rows, n), dtype)) if estimator == "ridge" else ((), ())
        return RecurrentNodePerturbationTraces(state, jnp.zeros((), jnp.int32), *sums)

    def update(
        params: Params, traces: RecurrentNodePerturbationTraces, key: Key, batch: Example
    ) -> tuple[Updates, RecurrentNodePerturbationTraces, Info]:
        given_params = params
        params, batch, sizes = enter(cell, params, batch, "back", AXES)
        same_streams(traces.state, len(batch.x))
        example, dtype, w_back = time_first(batch), sizes.dtype, params["feedback"]["w_back"]
        size, share, keep = (jnp.asarray(value, dtype) for value in (sigma, p, forgetting))

        window = run_window(cell, params, traces.state, example)
        unit = sparse_noise(key, (*example.x.shape[:2], n), dtype, p)  # zeta / sigma
        noisy = noisy_readout_input(cell, params, traces.state, example, size * unit)
        rise = answers(cell, params["forward"]["w_out"], noisy, example)[1] - window.loss

        # All three are linear in the credit that they start from: one sweep computes them.
        sign = rademacher(prng.fold_in(key, jnp.uint32(2)), rise.size, dtype).reshape(rise.shape)
        q = window.credit
        starts = jnp.stack([q, rise[..., None, None] * q, sign[..., None, None] * q], 1)

        def carried(q: Array) -> tuple[Array, Array]:
            c = carry_back(cell, {"w": w_back}, window.local, q)
            return c, sums_credit(cell, window.local, c)

        collected, delta = jax.vmap(carried, 1, 1)(starts)
        rho, eta = (_alive(delta[:, i], example.start) for i in (1, 2))
        second_now, cross_now = second_moment(eta[1:]), cross_moment(rho[1:], unit[:-1]) / (share * size)

        steps, second, cross, matrix = traces.steps + 1, traces.second, traces.cross, w_back.reshape(rows, n)
        if isinstance(second, RunningSum) and isinstance(cross, RunningSum):
            second, cross = add(second, second_now, keep), add(cross, cross_now, keep)

            def solved(second: Array, cross: Array) -> Array:
                return matrix - ridge_solution(second, cross, ridge)

            def unchanged(second: Array, cross: Array) -> Array:
                return jnp.zeros_like(matrix)

            sums = second.total, cross.total
            if solve_every == 1:
                change = solved(*sums)
            else:
                change = jax.lax.cond(steps % solve_every == 0, solved, unchanged, *sums)
        else:
            change = (second_now @ matrix - cross_now) / len(batch.x)
            change = change if clip is None else jnp.clip(change, -clip, clip)

        weight_gradients: PyTree = gradients(cell, params, window, collected[:, 0])
        if warm_up:
            weight_gradients = jax.tree.map(lambda g: jnp.where(steps > warm_up, g, 0), weight_gradients)
        feedback = {
            **jax.tree.map(jnp.zeros_like, params["feedback"]),
            "w_back": masked_back(cell, change.reshape(w_back.shape)),
        }
        updates = like(filled(params, {"forward": weight_gradients, "feedback": feedback}), given_params)
        new_traces = keep_dtypes(RecurrentNodePerturbationTraces(window.s[-1], steps, second, cross), traces)
        loss, aux = window_report(window)
        return updates, new_traces, Info(loss, ready_after(steps), aux)

    def ready_after(steps: Array) -> Ready:
        waiting = {"forward": steps > warm_up} if warm_up else {}
        if estimator == "ridge" and solve_every > 1:
            waiting["feedback"] = steps % solve_every == 0
        return waiting or READY

    return LearningRule(init, update)


def sparse_noise(key: Key, shape: tuple[int, ...], dtype: jnp.dtype, p: Scalar) -> Array:
    """m xi: a normal number with probability p, else 0.

    Args:
      key: consumed.
      shape: of the array.
      dtype: its dtype.
      p: probability of a number.

    Returns:
      The array; a share 1 - p of it is 0.
    """
    # Drawn in a loop of two rounds: on a CPU, XLA recomputes other draws for each of their readers.
    count, wide = math.prod(shape), jnp.promote_types(dtype, jnp.float32)

    def draw(part: Array) -> Array:
        def xi(key: Key) -> Array:
            return prng.normal(key, count, dtype).astype(wide)

        def uniform(key: Key) -> Array:
            return prng.uniform(key, count).astype(wide)

        return jax.lax.cond(part == 0, xi, uniform, prng.fold_in(key, part))

    xi, uniform = jax.lax.map(draw, jnp.arange(2, dtype=jnp.uint32))
    return jnp.where(uniform < jnp.asarray(p, wide), xi, 0).reshape(shape).astype(dtype)


def _alive(delta: Array, start: Array | None) -> Array:
    """Credit (S, B, G, n) where the step before is of the same trial, else 0: its noise was not received."""
    return delta if start is None else jnp.where(start[..., None, None], 0, delta)


def second_moment(credit: Array) -> Array:
    """Sum over all leading axes of the products of credit (..., G, n) with itself: (G n, G n)."""
    rows = credit.reshape(-1, credit.shape[-2] * credit.shape[-1])
    return rows.T @ rows


def cross_moment(credit: Array, noise: Array) -> Array:
    """Sum over all leading axes of the products of credit (..., G, n) with noise (..., n): (G n, n)."""
    return credit.reshape(-1, credit.shape[-2] * credit.shape[-1]).T @ noise.reshape(-1, noise.shape[-1])


def ridge_solution(second: Array, cross: Array, ridge: Scalar) -> Array:
    """B^ = (V + ridge I)^{-1} C.

    Args:
      second: V, (k, k).
      cross: C, (k, n).
      ridge: added to the diagonal.

    Returns:
      B^, (k, n).
    """
    wide = jnp.promote_types(second.dtype, jnp.float32)  # LAPACK has no half precision
    v, diagonal = second.astype(wide), jnp.asarray(ridge, wide)
    if second.dtype != wide:  # V's own rounding can be larger than the ridge
        diagonal = diagonal + jnp.finfo(second.dtype).eps.astype(wide) * jnp.trace(v)
    regularised = v + diagonal * jnp.eye(len(v), dtype=wide)
    return lane_by_lane(jnp.linalg.solve)(regularised, cross.astype(wide)).astype(second.dtype)
