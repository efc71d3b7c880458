"""A solver lane by lane: NumPy's solutions, derivatives in closed form, and no deadlock."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.ops.lane_by_lane import lane_by_lane

RNG = np.random.default_rng(0)
A, B = RNG.normal(size=(5, 3, 3)) + 3 * np.eye(3), RNG.normal(size=(2, 3, 4))
SOLVE = lane_by_lane(jnp.linalg.solve)

AT_ONCE = """
import jax, jax.numpy as jnp, optax
from plasticity_jax.base import learner
from plasticity_jax.diagnostics.linear_readout import linear_readout
from plasticity_jax.layers import init_params
from plasticity_jax.networks import mlp
from plasticity_jax.rules.feedback import node_perturbation
from plasticity_jax.typing import Example

keys = jax.vmap(jax.random.key)(jnp.arange(20))
net = mlp((100, 80, 60, 50, 10), ["tanh"] * 3 + ["identity"])
learn = learner(node_perturbation(net, estimator="ridge"), optax.sgd(1e-3))

def rule(key):
    batch = Example(jax.random.normal(key, (20, 100)), jnp.ones((20, 10)))
    state = learn.init(init_params(key, net), key, batch)
    return jax.lax.scan(lambda s, _: (learn.step(s, batch)[0], None), state, length=20)[0].params["feedback"]

def readouts(key):
    features = jax.random.normal(key, (8, 300, 60))
    return [linear_readout(each, each[:, :2] ** 2, 1e-3) for each in features]

jax.block_until_ready([jax.jit(jax.vmap(each))(keys) for each in (rule, readouts)])
"""


def test_every_nesting_of_vmap_equals_numpys_solution():
    expected = np.linalg.solve(A[:, None], B)
    np.testing.assert_allclose(SOLVE(A[0], B[0]), expected[0, 0], rtol=1e-12)
    nested = jax.vmap(lambda a: jax.vmap(lambda b: SOLVE(a, b))(B))
    for f in (nested, jax.jit(nested)):
        np.testing.assert_allclose(f(A), expected, rtol=1e-12)
    other = jax.vmap(lambda b: jax.vmap(SOLVE, (0, None))(A, b), out_axes=1)
    np.testing.assert_allclose(other(B), expected, rtol=1e-12)


@pytest.mark.parametrize("lanes", [False, True])
def test_the_derivative_is_the_closed_form(lanes):
    """The derivative of sum(C * A^-1 b) by b is A^-T C, and by A it is -(A^-T C)(A^-1 b)^T."""
    c = RNG.normal(size=(3, 4))

    def gradients(a):
        return jax.grad(lambda a, b: jnp.sum(c * SOLVE(a, b)), (0, 1))(a, jnp.asarray(B[0]))

    by_a, by_b = jax.vmap(gradients)(A) if lanes else (g[None] for g in gradients(jnp.asarray(A[0])))
    chosen = A if lanes else A[:1]
    back = np.linalg.solve(chosen.transpose(0, 2, 1), np.broadcast_to(c, (len(chosen), 3, 4)))
    np.testing.assert_allclose(by_b, back, rtol=1e-10)
    np.testing.assert_allclose(by_a, -back @ np.linalg.solve(chosen, B[0]).transpose(0, 2, 1), rtol=1e-10)


def test_solutions_of_several_layers_and_seeds_do_not_deadlock():
    """Without `lane_by_lane`, jaxlib 0.10 with two threads never ends either of these programs."""
    environment = {**os.environ, "NPROC": "2", "JAX_NUM_CPU_DEVICES": "1", "JAX_ENABLE_X64": "0"}
    subprocess.run([sys.executable, "-c", AT_ONCE], check=True, timeout=240, env=environment)
