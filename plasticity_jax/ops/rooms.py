"""Errors for names that a package lacks, with the nearest name that it has."""

import difflib
from collections.abc import Callable, Sequence
from typing import NoReturn


def no_such_name(room: str, name: str, names: Sequence[str]) -> AttributeError:
    """Makes the error for a name that a package lacks.

    Args:
      room: the module's name.
      name: the missing name.
      names: the package's names.

    Returns:
      The error, which suggests the nearest name; Python itself suggests one only in its own tracebacks, not in a
      notebook or a test.
    """
    near = difflib.get_close_matches(name, names, n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    # Without its object, or Python would add a suggestion of its own.
    return AttributeError(f"module {room!r} has no attribute {name!r}; {guess}dir({room}) names all", name=name)


def suggesting(room: str, names: Sequence[str]) -> Callable[[str], NoReturn]:
    """Makes a package's ``__getattr__``, which Python calls for names that the package lacks.

    Hide it from type checkers, which would otherwise accept any name.

    Example:
      >>> from plasticity_jax import tasks
      >>> tasks.ad
      Traceback (most recent call last):
      AttributeError: module 'plasticity_jax.tasks' has no attribute 'ad'; did you mean 'add'? dir(...) names all
    """

    def refuse(name: str) -> NoReturn:
        raise no_such_name(room, name, names)

    return refuse
