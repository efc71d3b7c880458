"""Labelled images on the host: rows by class, resizing as Pillow's, splits that share a class."""

import numpy as np
import pytest
from PIL import Image

from plasticity_jax.data import by_class, check_disjoint, resize


def test_by_class_groups_images_by_label():
    labels = np.tile([5, 9, 5, 2, 9, 2, 2, 5, 9], 9)
    images = np.random.default_rng(0).integers(0, 256, (81, 2, 2, 1), np.uint8)
    grouped = by_class(images, labels)
    assert grouped.dtype == np.uint8
    np.testing.assert_array_equal(grouped, [[images[i] for i in range(81) if labels[i] == k] for k in (2, 5, 9)])
    with pytest.raises(ValueError, match="as many images, but 2 has 2 and 5 has 3"):
        by_class(images[:5], np.array([5, 2, 5, 2, 5]))
    with pytest.raises(ValueError, match="81 images with 80 labels"):
        by_class(images, labels[:-1])


def test_check_disjoint_names_shared_classes():
    check_disjoint(np.array([0, 1, 1]), np.array([2, 3]))
    with pytest.raises(ValueError, match=r"2 classes are in both the training and the test split, such as 1:"):
        check_disjoint(np.array([0, 1, 4]), np.array([4, 1, 1, 7]))


@pytest.mark.parametrize(("before", "after"), [(105, 84), (105, 28), (7, 16)])
def test_resize_equals_pillows(before, after):
    """Pillow, the authors' tool, rounds after each of two passes; one rounding differs by at most one grey level."""
    images = np.random.default_rng(before).integers(0, 256, (3, before, before, 1), np.uint8)
    expected = [
        np.asarray(Image.fromarray(image[..., 0], "L").resize((after, after), Image.Resampling.BILINEAR))
        for image in images
    ]
    resized = resize(images, after)
    assert resized.dtype == np.uint8
    apart = np.abs(resized[..., 0].astype(int) - np.stack(expected))
    assert apart.max() <= 1
    assert (apart == 0).mean() > 0.5


def test_resize_does_not_depend_on_its_pieces(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (5, 9, 9, 3), np.uint8)
    whole = resize(images, 6)
    monkeypatch.setattr("plasticity_jax.data.images.CHUNK", 2)
    np.testing.assert_array_equal(resize(images, 6), whole)
