"""The plan of a sweep: its fields times seeds, as few programs as there are static shapes.

A field that only enters arithmetic (a rate, a leak, a noise level) can be traced: all its values are lanes of one
program. A field on which shapes or Python's decisions depend needs a program for each of its values.
"""

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.command.catalog import CliError, one_line
from plasticity_jax.run.experiment import Experiment
from plasticity_jax.run.grid import Grid
from plasticity_jax.typing import PyTree


class Programme(NamedTuple):
    """The points of a sweep that run as one program for each part.

    Attributes:
      config: the Config of the first of them.
      points: their places in the grid's order.
      static: the values of the static fields, which they share.
    """

    config: Any
    points: tuple[int, ...]
    static: Mapping[str, Any]


class Plan(NamedTuple):
    """What a sweep will do.

    Attributes:
      grid: points times seeds.
      values: of every field, point by point, as the Config takes them.
      traced: fields that are lanes of one program.
      static: fields that need a program for each value, and why.
      programmes: the programs.
    """

    grid: Grid
    values: list[dict[str, Any]]
    traced: tuple[str, ...]
    static: Mapping[str, str]
    programmes: tuple[Programme, ...]


def plan(experiment: Experiment, config: Any, grid: Grid) -> Plan:
    """Finds out which fields can be traced, and groups the points of a grid by the values of the others.

    Args:
      experiment: what is swept.
      config: the fields that do not vary.
      grid: the others.

    Raises:
      CliError: if the Config refuses a point.
    """
    kinds = {name: type(getattr(config, name)) for name in grid.fields}
    values = [{name: _as(kinds[name], value) for name, value in point.items()} for point in grid.points()]
    configs = []
    for point in values:
        try:
            configs.append(dataclasses.replace(config, **point))
            experiment.check(configs[-1])
        except ValueError as error:
            raise CliError(f"bad point {words(point)}: {one_line(error)}") from error
    traced, static = [], {}
    for name, kind in kinds.items():
        why = "it is no number" if kind is str else _why_static(experiment, configs[0], [*traced, name])
        if why:
            static[name] = why
        else:
            traced.append(name)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, point in enumerate(values):
        groups.setdefault(tuple(point[name] for name in static), []).append(i)
    programmes = [
        Programme(configs[points[0]], tuple(points), dict(zip(static, shared, strict=True)))
        for shared, points in groups.items()
    ]
    return Plan(grid, values, tuple(traced), static, tuple(programmes))


def plan_text(found: Plan, parts: int) -> str:
    """What a sweep will do, in lines."""
    shape, points = " x ".join(map(str, found.grid.shape)), math.prod(found.grid.shape)
    lines = [f"{shape} points x {found.grid.seeds} seeds = {points * found.grid.seeds} lanes"]
    if found.traced:
        lines.append(f"traced, as lanes of one program: {', '.join(found.traced)}")
    lines += [f"static, a program for each value: {name} ({why})" for name, why in found.static.items()]
    count = len(found.programmes)
    lines.append(f"{count} program{'s' * (count > 1)}, of {parts} part{'s' * (parts > 1)} each")
    return "\n".join(lines)


def with_fields(config: Any, values: Mapping[str, Any]) -> Any:
    """A Config with other, maybe traced, values in some of its fields; they are not checked anew."""
    changed = copy.copy(config)
    for name, value in values.items():
        object.__setattr__(changed, name, value)
    return changed


def in_default_precision(numbers: Any) -> jax.Array:
    """Floats, or integers, as an array of JAX's default precision."""
    kind = float if np.asarray(numbers).dtype.kind == "f" else int
    return jnp.asarray(numbers, jnp.zeros((), kind).dtype)


def _why_static(experiment: Experiment, config: Any, names: Sequence[str]) -> str | None:
    """Why the last of these fields cannot be traced beside the others; None if it can."""

    def shapes(values: Mapping[str, Any]) -> PyTree:
        key = jax.random.key(0)
        parts = experiment.parts(with_fields(config, values))
        sizes.append({part: tuple(map(int, program[2:5])) for part, program in parts.items()})  # int: not traced
        return {part: program.chunk(program.init(key)) for part, program in parts.items()}

    sizes: list[Any] = []
    concrete = {name: getattr(config, name) for name in names}
    usual = jax.eval_shape(lambda: shapes(concrete))
    try:
        traced = jax.eval_shape(shapes, {name: in_default_precision(value) for name, value in concrete.items()})
    except Exception as error:  # whatever a number's place in Python code may raise when it is not known
        kind = type(error).__name__.replace("Tracer", "").replace("ConversionError", "")
        known = {"Bool": "it decides what is built", "Integer": "it is a size", "Array": "NumPy reads it"}
        return known.get(kind, "it decides on shapes, or on what is built")
    same = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), usual) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), traced
    )
    return None if same and sizes[0] == sizes[1] else "shapes or precisions change with it"


def _as(kind: type, value: Any) -> Any:
    return round(value) if kind is int else kind(value)


def words(point: Mapping[str, Any]) -> str:
    """The fields of a point and their values, on one line."""
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in point.items()
    )
