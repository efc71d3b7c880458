"""Speed of the library, family by family, as ratios measured in one run.

A family is a module here with ``bench(quick, say) -> rows`` and `SECONDS`, the processor seconds that it takes, as
(quick, full). A row is a dict of numbers, of which the first is the main result.

On a CPU all seconds are processor seconds, summed over the cores. They depend little on other programs, and a rate is
that of one core. Calls that are compared take turns, and the least time of each call counts. On an accelerator, seconds
are wall time.
"""

import importlib
import pkgutil
import time
from collections.abc import Callable, Iterable
from typing import Any

__all__ = ["FAMILIES", "run_bench"]

FAMILIES = tuple(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
"""Names of all families, listed without importing them."""


def run_bench(families: Iterable[str], quick: bool, say: Callable[[str], None]) -> dict[str, Any]:
    """Measures families one after another.

    Args:
      families: names in `FAMILIES`.
      quick: measure few rows, each for a short time; all families together take about a minute on one core.
      say: called with a line about each family before it starts, and about each row when it is measured.

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
    start, measured = time.perf_counter(), {}
    for family in chosen:
        module = importlib.import_module(f"{__name__}.{family}")
        mode = "quick" if quick else "full"
        say(f"{family}: {mode}, about {module.SECONDS[not quick]} s of one core")

        def report(line: str, family: str = family) -> None:
            say(f"{family}: {line}  [{time.perf_counter() - start:.0f} s]")

        measured[family] = module.bench(quick, report)
    return measured


def __dir__() -> list[str]:
    return list(__all__)
