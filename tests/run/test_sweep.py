"""A sweep equals a loop over lanes, with any sub-batches, devices and padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.run import sweep
from plasticity_jax.run.sweep import _fitting, in_sub_batches


def walk(lane):
    """A lane with randomness, a scan, and a while loop of a length that differs between lanes."""

    def step(w, t):
        w = jnp.tanh(w @ jnp.eye(4) * lane["gain"] + jax.random.normal(jax.random.fold_in(lane["key"], t), (4,)))
        return jax.lax.while_loop(lambda v: jnp.sum(v**2) > lane["gain"], lambda v: 0.9 * v, w), w.sum()

    w, sums = jax.lax.scan(step, jnp.zeros(4), jnp.arange(5))
    return {"w": w, "sums": sums, "key": jax.random.fold_in(lane["key"], 1)}


def make_lanes(count):
    return {"key": jax.vmap(jax.random.key)(jnp.arange(count)), "gain": jnp.linspace(0.5, 1.5, count)}


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize(("count", "sub_batch"), [(1, None), (5, None), (6, 2), (7, 2), (7, 3), (6, 100), (4, 1)])
def test_equals_a_loop(count, sub_batch, devices):
    lanes = make_lanes(count)
    loop = jax.jit(walk)
    expected = [loop(jax.tree.map(lambda leaf, i=i: leaf[i], lanes)) for i in range(count)]
    results = sweep(walk, sub_batch=sub_batch, devices=jax.devices()[:devices])(lanes)
    for name in ("w", "sums"):
        np.testing.assert_allclose(results[name], np.stack([lane[name] for lane in expected]), rtol=1e-6, atol=1e-6)
    assert len(np.unique(results["sums"][:, -1])) == count
    assert jnp.issubdtype(results["key"].dtype, jax.dtypes.prng_key)
    keys = jax.random.key_data(results["key"])
    np.testing.assert_array_equal(keys, np.stack([jax.random.key_data(lane["key"]) for lane in expected]))


def test_one_lane_at_a_time_takes_one_branch():
    """A vmapped cond with a predicate that differs between lanes computes both branches."""

    def pick(t):
        return jax.lax.cond(t > 1, lambda: t + 1, lambda: 2 * t)

    def conds(width):
        return str(jax.make_jaxpr(lambda t: in_sub_batches(pick, width, t))(jnp.arange(4.0))).count("cond[")

    assert (conds(1), conds(2), conds(4)) == (1, 0, 0)
    assert sweep(pick, sub_batch=1)(jnp.arange(4.0)).tolist() == [0, 2, 3, 4]


def test_the_lanes_are_distributed_over_all_devices():
    if len(jax.devices()) < 2:
        pytest.skip("one device")
    weights = sweep(walk)(make_lanes(6))["w"]
    assert len(weights.sharding.device_set) == len(jax.devices()[:6])


def test_several_arguments_and_a_lane_that_breaks():
    x = jnp.arange(6.0).at[2].set(jnp.nan)
    products = sweep(lambda a, b: a * b, sub_batch=2)(x, jnp.full(6, 2.0))
    np.testing.assert_array_equal(products, np.array([0.0, 2.0, np.nan, 6.0, 8.0, 10.0]))


def test_only_donation_deletes_the_argument():
    state = {"x": jnp.zeros((4, 8))}
    once = sweep(lambda s: {"x": s["x"] + 1})(state)
    assert not state["x"].is_deleted()
    twice = sweep(lambda s: {"x": s["x"] + 1}, donate=True)(once)
    assert once["x"].is_deleted()
    np.testing.assert_array_equal(twice["x"], 2.0)


@pytest.mark.parametrize(
    ("kilobytes", "share", "width"),
    [(1, 20, 20), (25, 10, 10), (75, 12, 3), (75, 10, 2), (1250, 10, 1), (27, 11, 6), (0, 7, 7)],
)
def test_sub_batches_fit_the_cache_and_waste_little(kilobytes, share, width):
    assert _fitting(1024 * kilobytes, share) == width


@pytest.mark.parametrize("bad", [{"a": jnp.zeros(2), "b": jnp.zeros(3)}, jnp.zeros(()), {}, jnp.zeros((0, 2))])
def test_lanes_must_agree(bad):
    with pytest.raises(ValueError, match="leading axis"):
        sweep(lambda x: x)(bad)


def test_a_sub_batch_is_positive():
    with pytest.raises(ValueError, match="sub_batch=0"):
        sweep(lambda x: x, sub_batch=0)
