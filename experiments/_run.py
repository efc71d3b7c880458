"""One experiment from config to record: parts, measurements, summary, claims, figures."""

import dataclasses
import importlib.util
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from experiments._catalog import CliError, missing, one_line
from plasticity_jax.run import (
    Divergence,
    RunError,
    describe_run,
    divergences,
    evaluate,
    run,
    write_figures,
    write_record,
)
from plasticity_jax.run.record import NOT_CODE, unwritable
from plasticity_jax.run.sittings import merged

RECORDED = ("config.json", "meta.json", "summary.json")
SHOWN = ("png", "gif", "md")


class Result(NamedTuple):
    """What a run of an experiment came to.

    Attributes:
      folder: where its files are.
      claims: the claims' rows, as in summary.json.
      diverged: the lanes that diverged, of programs that may not.
    """

    folder: Path
    claims: list[dict[str, Any]]
    diverged: list[Divergence]


def run_experiment(
    module: ModuleType,
    name: str,
    preset: str,
    config: Any,
    out: Path,
    *,
    resume: bool,
    save_every_s: float,
    progress: bool = True,
) -> Result:
    """Runs every part over the same seeds, and writes the record.

    Args:
      module: the experiment.
      name: its id.
      preset: the preset that the config comes from.
      config: the experiment's Config.
      out: the record goes to ``out/name/preset/``.
      resume: continue what was interrupted.
      save_every_s: seconds between checkpoints.
      progress: show bars.

    Raises:
      CliError: if the folder cannot be written, matplotlib is missing, or the config makes no program.
      RunError: see `plasticity_jax.run.run`.
    """
    folder = out / name / preset
    _check_writable(folder)
    if importlib.util.find_spec("matplotlib") is None:
        raise missing("matplotlib")
    begun = time.perf_counter()
    settings = dataclasses.asdict(config)
    try:
        parts = module.make_parts(config)
    except ValueError as error:
        raise CliError(f"bad value: {one_line(error)}; see --help for every field") from error
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
            config={"experiment": name, **settings},
        )
        metrics |= {f"{part}/{metric}": values for metric, values in outcome.metrics.items()}
        if not program.may_diverge:
            diverged += divergences(outcome.state, part)
        seconds += outcome.seconds
        seed_steps += outcome.seed_steps
        sittings[part] = outcome.sittings
        del outcome  # its state, before there is the next one's
    if hasattr(module, "measure"):
        metrics |= module.measure(config, progress)
    summary = module.summarise(metrics)
    rows = evaluate(module.CLAIMS, summary)
    base = dataclasses.asdict(module.PRESETS[preset])
    meta = {
        "experiment": name,
        "title": module.TITLE,
        "preset": preset,
        "overrides": {field: value for field, value in settings.items() if value != base[field]},
        **describe_run(seconds=seconds, seed_steps=seed_steps, seeds=config.seeds, ignore=NOT_CODE),
        "this_sitting_seconds": round(time.perf_counter() - begun, 3),
        "sittings": merged(sittings),
    }
    write_record(folder, config=settings, meta=meta, metrics=metrics, summary=summary, claims=rows)
    if hasattr(module, "text"):
        (folder / "table.md").write_text(module.text(metrics) + "\n")
    _draw(module, name, metrics, folder)
    return Result(folder, rows, diverged)


def keep_record(folder: Path, target: Path) -> None:
    """Copies what is worth committing of a run: all but its metrics and checkpoints.

    Raises:
      RunError: if it cannot be written.
    """
    try:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        shown = sorted(path for kind in SHOWN for path in folder.glob(f"*.{kind}"))
        for path in [folder / name for name in RECORDED] + shown:
            shutil.copyfile(path, target / path.name)
    except OSError as error:
        raise unwritable(target, error) from error


def table(rows: Sequence[Mapping[str, Any]], width: int = 60) -> str:
    """The claims as aligned text."""
    cells = [("claim", "statement", "paper", "measured", "holds")]
    for row in rows:
        statement = row["statement"]
        short = statement if len(statement) <= width else statement[: width - 3].rstrip() + "..."
        cells.append((row["id"], short, number(row["paper"]), number(row["measured"]), "yes" if row["holds"] else "NO"))
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    return "\n".join(
        "  ".join(cell.ljust(size) for cell, size in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def number(value: Any) -> str:
    """Four digits of a number; "-" for none."""
    if value is None or value != value:
        return "-"
    return f"{value:.4g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def _draw(module: ModuleType, name: str, metrics: Mapping[str, Any], folder: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figures = module.plot(metrics)
    figures = figures if isinstance(figures, Mapping) else {name: figures}
    for stale in [*folder.glob("*.png"), *folder.glob("*.gif")]:
        stale.unlink()
    write_figures(folder, figures)
    plt.close("all")


def _check_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise RunError(f"cannot write to {folder}: {error.strerror}; choose another folder with --out") from error
