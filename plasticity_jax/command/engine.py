"""One run of an experiment: its parts, measurements, summary, claims, figures and record."""

import dataclasses
import importlib.util
import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.command.errors import CliError, bad_values, missing
from plasticity_jax.command.figures import draw, metrics_shown
from plasticity_jax.command.guards import check_parts, check_writable
from plasticity_jax.run.claims import checked
from plasticity_jax.run.divergence import Divergence, divergences
from plasticity_jax.run.experiment import Arrays, Experiment
from plasticity_jax.run.loop import run
from plasticity_jax.run.record import (
    NOT_CODE,
    describe_run,
    plain,
    unwritable,
    write_json,
    write_npz,
    write_record,
)
from plasticity_jax.run.sittings import merged

RECORDED = ("config.json", "meta.json", "summary.json")
SHOWN = ("png", "gif", "md")


class Result(NamedTuple):
    """The result of an experiment's run.

    Attributes:
      folder: the folder of its files.
      summary: numbers by name, as in summary.json.
      claims: the claims' rows, as in summary.json.
      metrics: arrays by "part/metric", (seeds, points, ...).
      diverged: the lanes that diverged, except those of programs that may.
    """

    folder: Path
    summary: Mapping[str, float]
    claims: list[dict[str, Any]]
    metrics: Arrays
    diverged: list[Divergence]


def run_experiment(
    experiment: Experiment,
    name: str,
    preset: str,
    config: Any,
    folder: Path,
    *,
    resume: bool,
    save_every_s: float,
    sub_batch: int | None = None,
    progress: bool = True,
) -> Result:
    """Runs every part over the same seeds, and writes the record.

    Args:
      experiment: the experiment to run.
      name: its id.
      preset: the preset that the config comes from.
      config: the experiment's Config.
      folder: the folder of the record.
      resume: continue an interrupted run.
      save_every_s: seconds between checkpoints.
      sub_batch: see `plasticity_jax.run.sweep`.
      progress: show bars.

    Raises:
      CliError: if the folder cannot be written, matplotlib is missing, or the config makes no program.
      RunError: see `plasticity_jax.run.run`.
    """
    check_writable(folder)
    if importlib.util.find_spec("matplotlib") is None:
        raise missing("matplotlib")
    start = time.perf_counter()
    settings = dataclasses.asdict(config)
    with bad_values():
        parts = experiment.parts(config)
        check_parts(parts, config.seeds)
    keys = jax.vmap(jax.random.key)(jnp.arange(config.seeds))
    of_each_part = {field: value for field, value in settings.items() if field not in experiment.selects}
    metrics, diverged, seconds, seed_steps, sittings = {}, [], 0.0, 0, {}
    for part, program in parts.items():
        outcome = run(
            program,
            keys,
            name=part,
            out=folder / "checkpoints",
            resume=resume,
            progress=progress,
            save_every_s=save_every_s,
            config={"experiment": name, "title": experiment.title, **of_each_part},
            sub_batch=sub_batch,
        )
        metrics |= {f"{part}/{metric}": values for metric, values in outcome.metrics.items()}
        if not program.may_diverge:
            diverged += divergences(outcome.state, part)
        seconds += outcome.seconds
        seed_steps += outcome.seed_steps
        sittings[part] = outcome.sittings
        del outcome  # frees its state before the next part is run
    if experiment.measure is not None:
        metrics |= experiment.measure(config, progress)
    meta = {
        "experiment": name,
        "title": experiment.title,
        "preset": preset,
        "overrides": overrides(experiment, preset, settings),
        **_about(experiment, preset),
        **describe_run(seconds=seconds, seed_steps=seed_steps, seeds=config.seeds, ignore=NOT_CODE),
        "this_sitting_seconds": round(time.perf_counter() - start, 3),
        "sittings": merged(sittings),
    }
    for earlier in ("metrics.npz", *RECORDED):  # numbers of one run must not stand beside the settings of another
        (folder / earlier).unlink(missing_ok=True)
    write_json(folder / "config.json", settings)
    write_json(folder / "meta.json", meta)
    write_npz(folder / "metrics.npz", metrics)  # saved even if the summary then fails
    return _conclude(experiment, config, folder, settings, meta, metrics)._replace(diverged=diverged)


def redraw(
    experiment: Experiment, folder: Path, name: str | None = None, asked: Mapping[str, Any] | None = None
) -> Result:
    """Summary, claims, figures and table, made again from the metrics in a run's folder.

    A committed record has only the metrics that its figures need, and keeps its summary.

    Args:
      experiment: the experiment.
      folder: the folder of the run.
      name: the experiment's id, if the run's own is to be compared with it.
      asked: fields of the Config that the run must have.

    Raises:
      CliError: if the folder holds no run of the experiment, or one of other settings.
    """
    try:
        with (folder / "metrics.npz").open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            metrics = {key: file[key] for key in file.files}
        settings, meta = (json.loads((folder / file).read_text()) for file in RECORDED[:2])
        of, preset, _ = meta["experiment"], meta["preset"], settings["seeds"]
        reduced, summary = meta.get("metrics") == "of figures", {}
        if reduced:  # otherwise it is computed anew
            recorded = json.loads((folder / RECORDED[2]).read_text())["summary"]
            summary = {key: np.nan if value is None else value for key, value in recorded.items()}
    except Exception as error:  # np.load alone raises six kinds for damaged files
        reason = f"{type(error).__name__}: {error}"
        raise CliError(f"{folder} holds no finished run that can be read ({reason}): run it first") from error
    if name not in (None, of):
        raise CliError(f"{folder} holds a run of {of}, not of {name}")
    if other := [field for field, value in plain(asked or {}).items() if settings.get(field) != value]:
        now = ", ".join(f"{field} {settings.get(field)}" for field in other)
        raise CliError(f"{folder} holds a run with {now}: --redraw keeps its settings, so leave out other ones")
    config, meta = _config_of(experiment, preset, settings), {**meta, **_about(experiment, preset)}
    return _conclude(experiment, config, folder, settings, meta, metrics, summary if reduced else None)


def keep_record(experiment: Experiment, folder: Path, target: Path) -> None:
    """Copies a run's files without its checkpoints and without the metrics that no figure or table reads.

    Raises:
      RunError: if the copy cannot be written.
    """
    new = target.with_name(f".{target.name}.new")  # swapped in when it is whole
    try:
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
        pictures_and_tables = sorted(path for kind in SHOWN for path in folder.glob(f"*.{kind}"))
        for path in [folder / name for name in RECORDED] + pictures_and_tables:
            shutil.copyfile(path, new / path.name)
        settings, meta, _ = (json.loads((folder / file).read_text()) for file in RECORDED)
        write_json(new / "meta.json", {**meta, "metrics": "of figures"})
        with np.load(folder / "metrics.npz", allow_pickle=False) as file:
            metrics = {key: file[key] for key in file.files}
        write_npz(
            new / "metrics.npz",
            metrics_shown(experiment, metrics, _config_of(experiment, meta["preset"], settings)),
            compressed=True,
        )
        shutil.rmtree(target, ignore_errors=True)
        new.rename(target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        shutil.rmtree(new, ignore_errors=True)


def overrides(experiment: Experiment, preset: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that differ from the preset's."""
    base = dataclasses.asdict(experiment.presets[preset])
    return {field: value for field, value in settings.items() if value != base[field]}


def _about(experiment: Experiment, preset: str) -> dict[str, Any]:
    """The preset's scale, compared with the original's, and the tuning, in words; the fields that select parts."""
    return {
        "scale": experiment.scale.get(preset, ""),
        "tuned": experiment.tuned,
        "selects": list(experiment.selects),
    }


def _config_of(experiment: Experiment, preset: str, settings: Mapping[str, Any]) -> Any:
    """The Config of a record; a field that an older record lacks has the preset's value."""
    base = experiment.presets.get(preset, experiment.presets["default"])
    known = {field.name for field in dataclasses.fields(base)} & settings.keys()
    return dataclasses.replace(base, **{name: _tuples(settings[name]) for name in known})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _conclude(
    experiment: Experiment,
    config: Any,
    folder: Path,
    settings: Mapping[str, Any],
    meta: Mapping[str, Any],
    metrics: Arrays,
    summary: Mapping[str, float] | None = None,
) -> Result:
    """Writes the record, except for its metrics, and its figures.

    Args:
      experiment: the experiment.
      config: its Config.
      folder: the folder of the record.
      settings: the Config as a mapping.
      meta: facts about the run.
      metrics: arrays by name.
      summary: the summary, if it is not to be computed from the metrics.

    Returns:
      The `Result`, without diverged lanes.
    """
    if summary is None:
        summary = {"seeds": meta["seeds"], **experiment.summarise(metrics)}
    rows = checked(experiment.claims, summary, meta["preset"])
    write_record(folder, config=settings, meta=meta, summary=summary, claims=rows)
    table = experiment.table(metrics, config)
    if table is not None:
        (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    draw(experiment, metrics, config, meta, folder)
    return Result(folder, summary, rows, metrics, [])
