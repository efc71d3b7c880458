"""Spoken digits: the order of frames, cuts, a learner that receives all of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import Info, LearningRule, learner
from plasticity_jax.data import looking_up
from plasticity_jax.tasks import spoken_digits
from plasticity_jax.typing import Example
from tests.laws.common import compiled

LENGTHS = np.array([3, 1, 4, 2, 5], np.int32)
STARTS = np.array([0, 3, 4, 8, 10], np.int32)


@functools.cache
def program(steps, batch):
    stream = spoken_digits(STARTS, LENGTHS, batch)
    return compiled(lambda state: stream.take(state, steps))


def indices(steps, seed=0, batch=1):
    state = spoken_digits(STARTS, LENGTHS, batch).init(jax.random.key(seed))
    return np.asarray(program(steps, batch)(state)[1])


def recordings(epoch):
    """The order of recordings in an epoch; each is checked to be whole and in order."""
    order, at = [], 0
    while at < len(epoch):
        file = int(np.flatnonzero(epoch[at] == STARTS)[0])
        np.testing.assert_array_equal(epoch[at : at + LENGTHS[file]], STARTS[file] + np.arange(LENGTHS[file]))
        order.append(file)
        at += LENGTHS[file]
    return tuple(order)


def test_every_epoch_has_every_recording_once_in_the_same_order():
    orders = set()
    for seed in range(8):
        epochs = indices(45, seed).reshape(3, 15)
        np.testing.assert_array_equal(epochs, epochs[[0, 0, 0]])
        orders.add(recordings(epochs[0]))
        assert sorted(epochs[0]) == list(range(15))
    assert len(orders) > 4  # of 120; five or fewer, by chance, below 1e-6


def test_the_shuffle_is_uniform():
    """Chi-squared of the first recording's counts, with 4 degrees of freedom, is below 34; false alarm 1e-6."""
    stream = spoken_digits(STARTS, LENGTHS)
    first = compiled(jax.vmap(lambda key: stream.take(stream.init(key), 1)[1][0, 0]))
    start = np.asarray(first(jax.random.split(jax.random.key(5), 1000)))
    counts = np.array([(start == one).sum() for one in STARTS])
    assert counts.sum() == 1000
    assert np.sum((counts - 200) ** 2 / 200) < 34


def test_streams_of_a_batch_start_at_different_places():
    """They are the sequence of one stream from places 0, 15/4, 30/4 and 45/4, rounded down."""
    one, many = indices(40)[:, 0], indices(20, batch=4)
    for b, offset in enumerate((0, 3, 7, 11)):
        np.testing.assert_array_equal(many[:, b], one[offset : offset + 20])


def test_a_cut_stream_equals_the_whole():
    stream = spoken_digits(STARTS, LENGTHS, 2)
    state, first = program(7, 2)(stream.init(jax.random.key(0)))
    state, second = program(13, 2)(state)
    np.testing.assert_array_equal(np.concatenate([first, second]), indices(20, batch=2))
    assert int(state.step) == 20
    assert second.dtype == jnp.int32


def test_a_learner_receives_every_frame_once_in_an_epoch():
    """The rule sums its input."""
    frames = np.random.default_rng(0).normal(size=(15, 128))
    bank = jnp.asarray(frames)

    def update(params, traces, key, batch):
        return {"w": batch.x.mean(0)}, (), Info(jnp.mean(batch.y * 1.0), jnp.asarray(True), {})

    rule = LearningRule(lambda params, key, batch: (), update)
    learn = looking_up(learner(rule, optax.sgd(1.0)), lambda index: Example(bank[index], index))
    stream = spoken_digits(STARTS, LENGTHS)
    key = jax.random.key(0)
    _, index = stream.take(stream.init(key), 15)
    state, info = compiled(lambda state: jax.lax.scan(learn.step, state, index))(
        learn.init({"w": jnp.zeros(128)}, key, index[0])
    )
    np.testing.assert_allclose(state.params["w"], -frames.sum(0), rtol=1e-12)
    assert sorted(info.loss.tolist()) == list(range(15))


@pytest.mark.parametrize(
    ("starts", "lengths", "batch", "match"),
    [
        ([0, 2], [2], 1, r"starts \(2,\) and lengths \(1,\) must both be \(files,\)"),
        ([0, 2], [2, 0], 1, "one recording or more, each of one frame or more"),
        ([], [], 1, "one recording or more"),
        ([-1, 2], [3, 2], 1, "a start of 0 or more"),
        ([0, 2], [2, 2], 5, "batch=5 must be at least 1 and at most the 4 frames"),
        ([0, 2], [2, 2], 0, "batch=0"),
    ],
)
def test_bad_arguments_are_refused(starts, lengths, batch, match):
    with pytest.raises(ValueError, match=match):
        spoken_digits(starts, lengths, batch)
