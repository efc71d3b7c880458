"""Values of ``--vary`` and ``--draw``, parsed by the type of the field."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from plasticity_jax.command.catalog import pick
from plasticity_jax.command.errors import CliError
from plasticity_jax.run.fields import kind_of

HELP = "use FIELD=1,2,3 or FIELD=low:high:count or FIELD=low:high:log:count"


def varied(words: Sequence[str], config: Any) -> dict[str, list[Any]]:
    """The values of every field that ``--vary`` names.

    Args:
      words: words of the form ``FIELD=VALUES``.
      config: the Config that has the fields.

    Raises:
      CliError: for an unknown field, a field that cannot be varied, or values that cannot be read.
    """
    values: dict[str, list[Any]] = {}
    for word in words:
        name, kind, text = _field(word, config, HELP)
        if name in values:
            raise CliError(f"--vary {name} is given twice: join its values with commas")
        listed = _range(text, kind) if ":" in text else [_value(each, kind, word) for each in text.split(",")]
        values[name] = list(dict.fromkeys(listed))
        if not values[name]:
            raise CliError(f"--vary {word} has no values; {HELP}")
    return values


def drawn(words: Sequence[str], config: Any) -> dict[str, tuple[Any, ...]]:
    """The range of every field that ``--draw`` names, as `plasticity_jax.run.grid.draws` takes it.

    Raises:
      CliError: in the same cases as `varied`.
    """
    usage = "use FIELD=low:high or FIELD=low:high:log"
    ranges: dict[str, tuple[Any, ...]] = {}
    for word in words:
        name, kind, text = _field(word, config, usage)
        low, *rest = text.split(":")
        if kind is str or len(rest) not in (1, 2) or rest[1:] not in ([], ["log"]):
            raise CliError(f"--draw {word} is no range; {usage}")
        ranges[name] = (_value(low, float, word), _value(rest[0], float, word), *rest[1:])
    return ranges


def _field(word: str, config: Any, usage: str) -> tuple[str, type, str]:
    """Name, type and text of ``NAME=TEXT``."""
    name, equals, text = word.partition("=")
    name = name.strip().lstrip("-").replace("-", "_")
    if not equals or not text:
        raise CliError(f"{word} has no values; {usage}")
    kinds = {field.name: kind_of(config, field.name) for field in dataclasses.fields(config)}
    pick("field", name, kinds)
    if name == "seeds" or kinds[name] not in (int, float, str):
        why = "seeds are an axis of their own: use --seeds N" if name == "seeds" else "only numbers and words can vary"
        raise CliError(f"{name} cannot be varied: {why}")
    return name, kinds[name], text.strip()


def _range(text: str, kind: type) -> list[Any]:
    """Values that ``low:high[:log]:count`` describes, equally spaced, or with equal ratios if "log" is given."""
    low, high, *rest = text.split(":")
    if kind is str or len(rest) not in (1, 2) or rest[:-1] not in ([], ["log"]):
        raise CliError(f"{text} is no range; {HELP}")
    first, last, count = _value(low, float, text), _value(high, float, text), _value(rest[-1], int, text)
    if count < 1 or (rest[0] == "log" and not 0 < first <= last):
        raise CliError(f"{text} is no range: count must be at least 1, and the ends of a log range positive; {HELP}")
    values = np.geomspace(first, last, count) if rest[0] == "log" else np.linspace(first, last, count)
    return [round(value) if kind is int else float(f"{value:.6g}") for value in values.tolist()]


def _value(text: str, kind: type, word: str) -> Any:
    try:
        return kind(text.strip())
    except ValueError:
        number = {int: "a whole number", float: "a number"}[kind]
        raise CliError(f"{text!r} in {word} is not {number}; {HELP}") from None
