"""Settings times seeds as the lanes of a sweep, and the conversion of lanes back to labelled axes."""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.run.labelled import dataset
from plasticity_jax.typing import Array, Key, PyTree


@dataclasses.dataclass(frozen=True)
class Grid:
    """Points times seeds; each point has a value for every field. Build one with `grid` or `draws`.

    Attributes:
      fields: ``(dimension, values)`` by the field's name; fields of one dimension vary together.
      seeds: number of seeds, the same at every point.

    Example:
      >>> import jax
      >>> from plasticity_jax.run import sweep
      >>> def train(lane):
      ...     noise = jax.random.normal(lane["key"], (50,))
      ...     return {"loss": (1 - lane["rate"]) ** jnp.arange(50) * lane["scale"] + 0 * noise}
      >>> points = grid({"rate": [0.1, 0.2, 0.4], "scale": [1.0, 2.0]}, seeds=5)
      >>> metrics = points.stacked(sweep(train)(points.lanes))
      >>> metrics["loss"].shape  # rates, scales, seeds, steps
      (3, 2, 5, 50)
      >>> [round(loss, 3) for loss in metrics["loss"][:, 0, :, 9].mean(-1).tolist()]
      [0.387, 0.134, 0.01]
    """

    fields: Mapping[str, tuple[str, np.ndarray]]
    seeds: int

    @property
    def dims(self) -> dict[str, int]:
        """Lengths of the dimensions by name, without the seeds, in the order of the fields."""
        return {dim: len(values) for dim, values in self.fields.values()}

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the dimensions, without the seeds."""
        return tuple(self.dims.values())

    @property
    def lanes(self) -> dict[str, Array]:
        """All points times all seeds: ``{"key": (lanes,), field: (lanes,), ...}``, seeds innermost.

        The keys are those of the seeds 0, 1, ..., and the same at every point, so that points are paired.

        Raises:
          ValueError: if a field holds strings, or integers that JAX's default precision cannot hold.
        """
        for name, (_, values) in self.fields.items():
            if values.dtype.kind not in "fiub":
                raise ValueError(f"{name} has values that are no numbers: make a sweep for each of them")
            if (np.asarray(jnp.asarray(values)) != values).any() and values.dtype.kind in "iu":
                raise ValueError(f"{name} has integers that JAX's default precision does not hold: give them as floats")
        count = math.prod(self.shape)
        keys = jax.vmap(jax.random.key)(jnp.tile(jnp.arange(self.seeds), count))
        indices = dict(zip(self.dims, np.indices(self.shape).reshape(len(self.shape), -1), strict=True))
        columns = {name: values[indices[dim]].repeat(self.seeds) for name, (dim, values) in self.fields.items()}
        return {"key": keys} | {name: jnp.asarray(column) for name, column in columns.items()}

    def points(self) -> Iterator[dict[str, Any]]:
        """The value of every field at each point, in the order of the lanes."""
        for index in np.ndindex(self.shape):
            at = dict(zip(self.dims, index, strict=True))
            yield {name: values[at[dim]].item() for name, (dim, values) in self.fields.items()}

    def stacked(self, lanes: PyTree) -> PyTree:
        """Results of the lanes with separate axes: leaves (lanes, ...) become (dimensions..., seeds, ...)."""
        return jax.tree.map(lambda leaf: leaf.reshape(*self.shape, self.seeds, *leaf.shape[1:]), lanes)

    def dataset(self, metrics: Mapping[str, Any]) -> Any:
        """Metrics of the lanes, (lanes, ...) each, as an xarray Dataset with labelled axes."""
        stacked = {name: np.asarray(values) for name, values in self.stacked(dict(metrics)).items()}
        return dataset(stacked, self.axes())

    def axes(self) -> dict[str, Any]:
        """The axes that lead every metric, as `plasticity_jax.run.labelled.dataset` takes them."""
        coords = {name: [dim, values.tolist()] for name, (dim, values) in self.fields.items()}
        return {"dims": [*self.dims, "seed"], "coords": coords | {"seed": ["seed", list(range(self.seeds))]}}


def grid(fields: Mapping[str, Any], *, seeds: int) -> Grid:
    """Every combination of the fields' values, times seeds.

    Args:
      fields: for each field, by name, a list of values; every field is a dimension of its own.
      seeds: number of seeds, at least 1.

    Returns:
      A `Grid`: pass its ``lanes`` to `sweep`, and the results to its ``stacked`` or ``dataset``.

    Raises:
      ValueError: if there is no field, a field has no list of values, or `seeds` is not positive.
    """
    columns = {name: (name, _column(name, values)) for name, values in fields.items()}
    return _checked(columns, seeds)


def draws(ranges: Mapping[str, Sequence[Any]], *, count: int, seeds: int, key: Key) -> Grid:
    """Random points, times seeds: one dimension "draw", along which all fields vary together.

    Args:
      ranges: ``(low, high)`` for each field, drawn uniformly, or ``(low, high, "log")``, uniform in the logarithm.
      count: number of points, at least 1.
      seeds: number of seeds, at least 1.
      key: random key of the draws.

    Raises:
      ValueError: if a range is malformed, or `count` or `seeds` is not positive.

    Example:
      >>> points = draws({"rate": (1e-3, 1e-1, "log"), "leak": (0.2, 1.0)}, count=50, seeds=2, key=jax.random.key(0))
      >>> points.lanes["rate"].shape, bool((points.lanes["rate"] < 1e-2).mean() > 0.3)
      ((100,), True)
    """
    if count < 1:
        raise ValueError(f"count={count} must be at least 1")
    columns = {}
    for i, (name, given) in enumerate(ranges.items()):
        low, high, *log = given
        if not low < high or (log not in ([], ["log"])) or (log and low <= 0):
            raise ValueError(f'{name}={given} is no range: use (low, high), or (low, high, "log") of positive numbers')
        u = np.asarray(jax.random.uniform(jax.random.fold_in(key, i), (count,)), float)
        columns[name] = ("draw", low * (high / low) ** u if log else low + (high - low) * u)
    return _checked(columns, seeds)


def _column(name: str, values: Any) -> np.ndarray:
    column = np.asarray(values)
    if column.ndim != 1 or not len(column):
        raise ValueError(f"{name} needs a list of values, got {values!r}")
    return column


def _checked(columns: Mapping[str, tuple[str, np.ndarray]], seeds: int) -> Grid:
    if not columns:
        raise ValueError("a grid needs a field at least")
    for reserved in ("key", "seed", "draw"):
        if reserved in columns:
            raise ValueError(f"a field cannot be called {reserved}, because the lanes have that name already")
    if seeds < 1:
        raise ValueError(f"seeds={seeds} must be at least 1")
    return Grid(columns, seeds)
