"""Tools of the benches: a clock, calls that take turns, rows that are told, and the machine's rate of products."""

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
    """Seconds, from some moment on: the processor's on a CPU, over all cores; the wall's on an accelerator."""
    return time.process_time() if jax.default_backend() == "cpu" else time.perf_counter()


def in_turns(calls: Mapping[str, Call], seconds: float, rounds: int = 3) -> dict[str, float]:
    """Least seconds of each call, after one that is not counted.

    Args:
      calls: by name; each of them is called once in every round.
      seconds: rounds go on until so many are over.
      rounds: how many there are at least.

    Returns:
      By name.
    """
    for call in calls.values():
        jax.block_until_ready(call())
    least = dict.fromkeys(calls, float("inf"))
    until = time.perf_counter() + seconds
    while rounds > 0 or time.perf_counter() < until:
        for name, call in calls.items():
            begun = clock()
            jax.block_until_ready(call())
            least[name] = min(least[name], clock() - begun)
        rounds -= 1
    return least


def collected(rows: Iterable[tuple[str, Row]], say: Say) -> dict[str, Row]:
    """All rows by name; each is told when it is there, by its first number."""
    kept = {}
    for name, row in rows:
        kept[name] = row
        what, value = next(iter(row.items()))
        say(f"{name}: {what.replace('_', ' ')} {value:.3g}")
    return kept


def product() -> tuple[Call, float]:
    """Plain float32 products of large matrices, and their operations."""
    repetitions = 4
    a = jax.random.normal(jax.random.key(0), (PRODUCT, PRODUCT)) / PRODUCT**0.5
    many = jax.jit(lambda a: jax.lax.fori_loop(0, repetitions, lambda _, b: b @ a, a))
    return lambda: many(a), repetitions * 2 * PRODUCT**3
