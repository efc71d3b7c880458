"""Independent references in plain NumPy, written from the equations and never from the library's code."""

import time
from collections.abc import Callable
from typing import Any


def steps_per_second(loop: Callable[[], Any], steps: int) -> float:
    """Of wall time, of a loop of so many steps.

    On one BLAS thread where threadpoolctl is installed; else set OPENBLAS_NUM_THREADS=1 before NumPy is imported.
    """

    def timed() -> float:
        start = time.perf_counter()
        loop()
        return steps / (time.perf_counter() - start)

    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        return timed()
    with threadpool_limits(1):
        return timed()
