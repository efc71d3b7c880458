"""L7: one step of `optax.sgd(1.0)` is the textbook step in plain NumPy; each family has a table of these."""

import pytest

from plasticity_jax.testing.textbook import sgd_one_is_the_textbook_step
from tests.laws import (
    textbook_adversarial,
    textbook_feedback,
    textbook_feedback_recurrent,
    textbook_generative,
    textbook_hebbian,
    textbook_meta,
    textbook_online,
    textbook_three_factor,
)

TABLES = {
    "textbook_online.py": textbook_online.TEXTBOOK,
    "textbook_meta.py": textbook_meta.TEXTBOOK,
    "textbook_feedback.py": textbook_feedback.TEXTBOOK,
    "textbook_feedback_recurrent.py": textbook_feedback_recurrent.TEXTBOOK,
    "textbook_hebbian.py": textbook_hebbian.TEXTBOOK,
    "textbook_generative.py": textbook_generative.TEXTBOOK,
    "textbook_adversarial.py": textbook_adversarial.TEXTBOOK,
    "textbook_three_factor.py": textbook_three_factor.TEXTBOOK,
}
TEXTBOOK = {name: step for table in TABLES.values() for name, step in table.items()}


def test_l7_sgd_one_is_the_textbook_step(rule):
    if rule.name not in TEXTBOOK:
        pytest.fail(
            f"{rule.name} has no textbook step: add, in NumPy, (params, traces, key, batch, coefficients) -> "
            "(params, traces, loss) under its name to TEXTBOOK in tests/laws/textbook_<family>.py, and a new file to "
            "TABLES in tests/laws/test_textbook.py"
        )
    sgd_one_is_the_textbook_step(rule, TEXTBOOK[rule.name])
