"""L10 for the recurrent family: an oracle from the equations, and what each rule owes to it.

The oracle gives every step its own copy W^s of the recurrent weights and differentiates each loss by each copy,
D[t, s] = dL^t / dW^s. Every gradient that a rule of this family claims is a sum over a part of D:

    past     dL^t / dW                sum_{s <= t} D[t, s]
    window   d(losses of it) / d(W in it)    sum over both t and s in it
    sliding  T losses from s on       sum_{s <= t < s + T} D[t, s]
    future   all losses from s on     sum_{t >= s} D[t, s]
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import LearningRule, learner
from plasticity_jax.networks.leaky_rnn import leaky_rnn
from plasticity_jax.rules import online
from plasticity_jax.typing import Array, Example, Params
from tests.laws.classes import Approximate, Exact, Local, Match, Unbiased
from tests.laws.common import compiled, problem, seed

ALPHA, STEPS, N = 0.5, 11, 5
SAMPLES, SAMPLED_AT = 10_000, (3, 7)


class World(NamedTuple):
    """A network held still on a stream, with the gradients of all its losses.

    Attributes:
      params: weights.
      examples: (T, B, ...).
      r0: (B, n), rates at the start.
      rates: (T, B, n).
      past_future: D, (T, S, n, m), S the steps with a copy of W of their own; mean over streams.
      readout: (T, n_out, n + 1), dL^t / dW_out.
    """

    params: Params
    examples: Example
    r0: Array
    rates: Array
    past_future: Array
    readout: Array


def losses(w_copies: Array, w: Array, w_out: Array, r0: Array, examples: Example, linear: bool) -> tuple[Array, Array]:
    """The equations, written out: step s uses w_copies[s], and w where they have run out; mean over streams."""
    steps, streams = examples.x.shape[:2]
    rest = jnp.broadcast_to(w, (steps - len(w_copies), *w.shape))

    def step(r: Array, at: Any) -> Any:
        w_s, (x, y) = at
        one = jnp.ones((streams, 1))
        v = jnp.concatenate([r, x, one], 1) @ w_s.T
        r = (1 - ALPHA) * r + ALPHA * (v if linear else jnp.tanh(v))
        z = jnp.concatenate([r, one], 1) @ w_out.T
        if linear:
            loss = 0.5 * jnp.sum((z - y) ** 2, 1)
        else:
            loss = -jnp.sum(y * (z - jax.scipy.special.logsumexp(z, axis=1, keepdims=True)), 1)
        return r, (jnp.mean(loss), r)

    _, out = jax.lax.scan(step, r0, (jnp.concatenate([w_copies, rest]), examples))
    return out


def world(
    params: Params, examples: Example, r0: Array | None = None, copies: int = STEPS, linear: bool = False
) -> World:
    w, w_out = params["forward"]["w"], params["forward"]["w_out"]
    start = jnp.zeros((examples.x.shape[1], len(w))) if r0 is None else r0

    @compiled
    def all_of_it(w_copies: Array, w_out: Array) -> Any:
        def by_step(w_copies: Array, w_out: Array) -> Any:
            return losses(w_copies, w, w_out, start, examples, linear)

        return jax.jacrev(by_step, argnums=(0, 1), has_aux=True)(w_copies, w_out)

    (past_future, readout), rates = all_of_it(jnp.broadcast_to(w, (copies, *w.shape)), w_out)
    return World(params, examples, start, rates, past_future, readout)


@functools.cache
def recurrent_world(deaf: bool = False) -> World:
    """The registry's own case, biases made alive; deaf: no unit listens to another, W_rec = 0."""
    case = problem("rtrl")
    params = case.params(seed(100))
    w = params["forward"]["w"]
    w = w.at[:, -1].set(0.3 * jnp.cos(jnp.arange(N)))
    params["forward"]["w"] = w.at[:, :N].set(0) if deaf else w
    return world(params, case.batches(STEPS))


def hold(rule: LearningRule, w: World, traces: Any = None, start: Any = None, key: Array | None = None) -> Any:
    """The rule's updates at every step of a world with the weights held, and whether it was ready, and its traces."""
    key_init, key_run = jax.random.split(seed(101) if key is None else key)

    def body(traces: Any, at: Any) -> Any:
        t, batch = at
        updates, traces, info = rule.update(w.params, traces, jax.random.fold_in(key_run, t), batch)
        return traces, (updates["forward"], info.ready)

    def run() -> Any:
        first = jax.tree.map(lambda leaf: leaf[0], w.examples)
        initial = traces if traces is not None else rule.init(w.params, key_init, first)._replace(r=w.r0)
        initial = initial if start is None else start(initial)
        end, (updates, ready) = jax.lax.scan(body, initial, (jnp.arange(len(w.rates)), w.examples))
        return updates, ready, end

    return run() if key is not None else compiled(run)()


def match(w: World, updates: Any, grad: Array, unlike: Array, steps: slice = slice(None)) -> Match:
    """The recurrent weights against an oracle; the readout against its own gradient, which no rule delays."""
    got = {"w": updates["w"][steps], "w_out": updates["w_out"]}
    return Match(got, {"w": grad, "w_out": w.readout}, {"w": unlike, "w_out": w.readout}, w.rates)


def immediate(w: World) -> Array:
    """D[t, t]: credit that goes back in time not at all."""
    return jnp.einsum("ttij->tij", w.past_future)


# Exact rules.


def rtrl_windows() -> dict[str, Match]:
    w = recurrent_world()
    updates, _, _ = hold(problem("rtrl").case.make(), w)
    return {"each loss": match(w, updates, w.past_future.sum(1), immediate(w))}


def bptt_windows() -> dict[str, Match]:
    found = {}
    rules = {window: online.bptt(leaky_rnn(ALPHA), window=window) for window in (1, 3, 7)}
    for window, rule in {"the case": problem("bptt").case.make(), **rules}.items():
        w = recurrent_world()
        updates, ready, _ = hold(rule, w)
        edges = [0, *(int(t) + 1 for t in np.flatnonzero(ready))]
        spans = list(itertools.pairwise(edges))
        assert spans, "no window is ever ready"
        assert window == "the case" or all(b - a == window for a, b in spans)
        want, unlike = np.zeros((2, STEPS, *w.params["forward"]["w"].shape))
        for a, b in spans:
            want[b - 1] = w.past_future[a:b, a:b].sum((0, 1))
            unlike[b - 1] = immediate(w)[a:b].sum(0) if b - a > 1 else 0
        found[f"windows of {window}"] = match(w, updates, want, unlike)
    return found


def sliding_windows() -> dict[str, Match]:
    found = {}
    rules = {window: online.future_facing_bptt(leaky_rnn(ALPHA), window=window) for window in (1, 2, 8)}
    for window, rule in {"the case": problem("future_facing_bptt").case.make(), **rules}.items():
        w = recurrent_world()
        updates, ready, _ = hold(rule, w)
        assert window == "the case" or rule.lag == window - 1
        np.testing.assert_array_equal(ready, np.arange(STEPS) >= rule.lag)
        want, unlike = np.zeros((2, STEPS, *w.params["forward"]["w"].shape))
        for t in range(rule.lag, STEPS):
            s = t - rule.lag
            want[t] = w.past_future[s : t + 1, s].sum(0)
            unlike[t] = w.past_future[s, s] if rule.lag else 0
        found[f"windows of {window}"] = match(w, updates, want, unlike)
    return found


# Unbiased rules.


def unbiased(name: str) -> Unbiased:
    def estimates() -> Match:
        w = recurrent_world()
        rule, at = problem(name).case.make(), np.array(SAMPLED_AT)
        short = w._replace(rates=w.rates[: at[-1] + 1], examples=jax.tree.map(lambda x: x[: at[-1] + 1], w.examples))
        sample = jax.jit(lambda keys: jax.lax.map(lambda key: hold(rule, short, key=key)[0], keys, batch_size=2000))
        got = sample(jax.random.split(seed(102), SAMPLES))
        return Match(
            {"w": got["w"][:, at], "w_out": got["w_out"][:, at]},
            {"w": w.past_future.sum(1)[at], "w_out": w.readout[at]},
            {"w": immediate(w)[at], "w_out": w.readout[at]},
            w.rates,
        )

    return Unbiased(estimates)


# Rules without a claim on the recurrent weights.


def readout_alone() -> Match:
    w = recurrent_world()
    updates, _, _ = hold(problem("fixed_recurrent").case.make(), w)
    nothing = jnp.zeros_like(immediate(w))
    return Match(updates, {"w": nothing, "w_out": w.readout}, {"w": immediate(w), "w_out": w.readout}, w.rates)


# Approximate rules.


def deaf_is_exact(rule: LearningRule) -> Callable[[], Match]:
    """W_rec = 0: nothing but a unit's own leak carries its past, and the leaky trace is the whole influence."""

    def reduction() -> Match:
        w = recurrent_world(deaf=True)
        return match(w, hold(rule, w)[0], w.past_future.sum(1), immediate(w))

    return reduction


def equals(rule: LearningRule, other: LearningRule, unlike: LearningRule, deaf: bool = False) -> Callable[[], Match]:
    """Two rules that are one in a special case; a third, of another setting, is not."""

    def reduction() -> Match:
        w = recurrent_world(deaf)
        got, want, different = (hold(each, w)[0] for each in (rule, other, unlike))
        return Match(got, want, different, w.rates)

    return reduction


def past_elsewhere(name: str) -> Callable[[], Any]:
    def elsewhere() -> Any:
        w = recurrent_world()
        return hold(problem(name).case.make(), w)[0]["w"], w.past_future.sum(1)

    return elsewhere


def future_elsewhere(name: str) -> Callable[[], Any]:
    def elsewhere() -> Any:
        w = recurrent_world()
        half = STEPS // 2
        return hold(problem(name).case.make(), w)[0]["w"][:half], w.past_future.sum(0)[:half]

    return elsewhere


# DNI: c^t = A [r^t; y; 1] is exact where the future is linear in the present. With the identity as activation, squared
# error, and input and target constant, r^{t+k} = J^k r^t + S_k d, d = alpha (W_in x + b), S_k = sum_{i<k} J^i, and
#   c^t = sum_k J^k^T W^T (W (J^k r^t + S_k d) + b_out - y),   W the readout without its bias b_out.

HORIZON, CHECKED = 240, 6


def linear_net() -> Any:
    return leaky_rnn(ALPHA, activation="identity", readout="identity")


@functools.cache
def linear_world(size: float = 1.0, drive: bool = True) -> World:
    """Constant input and target, over a horizon after which 0.9^240 = 1e-11 of the credit is left."""
    params = jax.tree.map(lambda leaf: leaf, recurrent_world().params)
    if not drive:
        params["forward"]["w_out"] = params["forward"]["w_out"].at[:, -1].set(0)
        params["forward"]["w"] = params["forward"]["w"].at[:, N:].set(0)
    x = jnp.broadcast_to(jnp.array([0.6, -0.9]), (HORIZON, 2, 2))
    y = size * jnp.broadcast_to(jnp.array([[0.7, -0.4], [-1.1, 0.5]]), (HORIZON, 2, 2))
    r0 = size * jax.random.normal(seed(103), (2, N), jnp.float64)
    return world(params, Example(x, y), r0, CHECKED, linear=True)


def true_map(w: World) -> tuple[Array, Array]:
    """``(A, J)`` of a linear world."""
    weights, w_out = np.asarray(w.params["forward"]["w"]), np.asarray(w.params["forward"]["w_out"])
    j = (1 - ALPHA) * np.eye(N) + ALPHA * weights[:, :N]
    d = ALPHA * weights[:, N:] @ np.append(w.examples.x[0, 0], 1.0)
    readout, bias = w_out[:, :N], w_out[:, N]
    of_r, summed, power = np.zeros((N, N)), np.zeros((N, N)), np.eye(N)
    of_y, of_one = np.zeros((N, len(bias))), np.zeros(N)
    for _ in range(4 * HORIZON):
        back = power.T @ readout.T
        of_r += back @ readout @ power
        of_y -= back
        of_one += back @ (readout @ summed @ d + bias)
        summed += power
        power = j @ power
    return jnp.asarray(np.concatenate([of_r, of_y, of_one[:, None]], 1)), jnp.asarray(j)


def at_the_true_map(rule: LearningRule, size: float = 1.0, drive: bool = True) -> Callable[[], Match]:
    """The rule from its true map on: its gradient is that of the future, and where it may learn it stays there."""

    def reduction() -> Match:
        w = linear_world(size, drive)
        a, j = true_map(w)
        w_out = w.params["forward"]["w_out"]
        # As if it had run before: q^{-1} is the credit of the rates that it starts from.
        error = w.r0 @ w_out[:, :N].T + w_out[:, N] - w.examples.y[0]
        state = jnp.concatenate([w.r0, w.examples.y[0], jnp.ones((2, 1))], 1)

        def start(traces: Any) -> Any:
            jacobian = () if isinstance(traces.shared.jacobian, tuple) else j
            shared = traces.shared._replace(a=a, a_target=a, jacobian=jacobian)
            own = traces.own._replace(credit=error @ w_out[:, :N], state=state)
            return traces._replace(shared=shared, own=own)

        updates, _, end = hold(rule, w, start=start)
        want = w.past_future.sum(0)
        present = w.past_future[jnp.arange(CHECKED), jnp.arange(CHECKED)]
        got = {"w": updates["w"][:CHECKED] / size, "w_out": updates["w_out"] / size, "a": end.shared.a}
        other = {"w_out": w.readout / size, "a": a}
        return Match(got, {"w": want / size, **other}, {"w": present / size, **other}, w.rates[:CHECKED] / size)

    return reduction


def descent(name: str, rate: float = 0.05, steps: int = 4000, **options: Any) -> Callable[[], tuple[float, float]]:
    """Two pulses a period apart, and a target for each phase of it, with the readout frozen: only W can learn.

    Random feedback is made equal to the frozen readout, which it would otherwise have to be aligned with by learning.
    """

    def losses_of() -> tuple[float, float]:
        params = recurrent_world().params
        params = {**params, "feedback": {"w_fb": params["forward"]["w_out"][:, :N]}}
        period = 6
        x = np.zeros((period, 1, 2))
        x[0, 0, 0] = x[3, 0, 1] = 1
        y = np.asarray(jax.nn.softmax(2 * np.stack([np.sin(np.arange(6.0)), np.cos(np.arange(6.0))], 1)))[:, None]
        rule = getattr(online, name)(leaky_rnn(ALPHA), **options)
        only_w = {"forward": {"w": 1.0, "w_out": 0.0}, "feedback": {"w_fb": 0.0}}
        tx = optax.chain(optax.stateless(lambda g, _: jax.tree.map(jnp.multiply, g, only_w)), optax.sgd(rate))
        learn = learner(rule, tx)
        cycle = Example(jnp.asarray(x), jnp.asarray(y))

        @compiled
        def run() -> Array:
            state = learn.init(params, seed(104), jax.tree.map(lambda leaf: leaf[0], cycle))

            def one_period(state: Any, _: None) -> Any:
                state, info = jax.lax.scan(learn.step, state, cycle)
                return state, jnp.mean(info.loss)

            return jax.lax.scan(one_period, state, None, length=steps // period)[1]

        curve = run()
        entropy = float(-np.sum(y * np.log(y)) / period)
        return float(curve[1]) - entropy, float(jnp.mean(curve[-20:])) - entropy

    return losses_of


NET = leaky_rnn(ALPHA)
SMALL = 1e-5

CLASSES = {
    "rtrl": Exact(rtrl_windows),
    "bptt": Exact(bptt_windows),
    "future_facing_bptt": Exact(sliding_windows),
    "uoro": unbiased("uoro"),
    "kf_rtrl": unbiased("kf_rtrl"),
    "reverse_kf_rtrl": unbiased("reverse_kf_rtrl"),
    "rflo": Approximate(
        {
            "W_rec = 0 is exact": deaf_is_exact(online.rflo(NET)),
            "W_rec = 0 is RTRL": equals(online.rflo(NET), online.rtrl(NET), online.rflo(NET, leak=1.0), deaf=True),
        },
        past_elsewhere("rflo"),
        descent("rflo"),
    ),
    "kernl": Approximate(
        {
            "without learning, alpha_i = alpha, is RFLO": equals(
                online.kernl(NET, learning_rate=0.0, initial_leak=ALPHA),
                online.rflo(NET),
                online.kernl(NET, learning_rate=0.0, initial_leak=0.8),
            ),
            "W_rec = 0 is exact, and stays so while it learns": deaf_is_exact(
                online.kernl(NET, learning_rate=0.5, sigma=0.1, initial_leak=ALPHA)
            ),
        },
        past_elsewhere("kernl"),
        descent("kernl"),
    ),
    "dni": Approximate(
        {
            "A the true map of a linear future": at_the_true_map(online.dni(linear_net(), learning_rate=0.0)),
            "and A stays there while it learns": at_the_true_map(online.dni(linear_net(), learning_rate=0.05)),
        },
        future_elsewhere("dni"),
        descent("dni", learning_rate=0.02),
    ),
    "dni_b": Approximate(
        {
            "A the true map of a linear future": at_the_true_map(
                online.dni_b(linear_net(), learning_rate=0.0, feedback="readout")
            ),
            # tanh is the identity for small credit, to SMALL^2. A learns from its bias, which is not small; Jc from
            # activity alone, so its learning rate is scaled to what it would be for activity of order one.
            "A and Jc stay there while they learn, as activity becomes small": at_the_true_map(
                online.dni_b(
                    linear_net(), learning_rate=0.02, jacobian_learning_rate=0.02 / SMALL**2, feedback="readout"
                ),
                SMALL,
                drive=False,
            ),
        },
        future_elsewhere("dni_b"),
        descent("dni_b", learning_rate=0.02, jacobian_learning_rate=0.02),
    ),
    "fixed_recurrent": Local({"the readout's gradient, and no other": readout_alone}),
}
