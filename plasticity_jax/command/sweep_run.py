"""The run of a sweep: one program after another, and a record with labelled axes."""

import dataclasses
import re
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.command.engine import overrides
from plasticity_jax.command.errors import one_line
from plasticity_jax.command.sweep_plan import Plan, Programme, in_default_precision, with_fields, words
from plasticity_jax.run.experiment import Arrays, Experiment
from plasticity_jax.run.hosts import gathered, share
from plasticity_jax.run.labelled import SUMMARY
from plasticity_jax.run.loop import Cost, run
from plasticity_jax.run.program import Metrics, Program
from plasticity_jax.run.progress import say
from plasticity_jax.run.record import NOT_CODE, describe_run, write_json, write_npz
from plasticity_jax.run.sittings import merged
from plasticity_jax.typing import PyTree


class Work(NamedTuple):
    """One part of one program of a sweep, ready to run.

    Attributes:
      label: name in messages and checkpoints.
      programme: the points of the grid that it runs.
      part: index of the part.
      name: name of the part.
      program: the program to run.
      lanes: this host's share of the points times seeds.
    """

    label: str
    programme: Programme
    part: int
    name: str
    program: Program
    lanes: PyTree


def programs(experiment: Experiment, plan: Plan) -> Iterator[Work]:
    """Every part of every program of a plan, one after another."""
    for number, programme in enumerate(plan.programmes):
        lanes = share(_lanes([plan.values[i] for i in programme.points], plan.traced, plan.grid.seeds))
        for part, (name, program) in enumerate(experiment.parts(programme.config).items()):
            at = re.sub(r"[^\w.=,+-]", "", words(programme.static))
            label = f"{number:03d}.{at}.{name}" if len(plan.programmes) > 1 else name
            yield Work(label, programme, part, name, _lanewise(experiment, programme.config, name, program), lanes)


def run_sweep(
    experiment: Experiment,
    name: str,
    preset: str,
    config: Any,
    plan: Plan,
    folder: Path,
    *,
    resume: bool,
    save_every_s: float,
    sub_batch: int | None,
    progress: bool,
    report: Callable[[str, Cost], None],
) -> dict[str, np.ndarray] | None:
    """Runs all programs of a plan and writes the record.

    Args:
      experiment: the experiment to sweep.
      name: its id.
      preset: the preset that the config comes from.
      config: a Config with the values of the fields that do not vary.
      plan: the plan of the sweep.
      folder: the folder of the record and the checkpoints.
      resume: continue an interrupted sweep.
      save_every_s: seconds between checkpoints.
      sub_batch: see `plasticity_jax.run.sweep`.
      progress: show bars.
      report: called with the label and the cost of each part of each program once its first chunk is done.

    Returns:
      The summary at each point by name, with the grid's axes; None on hosts that do not write the record.

    Raises:
      RunError: see `plasticity_jax.run.run`.
    """
    start = time.perf_counter()
    pieces: list[dict[str, np.ndarray]] = []  # for each program its metrics, (points, seeds, ...)
    seconds, steps, sittings = 0.0, 0, {}
    for work in programs(experiment, plan):
        if work.part == 0:
            pieces.append({})
        outcome = run(
            work.program,
            work.lanes,
            name=work.label,
            out=folder / "checkpoints" / _host_folder(),
            resume=resume,
            progress=progress,
            save_every_s=save_every_s,
            config={
                "experiment": name,
                "title": experiment.title,
                **dataclasses.asdict(work.programme.config),
                "traced": list(plan.traced),
            },
            sub_batch=sub_batch,
            report=lambda cost, label=work.label: report(label, cost),
        )
        count = len(work.programme.points)
        for metric, array in gathered(outcome.metrics, count * plan.grid.seeds).items():
            pieces[-1][f"{work.name}/{metric}"] = array.reshape(count, plan.grid.seeds, *array.shape[1:])
        seconds += outcome.seconds
        steps += outcome.seed_steps
        sittings[work.label] = outcome.sittings
        del outcome
    if jax.process_index():
        return None
    metrics = _joined(plan, pieces)
    stacked = {metric: values.reshape(*plan.grid.shape, *values.shape[1:]) for metric, values in metrics.items()}
    settings = dataclasses.asdict(config)
    meta = {
        "experiment": name,
        "title": experiment.title,
        "preset": preset,
        "overrides": overrides(experiment, preset, settings),
        "axes": plan.grid.axes(),
        "traced": list(plan.traced),
        "static": dict(plan.static),
        **describe_run(seconds=seconds, seed_steps=steps, seeds=plan.grid.seeds, ignore=NOT_CODE),
        "this_sitting_seconds": round(time.perf_counter() - start, 3),
        "hosts": jax.process_count(),
        "sittings": merged(sittings),
    }
    for stale in ("meta.json", "summary.json"):  # an earlier sweep's, which would not describe the new numbers
        (folder / stale).unlink(missing_ok=True)
    write_npz(folder / "metrics.npz", stacked)  # saved even if the summary then fails
    write_json(folder / "config.json", settings)
    write_json(folder / "meta.json", meta)
    summary = _summarised(experiment, config, plan, pieces, progress)
    points = [
        {"at": at, "summary": {key: values.ravel()[i] for key, values in summary.items()}}
        for i, at in enumerate(plan.values)
    ]
    write_npz(folder / "metrics.npz", stacked | {f"{SUMMARY}{key}": values for key, values in summary.items()})
    write_json(folder / "summary.json", {"summary": {}, "claims": [], "points": points})
    return summary


def _lanewise(experiment: Experiment, config: Any, part: str, program: Program) -> Program:
    """A part's program with lanes ``{"key", "values"}``, in which "values" are those of the traced fields."""

    def at(values: Mapping[str, Any]) -> Program:
        return experiment.parts(with_fields(config, values))[part] if values else program

    def init(lane: PyTree) -> PyTree:
        return lane["values"], at(lane["values"]).init(lane["key"])

    def chunk(state: PyTree) -> tuple[PyTree, Metrics]:
        values, inner = state
        inner, metrics = at(values).chunk(inner)
        return (values, inner), metrics

    return program._replace(init=init, chunk=chunk, may_diverge=True)


def _lanes(values: Sequence[Mapping[str, Any]], traced: Sequence[str], seeds: int) -> dict[str, Any]:
    """All lanes of a program, seeds innermost, with the same keys at every point."""
    keys = jax.vmap(jax.random.key)(jnp.tile(jnp.arange(seeds), len(values)))
    columns = {name: np.repeat([point[name] for point in values], seeds) for name in traced}
    return {"key": keys, "values": {name: in_default_precision(column) for name, column in columns.items()}}


def _joined(plan: Plan, pieces: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Metrics of all points in the grid's order, (points, seeds, ...).

    Entries that a program lacks are NaN, whether its arrays are shorter or a metric is missing.
    """
    joined = {}
    for name in dict.fromkeys(name for piece in pieces for name in piece):
        shapes = {piece[name].shape[1:] for piece in pieces if name in piece}
        if len({len(shape) for shape in shapes}) > 1:
            raise AssertionError(f"{name} has other axes at some points, which the plan has not checked")
        whole = all(name in piece for piece in pieces) and len(shapes) == 1
        shape = tuple(max(lengths) for lengths in zip(*shapes, strict=True))
        dtype = next(piece[name].dtype for piece in pieces if name in piece)
        array = np.zeros((len(plan.values), *shape), dtype if whole or dtype.kind == "f" else float)
        if not whole:
            array[...] = np.nan
        for programme, piece in zip(plan.programmes, pieces, strict=True):
            if name in piece:
                index = tuple(slice(length) for length in piece[name].shape[1:])
                for i, values in zip(programme.points, piece[name], strict=True):
                    array[(i, *index)] = values
        joined[name] = array
    return joined


def _summarised(
    experiment: Experiment,
    config: Any,
    plan: Plan,
    pieces: Sequence[Mapping[str, np.ndarray]],
    progress: bool,
) -> dict[str, np.ndarray]:
    """The experiment's summary at each point, and the number of seeds that diverged there, with the grid's axes."""
    rows: list[Mapping[str, float]] = [{} for _ in plan.values]
    for programme, piece in zip(plan.programmes, pieces, strict=True):
        for k, i in enumerate(programme.points):
            metrics = {name: values[k] for name, values in piece.items()}
            steps = [values for name, values in metrics.items() if name.endswith("/bad_step")]
            bad = [(values >= 0).reshape(plan.grid.seeds, -1).any(1) for values in steps]
            lost = {"diverged": int(np.any(bad, axis=0).sum())} if bad else {}
            whole = dataclasses.replace(config, **plan.values[i])
            rows[i] = {**_summary(experiment, whole, metrics, plan.values[i], progress), **lost}
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: np.array([row.get(name, np.nan) for row in rows], float).reshape(plan.grid.shape) for name in names}


def _summary(
    experiment: Experiment, config: Any, metrics: Arrays, point: Mapping[str, Any], progress: bool
) -> Mapping[str, float]:
    """The summary at one point; if the experiment fails to make it, it is empty, with a warning on stderr."""
    try:
        if experiment.measure is not None:
            metrics = {**metrics, **experiment.measure(config, progress)}
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about seeds that diverged
            summary = experiment.summarise(metrics)
        return {name: float(value) for name, value in summary.items()}
    except Exception as error:
        say(f"warning: no summary at {words(point)}: {type(error).__name__}: {one_line(error)}")
        return {}


def _host_folder() -> str:
    return f"host{jax.process_index()}of{jax.process_count()}" if jax.process_count() > 1 else ""
