"""Which leaf went wrong, by name."""

import jax.numpy as jnp

from plasticity_jax.ops.leaves import first_bad_leaf, leaf_names


def test_the_first_leaf_that_is_not_finite_is_named():
    tree = {"forward": {"w": [jnp.ones(2), jnp.array([1.0, jnp.nan])]}, "more": jnp.array(jnp.inf)}
    index = first_bad_leaf(tree)
    assert leaf_names(tree)[int(index)] == "forward/w/1"
    assert int(first_bad_leaf({"a": jnp.ones(2), "b": jnp.array(3)})) == -1
