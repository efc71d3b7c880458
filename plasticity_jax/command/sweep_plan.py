"""The plan of a sweep: points times seeds as lanes, in as few programs as possible.

A field that only enters arithmetic (a rate, a leak, a noise level) can be traced: all its values are lanes of one
program. A field that determines shapes or branches in Python is static: it needs a program for each of its values.
"""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.command.errors import CliError, one_line
from plasticity_jax.command.guards import check_parts
from plasticity_jax.run.experiment import Experiment
from plasticity_jax.run.fields import kind_of
from plasticity_jax.run.grid import Grid
from plasticity_jax.typing import PyTree

MOST_TRIED = 8
"""Most programs that are traced to find the static fields; of more programs, only the first and the last are."""


class Programme(NamedTuple):
    """The points of a sweep that run as one program for each part.

    Attributes:
      config: the Config of the first point.
      points: indices of the points in the grid's order.
      static: the values of the static fields, which the points share.
    """

    config: Any
    points: tuple[int, ...]
    static: Mapping[str, Any]


class Plan(NamedTuple):
    """The programs that a sweep will run, with their points.

    Attributes:
      grid: points times seeds.
      values: for each point, the value of every field, with the type that the Config takes.
      traced: names of the fields whose values are lanes of one program.
      static: names of the fields that need a program for each value, with the reasons.
      programmes: the programs.
    """

    grid: Grid
    values: list[dict[str, Any]]
    traced: tuple[str, ...]
    static: Mapping[str, str]
    programmes: tuple[Programme, ...]


def plan(experiment: Experiment, config: Any, grid: Grid) -> Plan:
    """Finds the fields that can be traced, and groups the points of a grid by the values of the other fields.

    Args:
      experiment: the experiment to sweep.
      config: a Config with the values of the fields that do not vary.
      grid: the values of the fields that vary.

    Raises:
      CliError: if the Config refuses a point.
    """
    kinds = {name: kind_of(config, name) for name in grid.fields}
    values = [{name: _as(kinds[name], value) for name, value in point.items()} for point in grid.points()]
    configs = []
    for point in values:
        try:
            configs.append(dataclasses.replace(config, **point))
            experiment.check(configs[-1])
        except ValueError as error:
            raise CliError(f"bad point {words(point)}: {one_line(error)}") from error
    # An integer is not traced: int32 overflows, and divides differently from Python.
    static = {
        name: "it is an integer" if kind is int else "it is no number"
        for name, kind in kinds.items()
        if kind is not float
    }
    traced: list[str] = []
    for name in [name for name in kinds if name not in static]:
        programmes = _grouped(values, configs, static)
        chosen = programmes if len(programmes) <= MOST_TRIED else [programmes[0], programmes[-1]]
        extremes = [_extremes(name, [configs[i] for i in programme.points]) for programme in chosen]
        reasons = (_why_static(experiment, ends, [*traced, name]) for ends in extremes)
        reason = next((reason for reason in reasons if reason), None)
        if reason:
            static[name] = reason
        else:
            traced.append(name)
    programmes = _grouped(values, configs, static)
    _check_axes(experiment, programmes, grid.seeds)
    return Plan(grid, values, tuple(traced), static, tuple(programmes))


def plan_text(planned: Plan, parts: int) -> str:
    """The plan in words: numbers of lanes, traced and static fields, and programs."""
    shape, points = " x ".join(map(str, planned.grid.shape)), math.prod(planned.grid.shape)
    lines = [f"{shape} points x {planned.grid.seeds} seeds = {points * planned.grid.seeds} lanes"]
    if planned.traced:
        lines.append(f"traced, as lanes of one program: {', '.join(planned.traced)}")
    lines += [f"static, a program for each value: {name} ({why})" for name, why in planned.static.items()]
    count = len(planned.programmes)
    lines.append(f"{count} program{'s' * (count > 1)}, of {parts} part{'s' * (parts > 1)} each")
    return "\n".join(lines)


def with_fields(config: Any, values: Mapping[str, Any]) -> Any:
    """A Config with other values in some of its fields; they may be traced, and are not checked again."""
    changed = object.__new__(type(config))  # not a copy, which would keep the values of cached properties
    for field in dataclasses.fields(config):
        object.__setattr__(changed, field.name, values.get(field.name, getattr(config, field.name)))
    return changed


def in_default_precision(numbers: Any) -> jax.Array:
    """An array of floats, or of integers, in JAX's default precision."""
    kind = float if np.asarray(numbers).dtype.kind == "f" else int
    return jnp.asarray(numbers, jnp.zeros((), kind).dtype)


def _grouped(values: Sequence[Mapping[str, Any]], configs: Sequence[Any], static: Iterable[str]) -> list[Programme]:
    """The programs, each with the points that share the values of the static fields."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, point in enumerate(values):
        groups.setdefault(tuple(point[name] for name in static), []).append(i)
    return [
        Programme(configs[points[0]], tuple(points), dict(zip(static, shared, strict=True)))
        for shared, points in groups.items()
    ]


def _extremes(name: str, configs: Sequence[Any]) -> tuple[Any, Any]:
    """The Config with a field's least value, and the same Config with its greatest value."""
    greatest = max(getattr(config, name) for config in configs)
    least = min(configs, key=lambda config: getattr(config, name))
    return least, with_fields(least, {name: greatest})


def _why_static(experiment: Experiment, configs: tuple[Any, Any], names: Sequence[str]) -> str | None:
    """The reason why the last of the named fields cannot be traced together with the others; None if it can.

    A field is traced if the program can be built without its value. If the program does not read the traced value, it
    must be the same for both Configs, since Python may use a number in ways that tracing does not show (as text, or in
    a branch on its type). If it is also read in arithmetic, such use goes unnoticed.
    """

    def chunks(config: Any) -> PyTree:
        parts = experiment.parts(config)
        sizes.append({part: tuple(map(int, program[2:5])) for part, program in parts.items()})  # int: not traced
        return {part: program.chunk(program.init(jax.random.key(0))) for part, program in parts.items()}

    def trace(values: Mapping[str, Any]) -> tuple[Any, PyTree]:
        return jax.make_jaxpr(lambda values: chunks(with_fields(configs[0], values)), return_shape=True)(values)

    sizes: list[Any] = []
    usual = [jax.make_jaxpr(lambda config=config: chunks(config), return_shape=True)() for config in configs]
    try:
        numbers = {name: in_default_precision(getattr(configs[0], name)) for name in names}
        jaxpr, shapes = trace(numbers)
    except Exception as error:  # Python code may raise anything if a number that it needs is traced
        kind = type(error).__name__.replace("Tracer", "").replace("ConversionError", "")
        reasons = {"Bool": "it decides what is built", "Integer": "it is a size", "Array": "NumPy reads it"}
        return reasons.get(kind, "it decides on shapes, or on what is built")
    forms = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (shapes, usual[0][1], usual[1][1])]
    if not (forms[0] == forms[1] == forms[2] and sizes[0] == sizes[1] == sizes[2]):
        return "shapes or precisions change with it"
    variable = jaxpr.jaxpr.invars[sorted(numbers).index(names[-1])]
    is_read = any(variable is atom for eqn in jaxpr.jaxpr.eqns for atom in eqn.invars)
    is_read = is_read or any(variable is atom for atom in jaxpr.jaxpr.outvars)
    if not is_read and str(usual[0][0]) != str(usual[1][0]):
        return "Python makes something else of it than a number"
    return None


def _check_axes(experiment: Experiment, programmes: Sequence[Programme], seeds: int) -> None:
    """Traces every program before any of them runs, and checks the axes of its metrics and its memory.

    Raises:
      RunError: if the states of so many lanes do not fit.
      CliError: if a metric has different axes in two programs, which a record cannot hold.
    """
    axes: dict[str, int] = {}
    for programme in programmes:
        parts = experiment.parts(programme.config)
        check_parts(parts, len(programme.points) * seeds)
        for part, program in parts.items():
            shapes = jax.eval_shape(lambda program=program: program.chunk(program.init(jax.random.key(0))))[1]
            for metric, leaf in shapes.items():
                if axes.setdefault(f"{part}/{metric}", leaf.ndim) != leaf.ndim:
                    at = words(programme.static)
                    raise CliError(
                        f"{part}/{metric} has other axes at {at} than before: vary that field in a sweep of its own"
                    )


def _as(kind: type, value: Any) -> Any:
    return round(value) if kind is int else kind(value)


def words(point: Mapping[str, Any]) -> str:
    """The fields of a point with their values, on one line."""
    return ", ".join(
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in point.items()
    )
