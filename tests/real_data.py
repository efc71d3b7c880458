"""Real data sets for tests, which skip with a reason where a set is missing, and fail under CI."""

import os

import pytest

from plasticity_jax.data import MissingData, load


def real(name, split="test"):
    try:
        return load(name, split)
    except MissingData as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI needs its data sets: {error}")
        pytest.skip(str(error))
