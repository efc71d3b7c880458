"""The command ``sweep``: a plan, its costs, a record and a picture."""

import argparse
import contextlib
import dataclasses
from typing import Any

import jax
import numpy as np

from plasticity_jax.command.axes import drawn, varied
from plasticity_jax.command.errors import CliError, bad_values
from plasticity_jax.command.guards import check_replaceable, check_writable
from plasticity_jax.command.sweep_plan import plan, plan_text
from plasticity_jax.command.sweep_results import shown_names, sweep_figure, sweep_table
from plasticity_jax.command.sweep_run import programs, run_sweep
from plasticity_jax.run.experiment import Experiment
from plasticity_jax.run.fields import kind_of
from plasticity_jax.run.grid import Grid, draws, grid
from plasticity_jax.run.lock import locked
from plasticity_jax.run.loop import Cost, run
from plasticity_jax.run.memory import GIB
from plasticity_jax.run.progress import say
from plasticity_jax.run.record import write_figures


class _Enough(Exception):
    """Ends a program once its cost is known."""


def sweep_command(args: argparse.Namespace, experiment: Experiment, name: str, config: Any) -> None:
    """Runs the command.

    Args:
      args: the parsed words of the command.
      experiment: the experiment to sweep.
      name: its id.
      config: the Config with the fields that do not vary.

    Raises:
      CliError: for fields or values that cannot be swept.
      RunError: see `plasticity_jax.run.run`.
    """
    first = jax.process_index() == 0
    points = _grid(args, config)
    with bad_values():
        planned = plan(experiment, config, points)
        parts = list(experiment.parts(planned.programmes[0].config))
    folder = args.out / name / (args.name or f"{args.preset}-sweep")
    if first:
        print(f"{name}, preset {args.preset}: {plan_text(planned, len(parts))}", flush=True)
    costs = _Costs(len(planned.programmes) * len(parts), args.plan)
    if args.plan:
        for work in programs(experiment, planned):
            with contextlib.suppress(_Enough):
                run(
                    work.program,
                    work.lanes,
                    name=work.label,
                    progress=False,
                    sub_batch=args.sub_batch,
                    report=lambda cost, label=work.label: costs.report(label, cost),
                )
        return
    if not args.overwrite:
        check_replaceable(folder, dataclasses.asdict(config), points.axes())
    check_writable(folder)
    lock = locked(folder) if jax.process_count() == 1 else contextlib.nullcontext()
    with lock:
        summary = run_sweep(
            experiment,
            name,
            args.preset,
            config,
            planned,
            folder,
            resume=args.resume,
            save_every_s=args.save_every,
            sub_batch=args.sub_batch,
            progress=first,
            report=costs.report,
        )
        if summary is None:
            return
        names, unknown = shown_names(summary, args.show)
        table = sweep_table(planned, summary, names)
        (folder / "table.md").write_text(table + "\n", encoding="utf-8")
        title = f"{experiment.title}\n{name}, {args.preset}: {points.seeds} seeds"
        for stale in folder.glob("*.png"):
            stale.unlink()
        if names:
            write_figures(folder, {"sweep": sweep_figure(planned, summary, names, title, parts)})
    print(f"\n{table}\n\nfiles: {folder}")
    if unknown:
        raise CliError(f"{unknown}; with --resume it is drawn anew")


def _grid(args: argparse.Namespace, config: Any) -> Grid:
    fields, ranges = varied(args.vary, config), drawn(args.draw, config)
    if fields and ranges:
        raise CliError("a sweep is a grid (--vary) or random draws (--draw), not both at once")
    if fields:
        return grid(fields, seeds=config.seeds)
    points = draws(ranges, count=args.draws, seeds=config.seeds, key=jax.random.key(0))
    columns = {
        name: (dim, np.round(values).astype(int) if kind_of(config, name) is int else values)
        for name, (dim, values) in points.fields.items()
    }
    return Grid(columns, points.seeds)


class _Costs:
    """Prints the cost of each program when its first chunk is done, with an estimate for all programs."""

    def __init__(self, programs: int, only_plan: bool):
        self.programs, self.only_plan, self.seconds = programs, only_plan, []

    def report(self, label: str, cost: Cost) -> None:
        self.seconds.append(cost.seconds)
        memory = "memory unknown" if cost.memory is None else _bytes(cost.memory)
        mean = sum(self.seconds) / len(self.seconds)
        say(
            f"{label}: {cost.lanes} lanes, {cost.lanes_at_a_time} at a time on {cost.devices} devices, {memory}; "
            f"compiled in {_duration(cost.compile_seconds)}, {cost.chunks} chunks of {_duration(cost.chunk_seconds)}: "
            f"{_duration(cost.seconds)}, about {_duration(mean * self.programs)} for all {self.programs} parts"
        )
        if self.only_plan:
            raise _Enough


def _bytes(count: int) -> str:
    """A size in words."""
    return f"{count / GIB:.3g} GiB" if count >= GIB else f"{count / GIB * 1024:.2g} MiB"


def _duration(seconds: float) -> str:
    """Seconds in words."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
