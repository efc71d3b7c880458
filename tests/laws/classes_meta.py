"""L10 for the rules over theta: the gradient by autodiff of lives written here, and each rule's relation to it."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from plasticity_jax import meta
from plasticity_jax.base import LearningRule, learner
from plasticity_jax.meta.cases import NET, prefix
from plasticity_jax.typing import Array, Episode, PyTree
from tests.laws.classes import Approximate, Exact, Match, Unbiased
from tests.laws.common import at, compiled, problem, seed

BATCHES, SAMPLES = 8, 20_000


def front(theta: PyTree, x: Array) -> Array:
    return jnp.tanh(jnp.einsum("...j,ij->...i", x, theta["prefix"]["w"][0]) + theta["prefix"]["bias"][0])


def squares(weights: PyTree, h: Array, y: Array) -> Array:
    """The network's loss on features h."""
    h = jnp.tanh(jnp.einsum("bj,ij->bi", h, weights["w"][0]) + weights["bias"][0])
    return jnp.mean((jnp.einsum("bj,ij->bi", h, weights["w"][1]) + weights["bias"][1] - y) ** 2) / 2


def lived(theta: PyTree, episode: Episode, weights: PyTree, hold: Callable[[PyTree], PyTree]) -> PyTree:
    for t in range(episode.support.x.shape[0]):
        x, y, *_ = at(episode.support, t)
        gradient = hold(jax.grad(squares)(weights, front(theta, x), y))
        weights = jax.tree.map(lambda w, r, g: w - r * g, weights, theta["rate"], gradient)
    return weights


def true_gradient(theta: PyTree, batch: Episode, hold: Callable[[PyTree], PyTree] = lambda g: g) -> Any:
    """The gradient of the mean loss over episodes after a whole life, and the weights; `hold` acts on each g_t."""

    def mean(theta: PyTree) -> Any:
        def one(episode: Episode) -> Any:
            weights = lived(theta, episode, theta["forward"], hold)
            return squares(weights, front(theta, episode.query.x), episode.query.y), weights

        losses, weights = jax.vmap(one)(batch)
        return jnp.mean(losses), weights

    return jax.grad(mean, has_aux=True)(theta)


@functools.cache
def world(rate: float = 0.2) -> tuple[PyTree, Episode]:
    """The registry's own case, with weights and targets twice as large, so that the curvature matters."""
    case = problem("meta_gradient")
    with jax.ensure_compile_time_eval():
        theta = jax.tree.map(lambda leaf: 2 * leaf, case.params(seed(120)))
        theta["rate"] = jax.tree.map(lambda leaf: jnp.full_like(leaf, rate), theta["rate"])
        return theta, Episode(*(part._replace(y=2 * part.y) for part in case.batches(BATCHES)))


def held_still(rule: LearningRule, theta: PyTree, batches: Episode) -> PyTree:
    """The rule's updates on every batch of episodes, with fixed theta."""

    def body(traces: Any, batch: Episode) -> Any:
        updates, traces, _ = rule.update(theta, traces, seed(121), batch)
        return traces, updates

    return compiled(lambda: jax.lax.scan(body, rule.init(theta, seed(122), at(batches, 0)), batches)[1])()


def true_gradients(rate: float, hold: Callable[[PyTree], PyTree] = lambda g: g) -> Any:
    theta, batches = world(rate)
    return compiled(jax.vmap(lambda batch: true_gradient(theta, batch, hold)))(batches)


def whole_lives() -> dict[str, Match]:
    expected, ends = true_gradients(0.2)
    unlike, _ = true_gradients(0.2, jax.lax.stop_gradient)
    matches = {}
    for label, rematerialise in {"rematerialised": True, "stored": False}.items():
        life = meta.gradient_life(NET, prefix=prefix, blockwise=rematerialise)
        gradients = held_still(meta.meta_gradient(life, remat=rematerialise), *world())
        matches[label] = Match(gradients, expected, unlike, ends["w"][0])
    return matches


def resting() -> Match:
    """A match at a rate of zero: the gradients are those at birth, and first order is exact."""
    gradients = held_still(meta.first_order(NET, prefix=prefix), *world(0.0))
    return Match(gradients, true_gradients(0.0)[0], true_gradients(0.2)[0], world(0.0)[1].query.y)


def held_gradients() -> Match:
    expected, ends = true_gradients(0.2, jax.lax.stop_gradient)
    gradients = held_still(meta.first_order(NET, prefix=prefix), *world())
    return Match(gradients, expected, true_gradients(0.2)[0], ends["w"][0])


def second_windows(hold: Callable[[PyTree], PyTree]) -> Any:
    """The gradient of the loss at the end of a second window; `hold` acts on the state that enters it."""
    theta, batches = world()

    def mean(theta: PyTree, first: Episode, second: Episode) -> Array:
        def one(first: Episode, second: Episode) -> Array:
            entering = hold(lived(theta, first, theta["forward"], lambda g: g))
            weights = lived(theta, second, entering, lambda g: g)
            return squares(weights, front(theta, second.query.x), second.query.y)

        return jnp.mean(jax.vmap(one)(first, second))

    pairs = [jax.tree.map(lambda leaf, i=i: leaf[i::2], batches) for i in (0, 1)]
    return compiled(jax.vmap(jax.grad(mean), in_axes=(None, 0, 0)))(theta, *pairs)


def truncated_rule(windows: int) -> LearningRule:
    return meta.truncated(meta.gradient_life(NET, prefix=prefix), windows=windows)


def one_window() -> Match:
    expected, ends = true_gradients(0.2)
    gradients = held_still(truncated_rule(1), *world())
    return Match(gradients, expected, true_gradients(0.2, jax.lax.stop_gradient)[0], ends["w"][0])


def entering_state_held() -> Match:
    gradients = jax.tree.map(lambda leaf: leaf[1::2], held_still(truncated_rule(2), *world()))
    ends = true_gradients(0.2)[1]
    return Match(gradients, second_windows(jax.lax.stop_gradient), second_windows(lambda s: s), ends["w"][0])


def first_order_elsewhere() -> Any:
    return held_still(meta.first_order(NET, prefix=prefix), *world()), true_gradients(0.2)[0]


def truncated_elsewhere() -> Any:
    gradients = jax.tree.map(lambda leaf: leaf[1::2], held_still(truncated_rule(2), *world()))
    return gradients, second_windows(lambda s: s)


def descent(name: str) -> Callable[[], tuple[float, float]]:
    """The loss of an output of zero, and the mean over the last of many outer steps, each on new episodes.

    Every episode has its own slopes, of either sign with equal chance: without learning in the life, no output beats
    zero. The rates start at zero, too.
    """

    def losses() -> tuple[float, float]:
        case = problem(name)
        theta, _ = world(0.0)
        learn = learner(case.case.make(), optax.adam(0.01))
        batches = case.batches(1000)

        @compiled
        def run() -> Array:
            state = learn.init(theta, seed(123), at(batches, 0))

            def body(state: Any, batch: Episode) -> Any:
                state, info = learn.step(state, batch)
                return state, info.loss

            return jax.lax.scan(body, state, batches)[1]

        silent = float(jnp.mean(batches.query.y**2) / 2)
        return silent, float(jnp.mean(run()[-300:]))

    return losses


def quadratic_losses(thetas: list[PyTree], batches: list[Episode], rate: float) -> Array:
    """Mean loss at the end of the last window of the linear unit's life; each window has its own theta."""

    def one(*episodes: Episode) -> Array:
        w, bias = thetas[0]["forward"]["w"][0], thetas[0]["forward"]["bias"][0]
        for theta, episode in zip(thetas, episodes, strict=True):
            for t in range(episode.support.x.shape[0]):
                x, y, *_ = at(episode.support, t)
                error = x @ w[0] + bias - (y[:, 0] - theta["offset"])
                w, bias = w - rate * jnp.mean(error[:, None] * x, 0), bias - rate * jnp.mean(error)
        error = episodes[-1].query.x @ w[0] + bias - (episodes[-1].query.y[:, 0] - thetas[-1]["offset"])
        return jnp.mean(error**2) / 2

    return jnp.mean(jax.vmap(one)(*batches))


def samples(rule: LearningRule, theta: PyTree, batches: list[Episode]) -> Any:
    """The rule's updates in a life, window by window, with fixed theta; leaves lead with independent samples."""

    def life(key: Any) -> Any:
        traces, updates = rule.init(theta, key, batches[0]), {}
        for k, batch in enumerate(batches):
            updates[f"window {k}"], traces, _ = rule.update(theta, traces, jax.random.fold_in(key, k), batch)
        return updates

    return compiled(jax.vmap(life))(jax.random.split(seed(124), SAMPLES))


def on_average(name: str, windows: int) -> Callable[[], Match]:
    def estimates() -> Match:
        case = problem(name)
        theta = {**case.params(seed(125)), "offset": jnp.full((1,), 2.0)}  # far enough for every gradient to be large
        batches = [at(case.batches(windows), k) for k in range(windows)]
        rate = case.case.coefficients["rate"]
        expected, unlike = {}, {}
        for k in range(windows):

            def loss(theta: PyTree, last: PyTree, k: int = k) -> Array:
                return quadratic_losses([theta] * k + [last], batches[: k + 1], rate)

            early, late = jax.grad(loss, (0, 1))(theta, theta)
            expected[f"window {k}"] = jax.tree.map(jnp.add, early, late)
            # The gradient if the perturbation were forgotten at the window's end; or, with one window, without a life.
            unlike[f"window {k}"] = (
                late if windows > 1 else jax.grad(lambda th: quadratic_losses([th], batches, 0.0))(theta)
            )
        updates = samples(case.case.make(), theta, batches)
        return Match(updates, expected, unlike, case.batches(BATCHES).query.y)

    return estimates


CLASSES = {
    "meta_gradient": Exact(whole_lives),
    "first_order": Approximate(
        {"a rate of zero": resting, "the gradients of the life held": held_gradients},
        first_order_elsewhere,
        descent("first_order"),
    ),
    "truncated": Approximate(
        {"one window is the whole life": one_window, "what enters a window held": entering_state_held},
        truncated_elsewhere,
        descent("truncated"),
    ),
    "es": Unbiased(on_average("es", 1)),
    "pes": Unbiased(on_average("pes", 2)),
}
