"""L10 for rules that learn by windows: the gradient through a window by autodiff of its equations, on two cells."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from plasticity_jax.base import LearningRule, learner
from plasticity_jax.typing import Array, Example, Params
from tests.laws.classes import Approximate, Exact, Match
from tests.laws.common import compiled, first_with_the_problem_of, problem, seed

STEPS, N = 6, 5


class Network(NamedTuple):
    """A cell's equations.

    Attributes:
      step: ``(sums (B, G, n), h (B, n)) -> h``, the new activity from a neuron's gate sums and its own last activity.
      loss: ``(z, y) -> (B,)``.
    """

    step: Callable[[Array, Array], Array]
    loss: Callable[[Array, Array], Array]


def gated(v: Array, h: Array) -> Array:
    """flax's GRU: reset, update, and the candidate's input and recurrent sums."""
    reset, keep = jax.nn.sigmoid(v[:, 0]), jax.nn.sigmoid(v[:, 1])
    return (1 - keep) * jnp.tanh(v[:, 2] + reset * v[:, 3]) + keep * h


def half_square(z: Array, y: Array) -> Array:
    return 0.5 * jnp.sum((z - y) ** 2, 1)


def cross_entropy(z: Array, y: Array) -> Array:
    return -jnp.sum(y * (z - jax.scipy.special.logsumexp(z, axis=1, keepdims=True)), 1)


VANILLA = Network(lambda v, h: jnp.tanh(v[:, 0]), half_square)
GRU = Network(gated, half_square)
OF_BPTT = {
    "bptt_windows": Network(lambda v, h: 0.5 * h + 0.5 * jnp.tanh(v[:, 0]), cross_entropy),
    "bptt_windows_gru": Network(gated, cross_entropy),
}


def network(name: str) -> Network:
    return OF_BPTT[name] if name in OF_BPTT else GRU if name.endswith("_gru") else VANILLA


class World(NamedTuple):
    """Fixed weights on a number of windows, each of which starts where the last one ended.

    Attributes:
      params: weights.
      examples: (T, B, S, ...).
      rates: (T, S, B, n).
      grad: gradients of each window's loss, leading axis T; no credit flows into the window before.
      immediate: the same, without credit through time: each step's loss by that step's use of the weights alone.
      within: the same, with credit that stays within its neuron: presynaptic activity is held constant.
    """

    params: Params
    examples: Example
    rates: Array
    grad: Any
    immediate: Any
    within: Any


def window(
    net: Network, now: Any, before: Any, h_0: Array, x: Array, y: Array, presynaptic: Array | None = None
) -> tuple[Array, tuple[Array, Array]]:
    """The equations; a step's loss uses the weights `now` at that step and `before` at the steps before it.

    x and y are (B, S, ...). If both are the same weights it is the loss of the window: mean over B, sum over S.
    `presynaptic` (S, B, n) replaces the activity that neurons receive from each other.
    """
    h, losses, rates = h_0, [], []
    for t in range(x.shape[1]):
        presynaptic_t = h if presynaptic is None else presynaptic[t]

        def activity(weights: Any, h: Array, presynaptic_t: Array, t: int = t) -> Array:
            pre = jnp.concatenate([presynaptic_t, x[:, t], jnp.ones((len(x), 1))], 1)
            return net.step(jnp.einsum("gnm,bm->bgn", weights["w"], pre), h)

        h_now = activity(now, h, presynaptic_t)
        z = h_now @ now["w_out"][:, :-1].T + now["w_out"][:, -1]
        losses.append(jnp.mean(net.loss(z, y[:, t])))
        h = activity(before, h, presynaptic_t)
        rates.append(h)
    return sum(losses, jnp.zeros(())), (h, jnp.stack(rates))


def world(name: str, uncoupled: bool = False) -> World:
    return world_of(first_with_the_problem_of(name), uncoupled)


@functools.cache
def world_of(name: str, uncoupled: bool) -> World:
    """The registry's own case, with active biases; uncoupled: W_rec = 0."""
    case, net = problem(name), network(name)
    with jax.ensure_compile_time_eval():
        params = case.params(seed(120))
        w = params["forward"]["w"]
        exist = w != 0
        w = w.at[:, :, -1].set(0.3 * jnp.cos(jnp.arange(w.shape[0] * N).reshape(-1, N)))
        w = w.at[:, :, :N].multiply(0 if uncoupled else 1.3)
        weights = {**params["forward"], "w": w}
        exist = exist.at[:, :, -1].set(True)
        params = {**params, "forward": weights}
        examples = case.batches(STEPS)

        def body(h: Array, at: Example) -> Any:
            def by(loss: Callable[[Any], Any]) -> Any:
                grad, aux = jax.grad(loss, has_aux=True)(weights)
                return {**grad, "w": jnp.where(exist, grad["w"], 0)}, aux

            grad, (end, rates) = by(lambda w: window(net, w, w, h, at.x, at.y))
            immediate, _ = by(lambda w: window(net, w, weights, h, at.x, at.y))
            presynaptic = jnp.concatenate([h[None], rates[:-1]])
            within, _ = by(lambda w: window(net, w, w, h, at.x, at.y, presynaptic))
            return end, (rates, grad, immediate, within)

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


def match(w: World, updates: Any, expected: Any, unlike: Any) -> Match:
    """A match of all weights; `unlike` differs in the recurrent ones, which the claims are about."""
    return Match(updates, expected, {"w": unlike["w"], "w_out": 0 * expected["w_out"]}, w.rates)


def back(w: World, scale: float) -> World:
    """The same world with B a multiple of W_rec."""
    w_back = scale * w.params["forward"]["w"][:, :, :N]
    return w._replace(params={**w.params, "feedback": {"w_back": w_back}})


def exact(name: str) -> Exact:
    def windows() -> dict[str, Match]:
        w = world(name)
        return {"each window": match(w, hold(problem(name).case.make(), w), w.grad, w.immediate)}

    return Exact(windows)


def transported(name: str) -> Match:
    """B = W_rec gives backpropagation through time."""
    w = world(name)
    return match(w, hold(problem(name).case.make(), back(w, 1)), w.grad, w.immediate)


def within_neurons(name: str) -> Match:
    """B = 0 gives the gradient without credit between neurons."""
    w = world(name)
    return match(w, hold(problem(name).case.make(), back(w, 0)), w.within, w.grad)


def each_step_alone(name: str) -> Match:
    w = world(name)
    return match(w, hold(problem(name).case.make(), w), w.immediate, w.grad)


def uncoupled(name: str) -> Match:
    """A match at W_rec = 0 in the vanilla network, which carries no credit."""
    w = world(name, uncoupled=True)
    return match(w, hold(problem(name).case.make(), w), w.grad, jax.tree.map(jnp.zeros_like, w.grad))


def elsewhere(name: str) -> Callable[[], Any]:
    def differ() -> Any:
        w = world(name)
        return hold(problem(name).case.make(), w)["w"], w.grad["w"]

    return differ


def descent(name: str, rate: float = 0.02, steps: int = 400) -> Callable[[], tuple[float, float]]:
    """Losses of a pulse and targets for the steps after it, with the readout frozen: only the cell's weights learn."""

    def losses() -> tuple[float, float]:
        params = world(name).params
        x = jnp.zeros((1, 6, 2)).at[0, 0].set(jnp.array([1.0, -1.0]))
        t = jnp.arange(6.0)
        batch = Example(x, 0.5 * jnp.stack([jnp.sin(t), jnp.cos(t)], -1)[None])
        only = {"forward": {"w": 1.0, "w_out": 0.0}, "feedback": {"w_back": float("perturbation" in name)}}
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


def approximate(name: str, **reductions: Callable[[str], Match]) -> Approximate:
    named = {label: functools.partial(reduction, name) for label, reduction in reductions.items()}
    return Approximate(named, elsewhere(name), descent(name))


BOTH = {"B = W": transported, "B = 0": within_neurons}

CLASSES = {
    "bptt_windows": exact("bptt_windows"),
    "bptt_windows_gru": exact("bptt_windows_gru"),
    "truncated_to_one_step": approximate(
        "truncated_to_one_step", **{"W = 0": uncoupled, "each step alone": each_step_alone}
    ),
    "truncated_to_one_step_gru": approximate("truncated_to_one_step_gru", **{"each step alone": each_step_alone}),
    **{
        name: approximate(name, **BOTH)
        for name in (
            "recurrent_feedback_alignment",
            "recurrent_feedback_alignment_gru",
            "recurrent_node_perturbation",
            "recurrent_node_perturbation_gru",
            "recurrent_node_perturbation_ridge",
            "recurrent_node_perturbation_ridge_gru",
        )
    },
}
