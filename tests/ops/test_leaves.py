"""Sizes of leaves, by name."""

import jax.numpy as jnp
import numpy as np

from plasticity_jax.ops.leaves import leaf_names, leaf_sizes


def test_the_size_of_a_leaf_is_its_largest_entry():
    tree = {
        "forward": {"w": [jnp.array([1.0, -2.5]), jnp.array([1.0, jnp.nan])], "none": jnp.zeros((0, 3))},
        "more": jnp.array(-jnp.inf),
        "counts": jnp.array([3, -4]),
        "half": jnp.array([0.5], jnp.bfloat16),
    }
    sizes = dict(zip(leaf_names(tree), np.asarray(leaf_sizes(tree)), strict=True))
    expected = {"forward/w/0": 2.5, "forward/w/1": np.nan, "forward/none": 0, "more": np.inf, "counts": 4, "half": 0.5}
    assert set(sizes) == set(expected)
    for name, size in expected.items():
        np.testing.assert_equal(sizes[name], size, err_msg=name)
    assert leaf_sizes({}).shape == (0,)
