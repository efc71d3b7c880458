"""Data sets on disk, as NumPy arrays: prepared by tensorflow-datasets, read without TensorFlow and without the network.

A set is a folder ``NAME/VERSION`` of array_record files, in the directory given by the environment variable
TFDS_DATA_DIR (by default ``~/tensorflow_datasets``). Decoded arrays are kept as .npz in the user's cache folder;
without such a folder they are decoded each time. `plasticity_jax.data.minibatches` draws batches from the arrays on
the device.
"""

import contextlib
import hashlib
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from plasticity_jax.ops.checks import one_of

CHUNK = 4096
"""Records in a read: fewer, larger reads are no faster and hold every record twice."""

LAYOUT = 1
"""Number of the layout of the arrays below; a new number invalidates old cache files."""


class MissingData(RuntimeError):
    """Error for a data set or reader that is missing; its message, one line, states how to get it."""


class DataSet(NamedTuple):
    """Facts about a data set that are known without opening it.

    Attributes:
      files: for each split, the tensorflow-datasets split that contains it.
      build: ``(decode, records, split) -> arrays``; decode turns bytes into an image.
      manual: for a set that cannot be downloaded: its source, and the Python line that builds it.
    """

    files: Mapping[str, str]
    build: Callable[[Callable[[bytes], np.ndarray], Sequence[Any], str], dict[str, np.ndarray]]
    manual: tuple[str, str] | None = None


def _integers(records: Sequence[Any], field: str) -> np.ndarray:
    return np.array([record.feature[field].int64_list.value[0] for record in records], np.int32)


def _images(decode: Callable[[bytes], np.ndarray], records: Sequence[Any], gray: bool = False) -> np.ndarray:
    """Images (N, height, width, channels) uint8; gray keeps one of three equal channels."""
    images = np.empty(0, np.uint8)
    for i, record in enumerate(records):
        image = decode(record.feature["image"].bytes_list.value[0])
        if gray:
            image, colours = image[..., :1], image
            if (image != colours).any():
                raise ValueError(f"image {i} is in colour, but this set's images are black and white: prepare it anew")
        if i == 0:
            images = np.empty((len(records), *image.shape), np.uint8)
        images[i] = image
    return images


def _labelled(decode: Callable[[bytes], np.ndarray], records: Sequence[Any], split: str) -> dict[str, np.ndarray]:
    return {"image": _images(decode, records), "label": _integers(records, "label")}


def _omniglot(decode: Callable[[bytes], np.ndarray], records: Sequence[Any], split: str) -> dict[str, np.ndarray]:
    fields = ("label", "alphabet", "alphabet_char_id")
    return {"image": _images(decode, records, gray=True)} | {field: _integers(records, field) for field in fields}


def _spoken_digit(decode: Callable[[bytes], np.ndarray], records: Sequence[Any], split: str) -> dict[str, np.ndarray]:
    """Recordings of a split, by file names DIGIT_SPEAKER_RECORDING.wav: numbers 0 to 4 are the test split."""
    names = [record.feature["audio/filename"].bytes_list.value[0].decode() for record in records]
    recording = [int(name.removesuffix(".wav").split("_")[2]) for name in names]
    chosen = [i for i, number in enumerate(recording) if (number < 5) == (split == "test")]
    sounds = [np.array(records[i].feature["audio"].int64_list.value, np.int16) for i in chosen]
    length = np.array([len(sound) for sound in sounds], np.int32)
    audio = np.zeros((len(sounds), int(length.max(initial=0))), np.int16)
    for row, sound in zip(audio, sounds, strict=True):
        row[: len(sound)] = sound
    labels = _integers(records, "label")[chosen]
    return {"audio": audio, "length": length, "label": labels, "filename": np.array([names[i] for i in chosen])}


def _mini_imagenet(decode: Callable[[bytes], np.ndarray], records: Sequence[Any], split: str) -> dict[str, np.ndarray]:
    names = [record.feature["wnid"].bytes_list.value[0].decode() for record in records]
    return _labelled(decode, records, split) | {"wnid": np.array(names)}


Name: TypeAlias = Literal["mnist", "cifar10", "omniglot", "spoken_digit", "mini_imagenet"]
Split: TypeAlias = Literal["train", "test", "validation", "small1", "small2"]

SETS: Mapping[Name, DataSet] = {
    "mnist": DataSet({"train": "train", "test": "test"}, _labelled),
    "cifar10": DataSet({"train": "train", "test": "test"}, _labelled),
    "omniglot": DataSet({split: split for split in ("train", "test", "small1", "small2")}, _omniglot),
    "spoken_digit": DataSet({"train": "train", "test": "train"}, _spoken_digit),
    "mini_imagenet": DataSet(
        {split: split for split in ("train", "validation", "test")},
        _mini_imagenet,
        (
            "from a FOLDER that holds images/ and train.csv, val.csv, test.csv (columns filename, label)",
            "from plasticity_jax.data.mini_imagenet_dataset_builder import build; build('FOLDER')",
        ),
    ),
}


def load(name: Name, split: Split = "train") -> dict[str, np.ndarray]:
    """One split of a data set as arrays, with the example as first axis.

    mnist (60,000 and 10,000) and cifar10 (50,000 and 10,000): image (N, height, width, channels) uint8, label (N,)
    int32. omniglot (train: the 964 background characters; test: the other 659; small1, small2): the same with one
    channel, ink 0 and paper 255, label 0 to 1622, alphabet and alphabet_char_id (N,) int32. spoken_digit at 8 kHz
    (test: recordings 0 to 4 of each speaker and digit, 300; train: the other 2,700): audio (N, longest) int16, zeros
    from length (N,) int32 on, label, and filename (N,), a string DIGIT_SPEAKER_RECORDING.wav. mini_imagenet (train,
    validation, test: 64, 16 and 20 classes of 600 images): image (N, 84, 84, 3) uint8, label (N,) int32, which counts
    the classes of all three splits, and wnid (N,), the class's name in ImageNet. The set may not be passed on; build it
    with `plasticity_jax.data.mini_imagenet_dataset_builder`.

    Args:
      name: of the set.
      split: "train" or "test"; omniglot also has "small1" and "small2", mini_imagenet "validation".

    Returns:
      Arrays by name, which the caller may change.

    Raises:
      ValueError: if the set or the split is not known.
      MissingData: if the set is not prepared, or tensorflow-datasets is not installed.

    Example:
      >>> load("mnist", "valid")
      Traceback (most recent call last):
      ValueError: mnist has no split 'valid'; use one of train, test

    Reference:
      https://www.tensorflow.org/datasets
    """
    one_of("name", name, tuple(SETS))
    if split not in SETS[name].files:
        raise ValueError(f"{name} has no split {split!r}; use one of {', '.join(SETS[name].files)}")
    folder = _folder(name, SETS[name].files[split])
    cache = _cache_file(folder, name, split)
    arrays = None if cache is None else _from_cache(cache)
    if arrays is None:
        try:
            arrays = _read(folder, name, split)
        except ImportError as error:  # only sets that were prepared with TensorFlow need it
            package = "tensorflow" if error.name == "tensorflow" else '"plasticity_jax[data]"'
            raise MissingData(f"reading {name} in {folder} needs {error.name}: pip install {package}") from error
        if cache is not None:
            _to_cache(cache, arrays)
    return arrays


def _folder(name: Name, source: str) -> Path:
    """Folder of the newest version of a set that contains the split as array_record."""
    given = os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    root = _expanded(given)
    prepare = f"tfds.builder({name!r}, file_format='array_record').download_and_prepare()"
    source_of, line = SETS[name].manual or ("with internet", f"import tensorflow_datasets as tfds; {prepare}")
    advice = (
        f"set TFDS_DATA_DIR to a directory that holds it, or prepare it {source_of}: pip install "
        f'"plasticity_jax[data]", then python -c "{line}"'
    )
    if root is None:
        raise MissingData(f"data set {name} is not found, for {given} is in nobody's home directory: {advice}")
    home = root / name
    versions = sorted((path for path in home.glob("*.*.*") if path.is_dir()), key=_version)
    ready = [path for path in versions if any(path.glob(f"{name}-{source}.array_record*"))]
    if ready:
        return ready[-1]
    if versions:
        raise MissingData(f"data set {name} in {home} has no array_record files of its {source!r} split: {advice}")
    raise MissingData(f"data set {name} is not in {root}: {advice}")


def _version(path: Path) -> tuple[int, ...]:
    numbers = path.name.split(".")
    return tuple(map(int, numbers)) if all(number.isdigit() for number in numbers) else (-1,)


def _read(folder: Path, name: Name, split: str) -> dict[str, np.ndarray]:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    # Records are parsed here, images decoded by their feature: half the time of decoding whole examples.
    builder: Any = tfds.builder_from_directory(folder)
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    parse = tf_example_pb2.Example.FromString  # pyright: ignore[reportAttributeAccessIssue]
    absl = logging.getLogger("absl")
    absl.addFilter(_is_news)
    try:
        data = builder.as_data_source(SETS[name].files[split], deserialize_method=raw)
        records = []
        for start in range(0, len(data), CHUNK):
            chunk = data.__getitems__(range(start, min(start + CHUNK, len(data))))
            records += [parse(record).features for record in chunk]
    finally:
        absl.removeFilter(_is_news)
    features = builder.info.features
    decode: Any = features["image"].decode_example_np if "image" in features else None
    return SETS[name].build(decode, records, split)


def _is_news(record: logging.LogRecord) -> bool:
    """Returns whether a log record is more than array_record's harmless warning about the group size of records."""
    return "group size" not in str(record.msg)


def _expanded(path: str) -> Path | None:
    """The path with ~ replaced by the home directory; None if there is no home directory."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return None


def _cache_file(folder: Path, name: str, split: str) -> Path | None:
    """Cache file named after the folder's content, so that a changed set of the same version is read again."""
    content = sorted((path.name, path.stat().st_size) for path in folder.iterdir())
    info = folder / "dataset_info.json"
    text = repr((LAYOUT, content)).encode() + (info.read_bytes() if info.exists() else b"")
    home = _expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    if home is None:
        return None
    digest = hashlib.sha256(text).hexdigest()[:16]
    return home / "plasticity_jax" / "datasets" / f"{name}-{folder.name}-{split}-{digest}.npz"


def _from_cache(path: Path) -> dict[str, np.ndarray] | None:
    """Arrays in a cache file; None if it is missing or damaged, by the zip's checksums."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return dict(stored)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def _to_cache(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes a cache file completely or not at all; an error costs time, not the result."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, partial = tempfile.mkstemp(suffix=".partial", dir=path.parent)
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, **dict(arrays))  # pyright: ignore[reportArgumentType]
        os.replace(partial, path)
    except OSError:
        return
    finally:
        with contextlib.suppress(OSError):
            Path(partial).unlink()
