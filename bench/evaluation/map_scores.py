"""How well one map finds one object: measures of each image, without checks of the arguments.

Shapes: B images, H × W pixels. `scores` are f4 (B, H, W), finite, not negative; a larger score claims that the pixel
matters more. `target` is bool (B, H, W). Pixels with equal scores have no order, so each measure treats them as one
group; the uniform map therefore scores the target's share of the image. If a target has no pixel, every score is 0.
"""

import torch
from torch import Tensor

_OTSU_BINS = 256


def average_precision(scores: Tensor, target: Tensor) -> Tensor:
    """Return the average precision of the pixels of each image, Σ (Rₙ − Rₙ₋₁) Pₙ over all thresholds: f8 (B,).

    Equal to `sklearn.metrics.average_precision_score` for each image.
    """
    ordered, order = scores.flatten(1).sort(dim=1, descending=True)
    found = target.flatten(1).gather(1, order).double().cumsum(1)
    ends = _group_ends(ordered)
    rank = torch.arange(1, found.shape[1] + 1, device=found.device, dtype=torch.float64)
    found_at_ends = torch.where(ends, found, 0).cummax(1).values
    gained = torch.diff(found_at_ends, dim=1, prepend=found.new_zeros(len(found), 1))
    return (gained * (found / rank) * ends).sum(1) / found[:, -1].clamp_min(1)


def _group_ends(ordered: Tensor) -> Tensor:
    """Return which positions of sorted scores (B, P) are the last of their value."""
    last = torch.ones_like(ordered[:, :1], dtype=torch.bool)
    return torch.cat([ordered[:, 1:] != ordered[:, :-1], last], dim=1)


def rank_accuracy(scores: Tensor, target: Tensor) -> Tensor:
    """Return the share of the K highest pixels that lie on the target of K pixels: f8 (B,).

    Arras et al., Information Fusion 81, 2022 ("relevance rank accuracy"). If the K-th pixel has the score of other
    pixels, they count by the share of them that is on the target.
    """
    flat, on = scores.flatten(1), target.flatten(1)
    size = on.sum(1)
    threshold = flat.sort(dim=1, descending=True).values.gather(1, (size - 1).clamp_min(0)[:, None])
    above, tied = flat > threshold, flat == threshold
    remaining = (size - above.sum(1)).double()
    share_of_tied = (tied & on).sum(1).double() / tied.sum(1)
    return ((above & on).sum(1) + remaining * share_of_tied) / size.clamp_min(1)


def iou_after_otsu(scores: Tensor, target: Tensor) -> Tensor:
    """Return the intersection over union of the target and the pixels above Otsu's threshold: f8 (B,).

    The threshold is that of `skimage.filters.threshold_otsu` (Otsu, 1979) with 256 bins from the smallest to the
    largest score of the image. A constant map selects every pixel.
    """
    flat, on = scores.flatten(1).double(), target.flatten(1)
    selected = flat > otsu_threshold(flat)[:, None]
    selected |= (flat == flat[:, :1]).all(1, keepdim=True)
    union = (selected | on).sum(1)
    return (selected & on).sum(1).double() / union


def otsu_threshold(flat: Tensor) -> Tensor:
    """Return the center of the bin that maximises the variance between the classes below and above: f8 (B,).

    Args:
        flat: f8 (B, P).
    """
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    width = (high - low) / _OTSU_BINS
    bins = ((flat - low) / torch.where(width > 0, width, 1)).long().clamp_(max=_OTSU_BINS - 1)
    counts = torch.zeros(len(flat), _OTSU_BINS, dtype=torch.float64, device=flat.device)
    counts.scatter_add_(1, bins, torch.ones_like(flat))
    centers = low + width * (torch.arange(_OTSU_BINS, dtype=torch.float64, device=flat.device) + 0.5)
    sums = counts * centers
    below, above = counts.cumsum(1)[:, :-1], counts.flip(1).cumsum(1).flip(1)[:, 1:]
    mean_below = sums.cumsum(1)[:, :-1] / below.clamp_min(1)
    mean_above = sums.flip(1).cumsum(1).flip(1)[:, 1:] / above.clamp_min(1)
    between = below * above * (mean_below - mean_above) ** 2
    return centers.gather(1, between.argmax(1, keepdim=True)).squeeze(1)
