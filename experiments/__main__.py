"""``python -m experiments``: the command line of the package, on the reproductions of this repository."""

from pathlib import Path

from plasticity_jax.command.cli import main_of_process

if __name__ == "__main__":
    main_of_process("python -m experiments", Path(__file__).resolve().parent)
