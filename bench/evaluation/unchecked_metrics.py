"""The metrics of `bench.metrics`, without checks of the arguments. Pure.

Shapes: B images, H × W pixels. `masks` are maps (B, 1, h, w), shallow to deep, finite and not negative. `product` is
the result of `attended`, f4 (B, H, W). `target` is bool (B, H, W).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.evaluation.columns import MASK_CORRECTNESS, POINTING, TPR
from mnistref.spec import SCALE_BIN_NAMES, SCALE_BINS


class PrecisionRecall(NamedTuple):
    """A precision-recall curve.

    Attributes:
        recall: (P,) in 0 … 1.
        precision: precision at each recall, (P,) in 0 … 1, higher is better. Pixels chosen at random have the target's
            share of the image as precision at every recall, see `bench.metrics.mask_area`.
        area: area below the whole curve, 0 … 1.
    """

    recall: Tensor
    precision: Tensor
    area: float


_EPSILON, _SMALLEST_NORMAL = torch.finfo(torch.float32).eps, torch.finfo(torch.float32).tiny
"""Relative precision of an f32, and the smallest value with this precision.

A product is recomputed by logarithms if values of its peak · _EPSILON could be smaller than _SMALLEST_NORMAL.
"""
_DROPPED_BITS = 12
"""The bits of an f32 that are dropped to get its bin. 11 of the 23 bits of the fraction remain."""
BINS = (0x3F800000 >> _DROPPED_BITS) + 1


def attended(masks: Sequence[Tensor], size: tuple[int, int], power: float = 1.0) -> Tensor:
    """Return the normalised product of the maps, f4 (B, H, W). If each map of an image is constant, it is uniform."""
    product, constant = torch.ones(()), torch.ones((), dtype=torch.bool)
    for mask in masks:
        low, high = mask.float().flatten(1).aminmax(dim=1)
        peak = high.clamp_min(torch.finfo(torch.float32).tiny)[:, None, None, None]
        full = F.interpolate(mask.float() / peak, size, mode="bilinear", align_corners=False)
        product = full if product.ndim == 0 else product * full
        constant = low == high if constant.ndim == 0 else constant & (low == high)
    product = product.squeeze(1)
    raised = product if power == 1.0 else product**power
    total = raised.sum(dim=(1, 2), keepdim=True)
    underflow = total * (_EPSILON / (size[0] * size[1])) < _SMALLEST_NORMAL
    if power != 1.0:
        underflow |= product.amax(dim=(1, 2), keepdim=True) * _EPSILON ** (1 / power) < _SMALLEST_NORMAL
    if underflow.any():
        raised = torch.where(underflow, _by_logarithms(masks, size, power), raised)
        total = raised.sum(dim=(1, 2), keepdim=True)
    uniform = torch.full_like(raised, 1.0 / (size[0] * size[1]))
    return torch.where((total > 0) & ~constant[:, None, None], raised / total, uniform)


def _by_logarithms(masks: Sequence[Tensor], size: tuple[int, int], power: float) -> Tensor:
    """Return the product of the maps to a power, divided by its peak.

    This is slower than multiplying the maps, but does not underflow.
    """
    total = torch.zeros(())
    for mask in masks:
        peak = mask.double().amax(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        full = F.interpolate(mask.double() / peak, size, mode="bilinear", align_corners=False).log()
        total = full if total.ndim == 0 else total + full
    total = power * total.squeeze(1)
    highest = total.amax(dim=(1, 2), keepdim=True)
    return torch.where(highest > -torch.inf, (total - highest).exp(), 0.0).float()


def zero_everywhere(masks: Sequence[Tensor], size: tuple[int, int], product: Tensor) -> Tensor:
    """Return whether each image's product of the maps is zero everywhere, bool (B,).

    Args:
        masks: the maps.
        size: of the images.
        product: the result of `attended` for these maps, which is uniform for such images.
    """
    low, high = product.flatten(1).aminmax(dim=1)
    if not (low == high).any():
        return low > high
    return (low == high) & (_by_logarithms(masks, size, 1.0).flatten(1).amax(1) == 0)


def share_on(product: Tensor, target: Tensor) -> Tensor:
    """Return the share of the attention on the target, (B,)."""
    return (product * target).sum(dim=(1, 2))


def peak_on(product: Tensor, target: Tensor) -> Tensor:
    """Return 1 if the first maximum in reading order lies on the target, otherwise 0, (B,); 0 if all are equal."""
    low, high = product.flatten(1).aminmax(dim=1)
    peak = product.flatten(1).argmax(dim=1, keepdim=True)
    return (target.flatten(1).gather(1, peak).squeeze(1) & (low < high)).float()


class BatchMaps(NamedTuple):
    """The maps of a batch at image size, and what they should find.

    Attributes:
        product: the normalised product of all maps, f4 (B, H, W).
        last: the normalised map of the last slot, f4 (B, H, W).
        target: bool (B, H, W).
    """

    product: Tensor
    last: Tensor
    target: Tensor


MAP_SCORE_OF: Mapping[str, Callable[[BatchMaps], Tensor]] = {
    MASK_CORRECTNESS: lambda maps: share_on(maps.product, maps.target),
    TPR: lambda maps: share_on(maps.last, maps.target),
    POINTING: lambda maps: peak_on(maps.product, maps.target),
}
"""Name of each of `bench.evaluation.columns.MAP_SCORES` → its value for each question of a batch, (B,)."""


def area_of(target: Tensor) -> Tensor:
    """Return the target's share of the image, (B,)."""
    return target.float().mean(dim=(1, 2))


def histogram_of(product: Tensor, target: Tensor) -> Tensor:
    """Return the number of pixels of each score, on the target and elsewhere: i8 (2, BINS)."""
    scores = product.float().abs()  # changes -0.0 to 0.0, and no other value
    bins = scores.contiguous().view(torch.int32) >> _DROPPED_BITS  # bits of floats ≥ 0 have the order of the floats
    counts = torch.bincount(bins.flatten() + BINS * (~target).flatten(), minlength=2 * BINS)
    return counts.view(2, BINS)


def curve_of(histogram: Tensor, points: int = 101) -> PrecisionRecall:
    """Return precision, recall and average precision of a histogram with one pixel or more on a target."""
    on, off = histogram.flip(1).cumsum(1).double()  # integer sums are the same bits on CUDA in any order
    filled = (histogram.sum(0) > 0).flip(0)
    on, off = on[filled], off[filled]
    precision, recall = on / (on + off), on / on[-1]
    gained = torch.diff(recall, prepend=recall.new_zeros(1))
    wanted = torch.linspace(0, 1, points, dtype=torch.float64, device=recall.device)
    reached = torch.searchsorted(recall, wanted).clamp_max(len(recall) - 1)
    return PrecisionRecall(wanted, precision[reached], float((gained * precision).sum()))


def right_among(logits: Tensor, label: Tensor, number: int) -> Tensor:
    """Return whether the label is among the `number` classes with the largest logits, bool (B,).

    Args:
        logits: (B, K), with K of `number` or more.
        label: i8 (B,).
        number: number of classes.
    """
    right: Tensor = (logits.topk(number, dim=1).indices == label[:, None]).any(dim=1)
    return right


def scale_bin(scale: Tensor) -> Tensor:
    """Return the bin of each scale, i8; −1 outside all bins."""
    edges = torch.tensor([low for low, _ in SCALE_BINS], dtype=scale.dtype, device=scale.device)
    bins = torch.bucketize(scale, edges, right=True) - 1
    return torch.where(scale <= SCALE_BINS[-1][1], bins, -1)


def accuracy_per_scale(correct: Tensor, scale: Tensor) -> dict[str, tuple[float | None, int]]:
    """Return bin name → accuracy (None for an empty bin) and count."""
    result: dict[str, tuple[float | None, int]] = {}
    bins = scale_bin(scale)
    for k, name in enumerate(SCALE_BIN_NAMES):
        inside = bins == k
        n = int(inside.sum())
        result[name] = (float(correct[inside].double().mean()) if n else None, n)
    return result
