"""L1 to L5, L8, L9 and L11: what a rule promises as a pure function, whatever it computes."""

from collections.abc import Mapping

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.base import Info
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
    is_key,
    is_stochastic,
)

DTYPES = {"float32": jnp.float32, "float64": jnp.float64}


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
    assert (info.ready.shape, info.ready.dtype) == ((), bool)
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
