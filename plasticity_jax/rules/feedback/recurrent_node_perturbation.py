r"""Feedback through time learned by node perturbation: noise tells what a neuron's activity does to later losses.

    h~^t = phi(U x^t + W h~^{t-1} + b) + zeta^t,   zeta = sigma m xi,  m ~ Bernoulli(p),  xi ~ N(0, 1)
    lam_{t,j-1} = (L~^t - L^t) zeta^{j-1} / (p sigma^2)                an estimate of dL^t / dh^{j-1}, t >= j
    delta_{t,t} = (e^t V) phi'^t,   delta_{t,j} = (delta_{t,j+1} B) phi'^j         of the clean path
    B = argmin E sum_{2 <= j <= t <= S} |delta_{t,j} B - lam_{t,j-1}|^2     delta is given, no gradient goes through it
    G_W = sum_j delta^j h^{j-1}^T,   delta^j = sum_{t >= j} delta_{t,j}           as in feedback alignment

The regression needs two sums over the pairs (t, j), both of which a backward sweep collects without a loop over t,
for it is linear in the credit that it starts from: started from (L~^t - L^t) e^t V it gives rho^j, from s^t e^t V,
with fresh signs s^t = +-1, eta^j, and

    C = sum_j rho^j^T zeta^{j-1} / (p sigma^2)    is  sum delta_{t,j}^T lam_{t,j-1}
    V = sum_j eta^j^T eta^j                       is, on average over s,  sum delta_{t,j}^T delta_{t,j}

    sgd    updates of B: (V B - C) / batch, on average the gradient of half the squares above
    ridge  V and C are added up over windows; B^ = (V + ridge I)^{-1} C; emitted is B - B^, so that SGD at a rate of 1
           on the "feedback" group sets B to B^

Source: Lansdell, Prakash & Kording (2019), section 4.3. Kind: approximate; exact at B = W. There E lam_{t,j-1} is
delta_{t,j} W but for terms of order sigma^2, so that B = W solves the regression.
Memory: S n, the window, B, and for ridge V and C, twice. Time per step: two products with W forward, three back, and
two for V and C, whatever S. Each forward synapse reads its presynaptic activity and its neuron's error signal; a
feedback synapse the errors that it carries, plain and weighted, and its target's noise one step before.
Departures from the print: the noise's index and 1/p. `legacy` is the authors' rule, pair by pair in O(S^2): it
correlates the error with the noise of its own step, and leaves out 1/p,

    lam_{t,j} = (L~^t - L^t) zeta^j / sigma^2
    updates of B: sum_{j <= t} delta_{t,j}^T (delta_{t,j} B - lam_{t,j}) / batch

whose solution is about p diag(1 / phi'), not W. The noisy path starts each window from the clean one. Sums over the
window and means over the batch. The regression of a window feeds on B: B^ from few windows can be large enough for
delta to explode, and V keeps that; begin with a large `ridge`, or with many windows to the first solution.
"""

from typing import Literal, NamedTuple

import chex
import jax
import jax.numpy as jnp
from jax.core import Tracer

from plasticity_jax.ops import prng
from plasticity_jax.base import Info, LearningRule
from plasticity_jax.networks import vanilla_rnn
from plasticity_jax.networks.vanilla_rnn import Trajectory, VanillaRNN
from plasticity_jax.ops.lane_by_lane import lane_by_lane
from plasticity_jax.ops.noise import rademacher
from plasticity_jax.ops.sums import RunningSum, add, empty_sum
from plasticity_jax.rules.feedback.recurrent_common import carry_back, check, gradients, info, observe, rest, time_first
from plasticity_jax.typing import Array, Example, Key, Params, Scalar, Updates


class RecurrentNodePerturbationTraces(NamedTuple):
    """What is carried from window to window.

    Attributes:
      h: (B, n), activity at the end of the last one, on the clean path.
      steps: shape (), int32, windows taken.
      second: V, a running sum (n, n) for ridge; () for sgd.
      cross: C, a running sum (n, n) for ridge; () for sgd.
    """

    h: Array
    steps: Array
    second: RunningSum | tuple[()]
    cross: RunningSum | tuple[()]


def recurrent_node_perturbation(
    net: VanillaRNN,
    *,
    sigma: Scalar = 0.05,
    p: Scalar = 0.1,
    estimator: Literal["sgd", "ridge"] = "sgd",
    ridge: Scalar = 0.1,
    forgetting: Scalar = 1.0,
    solve_every: int = 1,
    warm_up: int = 0,
    clip: Scalar | None = None,
    legacy: bool = False,
) -> LearningRule:
    """Credit carried back by a matrix that is regressed on the effects of noise.

    Args:
      net: the network.
      sigma: standard deviation of the noise where there is some.
      p: probability that a unit is perturbed at a step. It decides on a threshold: no derivative goes through it.
      estimator: "sgd" or "ridge".
      ridge: added to the diagonal of V at each solution; not forgotten.
      forgetting: factor of V and C at each window, in (0, 1].
      solve_every: windows between solutions (ridge); the updates of B in between are zero.
      warm_up: windows in which only B is learned.
      clip: bound of each entry of B's updates (sgd); None is none.
      legacy: the authors' rule.

    Returns:
      A rule over ``u``, ``w``, ``bias``, ``v``, ``bias_out`` and ``w_fb``. Its batch is windows, x (B, S, n_in),
      y (B, S, n_out), S at least 2.

    Raises:
      ValueError: if an option is not known or out of range.

    Example:
      >>> from plasticity_jax.networks.vanilla_rnn import vanilla_rnn
      >>> rule = recurrent_node_perturbation(vanilla_rnn(), sigma=0.05, estimator="ridge", forgetting=0.999)

    Reference:
      Lansdell, Prakash & Kording, "Learning to solve the credit assignment problem", arXiv:1906.00889.
    """
    if estimator not in ("sgd", "ridge"):
        raise ValueError(f"estimator={estimator!r} is not known; use 'sgd' or 'ridge'")
    if not isinstance(p, Tracer) and not 0 < float(p) <= 1:
        raise ValueError(f"p={float(p):g} is outside (0, 1]: it is the probability that a unit is perturbed")
    if solve_every < 1 or warm_up < 0:
        raise ValueError(f"solve_every={solve_every} must be at least 1 window and warm_up={warm_up} at least 0")
    if clip is not None and estimator == "ridge":
        raise ValueError("clip bounds the steps of estimator='sgd'; ridge sets B at once: leave clip out")

    def init(params: Params, key: Key, batch: Example) -> RecurrentNodePerturbationTraces:
        h, w = rest(params, batch).h, params["forward"]["w"]
        moments = (empty_sum(w.shape, w.dtype),) * 2 if estimator == "ridge" else ((), ())
        return RecurrentNodePerturbationTraces(h, jnp.zeros((), jnp.int32), *moments)

    def update(
        params: Params, traces: RecurrentNodePerturbationTraces, key: Key, batch: Example
    ) -> tuple[Updates, RecurrentNodePerturbationTraces, Info]:
        check(params, batch)
        weights, w_fb = params["forward"], params["feedback"]["w_fb"]
        x, y = time_first(batch)
        streams = x.shape[1]
        chex.assert_shape(traces.h, (streams, len(w_fb)))

        unit = _noise(key, (*x.shape[:2], len(w_fb)), w_fb.dtype, p)  # zeta / sigma
        both = vanilla_rnn.trajectory(
            net,
            weights,
            jnp.concatenate([traces.h, traces.h]),
            jnp.concatenate([x, x], 1),
            jnp.concatenate([jnp.zeros_like(unit), sigma * unit], 1),
        )
        window = observe(weights, traces.h, Trajectory(both.h[:, :streams], both.slope[:, :streams]), x, y)
        noisy_loss, _ = vanilla_rnn.loss_and_error(vanilla_rnn.read_out(weights, both.h[:, streams:]), y)
        rise = noisy_loss - window.loss

        # All three are linear in the credit that they start from: one sweep, over three times the rows.
        sign = rademacher(prng.fold_in(key, jnp.uint32(2)), rise.size, rise.dtype).reshape(rise.shape)
        starts = jnp.concatenate([window.credit, rise[..., None] * window.credit, sign[..., None] * window.credit], 1)
        delta, rho, eta = jnp.split(carry_back(starts, jnp.tile(window.slope, (1, 3, 1)), w_fb), 3, 1)
        if legacy:
            seen, heard = _moment(_each(window.credit, window.slope, w_fb)), _moment(rho, unit) / sigma
        else:
            seen, heard = _moment(eta[1:]), _moment(rho[1:], unit[:-1]) / (p * sigma)

        steps, second, cross = traces.steps + 1, traces.second, traces.cross
        if isinstance(second, RunningSum) and isinstance(cross, RunningSum):
            second = add(second, seen, forgetting)
            cross = add(cross, heard, forgetting)
            regularised, moment = second.total + ridge * jnp.eye(len(w_fb), dtype=w_fb.dtype), cross.total

            def solved() -> Array:
                return w_fb - lane_by_lane(jnp.linalg.solve)(regularised, moment)

            def still() -> Array:
                return jnp.zeros_like(w_fb)

            change = solved() if solve_every == 1 else jax.lax.cond(steps % solve_every == 0, solved, still)
        else:
            change = (seen @ w_fb - heard) / streams
            change = change if clip is None else jnp.clip(change, -clip, clip)

        teaching = steps > warm_up
        taught = gradients(window, delta)
        taught = jax.tree.map(lambda g: jnp.where(teaching, g, 0), taught) if warm_up else taught
        after = RecurrentNodePerturbationTraces(window.h[-1], steps, second, cross)
        return {"forward": taught, "feedback": {"w_fb": change}}, after, info(window, teaching)

    return LearningRule(init, update)


def _noise(key: Key, shape: tuple[int, ...], dtype: jnp.dtype, p: Scalar) -> Array:
    """m xi: a normal number with probability p, else 0."""
    count = shape[0] * shape[1] * shape[2]
    xi = prng.normal(prng.fold_in(key, jnp.uint32(0)), count, dtype)
    uniform = (prng.bits(prng.fold_in(key, jnp.uint32(1)), count) >> 8).astype(dtype) * 2**-24
    return jnp.where(uniform < p, xi, 0).reshape(shape)


def _moment(a: Array, b: Array | None = None) -> Array:
    """Sum of a^T b over all rows, (n, n); b is a if None."""
    rows = a.reshape(-1, a.shape[-1])
    return rows.T @ (rows if b is None else b.reshape(-1, b.shape[-1]))


def _each(credit: Array, slope: Array, back: Array) -> Array:
    """delta_{t,j} as (S, S, B, n), j first: what the error of step t alone amounts to at step j; 0 where t < j."""
    steps = len(credit)

    def step(delta: Array, at: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        j, c, slope_j = at
        delta = (delta @ back).at[j].set(c) * slope_j
        return delta, delta

    start = jnp.zeros_like(credit)
    return jax.lax.scan(step, start, (jnp.arange(steps), credit, slope), reverse=True, unroll=steps <= 16)[1]
