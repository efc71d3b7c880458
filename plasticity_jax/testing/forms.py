"""L1, L2, L9, L13 and L15: structure, shapes and dtypes, without computing anything."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from plasticity_jax.base import Info
from plasticity_jax.testing.equality import Broken, assert_same_form, at, avals, host, is_key, require
from plasticity_jax.testing.problem import Problem, compiled
from plasticity_jax.typing import Batch, Key, PyTree


def updates_look_like_params(rule: Problem) -> None:
    """L1, in float32 with Python floats as coefficients, in float64 with traced arrays; and the rule's lag."""
    lag = rule.case.make().lag
    require(
        isinstance(lag, int | np.integer) and not isinstance(lag, bool) and lag >= 0,
        f"lag is {lag!r}, not a whole number from 0 on",
    )
    for label, dtype, (params, _, updates, _, info) in _abstracts(rule):
        assert_same_form(updates, params, f"{label}: updates", weak=False)
        require(isinstance(info, Info), f"{label}: update returns {type(info).__name__} where an Info should be")
        require(isinstance(info.aux, Mapping), f"{label}: info.aux is {type(info.aux).__name__}, not a mapping")
        assert_same_form(info.loss, jax.ShapeDtypeStruct((), dtype), f"{label}: info.loss", weak=False)
        for path, aval in avals(info.ready).items():
            require(aval == "bool[]", f"{label}: info.ready{path} is {aval}, not bool[]")
        _in_dtype(info.aux, dtype, f"{label}: info.aux")


def traces_are_a_fixed_point(rule: Problem) -> None:
    """L2: structure, shapes, dtypes and weak types of traces are those of init at every step; no key among them."""
    for label, dtype, (_, before, _, after, _) in _abstracts(rule):
        require(
            not any(is_key(leaf) for leaf in jax.tree.leaves(before)),
            f"{label}: traces hold a key; it is an argument of every step and never lives in traces",
        )
        assert_same_form(after, before, f"{label}: after one step, traces")
        _in_dtype(before, dtype, f"{label}: traces")
        for path, aval in avals(before).items():
            require(not aval.startswith("weakly"), f"{label}: traces{path} is {aval}; name its dtype in init")


def one_trace_per_shape(rule: Problem) -> None:
    """L9: neither other values, nor the state of a step in place of that of init, make a step trace anew."""
    states, _ = rule.trial_states
    batch, other = at(rule.batches(), 0), at(rule.batches(), 1)
    half = jax.tree.map(lambda value: value / 2, rule.coefficients)
    traced = []

    def step(state: PyTree, batch: Batch, coefficients: PyTree) -> Any:
        traced.append(state)
        return rule.step(state, batch, coefficients)

    jitted = compiled(step)  # only traced, never compiled
    jitted.trace(states[0], batch, rule.coefficients)
    for change, arguments in {
        "the state after a step": (states[1], other, rule.coefficients),
        "another key, and other coefficients": (states[-1]._replace(key=jax.random.key(7)), batch, half),
        "the first state of another seed": (rule.start(3), batch, rule.coefficients),
    }.items():
        jitted.trace(*arguments)
        require(len(traced) == 1, f"the step is traced anew for {change}")


def weights_determine_the_dtype(rule: Problem) -> None:
    """L13: data of another dtype, also in NumPy arrays, change the dtype of neither updates nor traces nor loss."""
    learning_rule = rule.case.make()
    for label, dtype, batch in (
        ("float32 weights, NumPy data in float64", jnp.float32, host(rule.batch())),
        ("bfloat16 weights, data in float32", jnp.bfloat16, rule.batch(jnp.float32)),
    ):
        params = rule.params(jax.random.key(0), dtype)

        # A closure over the batch, because eval_shape would not pass on a NumPy array as an argument.
        def both(params: PyTree, key: Key, batch: Batch = batch) -> Any:
            traces = learning_rule.init(params, key, batch)
            return traces, learning_rule.update(params, traces, key, batch)

        traces, (updates, after, info) = jax.eval_shape(both, params, jax.random.key(0))
        assert_same_form(updates, params, f"{label}: updates", weak=False)
        _in_dtype(traces, dtype, f"{label}: traces")
        assert_same_form(after, traces, f"{label}: after one step, traces")
        _in_dtype(info.loss, dtype, f"{label}: info.loss")


def no_axis_is_added_implicitly(rule: Problem) -> None:
    """L15: init and update can be traced where arrays of different ranks, except scalars, may not be combined."""

    def both(params: PyTree, key: Key, batch: Batch, coefficients: PyTree) -> Any:
        learning_rule = rule.case.make(**coefficients)
        return learning_rule.update(params, learning_rule.init(params, key, batch), key, batch)

    arguments = rule.params(jax.random.key(0)), jax.random.key(0), rule.batch(), rule.coefficients
    with jax.numpy_rank_promotion("raise"):
        try:
            jax.eval_shape(both, *arguments)
        except ValueError as error:
            found = re.search(r"for (\S+) on shapes (.+?) and with the config option jax_numpy_rank", str(error))
            if found is None:
                raise
            raise Broken(
                f"{found[1]} combines the shapes {found[2]}: write the axis that is meant, as in theta[None] or "
                "theta[:, None]"
            ) from error


def _abstracts(rule: Problem) -> Iterator[tuple[str, Any, Any]]:
    """A label, the dtype and `Problem.abstract` there: each dtype once, and each kind of coefficients once."""
    for dtype, python_floats in ((jnp.float32, True), (jnp.float64, False)):
        label = f"{np.dtype(dtype).name}, {'default' if python_floats else 'traced'} coefficients"
        yield label, dtype, rule.abstract(dtype, python_floats)


def _in_dtype(tree: PyTree, dtype: Any, label: str) -> None:
    """Requires that floating leaves have the dtype of the params."""
    wanted = np.dtype(dtype)
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        floating = jnp.issubdtype(leaf.dtype, jnp.floating)
        name = jax.tree_util.keystr(path)
        require(not floating or leaf.dtype == wanted, f"{label}{name} is {leaf.dtype}, where the params are {wanted}")
