"""L1 to L5, L8, L9, L11 and L13 to L15: what a rule promises as a pure function, whatever it computes."""

import functools
from collections.abc import Mapping

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import Info, learner
from plasticity_jax.run import Checkpoints, Program, online_training
from plasticity_jax.run.checkpoint import Saved
from plasticity_jax.tasks.stream import Stream
from tests.laws.common import (
    LONG,
    STEPS,
    Problem,
    assert_close,
    assert_same,
    at,
    avals,
    cast,
    compiled,
    distance,
    floats,
    host,
    is_key,
    is_stochastic,
    problem,
)

DTYPES = {"float32": jnp.float32, "float64": jnp.float64}


@functools.lru_cache(maxsize=8)  # two laws read the same
def abstract(rule: Problem, dtype, python_floats: bool):
    """Shapes and types of one init and one update, nothing computed: what a compiled caller sees."""
    params, batch = rule.params(jax.random.key(0), dtype), rule.batch(dtype)

    def both(params, key, batch, coefficients):
        made = rule.case.make(**({} if python_floats else coefficients))
        traces = made.init(params, key, batch)
        return traces, made.update(params, traces, key, batch)

    traces, (updates, after, info) = jax.eval_shape(
        both, params, jax.random.key(0), batch, cast(rule.coefficients, dtype)
    )
    return params, traces, updates, after, info


@pytest.mark.parametrize("python_floats", [True, False], ids=["floats", "tracers"])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_l1_updates_look_like_params(rule, dtype, python_floats):
    params, _, updates, _, info = abstract(rule, dtype, python_floats)
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    looks = {path: aval[:2] for path, aval in avals(updates).items()}
    assert looks == {path: aval[:2] for path, aval in avals(params).items()}
    assert isinstance(info, Info)
    assert isinstance(info.aux, Mapping)
    assert (info.loss.shape, info.loss.dtype) == ((), dtype)
    assert {(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(info.ready)} == {((), jnp.dtype(bool))}
    assert {leaf.dtype for leaf in floats(info.aux)} <= {jnp.dtype(dtype)}


@pytest.mark.parametrize("python_floats", [True, False], ids=["floats", "tracers"])
@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_l2_traces_are_a_fixed_point(rule, dtype, python_floats):
    _, before, _, after, _ = abstract(rule, dtype, python_floats)
    assert jax.tree.structure(after) == jax.tree.structure(before)
    assert avals(after) == avals(before), "shape, dtype or weak type changes from one step to the next"
    assert {leaf.dtype for leaf in floats(before)} <= {jnp.dtype(dtype)}, "traces take the dtype of the params"
    assert not any(weak for _, _, weak in avals(before).values()), "a weakly typed trace; name its dtype in init"
    assert not any(is_key(leaf) for leaf in jax.tree.leaves(before)), "the key is an argument, it never lives in traces"


def test_l3_eager_is_jit_is_scan(rule):
    states, infos = rule.walk
    scanned, scanned_infos = rule.jit_trial(states[0], rule.batches(), rule.coefficients)
    assert_close(scanned, states[-1])
    assert_close(scanned_infos, jax.tree.map(lambda *leaves: jnp.stack(leaves), *infos))
    t = rule.lesson  # an eager step is slow; this one says as much as all, with Python floats for coefficients, too
    eager, eager_info = rule.learner({}).step(states[t], at(rule.batches(), t))
    assert_close(eager, states[t + 1])
    assert_close(eager_info, infos[t])


def as_program(rule: Problem, chunks: int) -> Program:
    """The trial as a training of the run floor, cut into chunks."""
    bank = rule.batches()

    def take(step, steps):
        return step + steps, jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, step, steps), bank)

    return online_training(
        build=lambda key: (rule.learner(rule.coefficients), Stream(lambda key: jnp.zeros((), jnp.int32), take)),
        init=lambda key, learn, stream: (rule.start(), stream.init(key)),
        steps=STEPS,
        every=1,
        chunks=chunks,
    )


def test_l4_a_restored_run_is_the_run(rule, tmp_path):
    program = as_program(rule, 2)  # an edge at step 5, off the edges of the cases' windows
    chunk = compiled(program.chunk)
    begin = program.init(jax.random.key(0))
    edge, early = chunk(begin)
    end, late = chunk(edge)

    store = Checkpoints(tmp_path, {"rule": rule.name})
    store.save(Saved(1, edge, {key: np.asarray(values)[None] for key, values in early.items()}, 0.0))
    restored = Checkpoints(tmp_path, {"rule": rule.name}).load(jax.eval_shape(lambda: begin))
    assert restored is not None
    assert restored.done == 1
    assert avals(jax.tree.map(jnp.asarray, restored.state)) == avals(edge)
    assert_same(restored.state, edge)
    assert_same(chunk(restored.state), (end, late), "the run goes on differently after it was restored")
    assert distance(floats(edge.learner), floats(end.learner)) > 1e-6, "the second chunk does nothing"

    whole, infos = rule.jit_trial(rule.start(), rule.batches(), rule.coefficients)  # as one chunk
    assert_close(whole, end.learner, message="the length of a chunk shows")
    assert_close(infos.loss, jnp.concatenate([early["loss"], late["loss"]]))


def test_l5_vmap_is_the_loop(rule):
    lanes = [(rule.start(number), rule.coefficients) for number in (1, 2)]
    for name, value in rule.coefficients.items():
        for changed in (0.7 * value + 0.01 * (value == 0), 0.9 * value + 0.02 * (value == 0)):
            coefficients = {**rule.coefficients, name: changed}
            lanes.append((rule.start(1, coefficients), coefficients))
    loop = [rule.jit_trial(state, rule.batches(), coefficients) for state, coefficients in lanes]
    states, coefficients = jax.tree.map(lambda *leaves: jnp.stack(leaves), *lanes)
    mapped = compiled(jax.vmap(rule.trial, in_axes=(0, None, 0)))(states, rule.batches(), coefficients)
    labels = ["seed 1", "seed 2", *(f"{name}, {i}" for name in rule.coefficients for i in (1, 2))]
    for i, label in enumerate(labels):
        assert_close(at(mapped, i), loop[i], message=label)
        assert i == 0 or distance(floats(loop[i]), floats(loop[0])) > 1e-9, f"{label}: changes nothing"


def test_l8_randomness_comes_from_the_key_alone(rule):
    state = rule.start()
    other = state._replace(key=jax.random.key(99))
    once, again, elsewhere = (rule.jit_trial(s, rule.batches(), rule.coefficients) for s in (state, state, other))
    assert_same(once, again)
    differ = distance((once[0].params, once[0].traces), (elsewhere[0].params, elsewhere[0].traces)) > 1e-9
    if is_stochastic(rule.name):
        assert differ, "declared stochastic, yet two keys give one result"
    else:
        assert_same(once[0]._replace(key=other.key), elsewhere[0], "declared deterministic, yet it reads the key")


def test_l9_one_trace_per_shape(rule):
    """Neither another value of anything, nor the state of a step in place of that of init, may trace a step anew."""
    states, _ = rule.walk
    batch, other = at(rule.batches(), 0), at(rule.batches(), 1)
    half = jax.tree.map(lambda value: value / 2, rule.coefficients)

    def step(state, batch, coefficients):
        return rule.step(state, batch, coefficients)

    chex.clear_trace_counter()
    jitted = jax.jit(chex.assert_max_traces(step, n=1))  # raises when it is traced again; nothing here is compiled
    jitted.trace(states[0], batch, rule.coefficients)
    jitted.trace(states[1], other, rule.coefficients)
    jitted.trace(states[-1]._replace(key=jax.random.key(7)), batch, half)
    jitted.trace(rule.start(3), batch, rule.coefficients)


def test_l11_a_thousand_steps_stay_finite(rule):
    """From the rule's own initial traces and from traces that are all zero, where ratios of norms are 0 / 0."""
    dtype = jnp.float32
    state = rule.start(dtype=dtype)
    rest = state._replace(traces=jax.tree.map(jnp.zeros_like, state.traces))
    batches, coefficients = rule.batches(LONG, dtype), cast(rule.coefficients, dtype)

    def live(state):
        learn = rule.learner(coefficients, 1e-3)
        return jax.lax.scan(lambda s, batch: ((after := learn.step(s, batch))[0], after[1].loss), state, batches)

    states = jax.tree.map(lambda *leaves: jnp.stack(leaves), state, rest)
    end, losses = compiled(jax.vmap(live))(states)
    for label, i in {"initial traces": 0, "zero traces": 1}.items():
        assert np.all(np.isfinite(losses[i])), f"{label}: loss not finite from step {np.argmin(np.isfinite(losses[i]))}"
        assert all(np.all(np.isfinite(leaf[i])) for leaf in floats(end)), label
        assert distance(floats(at(end, i).params), floats(state.params)) > 1e-6, f"{label}: nothing was learned"


def looks(tree):
    """Structure, shapes and dtypes."""
    return jax.tree.structure(tree), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize(
    ("dtype", "numpy"),
    [(jnp.float32, True), (jnp.bfloat16, False)],
    ids=["float32, numpy float64", "bfloat16, float32"],
)
def test_l13_the_weights_say_the_dtype(rule, dtype, numpy):
    """Data of another dtype, NumPy's own among them, change neither updates nor traces nor the loss's dtype."""
    params = rule.params(jax.random.key(0), dtype)
    batch = host(rule.batch()) if numpy else rule.batch(jnp.float32)
    made = rule.case.make()

    def both(params, key):  # the batch closed over, for an argument of eval_shape is no NumPy array
        traces = made.init(params, key, batch)
        return traces, made.update(params, traces, key, batch)

    traces, (updates, after, info) = jax.eval_shape(both, params, jax.random.key(0))
    assert looks(updates) == looks(params)
    assert {leaf.dtype for leaf in floats(traces)} <= {jnp.dtype(dtype)}, "traces take the dtype of the params"
    assert avals(after) == avals(traces), "the batch's dtype enters the traces"
    assert info.loss.dtype == dtype


DOORS = ("backprop", "hebb", "impression", "adversarial", "recurrent_node_perturbation", "rtrl", "meta_gradient")
"""One rule behind each door; what a door does to dtypes the law above asks of every rule."""


@pytest.mark.parametrize("name", DOORS)
def test_l13_a_step_on_numpy_data_of_another_dtype_is_the_step(name):
    """Weights in float32, data in float64 that float32 holds: the same step as with data in float32."""
    rule = problem(name)
    state, small = rule.start(dtype=jnp.float32), rule.batch(jnp.float32)
    coefficients = cast(rule.coefficients, jnp.float32)
    wide, info = rule.jit_step(state, host(cast(small, jnp.float64)), coefficients)
    want, want_info = rule.jit_step(state, small, coefficients)
    assert looks(wide) == looks(state)
    assert_close(wide, want, 1e-5)
    assert_close(info.loss, want_info.loss, 1e-5)


def test_l14_a_fresh_state_can_be_donated(rule):
    """The buffers of the state of init may be given away, which fails where two leaves are one array."""
    learn = learner(rule.case.make(**rule.coefficients), optax.adam(0.01))
    fresh = learn.init(rule.params(jax.random.key(0)), jax.random.key(1), rule.batch())
    take = compiled(lambda state: jax.tree.map(jnp.copy, state), donate_argnums=0)  # whatever the step: a quick one
    take(fresh)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(fresh.params)), "nothing was donated"


def test_l14_sees_one_array_in_two_leaves():
    one = jnp.ones(3)
    with pytest.raises(jax.errors.JaxRuntimeError, match="donate the same buffer twice"):
        compiled(lambda pair: jax.tree.map(jnp.copy, pair), donate_argnums=0)((one, one))


def test_l15_no_axis_is_added_unsaid(rule):
    """Init and update trace where arrays of different ranks, numbers aside, may not be combined."""
    params, batch = rule.params(jax.random.key(0)), rule.batch()

    def both(params, key, batch, coefficients):
        made = rule.case.make(**coefficients)
        traces = made.init(params, key, batch)
        return made.update(params, traces, key, batch)

    with jax.numpy_rank_promotion("raise"):
        jax.eval_shape(both, params, jax.random.key(0), batch, rule.coefficients)


def test_l15_sees_an_axis_added_unsaid():
    with jax.numpy_rank_promotion("raise"), pytest.raises(ValueError, match="rank"):
        jax.eval_shape(lambda: jnp.ones((2, 3)) + jnp.ones(3))
