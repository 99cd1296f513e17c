"""Which questions share a training step. The questions about one image are consecutive.

Pure. Shapes: N images with questions, T questions in the order of their images, S steps of B images.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from bench.data.split import ImageSharing
from bench.distributed.global_batch import RowRange


class Parts(NamedTuple):
    """The questions of each step.

    Attributes:
        questions: for each step, the indices of its questions, i8.
        rows: for each step, the position of these questions among the questions of all processes.
    """

    questions: list[Tensor]
    rows: list[RowRange]


def image_sharing(questions: int | str) -> ImageSharing:
    """Return how the questions of a recipe share images, in the form of `bench.data.split.ImageSharing`."""
    return questions == "all" if isinstance(questions, str) else questions


def parts_of(image: Tensor, order: Tensor, own: slice, questions: int | str, epoch: int, seed: int) -> Parts:
    """Return the questions of each step.

    If `questions` is a number, that many questions per image are drawn in each epoch. Over the epochs, each question of
    an image comes up equally often. A question comes up twice in a step only if its image has fewer questions.

    Args:
        image: i8 (T,), the image of each question, ascending.
        order: i8 (S, B), the images of each step, numbered 0 … N − 1 among those with questions.
        own: the images of a step that this process computes.
        questions: "all" questions of an image, or a number of them.
        epoch: number of the epoch; the draw depends on it.
        seed: seed of the draw.
    """
    counts = torch.unique_consecutive(image, return_counts=True)[1]
    first = counts.cumsum(0) - counts
    if questions == "all":
        taken, places = counts, torch.arange(len(image))
    else:
        number = int(questions)
        shuffled = _shuffled(image, seed)
        turn = torch.arange(epoch * number, (epoch + 1) * number)
        places = shuffled[first[:, None] + turn % counts[:, None]].flatten()
        taken = torch.full_like(counts, number)
        first = taken.cumsum(0) - taken
    parts, rows = [], []
    for images in order:
        ends = taken[images].cumsum(0)
        start = int(ends[own.start - 1]) if own.start else 0
        stop = int(ends[own.stop - 1]) if own.stop else 0
        rows.append(RowRange(start, stop, int(ends[-1])))
        parts.append(_ranges(first[images[own]], taken[images[own]], places))
    return Parts(parts, rows)


def _ranges(first: Tensor, counts: Tensor, places: Tensor) -> Tensor:
    """Return places[first[i] … first[i] + counts[i] − 1] of each i, concatenated."""
    ends = counts.cumsum(0)
    return places[torch.arange(int(ends[-1])) + (first - ends + counts).repeat_interleave(counts)]


def _shuffled(image: Tensor, seed: int) -> Tensor:
    """Return the indices of the questions, with those about one image in random order."""
    drawn = torch.rand(len(image), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    shuffled = drawn.argsort()
    return shuffled[image[shuffled].argsort(stable=True)]
