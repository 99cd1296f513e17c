"""The measures without checks, for input that is known to be right. `bench.metrics` checks first and documents them.

Shapes: B images, H × W pixels. `masks` are maps (B, 1, h, w), shallow to deep, finite and not below zero. `product` is
what `attended` returns, f4 (B, H, W). `target` is bool (B, H, W).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from mnistref.spec import SCALE_BIN_NAMES, SCALE_BINS


class PrecisionRecall(NamedTuple):
    """`precision` at each `recall`, both (P,) in 0 … 1, higher is better; `area` below the whole curve, 0 … 1.

    Pixels chosen at random have the target's share of the image, see `bench.metrics.mask_area`, as precision at every
    recall.
    """

    recall: Tensor
    precision: Tensor
    area: float


_EPSILON, _LEAST = torch.finfo(torch.float32).eps, torch.finfo(torch.float32).tiny
"""The relative precision of a f32, and the least value that has it. A product is computed again where what is below
its peak by the first might be below the second."""
_DROPPED = 12
"""Bits of a f32 that its bin leaves out: 11 of its fraction's 23 stay, so that a bin is a 2,048th of its value wide or
less."""
BINS = (0x3F800000 >> _DROPPED) + 1


def attended(masks: Sequence[Tensor], size: tuple[int, int], power: float = 1.0) -> Tensor:
    """Return the normalised product of the maps, f4 (B, H, W)."""
    product = torch.ones(())
    for mask in masks:
        peak = mask.float().amax(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
        full = F.interpolate(mask.float() / peak, size, mode="bilinear", align_corners=False)
        product = full if product.ndim == 0 else product * full
    product = product.squeeze(1)
    raised = product if power == 1.0 else product**power
    total = raised.sum(dim=(1, 2), keepdim=True)
    lost = total * (_EPSILON / (size[0] * size[1])) < _LEAST
    if power != 1.0:
        lost |= product.amax(dim=(1, 2), keepdim=True) * _EPSILON ** (1 / power) < _LEAST
    if lost.any():
        raised = torch.where(lost, _by_logarithms(masks, size, power), raised)
        total = raised.sum(dim=(1, 2), keepdim=True)
    uniform = torch.full_like(raised, 1.0 / (size[0] * size[1]))
    return torch.where(total > 0, raised / total, uniform)


def _by_logarithms(masks: Sequence[Tensor], size: tuple[int, int], power: float) -> Tensor:
    """Return the product of the maps to a power, divided by its peak: slower, and no product is too small for it."""
    total = torch.zeros(())
    for mask in masks:
        peak = mask.double().amax(dim=(2, 3), keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        full = F.interpolate(mask.double() / peak, size, mode="bilinear", align_corners=False).log()
        total = full if total.ndim == 0 else total + full
    total = power * total.squeeze(1)
    highest = total.amax(dim=(1, 2), keepdim=True)
    return torch.where(highest > -torch.inf, (total - highest).exp(), 0.0).float()


def share_on(product: Tensor, target: Tensor) -> Tensor:
    """Return the share of the attention on the target, (B,)."""
    return (product * target).sum(dim=(1, 2))


def peak_on(product: Tensor, target: Tensor) -> Tensor:
    """Return 1 where the first maximum in reading order lies on the target, else 0, (B,)."""
    peak = product.flatten(1).argmax(dim=1, keepdim=True)
    return target.flatten(1).gather(1, peak).squeeze(1).float()


def area_of(target: Tensor) -> Tensor:
    """Return the target's share of the image, (B,)."""
    return target.float().mean(dim=(1, 2))


def histogram_of(product: Tensor, target: Tensor) -> Tensor:
    """Count the pixels of each score, on the target and elsewhere: i8 (2, BINS)."""
    scores = product.float().abs()  # which clears the sign of -0.0 and changes nothing else
    bins = scores.contiguous().view(torch.int32) >> _DROPPED  # floats that are not negative are ordered as their bits
    counts = torch.bincount(bins.flatten() + BINS * (~target).flatten(), minlength=2 * BINS)
    return counts.view(2, BINS)


def curve_of(histogram: Tensor, points: int = 101) -> PrecisionRecall:
    """Return precision, recall and average precision of a histogram with a pixel on a target."""
    on, off = histogram.flip(1).cumsum(1).double()  # whole numbers, which CUDA adds to the same bits in any order
    kept = (histogram.sum(0) > 0).flip(0)
    on, off = on[kept], off[kept]
    precision, recall = on / (on + off), on / on[-1]
    gained = torch.diff(recall, prepend=recall.new_zeros(1))
    wanted = torch.linspace(0, 1, points, dtype=torch.float64, device=recall.device)
    reached = torch.searchsorted(recall, wanted).clamp_max(len(recall) - 1)
    return PrecisionRecall(wanted, precision[reached], float((gained * precision).sum()))


def scale_bin(scale: Tensor) -> Tensor:
    """Return the bin of each scale, i8; −1 outside all bins."""
    edges = torch.tensor([low for low, _ in SCALE_BINS], dtype=scale.dtype, device=scale.device)
    bins = torch.bucketize(scale, edges, right=True) - 1
    return torch.where(scale <= SCALE_BINS[-1][1], bins, -1)


def accuracy_per_scale(correct: Tensor, scale: Tensor) -> dict[str, tuple[float | None, int]]:
    """Return accuracy (None for an empty bin) and count of each bin by its name."""
    result: dict[str, tuple[float | None, int]] = {}
    bins = scale_bin(scale)
    for k, name in enumerate(SCALE_BIN_NAMES):
        inside = bins == k
        n = int(inside.sum())
        result[name] = (float(correct[inside].double().mean()) if n else None, n)
    return result
