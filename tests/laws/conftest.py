"""Every law runs for every rule, and a rule's laws run together, so that they share what they compile."""

import pytest

from tests.laws.common import NAMES, Problem, problem


@pytest.fixture(scope="session", params=NAMES)
def rule(request: pytest.FixtureRequest) -> Problem:
    return problem(request.param)
