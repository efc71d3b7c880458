"""Cost of one step of a learner by number of neurons: numbers carried, operations, and wall time."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.base import Learner, LearnerState
from plasticity_jax.cells import Neurons, init_params
from plasticity_jax.run import sweep
from plasticity_jax.typing import Example

METRICS = ("memory", "flops", "seconds")


def cost(cell: Neurons, learn: Learner, seconds: float) -> tuple[float, float, float]:
    """Numbers carried, operations of a step, and its wall time, measured for about `seconds` seconds."""
    key = jax.random.key(0)
    example = Example(jnp.ones((1, 2)), jnp.full((1, 2), 0.5))
    state = learn.init(init_params(key, cell), key, example)
    flops = operations(learn, state, example)
    steps = int(np.clip(seconds / (1e-5 + flops / 2e10), 3, 3000))
    return numbers_carried(state), flops, wall_time(learn, state, example, steps)


def numbers_carried(state: LearnerState) -> int:
    """Number of entries in the rule's traces, without the network's own state."""
    own = jax.eval_shape(lambda: (state.traces.own, state.traces.shared))
    return sum(leaf.size for leaf in jax.tree.leaves(own))


def operations(learn: Learner, state: LearnerState, example: Example) -> float:
    """Floating-point operations of a step as counted by the compiler; NaN if it does not count them."""
    one = jax.jit(lambda state: learn.step(state, example)[0]).lower(state).compile()
    return float((one.cost_analysis() or {}).get("flops", float("nan")))


def wall_time(learn: Learner, state: LearnerState, example: Example, steps: int) -> float:
    """Seconds of a step: the fastest of three runs of `steps` steps, after one run that compiles."""
    lanes = jax.tree.map(lambda leaf: leaf[None], state)
    loop = sweep(lambda s: jax.lax.scan(lambda s, _: (learn.step(s, example)[0], None), s, None, length=steps)[0])
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        jax.block_until_ready(loop(lanes))
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:]) / steps


def exponent(sizes: np.ndarray, cost: np.ndarray) -> float:
    """Slope of log cost against log n over the larger half of the sizes, but at least two."""
    larger_half = slice(-max(2, len(sizes) // 2), None)
    return float(np.polyfit(np.log(sizes[larger_half]), np.log(cost[larger_half]), 1)[0])
