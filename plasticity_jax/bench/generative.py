"""Speed of the two-stream rules, relative to the machine's rate of normals and to a plain NumPy loop.

The floor of a step is the time of its random numbers, one normal for each sampled variable, at the rate at which the
same cores draw them in bulk. The time of a step's products is measured too, and subtracted. Stimuli are made before the
clock starts.
"""

from collections.abc import Iterator
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import LearnerState, learner
from plasticity_jax.bench import _rivals
from plasticity_jax.bench._timing import Call, Row, Say, collected, in_turns
from plasticity_jax.networks.two_stream import init_params, two_stream
from plasticity_jax.ops import prng
from plasticity_jax.rules import generative
from plasticity_jax.run import sweep
from plasticity_jax.typing import Array, Example, Key

SECONDS = (6, 200)
MOST_STEPS, WEIGHT_STEPS, BYTES = 5000, 4e9, 2e9
"""Limits of a timed call: steps; about the number of weights times steps of all seeds; and bytes of weights."""
RULES = ("impression", "wake_sleep", "neural_variational", "reparameterised")
RATES = {"neural_variational": 1e-6}
SIGMA_INF, SIGMA_GEN, RATE = (0.01, 0.01), (0.01, 0.158), 1e-3
NEURONS, STIMULI, SEEDS = 20, 100, 20


def normals(lanes: int = 20, each: int = 1 << 17) -> tuple[Call, int]:
    """A call that draws standard normals in bulk on all cores, and their number."""
    many = sweep(lambda key: jnp.sum(prng.normal(key, each, jnp.dtype(jnp.float32))))
    return partial(many, jax.vmap(jax.random.key)(jnp.arange(lanes))), lanes * each


def training(name: str, neurons: int, stimuli: int, seeds: int) -> tuple[Call, int]:
    """A call of one rule with SGD on a recorded stimulus, and its number of steps over all seeds."""
    net = two_stream((stimuli, neurons), SIGMA_INF, SIGMA_GEN)
    learn = learner(getattr(generative, name)(net), optax.sgd(RATES.get(name, RATE)))
    steps_taken = max(20, min(MOST_STEPS, int(WEIGHT_STEPS / (2 * neurons * stimuli * seeds))))
    z = 0.1 * jax.random.normal(jax.random.key(1), (steps_taken, 1, stimuli))

    def start(key: Key) -> LearnerState:
        return learn.init(init_params(key, net), key, Example(z[0], z[0]))

    def steps(state: LearnerState) -> tuple[LearnerState, Array]:
        return jax.lax.scan(lambda s, x: ((after := learn.step(s, Example(x, x)))[0], after[1].loss), state, z)

    states = sweep(start)(jax.vmap(jax.random.key)(jnp.arange(seeds)))
    return partial(sweep(steps), states), steps_taken * seeds


def products(neurons: int, stimuli: int, seeds: int) -> tuple[Call, int]:
    """A call of r = W s, s = D r and an outer product that changes W or D, and its number of steps over all seeds."""

    def steps(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        def both(carry: tuple[Array, Array, Array], _: None) -> tuple[tuple[Array, Array, Array], None]:
            for learns in (0, 1):  # awake and asleep
                w, d, s = carry
                r = s @ w.T
                s = r @ d.T
                carry = (w + 1e-9 * r[:, None] * s, d, s) if learns else (w, d + 1e-9 * s[:, None] * r, s)
            return carry, None

        return jax.lax.scan(both, state, None, length=MOST_STEPS // 2)[0]

    def start(key: Key) -> tuple[Array, Array, Array]:
        params = init_params(key, two_stream((stimuli, neurons)))
        return params["inference"]["w"][0], params["generation"]["w"][0], jnp.ones(stimuli)

    states = sweep(start)(jax.vmap(jax.random.key)(jnp.arange(seeds)))
    return partial(sweep(steps), states), MOST_STEPS * seeds


def rival(neurons: int, stimuli: int, steps: int = 2000) -> tuple[Call, int]:
    """A call of impression learning as a plain NumPy loop that also draws the noise, and its number of steps."""
    params = jax.tree.map(np.asarray, init_params(jax.random.key(0), two_stream((stimuli, neurons))))
    generation, rng = params["generation"], np.random.default_rng(0)
    weights = params["inference"]["w"][0], generation["w"][0], generation["transition"]
    z = 0.1 * rng.standard_normal((steps, stimuli), np.float32)

    def loop() -> tuple[np.ndarray, ...]:
        xi, eta = (rng.standard_normal((steps, n), np.float32) for n in (stimuli, neurons))
        return _rivals.impression(*weights, z, sigma_inf=SIGMA_INF, sigma_gen=SIGMA_GEN, rate=RATE, xi=xi, eta=eta)

    return loop, steps


def against_floor(name: str, seconds: float) -> Row:
    """The time of a step without its products, relative to that of its random numbers; and the time of a plain loop."""
    calls = {
        "rule": training(name, NEURONS, STIMULI, SEEDS),
        "normals": normals(),
        "products": products(NEURONS, STIMULI, SEEDS),
        **({"numpy": rival(NEURONS, STIMULI)} if name == "impression" else {}),
    }
    least = in_turns({what: call for what, (call, _) in calls.items()}, seconds)
    each = {what: least[what] / count for what, (_, count) in calls.items()}
    return {
        "times_floor": (each["rule"] - each["products"]) / (each["normals"] * (NEURONS + STIMULI)),
        "seed_steps_per_s": 1 / each["rule"],
        "ns_per_normal": 1e9 * each["normals"],
        "products_us": 1e6 * each["products"],
        **({"times_numpy": each["numpy"] / each["rule"]} if "numpy" in each else {}),
    }


def over(name: str, other: str, seconds: float) -> Row:
    """The time of a step as a multiple of another rule's."""
    calls = {each: training(each, NEURONS, STIMULI, SEEDS) for each in (name, other)}
    least = in_turns({each: call for each, (call, _) in calls.items()}, seconds)
    return {f"times_{other}": (least[name] / calls[name][1]) / (least[other] / calls[other][1])}


def rows(quick: bool) -> Iterator[tuple[str, Row]]:
    """All rows, each as soon as it is measured."""
    seconds, size = 0.3 if quick else 3.0, f"neurons={NEURONS} stimuli={STIMULI} seeds={SEEDS}"
    for name in RULES[:1] if quick else RULES:
        yield f"{name} {size}", against_floor(name, seconds)
    if quick:
        return
    yield f"neural_variational beside impression {size}", over("neural_variational", "impression", seconds)
    for name in RULES:
        for n in (20, 100, 500):
            for seeds in (1, 20, 1000):
                if 8 * n * 5 * n * seeds * (3 if name == "neural_variational" else 1) < BYTES:
                    call, count = training(name, n, 5 * n, seeds)
                    least = in_turns({"": call}, 1.0)[""]
                    yield f"{name} neurons={n} stimuli={5 * n} seeds={seeds}", {"seed_steps_per_s": count / least}


def bench(quick: bool, say: Say) -> dict[str, Row]:
    """Measures the family.

    Args:
      quick: measure one rule only.
      say: called with a line about each row when it is measured.

    Returns:
      Rows by name.
    """
    return collected(rows(quick), say)
