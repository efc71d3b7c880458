"""One experiment from config to record: parts, measurements, summary, claims, figures."""

import dataclasses
import importlib.util
import json
import re
import shutil
import tempfile
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.command.catalog import CliError, bad_values, missing
from plasticity_jax.command.tables import changed
from plasticity_jax.run.claims import checked
from plasticity_jax.run.experiment import Arrays, Experiment
from plasticity_jax.run.loop import Divergence, divergences, run
from plasticity_jax.run.memory import check_memory, size
from plasticity_jax.run.program import Program
from plasticity_jax.run.record import (
    NOT_CODE,
    RunError,
    describe_run,
    plain,
    unwritable,
    write_figures,
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
      folder: where its files are.
      claims: the claims' rows, as in summary.json.
      diverged: the lanes that diverged, of programs that may not.
    """

    folder: Path
    claims: list[dict[str, Any]]
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
      experiment: what to run.
      name: its id.
      preset: the preset that the config comes from.
      config: the experiment's Config.
      folder: where the record goes.
      resume: continue what was interrupted.
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
    begun = time.perf_counter()
    settings = dataclasses.asdict(config)
    with bad_values():
        parts = experiment.parts(config)
        check_parts(parts, config.seeds)
    keys = jax.vmap(jax.random.key)(jnp.arange(config.seeds))
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
            config={"experiment": name, "title": experiment.title, **settings},
            sub_batch=sub_batch,
        )
        metrics |= {f"{part}/{metric}": values for metric, values in outcome.metrics.items()}
        if not program.may_diverge:
            diverged += divergences(outcome.state, part)
        seconds += outcome.seconds
        seed_steps += outcome.seed_steps
        sittings[part] = outcome.sittings
        del outcome  # its state, before there is the next one's
    if experiment.measure is not None:
        metrics |= experiment.measure(config, progress)
    meta = {
        "experiment": name,
        "title": experiment.title,
        "preset": preset,
        "overrides": overrides(experiment, preset, settings),
        **_stated(experiment, preset),
        **describe_run(seconds=seconds, seed_steps=seed_steps, seeds=config.seeds, ignore=NOT_CODE),
        "this_sitting_seconds": round(time.perf_counter() - begun, 3),
        "sittings": merged(sittings),
    }
    write_npz(folder / "metrics.npz", metrics)  # whatever becomes of the summary
    rows = _conclude(experiment, config, folder, settings, meta, metrics)
    return Result(folder, rows, diverged)


def redraw(experiment: Experiment, folder: Path) -> Result:
    """Summary, claims, figures and table of a run anew, from the metrics in its folder.

    Of a committed record, which has only the metrics that its figures need, the summary stays.

    Raises:
      CliError: if the folder holds no run of the experiment.
    """
    try:
        with np.load(folder / "metrics.npz", allow_pickle=False) as file:
            metrics = {key: file[key] for key in file.files}
        settings, meta, before = (json.loads((folder / file).read_text()) for file in RECORDED)
    except (OSError, ValueError, KeyError) as error:
        raise CliError(f"{folder} holds no finished run that can be read ({error}): run it first") from error
    kept = {key: np.nan if value is None else value for key, value in before["summary"].items()}
    reduced = meta.get("metrics") == "of figures"
    config, meta = _config_of(experiment, meta["preset"], settings), {**meta, **_stated(experiment, meta["preset"])}
    return Result(folder, _conclude(experiment, config, folder, settings, meta, metrics, kept if reduced else None), [])


def keep_record(experiment: Experiment, folder: Path, target: Path) -> None:
    """Copies what is worth committing of a run: all but its checkpoints, and of its metrics those that figures need.

    Raises:
      RunError: if it cannot be written.
    """
    try:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        shown = sorted(path for kind in SHOWN for path in folder.glob(f"*.{kind}"))
        for path in [folder / name for name in RECORDED] + shown:
            shutil.copyfile(path, target / path.name)
        settings, meta, _ = (json.loads((folder / file).read_text()) for file in RECORDED)
        write_json(target / "meta.json", {**meta, "metrics": "of figures"})
        with np.load(folder / "metrics.npz", allow_pickle=False) as file:
            metrics = {key: file[key] for key in file.files}
        write_npz(
            target / "metrics.npz",
            _needed(experiment, metrics, _config_of(experiment, meta["preset"], settings)),
            compressed=True,
        )
    except OSError as error:
        raise unwritable(target, error) from error


def check_replaceable(folder: Path, settings: Mapping[str, Any], axes: Mapping[str, Any] | None = None) -> None:
    """Sees that no finished record of other settings is lost.

    Args:
      folder: where a record is to go.
      settings: its Config.
      axes: its axes, of a sweep.

    Raises:
      CliError: if there is one.
    """
    try:
        before, meta = (json.loads((folder / f"{file}.json").read_text()) for file in ("config", "meta"))
    except (OSError, ValueError):
        return
    now = plain(settings)
    other = sorted(field for field in {*before, *now} if before.get(field) != now.get(field))
    if meta.get("axes") != plain(axes):
        other.append("set of points")
    if other:
        message = f"{folder} holds a finished record, of another {', '.join(other)}"
        raise CliError(f"{message}: --name NAME keeps both, --overwrite replaces it")


def check_parts(parts: Mapping[str, Program], lanes: int) -> None:
    """Traces the beginning of every part, and compares its memory with what there is.

    Raises:
      ValueError: from a part that cannot begin at these settings.
      RunError: if the states of so many lanes cannot fit.
    """
    key = jax.random.key(0)
    for name, program in parts.items():
        if not name or name.partition("/")[0] == "summary":
            raise ValueError(f"a part cannot be called {name!r}, for records name metrics and summaries alike")
        needed = lanes * size(jax.eval_shape(program.init, key))
        check_memory(f"{name}: the states of {lanes} lanes", needed, jax.devices())


def overrides(experiment: Experiment, preset: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that differ from the preset's."""
    base = dataclasses.asdict(experiment.presets[preset])
    return {field: value for field, value in settings.items() if value != base[field]}


def check_writable(folder: Path) -> None:
    """Makes a folder and sees that it can be written to.

    Raises:
      RunError: if not.
    """
    if re.match(r"[a-z0-9]{2,}:/", str(folder)):
        raise RunError(f"{folder} is no folder of this machine: choose one with --out, and copy it after the run")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RunError(f"cannot write to {folder}: {reason}; choose another folder with --out") from error


def _stated(experiment: Experiment, preset: str) -> dict[str, str]:
    """Statement of the preset's scale beside the original's, and of what was tuned by hand."""
    return {"scale": experiment.scale.get(preset, ""), "tuned": experiment.tuned}


def _config_of(experiment: Experiment, preset: str, settings: Mapping[str, Any]) -> Any:
    """The Config of a record; a field that it has not, for it is older, is the preset's."""
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
) -> list[dict[str, Any]]:
    """Writes the record but for its metrics, and its figures, and returns the claims' rows."""
    if summary is None:
        summary = {"seeds": meta["seeds"], **experiment.summarise(metrics)}
    rows = checked(experiment.claims, summary, meta["preset"])
    write_record(folder, config=settings, meta=meta, summary=summary, claims=rows)
    table = experiment.table(metrics, config)
    if table is not None:
        (folder / "table.md").write_text(table + "\n", encoding="utf-8")
    _draw(experiment, metrics, config, meta, folder)
    return rows


class _Read(Mapping[str, Any]):
    """A mapping that remembers which of its values were read."""

    def __init__(self, values: Arrays):
        self.values_, self.read = values, set()

    def __getitem__(self, key: str) -> Any:
        value = self.values_[key]
        self.read.add(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)

    def __contains__(self, key: object) -> bool:
        return key in self.values_


def _needed(experiment: Experiment, metrics: Arrays, config: Any) -> dict[str, np.ndarray]:
    """The metrics that figures and table read, floats in single precision."""
    read = _Read(metrics)
    _figures(experiment, read, config)
    experiment.table(read, config)
    single = {key: np.asarray(metrics[key]) for key in metrics if key in read.read}
    return {key: v.astype(np.float32) if v.dtype == np.float64 else v for key, v in single.items()}


def _draw(experiment: Experiment, metrics: Arrays, config: Any, meta: Mapping[str, Any], folder: Path) -> None:
    figures = _figures(experiment, metrics, config)
    for stale in [*folder.glob("*.png"), *folder.glob("*.gif")]:
        stale.unlink()
    for figure in figures.values():
        if hasattr(figure, "savefig"):
            _caption(figure, meta)
    write_figures(folder, {name or meta["experiment"]: figure for name, figure in figures.items()})
    import matplotlib.pyplot as plt

    plt.close("all")


def _caption(figure: Any, meta: Mapping[str, Any]) -> None:
    """Writes under a figure the run that it shows."""
    seeds = f"{meta['seeds']} seed{'s' if meta['seeds'] > 1 else ''}"
    words = [f"{meta['experiment']}, {meta['preset']}: {seeds}", meta["scale"], changed(meta)]
    width = int(15 * figure.get_figwidth())
    text = "\n".join(textwrap.wrap("; ".join(filter(None, words)), width))
    _hold_legends(figure)
    figure.text(0.5, -0.01, text, ha="center", va="top", fontsize=9, color="0.35")


def _hold_legends(figure: Any) -> None:
    """Lays the figure out and holds its legends there: they would move with its edges, over the caption, when saved."""
    loose = [legend for legend in figure.legends if legend.get_bbox_to_anchor() is figure.bbox]
    if loose:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    for legend in loose:
        legend.set_bbox_to_anchor((0, 0, 1, 1), figure.transFigure)


def _figures(experiment: Experiment, metrics: Arrays, config: Any) -> Mapping[str, Any]:
    import matplotlib

    matplotlib.use("Agg")
    return experiment.figures(metrics, config)
