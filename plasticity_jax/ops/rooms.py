"""Names that a room lacks, refused with the nearest that it has."""

import difflib
from collections.abc import Callable, Sequence
from typing import NoReturn


def no_such_name(room: str, name: str, names: Sequence[str]) -> AttributeError:
    """Makes the error for a name that a room lacks.

    Args:
      room: the module's name.
      name: what was asked for.
      names: those that the room has.

    Returns:
      The error, which suggests the nearest name; Python's own message for modules does so in a traceback of its own
      alone, not in a notebook or a test.
    """
    near = difflib.get_close_matches(name, names, n=1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    # Named, but without its object, or else Python would add a suggestion of its own.
    return AttributeError(f"module {room!r} has no attribute {name!r}; {guess}dir({room}) names all", name=name)


def suggesting(room: str, names: Sequence[str]) -> Callable[[str], NoReturn]:
    """Makes a room's ``__getattr__``, which Python calls for names that the room lacks.

    Type checkers must not see it, for they would take any name to be there.

    Example:
      >>> from plasticity_jax import tasks
      >>> tasks.ad
      Traceback (most recent call last):
      AttributeError: module 'plasticity_jax.tasks' has no attribute 'ad'; did you mean 'add'? dir(...) names all
    """

    def refuse(name: str) -> NoReturn:
        raise no_such_name(room, name, names)

    return refuse
