"""Find digits whose picture occurs in several splits. MNIST and mnist5k have none."""

from collections.abc import Mapping

import numpy as np

from mnistref.spec import SPLITS


def unshared_images(images: np.ndarray, splits: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return which images to keep so that no picture is in two splits, bool (M,).

    A picture stays in the last of its splits, in the order train, val, test, so the test split is complete and is not
    trained on. Copies within a split stay.

    Args:
        images: u1 (M, 28, 28).
        splits: split → i8 indices. Each image is in one split.
    """
    rank = np.zeros(len(images), np.int64)
    for k, split in enumerate(SPLITS):
        rank[splits[split]] = k
    rows = np.ascontiguousarray(images).reshape(len(images), -1)
    _, picture = np.unique(rows.view(np.dtype((np.void, rows.shape[1]))).ravel(), return_inverse=True)
    last = np.zeros(len(images), np.int64)
    np.maximum.at(last, picture, rank)
    return np.equal(rank, last[picture])
