"""Data sets: known facts of the real ones, the cache, missing sets; minibatches on the device."""

import importlib
import os
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from plasticity_jax.base import Info, LearningRule, learner
from plasticity_jax.data import MissingData, datasets, load, looking_up, minibatches
from plasticity_jax.run import online_training
from plasticity_jax.typing import Example
from tests.real_data import real


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder for this test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "plasticity_jax" / "datasets"


@pytest.fixture
def toy(tmp_path, monkeypatch, cache):
    """A set called mnist with unreadable records, and a reader that invents them."""
    folder = tmp_path / "tfds" / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "mnist-train.array_record-00000-of-00001").write_bytes(b"records")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    reads = []

    def read(folder, name, split):
        reads.append(folder)
        return {"image": np.arange(24, dtype=np.uint8).reshape(2, 3, 4, 1), "label": np.array([7, 1], np.int32)}

    monkeypatch.setattr(datasets, "_read", read)
    return folder, reads


# Facts: counts of labels as in Y. LeCun's files, and the customary moments of the pixels.


def test_mnist_is_complete(cache):
    data = real("mnist", "train")
    assert data["image"].shape == (60_000, 28, 28, 1)
    assert (data["image"].dtype, data["label"].dtype) == (np.uint8, np.int32)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    np.testing.assert_array_equal(np.bincount(data["label"]), counts)
    assert data["image"].mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert data["image"].std() / 255 == pytest.approx(0.3081, abs=5e-5)
    start = time.perf_counter()
    again = load("mnist", "train")
    assert time.perf_counter() - start < 1  # 0.1 s; decoding takes over a second
    jax.tree.map(np.testing.assert_array_equal, again, data)


def test_cifar10_is_complete(cache):
    """The means distinguish the channels' order, even after JPEG compression."""
    data = real("cifar10")
    assert data["image"].shape == (10_000, 32, 32, 3)
    np.testing.assert_array_equal(np.bincount(data["label"]), np.full(10, 1000))
    np.testing.assert_allclose(data["image"].mean((0, 1, 2)) / 255, [0.4942, 0.4851, 0.4504], atol=2e-3)


def test_omniglot_is_complete(cache):
    data = real("omniglot", "small1")
    assert data["image"].shape == (2720, 105, 105, 1)
    assert set(np.unique(data["image"])) == {0, 255}
    assert 0.9 < data["image"].mean() / 255 < 0.97  # ink is 0
    characters, counts = np.unique(data["label"], return_counts=True)
    assert len(characters) == 136
    assert set(counts) == {20}
    assert len(np.unique(data["alphabet"])) == 5
    assert len(np.unique(data["alphabet"] * 100 + data["alphabet_char_id"])) == 136


def test_spoken_digit_is_complete(cache):
    """Six speakers, ten digits; five recordings of each are the test, forty-five for training."""
    parts = {split: real("spoken_digit", split) for split in ("train", "test")}
    for split, recordings in {"train": range(5, 50), "test": range(5)}.items():
        data = parts[split]
        names = [name.removesuffix(".wav").split("_") for name in data["filename"]]
        assert len(set(data["filename"])) == len(names) == 60 * len(recordings)
        assert len({speaker for _, speaker, _ in names}) == 6
        assert {int(number) for _, _, number in names} == set(recordings)
        np.testing.assert_array_equal(data["label"], [int(digit) for digit, _, _ in names])
        beyond = np.arange(data["audio"].shape[1]) >= data["length"][:, None]
        assert not data["audio"][beyond].any()
        assert data["audio"].dtype == np.int16
        assert data["length"].max() == data["audio"].shape[1]
        assert 0.3 < data["length"].mean() / 8000 < 0.6  # seconds


@pytest.mark.parametrize(("name", "split"), [("mnist", "test"), ("cifar10", "test"), ("omniglot", "small2")])
def test_examples_are_those_that_tensorflow_datasets_decodes(cache, name, split):
    data = real(name, split)
    import tensorflow_datasets as tfds

    folder = datasets._folder(name, split)
    source = tfds.builder_from_directory(folder).as_data_source(split)
    for i in (0, 1, len(source) // 2, len(source) - 1):
        example = source[i]
        channels = data["image"].shape[-1]
        np.testing.assert_array_equal(data["image"][i], example["image"][..., :channels])
        assert data["label"][i] == example["label"]


# The cache.


def test_a_set_is_read_once(toy, cache):
    folder, reads = toy
    first, second = load("mnist"), load("mnist")
    jax.tree.map(np.testing.assert_array_equal, first, second)
    assert reads == [folder]
    assert [path.suffix for path in cache.iterdir()] == [".npz"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "another file"])
def test_a_damaged_cache_is_read_anew(toy, cache, damage):
    _, reads = toy
    first = load("mnist")
    (path,) = cache.iterdir()
    held = path.read_bytes()
    at = held.index(first["image"].tobytes()) + 3
    flipped = held[:at] + bytes([held[at] ^ 1]) + held[at + 1 :]
    path.write_bytes({"cut": held[:-40], "flipped": flipped, "emptied": b"", "another file": b"word" * 99}[damage])
    jax.tree.map(np.testing.assert_array_equal, load("mnist"), first)
    assert len(reads) == 2
    assert path.read_bytes() == held


def test_another_set_of_the_same_version_is_read_anew(toy):
    folder, reads = toy
    load("mnist")
    (folder / "dataset_info.json").write_text("{}")
    load("mnist")
    (folder / "dataset_info.json").write_text('{"a": 1}')
    load("mnist")
    assert len(reads) == 3


def test_the_newest_version_is_read(toy):
    folder, reads = toy
    for version in ("3.0.9", "3.0.10"):
        folder.with_name(version).mkdir()
        (folder.with_name(version) / "mnist-train.array_record-00000-of-00001").write_bytes(b"records")
    folder.with_name("3.0.11").mkdir()  # empty
    load("mnist")
    assert reads == [folder.with_name("3.0.10")]


def test_a_read_only_cache_is_no_error(toy, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load("mnist")["label"].tolist() == [7, 1]


def homeless(monkeypatch):
    """A user of a container, without HOME and without an entry in the list of users."""
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    with pytest.raises(RuntimeError):
        Path("~").expanduser()


def test_without_a_home_directory_data_at_hand_is_read_each_time(toy, monkeypatch, tmp_path):
    folder, reads = toy
    monkeypatch.delenv("XDG_CACHE_HOME")
    homeless(monkeypatch)
    for _ in range(2):
        assert load("mnist")["label"].tolist() == [7, 1]
    assert reads == [folder, folder]
    assert [path.name for path in tmp_path.iterdir()] == ["tfds"]


@pytest.mark.parametrize("given", [None, "~nobody-here/sets"])
def test_without_a_home_directory_a_missing_set_is_one_line(monkeypatch, given):
    homeless(monkeypatch)
    monkeypatch.setenv("TFDS_DATA_DIR", given) if given else monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    with pytest.raises(MissingData) as error:
        load("mnist")
    message = line_of(error)
    assert f"{given or '~/tensorflow_datasets'} is in nobody's home directory" in message
    assert "set TFDS_DATA_DIR to a directory that holds it" in message


def test_a_folder_that_becomes_read_only_during_a_write_is_no_error(toy, cache, monkeypatch):
    def refuse(self, missing_ok=False):
        raise PermissionError("read-only file system")

    def full(file, **arrays):
        raise OSError("read-only file system")

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(np, "savez", full)
    assert load("mnist")["label"].tolist() == [7, 1]


def test_a_write_that_fails_leaves_nothing_behind(toy, cache, monkeypatch):
    def full(file, **arrays):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert load("mnist")["label"].tolist() == [7, 1]
    assert list(cache.iterdir()) == []


# Missing sets.


def line_of(error):
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_missing_set_is_noticed_before_anything_is_imported(tmp_path, monkeypatch, cache):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    start = time.perf_counter()
    with pytest.raises(MissingData) as error:
        load("omniglot")
    assert time.perf_counter() - start < 0.5
    message = line_of(error)
    for word in (
        str(tmp_path),
        "TFDS_DATA_DIR",
        'pip install "plasticity_jax[data]", then',
        "download_and_prepare",
        "omniglot",
    ):
        assert word in message


def test_a_set_in_another_format_counts_as_missing(toy, tmp_path):
    folder, _ = toy
    (folder / "mnist-train.array_record-00000-of-00001").rename(folder / "mnist-train.tfrecord-00000-of-00001")
    with pytest.raises(MissingData, match=r"no array_record files of its 'train' split.*file_format='array_record'"):
        load("mnist")


@pytest.mark.parametrize(
    ("module", "advice"),
    [("tensorflow_datasets", r'"plasticity_jax\[data\]"'), ("tensorflow", "tensorflow")],
)
def test_a_missing_reader_is_named(tmp_path, monkeypatch, cache, module, advice):
    folder = tmp_path / "mnist" / "3.0.1"
    folder.mkdir(parents=True)
    (folder / "mnist-train.array_record-00000-of-00001").write_bytes(b"records")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(datasets, "_read", lambda *args: importlib.import_module(module))
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingData, match=f"needs {module}: pip install {advice}$"):
        load("mnist")


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="'imagenet' is not known; use one of mnist, cifar10, omniglot, spoken_digit"):
        load("imagenet")
    with pytest.raises(ValueError, match="spoken_digit has no split 'small1'; use one of train, test"):
        load("spoken_digit", "small1")


# Minibatches.


def drawn(steps, count=10, batch=4, key=0):
    stream = minibatches(count, batch)
    return np.asarray(jax.jit(lambda state: stream.take(state, steps)[1])(stream.init(jax.random.key(key))))


def test_a_cut_stream_of_indices_equals_the_whole():
    stream = minibatches(10, 4)
    state, first = jax.jit(lambda state: stream.take(state, 3))(stream.init(jax.random.key(0)))
    state, second = jax.jit(lambda state: stream.take(state, 5))(state)
    np.testing.assert_array_equal(np.concatenate([first, second]), drawn(8))
    assert int(state.step) == 8
    assert (drawn(8) != drawn(8, key=1)).any()


def test_indices_are_uniform():
    """Chi-squared with 9 degrees of freedom, over 4 of its standard deviations above its mean: p = 2e-4."""
    counts = np.bincount(drawn(2500).ravel(), minlength=10)
    assert counts.size == 10
    assert np.sum((counts - 1000) ** 2 / 1000) < 9 + 5.5 * 18**0.5


def test_a_learner_of_indices_receives_their_examples():
    """A rule that sums its input, in a training of the run floor, agrees with NumPy."""
    images = np.random.default_rng(0).integers(0, 256, (10, 2, 3), np.uint8)
    labels = np.arange(10)

    def update(params, traces, key, batch):
        mean = jnp.mean(batch.x, 0)
        return {"w": mean}, (), Info(jnp.mean(batch.y), jnp.asarray(True), {})

    rule = LearningRule(lambda params, key, batch: (), update)
    bank = jnp.asarray(images)
    learn = looking_up(
        learner(rule, optax.sgd(1.0)),
        lambda index: Example(bank[index].reshape(-1, 6) / 255, jnp.asarray(labels)[index] * 1.0),
    )
    stream = minibatches(10, 4)
    params = {"w": jnp.zeros(6)}

    def start(key, learn, stream):
        state = stream.init(key)
        return learn.init(params, key, stream.take(state, 1)[1][0]), state

    program = online_training(lambda key: (learn, stream), start, steps=12, every=3, chunks=2)
    state, metrics = jax.jit(lambda key: program.chunk(program.init(key)))(jax.random.key(0))
    index = drawn(6)
    np.testing.assert_allclose(state.learner.params["w"], -images[index].reshape(6, 4, 6).mean(1).sum(0) / 255)
    np.testing.assert_allclose(metrics["loss"], labels[index].reshape(2, 12).mean(1))


def test_bad_arguments_of_minibatches_are_refused():
    with pytest.raises(ValueError, match="count=0 and batch=4 must both be at least 1"):
        minibatches(0, 4)
