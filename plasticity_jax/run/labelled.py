"""Records as xarray Datasets, in which every axis of a metric has a name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from plasticity_jax.run.record import RunError

SUMMARY = "summary/"
"""Prefix of the names of numbers without an axis of seeds."""


def open_record(path: str | Path) -> Any:
    """The record of a run or a sweep, as an xarray Dataset.

    Args:
      path: the folder with metrics.npz and meta.json.

    Returns:
      A Dataset with the metrics as variables, by "part/metric". The dimensions of a sweep are its fields, with their
      values as coordinates, followed by "seed", "point", and dimensions named by the metric. The summary at each point
      of a sweep is the variable "summary/NAME". The attributes are those of meta.json.

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
    record = dataset(metrics, meta.get("axes", plain_run))
    record.attrs |= {key: value for key, value in meta.items() if isinstance(value, str | int | float)}
    return record


def dataset(metrics: Mapping[str, np.ndarray], axes: Mapping[str, Any]) -> Any:
    """Arrays with named axes.

    Args:
      metrics: arrays by name; those named "summary/..." have all leading axes except the last (the seeds).
      axes: "dims", the names of the leading axes of every metric, and "coords", ``[dimension, values]`` by name.

    Returns:
      An xarray Dataset. The axis after the leading ones is "point" if all metrics have the same number of points, and
      otherwise "PART.point". Further axes, and all axes of a metric that lacks the leading ones, are named after the
      metric.
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
