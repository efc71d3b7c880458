"""L10 for the generative family: the gradient by complex steps in plain NumPy, and each rule's relation to it."""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import LearningRule, learner
from plasticity_jax.networks.two_stream import TwoStream, draw, init_params, trajectory, two_stream
from plasticity_jax.rules import generative
from plasticity_jax.rules.generative import alternating, always
from plasticity_jax.typing import Array, Example, Params
from tests.laws.classes import Approximate, Exact, Local, Match, Unbiased
from tests.laws.common import compiled, seed
from tests.oracles import generative as oracle

STEPS, STREAMS = 8, 2
SIZES = {1: (3, 4), 2: (4, 3, 2)}


class World(NamedTuple):
    """Fixed weights, a stimulus, and the random numbers of each step, from the key that `hold` gives it."""

    net: TwoStream
    params: Params
    z: Array
    innovations: list[list[np.ndarray]]


@functools.cache
def world(depth: int = 1, output: str = "identity", noise: str = "gaussian") -> World:
    sizes = SIZES[depth]
    gaussian = noise == "gaussian"
    sigma = tuple(0.5 + 0.1 * i for i in range(depth + 1)), tuple(0.8 - 0.15 * i for i in range(depth + 1))
    if not gaussian:
        sigma = ((0.4,) * (depth + 1),) * 2
    net = two_stream(sizes, *sigma, output=output, noise=noise, activation="tanh" if gaussian else "sigmoid")
    with jax.ensure_compile_time_eval():
        params = jax.tree.map(lambda leaf: 2 * leaf, init_params(seed(150), net, 0.4))
        for group in ("inference", "generation"):
            params[group]["bias"] = tuple(0.3 * jnp.cos(len(group) + jnp.arange(n)) for n in sizes[1:-1])
        z = jax.random.normal(seed(151), (STEPS, STREAMS, sizes[0]))
        drawn = [draw(net, key(t), STREAMS, jnp.dtype(jnp.float64)) for t in range(STEPS)] if gaussian else []
    return World(net, params, z, [[np.asarray(each) for each in step] for step in drawn])


def key(t: Any) -> Array:
    return jax.random.fold_in(seed(152), t)


def hold(rule: LearningRule, w: World) -> Any:
    """The rule's updates and infos on every step, with fixed weights."""

    def body(traces: Any, at: Any) -> Any:
        t, z = at
        updates, traces, info = rule.update(w.params, traces, key(t), Example(z, z))
        return traces, (updates, info)

    def run() -> Any:
        traces = rule.init(w.params, seed(153), Example(w.z[0], w.z[0]))
        return jax.lax.scan(body, traces, (jnp.arange(STEPS), w.z))[1]

    return compiled(run)()


def numpy_of(tree: Any) -> Any:
    return jax.tree.map(np.asarray, tree)


def true(w: World, wake: tuple[bool, ...]) -> Any:
    """d (log q~_t - log p~_t) / d weights through all samples, mean over the streams; arrays (T, ...)."""

    def losses(params: Any) -> np.ndarray:
        return oracle.losses(w.net, params, np.asarray(w.z), wake, w.innovations).mean(1)

    return oracle.derivative(losses, numpy_of(w.params))


def activity(w: World, wake: tuple[bool, ...]) -> np.ndarray:
    walk = oracle.walk(w.net, numpy_of(w.params), np.asarray(w.z), wake, w.innovations)
    return np.array([step.x[1] for step in walk])


AWAKE, ASLEEP, HALF = (True,) * STEPS, (False,) * STEPS, tuple(t % 4 < 2 for t in range(STEPS))


def one_phase(depth: int, output: str, wake: bool) -> Callable[[], Match]:
    """A match in one phase: the samples do not depend on the weights that learn, so their gradient is the score."""

    def reduction() -> Match:
        w, pattern = world(depth, output), AWAKE if wake else ASLEEP
        group = "generation" if wake else "inference"
        updates, alike = (
            hold(generative.impression(w.net, schedule=schedule, precondition=False), w)[0][group]
            for schedule in (always(wake), alternating(2))
        )
        return Match(updates, true(w, pattern)[group], alike, activity(w, pattern))

    return reduction


def inference_elsewhere(depth: int, output: str) -> Callable[[], Any]:
    """Twice the inference updates summed over time, as in equation 5, and the true gradient."""

    def gradients() -> Any:
        w = world(depth, output)
        updates = hold(generative.impression(w.net, precondition=False), w)[0]["inference"]
        twice = jax.tree.map(lambda leaf: 2 * np.sum(leaf, 0), updates)
        return twice, jax.tree.map(lambda leaf: np.sum(leaf, 0), true(w, HALF)["inference"])

    return gradients


def descent(depth: int, output: str) -> Callable[[], tuple[float, float]]:
    """Squared error of the best readout of the stimulus from layer 1 before inference learns, and of D_0's after.

    The initial weights are so small that noise dominates the stimulus: only the inference weights, which learn by the
    approximation, can change that.
    """

    def losses() -> tuple[float, float]:
        sizes, steps = (8, 3) if depth == 1 else (8, 3, 2), 10_000
        net = two_stream(sizes, (0.1,) * (depth + 1), (0.1,) + (0.3,) * depth, output=output)
        with jax.ensure_compile_time_eval():
            params = init_params(seed(154), net)
            z = 0.5 * jax.random.normal(seed(155), (steps, 1, 3)) @ jax.random.normal(seed(156), (3, 8)) / 3**0.5
        learn = learner(generative.impression(net), optax.sgd(0.01))

        @compiled
        def run() -> Any:
            state = learn.init(params, seed(157), Example(z[0], z[0]))
            end = jax.lax.scan(lambda s, x: learn.step(s, Example(x, x)), state, z)[0].params
            walks = [trajectory(net, p, seed(158), z[:2000], jnp.ones(2000, bool)) for p in (params, end)]
            return walks[0].x[1][:, 0], walks[1].generated[0][:, 0]

        before, reconstructed = (np.asarray(each) for each in run())
        expected = np.asarray(z[:2000, 0])
        best = before @ np.linalg.lstsq(before, expected, rcond=None)[0]
        return float(np.mean((best - expected) ** 2)), float(np.mean((reconstructed - expected) ** 2))

    return losses


def impression(depth: int, output: str) -> Approximate:
    return Approximate(
        {
            "generation, always awake": one_phase(depth, output, True),
            "inference, always asleep": one_phase(depth, output, False),
        },
        inference_elsewhere(depth, output),
        descent(depth, output),
    )


def one_neuron_gradient(net: TwoStream, params: Any, z: np.ndarray, nodes: int = 12) -> Any:
    """The derivative of the expected loss of wake, wake, sleep, sleep, by Gauss-Hermite quadrature.

    The loss of step t depends on the normals of few steps: awake the state forgets the past, asleep it is the state
    inferred at step 1 and two dreams. The error of twelve nodes a dimension is 1e-6.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    wake = (True, True, False, False)
    reads = {
        0: ("s0", "r0"),
        1: ("s0", "r0", "s1", "r1"),
        2: ("s1", "r1", "r2", "s2"),
        3: ("s1", "r1", "r2", "r3", "s3"),
    }

    def expected(params: Any) -> np.ndarray:
        total = np.zeros(())
        for t, names in reads.items():
            grid = list(itertools.product(range(nodes), repeat=len(names)))
            index = np.array(grid).T
            normals = {name: points[i][:, None] for name, i in zip(names, index, strict=True)}
            still = np.zeros((len(grid), 1))
            given = [[normals.get(f"s{u}", still), normals.get(f"r{u}", still)] for u in range(t + 1)]
            stimulus = np.broadcast_to(z[: t + 1, None], (t + 1, len(grid), 1))
            last = oracle.walk(net, params, stimulus, wake[: t + 1], given)[-1]
            sign = 1 if wake[t] else -1
            total = total + sign * np.prod(weights[index], 0) @ (last.log_q - last.log_p)
        return total

    return oracle.derivative(expected, params)


ONE_NET = two_stream((1, 1), (0.6, 0.5), (0.7, 0.6))
ONE_Z = np.array([[0.9], [-0.7], [0.8], [0.6]])


def one_neuron() -> Params:
    one = jnp.ones((1, 1))
    generation = {"w": (0.7 * one,), "bias": (), "transition": jnp.array([0.5])}
    return {"inference": {"w": (0.8 * one,), "bias": ()}, "generation": generation}


def trials(rule: LearningRule, samples: int = 8192, streams: int = 16) -> Any:
    """The sum of the updates of each trial of four steps with one neuron and fixed weights; arrays (samples, ...)."""
    params = one_neuron()

    def sample(sample_key: Array) -> Any:
        def body(traces: Any, at: Any) -> Any:
            t, z_t = at
            updates, traces, _ = rule.update(params, traces, jax.random.fold_in(sample_key, t), Example(z_t, z_t))
            return traces, updates

        stimulus = jnp.broadcast_to(ONE_Z[:, None], (4, streams, 1))
        traces = rule.init(params, sample_key, Example(stimulus[0], stimulus[0]))
        return jax.tree.map(lambda u: jnp.sum(u, 0), jax.lax.scan(body, traces, (jnp.arange(4), stimulus))[1])

    return jax.jit(jax.vmap(sample))(jax.random.split(seed(159), samples))


def neural_variational() -> Match:
    rule = generative.neural_variational(ONE_NET, gamma_g=1.0, gamma_baseline=0.0, trial=4, precondition=False)
    first_term = trials(generative.impression(ONE_NET, precondition=False))
    expected = one_neuron_gradient(ONE_NET, numpy_of(one_neuron()), ONE_Z)
    return Match(trials(rule), expected, jax.tree.map(lambda leaf: np.mean(leaf, 0), first_term), ONE_Z)


def reparameterised_windows() -> dict[str, Match]:
    matches = {}
    for depth, output in ((1, "tanh"), (2, "identity")):
        w = world(depth, output)
        gradients, short = (
            hold(generative.reparameterised(w.net, truncation=steps, precondition=False), w)[0] for steps in (2, 1)
        )
        matches[f"{depth} layers of neurons, output {output}"] = Match(
            gradients, true(w, AWAKE), short, activity(w, AWAKE)
        )
    return matches


def log_probability(w: World, params: Params, x: Any, top_tm1: Array, onset: Any, group: str, poisson: bool) -> Array:
    """log q or log p_m of given states (B, n_l), by jax.scipy.stats, mean over the streams."""
    logpdf, logpmf = jax.scipy.stats.norm.logpdf, jax.scipy.stats.poisson.logpmf
    f, g = {"tanh": jnp.tanh, "sigmoid": lambda v: 1 / (1 + jnp.exp(-v)), "identity": lambda v: v}, w.net.output
    phi, depth, weights = f[w.net.activation], len(x) - 1, params[group]
    sigma = w.net.sigma_inf if group == "inference" else w.net.sigma_gen
    total = jnp.zeros(())
    for layer in range(depth + 1):
        if group == "inference":
            if layer == 0:
                continue  # no weight
            v = jnp.einsum("ij,bj->bi", weights["w"][layer - 1], x[layer - 1])
            mean = phi(v + weights["bias"][layer - 1] if layer < depth else v)
        elif layer == depth:
            mean = jnp.where(onset, top_tm1, weights["transition"] * top_tm1)
        else:
            v = jnp.einsum("ij,bj->bi", weights["w"][layer], x[layer + 1])
            mean = phi(v + weights["bias"][layer - 1]) if layer > 0 else f[g](v)
        if layer > 0 and poisson:
            quantum = sigma[layer] ** 2
            each = logpmf(jnp.round(x[layer] / quantum), (jnp.maximum(mean, 0) + 0.01) / quantum)
        else:
            each = logpdf(x[layer], mean, sigma[layer])
        total = total + jnp.sum(each)
    return total / x[0].shape[0]


def scored_at(
    w: World, wake: tuple[bool, ...], x: Any, top_tm1: Array, poisson: bool = False, swap: bool = False
) -> Any:
    """-d [lambda log p_m + (1 - lambda) log q] at given states (T, B, n_l), by autodiff; swap is 1 - lambda."""
    onsets = jnp.array([now and t > 0 and not wake[t - 1] for t, now in enumerate(wake)])

    def minus(params: Params, x: Any, top_tm1: Array, onset: Array, awake: Array) -> Array:
        q, p = (log_probability(w, params, x, top_tm1, onset, group, poisson) for group in ("inference", "generation"))
        return -jnp.where(awake != swap, p, q)

    return compiled(jax.vmap(jax.grad(minus), in_axes=(None, 0, 0, 0, 0)))(
        w.params, x, top_tm1, onsets, jnp.array(wake)
    )


def scored(w: World, wake: tuple[bool, ...], poisson: bool = False, swap: bool = False) -> Any:
    """The same at the samples of the keys that `hold` gives, and layer 1 of those."""
    walk = compiled(lambda: trajectory(w.net, w.params, seed(152), w.z, jnp.array(wake)))()
    return scored_at(w, wake, walk.x, walk.top_tm1, poisson, swap), walk.x[1]


def poisson_scores() -> Match:
    w = world(2, noise="poisson")
    updates, info = hold(generative.impression(w.net, precondition=False), w)
    expected, r = scored(w, HALF, poisson=True)
    np.testing.assert_array_equal(info.aux["wake"], HALF)
    return Match(updates, expected, scored(w, HALF)[0], r)


def phases_of_four() -> Match:
    """A coin tossed every four steps sets the phase; updates are the scores of the stream that is not sampled."""
    w = world()
    updates, info = hold(generative.wake_sleep(w.net, phase=4, order="random", precondition=False), w)
    wake = tuple(bool(each) for each in info.aux["wake"])
    assert wake[:4] == (wake[0],) * 4
    assert wake[4:] == (wake[4],) * 4
    expected, r = scored(w, wake)
    return Match(updates, expected, scored(w, wake, swap=True)[0], r)


def alternating_phases() -> Match:
    """Phases that alternate make it impression learning."""
    w = world(2)
    updates = hold(generative.wake_sleep(w.net, phase=3), w)[0]
    expected, other = (hold(generative.impression(w.net, schedule=alternating(k)), w)[0] for k in (3, 2))
    return Match(updates, expected, other, activity(w, tuple(t % 6 < 3 for t in range(STEPS))))


def means_of_phases() -> Match:
    w = world(2)
    updates, info = hold(generative.wake_sleep(w.net, phase=2, coordinatewise=True, precondition=False), w)
    np.testing.assert_array_equal(info.ready, [t % 2 == 1 for t in range(STEPS)])
    steps, r = scored(w, HALF)

    def once(leaf: Any) -> np.ndarray:
        means = np.zeros_like(leaf)
        means[1::2] = (np.asarray(leaf)[0::2] + np.asarray(leaf)[1::2]) / 2
        return means

    return Match(updates, jax.tree.map(once, steps), steps, r)


CLASSES = {
    "impression": impression(1, "identity"),
    "impression_deep": impression(2, "tanh"),
    "impression_poisson": Local({"the scores of Poisson counts": poisson_scores}),
    "wake_sleep": Local(
        {"the scores, phase by phase": phases_of_four, "alternating, impression learning": alternating_phases}
    ),
    "wake_sleep_coordinatewise": Local({"the means of phases": means_of_phases}),
    "neural_variational": Unbiased(neural_variational),
    "reparameterised": Exact(reparameterised_windows),
}
