"""Batch sizes of validation and test."""

from collections.abc import Callable
from typing import TypeVar

import torch

from bench.common.memory import ran_out
from bench.evaluation.evaluate import BATCH_IMAGES

Made = TypeVar("Made")

LARGE = (1000, 500, 250)
"""Batch sizes that are tried on CUDA, where a small batch uses only part of the GPU."""
COPIES, SHARE = 4, 0.25
"""A batch may use the share `SHARE` of the free memory, if it holds `COPIES` outputs of the first convolution."""


def sizes(device: str, trained: int, canvas: int, width: int, free: int | None, drawn: bool = False) -> list[int]:
    """Return the batch sizes to try, largest first. Pure.

    The last one is at most the batch size of the training, so that it fits into memory.

    Args:
        device: "cpu" or "cuda".
        trained: images, or questions, per training step.
        canvas: side of an image in pixels.
        width: channels of a convolution.
        free: free memory in bytes; None if it is unknown.
        drawn: whether maps are drawn at random. The samples depend on the batch size, so it must not depend on the
            free memory.
    """
    least = min(BATCH_IMAGES, trained)
    if device != "cuda" or drawn:
        return [least]
    numbers = canvas**2 * width
    most = (2**31 - 1) // numbers
    if free is not None:
        most = min(most, int(SHARE * free / (4 * COPIES * numbers)))
    return [*(size for size in LARGE if least < size <= most), least]


def in_memory(sizes: list[int], work: Callable[[int], Made]) -> Made:
    """Return work(size) for the first size that fits into memory. Sizes that do not fit are removed from the list."""
    while True:
        try:
            return work(sizes[0])
        except Exception as error:
            if len(sizes) == 1 or not ran_out(error):
                raise
        del sizes[0]  # by now the error is freed, and with it the tensors of its frames
        torch.cuda.empty_cache()


def draws(model: torch.nn.Module) -> bool:
    """Return whether a network draws its maps at random in evaluation, too."""
    return any(getattr(module, "sampled", False) is True for module in model.modules())
