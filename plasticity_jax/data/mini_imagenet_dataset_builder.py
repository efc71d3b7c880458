"""mini-ImageNet as a tensorflow-datasets builder, from a folder in the customary form that the user supplies.

The images are ImageNet's and may not be passed on, so there is nothing to download. The folder contains

    images/                            every image that the split files name
    train.csv, val.csv, test.csv       columns filename and label (the class, such as n01532829)

as Ravi & Larochelle (2017) split it: 64, 16 and 20 classes of 600 images. `build` needs no TensorFlow; afterwards
`plasticity_jax.data.load("mini_imagenet")` reads what it wrote.

Import this file only to build the set: a builder is a subclass, so its definition needs tensorflow-datasets.
"""

import csv
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

SIDE = 84
FILES = {"train": "train.csv", "validation": "val.csv", "test": "test.csv"}

Rows = list[tuple[str, str]]
"""(filename, label) of each image of a split, in the order of the split file."""


class Builder(tfds.core.GeneratorBasedBuilder):
    """Images (84, 84, 3) uint8; label, the rank of the class among the names of all three splits; wnid, that name.

    Images keep the order of the split files. Images of another size are resized by means over areas, without keeping
    their proportions, as is customary.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}  # noqa: RUF012 # the name and the form that tensorflow-datasets reads
    MANUAL_DOWNLOAD_INSTRUCTIONS = "The folder holds images/ and train.csv, val.csv, test.csv (filename, label)."

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(SIDE, SIDE, 3), encoding_format="png"),
            "label": np.int64,
            "wnid": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description="100 classes of ImageNet, 600 images of each, for learning from few examples.",
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            citation="Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra, NeurIPS 2016; split: Ravi & Larochelle, "
            "ICLR 2017.",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        folder = dl_manager.manual_dir
        splits = {split: _rows(folder / file) for split, file in FILES.items()}
        names = {split: {label for _, label in rows} for split, rows in splits.items()}
        for split, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            if shared := sorted(names[split] & names[other]):
                raise ValueError(
                    f"{FILES[split]} and {FILES[other]} in {folder} share {len(shared)} classes, such as {shared[0]}: "
                    "the splits must have no class in common"
                )
        images = folder / "images"
        files = {path.name for path in images.iterdir()} if images.is_dir() else set()
        for split, rows in splits.items():
            if missing := [filename for filename, _ in rows if filename not in files]:
                raise ValueError(
                    f"{FILES[split]} names {len(missing)} images that {images} lacks, such as {missing[0]}: "
                    "add them, or take their lines out"
                )
        label = {name: i for i, name in enumerate(sorted(set.union(*names.values())))}
        return {split: self._generate_examples(images, rows, label) for split, rows in splits.items()}

    def _generate_examples(self, images: Any, rows: Rows, label: dict[str, int]) -> Iterator[tuple[str, Any]]:
        for filename, name in rows:
            yield filename, {"image": _png(images / filename), "label": label[name], "wnid": name}


def build(folder: str, data_dir: str | None = None) -> None:
    """Writes the set as array_record files, for `plasticity_jax.data.load`.

    Args:
      folder: as in the module's docstring.
      data_dir: where to write; None: TFDS_DATA_DIR as of the import of tensorflow-datasets, or else its default.

    Raises:
      ValueError: in one line, if a split file or an image is missing or cannot be read, or splits share a class.
    """
    builder = Builder(data_dir=data_dir, file_format="array_record")
    config = tfds.download.DownloadConfig(manual_dir=folder)
    builder.download_and_prepare(download_config=config)


def _rows(path: Any) -> Rows:
    if not path.exists():
        raise ValueError(f"{path} is missing: mini_imagenet is built from images/, {', '.join(FILES.values())}")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    if not rows or any(not row.get(column) for row in rows for column in ("filename", "label")):
        raise ValueError(f"{path} must have the columns filename and label, and an image in every line")
    return [(row["filename"], row["label"]) for row in rows]


def _png(path: Any) -> bytes:
    """An image encoded as PNG: tensorflow-datasets would need TensorFlow to encode an array."""
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} is not an image that can be read: replace it, or take its line out")
    if image.shape[:2] != (SIDE, SIDE):
        image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.imencode(".png", image)[1].tobytes()
