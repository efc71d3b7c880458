"""Errors that the user of the command line can mend, each as one line."""

import argparse
import contextlib
from collections.abc import Iterator


class CliError(Exception):
    """One line for stderr with a cause and a remedy."""


def one_line(error: BaseException | str) -> str:
    """An error's message, or a text, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def missing(package: str | None) -> CliError:
    """The error for an optional package that is not installed."""
    return CliError(
        f'the package {package} is not installed: run pip install "plasticity_jax[all]", or pip install -e ".[all]" in '
        "the project's folder"
    )


@contextlib.contextmanager
def bad_values() -> Iterator[None]:
    """Turns the error that a wrong value of a field raises into one line.

    Raises:
      CliError: for a ValueError, a number out of range or a division by 0.
    """
    try:
        yield
    except (ValueError, ArithmeticError) as error:
        raise CliError(f"bad value: {one_line(error)}; see --help for every field") from error


@contextlib.contextmanager
def one_line_errors(args: argparse.Namespace) -> Iterator[None]:
    """Turns errors that the user can mend into one line, unless ``--traceback`` is given.

    Args:
      args: the parsed words; if ``traceback`` is None, the command has no such option.

    Raises:
      CliError: with that line.
    """
    from plasticity_jax.data import MissingData
    from plasticity_jax.run import RunError

    try:
        yield
    except (CliError, RunError, MissingData, ModuleNotFoundError, OSError, MemoryError) as error:
        if args.traceback and not isinstance(error, CliError):
            raise
        if isinstance(error, ModuleNotFoundError):
            raise missing(error.name) from error
        raise error if isinstance(error, CliError) else CliError(one_line(error)) from error
    except (ValueError, ArithmeticError) as error:
        if args.traceback:
            raise
        where = (
            "" if args.traceback is None else f" ({type(error).__name__}; --traceback shows where, --help every field)"
        )
        raise CliError(f"{one_line(error)}{where}") from error
    except Exception as error:
        if "RESOURCE_EXHAUSTED" not in str(error) or args.traceback:
            raise
        message = f"out of memory: take fewer seeds, smaller sizes or a smaller --sub-batch ({one_line(error)[:120]})"
        raise CliError(message) from error
