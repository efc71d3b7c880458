"""Every law runs for every rule; a rule's laws run together and share their compiled programs."""

import pytest

from tests.laws.common import NAMES, Problem, problem


@pytest.fixture(scope="session", params=NAMES)
def rule(request: pytest.FixtureRequest) -> Problem:
    return problem(request.param)
