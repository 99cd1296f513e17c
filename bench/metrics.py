"""The measures: tensors → numbers. Pure.

Shapes: B images, H × W pixels. `masks` are a network's maps, shallow to deep, (B, 1, h, w) each, not negative.
"""

from collections.abc import Sequence
from typing import NamedTuple

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


class PrecisionRecall(NamedTuple):
    """`precision` at each `recall`, both (P,) in 0 … 1, higher is better; `area` below the whole curve, 0 … 1.

    Pixels chosen at random have the target's share of the image, see `mask_area`, as precision at every recall.
    """

    recall: Tensor
    precision: Tensor
    area: float


_DROPPED = 12
"""Bits of a f32 that its bin leaves out: 11 of its fraction's 23 stay, so that a bin is a 2,048th of its value wide or
less."""
BINS = (0x3F800000 >> _DROPPED) + 1


def score_histogram(masks: Sequence[Tensor], target: Tensor, power: float = 1.0) -> Tensor:
    """How many pixels have which share of the attention: i8 (2, BINS), of those on the target and of all others.

    Args as those of `mask_correctness`. Histograms of parts of a test set are added up for `precision_recall`. Bins are
    a 2,048th of their value wide or less, however small it is.
    """
    scores = attended(masks, (target.shape[1], target.shape[2]), power).float()
    bins = scores.contiguous().view(torch.int32) >> _DROPPED  # floats that are not negative are ordered as their bits
    counts = torch.bincount(bins.flatten() + BINS * (~target).flatten(), minlength=2 * BINS)
    return counts.view(2, BINS)


def precision_recall(histogram: Tensor, points: int = 101) -> PrecisionRecall:
    """Precision and recall of pixels as those of the queried digit, over thresholds of the attention. PAN Fig. 6b.

    A pixel is called the digit's where the normalised product of the maps is at least the threshold: precision is the
    share of the digit's pixels among those called so, recall the share of them among the digit's, over all images.
    `area` is the average precision, Σ (Rₙ − Rₙ₋₁) Pₙ over all thresholds.

    Args:
        histogram: i8 (2, BINS), of `score_histogram`, with at least one pixel on a target.
        points: P, at how many recalls, evenly from 0 to 1, the curve is given: by the highest threshold that reaches
            them.
    """
    if not histogram[0].any():
        raise ValueError("no pixel lies on a target: there is no recall")
    on, off = histogram.double().flip(1).cumsum(1)
    kept = (histogram.sum(0) > 0).flip(0)
    on, off = on[kept], off[kept]
    precision, recall = on / (on + off), on / on[-1]
    gained = torch.diff(recall, prepend=recall.new_zeros(1))
    wanted = torch.linspace(0, 1, points, dtype=torch.float64, device=recall.device)
    reached = torch.searchsorted(recall, wanted).clamp_max(len(recall) - 1)
    return PrecisionRecall(wanted, precision[reached], float((gained * precision).sum()))


def scale_bin(scale: Tensor) -> Tensor:
    """(T,) → which of the `SCALE_BINS` each scale lies in, i8 (T,): the lower edge belongs to a bin, 3.0 to the last.

    −1 outside all of them.
    """
    edges = torch.tensor([low for low, _ in SCALE_BINS], dtype=scale.dtype, device=scale.device)
    bins = torch.bucketize(scale, edges, right=True) - 1
    return torch.where(scale <= SCALE_BINS[-1][1], bins, -1)


def accuracy_per_scale(correct: Tensor, scale: Tensor) -> dict[str, tuple[float | None, int]]:
    """Accuracy and count in each scale bin of ARNN Table 2: [0.5, 1.0), … [2.5, 3.0].

    Args:
        correct: bool (T,).
        scale: (T,), of the queried digit.

    Returns:
        bin name → (accuracy in 0 … 1, or None for an empty bin; count).
    """
    result: dict[str, tuple[float | None, int]] = {}
    bins = scale_bin(scale)
    for k, name in enumerate(SCALE_BIN_NAMES):
        inside = bins == k
        n = int(inside.sum())
        result[name] = (float(correct[inside].double().mean()) if n else None, n)
    return result
