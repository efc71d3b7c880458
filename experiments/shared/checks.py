"""Checks of a Config that several papers' experiments share."""

from collections.abc import Iterable, Sequence


def check_names(field: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Refuses names of parts that are not known.

    Raises:
      ValueError: naming the field, the name and those that are known.
    """
    for name in names:
        if name not in known:
            raise ValueError(f"{field}: {name!r} is not known; use some of {', '.join(known)}")
