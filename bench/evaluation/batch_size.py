"""How many images a network answers at a time in validation and test."""

from collections.abc import Callable
from typing import TypeVar

import torch

from bench.common.memory import ran_out
from bench.evaluation.evaluate import BATCH

Made = TypeVar("Made")

LARGE = (1000, 500, 250)
"""Batch sizes that are tried on CUDA, because a small batch leaves most of a GPU idle."""
COPIES, SHARE = 4, 0.25
"""A batch may need this share of the free memory, if the first convolution's output is held this many times."""


def sizes(device: str, trained: int, canvas: int, width: int, free: int | None, drawn: bool = False) -> list[int]:
    """Return the batch sizes to try, the largest first.

    The last one is at most a batch of the training, which is known to fit into memory.

    Args:
        device: "cpu" or "cuda".
        trained: images, or questions, of a training step.
        canvas: height and width of an image in pixels.
        width: channels of each convolution.
        free: free memory in bytes; None if it is unknown.
        drawn: whether maps are drawn at random. Other batches would draw other maps, so that the measures would depend
            on the free memory.
    """
    least = min(BATCH, trained)
    if device != "cuda" or drawn:
        return [least]
    numbers = canvas**2 * width
    most = (2**31 - 1) // numbers
    if free is not None:
        most = min(most, int(SHARE * free / (4 * COPIES * numbers)))
    return [*(size for size in LARGE if least < size <= most), least]


def in_memory(sizes: list[int], work: Callable[[int], Made]) -> Made:
    """Return work(size) for the first of the sizes for which memory does not run out; the others leave the list."""
    while True:
        try:
            return work(sizes[0])
        except Exception as error:
            if len(sizes) == 1 or not ran_out(error):
                raise
        del sizes[0]  # here the error, and with it the tensors of its frames, is gone
        torch.cuda.empty_cache()


def draws(model: torch.nn.Module) -> bool:
    """Return whether a network says that it draws its maps at random in evaluation too."""
    return any(getattr(module, "sampled", False) is True for module in model.modules())
