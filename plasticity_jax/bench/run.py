"""Speed of the runner: settings within a seed, grids, many lanes and the host loop, relative to plain sweeps."""

import tempfile
import time
from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.bench._timing import Row, Say, collected, in_turns
from plasticity_jax.bench.online import CELLS, keys, program
from plasticity_jax.run import Checkpoints, Program, run, sweep
from plasticity_jax.run.checkpoint import Saved
from plasticity_jax.run.program import at_each
from plasticity_jax.typing import PyTree

SECONDS = (13, 100)
LAGS = (np.array([3, 2], np.int32), np.array([5, 4], np.int32))
"""The two lags of Add, each at two settings."""
SAVE_EVERY_S, CHUNKS_A_SAVE = 10.0, 10


def settings_within_a_seed(steps: int) -> Program:
    """RTRL on Add, n = 32, at two lags within a seed; the lane is a key."""
    return at_each(program("rtrl", CELLS["leaky"](32), steps), {"lags": LAGS})


def two_readings(seeds: int, steps: int, seconds: float) -> Row:
    """Time of RTRL at two settings within a seed, relative to the same number of lanes in a plain sweep."""
    paired, plain = settings_within_a_seed(steps), program("rtrl", CELLS["leaky"](32), steps)
    states = sweep(paired.init)(keys(seeds))
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), states)
    calls = {"settings": partial(sweep(paired.chunk), states), "plain": partial(sweep(plain.chunk), flat)}
    least, count = in_turns(calls, seconds), 2 * seeds * steps
    rates = {f"{name}_lane_steps_per_s": count / each for name, each in least.items()}
    return {"times_plain": least["settings"] / least["plain"], **rates}


def through_run(seeds: int, steps: int, chunks: int, rounds: int) -> Row:
    """The same through `plasticity_jax.run.run`: the difference of its times for several chunks and for one."""
    plain = program("rtrl", CELLS["leaky"](32), steps)
    paired = settings_within_a_seed(steps)
    flat = sweep(plain.init)((jnp.repeat(keys(seeds), 2), {"lags": tuple(np.tile(lag, seeds) for lag in LAGS)}))
    ours = extra_seconds(paired, keys(seeds), chunks, rounds) / chunks
    least = in_turns({"": partial(sweep(plain.chunk), flat)}, 0.0, 3 * rounds)[""]
    count = 2 * seeds * steps
    return {"times_plain": ours / least, "run_lane_steps_per_s": count / ours, "plain_lane_steps_per_s": count / least}


def extra_seconds(one: Program, lanes: PyTree, chunks: int, rounds: int) -> float:
    """Seconds of a run's chunks after the first, by a difference that leaves out compilation and the initial state."""

    def of(count: int) -> None:
        run(one._replace(chunks=count), lanes, name="bench", progress=False)

    least = in_turns({"one": partial(of, 1), "more": partial(of, 1 + chunks)}, 0.0, rounds)
    return least["more"] - least["one"]


def grid(seeds: int, rates: int, steps: int, seconds: float) -> Row:
    """Time of RFLO on Add with a grid of seeds and learning rates, relative to the same number of seeds at one rate."""
    one, lanes = program("rflo", CELLS["leaky"](32), steps), keys(seeds * rates)
    state, chunk = sweep(one.init)((lanes, {})), sweep(one.chunk)
    settings = {"grid": {"rate": jnp.tile(jnp.geomspace(1e-4, 1e-2, rates), seeds)}, "seeds": {}}
    calls = {name: partial(chunk, state._replace(lane=(lanes, given))) for name, given in settings.items()}
    least, count = in_turns(calls, seconds), len(lanes) * steps
    return {
        "times_one_rate": least["grid"] / least["seeds"],
        **{f"{name}_lane_steps_per_s": count / each for name, each in least.items()},
    }


def lane_costs(counts: tuple[int, ...], budget: int, seconds: float) -> Iterator[tuple[str, Row]]:
    """Time of a lane's step of RFLO (n = 8) for each number of lanes, in nanoseconds and relative to fewer lanes."""
    before, cell = 0.0, CELLS["leaky"](8)
    states = sweep(program("rflo", cell, 1).init)((keys(max(counts)), {}))
    for lanes in counts:
        steps = max(100, budget // max(lanes, 100))
        some = jax.tree.map(lambda leaf, lanes=lanes: leaf[:lanes], states)
        least = in_turns({"": partial(sweep(program("rflo", cell, steps).chunk), some)}, seconds)[""]
        cost = 1e9 * least / lanes / steps
        ratio = {"times_fewer_lanes": cost / before} if before else {}
        yield f"rflo n=8 lanes={lanes}", {"ns_per_lane_step": cost, **ratio}
        before = cost


def host_loop(seeds: int, chunks: int, rounds: int) -> Row:
    """Share of the loop and its saves in the time between two saves, in per cent.

    The loop is measured on chunks of one step of one small lane, including the time of the step. A save is measured on
    the state of RTRL at two settings, in wall time, because it waits for the disk.
    """
    loop = extra_seconds(program("rflo", CELLS["leaky"](4), 1), (keys(1), {}), chunks, rounds) / chunks
    state = jax.eval_shape(jax.vmap(settings_within_a_seed(1).init), keys(seeds)).learner
    arrays = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), (state.params, state.traces))
    least = float("inf")
    with tempfile.TemporaryDirectory() as folder:
        store = Checkpoints(folder, {})
        for done in range(6):
            start = time.perf_counter()
            store.save(Saved(done, arrays, {}, 0.0))
            least = min(least, time.perf_counter() - start)
    return {
        "per_cent": 100 * (least + CHUNKS_A_SAVE * loop) / SAVE_EVERY_S,
        "loop_ms_per_chunk": 1e3 * loop,
        "ms_per_save": 1e3 * least,
        "saved_mb": sum(leaf.nbytes for leaf in jax.tree.leaves(arrays)) / 1e6,
    }


def rows(quick: bool) -> Iterator[tuple[str, Row]]:
    """All rows, each as soon as it is measured."""
    seconds = 0.3 if quick else 5.0
    yield "two settings within a seed, rtrl n=32", two_readings(2 if quick else 20, 1000, seconds)
    yield "20 seeds x 8 rates, rflo n=32", grid(20, 8, 200 if quick else 1000, seconds)
    if not quick:
        yield from lane_costs((1, 10, 100, 1_000, 10_000), 100_000, seconds)
        yield "two settings within a seed, through run", through_run(20, 1000, 8, 3)
        yield "host loop, a save in ten seconds", host_loop(20, 3000, 5)


def bench(quick: bool, say: Say) -> dict[str, Row]:
    """Measures the family.

    Args:
      quick: measure only sweeps, on few lanes.
      say: called with a line about each row when it is measured.

    Returns:
      Rows by name.
    """
    return collected(rows(quick), say)
