"""Digits whose picture occurs in several splits."""

import numpy as np

from mnistref.sources.digit_copies import unshared_images


def test_shared_picture_stays_only_in_the_last_split():
    images = np.zeros((7, 28, 28), np.uint8)
    for number, picture in enumerate([1, 1, 2, 2, 3, 3, 4]):
        images[number, 5, 7] = picture
    splits = {"train": np.array([0, 2, 4, 5]), "val": np.array([1]), "test": np.array([3, 6])}
    assert unshared_images(images, splits).tolist() == [False, True, False, True, True, True, True]
