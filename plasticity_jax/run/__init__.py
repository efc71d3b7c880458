"""Running things: the only floor of the package that jits, prints or, beside `data`, touches files."""

from plasticity_jax.run.checkpoint import Checkpoints
from plasticity_jax.run.devices import compile_quickly, use_all_cores
from plasticity_jax.run.loop import Divergence, Outcome, divergences, run
from plasticity_jax.run.parts import train_from_parts
from plasticity_jax.run.program import Health, Metrics, Program, TrainingState, at_each, once, online_training
from plasticity_jax.run.record import Claim, RunError, describe_run, evaluate, write_figures, write_record
from plasticity_jax.run.sweep import sweep

__all__ = [
    "Checkpoints",
    "Claim",
    "Divergence",
    "Health",
    "Metrics",
    "Outcome",
    "Program",
    "RunError",
    "TrainingState",
    "at_each",
    "compile_quickly",
    "describe_run",
    "divergences",
    "evaluate",
    "once",
    "online_training",
    "run",
    "sweep",
    "train_from_parts",
    "use_all_cores",
    "write_figures",
    "write_record",
]


def __dir__() -> list[str]:
    return list(__all__)
