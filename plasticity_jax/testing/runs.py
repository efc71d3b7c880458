"""L3, L4, L5, L8, L11 and L14: the same numbers however a trial is run, and finite numbers to its end."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from plasticity_jax.base import LearnerState, learner
from plasticity_jax.testing.equality import (
    Broken,
    assert_close,
    assert_same,
    assert_same_form,
    at,
    cast,
    distance,
    floats,
    host,
    is_key,
    require,
    require_numbers,
    stack,
)
from plasticity_jax.testing.problem import LONG, Problem, compiled, seed
from plasticity_jax.typing import Array, Batch, PyTree


def eager_is_jit_is_scan(rule: Problem) -> None:
    """L3: steps one by one, a scan, and an eager step give the same numbers."""
    states, infos = rule.trial_states
    require_numbers(states[-1], stack(infos).loss, f"after {rule.steps} steps")
    scanned, scanned_infos = rule.jit_trial(states[0], rule.batches(), rule.coefficients)
    assert_close(scanned, states[-1], message="after a scan, against steps one by one")
    assert_close(scanned_infos, stack(infos), message="infos of a scan, against steps one by one")
    t = rule.lesson  # one eager step, which is slow; its coefficients are Python floats
    eager, eager_info = rule.learner({}).step(states[t], at(rule.batches(), t))
    assert_close(eager, states[t + 1], message="after an eager step, against a compiled one")
    assert_close(eager_info, infos[t], message="info of an eager step, against a compiled one")


class Ran(NamedTuple):
    """Result of a trial; messages about differences show the names of its fields."""

    state: Any
    info: Any


class Resumption(NamedTuple):
    """A trial of two chunks, and how its state is saved and read between them.

    Attributes:
      begin: the state before the first chunk; its attribute `learner` is a `LearnerState`.
      chunk: ``state -> (state, metrics)``, one half of the trial; the metrics hold the "loss" of every step.
      restore: ``(state, metrics) -> state``, saved and read again.
    """

    begin: Any
    chunk: Callable[[Any], tuple[Any, Mapping[str, Array]]]
    restore: Callable[[Any, Mapping[str, Array]], Any]


def in_memory(rule: Problem) -> Resumption:
    """The trial in two chunks, its state saved to the host's memory."""

    class State(NamedTuple):
        learner: LearnerState
        step: Array

    def chunk(state: State) -> tuple[State, dict[str, Array]]:
        steps = rule.steps // 2
        batches = jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, state.step, steps), rule.batches())
        after, infos = rule.trial(state.learner, batches, rule.coefficients, steps)
        return State(after, state.step + steps), {"loss": infos.loss}

    def restore(state: State, metrics: Mapping[str, Array]) -> State:
        def read_back(saved: np.ndarray, leaf: Array) -> Array:
            words = jnp.asarray(saved.copy())
            return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf)) if is_key(leaf) else words

        return jax.tree.map(read_back, host(state), state)

    return Resumption(State(rule.start(), jnp.zeros((), jnp.int32)), chunk, restore)


def a_restored_run_is_the_run(rule: Problem, resumption: Callable[[Problem], Resumption] = in_memory) -> None:
    """L4: the second of two chunks, from a state that was saved and read again; and both chunks against one."""
    begin, chunk, restore = resumption(rule)
    chunk = compiled(chunk)
    edge, early = chunk(begin)
    end, late = chunk(edge)
    losses = jnp.concatenate([early["loss"], late["loss"]])
    require_numbers(end.learner, losses, "after the trial")
    restored = restore(edge, early)
    assert_same_form(jax.tree.map(jnp.asarray, restored), edge, "the restored state")
    assert_same(restored, edge, "the restored state")
    assert_same(Ran(*chunk(restored)), Ran(end, late), "the run goes on differently after it was restored")
    require(distance(floats(edge.learner), floats(end.learner)) > 1e-6, "the second chunk does nothing")
    whole, infos = rule.jit_trial(rule.start(), rule.batches(), rule.coefficients)
    assert_close(whole, end.learner, message="in one chunk, against two")
    assert_close(infos.loss, losses, message="losses in one chunk, against two")


def vmap_is_the_loop(rule: Problem) -> None:
    """L5: over two seeds, and over two more values of each coefficient; every other lane differs from the first.

    A second seed that starts like the first may equal it, unless the case declares the rule stochastic.
    """
    lanes = {f"seed {number}": (rule.start(number), rule.coefficients) for number in (1, 2)}
    for name, value in rule.coefficients.items():
        for changed in (0.7 * value + 0.01 * (value == 0), 0.9 * value + 0.02 * (value == 0)):
            coefficients = {**rule.coefficients, name: changed}
            lanes[f"{name} = {float(changed):.4g}"] = (rule.start(1, coefficients), coefficients)
    loop = [Ran(*rule.jit_trial(state, rule.batches(), coefficients)) for state, coefficients in lanes.values()]
    for label, ran in zip(lanes, loop, strict=True):
        require_numbers(ran.state, ran.info.loss, f"{label}, after {rule.steps} steps")
    states, coefficients = stack(list(lanes.values()))
    mapped = Ran(*compiled(jax.vmap(rule.trial, in_axes=(0, None, 0)))(states, rule.batches(), coefficients))
    (first, _), (second, _), *_ = lanes.values()
    twins = not rule.case.stochastic and distance(floats(first), floats(second)) == 0
    for i, label in enumerate(lanes):
        assert_close(at(mapped, i), loop[i], message=f"vmap, lane of {label}")
        alike = i == 0 or (i == 1 and twins)
        require(
            alike or distance(floats(loop[i]), floats(loop[0])) > 1e-9,
            f"{label} changes nothing in {rule.steps} steps",
        )


def randomness_comes_from_the_key_alone(rule: Problem) -> None:
    """L8: one key, one result; another key, another result if and only if the case declares the rule stochastic."""
    state = rule.start()
    other = state._replace(key=jax.random.key(99))
    ran, repeated, with_other_key = (
        Ran(*rule.jit_trial(s, rule.batches(), rule.coefficients)) for s in (state, state, other)
    )
    require_numbers(ran.state, ran.info.loss, f"after {rule.steps} steps")
    assert_same(repeated, ran, "a second time, from the same key")
    if rule.case.stochastic:
        pairs = ((result.state.params, result.state.traces) for result in (ran, with_other_key))
        require(distance(*pairs) > 1e-9, "the case says stochastic=True, yet two keys give one result")
    elif rule.case.stochastic is not None:
        message = "the case says stochastic=False, yet with another key"
        assert_same(with_other_key, ran._replace(state=ran.state._replace(key=other.key)), message)
    learning_rule = rule.case.make()  # eager: a compiled program would not draw a random number of the host again
    first, second = (learning_rule.init(rule.params(seed(80)), seed(81), rule.batch()) for _ in range(2))
    assert_same(second, first, "traces of init a second time, from the same key")


def a_thousand_steps_stay_finite(rule: Problem) -> None:
    """L11: from the rule's own initial traces and from traces that are all zero, where ratios of norms are 0 / 0."""
    dtype = jnp.float32
    state = rule.start(dtype=dtype)
    rest = state._replace(traces=jax.tree.map(jnp.zeros_like, state.traces))
    batches, coefficients = rule.batches(LONG, dtype), cast(rule.coefficients, dtype)

    def live(state: LearnerState) -> tuple[LearnerState, Array]:
        learn = rule.learner(coefficients, 1e-3)

        def step(state: LearnerState, batch: Batch) -> tuple[LearnerState, Array]:
            after, info = learn.step(state, batch)
            return after, info.loss

        return jax.lax.scan(step, state, batches, LONG)

    ends, losses = compiled(jax.vmap(live))(stack([state, rest]))
    for i, label in enumerate(("from its own traces", "from traces of zero")):
        finite = np.isfinite(losses[i])
        require(finite.all(), f"{label}: the loss is not finite from step {np.argmin(finite)} on")
        end = at(ends, i)
        for path, leaf in jax.tree_util.tree_flatten_with_path(end)[0]:
            floating = jnp.issubdtype(leaf.dtype, jnp.floating)
            name = jax.tree_util.keystr(path).removeprefix(".")
            require(not floating or np.isfinite(leaf).all(), f"{label}: {name} is not finite after {LONG} steps")
        require(distance(floats(end.params), floats(state.params)) > 1e-6, f"{label}: nothing was learned")


def a_fresh_state_can_be_donated(rule: Problem) -> None:
    """L14: the buffers of init's state can be donated, which fails if another leaf, or the rule, shares them."""
    learn = learner(rule.case.make(**rule.coefficients), optax.adam(0.01))

    def fresh() -> LearnerState:
        return learn.init(rule.params(jax.random.key(0)), jax.random.key(1), rule.batch())

    take: Any = compiled(_copies, donate_argnums=0)  # any function would do; this one is quick
    state = fresh()
    take(state)
    require(all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params)), "nothing was donated")
    try:
        jax.block_until_ready(fresh())
    except RuntimeError as error:
        raise Broken(f"init gives away an array that the rule goes on to use: {error}") from error


def _copies(tree: PyTree) -> PyTree:
    return jax.tree.map(jnp.copy, tree)
