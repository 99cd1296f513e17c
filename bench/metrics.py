"""The measures: tensors → numbers. Pure.

Shapes: B images, H × W pixels. `masks` are a network's maps, shallow to deep, (B, 1, h, w) each, not negative.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mnistref.spec import SCALE_BIN_NAMES, SCALE_BINS


def attended(masks: Sequence[Tensor], size: tuple[int, int], power: float = 1.0) -> Tensor:
    """Product of the maps, each upsampled bilinearly (`align_corners=False`) to `size`: (B, H, W), summing to 1.

    `power`: what the product is raised to first; LTPA takes the square root, 0.5.

    Each map is first divided by its maximum, which changes nothing and keeps products of many small numbers from
    vanishing. A product that is zero everywhere counts as the uniform map.
    """
    if not masks:
        raise ValueError("no maps: this network has no attention to measure")
    product = torch.ones(())
    for mask in masks:
        peak = mask.float().amax(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        full = F.interpolate(mask.float() / peak, size, mode="bilinear", align_corners=False)
        product = full if product.ndim == 0 else product * full
    product = product.squeeze(1) if power == 1.0 else product.squeeze(1) ** power
    total = product.sum(dim=(1, 2), keepdim=True)
    uniform = torch.full_like(product, 1.0 / (size[0] * size[1]))
    return torch.where(total > 0, product / total, uniform)


def mask_correctness(masks: Sequence[Tensor], target: Tensor, power: float = 1.0) -> Tensor:
    """Share of the attention that lies on the target: Σ product · target. ARNN Table 2.

    Args:
        masks: every slot's map.
        target: bool (B, H, W), the queried digit's ink.
        power: of the product, as in `attended`.

    Returns:
        (B,), 0 … 1, higher is better; the uniform map scores the target's area, see `mask_area`.
    """
    return (attended(masks, (target.shape[1], target.shape[2]), power) * target).sum(dim=(1, 2))


def true_positive_ratio(masks: Sequence[Tensor], target: Tensor, power: float = 1.0) -> Tensor:
    """`mask_correctness` of the last slot's map alone. PAN Table 1b. → (B,), 0 … 1, higher is better."""
    return mask_correctness(masks[-1:], target, power)


def pointing_game(masks: Sequence[Tensor], target: Tensor, power: float = 1.0) -> Tensor:
    """Whether the product's maximum lies on the target (Zhang et al., ECCV 2016). → (B,), 0 or 1, higher is better."""
    peak = attended(masks, (target.shape[1], target.shape[2]), power).flatten(1).argmax(dim=1, keepdim=True)
    return target.flatten(1).gather(1, peak).squeeze(1).float()


def mask_area(target: Tensor) -> Tensor:
    """Share of the image that is target, which is what the uniform map scores. bool (B, H, W) → (B,)."""
    return target.float().mean(dim=(1, 2))


def accuracy_per_scale(correct: Tensor, scale: Tensor) -> dict[str, tuple[float | None, int]]:
    """Accuracy and count in each scale bin of ARNN Table 2: [0.5, 1.0), … [2.5, 3.0].

    Args:
        correct: bool (T,).
        scale: (T,), of the queried digit.

    Returns:
        bin name → (accuracy in 0 … 1, or None for an empty bin; count).
    """
    result: dict[str, tuple[float | None, int]] = {}
    for name, (low, high) in zip(SCALE_BIN_NAMES, SCALE_BINS, strict=True):
        inside = (scale >= low) & ((scale < high) if high < SCALE_BINS[-1][1] else (scale <= high))
        n = int(inside.sum())
        result[name] = (float(correct[inside].double().mean()) if n else None, n)
    return result
