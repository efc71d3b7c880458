"""Every rule, learning as it goes, against a plain NumPy loop written from the equations."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import learner
from plasticity_jax.cells import leaky
from plasticity_jax.ops.noise import stored_noise, unit_noise
from plasticity_jax.rules import online
from plasticity_jax.typing import Example
from tests.oracles.online import ORACLES
from tests.rules.helpers import F64, ONLINE, close, differ, first, problem, train, with_immediate_gain

STEPS, LR = 40, 0.2
NUS = {"uoro": lambda n: n, "kf_rtrl": lambda n: 2, "reverse_kf_rtrl": lambda n: n}
DEFAULTS = {
    "bptt": {"window": 4},
    "future_facing_bptt": {"window": 4},
    "kernl": {"learning_rate": 0.5, "sigma": 0.1},
    "dni": {"learning_rate": 0.05, "jacobian_learning_rate": 0.05, "target_interval": 3},
    "dni_b": {"learning_rate": 0.05, "jacobian_learning_rate": 0.05, "target_interval": 3},
}
OPTIONS = [
    *[(name, {"feedback": "random"}) for name in ORACLES if name not in ("fixed_recurrent", "dni_b")],
    *[(name, {"immediate_gain": 1.0}) for name in (*NUS, "bptt", "future_facing_bptt", "rtrl")],
    *[(name, {"noise": "gaussian"}) for name in NUS],
    ("uoro", {"rho0": 1.1}),
    *[(name, {"rho0": 0.8, "rho1": 0.6, "noise": "gaussian"}) for name in NUS],
    ("bptt", {"window": 1}),
    ("bptt", {"window": 7, "feedback": "random", "immediate_gain": 1.0}),
    ("future_facing_bptt", {"window": 1}),
    ("future_facing_bptt", {"window": 18}),
    ("rtrl", {"decay": 0.7}),
    ("rflo", {"leak": 0.2}),
    ("kernl", {"initial_leak": 0.3}),
    ("kernl", {"initial_leak": 1.4, "learning_rate": 0.0}),  # kappa is clamped at 0
    *[
        ("dni", {"jacobian": jacobian, "label": label, "feedback": feedback, "target_interval": interval})
        for jacobian in ("exact", "learned")
        for label in ("identity", "tanh")
        for feedback in ("readout", "random")
        for interval in (1, 5)
    ],
    ("dni_b", {"feedback": "readout"}),
]
# Every rule runs with both losses; options take turns. Only two classes have a path of their own in the oracle.
LOSSES = {"softmax2": ("softmax", 2), "softmax3": ("softmax", 3), "squared": ("squared", 3)}
CASES = [(name, {}, loss) for name in ORACLES for loss in ("softmax2", "squared")]
CASES += [(name, options, list(LOSSES)[i % 3]) for i, (name, options) in enumerate(OPTIONS)]


def label(case):
    name, options, loss = case
    return "-".join([name, *(f"{key}={value}" for key, value in options.items()), loss])


def carried_as(name, carried, field):
    """A rule's traces of one stream in the oracle's form, without the axes of one variable and of one gate."""
    leaf = getattr(carried, field)
    leaf = leaf["w"] if isinstance(leaf, dict) else leaf
    if name not in NUS:
        return leaf
    return leaf.reshape([size for size in leaf.shape if size > 1])  # n, m and n_out are not 1


def drawn(name, traces, key, n, kind):
    """The rule's random numbers: step t's key is fold_in(key, t), used as it is with one stream."""
    own, shared = traces.own, traces.shared
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(STEPS))
    if name in NUS:
        nu = jax.vmap(lambda key: unit_noise(key, NUS[name](n), F64, kind))(keys)
        return {**{field: carried_as(name, own, field) for field in ("a", "b")}, "nu": nu}
    if name == "kernl":
        return {"normals": jax.vmap(lambda key: stored_noise(key, n, F64, "gaussian"))(keys)}
    return {"a": shared.a} if name in ("dni", "dni_b") else {}


@pytest.mark.parametrize("case", CASES, ids=label)
def test_learning_equals_the_numpy_loop(case):
    name, options, which = case
    options = {**DEFAULTS.get(name, {}), **options}
    kind, n_out = LOSSES[which]
    params, examples = problem(3, n_out=n_out, steps=STEPS, loss=kind)
    w, w_out = params["forward"]["w"][0], params["forward"]["w_out"]
    key, make, lr = jax.random.key(5), getattr(online, name), 0.05 if name in NUS else LR
    gain = options.get("immediate_gain")
    of_rule = {key: value for key, value in options.items() if key != "immediate_gain"}

    def rule(alpha):
        cell = leaky(3, 6, n_out, alpha=alpha, loss=kind)
        return make(cell if gain is None else with_immediate_gain(cell, alpha, gain), **of_rule)

    start = learner(rule(0.5), optax.sgd(lr)).init(params, key, first(examples))

    @jax.jit
    def run(alpha, start, examples):
        return train(rule(alpha), lr, start, examples)

    noise = drawn(name, start.traces, start.key, 6, options.get("noise", "rademacher"))
    noise = {k: np.asarray(v) for k, v in noise.items()}
    oracle_options = {key: value for key, value in options.items() if key != "noise"}
    for alpha in (0.5, 1.0):
        end, loss, s, path = run(alpha, start, examples)
        given = w, w_out, params["feedback"]["w_fb"], examples.x[:, 0], examples.y[:, 0]
        expected = ORACLES[name].run(*given, alpha=alpha, lr=lr, noise=noise, loss=kind, record=True, **oracle_options)
        close(loss, expected["losses"])
        close(s[:, 0, 0], expected["r"])
        close(end.params["forward"]["w"][0], expected["w"])
        close(end.params["forward"]["w_out"], expected["w_out"])
        close(path[:, 0], w - lr * np.cumsum(expected["grads"], 0))
        close(end.params["feedback"]["w_fb"], params["feedback"]["w_fb"], 0)
        carried = end.traces.shared if name in ("kernl", "dni", "dni_b") else end.traces.own
        for field, value in expected["state"].items():
            if field in ("a", "a_target", "leak", "jacobian") and value is not None:
                close(carried_as(name, carried, field), value)
        # Learning matters here, and the network is active.
        differ(expected["w_out"], w_out, 0.1)
        if name != "fixed_recurrent":
            differ(expected["w"], w, 0.02)
        assert 0.05 < np.abs(expected["r"]).mean() < 0.95


def test_the_oracle_has_all_rules_but_three():
    """Three rules are tested elsewhere.

    SnAp in test_snap.py, three factors in test_three_factor.py, and e-prop, a special case of rflo, in test_eprop.py.
    """
    assert set(ORACLES) | {"snap", "eprop", "recurrent_three_factor"} >= set(ONLINE)
    assert set(ORACLES) < set(ONLINE)


@pytest.mark.parametrize("name", ["uoro", "rtrl"])
def test_the_oracle_at_rest_keeps_its_weights(name):
    params, examples = problem(3, steps=5)
    w, w_out = params["forward"]["w"][0], params["forward"]["w_out"]
    given = w, w_out, params["feedback"]["w_fb"], examples.x[:, 0], examples.y[:, 0]
    result = ORACLES[name].run(*given, alpha=0.5, lr=0, record=True)
    np.testing.assert_array_equal(result["w"], w)
    np.testing.assert_array_equal(result["w_out"], w_out)
    assert np.abs(result["grads"][-1]).max() > 1e-3


STREAMS = 3
SHARED = {
    "kernl": [DEFAULTS["kernl"]],
    "dni": [DEFAULTS["dni"], {**DEFAULTS["dni"], "jacobian": "learned", "label": "tanh"}],
    "dni_b": [DEFAULTS["dni_b"]],
}


def apart(rule, params, traces, key, batch):
    """Each stream's update alone, from the same traces and with its own key; results have a leading axis."""

    def one(state, own, key, batch):
        alone = jax.tree.map(lambda a: a[None], (state, own, batch))
        return rule.update(params, traces._replace(state=alone[0], own=alone[1]), key, alone[2])

    return jax.vmap(one)(traces.state, traces.own, jax.random.split(key, STREAMS), batch)


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_a_batch_is_the_mean_of_its_streams(name):
    options = {**DEFAULTS.get(name, {})}
    options |= {key: 0.0 for key in ("learning_rate", "jacobian_learning_rate") if key in options}
    rule = getattr(online, name)(leaky(3, 6, 2), **options)
    params, examples = problem(4, steps=8, streams=STREAMS)
    traces = rule.init(params, jax.random.key(0), first(examples))

    @jax.jit
    def step(traces, key, batch):
        return rule.update(params, traces, key, batch), apart(rule, params, traces, key, batch)

    for t in range(8):
        together, alone = step(traces, jax.random.key(t), jax.tree.map(lambda a, t=t: a[t], examples))
        for group in ("w", "w_out"):
            close(together[0]["forward"][group], jnp.mean(alone[0]["forward"][group], 0), 1e-13)
        close(together[2].loss, jnp.mean(alone[2].loss), 1e-13)
        close(together[1].state, alone[1].state[:, 0], 1e-13)
        jax.tree.map(lambda a, b: close(a, b[:, 0], 1e-13), together[1].own, alone[1].own)
        traces = together[1]
    if name != "fixed_recurrent":
        differ(alone[0]["forward"]["w"][0], alone[0]["forward"]["w"][1], 0.1)


@pytest.mark.parametrize(("name", "options"), [(name, o) for name, several in SHARED.items() for o in several])
def test_what_streams_share_changes_by_the_mean(name, options):
    """The gradient, and A where the Jacobian is learned, read shared values that the mean has already changed."""

    def make(**rates):
        return getattr(online, name)(leaky(3, 6, 2), **{**options, **rates})

    learns_j = name == "dni_b" or "jacobian" in options
    params, examples = problem(4, steps=6, streams=STREAMS)
    traces = make().init(params, jax.random.key(0), first(examples))

    @jax.jit
    def step(traces, key, batch):
        given = params, traces, key, batch
        together, first = make().update(*given), apart(make(), *given)
        given_j = (
            traces._replace(shared=traces.shared._replace(jacobian=together[1].shared.jacobian)) if learns_j else traces
        )
        second = apart(make(jacobian_learning_rate=0.0), params, given_j, key, batch) if learns_j else first
        given_a = traces._replace(shared=traces.shared._replace(a=together[1].shared.a))
        return together, first, second, apart(make(learning_rate=0.0), params, given_a, key, batch)

    for t in range(6):
        together, alone, given_j, given_a = step(traces, jax.random.key(t), jax.tree.map(lambda a, t=t: a[t], examples))
        for field in together[1].shared._fields:
            source = given_j if field in ("a", "a_target") else alone
            actual, each = getattr(together[1].shared, field), getattr(source[1].shared, field)
            if not isinstance(actual, tuple):
                close(actual, jnp.mean(each, 0), 1e-13)
        close(together[0]["forward"]["w"], jnp.mean(given_a[0]["forward"]["w"], 0), 1e-12)
        before, traces = traces, together[1]
    moved = alone[1].shared.a - before.shared.a
    differ(moved[0], moved[1], 0.1)


@pytest.mark.parametrize("name", [*NUS, "dni", "kernl"])
def test_initial_traces_have_their_moments(name):
    """N(0, 1) for the random factors, N(0, 1 / m_out) for DNI's A, the identity for KeRNL's; streams differ.

    Bounds of five standard errors on a mean and a variance: false alarm below 1e-5 each, and the seed is fixed.
    """
    n, streams = 30, 20
    params, examples = problem(1, n=n, steps=1, streams=streams)
    rule = getattr(online, name)(leaky(3, n, 2))
    traces = jax.jit(lambda key: rule.init(params, key, first(examples)))(jax.random.key(2))
    if name == "kernl":
        np.testing.assert_array_equal(traces.shared.a, np.eye(n))
        np.testing.assert_array_equal(traces.shared.leak, np.full(n, 0.8))
        assert all(not leaf.any() for leaf in jax.tree.leaves(traces.own))
        return
    arrays = [traces.shared.a * np.sqrt(n + 3)] if name == "dni" else jax.tree.leaves(traces.own)
    for array in arrays:
        assert abs(array.mean()) < 5 / array.size**0.5
        assert abs(array.var() - 1) < 5 * (2 / array.size) ** 0.5
    if name == "dni":
        np.testing.assert_array_equal(traces.shared.a, traces.shared.a_target)
        learned = online.dni_b(leaky(3, n, 2)).init(params, jax.random.key(2), first(examples)).shared.jacobian
        np.testing.assert_array_equal(learned, params["forward"]["w"][0, :, :n])
    else:
        b = arrays[1]
        differ(b[0], b[1], 0.5)
    np.testing.assert_array_equal(traces.state, np.zeros((streams, 1, n)))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda net: online.rtrl(net, feedback="none"), "feedback='none'"),
        (lambda net: online.dni(net, jacobian="none"), "jacobian='none'"),
        (lambda net: online.dni(net, label="none"), "label='none'"),
        (lambda net: online.dni(net, target_interval=0), "target_interval=0"),
        (lambda net: online.bptt(net, window=0), "window=0"),
        (lambda net: online.future_facing_bptt(net, window=0), "window=0"),
    ],
)
def test_unknown_options_are_named(make, match):
    with pytest.raises(ValueError, match=match):
        make(leaky(3, 6, 2))


@pytest.mark.parametrize("name", sorted(NUS))
def test_unknown_noise_is_named(name):
    """The error comes at the first step at the latest."""
    params, examples = problem(1, steps=1)

    def run():
        rule = getattr(online, name)(leaky(3, 6, 2), noise="uniform")
        traces = rule.init(params, jax.random.key(0), first(examples))
        rule.update(params, traces, jax.random.key(0), first(examples))

    with pytest.raises(ValueError, match="uniform"):
        run()


@pytest.mark.parametrize(
    ("array", "shape", "match"),
    [
        ("x", (1, 4), "batch.x must be"),
        ("y", (1, 5), "batch.y must be"),
        ("y", (2, 2), "batch.y must be"),
        ("x", (3,), "x"),
        ("w_out", (2, 6), "w_out must be"),
        ("w_fb", (2, 7), "w_fb must be"),
        ("w", (6, 10), "w must be"),
    ],
)
@pytest.mark.parametrize("name", ["rtrl", "dni_b"])
def test_wrong_shapes_are_named(name, array, shape, match):
    params, examples = problem(1, steps=1)
    rule = getattr(online, name)(leaky(3, 6, 2))
    traces = rule.init(params, jax.random.key(0), first(examples))
    arrays = {**params["forward"], **params["feedback"], **first(examples)._asdict(), array: jnp.ones(shape)}
    params = {"forward": {k: arrays[k] for k in ("w", "w_out")}, "feedback": {"w_fb": arrays["w_fb"]}}
    batch = Example(arrays["x"], arrays["y"])
    if (name, array) == ("rtrl", "w_fb"):  # a matrix that the rule does not read is not looked at
        updates = rule.update(params, traces, jax.random.key(0), batch)[0]
        np.testing.assert_array_equal(updates["feedback"]["w_fb"], np.zeros(shape))
        return
    with pytest.raises(AssertionError, match=match):
        rule.init(params, jax.random.key(0), batch)
    with pytest.raises(AssertionError, match=match):
        rule.update(params, traces, jax.random.key(0), batch)
