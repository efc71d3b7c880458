"""Checks of the fields of an experiment's Config, by their types and by the values of its presets."""

import dataclasses
import math
import sys
from collections.abc import Iterable, Iterator
from numbers import Real
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

_MOST = 2**31 - 1


class Range(NamedTuple):
    """Bounds of a numeric field, both included, for `typing.Annotated`.

    Attributes:
      low: least value.
      high: greatest value.

    Example:
      >>> import dataclasses
      >>> @dataclasses.dataclass(frozen=True)
      ... class Config:
      ...     seeds: int = 3
      ...     leak: Annotated[float, Range(0.0, 1.0)] = 0.5
      >>> check_fields(Config(leak=2.0), [Config()])
      Traceback (most recent call last):
        ...
      ValueError: leak=2.0 must be between 0 and 1
    """

    low: float = -math.inf
    high: float = math.inf


def check_fields(config: Any, presets: Iterable[Any]) -> None:
    """Refuses values out of range.

    A field annotated with a `Range` must lie in it. Any other integer must be at least 1, and any other float at least
    0, unless a preset has a smaller value; then the least of the presets' values is allowed. Floats must be finite and
    not denormal. Tuples and strings must not be empty, unless a preset's value is.

    Args:
      config: a dataclass.
      presets: the experiment's other Configs.

    Raises:
      ValueError: the message names the field and its range.
    """
    presets = list(presets)
    hints = _hints(config)
    for field in dataclasses.fields(config):
        value, usual = getattr(config, field.name), [getattr(preset, field.name) for preset in presets]
        if isinstance(value, tuple | list | str) and not value and all(usual):
            raise ValueError(f"{field.name} must not be empty")
        numbers, likes = list(_numbers(value)), [n for each in usual for n in _numbers(each)]
        is_float = any(isinstance(n, float) for n in numbers + likes) or kind_of(config, field.name) is float
        allowed = _range_in(hints.get(field.name)) or _usual_range(is_float, likes)
        for number in numbers:
            _check(field.name, number, allowed)


def kind_of(config: Any, name: str) -> type:
    """The type of a field's values: float if its hint is float, even if the value is written as an integer."""
    hint = _hints(config).get(name)
    hint = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
    value = getattr(config, name)
    return float if float in kinds and _is_number(value) else type(value)


def _hints(config: Any) -> dict[str, Any]:
    """The type hints of a Config's fields; none if they contain names that only a type checker imports."""
    try:
        return get_type_hints(type(config), include_extras=True)
    except NameError:
        return {}


def _check(name: str, value: float, allowed: Range) -> None:
    if not isinstance(value, int) and not math.isfinite(value):
        raise ValueError(f"{name}={value} must be finite")
    if not isinstance(value, int) and 0 < abs(value) < 1e-30:  # in float32 it is 0, or soon becomes 0
        raise ValueError(f"{name}={value} is too small; use 0 or more than 1e-30")
    low, high = allowed
    if isinstance(value, int):
        high = min(high, _MOST)  # larger numbers overflow on the device
    if low <= value <= high:
        return
    if high in (math.inf, sys.float_info.max, _MOST):
        raise ValueError(f"{name}={value} must be at least {low:g}" if value < low else f"{name}={value} is too large")
    raise ValueError(f"{name}={value} must be between {low:g} and {high:g}")


def _usual_range(is_float: bool, usual: list[float]) -> Range:
    """The range of a field without a `Range`, from the presets' values."""
    if not is_float:
        return Range(min([1, *usual]), _MOST)
    return Range(min([0.0, *usual]), sys.float_info.max)


def _range_in(hint: Any) -> Range | None:
    if get_origin(hint) is Annotated:
        return next((each for each in get_args(hint) if isinstance(each, Range)), None)
    return next((allowed for each in get_args(hint) if (allowed := _range_in(each))), None)


def _numbers(value: Any) -> Iterator[float]:
    if _is_number(value):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _numbers(each)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
