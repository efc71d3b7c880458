"""Speed and memory of differentiable meta-training, at the size of Lindsey & Litwin-Kumar's regression.

An episode (life, meta-gradient, four Adams), one of several in a scan as in training, is held against the time that its
products alone would take at the rates of this machine, measured in the same run: those of the frozen layers as large
products, those of the plastic layers as the small ones of the scan. Memory is what the compiler reserves, arguments
included.
"""

import itertools
import time
from typing import Any

import jax
import jax.numpy as jnp

from experiments._lindsey import Layers, adams, flp_theta, layers
from experiments.bench._timing import best
from plasticity_jax.base import Learner, LearnerState, learner
from plasticity_jax.meta import flp_life, meta_gradient
from plasticity_jax.run import sweep
from plasticity_jax.tasks.incremental_sines import incremental_sines
from plasticity_jax.typing import Episode

SIZES = (11, 300, 300, 300, 300, 300, 900, 300, 300, 1)
BATCH, FUNCTIONS = 32, 10
EPISODES = 3
"""Of a timed scan: the first of them pays for memory that the others find there."""
RATES = {"weights": 1e-4, "feedback": 1e-4, "alpha": 1e-8, "beta": 1e-4}


def training(plastic: int, remat: bool = False, sizes: tuple[int, ...] = SIZES) -> tuple[Layers, Learner]:
    """The meta-learner of FLP on sines."""
    cut = layers(sizes, plastic)
    rule = meta_gradient(flp_life(cut.net, prefix=cut.features, blockwise=remat), remat=remat)
    return cut, learner(rule, adams(RATES, jax.eval_shape(lambda: flp_theta(jax.random.key(0), cut))))


def start(cut: Layers, learn: Learner, seed: int | jax.Array, steps: int) -> tuple[LearnerState, Episode]:
    """A state, and an episode of so many inner steps."""
    key = jax.random.fold_in(jax.random.key(0), seed)
    stream = incremental_sines(functions=FUNCTIONS, batches=steps // FUNCTIONS, batch=BATCH)
    _, episodes = stream.take(stream.init(key), 1)
    episode = jax.tree.map(lambda leaf: leaf[0], episodes)
    return learn.init(flp_theta(key, cut, alpha=1e-9), key, episode), episode


def operations(cut: Layers, steps: int, query: int) -> dict[str, float]:
    """Of the products of an episode, forward and backward: of the layers in front, and of the scan."""
    weights = [a * b for a, b in itertools.pairwise(cut.sizes)]
    front, behind = weights[: -cut.plastic], weights[-cut.plastic :]
    rows = steps * BATCH + query
    # A product, and one for the gradient of each of its two factors; the input of the first layer needs none.
    prefix = 2 * rows * (3 * sum(front) - front[0])
    return {"prefix": prefix, "scan": 2 * BATCH * steps * sum(behind) * 6 + 2 * query * sum(behind) * 3}


def large_rate(rows: int, width: int = 300, repetitions: int = 4) -> float:
    """Operations per second of products (rows, width) with (width, width)."""
    x = jax.random.normal(jax.random.key(0), (rows, width))
    w = jax.random.normal(jax.random.key(1), (width, width)) / width**0.5
    many = jax.jit(lambda x, w: jax.lax.fori_loop(0, repetitions, lambda _, x: x @ w.T, x))
    return repetitions * 2 * rows * width**2 / best(lambda: many(x, w))


def small_rate(width: int = 300, repetitions: int = 400) -> float:
    """Operations per second of products (32, width) with (width, width), one after the other."""
    return large_rate(BATCH, width, repetitions)


def episode_cost(plastic: int, repetitions: int) -> dict[str, float]:
    """Seconds of an episode, and its ratio to what its products would take."""
    steps = 400
    cut, learn = training(plastic)
    state, episode = start(cut, learn, 0, steps)
    episodes = jax.tree.map(lambda leaf: jnp.stack([leaf] * EPISODES), episode)
    chunk = jax.jit(lambda state, episodes: jax.lax.scan(learn.step, state, episodes)[1].loss)
    counted = operations(cut, steps, episode.query.x.shape[1])
    large, small, seconds = 0.0, 0.0, float("inf")
    for _ in range(repetitions):  # in turns, since the machine may be busy with other things
        large, small = max(large, large_rate(steps * BATCH)), max(small, small_rate())
        seconds = min(seconds, best(lambda: chunk(state, episodes), 1) / EPISODES)
    limit = counted["prefix"] / large + counted["scan"] / small
    return {
        "s_per_episode": seconds,
        "gflop_prefix": counted["prefix"] / 1e9,
        "gflop_scan": counted["scan"] / 1e9,
        "gflops_large": large / 1e9,
        "gflops_small": small / 1e9,
        "ratio_to_products": seconds / limit,
        "hours_of_20000_episodes": seconds * 20_000 / 3600,
    }


def memory(plastic: int, steps: int, remat: bool = True, timed: bool = False) -> dict[str, float]:
    """Gigabytes reserved for an episode, and if asked for the microseconds of an inner step."""
    cut, learn = training(plastic, remat)
    state, episode = jax.eval_shape(lambda: start(cut, learn, 0, steps))
    compiled = jax.jit(learn.step, donate_argnums=0).lower(state, episode).compile()
    found = compiled.memory_analysis()
    reserved = found.temp_size_in_bytes + found.argument_size_in_bytes + found.output_size_in_bytes
    result = {"gb": (reserved - found.alias_size_in_bytes) / 1e9}
    if timed:
        state, episode = start(cut, learn, 0, steps)
        arguments = (jax.tree.map(jnp.copy, state), episode)  # donated, so no buffer may be in it twice
        begun = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        result["us_per_inner_step"] = 1e6 * (time.perf_counter() - begun) / steps
    return result


def seeds_cost(plastic: int, seeds: int, repetitions: int) -> float:
    """Seconds of an episode and seed, as `sweep` runs them."""
    cut, learn = training(plastic)
    states, episodes = jax.vmap(lambda seed: start(cut, learn, seed, 400))(jnp.arange(seeds))
    many = sweep(lambda state, episode: learn.step(state, episode)[0])
    return best(lambda: many(states, episodes), repetitions) / seeds


def bench(quick: bool = False) -> dict[str, Any]:
    """All of it.

    Args:
      quick: fewer repetitions, shorter lives.

    Returns:
      A JSON-able dict.
    """
    repetitions = 2 if quick else 8
    long = (100, 1000) if quick else (1000, 10_000)
    accelerator = jax.default_backend() != "cpu"
    result: dict[str, Any] = {f"flp{plastic}": episode_cost(plastic, repetitions) for plastic in (2, 3)}
    result["memory_flp3_400"] = {"remat": memory(3, 400), "kept": memory(3, 400, remat=False)}
    lives = {steps: memory(3, steps, timed=True) for steps in long}
    result["lives"] = {str(steps): life for steps, life in lives.items()}
    result["lives_growth"] = {name: lives[long[1]][name] / lives[long[0]][name] for name in lives[long[0]]}
    seeds = (1, 8, 32) if accelerator else (1, 8)
    costs = {count: seeds_cost(2, count, 1 if quick else 3) for count in seeds}
    result["s_per_episode_and_seed"] = {str(count): cost for count, cost in costs.items()}
    return result
