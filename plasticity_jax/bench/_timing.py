"""Tools of the benches: a clock, calls that take turns, reported rows, and the machine's rate of matrix products."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import jax

Call: TypeAlias = Callable[[], Any]
Row: TypeAlias = dict[str, float]
Say: TypeAlias = Callable[[str], None]

PRODUCT = 512
"""Rows of the square matrices of `product`."""


def clock() -> float:
    """Seconds since an arbitrary start: of the processor, over all cores, on a CPU; of wall time on an accelerator."""
    return time.process_time() if jax.default_backend() == "cpu" else time.perf_counter()


def in_turns(calls: Mapping[str, Call], seconds: float, rounds: int = 3) -> dict[str, float]:
    """Least seconds of each call, after a first call that is not counted.

    Args:
      calls: functions by name; each is called once in every round.
      seconds: rounds are repeated until so many seconds have passed.
      rounds: least number of rounds.

    Returns:
      Seconds by name.
    """
    for call in calls.values():
        jax.block_until_ready(call())
    least = dict.fromkeys(calls, float("inf"))
    until = time.perf_counter() + seconds
    while rounds > 0 or time.perf_counter() < until:
        for name, call in calls.items():
            start = clock()
            jax.block_until_ready(call())
            least[name] = min(least[name], clock() - start)
        rounds -= 1
    return least


def collected(rows: Iterable[tuple[str, Row]], say: Say) -> dict[str, Row]:
    """All rows by name; the first number of each is reported as soon as it is measured."""
    by_name = {}
    for name, row in rows:
        by_name[name] = row
        label, value = next(iter(row.items()))
        say(f"{name}: {label.replace('_', ' ')} {value:.3g}")
    return by_name


def product() -> tuple[Call, float]:
    """A call of plain float32 products of large matrices, and its number of operations."""
    repetitions = 4
    a = jax.random.normal(jax.random.key(0), (PRODUCT, PRODUCT)) / PRODUCT**0.5
    many = jax.jit(lambda a: jax.lax.fori_loop(0, repetitions, lambda _, b: b @ a, a))
    return lambda: many(a), repetitions * 2 * PRODUCT**3
