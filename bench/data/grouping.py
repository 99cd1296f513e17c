"""Which questions share a step, where those about one image stand together. Pure.

Shapes: N images that are asked about, T questions in the order of their images, S steps of B images.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from bench.data.split import Together
from bench.distributed.global_batch import Rows


class Parts(NamedTuple):
    """Of each step the numbers of its questions, i8, and which of the step's questions these are."""

    questions: list[Tensor]
    rows: list[Rows]


def together(questions: int | str) -> Together:
    """How the questions of a recipe share images, as `bench.data.split` has it."""
    return questions == "all" if isinstance(questions, str) else questions


def parts_of(image: Tensor, order: Tensor, own: slice, questions: int | str, epoch: int, seed: int) -> Parts:
    """Gather the questions of each step.

    Args:
        image: i8 (T,), of each question, ascending.
        order: i8 (S, B), the images of each step, as numbers 0 … N − 1 among those that are asked about.
        own: which of a step's images this process has.
        questions: "all" of an image, or how many. A number of them is drawn anew in each epoch, such that over the
            epochs each question of an image comes up equally often, and twice in a step only where there are fewer.
        epoch, seed: what the draw depends on.
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
        rows.append(Rows(start, stop, int(ends[-1])))
        parts.append(_ranges(first[images[own]], taken[images[own]], places))
    return Parts(parts, rows)


def _ranges(first: Tensor, counts: Tensor, places: Tensor) -> Tensor:
    """places[first[i] … first[i] + counts[i] − 1] of each i, one after the other."""
    ends = counts.cumsum(0)
    return places[torch.arange(int(ends[-1])) + (first - ends + counts).repeat_interleave(counts)]


def _shuffled(image: Tensor, seed: int) -> Tensor:
    """The numbers of the questions, those about one image in random order."""
    drawn = torch.rand(len(image), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    by_chance = drawn.argsort()
    return by_chance[image[by_chance].argsort(stable=True)]
