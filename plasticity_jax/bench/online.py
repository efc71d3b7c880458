"""Speed of the online family, relative to plain NumPy loops, the machine's matrix products, and the leaky cell."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import Learner, LearnerState, learner
from plasticity_jax.bench import _rivals
from plasticity_jax.bench._timing import Call, Row, Say, collected, in_turns, product
from plasticity_jax.cells import Neurons, alif, gru, init_params, leaky, lstm
from plasticity_jax.rules import online
from plasticity_jax.run import Program, online_training, sweep
from plasticity_jax.tasks.add import AddState, add
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.typing import Example, Key

SECONDS = (10, 400)
SIZE, ALPHA, RATE, LAGS = 2, 0.5, 1e-3, (3, 5)
"""Number of inputs and outputs of the Add task; the leaky cell's inverse time constant; learning rate; lags of Add."""

RULES = (
    "fixed_recurrent",
    "rflo",
    "kernl",
    "dni",
    "dni_b",
    "uoro",
    "reverse_kf_rtrl",
    "kf_rtrl",
    "future_facing_bptt",
    "rtrl",
)
CELLS: dict[str, Callable[[int], Neurons]] = {
    "leaky": lambda n: leaky(SIZE, n, SIZE, alpha=ALPHA),
    "gru": lambda n: gru(SIZE, n, SIZE),
    "lstm": lambda n: lstm(SIZE, n, SIZE),
    "alif": lambda n: alif(SIZE, n, SIZE),
}


def program(name: str, cell: Neurons, steps: int, points: int = 1, chunks: int = 1) -> Program:
    """One rule that learns Add on a cell; a lane is a key and a mapping, which may set its "rate" and its "lags"."""

    def build(lane: tuple[Key, Mapping[str, Any]]) -> tuple[Learner, Stream]:
        rule, rate = getattr(online, name)(cell), lane[1].get("rate", RATE)
        return learner(rule, optax.sgd(rate)), add(lane[1].get("lags", LAGS), round(1 / ALPHA))

    def init(lane: tuple[Key, Any], learn: Learner, stream: Stream) -> tuple[LearnerState, AddState]:
        key_weights, key_stream, key_run = jax.random.split(lane[0], 3)
        example = Example(jnp.zeros((1, SIZE)), jnp.zeros((1, SIZE)))
        return learn.init(init_params(key_weights, cell), key_run, example), stream.init(key_stream)

    return online_training(build, init, steps=steps, every=steps // points // chunks, chunks=chunks)


def keys(seeds: int) -> Key:
    """A key for each seed."""
    return jax.vmap(jax.random.key)(jnp.arange(seeds))


def training(name: str, cell: Neurons, steps: int, seeds: int) -> Call:
    """A call that runs a rule for a number of steps, with several seeds at once."""
    one = program(name, cell, steps)
    return partial(sweep(one.chunk), sweep(one.init)((keys(seeds), {})))


def rival(name: str, n: int, steps: int) -> Call:
    """A call that runs a rule for a number of steps in a plain NumPy loop on Add, random numbers included."""
    stream, params = add(LAGS, round(1 / ALPHA)), init_params(jax.random.key(0), CELLS["leaky"](n))["forward"]
    _, examples = stream.take(stream.init(jax.random.key(1)), steps)
    x, y = (np.asarray(leaf)[:, 0] for leaf in examples[:2])
    w, w_out = np.asarray(params["w"])[0], np.asarray(params["w_out"])
    loop, rng = partial(getattr(_rivals, name), w, w_out, x, y, alpha=ALPHA, rate=RATE), np.random.default_rng(0)

    def noise() -> dict[str, np.ndarray]:
        if name == "rflo":
            return {}
        a, b, width = (n, w.shape, n) if name == "uoro" else (w.shape[1], (n, n), 2)
        signs = rng.integers(0, 2, (steps, width)).astype(w.dtype) * 2 - 1
        return {"a": rng.standard_normal(a, w.dtype), "b": rng.standard_normal(b, w.dtype), "nu": signs}

    return lambda: loop(**noise())


def against_numpy(name: str, n: int, seeds: int, budget: int, seconds: float) -> Row:
    """Steps times seeds per second, relative to the steps per second of the rule's plain loop."""
    steps, loop = max(4, budget // seeds), 3000
    least = in_turns({"ours": training(name, CELLS["leaky"](n), steps, seeds), "numpy": rival(name, n, loop)}, seconds)
    ours, numpy = steps * seeds / least["ours"], loop / least["numpy"]
    return {"times_numpy": ours / numpy, "seed_steps_per_s": ours, "numpy_steps_per_s": numpy}


def of_product(n: int, seeds: int, seconds: float) -> Row:
    """The rate of RTRL's 2 n^3 (n + n_in + 1) operations per step, as a fraction of the matrix product's rate."""
    operations = 2 * n**3 * (n + SIZE + 1)
    steps = max(4, int(4e9 / operations / seeds))
    call, counted = product()
    least = in_turns({"rtrl": training("rtrl", CELLS["leaky"](n), steps, seeds), "product": call}, seconds)
    ours, plain = operations * steps * seeds / least["rtrl"], counted / least["product"]
    return {"fraction_of_product": ours / plain, "gflops": ours / 1e9, "product_gflops": plain / 1e9}


def on_cell(rule: str, name: str, n: int, seeds: int, budget: float, seconds: float) -> Row:
    """The time of a step as a multiple of that on the leaky cell, and the same ratio by operations.

    By operations, a trace of S variables and G gates costs G S^2 times that of the leaky cell.
    """
    cell = CELLS[name](n)
    gates, variables = len(cell.gates), len(cell.variables)
    operations = 2 * n**4 if rule == "rtrl" else 20 * n**2
    shares = {"leaky": 1, name: gates * variables**2}
    steps = {of: max(4, int(budget / operations / seeds / more)) for of, more in shares.items()}
    least = in_turns({of: training(rule, CELLS[of](n), count, seeds) for of, count in steps.items()}, seconds)
    rates = {of: steps[of] * seeds / least[of] for of in steps}
    return {
        "leaky_steps": rates["leaky"] / rates[name],
        "by_operations": gates * variables**2,
        "seed_steps_per_s": rates[name],
    }


def rate(name: str, n: int, seeds: int, seconds: float) -> Row:
    """Steps times seeds per second."""
    cost = n**4 if name == "rtrl" else n**3 if "kf" in name else 10 * n**2
    steps = max(4, int(min(1e5, 1e9 / cost) / seeds))
    least = in_turns({"": training(name, CELLS["leaky"](n), steps, seeds)}, seconds)[""]
    return {"seed_steps_per_s": steps * seeds / least}


def import_seconds() -> float:
    """Processor seconds that the package and a rule of it add to ``import jax``, least of three processes."""
    code = "import jax, time; t = time.process_time(); import plasticity_jax as pj; pj.rules.rflo"
    code += "; print(time.process_time() - t)"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True) for _ in range(3)]
    return min(float(run.stdout) for run in runs)


def rows(quick: bool) -> Iterator[tuple[str, Row]]:
    """All rows, each as soon as it is measured."""
    seconds = 0.3 if quick else 3.0
    for name in ("rflo",) if quick else ("rflo", "uoro", "kf_rtrl"):
        yield f"{name} n=32 seeds=20", against_numpy(name, 32, 20, 100_000 if quick else 200_000, seconds)
    for n in (64,) if quick else (64, 128):
        for seeds in (1,) if quick else (1, 20):
            yield f"rtrl n={n} seeds={seeds}", of_product(n, seeds, seconds)
    if quick:
        return
    for rule in ("rflo", "snap", "uoro", "rtrl"):
        for n in (32, 128):
            for cell in tuple(CELLS)[1:]:
                seeds, budget = (2, 4e9) if rule == "rtrl" and n > 32 else (20, 1e9)
                yield f"{rule} on {cell} n={n} seeds={seeds}", on_cell(rule, cell, n, seeds, budget, seconds)
    yield "import", {"s": import_seconds()}
    for name in RULES:
        for n in (32, 128):
            for seeds in (1, 20, 1000):
                if name != "rtrl" or seeds * n**3 * 4 < 1e8:
                    yield f"{name} n={n} seeds={seeds}", rate(name, n, seeds, 1.0)


def bench(quick: bool, say: Say) -> dict[str, Row]:
    """Measures the family.

    Args:
      quick: measure one row of each kind.
      say: called with a line about each row when it is measured.

    Returns:
      Rows by name.
    """
    return collected(rows(quick), say)
