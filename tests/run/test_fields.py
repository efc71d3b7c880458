"""Ranges of a Config's fields, by their types and by the presets."""

import dataclasses
import math
from typing import Annotated

import pytest

from plasticity_jax.run import Range
from plasticity_jax.run.fields import check_fields


@dataclasses.dataclass(frozen=True)
class Config:
    seeds: int = 3
    warmup: int = 0
    bad_seed: int = -1
    rate: float = 0.1
    shift: float = -2.0
    leak: Annotated[float, Range(0.0, 1.0)] = 0.5
    widths: tuple[int, ...] = (8, 8)
    sizes: tuple[Annotated[int, Range(2, 5)], ...] = (2,)
    name: str = "add"
    label: str = ""
    is_on: bool = False


PRESETS = [Config(), Config(seeds=20, rate=1.0)]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"warmup": 0, "bad_seed": -1, "shift": -2.0, "rate": 0.0, "is_on": True},
        {"rate": 1e-29, "leak": 1.0, "sizes": (2, 5), "label": "", "widths": (1,)},
    ],
)
def test_values_in_range_are_accepted(fields):
    check_fields(Config(**fields), PRESETS)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"seeds": 0}, "seeds=0 must be at least 1"),
        ({"seeds": -1}, "seeds=-1 must be at least 1"),
        ({"seeds": 10**23}, "seeds=1" + "0" * 23 + " is too large"),
        ({"warmup": -1}, "warmup=-1 must be at least 0"),
        ({"bad_seed": -2}, "bad_seed=-2 must be at least -1"),
        ({"rate": -0.1}, "rate=-0.1 must be at least 0"),
        ({"rate": math.nan}, "rate=nan must be finite"),
        ({"rate": math.inf}, "rate=inf must be finite"),
        ({"rate": 1e-320}, "is too small"),
        ({"shift": -2.1}, "shift=-2.1 must be at least -2"),
        ({"leak": 1.1}, "leak=1.1 must be between 0 and 1"),
        ({"leak": -0.1}, "leak=-0.1 must be between 0 and 1"),
        ({"widths": ()}, "widths must not be empty"),
        ({"widths": (3, 0)}, "widths=0 must be at least 1"),
        ({"sizes": (2, 6)}, "sizes=6 must be between 2 and 5"),
        ({"name": ""}, "name must not be empty"),
    ],
)
def test_values_out_of_range_are_named(fields, message):
    with pytest.raises(ValueError) as error:
        check_fields(Config(**fields), PRESETS)
    assert message in str(error.value)
