"""Speed and memory of differentiable meta-training, at the size of Lindsey & Litwin-Kumar's regression.

The time of an episode (life, meta-gradient, four Adams), one of several in a scan as in training, is compared with the
time that its products alone would take at the rates of this machine, measured in the same run: large products for the
frozen layers, and the small products of the scan for the plastic layers. Memory is what the compiler reserves,
arguments included.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.base import Learner, LearnerState, learner
from plasticity_jax.bench._timing import Call, Row, Say, clock, collected, in_turns
from plasticity_jax.layers import forward, init_params
from plasticity_jax.meta import flp_life, meta_gradient
from plasticity_jax.networks import mlp
from plasticity_jax.rules.hebbian import flp_feedback
from plasticity_jax.run import sweep
from plasticity_jax.tasks.incremental_sines import incremental_sines
from plasticity_jax.typing import Episode, Key, PyTree

SECONDS = (9, 300)
SIZES = (11, 300, 300, 300, 300, 300, 900, 300, 300, 1)
QUICK_SIZES = (11, 300, 300, 1)
BATCH, FUNCTIONS = 32, 10
STEPS = 400
"""Steps of a life."""
EPISODES = 3
"""Episodes of a timed scan; the first one allocates the memory that the others reuse."""
RATES = {"prefix": 1e-4, "forward": 1e-4, "feedback": 1e-4, "alpha": 1e-8, "beta": 1e-4}


class Training(NamedTuple):
    """A meta-learner of FLP on sines.

    Attributes:
      learn: the learner of theta.
      theta: ``key -> theta``.
      sizes: sizes of the layers.
      plastic: number of layers that learn in a life.
    """

    learn: Learner
    theta: Callable[[Key], PyTree]
    sizes: Sequence[int]
    plastic: int

    def start(self, seed: int | jax.Array, steps: int) -> tuple[LearnerState, Episode]:
        """A state, and an episode with that number of inner steps."""
        key = jax.random.fold_in(jax.random.key(0), seed)
        stream = incremental_sines(functions=FUNCTIONS, batches=steps // FUNCTIONS, batch=BATCH)
        _, episodes = stream.take(stream.init(key), 1)
        episode = jax.tree.map(lambda leaf: leaf[0], episodes)
        return self.learn.init(self.theta(key), key, episode), episode


def training(plastic: int, remat: bool = False, sizes: Sequence[int] = SIZES) -> Training:
    """Rectified layers with an identity output, of which the last `plastic` learn in a life."""
    rest = len(sizes) - 1 - plastic
    front = mlp(sizes[: rest + 1], ["relu"] * rest)
    net = mlp(sizes[rest:], ["relu"] * (plastic - 1) + ["identity"])

    def theta(key: Key) -> PyTree:
        key_front, key_net, key_feedback = jax.random.split(key, 3)
        weights = init_params(key_net, net)["forward"]
        return {
            "prefix": init_params(key_front, front)["forward"],
            "forward": weights,
            "feedback": flp_feedback(key_feedback, net),
            "alpha": jax.tree.map(lambda w: jnp.full_like(w, 1e-9), weights["w"]),
            "beta": (jnp.full((), 0.5, weights["w"][0].dtype),) * plastic,
        }

    rule = meta_gradient(
        flp_life(net, prefix=lambda weights, x: forward(front, weights, x).h[-1], blockwise=remat), remat=remat
    )
    adams = optax.partition({group: optax.adam(rate) for group, rate in RATES.items()}, {name: name for name in RATES})
    return Training(learner(rule, adams), theta, sizes, plastic)


def operations(sizes: Sequence[int], plastic: int, steps: int, query: int) -> dict[str, float]:
    """Operations in the products of an episode, forward and backward, of the frozen layers and of the scan."""
    weights = [a * b for a, b in itertools.pairwise(sizes)]
    front, behind = weights[:-plastic], weights[-plastic:]
    rows = steps * BATCH + query
    # A product, and one for the gradient of each of its two factors; the input of the first layer needs none.
    prefix = 2 * rows * (3 * sum(front) - front[0])
    return {"prefix": prefix, "scan": 2 * BATCH * steps * sum(behind) * 6 + 2 * query * sum(behind) * 3}


def repeated(rows: int, repetitions: int, width: int = 300) -> tuple[Call, float]:
    """A call of successive products of (rows, width) with (width, width), and its number of operations."""
    x = jax.random.normal(jax.random.key(0), (rows, width))
    w = jax.random.normal(jax.random.key(1), (width, width)) / width**0.5
    many = jax.jit(lambda x, w: jax.lax.fori_loop(0, repetitions, lambda _, x: x @ w.T, x))
    return partial(many, x, w), repetitions * 2 * rows * width**2


def of_products(plastic: int, sizes: Sequence[int], steps: int, seconds: float) -> Row:
    """The time of an episode, relative to that of its products alone."""
    meta = training(plastic, sizes=sizes)
    state, episode = jax.jit(lambda: meta.start(0, steps))()
    episodes = jax.tree.map(lambda leaf: jnp.stack([leaf] * EPISODES), episode)
    chunk = jax.jit(lambda state, episodes: jax.lax.scan(meta.learn.step, state, episodes)[1].loss)
    (large, large_count), (small, small_count) = repeated(steps * BATCH, 2), repeated(BATCH, 400)
    least = in_turns({"episodes": partial(chunk, state, episodes), "prefix": large, "scan": small}, seconds)
    counted = operations(sizes, plastic, steps, episode.query.x.shape[1])
    rates = {"prefix": large_count / least["prefix"], "scan": small_count / least["scan"]}
    episode_seconds = least["episodes"] / EPISODES
    return {
        "times_products": episode_seconds / sum(counted[part] / rates[part] for part in rates),
        "s_per_episode": episode_seconds,
        **{f"gflop_{part}": count / 1e9 for part, count in counted.items()},
        **{f"gflops_{part}": rate / 1e9 for part, rate in rates.items()},
    }


def memory(plastic: int, steps: int, remat: bool, sizes: Sequence[int] = SIZES, timed: bool = False) -> Row:
    """Gigabytes reserved for an episode, and, if `timed`, the microseconds of an inner step."""
    meta = training(plastic, remat, sizes)
    state, episode = jax.eval_shape(lambda: meta.start(0, steps))
    compiled = jax.jit(meta.learn.step, donate_argnums=0).lower(state, episode).compile()
    analysis = compiled.memory_analysis()
    assert analysis is not None
    reserved = analysis.temp_size_in_bytes + analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    row = {"gb": (reserved - analysis.alias_size_in_bytes) / 1e9}
    if timed:
        state, episode = jax.jit(lambda: meta.start(0, steps))()
        start = clock()
        jax.block_until_ready(compiled(state, episode))
        row["us_per_inner_step"] = 1e6 * (clock() - start) / steps
    return row


def of_seeds(count: int, seconds: float) -> Row:
    """The time of an episode for each seed in a `sweep` of seeds, as a multiple of that of a single seed."""
    meta = training(2)
    many, calls = sweep(lambda state, episode: meta.learn.step(state, episode)[0]), {}
    for seeds in (count, 1):
        states, episodes = sweep(lambda seed: meta.start(seed, STEPS))(jnp.arange(seeds))
        calls[str(seeds)] = partial(many, states, episodes)
    least = in_turns(calls, seconds)
    return {"times_one_seed": least[str(count)] / count / least["1"], "s_per_episode": least[str(count)] / count}


def rows(quick: bool) -> Iterator[tuple[str, Row]]:
    """All rows, each as soon as it is measured."""
    if quick:
        yield f"flp2 {len(QUICK_SIZES) - 1} layers, life of 100", of_products(2, QUICK_SIZES, 100, 0.3)
        return
    for plastic in (2, 3):
        yield f"flp{plastic} life of {STEPS}", of_products(plastic, SIZES, STEPS, 15.0)
    for remat in (False, True):
        name = "rematerialised" if remat else "all kept"
        yield f"memory of flp3, life of {STEPS}, {name}", memory(3, STEPS, remat)
    lives = {}
    for steps in (1000, 10_000):
        lives[steps] = memory(3, steps, True, timed=True)
        yield f"memory of flp3, life of {steps}, rematerialised", lives[steps]
    yield "a life ten times as long", {f"times_{name}": lives[10_000][name] / lives[1000][name] for name in lives[1000]}
    for seeds in (8,) if jax.default_backend() == "cpu" else (8, 32):
        yield f"flp2 seeds={seeds}", of_seeds(seeds, 10.0)


def bench(quick: bool, say: Say) -> dict[str, Row]:
    """Measures the family.

    Args:
      quick: measure one short life of a small network.
      say: called with a line about each row when it is measured.

    Returns:
      Rows by name.
    """
    return collected(rows(quick), say)
