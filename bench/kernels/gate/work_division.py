"""Division of the work on questions with shared features into pieces for compiled passes."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from bench.kernels.thread_pool import run_in_threads

PIECES = 4
"""Number of pieces of work per thread, if there are several threads."""


class GroupedQuestions(NamedTuple):
    """The questions of a batch, grouped by image.

    Attributes:
        order: i8 (T,), the questions in the order of their images.
        starts: i8 (B + 1,), where the questions of each image start in `order`.
        image_index: i8 (T,), the index of the image of each question.
    """

    order: np.ndarray
    starts: np.ndarray
    image_index: Tensor


PassArguments: TypeAlias = tuple[GroupedQuestions, int, int, np.ndarray, np.ndarray]
"""The first arguments of `run_pass` after the pass: questions, positions of a map, channels, and two flat arrays."""


def questions_of(image_index: Tensor, images: int) -> GroupedQuestions:
    """Group questions by image, in their order. Indices of images are in 0 … images − 1."""
    image = image_index.numpy()
    starts = np.zeros(images + 1, np.int64)
    np.cumsum(np.bincount(image, minlength=images), out=starts[1:])
    return GroupedQuestions(np.argsort(image, kind="stable"), starts, image_index)


def run_pass(
    work: Callable[..., None], questions: GroupedQuestions, places: int, channels: int, *arrays: np.ndarray
) -> None:
    """Run a pass over all images, in pieces. Its first arguments are those of `numba_passes.normalise`."""
    images, threads = len(questions.starts) - 1, torch.get_num_threads()
    pieces = min(images, PIECES * threads if threads > 1 else 1)
    bounds = [images * k // pieces for k in range(pieces + 1)]
    run_in_threads(
        [
            partial(work, questions.order, questions.starts, start, stop, places, channels, *arrays)
            for start, stop in pairwise(bounds)
        ]
    )
