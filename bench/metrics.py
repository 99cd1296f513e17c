"""The measures: tensors → numbers. Pure.

Shapes: B images, H × W pixels, h × w of a map. Every function checks what it is given, see `evaluation.metric_inputs`:

- `masks` are a network's maps, shallow to deep: (B, 1, h, w) or (B, h, w) each, of any real type, finite, not below
  zero, not larger than the images. A single map need not stand in a list.
- `target` is the ink of the digits asked about: bool (B, H, W). 0 and 1, 0 and 255, and (B, 1, H, W) mean the same; so
  does (H, W) for one image.

NumPy arrays do as well as tensors. What could mean two things raises a ValueError that says what to pass. No images
(B = 0) give an empty result.
"""

from typing import Any

import torch
from torch import Tensor

from bench.evaluation import unchecked_metrics as unchecked
from bench.evaluation.metric_inputs import (
    Maps,
    answers_of,
    check_points,
    check_power,
    check_shapes,
    check_size,
    histogram_of,
    maps_of,
    pair_of,
    scales_of,
    target_of,
)
from bench.evaluation.unchecked_metrics import BINS, PrecisionRecall

__all__ = [
    "BINS",
    "PrecisionRecall",
    "accuracy_per_scale",
    "attended",
    "mask_area",
    "mask_correctness",
    "pointing_game",
    "precision_recall",
    "scale_bin",
    "score_histogram",
    "true_positive_ratio",
]


def attended(masks: Maps, size: tuple[int, int], power: float = 1.0) -> Tensor:
    """Product of the maps, each upsampled bilinearly (`align_corners=False`) to `size`: (B, H, W), summing to 1.

    `power`: what the product is raised to first; LTPA takes the square root, 0.5.

    Each map is first divided by its maximum, which changes nothing. A product that is too small for single precision is
    computed by logarithms in double precision, so that it does not vanish. A product counts as the uniform map only if
    at every pixel a map is zero.
    """
    maps, size, power = maps_of(masks), check_size(size), check_power(power)
    check_shapes(maps, size=size)
    return _attended(maps, size, power)


def mask_correctness(masks: Maps, target: Any, power: float = 1.0) -> Tensor:
    """Share of the attention that lies on the target: Σ product · target. ARNN Table 2.

    Args:
        masks: every slot's map.
        target: bool (B, H, W), the queried digit's ink; a pixel or more in each image.
        power: of the product, as in `attended`.

    Returns:
        (B,), 0 … 1, higher is better; the uniform map scores the target's area, see `mask_area`.
    """
    return unchecked.share_on(*_product(masks, target, power))


def true_positive_ratio(masks: Maps, target: Any, power: float = 1.0) -> Tensor:
    """`mask_correctness` of the last slot's map alone. PAN Table 1b. → (B,), 0 … 1, higher is better."""
    maps, target, power = pair_of(masks, target, power)
    return unchecked.share_on(_attended(maps[-1:], tuple(target.shape[1:]), power), target)


def pointing_game(masks: Maps, target: Any, power: float = 1.0) -> Tensor:
    """Whether the product's maximum lies on the target (Zhang et al., ECCV 2016). → (B,), 0 or 1, higher is better.

    Of pixels that share the maximum the first counts, row by row from the top left. A map that is alike everywhere
    thus points at the top left pixel. A coarse map that is largest at its edge has a few equal pixels there.
    """
    product, target = _product(masks, target, power)
    return unchecked.peak_on(product, target) if len(target) else product.new_zeros(0)


def mask_area(target: Any) -> Tensor:
    """Share of the image that is target, which is what the uniform map scores. bool (B, H, W) → (B,), 0 … 1.

    A target without a pixel has the area 0.
    """
    return unchecked.area_of(target_of(target))


def score_histogram(masks: Maps, target: Any, power: float = 1.0) -> Tensor:
    """How many pixels have which share of the attention: i8 (2, BINS), of those on the target and of all others.

    Args as those of `mask_correctness`. Histograms of parts of a test set are added up for `precision_recall`. Bins are
    a 2,048th of their value wide or less, however small it is.
    """
    return unchecked.histogram_of(*_product(masks, target, power))


def precision_recall(histogram: Any, points: int = 101) -> PrecisionRecall:
    """Precision and recall of pixels as those of the queried digit, over thresholds of the attention. PAN Fig. 6b.

    A pixel is called the digit's where the normalised product of the maps is at least the threshold: precision is the
    share of the digit's pixels among those called so, recall the share of them among the digit's, over all images.
    `area` is the average precision, Σ (Rₙ − Rₙ₋₁) Pₙ over all thresholds.

    Args:
        histogram: i8 (2, BINS), of `score_histogram`, with at least one pixel on a target.
        points: P, 2 or more, at how many recalls, evenly from 0 to 1, the curve is given: by the highest threshold
            that reaches them.
    """
    return unchecked.curve_of(histogram_of(histogram), check_points(points))


def scale_bin(scale: Any) -> Tensor:
    """(T,) → which of the `SCALE_BINS` each scale lies in, i8 (T,): the lower edge belongs to a bin, 3.0 to the last.

    −1 outside all of them. A scale that is not finite is a ValueError.
    """
    return unchecked.scale_bin(scales_of(scale))


def accuracy_per_scale(correct: Any, scale: Any) -> dict[str, tuple[float | None, int]]:
    """Accuracy and count in each scale bin of ARNN Table 2: [0.5, 1.0), … [2.5, 3.0].

    Args:
        correct: bool (T,), or 0 and 1.
        scale: (T,), of the queried digit, 0.5 … 3.0.

    Returns:
        bin name → (accuracy in 0 … 1, or None for an empty bin; count).
    """
    return unchecked.accuracy_per_scale(*answers_of(correct, scale))


def _product(masks: Maps, target: Any, power: float) -> tuple[Tensor, Tensor]:
    """The normalised product of the maps, and the target."""
    maps, target, power = pair_of(masks, target, power)
    return _attended(maps, tuple(target.shape[1:]), power), target


def _attended(maps: list[Tensor], size: tuple[int, ...], power: float) -> Tensor:
    """As `attended`, of maps that are checked; of no images an empty tensor."""
    height, width = size
    if not len(maps[0]):
        return torch.zeros(0, height, width, device=maps[0].device)
    return unchecked.attended(maps, (height, width), power)
