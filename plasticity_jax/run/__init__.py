"""Running things: the only floor of the package that jits, prints, or touches files."""

from plasticity_jax.run.checkpoint import Checkpoints as Checkpoints
from plasticity_jax.run.loop import Divergence as Divergence
from plasticity_jax.run.loop import Outcome as Outcome
from plasticity_jax.run.loop import divergences as divergences
from plasticity_jax.run.loop import execute as execute
from plasticity_jax.run.loop import run as run
from plasticity_jax.run.parts import train_from_parts as train_from_parts
from plasticity_jax.run.program import Health as Health
from plasticity_jax.run.program import Program as Program
from plasticity_jax.run.program import TrainingState as TrainingState
from plasticity_jax.run.program import once as once
from plasticity_jax.run.program import online_training as online_training
from plasticity_jax.run.record import Claim as Claim
from plasticity_jax.run.record import RunError as RunError
from plasticity_jax.run.record import describe_run as describe_run
from plasticity_jax.run.record import evaluate as evaluate
from plasticity_jax.run.record import write_figures as write_figures
from plasticity_jax.run.record import write_record as write_record
from plasticity_jax.run.sweep import sweep as sweep
