"""L7: a step of the rule against its equations, written again in plain NumPy."""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import numpy as np
import optax

from plasticity_jax.base import learner
from plasticity_jax.testing.equality import assert_close, at, distance, host, require, require_numbers
from plasticity_jax.testing.problem import Problem, compiled

TextbookStep: TypeAlias = Callable[[Any, Any, Any, Any, Mapping[str, float]], tuple[Any, Any, Any]]
"""``(params, traces, key, batch, coefficients) -> (params, traces, loss)`` on NumPy arrays, at a learning rate of 1."""


def sgd_one_is_the_textbook_step(rule: Problem, textbook: TextbookStep) -> None:
    """L7: in the middle of a run, where every trace is alive, at a step at which the rule teaches; and at the first."""
    tx = optax.sgd(1.0)
    # Not the defaults: some of these are equal by design and could hide each other's errors.
    coefficients = {name: value * 0.9 ** (i + 1) for i, (name, value) in enumerate(rule.case.coefficients.items())}
    step = compiled(learner(rule.case.make(**coefficients), tx).step)
    for t in (0, rule.lesson):
        state = rule.trial_states[0][t]._replace(opt_state=tx.init(rule.trial_states[0][t].params))
        batch = at(rule.batches(), t)
        after, info = step(state, batch)
        require_numbers(after, info.loss, f"after step {t}")
        key = jax.random.fold_in(state.key, state.step)
        params, traces, loss = textbook(host(state.params), host(state.traces), key, host(batch), coefficients)
        assert_close(after.params, params, message=f"after step {t}, params")
        assert_close(after.traces, traces, message=f"after step {t}, traces")
        near = np.abs(info.loss - loss) <= 1e-12 * np.abs(loss)
        require(near, f"at step {t}, the loss is {float(info.loss):.15g}, not {float(loss):.15g}")
    require(distance(params, host(state.params)) > 1e-3, "the textbook step changes nothing")
