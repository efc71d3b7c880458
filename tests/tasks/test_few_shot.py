"""Few-shot episodes: classes, labels, images and orders of every lifetime; real characters."""

import functools

import jax
import numpy as np
import pytest

from plasticity_jax.data import by_class, resize
from plasticity_jax.tasks import few_shot
from tests.laws.common import compiled
from tests.real_data import real

CLASSES, PER_CLASS = 12, 7
SMALL = {"ways": 4, "shots": 3, "queries": 2}


@functools.cache
def program(steps, **options):
    task = few_shot(CLASSES, PER_CLASS, **options)
    return compiled(lambda state: task.take(state, steps))


def stream(steps, key=0, **options):
    episode = program(steps, **options)(few_shot(CLASSES, PER_CLASS, **options).init(jax.random.key(key)))[1]
    return jax.tree.map(np.asarray, episode)


@pytest.mark.parametrize("order", ["iid", "continual"])
@pytest.mark.parametrize("overlap", [False, True])
def test_every_lifetime_is_an_episode(order, overlap):
    options = {**SMALL, "order": order, "overlap": overlap, "outputs": 6, "episodes": 2}
    episode = stream(20, **options)
    assert episode.support.x.shape == (20, 2, 12, 1)
    assert episode.support.y.shape == (20, 2, 12, 1, 6)
    assert episode.query.x.shape == (20, 2, 8)
    assert episode.query.y.shape == (20, 2, 8, 6)
    assert episode.support.x.dtype == episode.query.x.dtype == np.int32
    shared, sorted_lives = 0, 0
    for place in np.ndindex(20, 2):
        lifetime = jax.tree.map(lambda leaf, place=place: leaf[place], episode)
        index, query_index = lifetime.support.x[:, 0], lifetime.query.x
        for y in (lifetime.support.y, lifetime.query.y):
            assert set(np.unique(y)) == {0, 1}
            np.testing.assert_array_equal(y.sum(-1), 1)
        label, query_label = lifetime.support.y[:, 0].argmax(-1), lifetime.query.y.argmax(-1)
        assert set(label) == set(query_label) == set(range(4))
        name = {}
        for k in range(4):  # a label is a class, and a class has one label
            (name[k],) = set(index[label == k] // PER_CLASS) | set(query_index[query_label == k] // PER_CLASS)
            assert len(set(index[label == k])) == 3
            assert len(set(query_index[query_label == k])) == 2
        assert len(set(name.values())) == 4
        assert 0 <= min(name.values()) <= max(name.values()) < CLASSES
        shared += len(set(index) & set(query_index))
        sorted_lives += (np.diff(label) != 0).sum() == 3
    assert (shared > 0) == overlap
    assert sorted_lives == 40 if order == "continual" else sorted_lives < 4


@pytest.mark.parametrize("overlap", [False, True])
def test_draws_are_uniform(overlap):
    """Classes, images of a class, labels of classes and the first class are uniform by chi-squared tests.

    Bounds are 5.5 deviations above the mean of sums of squares over counts; draws without replacement within a lifetime
    only lower them. False alarm about 1e-5 over the eight tests.
    """
    episode = stream(600, **SMALL, order="continual", overlap=overlap)
    index, label = episode.support.x[:, 0, :, 0], episode.support.y[:, 0, :, 0].argmax(-1)
    query = episode.query.x[:, 0]
    drawn = {
        "class": (index[:, ::3] // PER_CLASS, CLASSES),
        "image": (index % PER_CLASS, PER_CLASS),
        "query": (query % PER_CLASS, PER_CLASS),
        "label that comes first": (label[:, 0], 4),
    }
    for name, (values, kinds) in drawn.items():
        counts, mean = np.bincount(values.ravel(), minlength=kinds), values.size / kinds
        assert len(counts) == kinds
        assert np.sum((counts - mean) ** 2) / mean < kinds - 1 + 5.5 * (2 * (kinds - 1)) ** 0.5, name
    pairs = np.zeros((CLASSES, 4))
    np.add.at(pairs, (index[:, ::3] // PER_CLASS, label[:, ::3]), 1)  # a class has any label, 50 times each
    assert np.sum((pairs - 50) ** 2) / 50 < 47 + 5.5 * 94**0.5


def test_a_quarter_of_the_queries_overlap_as_for_the_authors():
    """Queries are drawn anew from all twenty images; on average a quarter of them were support, as 5 of 20 are."""
    task = few_shot(5, 20, overlap=True)
    episode = compiled(lambda state: task.take(state, 400)[1])(task.init(jax.random.key(1)))
    index, query = np.asarray(episode.support.x)[:, 0, :, 0], np.asarray(episode.query.x)[:, 0]
    shares = np.array([np.isin(b, a).mean() for a, b in zip(index, query, strict=True)])
    assert abs(shares.mean() - 0.25) < 5 * shares.std() / 20  # 5 standard errors of 400: false alarm 6e-7


def test_a_cut_stream_equals_the_whole():
    start = few_shot(CLASSES, PER_CLASS, **SMALL, episodes=2).init(jax.random.key(3))
    _, whole = program(5, **SMALL, episodes=2)(start)
    state, first = program(2, **SMALL, episodes=2)(start)
    state, second = program(3, **SMALL, episodes=2)(state)
    jax.tree.map(lambda w, *parts: np.testing.assert_array_equal(np.concatenate(parts), w), whole, first, second)
    assert int(state.step) == 5
    assert len(np.unique(np.asarray(whole.support.x).reshape(10, -1), axis=0)) == 10


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"ways": 13}, "ways=13 is more than the 12 classes"),
        ({"shots": 4, "queries": 4}, "make 8, but a class has 7 images"),
        ({"shots": 3, "queries": 8, "overlap": True}, "must not exceed the 7 images"),
        ({"shots": 8, "queries": 3, "overlap": True}, "must not exceed the 7 images"),
        ({"outputs": 3, "shots": 1, "queries": 1}, "outputs=3 cannot tell ways=5"),
        ({"shots": 0}, "shots=0 must be at least 1"),
        ({"order": "mixed", "shots": 1, "queries": 1}, "order='mixed' is not known"),
    ],
)
def test_bad_arguments_are_refused(options, match):
    with pytest.raises(ValueError, match=match) as error:
        few_shot(CLASSES, PER_CLASS, **options)
    assert "\n" not in str(error.value)


def test_indices_name_images_of_omniglot():
    """There are 136 classes of twenty real characters, and each index gives its image."""
    data = real("omniglot", "small1")
    images = by_class(resize(data["image"], 28), data["label"])
    assert images.shape == (136, 20, 28, 28, 1)
    assert 0.9 < images.mean() / 255 < 0.97
    task = few_shot(*images.shape[:2])
    episode = compiled(lambda state: task.take(state, 1)[1])(task.init(jax.random.key(0)))
    index, label = np.asarray(episode.support.x)[0, 0, :, 0], np.asarray(episode.support.y)[0, 0, :, 0].argmax(-1)
    flat, names = images.reshape(-1, 28, 28, 1), np.unique(data["label"])
    for k in range(5):
        (one,) = set(index[label == k] // 20)
        members = resize(data["image"][data["label"] == names[one]], 28)
        np.testing.assert_array_equal(flat[index[label == k]], members[index[label == k] % 20])
