"""Checks of a network's output: answers that are not finite, and maps that cannot be measured.

Pure. Shapes: B images, K classes, maps of h × w.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def unanswered(logits: Tensor) -> Tensor:
    """Return which rows of logits (B, K) are not an answer, bool (B,).

    These are rows with NaN or +∞, and rows that are −∞ for all classes. −∞ for some classes is allowed, because the
    log-probabilities of `han` may exclude classes.
    """
    return ~((logits < torch.inf).all(dim=1) & (logits > -torch.inf).any(dim=1))


def unfit_images(maps: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return which images have a map that is not finite, and which others a negative value, bool (B,) each.

    Does not synchronise with the device.
    """
    odd = torch.zeros(len(maps[0]), dtype=torch.bool, device=maps[0].device)
    below = odd.clone()
    for mask in maps:
        if mask.dtype == torch.bool or not len(mask):
            continue
        low, high = mask.flatten(1).aminmax(dim=1)
        odd |= ~(low.isfinite() & high.isfinite())  # aminmax returns NaN if any value is NaN
        below |= low < 0
    return odd, below & ~odd


def require_map_shapes(maps: Sequence[Tensor], images: int | None = None, size: tuple[int, int] | None = None) -> None:
    """Raise ValueError unless all maps are (B, 1, h, w) and match each other. Only shapes are checked.

    Args:
        maps: one or more.
        images: B, if it is known.
        size: (H, W) of the images, if it is known. Maps are upsampled to this size, so no map may be larger.
    """
    for mask, name in zip(maps, names_of(maps), strict=True):
        shape = tuple(mask.shape)
        if mask.ndim != 4 or 0 in shape[2:]:
            raise ValueError(f"{name} has shape {shape}: pass (B, 1, h, w) with h and w of 1 or more")
        if shape[1] != 1:
            raise ValueError(f"{name} has {shape[1]} channels, shape {shape}: pass one, such as their mean or maximum")
        if len(mask) != len(maps[0]):
            raise ValueError(f"{name} has {len(mask)} images and map 1 has {len(maps[0])}: pass the same images")
        if images is not None and len(mask) != images:
            raise ValueError(f"{name} has {len(mask)} images, but there are {images}: pass a map for each image")
        if size is not None and (shape[2] > size[0] or shape[3] > size[1]):
            raise ValueError(
                f"{name} is {shape[2]} × {shape[3]} and the images are {size[0]} × {size[1]}: maps are only upsampled; "
                "pass a smaller map, or larger targets"
            )


def names_of(maps: Sequence[object]) -> list[str]:
    """Return the names of the maps in messages."""
    return [f"map {k}" for k in range(1, len(maps) + 1)]
