"""Memory of a run: its use is reported and limited, and a run that does not fit is refused in one line."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from plasticity_jax.run import Program, RunError, loop, run, sweep
from plasticity_jax.run.memory import available, size
from plasticity_jax.run.sweep import width_on

SIDE = 64


def program():
    """A program with a matrix as state, and a chunk that needs the memory of several more."""

    def chunk(state):
        def step(state, _):
            large = jnp.sort(jnp.tile(state.ravel(), 8))  # fusion cannot avoid this array
            return jnp.tanh(state @ state / 8), large[::100].mean()

        state, loss = jax.lax.scan(step, state, length=3)
        return state, {"loss": loss.mean()[None]}

    return Program(lambda key: jax.random.normal(key, (SIDE, SIDE), jnp.float32), chunk, chunks=2, steps=3, points=1)


def keys(count):
    return jax.vmap(jax.random.key)(jnp.arange(count))


def cost_of(count, **options):
    costs = []
    outcome = run(program(), keys(count), name="m", progress=False, report=costs.append, **options)
    return costs[0], outcome


def test_the_cost_counts_state_and_program():
    cost, _ = cost_of(6, sub_batch=1)
    assert (cost.lanes, cost.lanes_at_a_time, cost.devices, cost.chunks) == (6, 1, 2, 2)
    assert cost.memory >= 2 * 6 * SIDE * SIDE * 4
    assert cost.memory < 40 * 6 * SIDE * SIDE * 4
    assert 0 < cost.chunk_seconds < cost.seconds
    assert size(jnp.zeros((3, 5), jnp.int32)) == 60
    assert available(jax.devices()) > 1 << 20


def test_fewer_lanes_run_at_a_time_if_memory_is_short(monkeypatch):
    wide, _ = cost_of(16, devices=jax.devices()[:1])
    narrow, _ = cost_of(16, devices=jax.devices()[:1], sub_batch=1)
    assert wide.lanes_at_a_time > 2
    assert narrow.memory < wide.memory
    monkeypatch.setattr(loop, "available", lambda devices: (wide.memory + narrow.memory) // 2)
    fitting, _ = cost_of(16, devices=jax.devices()[:1])
    assert 1 <= fitting.lanes_at_a_time < wide.lanes_at_a_time


def test_a_run_that_does_not_fit_is_refused_before_it_starts(monkeypatch):
    from plasticity_jax.run import memory

    monkeypatch.setattr(memory, "available", lambda devices: 1000)
    with pytest.raises(RunError, match=r"m: the state of 4 lanes need .* but .* can be had"):
        run(program(), keys(4), name="m", progress=False)
    monkeypatch.setattr(memory, "available", lambda devices: 4 * SIDE * SIDE * 4)
    monkeypatch.setattr(loop, "available", lambda devices: 4 * SIDE * SIDE * 4)
    with pytest.raises(RunError, match="m: 4 lanes, 1 at a time, need"):
        run(program(), keys(4), name="m", progress=False)


def test_a_large_state_is_begun_block_by_block_to_the_same_numbers(monkeypatch):
    _, at_once = cost_of(7)
    begun = []
    counted = program()._replace(init=lambda key: begun.append(0) or program().init(key))
    monkeypatch.setattr(loop, "_BLOCK_BYTES", 2 * SIDE * SIDE * 4)
    in_blocks = run(counted, keys(7), name="m", progress=False)
    assert len(begun) == 1 + 4  # once for the shapes, and four blocks of two lanes
    np.testing.assert_array_equal(in_blocks.metrics["loss"], at_once.metrics["loss"])


def test_the_largest_carry_sets_the_width():
    def train(key):  # a key is small, but the carry is large
        return jax.lax.scan(lambda w, _: (0.9 * w, w.sum()), jax.random.normal(key, (200, 200), jnp.float32), length=2)[
            1
        ]

    one = jax.devices()[:1]
    assert width_on(one, (keys(50),)) == 50
    assert width_on(one, (keys(50),), train) == 1
    assert width_on(one, (keys(50),), jax.jit(lambda key: jax.vmap(train)(key[None]))) == 1


def test_keys_whose_numbers_depend_on_their_neighbours_are_refused():
    of_rbg = jax.vmap(lambda seed: jax.random.key(seed, impl="rbg"))(jnp.arange(4))
    with pytest.raises(ValueError, match="threefry2x32"):
        sweep(lambda key: jax.random.normal(key))(of_rbg)
    with pytest.raises(ValueError, match="threefry2x32"):
        run(program(), of_rbg, name="m", progress=False)
