"""A task: images with one label each, and no question, in the terms of a variant.

Shapes: N images of H × W pixels.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mnistref.spec import NO_QUERY, VariantSpec


@dataclass(frozen=True)
class TaskSpec(VariantSpec):
    """What a network needs to know of a task.

    The fields of a sampling law, which a task does not have, have constant values.

    Attributes:
        labels: name of each class.
        has_masks: whether the images have masks of their objects.
    """

    background: str = "photo"
    query: str = NO_QUERY
    digits: tuple[int, int] = (1, 1)
    labels: tuple[str, ...] = ()
    has_masks: bool = False

    def _law_rules(self) -> Iterator[tuple[str, bool, str]]:
        """Yield nothing, because a task has no sampling law."""
        yield from ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """Name of each label, in the order of the label numbers."""
        return self.labels

    @property
    def label_noun(self) -> str:
        """What a label is, in one word."""
        return "class"

    @property
    def target_noun(self) -> str:
        """What the mask of an image covers, in words."""
        return "object"


class LabelledImages(NamedTuple):
    """The images of a split: `images` u1 (N, H, W, 3), `labels` i8 (N,), `masks` u1 (N, H, W) of 0 and 1, or None."""

    images: np.ndarray
    labels: np.ndarray
    masks: np.ndarray | None = None


class LoadedTask(NamedTuple):
    """A task as its source has it: name of each class, the training images, and the test images."""

    labels: tuple[str, ...]
    train: LabelledImages
    test: LabelledImages


@dataclass(frozen=True)
class Task:
    """An entry of the registry of tasks.

    Attributes:
        name: name in commands and records.
        summary: half a sentence about the task, for lists.
        canvas: side of the images by default, in pixels.
        load: reads the images at a side in pixels. Its argument `raw` is the folder of downloads.
        load_digest: returns the digest of the source, if its content can change; None for a published data set.
    """

    name: str
    summary: str
    canvas: int
    load: Callable[[Path, int], LoadedTask]
    load_digest: Callable[[], str] | None = None


Counts = Mapping[str, int]
"""Split → number of images."""


def split_by_class(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide images into two parts, each class by itself.

    Args:
        labels: i8 (N,).
        share: share of each class in the second part. The number is rounded; each part has at least one image of a
            class that has two.
        seed: seed of the draw.

    Returns:
        The indices of both parts, i8, in ascending order.
    """
    first, second = [], []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        members = members[np.random.Generator(np.random.Philox([seed, int(label)])).permutation(len(members))]
        number = min(max(1, round(share * len(members))), len(members) - 1)
        first.append(members[number:])
        second.append(members[:number])
    return np.sort(np.concatenate(first)), np.sort(np.concatenate(second))
