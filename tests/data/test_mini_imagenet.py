"""mini-ImageNet: `load` on a folder of the customary form, which the test makes."""

import cv2
import numpy as np
import pytest

from plasticity_jax.data import MissingData, by_class, check_disjoint, datasets, load
from plasticity_jax.data.mini_imagenet_dataset_builder import Builder, build

CLASSES = {"train": ["n03", "n01", "n05"], "val": ["n02"], "test": ["n06", "n04"]}
LABELS = {"n01": 0, "n02": 1, "n03": 2, "n04": 3, "n05": 4, "n06": 5}


def colours(name, i):
    """An image of 84 x 84 in two halves, red, green, blue each."""
    image = np.empty((84, 84, 3), np.uint8)
    image[:, :42] = (10 + 10 * LABELS[name], 100 + i, 30)
    image[:, 42:] = (200, 20 + i, 240)
    return image


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two images of each class; those of n05 are 168 x 252, with six different pixels of the same mean for each."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    home = tmp_path / "manual"
    (home / "images").mkdir(parents=True)
    for split, names in CLASSES.items():
        lines = ["filename,label"]
        for i in range(2):
            for name in names:  # the classes of a split alternate
                image = colours(name, i)
                if name == "n05":
                    image = image.repeat(2, 0).repeat(3, 1) + np.tile([4, -8, 4], 84)[:, None]
                path = home / "images" / f"{name}000{i}.png"
                cv2.imwrite(str(path), image[..., ::-1])  # OpenCV's order is blue, green, red
                lines.append(f"{path.name},{name}")
        (home / f"{split}.csv").write_text("\n".join(lines) + "\n")
    return home


def test_a_folder_becomes_arrays(folder, tmp_path):
    build(str(folder), str(tmp_path / "tfds"))
    labels = {}
    for split, names in {"train": CLASSES["train"], "validation": CLASSES["val"], "test": CLASSES["test"]}.items():
        data = load("mini_imagenet", split)
        assert data["image"].dtype == np.uint8
        assert data["label"].dtype == np.int32
        np.testing.assert_array_equal(data["wnid"], names * 2)  # in the file's order
        np.testing.assert_array_equal(data["label"], [LABELS[name] for name in names * 2])
        expected = [colours(name, i) for i in range(2) for name in names]
        np.testing.assert_array_equal(data["image"], expected)
        labels[split] = data["label"]
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        check_disjoint(labels[one], labels[other])
    data = load("mini_imagenet", "train")
    grouped = by_class(data["image"], data["label"])
    np.testing.assert_array_equal(grouped, [[colours(name, i) for i in range(2)] for name in ("n01", "n03", "n05")])


def broken(folder, how):
    train = folder / "train.csv"
    if how == "shared class":
        train.write_text(train.read_text() + "n010000.png,n06\n")
    elif how == "missing image":
        train.write_text(train.read_text() + "n010007.png,n01\n")
    elif how == "missing file":
        (folder / "val.csv").unlink()
    elif how == "columns":
        train.write_text(train.read_text().replace("filename,label", "file,class"))
    else:
        (folder / "images" / "n010000.png").write_bytes(b"no image")


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ("shared class", r"train.csv and test.csv in .* share 1 classes, such as n06"),
        ("missing image", r"train.csv names 1 images that .*images lacks, such as n010007.png"),
        ("missing file", r"val.csv is missing: mini_imagenet is built from images/, train.csv, val.csv, test.csv"),
        ("columns", r"train.csv must have the columns filename and label"),
        ("no image", r"n010000.png is not an image that can be read"),
    ],
)
def test_a_broken_folder_is_refused(folder, tmp_path, how, match):
    broken(folder, how)
    with pytest.raises(ValueError, match=match) as error:
        build(str(folder), str(tmp_path / "tfds"))
    assert "\n" not in str(error.value)
    with pytest.raises(MissingData):  # and no partial set is left
        load("mini_imagenet")


def test_a_missing_set_names_the_way_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    with pytest.raises(MissingData) as error:
        load("mini_imagenet", "validation")
    message = str(error.value)
    assert "\n" not in message
    assert "download_and_prepare" not in message  # not offered for download
    line = message.split('python -c "')[1].removesuffix('"')
    for word in ("images/", "train.csv, val.csv, test.csv", "TFDS_DATA_DIR", str(tmp_path)):
        assert word in message
    built = []
    monkeypatch.setattr("plasticity_jax.data.mini_imagenet_dataset_builder.build", built.append)
    exec(line)
    assert built == ["FOLDER"]
    assert Builder.name in datasets.SETS
