"""Trials in a stream: `Example.start` begins afresh, `Example.weight` weighs, and labels may be integers.

The reference of a stream with starts is the rule on each trial alone, from rest: no trial may affect
the next. Streams start at different times, and each is compared with its own trials.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.cells import init_params, leaky, neurons
from plasticity_jax.rules import online
from plasticity_jax.typing import Example
from tests.rules.helpers import ONLINE, close, differ

N, N_IN, N_OUT, STEPS, STREAMS, WINDOW = 4, 2, 3, 12, 2, 3
STARTS = np.zeros((STEPS, STREAMS), bool)
STARTS[[0, 4, 9], 0] = STARTS[[0, 7], 1] = True
STOCHASTIC = ("uoro", "kf_rtrl", "reverse_kf_rtrl")
NOISY = "recurrent_three_factor"
"""Its noise differs alone and in a batch; test_three_factor.py tests its starts."""
SYNTHETIC = ("dni", "dni_b")  # their credit is a guess of the future, independent of this step's loss
ONE_VARIABLE = ("kernl", "dni_b")
STILL = {
    "kernl": {"learning_rate": 0.0},
    "dni": {"learning_rate": 0.0},
    "dni_b": {"learning_rate": 0.0, "jacobian_learning_rate": 0.0},
    NOISY: {"baseline": None},
    "bptt": {"window": STEPS},
    "future_facing_bptt": {"window": WINDOW},
}
"""Options with which only the weights learn; BPTT's one window holds all trials."""
KEY = jax.random.key(1)


def two_variables(own, s, v):
    return jnp.stack([0.5 * s[0] + jnp.tanh(v[0] - own["share"] * s[1]), 0.8 * s[1] + 0.3 * s[0]])


CELLS = {
    "leaky": leaky(N_IN, N, N_OUT),
    "two variables": neurons(
        n_in=N_IN,
        n=N,
        n_out=N_OUT,
        update=two_variables,
        variables=("rate", "trace"),
        own={"share": 0.4},
        start=(0.2, -0.1),
    ),
}
RULES = [(name, kind) for name in ONLINE for kind in CELLS if kind == "leaky" or name not in ONE_VARIABLE]
EXACT = [(name, kind, {}) for name, kind in RULES if name not in (*STOCHASTIC, NOISY)]
EXACT += [("rflo", "leaky", {"leak": 0.3}), ("rtrl", "leaky", {"decay": 0.7})]
EXACT += [("snap", kind, {"n": 2}) for kind in CELLS] + [("bptt", "leaky", {"window": 1})]


def make(name, kind, **options):
    return getattr(online, name)(CELLS[kind], **{**STILL.get(name, {}), **options})


@functools.cache
def network(kind):
    """Params, and a stream with integer labels."""
    params = init_params(jax.random.key(3), CELLS[kind], jnp.float64)
    params["forward"]["w"] = params["forward"]["w"].at[:, :, -1].set(0.3 * jnp.cos(jnp.arange(N)))
    rng = np.random.default_rng(5)
    x, labels = rng.standard_normal((STEPS, STREAMS, N_IN)), rng.integers(0, N_OUT, (STEPS, STREAMS))
    return params, jnp.asarray(x), jnp.asarray(labels)


def stream(kind, **fields):
    _, x, labels = network(kind)
    return Example(x, jax.nn.one_hot(labels, N_OUT, dtype=x.dtype), **fields)


def with_starts(kind):
    return stream(kind, start=jnp.asarray(STARTS))


def padded(examples, steps):
    """The stream, followed by `steps` more of other data with a weight of 0."""
    rng = np.random.default_rng(8)
    lead = (steps, examples.x.shape[1])
    weight = jnp.ones(examples.x.shape[:2]) if examples.weight is None else examples.weight
    more = Example(
        jnp.asarray(rng.standard_normal((*lead, N_IN))),
        jnp.asarray(rng.dirichlet(np.ones(N_OUT), lead)),
        None if examples.start is None else jnp.zeros(lead, bool),
        jnp.zeros(lead),
    )
    return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), examples._replace(weight=weight), more)


def walk(rule, params, examples, key=KEY):
    """The forward group's updates at every step, traces at every step, and losses, in one scan."""
    traces = rule.init(params, KEY, jax.tree.map(lambda leaf: leaf[0], examples))

    def body(traces, at):
        t, batch = at
        updates, traces, info = rule.update(params, traces, jax.random.fold_in(key, t), batch)
        return traces, (updates["forward"], traces, info.loss)

    return jax.lax.scan(body, traces, (jnp.arange(len(examples.x)), examples))[1]


def trials():
    """``(stream, first step, last step + 1)`` of every trial."""
    for b in range(STREAMS):
        edges = [*np.flatnonzero(STARTS[:, b]), STEPS]
        yield from ((b, int(a), int(z)) for a, z in itertools.pairwise(edges))


def alone(name, kind, **options):
    """The rule on each trial from init: its updates step by step where the trial is in the stream, mean over streams.

    A sliding window gives its last updates over padding, in the steps after the trial.
    """
    params = network(kind)[0]
    late = WINDOW - 1 if name == "future_facing_bptt" else 0
    total = jax.tree.map(lambda leaf: np.zeros((STEPS + late, *leaf.shape)), params["forward"])
    losses = np.zeros(STEPS + late)
    for b, first, last in trials():
        trial = jax.tree.map(lambda leaf, b=b, a=first, z=last: leaf[a:z, b : b + 1], stream(kind))
        # Of disjoint windows one is the trial's.
        own = {"window": last - first} if name == "bptt" and options.get("window") != 1 else {}
        rule = make(name, kind, **{**options, **own})
        updates, _, loss = jax.jit(functools.partial(walk, rule))(params, padded(trial, late))
        for leaf, part in zip(jax.tree.leaves(total), jax.tree.leaves(updates), strict=True):
            leaf[first : last + late] += np.asarray(part) / STREAMS
        losses[first : last + late] += np.asarray(loss) / STREAMS
    return total, losses


@pytest.mark.parametrize(("name", "kind", "options"), EXACT, ids=str)
def test_a_stream_with_starts_equals_its_trials(name, kind, options):
    """The updates agree step by step; BPTT's one window gives the sum over all trials at its end."""
    params = network(kind)[0]
    run = jax.jit(functools.partial(walk, make(name, kind, **options)))
    late = WINDOW - 1 if name == "future_facing_bptt" else 0
    updates, traces, loss = run(params, padded(with_starts(kind), late))
    expected, expected_loss = alone(name, kind, **options)
    close(loss, expected_loss, 1e-12)
    if name == "bptt" and not options:
        expected = {**jax.tree.map(lambda leaf: leaf.sum(0), expected), "w_out": expected["w_out"]}
        assert not np.asarray(updates["w"])[:-1].any()
        updates = {**jax.tree.map(lambda leaf: leaf[-1], updates), "w_out": updates["w_out"]}
    jax.tree.map(lambda actual, expected: close(actual, expected, 1e-12), updates, expected)
    # Without starts, or with the other stream's, the updates differ.
    others = [stream(kind), stream(kind, start=jnp.asarray(STARTS[:, ::-1]))]
    for other in others:
        blind = run(params, padded(other, late))[0]
        blind = jax.tree.map(lambda leaf: leaf[-1], blind) if name == "bptt" and not options else blind
        part = "w_out" if name == "fixed_recurrent" or (name == "bptt" and options) else "w"
        differ(
            blind[part] if part == "w" else blind[part].sum(0),
            updates[part] if part == "w" else updates[part].sum(0),
            1e-2,
        )
    assert traces.state.shape[:2] == (STEPS + late, STREAMS)


@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_a_stochastic_rule_on_a_stream_with_starts_is_right_on_average(name, kind):
    """The mean is RTRL's on the same stream, at steps soon and long after a start; the network's path is exact.

    False alarm: 200 tests at five sigma, below 2e-4 for each case, and the seed is fixed. A rule that carried on over
    the edge would be as wrong as RTRL without starts, which the test would detect.
    """
    params, examples, keys, at = network(kind)[0], with_starts(kind), 6000, np.array([5, 8, 11])
    rule, exact = make(name, kind), make("rtrl", kind)

    @jax.jit
    def run(keys):
        def one(key):
            updates, traces, _ = walk(rule, params, examples, key)
            return updates["w"][at], traces.state

        expected = [walk(exact, params, given) for given in (examples, stream(kind))]
        return jax.vmap(one)(keys), [(each[0]["w"][at], each[1].state) for each in expected]

    (samples, states), ((expected, state), (carried, _)) = run(jax.random.split(jax.random.key(7), keys))
    close(states[0], state, 1e-13)
    samples = np.asarray(samples)
    error = samples.std(0) / keys**0.5
    assert np.abs((samples.mean(0) - expected) / error).max() < 5
    assert np.abs((carried - expected) / error).max() > 10


@pytest.mark.parametrize(("name", "kind"), [case for case in RULES if case[0] in STOCHASTIC], ids=str)
def test_a_start_forgets_what_random_factors_carried(name, kind):
    """The factor that J carries is made afresh: two runs with different pasts agree on it exactly."""
    params, examples = network(kind)[0], with_starts(kind)
    rule = make(name, kind, rho0=1.0, rho1=1.0)
    batch = jax.tree.map(lambda leaf: leaf[4], examples)._replace(start=jnp.ones(STREAMS, bool))

    def factor(seed, batch):
        traces = rule.init(params, jax.random.key(seed), batch)
        traces = traces._replace(state=traces.state + seed)
        after = rule.update(params, traces, KEY, batch)[1]
        return after.state, after.own.a if name == "uoro" else after.own.b

    jax.tree.map(lambda a, b: close(a, b, 0), factor(1, batch), factor(2, batch))
    on = batch._replace(start=jnp.zeros(STREAMS, bool))
    differ(factor(1, on)[1], factor(2, on)[1], 0.1)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_a_trials_last_step_has_its_own_credit_for_a_target(name):
    """A <- A - eta (A rtld - q) rtld^T with the last step's rtld and q, and no future; Jc learns nothing there."""
    params, examples = network("leaky")[0], with_starts("leaky")
    one = jax.tree.map(lambda leaf: leaf[:, :1], examples)
    options = {"jacobian_learning_rate": 0.1} if name == "dni_b" else {}
    rule = make(name, "leaky", learning_rate=0.1, target_interval=1, **options)

    def pasts(examples):
        return jax.tree.map(np.asarray, jax.jit(functools.partial(walk, rule))(params, examples)[1])

    traces = pasts(one)
    for t in (4, 9):
        a = traces.shared.a[t - 1]
        state, credit = traces.own.state[t - 1, 0], traces.own.credit[t - 1, 0]
        expected = a - 0.1 * np.outer(a @ state - credit, state)
        close(traces.shared.a[t], expected, 1e-13)
        differ(traces.shared.a[t], a, 1e-3)
        if name == "dni_b":
            np.testing.assert_array_equal(traces.shared.jacobian[t], traces.shared.jacobian[t - 1])
            differ(traces.shared.jacobian[t - 1], traces.shared.jacobian[t - 2], 1e-4)
    # Where the trial goes on, the target looks ahead.
    on = pasts(one._replace(start=jnp.zeros_like(one.start)))
    a, state, credit = on.shared.a[3], on.own.state[3, 0], on.own.credit[3, 0]
    differ(on.shared.a[4] - a, -0.1 * np.outer(a @ state - credit, state), 1e-2)


@pytest.mark.parametrize(("name", "kind"), RULES, ids=str)
def test_padding_at_the_end_changes_no_gradient(name, kind):
    """Earlier gradients do not change, and those of padding are zero.

    Synthetic credit is an exception: a weight of 0 may be in the middle of a trial, with a future to be guessed,
    so that only the readout's gradient is zero over padding.
    """
    params = network(kind)[0]
    options = {"window": WINDOW} if name == "bptt" else {}
    run = jax.jit(functools.partial(walk, make(name, kind, **options)))
    late = WINDOW - 1 if name == "future_facing_bptt" else 0
    short, _, loss = run(params, padded(stream(kind), late))
    long, _, long_loss = run(params, padded(stream(kind), 6))
    count = STEPS + late
    if late:  # the padding of the two is not of the same numbers, and reaches no gradient
        differ(padded(stream(kind), late).x[STEPS:], padded(stream(kind), 6).x[STEPS:count][::-1], 0.1)
    jax.tree.map(lambda a, b: close(b[:count], a, 1e-12), short, long)
    close(long_loss[:count], loss, 1e-13)
    np.testing.assert_array_equal(long_loss[count:], 0)
    for part, leaves in long.items():
        if part == "w_out" or name not in SYNTHETIC:
            for leaf in jax.tree.leaves(leaves):
                np.testing.assert_array_equal(leaf[count:], 0)
    assert np.abs(np.asarray(long["w_out"])[STEPS - 1]).max() > 1e-3


@pytest.mark.parametrize(("name", "kind"), RULES, ids=str)
def test_weights_scale_loss_and_gradient_of_their_example(name, kind):
    """The mean is over streams, not over weights: with a weight of 0 in one stream the other has half the gradient."""
    params = network(kind)[0]
    options = {"window": WINDOW} if name == "bptt" else {}
    run = jax.jit(functools.partial(walk, make(name, kind, **options)))
    ones = jnp.ones((STEPS, STREAMS))
    plain, _, loss = run(params, stream(kind))
    same, _, _ = run(params, stream(kind, weight=ones))
    tripled, _, tripled_loss = run(params, stream(kind, weight=3 * ones))
    left, _, left_loss = run(params, stream(kind, weight=ones * jnp.array([1.0, 0.0])))
    right, _, right_loss = run(params, stream(kind, weight=ones * jnp.array([0.0, 1.0])))
    parts = ["w_out"] if name in SYNTHETIC else list(plain)
    for part in parts:
        for a, b, c, d, e in zip(
            *(jax.tree.leaves(each[part]) for each in (plain, same, tripled, left, right)), strict=True
        ):
            close(b, a, 1e-14)
            close(c, 3 * a, 1e-12)
            close(d + e, a, 1e-12)
    close(tripled_loss, 3 * loss, 1e-13)
    close(left_loss + right_loss, loss, 1e-13)
    differ(left["w_out"], right["w_out"], 0.1)


@pytest.mark.parametrize(("name", "kind"), RULES, ids=str)
def test_integer_labels_are_one_hot_targets(name, kind):
    params, x, labels = network(kind)
    run = jax.jit(functools.partial(walk, make(name, kind)))
    hot = run(params, stream(kind))
    jax.tree.map(lambda a, b: close(a, b, 0), run(params, Example(x, labels)), hot)
    differ(run(params, Example(x, (labels + 1) % N_OUT))[0]["w_out"], hot[0]["w_out"], 0.1)


def test_starts_may_be_numbers():
    """Starts may be 0 and 1 of any dtype, as a task may store them."""
    params = network("leaky")[0]
    run = jax.jit(functools.partial(walk, make("rtrl", "leaky")))
    expected = run(params, with_starts("leaky"))[0]["w"]
    for dtype in (np.int32, np.float32):
        np.testing.assert_array_equal(run(params, stream("leaky", start=STARTS.astype(dtype)))[0]["w"], expected)
