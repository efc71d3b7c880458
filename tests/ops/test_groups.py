"""Groups of params: reading them by name, and updates in the form of the params."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.ops.groups import filled, read


def test_updates_are_zero_where_none_are_given():
    params = {"a": [jnp.ones(2, jnp.float32)], "b": {"w": jnp.ones(()), "more": (jnp.ones(3),)}}
    updates = filled(params, {"b": {"w": jnp.float32(3)}})
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert jax.tree.map(lambda leaf: leaf.dtype, updates) == jax.tree.map(lambda leaf: leaf.dtype, params)
    np.testing.assert_array_equal(
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(updates)]), [0, 0, 0, 0, 0, 3]
    )


def test_missing_groups_and_weights_are_named():
    assert read({"a": {"b": 3}}, "a", "b") == 3
    for params, message in (
        ({}, r'params\["a"\] is missing, and this rule reads it: params has nothing; init_params draws'),
        ({"a": {"c": 1, "d": 2}}, r'params\["a"\]\["b"\] is missing.*params\["a"\] has c, d'),
        ((1, 2), r'params\["a"\] is missing.*params has no names'),
    ):
        with pytest.raises(ValueError, match=message):
            read(params, "a", "b")


def test_updates_without_params_are_refused():
    params = {"a": {"w": jnp.ones(2)}, "b": (jnp.ones((3, 1)), jnp.ones(()))}
    for updates, message in (
        ({"c": 1.0, "a": {"w": jnp.ones(2)}}, "updates name c, but params there have a, b"),
        ({"a": {"w": jnp.ones(2), "bias": 1.0, "v": 1.0}}, "updates name bias, v, but params there have w"),
        ({"a": {"w": jnp.ones(3)}}, r"updates\['a'\]\['w'\] has shape \(3,\), but the params' is \(2,\)"),
        ({"a": {"w": jnp.ones(())}}, r"updates\['a'\]\['w'\] has shape \(\), but the params' is \(2,\)"),
        ({"b": (jnp.ones((1, 3)), jnp.ones(()))}, r"updates\['b'\]\[0\] has shape \(1, 3\), .* is \(3, 1\)"),
    ):
        with pytest.raises(ValueError, match=message) as refusal:
            filled(params, updates)
        assert "\n" not in str(refusal.value)
