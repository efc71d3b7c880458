"""Checks of a Config that several papers' experiments share."""

from collections.abc import Iterable, Sequence


def check_names(field: str, names: Iterable[str], known: Sequence[str]) -> None:
    """Refuses unknown names.

    Raises:
      ValueError: with the field, the first unknown name and the known names.
    """
    for name in names:
        if name not in known:
            raise ValueError(f"{field}: {name!r} is not known; use some of {', '.join(known)}")
