"""L10 for the recurrent family: an oracle from the equations, and each rule's relation to it.

The oracle gives every step its own copy W^s of the cell's weights and differentiates each loss by each copy,
D[t, s] = dL^t / dW^s, a tree like the weights. Every gradient that a rule of this family claims is a sum over a part of
D:

    past     dL^t / dW                sum_{s <= t} D[t, s]
    window   d(losses of it) / d(W in it)    sum over both t and s in it
    sliding  T losses from s on       sum_{s <= t < s + T} D[t, s]
    future   all losses from s on     sum_{t >= s} D[t, s]
"""

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import LearningRule, learner
from plasticity_jax.cells.alif import alif
from plasticity_jax.cells.gru import gru
from plasticity_jax.cells.leaky import leaky
from plasticity_jax.cells.lif import lif
from plasticity_jax.registry import RULES
from plasticity_jax.rules import online
from plasticity_jax.typing import Array, Example, Params, PyTree
from tests.laws.classes import Approximate, Exact, Local, Match, Unbiased
from tests.laws.common import compiled, first_with_the_problem_of, problem, seed

STEPS, N, N_IN, N_OUT = 11, 5, 2, 2
SAMPLES, SAMPLED_AT = 10_000, (3, 7)
MANY = {"reverse_kf_rtrl_gru": 30_000}
"""Samples of a rule whose estimates vary too much for SAMPLES to show a bias."""


# The equations of each cell, for all streams at once: s (B, S, n), v (B, G, n), parameters by name.


def leaky_step(p: Any, s: Array, v: Array, phi: Any) -> list[Array]:
    return [(1 - p["alpha"]) * s[:, 0] + p["alpha"] * phi(v[:, 0])]


def gru_step(p: Any, s: Array, v: Array, phi: Any) -> list[Array]:
    reset, update = (1 / (1 + jnp.exp(-v[:, g])) for g in (0, 1))
    return [(1 - update) * phi(v[:, 2] + reset * v[:, 3]) + update * s[:, 0]]


def soft_spike(x: Array) -> Array:
    """The spike of the registry's cases."""
    return 1 / (1 + jnp.exp(-2 * x))


def lif_step(p: Any, s: Array, v: Array, spike: Any, of_reset: Any = lambda z: z) -> list[Array]:
    return [p["decay"] * s[:, 0] + v[:, 0] / p["threshold"] - of_reset(spike(s[:, 0] - 1))]


def alif_step(p: Any, s: Array, v: Array, spike: Any, of_reset: Any = lambda z: z) -> list[Array]:
    u, a = s[:, 0], s[:, 1]
    z = spike(u - 1 - a)
    after = p["decay"] * u + v[:, 0] / p["threshold"] - of_reset(z)
    return [after, p["adaptation_decay"] * a + p["strength"] * z]


def rate(s: Array, phi: Any) -> Array:
    return s[:, 0]


def lif_spikes(s: Array, spike: Any) -> Array:
    return spike(s[:, 0] - 1)


def alif_spikes(s: Array, spike: Any) -> Array:
    return spike(s[:, 0] - 1 - s[:, 1])


class Equations(NamedTuple):
    """A cell, written here.

    Attributes:
      build: ``(**options) -> cell``, the library's.
      step: ``(parameters, s, v, nonlinearity) -> rows of s``.
      output: ``(s, nonlinearity) -> (B, n)``, the activity that neurons and readout receive.
      nonlinearity: of the cell as it is by default.
      linear: the stand-in that makes the cell linear, by the name of its option.
      values: parameters, unless they learn.
      tame: values at which a linear network forgets soon.
      absent: (G, 3), True where a gate does not receive neurons, input, bias.
    """

    build: Callable[..., Any]
    step: Callable[..., list[Array]]
    output: Callable[..., Array]
    nonlinearity: Callable[[Array], Array]
    linear: dict[str, Callable[[Array], Array]]
    values: dict[str, float]
    tame: dict[str, float]
    variables: int = 1
    absent: tuple[tuple[bool, bool, bool], ...] = ((False, False, False),)


def without_reset(step: Callable[..., list[Array]]) -> Callable[..., list[Array]]:
    """The step without the derivative of the spike that resets the voltage."""
    return functools.partial(step, of_reset=jax.lax.stop_gradient)


ALL_PRESENT = (False, False, False)
SPIKING, TAME = {"decay": 0.8, "threshold": 1.0}, {"decay": 0.6, "threshold": 1.5}
ADAPTING = {**SPIKING, "adaptation_decay": 0.98, "strength": 0.3}
TAME_ADAPTING = {**TAME, "adaptation_decay": 0.7, "strength": 0.3}
PHI = {"activation": lambda v: v}
SPIKE = {"spike": lambda x: 0.3 * x}
LEARNED = ("threshold", "adaptation_decay")
EQUATIONS = {
    "leaky": Equations(leaky, leaky_step, rate, jnp.tanh, PHI, {"alpha": 0.5}, {"alpha": 0.5}),
    "gru": Equations(
        gru,
        gru_step,
        rate,
        jnp.tanh,
        PHI,
        {},
        {},
        1,
        (ALL_PRESENT, ALL_PRESENT, (True, False, False), (False, True, False)),
    ),
    "lif": Equations(
        functools.partial(lif, reset_derivative=False),
        without_reset(lif_step),
        lif_spikes,
        soft_spike,
        SPIKE,
        SPIKING,
        TAME,
    ),
    "alif": Equations(
        functools.partial(alif, learn=LEARNED), alif_step, alif_spikes, soft_spike, SPIKE, ADAPTING, TAME_ADAPTING, 2
    ),
    "alif, D without the reset": Equations(
        functools.partial(alif, reset_derivative=False),
        without_reset(alif_step),
        alif_spikes,
        soft_spike,
        SPIKE,
        ADAPTING,
        TAME_ADAPTING,
        2,
    ),
}


class World(NamedTuple):
    """A network with fixed weights on a stream, and the gradients of all its losses.

    Attributes:
      cell: a key of EQUATIONS.
      params: weights.
      examples: (T, B, ...).
      s0: (B, S, n), state at the start.
      readout_input: (T, B, n), what the readout receives.
      past_future: D, leaves (T, S, ...), S the steps with their own copy of W; mean over streams.
      readout: (T, n_out, n + 1), dL^t / dW_out.
    """

    cell: str
    params: Params
    examples: Example
    s0: Array
    readout_input: Array
    past_future: PyTree
    readout: Array


def move(cell: str, linear: bool, weights: PyTree, s: Array, x: Array) -> Array:
    """One step of all streams."""
    of = EQUATIONS[cell]
    phi = next(iter(of.linear.values())) if linear else of.nonlinearity
    given = jnp.concatenate([of.output(s, phi), x, jnp.ones((len(x), 1))], 1)
    n = s.shape[2]
    present = ~np.repeat(np.asarray(of.absent), [n, x.shape[1], 1], 1)
    v = jnp.einsum("gij,bj->bgi", weights["w"] * present[:, None], given)
    parameters = {**(of.tame if linear else of.values), **weights.get("own", {})}
    return jnp.stack(of.step(parameters, s, v, phi), 1)


def readout_input_of(cell: str, linear: bool, s: Array) -> Array:
    of = EQUATIONS[cell]
    return of.output(s, next(iter(of.linear.values())) if linear else of.nonlinearity)


def losses(
    cell: str, copies: PyTree, weights: PyTree, w_out: Array, s0: Array, examples: Example, linear: bool
) -> tuple[Array, Array]:
    """The losses by the equations: step s uses copies[s], and `weights` after the last copy; mean over streams."""
    steps, streams = examples.x.shape[:2]

    def step(s: Array, at: Any) -> Any:
        weights_s, (x, y) = at
        s = move(cell, linear, weights_s, s, x)
        readout_input = readout_input_of(cell, linear, s)
        z = jnp.concatenate([readout_input, jnp.ones((streams, 1))], 1) @ w_out.T
        if linear:
            loss = 0.5 * jnp.sum((z - y) ** 2, 1)
        else:
            loss = -jnp.sum(y * (z - jax.scipy.special.logsumexp(z, axis=1, keepdims=True)), 1)
        return s, (jnp.mean(loss), readout_input)

    def filled(copies: Array, leaf: Array) -> Array:
        return jnp.concatenate([copies, jnp.broadcast_to(leaf, (steps - len(copies), *leaf.shape))])

    _, out = jax.lax.scan(step, s0, (jax.tree.map(filled, copies, weights), (examples.x, examples.y)))
    return out


def weights_of(params: Params) -> PyTree:
    return {name: leaf for name, leaf in params["forward"].items() if name != "w_out"}


def world(
    cell: str, params: Params, examples: Example, s0: Array | None = None, copies: int = STEPS, linear: bool = False
) -> World:
    weights, w_out = weights_of(params), params["forward"]["w_out"]
    shape = (examples.x.shape[1], EQUATIONS[cell].variables, weights["w"].shape[1])
    start = jnp.zeros(shape) if s0 is None else s0

    @compiled
    def all_of_it(of_step: PyTree, w_out: Array) -> Any:
        def by_step(of_step: PyTree, w_out: Array) -> Any:
            return losses(cell, of_step, weights, w_out, start, examples, linear)

        return jax.jacrev(by_step, argnums=(0, 1), has_aux=True)(of_step, w_out)

    repeated = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (copies, *leaf.shape)), weights)
    (past_future, readout), readout_input = all_of_it(repeated, w_out)
    return World(cell, params, examples, start, readout_input, past_future, readout)


def cell_of(name: str) -> str:
    """The equations that a registered rule's case runs on."""
    if name.startswith("eprop"):
        return "lif" if name.endswith("_lif") else "alif, D without the reset"
    return next((cell for cell in ("gru", "alif") if name.endswith(f"_{cell}")), "leaky")


def recurrent_world(name: str = "rtrl", kind: str = "whole") -> World:
    return recurrent_world_of(first_with_the_problem_of(name), cell_of(name), kind)


@functools.cache
def recurrent_world_of(name: str, cell: str, kind: str) -> World:
    """The case's own network, with active biases and spikes.

    "uncoupled": W_rec = 0. "alone": W_rec is diagonal. "gated alone": uncoupled, and a GRU's update gate receives only
    its bias, so that each neuron is leaky, with its own leak.
    """
    case = problem(name)
    params = case.params(seed(100))
    w = params["forward"]["w"]
    w = w.at[:, :, -1].set(0.3 * jnp.cos(jnp.arange(len(w) * N)).reshape(len(w), N))
    if "lif" in cell:  # some neurons fire often, some rarely
        w = w * 2
        w = w.at[0, :, -1].set(jnp.linspace(0.1, 0.6, N))
    if kind in ("uncoupled", "gated alone"):
        w = w.at[:, :, :N].set(0)
    if kind == "alone":
        w = w.at[:, :, :N].set(jnp.eye(N) * w[:, :, :N] + 0.3 * jnp.eye(N))
    if kind == "gated alone":
        w = w.at[1, :, :-1].set(0)
    if cell == "gru":
        w = w.at[2, :, :N].set(0).at[3, :, N:-1].set(0)
    params["forward"] = {**params["forward"], "w": w}
    return world(cell, params, case.batches(STEPS))


def hold(rule: LearningRule, w: World, traces: Any = None, start: Any = None, key: Array | None = None) -> Any:
    """The rule's updates at every step of a world with fixed weights, the readiness of W, and the last traces."""
    key_init, key_run = jax.random.split(seed(101) if key is None else key)

    def body(traces: Any, at: Any) -> Any:
        t, batch = at
        updates, traces, info = rule.update(w.params, traces, jax.random.fold_in(key_run, t), batch)
        ready = info.ready["forward"]["w"] if isinstance(info.ready, Mapping) else info.ready
        return traces, (updates["forward"], ready)

    def run() -> Any:
        first = jax.tree.map(lambda leaf: leaf[0], w.examples)
        initial = traces if traces is not None else rule.init(w.params, key_init, first)._replace(state=w.s0)
        initial = initial if start is None else start(initial)
        end, (updates, ready) = jax.lax.scan(body, initial, (jnp.arange(len(w.readout_input)), w.examples))
        return updates, ready, end

    return run() if key is not None else compiled(run)()


def match(w: World, updates: Any, grad: PyTree, unlike: PyTree, steps: slice = slice(None)) -> Match:
    """The cell's weights against an oracle; the readout against its own gradient, which no rule delays."""
    cell_updates = {name: jax.tree.map(lambda leaf: leaf[steps], updates[name]) for name in grad}
    other = {"w_out": w.readout}
    return Match({**cell_updates, "w_out": updates["w_out"]}, {**grad, **other}, {**unlike, **other}, w.readout_input)


def summed(w: World, axis: int) -> PyTree:
    """Sums of D over steps with a copy of W (axis 1, the past of each loss) or losses (0, the future of each step)."""
    return jax.tree.map(lambda leaf: leaf.sum(axis), w.past_future)


def immediate(w: World) -> PyTree:
    """D[t, t]: the credit that does not go back in time."""
    return jax.tree.map(lambda leaf: jnp.einsum("tt...->t...", leaf), w.past_future)


# Exact rules.


def rtrl_windows(name: str) -> dict[str, Match]:
    w = recurrent_world(name)
    updates, _, _ = hold(problem(name).case.make(), w)
    return {"each loss": match(w, updates, summed(w, 1), immediate(w))}


def empty(w: World) -> PyTree:
    return jax.tree.map(lambda leaf: np.zeros((STEPS, *leaf.shape[2:])), w.past_future)


def assign(tree: PyTree, t: int, values: Callable[[Array], Array], w: World) -> None:
    """Writes a sum over a part of D at step t."""
    for leaf, d in zip(jax.tree.leaves(tree), jax.tree.leaves(w.past_future), strict=True):
        leaf[t] = values(d)


def cell_by(name: str) -> Any:
    """The library's cell of a registered rule's case."""
    cell = cell_of(name)
    options = {"spike": soft_spike, **EQUATIONS[cell].values} if "lif" in cell else EQUATIONS[cell].values
    return EQUATIONS[cell].build(N_IN, N, N_OUT, **options)


def bptt_windows(name: str) -> dict[str, Match]:
    matches, w = {}, recurrent_world(name)
    rules = {window: online.bptt(cell_by(name), window=window) for window in (1, 3, 7)}
    for window, rule in {"the case": problem(name).case.make(), **rules}.items():
        updates, ready, _ = hold(rule, w)
        edges = [0, *(int(t) + 1 for t in np.flatnonzero(ready))]
        spans = list(itertools.pairwise(edges))
        assert spans, "no window is ever ready"
        assert window == "the case" or all(b - a == window for a, b in spans)
        expected, unlike = empty(w), empty(w)
        for a, b in spans:
            assign(expected, b - 1, lambda d, a=a, b=b: d[a:b, a:b].sum((0, 1)), w)
            if b - a > 1:
                assign(unlike, b - 1, lambda d, a=a, b=b: jnp.einsum("tt...->...", d[a:b, a:b]), w)
        matches[f"windows of {window}"] = match(w, updates, expected, unlike)
    return matches


def sliding_windows(name: str) -> dict[str, Match]:
    matches, w = {}, recurrent_world(name)
    rules = {window: online.future_facing_bptt(cell_by(name), window=window) for window in (1, 2, 8)}
    for window, rule in {"the case": problem(name).case.make(), **rules}.items():
        updates, ready, _ = hold(rule, w)
        assert window == "the case" or rule.lag == window - 1
        np.testing.assert_array_equal(ready, np.arange(STEPS) >= rule.lag)
        expected, unlike = empty(w), empty(w)
        for t in range(rule.lag, STEPS):
            s = t - rule.lag
            assign(expected, t, lambda d, s=s, t=t: d[s : t + 1, s].sum(0), w)
            if rule.lag:
                assign(unlike, t, lambda d, s=s: d[s, s], w)
        matches[f"windows of {window}"] = match(w, updates, expected, unlike)
    return matches


# Unbiased rules.


def unbiased(name: str) -> Unbiased:
    def estimates() -> Match:
        w = recurrent_world(name)
        rule, at = problem(name).case.make(), np.array(SAMPLED_AT)
        short = w._replace(
            readout_input=w.readout_input[: at[-1] + 1], examples=jax.tree.map(lambda x: x[: at[-1] + 1], w.examples)
        )

        def one(key: Array) -> PyTree:
            return jax.tree.map(lambda leaf: leaf[at], hold(rule, short, key=key)[0])

        updates = jax.jit(lambda keys: jax.lax.map(one, keys, batch_size=2000))(
            jax.random.split(seed(102), MANY.get(name, SAMPLES))
        )
        past, unlike = (jax.tree.map(lambda leaf: leaf[at], tree) for tree in (summed(w, 1), immediate(w)))
        other = {"w_out": w.readout[at]}
        return Match(updates, {**past, **other}, {**unlike, **other}, w.readout_input)

    return Unbiased(estimates)


# Rules without a claim on the cell's weights.


def readout_alone(name: str) -> Callable[[], Match]:
    def claim() -> Match:
        w = recurrent_world(name)
        updates, _, _ = hold(problem(name).case.make(), w)
        nothing = jax.tree.map(jnp.zeros_like, immediate(w))
        other = {"w_out": w.readout}
        return Match(updates, {**nothing, **other}, {**immediate(w), **other}, w.readout_input)

    return claim


# Approximate rules.


def is_exact(name: str, kind: str, rule: Callable[[], LearningRule] | None = None) -> Callable[[], Match]:
    """A match with the past in a world, or a setting, in which the rule's trace is the whole influence."""

    def reduction() -> Match:
        w = recurrent_world(name, kind)
        made = problem(name).case.make() if rule is None else rule()
        return match(w, hold(made, w)[0], summed(w, 1), immediate(w))

    return reduction


def equals(
    name: str,
    rule: Callable[[], LearningRule],
    other: Callable[[], LearningRule],
    unlike: Callable[[], LearningRule],
    kind: str = "whole",
) -> Callable[[], Match]:
    """A match of two rules that are equal in a special case; a third, of another setting, differs."""

    def reduction() -> Match:
        w = recurrent_world(name, kind)
        updates, expected, different = (hold(each(), w)[0] for each in (rule, other, unlike))
        return Match(updates, expected, different, w.readout_input)

    return reduction


def past_elsewhere(name: str) -> Callable[[], Any]:
    def elsewhere() -> Any:
        w = recurrent_world(name)
        return hold(problem(name).case.make(), w)[0]["w"], w.past_future["w"].sum(1)

    return elsewhere


def future_elsewhere(name: str) -> Callable[[], Any]:
    def elsewhere() -> Any:
        w = recurrent_world(name)
        half = STEPS // 2
        return hold(problem(name).case.make(), w)[0]["w"][:half], w.past_future["w"].sum(0)[:half]

    return elsewhere


# DNI: c^t = A [s^t; y; 1] is exact where the future is linear in the present. With a linear cell, squared error, and
# input and target constant, s^{t+k} = J^k s^t + S_k d, S_k = sum_{i<k} J^i, the readout receives O s + o, and
#   c^t = sum_k J^k^T R^T (R (J^k s^t + S_k d) + W o + b - y),   R = W O,   W the readout without its bias b.
# J, d, O and o are those of the equations above.

HORIZON, CHECKED = 240, 6


def linear_cell(name: str) -> Any:
    of = EQUATIONS[cell_of(name)]
    return of.build(N_IN, N, N_OUT, loss="squared", **of.linear, **of.tame)


def linear_world(name: str, size: float = 1.0, drive: bool = True) -> World:
    return linear_world_of(first_with_the_problem_of(name), cell_of(name), size, drive)


@functools.cache
def linear_world_of(name: str, cell: str, size: float, drive: bool) -> World:
    """Constant input and target, over a horizon after which 0.9^240 = 1e-11 of the credit is left.

    A GRU's gates receive only their biases; its candidate is linear as they are constant.
    """
    params = jax.tree.map(lambda leaf: leaf, recurrent_world_of(name, cell, "whole").params)
    w, w_out = params["forward"]["w"], params["forward"]["w_out"]
    driven = slice(None)
    if cell == "gru":
        w, driven = w.at[:2, :, :-1].set(0), slice(2, None)
    if not drive:
        w_out, w = w_out.at[:, -1].set(0), w.at[driven, :, N:].set(0)
    params["forward"] = {**params["forward"], "w": w, "w_out": w_out}
    if "own" in params["forward"]:
        params["forward"]["own"] = {name: jnp.full(N, EQUATIONS[cell].tame[name]) for name in params["forward"]["own"]}
    x = jnp.broadcast_to(jnp.array([0.6, -0.9]), (HORIZON, 2, 2))
    y = size * jnp.broadcast_to(jnp.array([[0.7, -0.4], [-1.1, 0.5]]), (HORIZON, 2, 2))
    s0 = size * jax.random.normal(seed(103), (2, EQUATIONS[cell].variables, N), jnp.float64)
    return world(cell, params, Example(x, y), s0, CHECKED, linear=True)


def true_map(w: World) -> tuple[Array, Array]:
    """``(A, J)`` of a linear world."""
    shape = w.s0.shape[1:]
    origin, x = jnp.zeros(shape), w.examples.x[0, :1]

    def step(s: Array) -> Array:
        return move(w.cell, True, weights_of(w.params), s[None], x)[0]

    def readout_input(s: Array) -> Array:
        return readout_input_of(w.cell, True, s[None])[0]

    j = np.asarray(jax.jacobian(step)(origin)).reshape(origin.size, origin.size)
    assert np.abs(np.linalg.eigvals(j)).max() < 0.91, "the horizon is too short"
    d = np.asarray(step(origin)).reshape(-1)
    w_out = np.asarray(w.params["forward"]["w_out"])
    readout = w_out[:, :N] @ np.asarray(jax.jacobian(readout_input)(origin)).reshape(N, -1)
    bias = w_out[:, N] + w_out[:, :N] @ np.asarray(readout_input(origin))
    of_s, total, power = np.zeros(j.shape), np.zeros(j.shape), np.eye(len(j))
    of_y, of_one = np.zeros((len(j), len(bias))), np.zeros(len(j))
    for _ in range(4 * HORIZON):
        back = power.T @ readout.T
        of_s += back @ readout @ power
        of_y -= back
        of_one += back @ (readout @ total @ d + bias)
        total += power
        power = j @ power
    return jnp.asarray(np.concatenate([of_s, of_y, of_one[:, None]], 1)), jnp.asarray(j)


def at_the_true_map(
    name: str, rule: Callable[[Any], LearningRule], size: float = 1.0, drive: bool = True
) -> Callable[[], Match]:
    """A match from the true map on: the rule's gradient is that of the future, and a map that learns stays there."""

    def reduction() -> Match:
        w = linear_world(name, size, drive)
        a, j = true_map(w)
        w_out, streams = w.params["forward"]["w_out"], len(w.s0)

        def credit(s: Array) -> Array:
            readout_input, pull = jax.vjp(functools.partial(readout_input_of, w.cell, True), s)
            return pull((readout_input @ w_out[:, :N].T + w_out[:, N] - w.examples.y[0]) @ w_out[:, :N])[0]

        state = jnp.concatenate([w.s0.reshape(streams, -1), w.examples.y[0], jnp.ones((streams, 1))], 1)

        def start(traces: Any) -> Any:
            """Traces as if the rule had run before: q^{-1} is the credit of the initial state."""
            jacobian = () if isinstance(traces.shared.jacobian, tuple) else j
            shared = traces.shared._replace(a=a, a_target=a, jacobian=jacobian)
            own = traces.own._replace(credit=credit(w.s0).reshape(streams, -1), state=state)
            return traces._replace(shared=shared, own=own)

        updates, _, end = hold(rule(linear_cell(name)), w, start=start)
        expected = summed(w, 0)
        present = jax.tree.map(lambda leaf: leaf[jnp.arange(CHECKED), jnp.arange(CHECKED)], w.past_future)
        checked = {part: jax.tree.map(lambda leaf: leaf[:CHECKED], updates[part]) for part in expected}
        scaled = [jax.tree.map(lambda leaf: leaf / size, tree) for tree in (checked, expected, present)]
        checked, expected, present = scaled
        other = {"w_out": w.readout / size, "a": a}
        return Match(
            {**checked, "w_out": updates["w_out"] / size, "a": end.shared.a},
            {**expected, **other},
            {**present, **other},
            w.readout_input[:CHECKED] / size,
        )

    return reduction


def descent(name: str, rate: float = 0.05, steps: int = 4000, **options: Any) -> Callable[[], tuple[float, float]]:
    """Losses of two pulses a period apart, with a target for each phase and a frozen readout: only W can learn.

    Random feedback is set to the frozen readout, since learning cannot align a frozen readout with it.
    """

    def losses_of() -> tuple[float, float]:
        params = recurrent_world(name).params
        params = {**params, "feedback": {"w_fb": params["forward"]["w_out"][:, :N]}}
        period = 6
        x = np.zeros((period, 1, 2))
        x[0, 0, 0] = x[3, 0, 1] = 1
        y = np.asarray(jax.nn.softmax(2 * np.stack([np.sin(np.arange(6.0)), np.cos(np.arange(6.0))], 1)))[:, None]
        rule = getattr(online, factory_of(name))(cell_by(name), **options)
        cycle = Example(jnp.asarray(x), jnp.asarray(y))

        def only_w(updates: PyTree, _: Any) -> PyTree:
            return jax.tree.map(jnp.zeros_like, updates) | {
                "forward": {**jax.tree.map(jnp.zeros_like, updates["forward"]), "w": updates["forward"]["w"]}
            }

        learn = learner(rule, optax.chain(optax.stateless(only_w), optax.sgd(rate)))

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


def factory_of(name: str) -> str:
    for cell in ("gru", "alif", "lif"):
        name = name.removesuffix(f"_{cell}")
    return name


# The obligations of each rule, on the cell of its case.

SMALL = 1e-5


def rflo_entry(name: str) -> Approximate:
    reductions: dict[str, Callable[[], Match]] = {"W_rec = 0 is exact": is_exact(name, "uncoupled")}
    if name == "rflo":
        cell = cell_by(name)
        reductions["W_rec = 0 is exact at the neuron's own leak"] = is_exact(
            name, "uncoupled", lambda: online.rflo(cell)
        )
        reductions["W_rec = 0 is RTRL"] = equals(
            name, lambda: online.rflo(cell), lambda: online.rtrl(cell), lambda: online.rflo(cell, leak=1.0), "uncoupled"
        )
    return Approximate(reductions, past_elsewhere(name), descent(name))


def snap_entry(name: str) -> Approximate:
    cell = cell_by(name)
    return Approximate(
        {
            "W_rec diagonal is exact": is_exact(name, "alone"),
            "n large is exact": is_exact(name, "whole", lambda: online.snap(cell, n=N)),
            "n = 2 reaches all neurons": is_exact(name, "whole", lambda: online.snap(cell, n=2)),
        },
        past_elsewhere(name),
        descent(name),
    )


def kernl_entry(name: str) -> Approximate:
    """The entry of KeRNL; a GRU whose update gate receives only its bias has the leak 1 - z, and RFLO takes it too."""
    cell = cell_by(name)
    if cell_of(name) == "leaky":
        leak, uncoupled, same = jnp.full(N, 0.5), "uncoupled", lambda: online.rflo(cell)
    else:
        bias = 0.3 * jnp.cos(jnp.arange(N, 2 * N))
        leak, uncoupled = 1 - 1 / (1 + jnp.exp(-bias)), "gated alone"
        same = functools.partial(online.rflo, cell, leak=leak)
    return Approximate(
        {
            "without learning, alpha_i the leak, is RFLO": equals(
                name,
                lambda: online.kernl(cell, learning_rate=0.0, initial_leak=leak),
                same,
                lambda: online.kernl(cell, learning_rate=0.0, initial_leak=0.9),
            ),
            "W_rec = 0 is exact, and stays so while it learns": is_exact(
                name, uncoupled, lambda: online.kernl(cell, learning_rate=0.5, sigma=0.1, initial_leak=leak)
            ),
        },
        past_elsewhere(name),
        descent(name),
    )


def dni_entry(name: str) -> Approximate:
    """The entry of DNI. A linear guess of the cost of spikes is poor: on spiking neurons steps must be small."""
    rate, eta = (0.003, 0.005) if "lif" in name else (0.05, 0.02)
    return Approximate(
        {
            "A the true map of a linear future": at_the_true_map(
                name, lambda cell: online.dni(cell, learning_rate=0.0)
            ),
            "and A stays there while it learns": at_the_true_map(
                name, lambda cell: online.dni(cell, learning_rate=0.05)
            ),
        },
        future_elsewhere(name),
        descent(name, rate, learning_rate=eta),
    )


def dni_b_entry(name: str) -> Approximate:
    return Approximate(
        {
            "A the true map of a linear future": at_the_true_map(
                name, lambda cell: online.dni_b(cell, learning_rate=0.0, feedback="readout")
            ),
            # tanh is the identity for small credit, to SMALL^2. A learns from its bias, which is not small; Jc from
            # activity alone, so its learning rate is scaled to what it would be for activity of order one.
            "A and Jc stay there while they learn, as activity becomes small": at_the_true_map(
                name,
                lambda cell: online.dni_b(
                    cell, learning_rate=0.02, jacobian_learning_rate=0.02 / SMALL**2, feedback="readout"
                ),
                SMALL,
                drive=False,
            ),
        },
        future_elsewhere(name),
        descent(name, learning_rate=0.02, jacobian_learning_rate=0.02),
    )


OWED = {
    "rtrl": lambda name: Exact(lambda: rtrl_windows(name)),
    "bptt": lambda name: Exact(lambda: bptt_windows(name)),
    "future_facing_bptt": lambda name: Exact(lambda: sliding_windows(name)),
    "uoro": unbiased,
    "kf_rtrl": unbiased,
    "reverse_kf_rtrl": unbiased,
    "rflo": rflo_entry,
    "eprop": rflo_entry,
    "snap": snap_entry,
    "kernl": kernl_entry,
    "dni": dni_entry,
    "dni_b": dni_b_entry,
    "fixed_recurrent": lambda name: Local({"the readout's gradient, and no other": readout_alone(name)}),
}

CLASSES = {name: OWED[factory_of(name)](name) for name in RULES if factory_of(name) in OWED}
