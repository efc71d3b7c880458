"""A coefficient that all synapses share is one number: a vector, which would broadcast silently, is refused."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax import cells, networks, rules

NET = networks.mlp((2, 3, 1), ("tanh", "identity"))
CELL = cells.leaky(2, 3, 1, loss="squared")
ONE_NUMBER = {
    "three_factor": ("sigma", "decay", "baseline", "average"),
    "recurrent_three_factor": ("sigma", "decay", "baseline", "average"),
    "node_perturbation": ("sigma", "ridge", "forgetting"),
    "recurrent_node_perturbation": ("sigma", "p", "ridge", "forgetting", "clip"),
    "weight_perturbation": ("sigma",),
    "weight_mirror": ("sigma", "decay"),
    "kolen_pollack": ("decay",),
    "kernl": ("sigma",),
    "spsa": ("c", "gamma"),
}
COEFFICIENTS = [(rule, name) for rule, names in ONE_NUMBER.items() for name in names]


def make(rule, name, value):
    recurrent = rule.startswith("recurrent") or rule == "kernl"
    return getattr(rules, rule)(CELL if recurrent else NET, **{name: value})


@pytest.mark.parametrize(("rule", "name"), COEFFICIENTS)
def test_vectors_are_refused_and_scalars_taken(rule, name):
    message = re.escape(f"{name} has shape (2,); give one number:")
    for vector in ([0.5, 0.25], np.array([0.5, 0.25]), jnp.array([0.5, 0.25])):
        with pytest.raises(ValueError, match=message) as refusal:
            make(rule, name, vector)
        assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda v: (make(rule, name, v), v)[1], jnp.ones(2))  # a shape is known while tracing
    for scalar in (0.5, np.float32(0.5), jnp.asarray(0.5)):
        make(rule, name, scalar)
    traced = []
    jax.vmap(jax.grad(lambda v: (traced.append(make(rule, name, v)), v)[1]))(jnp.array([0.5, 0.25]))
    assert traced
