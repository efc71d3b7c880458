"""Speed of the library, family by family, as ratios taken in one run.

A family is a module here with ``bench(quick, say) -> rows`` and `SECONDS`, the processor seconds that it takes, as
(quick, full). A row is a dict of numbers; the first one is what it is about.

On a CPU all seconds are processor seconds, of all cores together: what else the machine does shows little in them, and
a rate is one of a core. Calls that are compared take turns, and each counts with its least. On an accelerator seconds
are those of the wall.
"""

import importlib
import pkgutil
import time
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["FAMILIES", "run_bench"]

FAMILIES = tuple(found.name for found in pkgutil.iter_modules(__path__) if not found.name.startswith("_"))
"""Names of all families, found without importing them."""


def run_bench(families: Iterable[str], quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Measures families one after the other.

    Args:
      families: some of `FAMILIES`.
      quick: few rows, each measured for a short time: all families together take about a minute on one core.
      say: told a line about each family before it starts, and about each row when it is done.

    Returns:
      ``{family: {row: {number: value}}}``, JSON-able.

    Raises:
      ValueError: if a family is not known.

    Example:
      >>> lines = []
      >>> run_bench([], quick=True, say=lines.append)
      {}
      >>> "online" in FAMILIES
      True
    """
    chosen = list(families)
    unknown = [name for name in chosen if name not in FAMILIES]
    if unknown:
        raise ValueError(f"no bench family {', '.join(unknown)}: there are {', '.join(FAMILIES)}")
    begun, measured = time.perf_counter(), {}
    for family in chosen:
        module = importlib.import_module(f"{__name__}.{family}")
        mode = "quick" if quick else "full"
        say(f"{family}: {mode}, about {module.SECONDS[not quick]} s of one core")

        def tell(line: str, family: str = family) -> None:
            say(f"{family}: {line}  [{time.perf_counter() - begun:.0f} s]")

        measured[family] = module.bench(quick, tell)
    return measured


def __dir__() -> list[str]:
    return list(__all__)
