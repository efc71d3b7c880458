"""The protocol: the state of a learner while a rule only accumulates, and the keys of rules that are compared."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import plasticity_jax as pj
from plasticity_jax.base import READY, Info, LearnerState, LearningRule, compare, is_ready, learner
from plasticity_jax.rules import online

KEY = jax.random.key(0)
STEPS = 12


def gradients(t):
    """The toy rule's updates at step t, for two weights of one group and one of another."""
    return {"forward": {"slow": np.sin(t + 1.0), "fast": np.cos(2.0 * t)}, "other": {"w": np.sin(3.0 * t + 0.5)}}


def start_params():
    return {"forward": {"slow": jnp.float64(1.0), "fast": jnp.float64(2.0)}, "other": {"w": jnp.float64(3.0)}}


def rule_that_is(ready):
    """A toy rule whose traces are the step's number and whose `ready` is a function of it."""
    bank = jax.tree.map(lambda *leaves: jnp.asarray(leaves), *[gradients(t) for t in range(STEPS)])

    def init(params, key, batch):
        return jnp.zeros((), jnp.int32)

    def update(params, t, key, batch):
        return jax.tree.map(lambda leaf: leaf[t], bank), t + 1, Info(1.0 + jnp.cos(1.0 * t), ready(t), {})

    return LearningRule(init, update)


def every_third(t):
    return t % 3 == 2


READIES = {
    "always": (lambda t: READY, lambda t: (True, True, True)),
    "a flag": (every_third, lambda t: (t % 3 == 2,) * 3),
    "a group": (lambda t: {"forward": every_third(t)}, lambda t: (t % 3 == 2, t % 3 == 2, True)),
    "part of a group": (lambda t: {"forward": {"slow": every_third(t)}}, lambda t: (t % 3 == 2, True, True)),
    "two of them": (
        lambda t: {"forward": {"slow": every_third(t), "fast": t % 2 == 0}, "other": t % 4 == 1},
        lambda t: (t % 3 == 2, t % 2 == 0, t % 4 == 1),
    ),
}
"""Readiness as a rule reports it, and the readiness of ("slow", "fast", "w") that it means."""


def run(rule, tx):
    """Params at every step, losses, and the last state."""
    learn = learner(rule, tx)

    def body(state, _):
        state, info = learn.step(state, None)
        return state, (state.params, info.loss)

    state, (params, loss) = jax.jit(lambda: jax.lax.scan(body, learn.init(start_params(), KEY, None), length=STEPS))()
    return np.stack(rows(params), 1), np.asarray(loss), state


def rows(tree):
    return [np.asarray(leaf) for leaf in (tree["forward"]["slow"], tree["forward"]["fast"], tree["other"]["w"])]


def by_hand(which, step_of, state, counted=lambda ready: [any(ready)] * 3):
    """Params at every step: a ready weight moves by `step_of(state, g, count)`; `counted` selects the counts."""
    params, states, counts, path = np.array([1.0, 2.0, 3.0]), [state] * 3, [0] * 3, []
    for t in range(STEPS):
        ready = READIES[which][1](t)
        counts = [count + move for count, move in zip(counts, counted(ready), strict=True)]
        for k, g in enumerate(rows(gradients(t))):
            if ready[k]:
                change, states[k] = step_of(states[k], float(g), counts[k])
                params[k] += change
        path.append(params.copy())
    return np.stack(path)


def momentum(state, g, count):
    state = 0.9 * state + g
    return -0.1 * state, state


def adam(rate):
    def step(state, g, count):
        m, v = 0.9 * state[0] + 0.1 * g, 0.999 * state[1] + 0.001 * g * g
        given = rate(count - 1) if callable(rate) else rate
        return -given * (m / (1 - 0.9**count)) / (np.sqrt(v / (1 - 0.999**count)) + 1e-8), (m, v)

    return step


@pytest.mark.parametrize("which", READIES)
def test_weights_that_are_not_ready_keep_their_momentum(which):
    params, _, _ = run(rule_that_is(READIES[which][0]), optax.sgd(0.1, momentum=0.9))
    np.testing.assert_allclose(params, by_hand(which, momentum, 0.0), atol=1e-14)
    if which != "always":  # a rule that is always ready ends elsewhere
        assert np.abs(params[-1] - by_hand("always", momentum, 0.0)[-1]).max() > 0.05


@pytest.mark.parametrize("which", READIES)
def test_weights_that_are_not_ready_keep_their_moments(which):
    """The counter of one Adam is for all weights, and advances if any of them is ready."""
    params, _, state = run(rule_that_is(READIES[which][0]), optax.adam(0.05))
    np.testing.assert_allclose(params, by_hand(which, adam(0.05), (0.0, 0.0)), atol=1e-13)
    count = sum(any(READIES[which][1](t)) for t in range(STEPS))
    assert int(optax.tree_utils.tree_get(state.opt_state, "count")) == count


@pytest.mark.parametrize("which", READIES)
def test_a_partition_counts_for_each_of_its_groups(which):
    labels = {"forward": {"slow": "a", "fast": "b"}, "other": {"w": "b"}}
    tx = optax.partition({"a": optax.adam(0.05), "b": optax.adam(0.05)}, labels)
    params, _, state = run(rule_that_is(READIES[which][0]), tx)

    def counted(ready):
        return [ready[0], ready[1] or ready[2], ready[1] or ready[2]]

    np.testing.assert_allclose(params, by_hand(which, adam(0.05), (0.0, 0.0), counted), atol=1e-13)
    moves = np.sum([counted(READIES[which][1](t)) for t in range(STEPS)], 0)
    counts = [
        int(optax.tree_utils.tree_get(state.opt_state.inner_states[label].inner_state, "count")) for label in "ab"
    ]
    assert counts == [moves[0], moves[1]]
    assert (counts[0] != counts[1]) == (which not in ("always", "a flag"))


@pytest.mark.parametrize("which", READIES)
def test_a_schedule_moves_with_the_steps_that_teach(which):
    tx = optax.chain(optax.scale_by_adam(), optax.scale_by_schedule(lambda t: -0.05 * 0.8**t))
    params, _, _ = run(rule_that_is(READIES[which][0]), tx)
    np.testing.assert_allclose(params, by_hand(which, adam(lambda t: 0.05 * 0.8**t), (0.0, 0.0)), atol=1e-13)


def test_a_step_at_which_nothing_is_ready_changes_nothing_but_step_and_traces():
    learn = learner(rule_that_is(lambda t: jnp.asarray(False)), optax.adam(0.1))
    before = learn.init(start_params(), KEY, None)
    after, _ = jax.jit(learn.step)(before, None)
    jax.tree.map(np.testing.assert_array_equal, after.params, before.params)
    jax.tree.map(np.testing.assert_array_equal, after.opt_state, before.opt_state)
    assert (int(after.step), int(after.traces)) == (1, 1)


@pytest.mark.parametrize(
    "ready",
    [{"forwards": True}, {"forward": {"slwo": True}}, {"forward": {"slow": {"deeper": True}}}],
    ids=["a group", "a weight", "below a weight"],
)
def test_ready_names_that_do_not_exist_are_refused(ready):
    """A misspelt name would have no effect."""
    rule = rule_that_is(lambda t: jax.tree.map(lambda flag: jnp.asarray(False), ready))
    learn = learner(rule, optax.sgd(0.1))
    state = learn.init(start_params(), KEY, None)
    with pytest.raises(ValueError, match=r"Info\.ready names"):
        learn.step(state, None)


def test_is_ready_needs_every_flag():
    assert bool(is_ready(READY))
    assert bool(is_ready({"a": jnp.asarray(True), "b": {"c": jnp.asarray(True)}}))
    assert not bool(is_ready({"a": jnp.asarray(True), "b": {"c": jnp.asarray(False)}}))


def test_the_loss_reaches_an_optimiser_that_adapts_its_rate_to_it():
    """Reduce on plateau: the loss of the toy rule rises for many steps, and the rate falls."""
    tx = optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau(factor=0.5, patience=1, atol=0.0, rtol=1e-9))
    params, loss, state = run(rule_that_is(lambda t: READY), tx)
    scale, best, waited, expected = 1.0, np.inf, 0, np.array([1.0, 2.0, 3.0])
    for t in range(STEPS):
        waited = 0 if loss[t] < best else waited + 1
        best = min(best, loss[t])
        if waited >= 1:
            scale, waited = scale * 0.5, 0
        expected = expected - 0.1 * scale * np.array(rows(gradients(t)))
    assert scale < 0.1
    np.testing.assert_allclose(optax.tree_utils.tree_get(state.opt_state, "scale"), scale, rtol=1e-6)
    np.testing.assert_allclose(params[-1], expected, atol=1e-6)  # the scale is a float32


def test_the_loss_reaches_an_optimiser_that_steps_by_it():
    """Polyak's step is loss / |g|^2 at most max_learning_rate."""
    params, loss, _ = run(rule_that_is(lambda t: READY), optax.polyak_sgd(max_learning_rate=0.4))
    expected = np.array([1.0, 2.0, 3.0])
    sizes = []
    for t in range(STEPS):
        g = np.array(rows(gradients(t)))
        sizes.append(min(loss[t] / np.sum(g * g), 0.4))
        expected = expected - sizes[-1] * g
    np.testing.assert_allclose(params[-1], expected, atol=1e-12)
    assert 0.4 in sizes
    assert min(sizes) < 0.3


def case(name="rtrl", params_key=KEY):
    problem = pj.RULES[name]
    return problem.params(params_key), problem.batch(KEY)


def test_a_fresh_state_can_be_donated():
    """Adam starts with moments that may be one array of zeros, and DNI with two copies of A."""
    params, batch = case("dni")
    learn = learner(pj.RULES["dni"].make(), optax.adam(0.01))
    state = learn.init(params, KEY, batch)
    leaves = jax.tree.leaves(state)
    assert len({id(leaf) for leaf in leaves}) == len(leaves)
    step = jax.jit(learn.step, donate_argnums=0)
    once, _ = step(state, batch)
    assert int(step(once, batch)[0].step) == 2


def test_meta_gradients_through_adam_are_numbers_where_a_gradient_is_zero():
    """A weight without credit has a gradient of zero, at which Adam's root has no slope without eps_root."""

    def rule_of(scale):
        def update(params, traces, key, batch):
            grad = jax.tree.map(jnp.zeros_like, params)
            return {**grad, "a": scale * params["a"]}, traces, Info(params["a"] ** 2, READY, {})

        return LearningRule(lambda params, key, batch: (), update)

    def end(scale, eps_root):
        learn = learner(rule_of(scale), optax.adam(0.1, eps_root=eps_root))
        state = learn.init({"a": jnp.float64(1.0), "b": jnp.float64(1.0)}, KEY, None)
        for _ in range(4):
            state, _ = learn.step(state, None)
        return state.params["a"] + scale * state.params["b"]

    slope = jax.jit(jax.grad(end))(0.3, 1e-8)
    both_sides = [end(0.3 + move, 1e-8) for move in (1e-6, -1e-6)]
    np.testing.assert_allclose(slope, (both_sides[0] - both_sides[1]) / 2e-6, rtol=1e-6)
    assert np.isfinite(end(0.3, 0.0))


def test_a_meta_gradient_through_a_rule_and_adam_is_a_number():
    """RFLO's first gradients of the recurrent weights are zero, as the state starts at zero."""
    params, batch = case("rflo")

    def after(alpha):
        learn = learner(pj.RULES["rflo"].make(alpha=alpha), optax.adam(0.01, eps_root=1e-8))
        start = learn.init(params, KEY, batch)
        _, info = jax.lax.scan(lambda state, _: learn.step(state, batch), start, length=5)
        return jnp.sum(info.loss)

    slope = jax.jit(jax.grad(after))
    ends = [jax.jit(after)(0.5 + move) for move in (1e-6, -1e-6)]
    np.testing.assert_allclose(slope(0.5), (ends[0] - ends[1]) / 2e-6, rtol=1e-5)
    assert abs(slope(0.5)) > 1e-4


def many_streams(name, key):
    """A rule at rest that writes its noise into its A."""
    cell = pj.cells.leaky(2, 8, 2)
    params = pj.cells.init_params(KEY, cell, jnp.float64)
    rule = getattr(online, name)(cell, rho0=1.0, rho1=1.0)
    batch = pj.Example(jnp.zeros((64, 2)), jnp.full((64, 2), 0.5))
    traces = rule.init(params, key, batch)
    own = jax.tree.map(jnp.zeros_like, traces.own)
    return rule, params, traces._replace(own=own), batch


def test_rules_that_are_compared_draw_independently():
    """512 signs of independent rules correlate by less than five standard errors (false alarm 6e-7)."""
    rule, params, traces, batch = many_streams("uoro", KEY)
    names = ("one", "two")
    _, after, _ = jax.jit(
        lambda key: compare(dict.fromkeys(names, rule), params, dict.fromkeys(names, traces), key, batch)
    )(KEY)
    signs = [np.sign(np.asarray(after[name].own.a)).ravel() for name in names]
    assert set(signs[0]) == {-1.0, 1.0}
    assert abs(np.mean(signs[0] * signs[1])) < 5 / signs[0].size ** 0.5
    alone = rule.update(params, traces, KEY, batch)[1]
    assert np.abs(np.sign(np.asarray(alone.own.a)).ravel() - signs[0]).max() > 0


def test_rule_number_i_draws_from_fold_in_of_i():
    """Each result is that of the rule alone; the order matters, and names do not."""
    params, batch = case("uoro")
    rules = {name: pj.RULES[name].make() for name in ("rtrl", "uoro", "kf_rtrl", "kernl")}
    traces = {name: rule.init(params, jax.random.key(i), batch) for i, (name, rule) in enumerate(rules.items())}
    updates, after, infos = compare(rules, params, traces, KEY, batch)
    assert list(updates) == list(after) == list(infos) == list(rules)
    for i, (name, rule) in enumerate(rules.items()):
        expected = rule.update(params, traces[name], jax.random.fold_in(KEY, i), batch)
        jax.tree.map(np.testing.assert_array_equal, (updates[name], after[name], infos[name]), expected)
    other = rules["uoro"].update(params, traces["uoro"], KEY, batch)[0]
    assert np.abs(other["forward"]["w"] - updates["uoro"]["forward"]["w"]).max() > 1e-6


def test_compare_takes_rules_by_name():
    params, batch = case()
    rule = pj.RULES["rtrl"].make()
    traces = rule.init(params, KEY, batch)
    for rules, carried in (([rule], [traces]), ((rule,), {"rtrl": traces}), ({"rtrl": rule}, [traces])):
        with pytest.raises(TypeError, match=r'by name, as in \{"rtrl": rtrl\(cell\)\}'):
            compare(rules, params, carried, KEY, batch)
    with pytest.raises(ValueError, match=r"rules are a but traces are b; give every rule its own traces"):
        compare({"a": rule}, params, {"b": traces}, KEY, batch)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: learner(online.rflo, optax.sgd(0.1)), "rule=rflo is not a LearningRule: call it with its network"),
        (lambda: learner(0.1, optax.sgd(0.1)), "rule=0.1 is not a LearningRule: make one with a rule's factory"),
        (lambda: learner(pj.RULES["rflo"].make(), 0.1), "tx=0.1 is not an optax optimiser: give one, as in optax.sgd"),
        (lambda: learner(pj.RULES["rflo"].make(), optax.sgd), "tx=sgd is not an optax optimiser"),
    ],
)
def test_other_objects_than_rules_and_optimisers_are_refused_in_one_line(make, message):
    with pytest.raises(TypeError, match=re.escape(message)) as refusal:
        make()
    assert "\n" not in str(refusal.value)


def test_a_run_resumes_from_its_state():
    """A run cut in the middle continues from the state alone, which holds the key and the step of each draw."""
    params, batch = case("uoro")
    learn = learner(pj.RULES["uoro"].make(), optax.adam(0.01))
    step = jax.jit(learn.step)
    whole = learn.init(params, KEY, batch)
    for _ in range(4):
        whole, _ = step(whole, batch)
    half = learn.init(params, KEY, batch)
    for _ in range(2):
        half, _ = step(half, batch)
    half = LearnerState(*half)
    for _ in range(2):
        half, _ = step(half, batch)
    jax.tree.map(np.testing.assert_array_equal, half._replace(key=None), whole._replace(key=None))
    assert int(half.step) == 4
