"""L7: one step of `optax.sgd(1.0)` is the textbook step, which the tables write in plain NumPy, one for each family."""

import jax
import numpy as np
import optax
import pytest

from plasticity_jax.base import learner
from tests.laws import (
    textbook_adversarial,
    textbook_feedback,
    textbook_feedback_recurrent,
    textbook_generative,
    textbook_hebbian,
    textbook_meta,
    textbook_online,
)
from tests.laws.common import assert_close, at, compiled, distance, host

TABLES = {
    "textbook_online.py": textbook_online.TEXTBOOK,
    "textbook_meta.py": textbook_meta.TEXTBOOK,
    "textbook_feedback.py": textbook_feedback.TEXTBOOK,
    "textbook_feedback_recurrent.py": textbook_feedback_recurrent.TEXTBOOK,
    "textbook_hebbian.py": textbook_hebbian.TEXTBOOK,
    "textbook_generative.py": textbook_generative.TEXTBOOK,
    "textbook_adversarial.py": textbook_adversarial.TEXTBOOK,
}
TEXTBOOK = {name: step for table in TABLES.values() for name, step in table.items()}


def test_l7_sgd_one_is_the_textbook_step(rule):
    """In the middle of a run, where every trace is alive, and at a step at which the rule teaches; and at the first."""
    if rule.name not in TEXTBOOK:
        pytest.fail(
            f"{rule.name} has no textbook step: add, in NumPy, (params, traces, key, batch, coefficients) -> "
            "(params, traces, loss) under its name to TEXTBOOK in tests/laws/textbook_<family>.py, and a new file to "
            "TABLES in tests/laws/test_textbook.py"
        )
    tx = optax.sgd(1.0)
    # Off the defaults, among which some agree by design and would cover for each other.
    coefficients = {name: value * 0.9 ** (i + 1) for i, (name, value) in enumerate(rule.case.coefficients.items())}
    step = compiled(learner(rule.case.make(**coefficients), tx).step)
    for t in (0, rule.lesson):
        state = rule.walk[0][t]._replace(opt_state=tx.init(rule.walk[0][t].params))
        batch = at(rule.batches(), t)
        after, info = step(state, batch)
        params, traces, loss = TEXTBOOK[rule.name](
            host(state.params),
            host(state.traces),
            jax.random.fold_in(state.key, state.step),
            host(batch),
            coefficients,
        )
        assert_close(after.params, params, message=f"params after step {t}")
        assert_close(after.traces, traces, message=f"traces after step {t}")
        np.testing.assert_allclose(info.loss, loss, rtol=1e-12)
    assert distance(params, host(state.params)) > 1e-3, "the step changes nothing"
