"""Speed of the two-stream rules, against the machine's rate of normals, and against plain NumPy loops.

The floor of a step is its random numbers, one normal for each sampled variable, at the rate at which the same cores
draw them in bulk; beside it stand the step's products, at the machine's rate of matrix products. Stimuli are at hand
before the clock starts. Every rate is the best of several repetitions; ratios are of rates taken in the same run.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from experiments.bench._timing import best, product_rate
from plasticity_jax.base import LearnerState, learner
from plasticity_jax.networks.two_stream import init_params, two_stream
from plasticity_jax.ops import prng
from plasticity_jax.rules import generative
from plasticity_jax.run import sweep
from plasticity_jax.typing import Array, Example
from tests.oracles import generative as oracles

MOST_STEPS, WEIGHT_STEPS, BYTES = 5000, 4e9, 2e9
"""Of a timed call: steps, at most; weights times steps of all seeds, about; and what the weights may take."""
RULES = {
    "impression": generative.impression,
    "wake_sleep": generative.wake_sleep,
    "neural_variational": generative.neural_variational,
    "reparameterised": generative.reparameterised,
}
RATES = {"neural_variational": 1e-6}


def normals_per_second(lanes: int = 20, each: int = 1 << 19) -> float:
    """Standard normals that all cores draw in bulk."""
    keys = jax.vmap(jax.random.key)(jnp.arange(lanes))
    many = sweep(lambda key: jnp.sum(prng.normal(key, each, jnp.dtype(jnp.float32))))
    return lanes * each / best(lambda: many(keys))


def seed_steps_per_second(name: str, neurons: int, stimuli: int, seeds: int) -> float:
    """Steps per second times seeds, of one rule with SGD on a recorded stimulus."""
    net = two_stream((stimuli, neurons))
    learn = learner(RULES[name](net), optax.sgd(RATES.get(name, 1e-3)))
    steps_taken = max(20, min(MOST_STEPS, int(WEIGHT_STEPS / (2 * neurons * stimuli * seeds))))
    z = 0.1 * jax.random.normal(jax.random.key(1), (steps_taken, 1, stimuli))

    def start(key: Array) -> LearnerState:
        params = init_params(key, net)
        return learn.init(params, key, Example(z[0], z[0]))

    def steps(state: LearnerState) -> tuple[LearnerState, Array]:
        return jax.lax.scan(lambda s, x: ((after := learn.step(s, Example(x, x)))[0], after[1].loss), state, z)

    states = jax.jit(jax.vmap(start))(jax.vmap(jax.random.key)(jnp.arange(seeds)))
    chunk = sweep(steps)
    return steps_taken * seeds / best(lambda: chunk(states))


def products_per_second(neurons: int, stimuli: int, seeds: int) -> float:
    """Steps per second times seeds of nothing but r = W s, s = D r, and a change of one of them by an outer product."""

    def steps(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        def both(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
            for learns in (0, 1):  # awake and asleep
                w, d, s = carry
                r = s @ w.T
                s = r @ d.T
                carry = (w + 1e-9 * r[:, None] * s, d, s) if learns else (w, d + 1e-9 * s[:, None] * r, s)
            return carry, None

        return jax.lax.scan(both, state, None, length=MOST_STEPS // 2)[0]

    def start(key: Array) -> tuple[Array, Array, Array]:
        params = init_params(key, two_stream((stimuli, neurons)))
        return params["inference"]["w"][0], params["generation"]["w"][0], jnp.ones(stimuli)

    states = jax.jit(jax.vmap(start))(jax.vmap(jax.random.key)(jnp.arange(seeds)))
    chunk = sweep(steps)
    return MOST_STEPS * seeds / best(lambda: chunk(states))


def against_floor(name: str, neurons: int = 20, stimuli: int = 100, seeds: int = 20) -> dict[str, float]:
    """A step's seconds over its floor, random numbers and products; and over the NumPy loop's."""
    normals, product, vectors = normals_per_second(), product_rate(), products_per_second(neurons, stimuli, seeds)
    loop = oracles.speed(name, neurons, stimuli, 2000) if name in oracles.SPEEDS else float("nan")
    rate = seed_steps_per_second(name, neurons, stimuli, seeds)
    normals = max(normals, normals_per_second())
    floor = (neurons + stimuli) / normals
    products = 3 * 2 * neurons * stimuli / product  # both streams' means, and the change of one stream's weights
    return {
        "seed_steps_per_s": rate,
        "ns_per_normal": 1e9 / normals,
        "over_floor": (1 / rate - products) / floor,
        "over_floor_products_measured": (1 / rate - 1 / vectors) / floor,
        "products_us": 1e6 / vectors,
        "numpy_steps_per_s": loop,
        "ratio_to_numpy": rate / loop,
    }


def bench(quick: bool = False) -> dict[str, Any]:
    """All of it; `quick` leaves out the sizes and seeds that only fill the table.

    Args:
      quick: only the rows with a target.

    Returns:
      A JSON-able dict.
    """
    rows = {name: against_floor(name) for name in RULES}
    result: dict[str, Any] = {"neurons=20 stimuli=100 seeds=20": rows}
    step = {name: 1 / row["seed_steps_per_s"] for name, row in rows.items()}
    result["neural_variational_over_impression"] = step["neural_variational"] / step["impression"]
    if not quick:
        result["seed_steps_per_s"] = {
            f"{name} neurons={n} stimuli={5 * n} seeds={seeds}": seed_steps_per_second(name, n, 5 * n, seeds)
            for name in RULES
            for n in (20, 100, 500)
            for seeds in (1, 20, 100, 1000)
            if 8 * n * 5 * n * seeds * (3 if name == "neural_variational" else 1) < BYTES
        }
    return result
