"""A custom loss may be NaN or infinite on padding, as a logarithm is; padding then teaches nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax import cells, networks, rules
from plasticity_jax.base import learner
from plasticity_jax.layers import init_params
from plasticity_jax.ops.losses import loss_and_error
from plasticity_jax.typing import Example
from tests.laws.common import compiled

KEY = jax.random.key(0)
CELL_RULES = ("rflo", "bptt", "recurrent_three_factor", "recurrent_feedback_alignment")
CHAIN_RULES = ("backprop", "node_perturbation", "three_factor", "hebb", "flp")
STEPS = 3


def spread_of(c):
    """A loss that divides by y: at 0 it is 0 / 0 or 1 / 0, as are its derivatives, that by c among them."""
    return lambda z, y: c * jnp.sum((z - y) ** 2 / y) + jnp.sum(jnp.log(y))


def cell_of(c):
    return cells.leaky(2, 4, 2, alpha=0.5, loss=spread_of(c))


def chain_of(c):
    return networks.mlp((2, 4, 2), ("tanh", "identity"), loss=spread_of(c))


def params_of(name):
    if name in CELL_RULES:
        params = cells.init_params(KEY, cell_of(1.0), jnp.float64)
        back = cells.init_feedback(KEY, cell_of(1.0), jnp.float64)
        return {**params, "feedback": params["feedback"] | back}
    params = init_params(KEY, chain_of(1.0), dtype=jnp.float64)
    feedback = rules.flp_feedback(KEY, chain_of(1.0), dtype=jnp.float64) if name == "flp" else params["feedback"]
    return params | {"feedback": feedback}


def life(name, padding, params, c):
    """``(params, losses)`` of some steps, in which every other example is padding."""
    lead = (STEPS, 4, 3) if name == "recurrent_feedback_alignment" else (STEPS, 4)
    weight = jnp.arange(np.prod(lead)).reshape(lead) % 2.0
    x = jax.random.normal(KEY, (*lead, 2))
    batches = Example(x, jnp.where(weight[..., None] == 0, padding, 1 + x**2), weight=weight)
    learn = learner(getattr(rules, name)((cell_of if name in CELL_RULES else chain_of)(c)), optax.sgd(0.05))
    state = learn.init(params, KEY, jax.tree.map(lambda leaf: leaf[0], batches))
    state, info = jax.lax.scan(learn.step, state, batches)
    return state.params, info.loss


@pytest.mark.parametrize("name", CELL_RULES + CHAIN_RULES)
def test_a_loss_that_is_not_finite_on_padding_changes_nothing(name):
    """Learning, and the gradients through it, are as with padding at which the loss is finite."""
    params = params_of(name)

    def outcome(params, c, padding):
        end, loss = life(name, padding, params, c)
        return jnp.mean(loss) + sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves(end)), (end, loss)

    run = compiled(jax.value_and_grad(outcome, (0, 1), has_aux=True))
    results, expected = (run(params, 1.3, padding) for padding in (0.0, 1.0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), results, expected)
    (_, (end, loss)), (_, by_c) = results
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), end["forward"], params["forward"])
    assert max(jax.tree.leaves(moved)) > 1e-4
    assert np.all(loss != 0)
    assert abs(by_c) > 1e-3


def test_forward_and_second_derivatives_are_finite_on_padding():
    def both(c, z, y, weight):
        value, error = loss_and_error(lambda z, y: c * jnp.log(z[y]), z, y, weight)
        return weight * value, weight * error

    def derivatives(c, z, y, weight):
        firsts = [mode(both, (0, 1, 3)) for mode in (jax.jacfwd, jax.jacrev)]
        seconds = [jax.jacfwd(firsts[1], (0, 1, 3)), jax.jacrev(firsts[0], (0, 1, 3))]
        return [of(c, z, y, weight) for of in firsts + seconds]

    run = compiled(derivatives)
    z, y = jnp.array([0.5, -1.0]), jnp.asarray(1)
    for weight in (0.0, 1.0):
        finite = [np.isfinite(leaf).all() for leaf in jax.tree.leaves(run(2.0, z, y, weight))]
        assert all(finite) == (weight == 0)
    np.testing.assert_array_equal(both(2.0, z, y, jnp.zeros(()))[1], [0, 0])


@pytest.mark.parametrize("loss", ["squared", lambda z, y: jnp.sum((z - y) ** 2) / 2])
def test_the_weights_own_derivative_at_zero_stays(loss):
    """A learned weight may start at 0, and a named loss that overflows on padding has no effect either."""

    def total(weight, z):
        value, error = loss_and_error(loss, z, jnp.ones(2, z.dtype), weight)
        return weight * value + jnp.sum(weight * error)

    by_weight, by_z = jax.grad(total, (0, 1))(0.0, jnp.array([3.0, 5.0]))
    np.testing.assert_allclose(by_weight, (2**2 + 4**2) / 2 + 2 + 4)
    np.testing.assert_array_equal(by_z, [0, 0])
    lost = jax.grad(total, (0, 1))(jnp.float32(0), jnp.array([1e30, 5.0], jnp.float32))
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(lost))
