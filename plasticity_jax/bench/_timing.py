"""What the benches share: wall times, as the best of several, and the machine's own rate of products."""

import time
from typing import Any

import jax


def best(call: Any, repetitions: int = 5) -> float:
    """Least wall seconds of a call, after one that is not counted."""
    jax.block_until_ready(call())
    seconds = []
    for _ in range(repetitions):
        begun = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - begun)
    return min(seconds)


def product_rate(size: int = 1024, repetitions: int = 10) -> float:
    """Operations per second of a plain float32 matrix product, all cores."""
    a = jax.random.normal(jax.random.key(0), (size, size)) / size**0.5
    many = jax.jit(lambda a: jax.lax.fori_loop(0, repetitions, lambda _, b: b @ a, a))
    return repetitions * 2 * size**3 / best(lambda: many(a))
