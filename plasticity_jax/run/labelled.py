"""Records as xarray Datasets: every metric with its axes by name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from plasticity_jax.run.record import RunError

SUMMARY = "summary/"
"""Begins the names of what has no axis of seeds."""


def open_record(path: str | Path) -> Any:
    """The record of a run or a sweep, as an xarray Dataset.

    Args:
      path: the folder, which holds metrics.npz and meta.json.

    Returns:
      Variables are the metrics by "part/metric". A sweep's have its fields as dimensions, with their values as
      coordinates; then come "seed", "point", and others without a name of their own. A sweep's summary at each of its
      points is there as "summary/NAME". The attributes are those of meta.json.

    Raises:
      RunError: if the folder holds no finished run.
      ModuleNotFoundError: if xarray is not installed (``pip install "plasticity_jax[records]"``).
    """
    folder = Path(path)
    try:
        meta = json.loads((folder / "meta.json").read_text())
        with np.load(folder / "metrics.npz", allow_pickle=False) as file:
            metrics = {name: file[name] for name in file.files}
        plain_run = {"dims": ["seed"], "coords": {"seed": ["seed", list(range(meta["seeds"]))]}}
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{folder} holds no finished run or sweep ({error}): give the folder of its metrics.npz"
        ) from error
    found = dataset(metrics, meta.get("axes", plain_run))
    found.attrs |= {key: value for key, value in meta.items() if isinstance(value, str | int | float)}
    return found


def dataset(metrics: Mapping[str, np.ndarray], axes: Mapping[str, Any]) -> Any:
    """Arrays with named axes.

    Args:
      metrics: by name; those named "summary/..." have all leading axes but the last (the seeds).
      axes: "dims", the names of the leading axes of every metric, and "coords", ``[dimension, values]`` by name.

    Returns:
      An xarray Dataset. The axis that follows the leading ones is "point" where all metrics have as many points,
      otherwise "PART.point"; the axes after that, and all axes of a metric that lacks the leading ones, are named by
      the metric.
    """
    import xarray

    coords = {name: tuple(given) for name, given in axes["coords"].items()}
    lengths = {dim: len(values) for dim, values in coords.values()}
    leading = {name: axes["dims"][:-1] if name.startswith(SUMMARY) else axes["dims"] for name in metrics}
    for name, values in metrics.items():
        if np.shape(values)[: len(leading[name])] != tuple(lengths[dim] for dim in leading[name]):
            leading[name] = []
    points = {
        np.shape(v)[len(leading[name])]
        for name, v in metrics.items()
        if leading[name] and np.ndim(v) > len(leading[name])
    }
    variables = {}
    for name, values in metrics.items():
        dims, rest = list(leading[name]), range(np.ndim(values) - len(leading[name]))
        for axis in rest:
            is_point = axis == 0 and bool(dims)
            own = f"{name.rpartition('/')[0]}.point" if is_point else f"{name}.{axis}"
            label = "point" if is_point and len(points) == 1 else own
            length = np.shape(values)[len(dims)]
            dims.append(label if lengths.setdefault(label, length) == length else f"{name}.{axis}")
        variables[name] = (dims, values)
    return xarray.Dataset(variables, coords)
