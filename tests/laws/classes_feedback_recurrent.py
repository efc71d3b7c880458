"""L10 for the recurrent rules of the feedback family: the gradient through a window by autodiff of its equations."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.base import LearningRule, learner
from plasticity_jax.networks.vanilla_rnn import vanilla_rnn
from plasticity_jax.rules import feedback
from plasticity_jax.typing import Array, Example, Params
from tests.laws.classes import Approximate, Exact, Match
from tests.laws.common import compiled, problem, seed

STEPS, N = 6, 5
NET = vanilla_rnn()


class World(NamedTuple):
    """Weights held still on a number of windows, each from where the last one ended.

    Attributes:
      params: weights.
      examples: (T, B, S, ...).
      rates: (T, S, B, n).
      grad: gradients of each window's loss, leading axis T; no credit flows into the window before.
      immediate: the same, without credit through time: each step's loss by that step's use of the weights alone.
    """

    params: Params
    examples: Example
    rates: Array
    grad: Any
    immediate: Any


def window(now: Any, before: Any, h_0: Array, x: Array, y: Array) -> Any:
    """The equations; `now` are the weights of the step whose loss is taken, `before` those of the steps before it.

    x and y are (B, S, ...). With one and the same for both it is the loss of the window: mean over B, sum over S.
    """
    h, losses, rates = h_0, [], []
    for t in range(x.shape[1]):

        def activity(weights: Any, h: Array, t: int = t) -> Array:
            return jnp.tanh(x[:, t] @ weights["u"].T + h @ weights["w"].T + weights["bias"])

        answered = activity(now, h) @ now["v"].T + now["bias_out"]
        losses.append(0.5 * jnp.mean(jnp.sum((answered - y[:, t]) ** 2, 1)))
        h = activity(before, h)
        rates.append(h)
    return sum(losses), (h, jnp.stack(rates))


@functools.cache
def world(deaf: bool = False) -> World:
    """The registry's own case, biases made alive; deaf: W = 0."""
    case = problem("recurrent_backprop")
    with jax.ensure_compile_time_eval():
        params = case.params(seed(120))
        weights = params["forward"]
        weights["bias"] = 0.3 * jnp.cos(jnp.arange(N))
        weights["w"] = 0 * weights["w"] if deaf else 1.3 * weights["w"]
        examples = case.batches(STEPS)

        def body(h: Array, at: Example) -> Any:
            whole = jax.grad(lambda w: window(w, w, h, at.x, at.y), has_aux=True)
            grad, (end, rates) = whole(weights)
            immediate, _ = jax.grad(lambda w: window(w, weights, h, at.x, at.y), has_aux=True)(weights)
            return end, (rates, grad, immediate)

        _, out = compiled(lambda: jax.lax.scan(body, jnp.zeros((examples.x.shape[1], N)), examples))()
    return World(params, examples, *out)


def hold(rule: LearningRule, w: World) -> Any:
    """The rule's updates for ``forward`` in every window of a world."""
    key_init, key_run = jax.random.split(seed(121))

    def body(traces: Any, at: Any) -> Any:
        t, batch = at
        updates, traces, _ = rule.update(w.params, traces, jax.random.fold_in(key_run, t), batch)
        return traces, updates["forward"]

    def run() -> Any:
        first = jax.tree.map(lambda leaf: leaf[0], w.examples)
        return jax.lax.scan(body, rule.init(w.params, key_init, first), (jnp.arange(STEPS), w.examples))[1]

    return compiled(run)()


RECURRENT = ("u", "w", "bias")


def match(w: World, updates: Any, want: Any, unlike: Any) -> Match:
    """All weights; `unlike` differs in the recurrent ones, which the claims are about."""
    other = {name: unlike[name] if name in RECURRENT else want[name] for name in want}
    return Match(updates, want, {**other, "v": 0 * want["v"], "bias_out": 0 * want["bias_out"]}, w.rates)


def exact() -> dict[str, Match]:
    w = world()
    return {"each window": match(w, hold(problem("recurrent_backprop").case.make(), w), w.grad, w.immediate)}


def transported(name: str) -> Callable[[], Match]:
    """B = W is backpropagation through time."""

    def reduction() -> Match:
        w = world()
        params = {**w.params, "feedback": {"w_fb": w.params["forward"]["w"]}}
        return match(w, hold(problem(name).case.make(), w._replace(params=params)), w.grad, w.immediate)

    return reduction


def nothing_carried(rule: LearningRule) -> Callable[[], Match]:
    """B = 0 is the gradient by each step's own use of the weights."""

    def reduction() -> Match:
        w = world()
        params = {**w.params, "feedback": {"w_fb": 0 * w.params["forward"]["w"]}}
        return match(w, hold(rule, w._replace(params=params)), w.immediate, w.grad)

    return reduction


def deaf() -> Match:
    """W = 0: there is no credit to carry."""
    w = world(deaf=True)
    got = hold(problem("truncated_to_one_step").case.make(), w)
    return match(w, got, w.grad, jax.tree.map(jnp.zeros_like, w.grad))


def elsewhere(name: str) -> Callable[[], Any]:
    def differ() -> Any:
        w = world()
        return hold(problem(name).case.make(), w)["w"], w.grad["w"]

    return differ


def descent(name: str, rate: float = 0.02, steps: int = 400) -> Callable[[], tuple[float, float]]:
    """A pulse, and answers for the steps after it, with the readout frozen: only U, W and b can learn."""

    def losses() -> tuple[float, float]:
        params = world().params
        x = jnp.zeros((1, 6, 2)).at[0, 0].set(jnp.array([1.0, -1.0]))
        t = jnp.arange(6.0)
        batch = Example(x, 0.5 * jnp.stack([jnp.sin(t), jnp.cos(t)], -1)[None])
        only = {"forward": {**dict.fromkeys(RECURRENT, 1.0), "v": 0.0, "bias_out": 0.0}, "feedback": {"w_fb": 1.0}}
        if not name.endswith("perturbation") and not name.endswith("ridge"):
            only["feedback"]["w_fb"] = 0.0
        tx = optax.chain(optax.stateless(lambda g, _: jax.tree.map(jnp.multiply, g, only)), optax.sgd(rate))
        learn = learner(problem(name).case.make(), tx)

        @compiled
        def run() -> Array:
            state = learn.init(params, seed(122), batch)

            def body(state: Any, _: None) -> Any:
                state, info = learn.step(state, batch)
                return state, info.loss

            return jax.lax.scan(body, state, None, length=steps)[1]

        curve = run()
        return float(curve[1]), float(jnp.mean(curve[-10:]))

    return losses


def approximate(name: str, **reductions: Callable[[], Match]) -> Approximate:
    return Approximate({"B = W": transported(name), **reductions}, elsewhere(name), descent(name))


CLASSES = {
    "recurrent_backprop": Exact(exact),
    "recurrent_feedback_alignment": approximate(
        "recurrent_feedback_alignment",
        **{"B = 0": nothing_carried(feedback.recurrent_feedback_alignment(NET))},
    ),
    "truncated_to_one_step": Approximate(
        {"W = 0": deaf, "B = 0": nothing_carried(feedback.truncated_to_one_step(NET))},
        elsewhere("truncated_to_one_step"),
        descent("truncated_to_one_step"),
    ),
    "recurrent_node_perturbation": approximate("recurrent_node_perturbation"),
    "recurrent_node_perturbation_ridge": approximate("recurrent_node_perturbation_ridge"),
    "recurrent_node_perturbation_legacy": approximate("recurrent_node_perturbation_legacy"),
}
