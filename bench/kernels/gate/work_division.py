"""How work on the questions about shared features is divided, and handed to compiled passes."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.kernels.thread_pool import run

PIECES = 4
"""Pieces of work for each thread, if there are several."""


class Questions(NamedTuple):
    """Which questions are about which image, as `passes` wants it, and the image of each question, i8 (T,)."""

    order: np.ndarray
    starts: np.ndarray
    image_index: Tensor


def questions_of(image_index: Tensor, images: int) -> Questions:
    """Group the questions by image, in their order. Each image is in 0 … images − 1."""
    image = image_index.numpy()
    starts = np.zeros(images + 1, np.int64)
    np.cumsum(np.bincount(image, minlength=images), out=starts[1:])
    return Questions(np.argsort(image, kind="stable"), starts, image_index)


def each(work: Callable[..., None], questions: Questions, places: int, channels: int, *arrays: Any) -> None:
    """Do a pass over all images, in pieces; its first arguments are those of `passes.normalise`."""
    images, threads = len(questions.starts) - 1, torch.get_num_threads()
    pieces = min(images, PIECES * threads if threads > 1 else 1)
    bounds = [images * k // pieces for k in range(pieces + 1)]
    run(
        [
            partial(work, questions.order, questions.starts, start, stop, places, channels, *arrays)
            for start, stop in pairwise(bounds)
        ]
    )


def last(x: Tensor) -> Tensor:
    """(·, C, H, W) → (·, H, W, C), contiguous."""
    return x.detach().permute(0, 2, 3, 1).contiguous()


def flat(x: Tensor) -> np.ndarray:
    return x.detach().contiguous().view(-1).numpy()
