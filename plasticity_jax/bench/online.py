"""Speed of the online family, against the machine's own matrix products and against plain NumPy loops.

Every rate is the best of several repetitions, since the machine may be busy with other things; ratios are of rates
taken one after the other in the same run.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments import marschall2019_fig1 as fig1
from experiments.bench._timing import best, product_rate
from plasticity_jax.base import learner
from plasticity_jax.cells import Neurons, alif, gru, init_params, leaky, lstm
from plasticity_jax.rules import online
from plasticity_jax.run import Program, online_training, sweep
from plasticity_jax.tasks.add import add
from plasticity_jax.typing import Example
from tests.oracles import online as oracles

N_IN = 2
AGAINST_NUMPY = ("rflo", "uoro", "kf_rtrl", "reverse_kf_rtrl", "kernl", "dni", "dni_b")


CELLS: dict[str, Callable[[int], Neurons]] = {
    "leaky": lambda n: leaky(N_IN, n, 2, alpha=0.5),
    "gru": lambda n: gru(N_IN, n, 2),
    "lstm": lambda n: lstm(N_IN, n, 2),
    "alif": lambda n: alif(N_IN, n, 2),
}


def program(name: str, cell: Neurons, steps: int) -> Program:
    """One rule learning Add on a cell, as in Figure 1 of Marschall et al. where it is leaky, in one chunk."""
    stream, rule = add((3, 5), 2), getattr(online, name)(cell)

    def init(key: Any, learn: Any, stream: Any) -> Any:
        key_weights, key_stream, key_run = jax.random.split(key, 3)
        example = Example(jnp.zeros((1, N_IN)), jnp.zeros((1, 2)))
        return learn.init(init_params(key_weights, cell), key_run, example), stream.init(key_stream)

    return online_training(
        lambda key: (learner(rule, optax.sgd(1e-3)), stream), init, steps=steps, every=steps, chunks=1
    )


def seed_steps_per_second(name: str, n: int, seeds: int, budget: float, cell: str = "leaky") -> dict[str, float]:
    """Steps per second times seeds, with the compile time.

    Args:
      name: of the rule.
      n: neurons.
      seeds: lanes.
      budget: seed-steps in a timed call, about.
      cell: a key of `CELLS`.
    """
    steps = max(4, int(budget / seeds))
    one = program(name, CELLS[cell](n), steps)
    lanes = jax.vmap(jax.random.key)(jnp.arange(seeds))
    state = jax.jit(jax.vmap(one.init))(lanes)
    chunk = sweep(one.chunk)
    begun = time.perf_counter()
    jax.block_until_ready(chunk(state))
    first = time.perf_counter() - begun
    seconds = best(lambda: chunk(state))
    return {"seed_steps_per_s": steps * seeds / seconds, "compile_s": max(0.0, first - seconds)}


def on_cells(n: int) -> dict[str, dict[str, float]]:
    """Rates of four rules on each cell, and a step's time as a multiple of the leaky cell's.

    By operations a trace of S variables and G gates costs G S^2 times that of the leaky cell, RTRL S^2 G times.
    """
    rows: dict[str, dict[str, float]] = {}
    for rule in ("rflo", "snap", "uoro", "rtrl"):
        for cell in CELLS:
            gates, variables = len(CELLS[cell](n).gates), len(CELLS[cell](n).variables)
            operations = (2 * variables**2 * gates * n**4) if rule == "rtrl" else 20 * gates * variables**2 * n**2
            seeds = 20 if rule != "rtrl" or n < 64 else 2
            rate = seed_steps_per_second(rule, n, seeds, max(8.0 * seeds, 3e9 / operations), cell)["seed_steps_per_s"]
            leaky_rate = rows[f"{rule} leaky"]["seed_steps_per_s"] if cell != "leaky" else rate
            rows[f"{rule} {cell}"] = {"seed_steps_per_s": rate, "leaky_steps": leaky_rate / rate}
    return rows


def rtrl(n: int, seeds: int) -> dict[str, float]:
    """RTRL's rate of 2 n^3 (n + n_in + 1) operations per step, as a fraction of the matrix product's."""
    operations = 2 * n**3 * (n + N_IN + 1)
    before = product_rate()
    row = seed_steps_per_second("rtrl", n, seeds, budget=max(40.0, 4e10 / operations))
    peak = max(before, product_rate())
    rate = row["seed_steps_per_s"] * operations
    return {**row, "gflops": rate / 1e9, "product_gflops": peak / 1e9, "fraction": rate / peak}


def against_numpy(name: str, n: int, seeds: int) -> dict[str, float]:
    """A rule's seed-steps per second over the steps per second of its NumPy loop."""
    loop = oracles.speed(name, n, 3000)
    row = seed_steps_per_second(name, n, seeds, budget=2e5)
    loop = max(loop, oracles.speed(name, n, 3000))
    return {**row, "numpy_steps_per_s": loop, "ratio": row["seed_steps_per_s"] / loop}


def figure_compile_seconds() -> float:
    """Wall seconds to compile every part of Figure 1 at the default preset."""
    config = fig1.PRESETS["default"]
    lanes = jax.vmap(jax.random.key)(jnp.arange(config.seeds))
    begun = time.perf_counter()
    for part in fig1.make_parts(config).values():
        state = jax.eval_shape(jax.vmap(part.init), lanes)
        options = {"xla_backend_optimization_level": "2"} if jax.default_backend() == "cpu" else None
        jax.jit(jax.vmap(part.chunk), compiler_options=options).lower(state).compile()
    return time.perf_counter() - begun


def import_seconds() -> float:
    """Wall seconds that ``import plasticity_jax`` and its rules add to ``import jax``, least of five processes."""
    code = "import jax, time; t = time.perf_counter(); import plasticity_jax; print(time.perf_counter() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(5)]
    return min(float(run.stdout) for run in runs)


def bench(quick: bool = False) -> dict[str, Any]:
    """All of it; `quick` leaves out the sizes and seeds that only fill the table.

    Args:
      quick: only the rows with a target.

    Returns:
      A JSON-able dict.
    """
    result: dict[str, Any] = {"product_gflops": product_rate() / 1e9, "import_s": import_seconds()}
    result["rtrl_fraction_of_product"] = {f"n={n} seeds={s}": rtrl(n, s) for n in (64, 128) for s in (1, 20)}
    result["against_numpy n=32 seeds=20"] = {name: against_numpy(name, 32, 20) for name in AGAINST_NUMPY}
    result["on_cells"] = {f"n={n}": on_cells(n) for n in (32, 128)}
    result["figure_compile_s"] = figure_compile_seconds()
    if not quick:
        table = {}
        for name in fig1.RULES:
            for n in (32, 64, 128):
                for seeds in (1, 20, 100, 1000):
                    if name == "rtrl" and seeds * n**3 * 4 > 4e9:
                        continue  # influence tensors beyond 4 GB
                    cost = n**4 if name == "rtrl" else 10 * n**2 if "kf" not in name else n**3
                    row = seed_steps_per_second(name, n, seeds, budget=max(20 * seeds, min(1e5, 3e9 / cost)))
                    table[f"{name} n={n} seeds={seeds}"] = row["seed_steps_per_s"]
        result["seed_steps_per_s"] = table
    return result
