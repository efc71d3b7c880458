"""Runs, sweeps, records and comparisons: the lowest layer that jits or prints."""

from typing import TYPE_CHECKING

from plasticity_jax.ops.rooms import suggesting
from plasticity_jax.run.applicable import applicable_rules
from plasticity_jax.run.checkpoint import Checkpoints
from plasticity_jax.run.claims import Claim, above, below, checked, gap, within
from plasticity_jax.run.compare import compare_rules
from plasticity_jax.run.compare_report import comparison_picture, comparison_table
from plasticity_jax.run.devices import compile_quickly, use_all_cores
from plasticity_jax.run.divergence import Divergence, divergences
from plasticity_jax.run.evaluation import evaluate, evaluated
from plasticity_jax.run.experiment import Experiment
from plasticity_jax.run.fields import Range
from plasticity_jax.run.grid import Grid, draws, grid
from plasticity_jax.run.hosts import join_hosts
from plasticity_jax.run.labelled import open_record
from plasticity_jax.run.loop import Cost, Outcome, run
from plasticity_jax.run.program import Health, Metrics, Program, TrainingState, at_each, once, online_training
from plasticity_jax.run.record import RunError, describe_run, write_figures, write_record
from plasticity_jax.run.summary import mean_sem, put, t_value
from plasticity_jax.run.sweep import sweep

__all__ = [
    "Checkpoints",
    "Claim",
    "Cost",
    "Divergence",
    "Experiment",
    "Grid",
    "Health",
    "Metrics",
    "Outcome",
    "Program",
    "Range",
    "RunError",
    "TrainingState",
    "above",
    "applicable_rules",
    "at_each",
    "below",
    "checked",
    "compare_rules",
    "comparison_picture",
    "comparison_table",
    "compile_quickly",
    "describe_run",
    "divergences",
    "draws",
    "evaluate",
    "evaluated",
    "gap",
    "grid",
    "join_hosts",
    "mean_sem",
    "once",
    "online_training",
    "open_record",
    "put",
    "run",
    "sweep",
    "t_value",
    "use_all_cores",
    "within",
    "write_figures",
    "write_record",
]


def __dir__() -> list[str]:
    return list(__all__)


if not TYPE_CHECKING:  # a type checker would take any name to be there
    __getattr__ = suggesting(__name__, __all__)
