"""Metrics of attention maps and answers: functions of tensors or NumPy arrays. Pure.

Shapes: B images, H × W pixels, h × w positions of a map, T answers. All functions check their arguments, see
`bench.evaluation.metric_inputs`:

- `masks` are the maps of a network, shallow to deep: (B, 1, h, w) or (B, h, w) each, of any real type, finite, not
  negative, at most as large as the images. A single map need not be in a list.
- `target` marks the ink of the queried digits: bool (B, H, W). 0 and 1, 0 and 255, the shape (B, 1, H, W), and (H, W)
  for one image are accepted too.

Ambiguous arguments raise a ValueError that explains what to pass. No images (B = 0) give an empty result.
"""

import torch
from torch import Tensor

from bench.evaluation import unchecked_metrics as unchecked
from bench.evaluation.metric_inputs import (
    Maps,
    convert_answers,
    convert_histogram,
    convert_maps,
    convert_maps_and_target,
    convert_points,
    convert_power,
    convert_scales,
    convert_size,
    convert_target,
)
from bench.evaluation.output_checks import require_map_shapes
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
    """Return the normalised product of the maps at image size: (B, H, W), summing to 1.

    Each map is upsampled bilinearly (`align_corners=False`). If the product underflows in single precision, it is
    computed from logarithms in double precision. If the product is zero at every pixel, or each map is constant, the
    result is uniform, with exactly the same value at every pixel.

    Args:
        masks: the maps of all slots.
        size: (H, W) of the images.
        power: exponent of the product before it is normalised; LTPA uses 0.5.

    Raises:
        ValueError: a map is negative, not finite, of a wrong shape or larger than `size`; `size` is not two positive
            integers; or `power` is not a positive finite number.
    """
    maps, size, power = convert_maps(masks), convert_size(size), convert_power(power)
    require_map_shapes(maps, size=size)
    return _attended(maps, size, power)


def mask_correctness(masks: Maps, target: object, power: float = 1.0) -> Tensor:
    """Return the share of the attention that lies on the target: Σ product · target (ARNN Table 2).

    Args:
        masks: the maps of all slots.
        target: bool (B, H, W), the ink of the queried digit; one pixel or more per image.
        power: exponent of the product, as in `attended`.

    Returns:
        (B,) in 0 … 1, higher is better. The uniform map scores the area of the target, see `mask_area`.
    """
    return _share_on(*_product(masks, target, power))


def true_positive_ratio(masks: Maps, target: object, power: float = 1.0) -> Tensor:
    """Return `mask_correctness` of the last map only (PAN Table 1b).

    Args:
        masks: the maps of all slots.
        target: bool (B, H, W), the ink of the queried digit; one pixel or more per image.
        power: exponent of the map, as in `attended`.

    Returns:
        (B,) in 0 … 1, higher is better.
    """
    maps, target, power = convert_maps_and_target(masks, target, power)
    return _share_on(_attended(maps[-1:], tuple(target.shape[1:]), power), target)


def pointing_game(masks: Maps, target: object, power: float = 1.0) -> Tensor:
    """Return whether the maximum of the product lies on the target (Zhang et al., ECCV 2016).

    A constant map has no maximum, and scores 0; so does a product that is zero everywhere. If several, but not all
    pixels share the maximum, the first one counts, row by row from the top left. A coarse map whose maximum is at its
    edge has several such pixels.

    Args:
        masks: the maps of all slots.
        target: bool (B, H, W), the ink of the queried digit; one pixel or more per image.
        power: exponent of the product, as in `attended`.

    Returns:
        (B,), 0 or 1, higher is better.
    """
    product, target = _product(masks, target, power)
    return unchecked.peak_on(product, target) if len(target) else product.new_zeros(0)


def mask_area(target: object) -> Tensor:
    """Return the target's share of the image, which is the `mask_correctness` of the uniform map.

    Args:
        target: bool (B, H, W). A target without a pixel has the area 0.

    Returns:
        (B,) in 0 … 1.
    """
    return unchecked.area_of(convert_target(target))


def score_histogram(masks: Maps, target: object, power: float = 1.0) -> Tensor:
    """Return histograms of the attention per pixel: i8 (2, BINS), for pixels on the target and for all others.

    To evaluate a test set in parts, add up the histograms, and pass the sum to `precision_recall`. The relative width
    of a bin is 1/2048 or less, for values of any magnitude.

    Args:
        masks: the maps of all slots.
        target: bool (B, H, W), the ink of the queried digit; one pixel or more per image.
        power: exponent of the product, as in `attended`.
    """
    return unchecked.histogram_of(*_product(masks, target, power))


def precision_recall(histogram: object, points: int = 101) -> PrecisionRecall:
    """Return precision and recall of pixels over thresholds of the attention (PAN Fig. 6b).

    A pixel is predicted to belong to the queried digit if the normalised product of the maps is at least the threshold.
    Precision and recall are computed over the pixels of all images. `area` is the average precision, Σ (Rₙ − Rₙ₋₁) Pₙ
    over all thresholds.

    Args:
        histogram: i8 (2, BINS), from `score_histogram`, with one pixel or more on a target.
        points: P, 2 … 1,000,000: the curve is given at P recalls, evenly spaced from 0 to 1, each for the highest
            threshold that reaches the recall.
    """
    curve = unchecked.curve_of(convert_histogram(histogram), convert_points(points))
    return curve._replace(area=min(curve.area, 1.0))  # rounding may exceed 1


def scale_bin(scale: object) -> Tensor:
    """Return the index of the bin of `SCALE_BINS` that contains each scale, i8 (T,); −1 outside all bins.

    A bin contains its lower edge; the last bin also contains 3.0.

    Args:
        scale: (T,).

    Raises:
        ValueError: a scale is not finite.
    """
    return unchecked.scale_bin(convert_scales(scale))


def accuracy_per_scale(correct: object, scale: object) -> dict[str, tuple[float | None, int]]:
    """Return accuracy and count in each scale bin of ARNN Table 2: [0.5, 1.0), … [2.5, 3.0].

    Args:
        correct: bool (T,), or 0 and 1.
        scale: (T,), scale of the queried digit, 0.5 … 3.0.

    Returns:
        Bin name → (accuracy in 0 … 1, or None for an empty bin; count).
    """
    return unchecked.accuracy_per_scale(*convert_answers(correct, scale))


def _product(masks: Maps, target: object, power: float) -> tuple[Tensor, Tensor]:
    """Return the normalised product of the maps, and the target."""
    maps, target, power = convert_maps_and_target(masks, target, power)
    return _attended(maps, tuple(target.shape[1:]), power), target


def _share_on(product: Tensor, target: Tensor) -> Tensor:
    """Return the share of the attention on the target, (B,). Rounding may exceed 1, which is corrected."""
    return unchecked.share_on(product, target).clamp(0, 1)


def _attended(maps: list[Tensor], size: tuple[int, ...], power: float) -> Tensor:
    """Return `attended` of maps that are already checked; an empty tensor if there are no images."""
    height, width = size
    if not len(maps[0]):
        return torch.zeros(0, height, width, device=maps[0].device)
    return unchecked.attended(maps, (height, width), power)
