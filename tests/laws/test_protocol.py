"""The laws of `plasticity_jax.testing`, each for every registered rule, and the behaviour of JAX they rest on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.registry import RULES
from plasticity_jax.run import Checkpoints, online_training
from plasticity_jax.run.checkpoint import Saved
from plasticity_jax.tasks.stream import Stream
from plasticity_jax.testing import LAWS
from plasticity_jax.testing.runs import Resumption, a_restored_run_is_the_run
from tests.laws.common import NAMES, STEPS, Problem, assert_close, cast, compiled, host, problem


@pytest.mark.parametrize("law", [law for law in LAWS if law != "L4"])
def test_a_rule_keeps_the_law(rule, law):
    LAWS[law].check(rule)


def test_l4_a_restored_run_is_the_run(rule, tmp_path):
    """Training runs in chunks and is saved as the run floor does it."""

    def resumption(rule: Problem) -> Resumption:
        bank = rule.batches()

        def take(step, steps):
            return step + steps, jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, step, steps), bank)

        program = online_training(
            build=lambda key: (rule.learner(rule.coefficients), Stream(lambda key: jnp.zeros((), jnp.int32), take)),
            init=lambda key, learn, stream: (rule.start(), stream.init(key)),
            steps=STEPS,
            every=1,
            chunks=2,  # an edge at step 5, off the edges of the cases' windows
        )
        begin = program.init(jax.random.key(0))

        def restore(state, metrics):
            store = Checkpoints(tmp_path, {"rule": rule.name})
            store.save(Saved(1, state, {key: np.asarray(values)[None] for key, values in metrics.items()}, 0.0))
            restored = Checkpoints(tmp_path, {"rule": rule.name}).load(jax.eval_shape(lambda: begin))
            assert restored is not None
            assert restored.done == 1
            return restored.state

        return Resumption(begin, program.chunk, restore)

    a_restored_run_is_the_run(rule, resumption)


@pytest.mark.parametrize("name", NAMES)
def test_l8_a_case_states_whether_its_rule_is_stochastic(name):
    """L8 would check less of a case that does not state it."""
    assert RULES[name].stochastic in (True, False)


DOORS = ("backprop", "hebb", "impression", "adversarial", "recurrent_node_perturbation", "rtrl", "meta_gradient")
"""One rule for each kind of data; L13 checks dtypes for every rule."""


@pytest.mark.parametrize("name", DOORS)
def test_l13_a_step_on_numpy_data_of_another_dtype_is_the_step(name):
    """Weights in float32, data in float64 that float32 holds: the same step as with data in float32."""
    rule = problem(name)
    state, small = rule.start(dtype=jnp.float32), rule.batch(jnp.float32)
    coefficients = cast(rule.coefficients, jnp.float32)
    wide, info = rule.jit_step(state, host(cast(small, jnp.float64)), coefficients)
    expected, expected_info = rule.jit_step(state, small, coefficients)
    assert_close(wide, expected, 1e-5)
    assert_close(info.loss, expected_info.loss, 1e-5)


def test_l14_jax_refuses_to_donate_one_array_twice():
    one = jnp.ones(3)
    with pytest.raises(jax.errors.JaxRuntimeError, match="donate the same buffer twice"):
        compiled(lambda pair: jax.tree.map(jnp.copy, pair), donate_argnums=0)((one, one))


def test_l15_jax_refuses_an_implicit_axis():
    with jax.numpy_rank_promotion("raise"), pytest.raises(ValueError, match="rank"):
        jax.eval_shape(lambda: jnp.ones((2, 3)) + jnp.ones(3))
