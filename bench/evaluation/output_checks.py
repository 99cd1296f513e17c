"""Find what in a network's answers and maps cannot be measured. Pure.

Shapes: B images, K classes, maps of h × w.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def unanswered(logits: Tensor) -> Tensor:
    """Return which rows of logits (B, K) are no answer, bool (B,): with NaN or +∞, or with −∞ for every class.

    −∞ for some classes is an answer: log-probabilities, which `han` gives, may say that a class is impossible.
    """
    return ~((logits < torch.inf).all(dim=1) & (logits > -torch.inf).any(dim=1))


def unfit_images(maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return which images have a map that is not finite, and which a finite one below zero, bool (B,) each.

    Does not wait for the device.
    """
    odd = torch.zeros(len(maps[0]), dtype=torch.bool, device=maps[0].device)
    below = odd.clone()
    for mask in maps:
        if mask.dtype == torch.bool or not len(mask):
            continue
        low, high = mask.flatten(1).aminmax(dim=1)
        odd |= ~(low.isfinite() & high.isfinite())  # NaN is the least and the greatest of values with a NaN
        below |= low < 0
    return odd, below & ~odd


def check_shapes(maps: Sequence[Tensor], images: int | None = None, size: tuple[int, int] | None = None) -> None:
    """Raise a ValueError unless maps are (B, 1, h, w) and fit each other. Looks at shapes only.

    Args:
        maps: one or more.
        images: B, if it is known.
        size: (H, W) of the images, if it is known. No map may be larger, because maps are upsampled to it.
    """
    for mask, name in zip(maps, names_of(maps), strict=True):
        shape = tuple(mask.shape)
        if mask.ndim != 4 or 0 in shape[2:]:
            raise ValueError(f"{name} has shape {shape}: pass (B, 1, h, w) with h and w of 1 or more")
        if shape[1] != 1:
            raise ValueError(f"{name} has {shape[1]} channels, shape {shape}: pass one, such as their mean or maximum")
        if len(mask) != len(maps[0]):
            raise ValueError(f"{name} is of {len(mask)} images and map 1 of {len(maps[0])}: pass the same images")
        if images is not None and len(mask) != images:
            raise ValueError(f"{name} is of {len(mask)} images, and there are {images}: pass a map for each image")
        if size is not None and (shape[2] > size[0] or shape[3] > size[1]):
            raise ValueError(
                f"{name} is {shape[2]} × {shape[3]} and the images are {size[0]} × {size[1]}: maps are upsampled; "
                "pass targets of the map's size, or a map that is not larger"
            )


def names_of(maps: Sequence[Any]) -> list[str]:
    """Return what messages call the maps."""
    return [f"map {k}" for k in range(1, len(maps) + 1)]
