r"""The recurrent rule in the code of Lansdell, Prakash & Kording (2020), which departs from their equations.

For each pair of steps it correlates the error with the noise of the error's own step:

    lam_{t,j} = (L~^t - L^t) zeta^j / sigma^2
    updates of B: sum_{j <= t} delta_{t,j}^T (delta_{t,j} B - lam_{t,j}) / batch

The solution is about p diag(1 / phi'), not W (`plasticity_jax.rules.feedback.recurrent_node_perturbation`).
"""

import jax
import jax.numpy as jnp

from plasticity_jax.base import READY, Info, LearningRule
from plasticity_jax.cells.neurons import Neurons
from plasticity_jax.cells.window import (
    answers,
    carry_back,
    gradients,
    noisy_readout_input,
    run_window,
    sums_credit,
    time_first,
    window_report,
)
from plasticity_jax.ops.sums import RunningSum, add
from plasticity_jax.rules.feedback.recurrent_node_perturbation import (
    RecurrentNodePerturbationTraces,
    cross_moment,
    recurrent_node_perturbation,
    ridge_solution,
    second_moment,
    sparse_noise,
)
from plasticity_jax.typing import Array, Example, Key, Params, Scalar, Updates


def own_step_perturbation(
    cell: Neurons,
    *,
    sigma: Scalar,
    p: Scalar,
    ridge: Scalar | None = None,
    clip: Scalar | None = None,
    warm_up: int = 0,
) -> LearningRule:
    """The authors' recurrent node perturbation, whose cost is O(S^2) in the window S.

    Args:
      cell: a network of neurons with all connections.
      sigma: standard deviation of the noise of a perturbed neuron.
      p: probability that a neuron is perturbed at a step.
      ridge: added to the diagonal of the second moment; B becomes the solution at each window. None: B learns by SGD.
      clip: bound of each entry of B's updates by SGD; None is no bound.
      warm_up: windows in which only B is learned.

    Returns:
      A rule with the weights, traces and batches of `recurrent_node_perturbation`.
    """
    init = recurrent_node_perturbation(cell, estimator="sgd" if ridge is None else "ridge").init

    def update(
        params: Params, traces: RecurrentNodePerturbationTraces, key: Key, batch: Example
    ) -> tuple[Updates, RecurrentNodePerturbationTraces, Info]:
        example, w_back = time_first(batch), params["feedback"]["w_back"]
        window = run_window(cell, params, traces.state, example)
        unit = sparse_noise(key, (*example.x.shape[:2], cell.n), w_back.dtype, p)  # zeta / sigma
        noisy = noisy_readout_input(cell, params, traces.state, example, sigma * unit)
        loss_rise = answers(cell, params["forward"]["w_out"], noisy, example)[1] - window.loss

        def carried(credit: Array) -> Array:
            return carry_back(cell, {"w": w_back}, window.local, credit)

        def delta(credit: Array) -> Array:
            return sums_credit(cell, window.local, carried(credit))

        q = window.credit
        each = jnp.eye(len(q), dtype=q.dtype)[:, :, None, None, None] * q[None]  # the loss of step t alone, t first
        second_now = second_moment(jax.vmap(delta)(each))
        cross_now = cross_moment(delta(loss_rise[..., None, None] * q), unit) / sigma

        back, steps = w_back.reshape(-1, cell.n), traces.steps + 1
        after = traces._replace(state=window.s[-1], steps=steps)
        if ridge is None:
            change = (second_now @ back - cross_now) / len(batch.x)
            change = change if clip is None else jnp.clip(change, -clip, clip)
        else:
            assert isinstance(traces.second, RunningSum)
            assert isinstance(traces.cross, RunningSum)
            second, cross = add(traces.second, second_now), add(traces.cross, cross_now)
            after = after._replace(second=second, cross=cross)
            change = back - ridge_solution(second.total, cross.total, ridge)
        gradient = gradients(cell, params, window, carried(q))
        loss, aux = window_report(window)
        updates = {"forward": gradient, "feedback": {"w_back": change.reshape(w_back.shape)}}
        return updates, after, Info(loss, {"forward": steps > warm_up} if warm_up else READY, aux)

    return LearningRule(init, update)
