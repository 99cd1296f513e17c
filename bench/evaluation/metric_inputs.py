"""Conversion and checks of the arguments of `bench.metrics`.

Pure. An argument with one possible meaning is converted. Any other argument raises a ValueError that explains what to
pass. Shapes: B images of H × W pixels, maps of h × w.
"""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.evaluation.output_checks import names_of, require_map_shapes, unfit_images
from bench.evaluation.plain_tensors import as_tensor, to_plain_tensor
from mnistref.spec import SCALE_BINS

Maps = Sequence[Any] | Tensor | np.ndarray
"""Maps, shallow to deep: (B, 1, h, w) or (B, h, w) each, torch or NumPy; or a single map."""

_FAR = 1e30
"""A map in double precision whose peak is larger than this, or smaller than its inverse, is scaled first."""


_MAX_SIDE, _MAX_POINTS = 1 << 16, 1_000_000
"""Maximal number of pixels of a side of an image, and of recalls of a curve."""
_MAX_COUNT = 2.0**53
"""Maximal number of pixels of a histogram. Floats in double precision represent each number up to it."""


def convert_power(power: object) -> float:
    """Return the exponent of a product of maps as a float.

    Raises:
        ValueError: it is not a finite number above 0.
    """
    if isinstance(power, Tensor | np.ndarray) and power.ndim == 0:
        power = power.item()
    if isinstance(power, bool) or not isinstance(power, Real) or not 0 < float(power) < math.inf:
        raise ValueError(f"power {_short(power)}: pass a finite number above 0, such as 1.0")
    return float(power)


def convert_size(size: Any) -> tuple[int, int]:
    """Return height and width of the images in pixels.

    Raises:
        ValueError: they are not two whole numbers from 1 to 65,536.
    """
    try:
        height, width = (int(side) if side == int(side) else 0 for side in size)
    except (TypeError, ValueError, OverflowError, NotImplementedError):  # the last is of sparse tensors
        height = width = 0
    if not 1 <= height <= _MAX_SIDE or not 1 <= width <= _MAX_SIDE:
        raise ValueError(
            f"size {_short(size)}: pass (height, width) of the images in whole pixels, from 1 to {_MAX_SIDE:,}"
        )
    return height, width


def convert_target(target: object, images: int | None = None) -> Tensor:
    """Return a target as bool (B, H, W).

    Args:
        target: (B, H, W) or (B, 1, H, W), of booleans, of 0 and 1, or of 0 and 255; (H, W) for one image.
        images: B of the maps, if the target belongs to maps.

    Raises:
        ValueError: it has another shape or other values.
    """
    mask = as_tensor(target, "the target")
    if mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask.squeeze(1)
    if mask.ndim == 2 and images in (None, 1):
        mask = mask.unsqueeze(0)
    if mask.ndim != 3:
        raise ValueError(f"a target of shape {_shape(target)}: pass one mask per image, (B, H, W)")
    if 0 in mask.shape[1:]:
        raise ValueError(f"a target of shape {_shape(target)} has no pixels; pass (B, H, W) with H and W of 1 or more")
    if images is not None and len(mask) != images:
        raise ValueError(f"{len(mask)} targets for maps of {images} images: pass one target per image")
    return mask if mask.dtype == torch.bool else _as_bool(mask.detach())


def _as_bool(mask: Tensor) -> Tensor:
    """Return a mask of 0 and 1, or of 0 and 255, as booleans."""
    mask = mask.short() if mask.dtype == torch.int8 else _wide(mask)  # in int8, -1 would equal 255
    if odd := _count(~mask.isfinite()):
        raise ValueError(f"the targets of {odd} of {len(mask)} images contain NaN or infinity; pass booleans")
    inside = mask != 0
    one = 255 if (mask == 255).any() else 1
    if not (mask[inside] == one).all():
        raise ValueError(
            "a target with values other than 0 and 1, or 0 and 255: pass booleans, such as instance == slot + 1 for "
            "an instance map, or mask > 0.5 for a soft mask"
        )
    return inside


def convert_maps(masks: Maps) -> list[Tensor]:
    """Return maps as f4 (B, 1, h, w), or as f8 if they are given so, finite and not negative, on one device.

    Raises:
        ValueError: there is no map, or a map has another shape, or values that are negative or not finite.
    """
    listed = _list_maps(masks)
    if not listed:
        raise ValueError("no maps: a network without attention cannot be measured; pass one map or more")
    maps = [_with_channel(as_tensor(mask, name), name) for mask, name in zip(listed, names_of(listed), strict=True)]
    require_map_shapes(maps)
    for mask, name in zip(maps, names_of(maps), strict=True):
        _require_finite_and_not_negative(mask, name)
    return [_in_range(mask.to(maps[0].device)) for mask in maps]


def _list_maps(masks: Maps) -> list[Any]:
    """Return the maps as a list. A single tensor or array may be one map, or several stacked maps."""
    if isinstance(masks, Tensor):
        masks = to_plain_tensor(masks, "the maps")
    if isinstance(masks, Tensor | np.ndarray):
        if masks.ndim == 5:
            return list(masks)
        if masks.ndim == 4 and masks.shape[1] != 1:
            raise ValueError(
                f"one tensor {tuple(masks.shape)} as maps: pass a list of maps (B, 1, h, w), with one channel each"
            )
        return [masks]
    if isinstance(masks, Sequence) and not isinstance(masks, str | bytes):
        return list(masks)
    raise ValueError(f"maps as {type(masks).__name__}: pass a list of maps (B, 1, h, w)")


def _with_channel(mask: Tensor, name: str) -> Tensor:
    if mask.ndim == 2:
        mask = mask.unsqueeze(0)
    if mask.ndim == 3:
        mask = mask.unsqueeze(1)
    if mask.ndim != 4:
        raise ValueError(f"{name} has shape {tuple(mask.shape)}: pass (B, 1, h, w)")
    return mask


def _require_finite_and_not_negative(mask: Tensor, name: str) -> None:
    odd, below = map(_count, unfit_images([_wide(mask.detach())]))
    if odd:
        raise ValueError(
            f"{name}: {odd} of {len(mask)} images contain NaN or infinity; correct the maps, or leave these images out"
        )
    if below:
        raise ValueError(
            f"{name}: {below} of {len(mask)} images have values below zero; pass clamp_min(0) to keep positive values, "
            "or abs() to keep magnitudes"
        )


def _wide(mask: Tensor) -> Tensor:
    """Return floats in single precision at least, because some operations do not support narrower types."""
    return mask.float() if mask.is_floating_point() and mask.dtype != torch.float64 else mask


def _in_range(mask: Tensor) -> Tensor:
    """Return a map in single precision, or in double precision if it is given so.

    Values outside the range of single precision are scaled into it, which changes no metric.
    """
    if mask.dtype == torch.float64 and len(mask):
        peak = mask.amax(dim=(2, 3), keepdim=True)
        far = (peak > _FAR) | ((peak < 1 / _FAR) & (peak > 0))
        mask = torch.where(far, mask / torch.where(far, peak, 1), mask)
    return (mask if mask.dtype == torch.float64 else mask.float()) + 0.0  # adding 0.0 turns -0.0 into 0.0


def convert_maps_and_target(masks: Maps, target: object, power: object) -> tuple[list[Tensor], Tensor, float]:
    """Return maps, target and power, checked and converted.

    Raises:
        ValueError: the shapes do not match, a target has no pixel, or one of the arguments is not allowed.
    """
    maps, power = convert_maps(masks), convert_power(power)
    _require_one_image_per_map(maps, target)
    mask = convert_target(target, len(maps[0])).to(maps[0].device)
    require_map_shapes(maps, size=(mask.shape[1], mask.shape[2]))
    if empty := _count(~mask.flatten(1).any(dim=1)):
        raise ValueError(
            f"{empty} of {len(mask)} targets have no pixel, so that metrics are undefined; leave these images out"
        )
    return maps, mask, power


def _require_one_image_per_map(maps: Sequence[Tensor], target: Any) -> None:
    """Raise ValueError if a list seems to have the map of each image, where it has the map of each slot."""
    if len(maps) == 1 or len(maps[0]) != 1:  # a nested target has no length
        return
    targets = len(target) if isinstance(target, Sequence) or getattr(target, "ndim", 0) > 2 else 1
    if targets == len(maps):
        raise ValueError(
            f"a list of {len(maps)} maps is one map for each slot of a network, so these are maps of 1 image "
            f"for {targets} targets; pass the maps of all images in one array (B, h, w), such as numpy.stack(maps)"
        )


def convert_histogram(histogram: object) -> Tensor:
    """Return counts of pixels on the target and elsewhere as i8 (2, N).

    Raises:
        ValueError: these are not counts, or no pixel is on the target.
    """
    counts = as_tensor(histogram, "the histogram").detach()
    if counts.ndim != 2 or len(counts) != 2 or not counts.shape[1]:
        raise ValueError(f"a histogram of shape {tuple(counts.shape)}: pass what score_histogram returns")
    if (
        counts.dtype == torch.bool
        or not counts.isfinite().all()
        or (counts < 0).any()
        or (counts != counts.round()).any()
        or counts.double().sum() > _MAX_COUNT
    ):
        raise ValueError("a histogram with values that are not counts of pixels: pass what score_histogram returns")
    if not counts[0].any():
        raise ValueError("no pixel lies on a target, so that recall is undefined: pass the histogram of other images")
    return counts.long()


def convert_points(points: object) -> int:
    """Return the number of recalls at which a curve is given.

    Raises:
        ValueError: it is not a whole number from 2 to 1,000,000.
    """
    if isinstance(points, bool) or not isinstance(points, int | np.integer) or not 2 <= points <= _MAX_POINTS:
        raise ValueError(f"points {_short(points)}: pass a whole number from 2 to {_MAX_POINTS:,}")
    return int(points)


def convert_scales(scale: object) -> Tensor:
    """Return scales as floats of any shape.

    Raises:
        ValueError: a scale is not finite.
    """
    scales = as_tensor(scale, "the scales").detach()
    scales = scales if scales.is_floating_point() else scales.double()
    if odd := _count(~scales.isfinite()):
        raise ValueError(f"{odd} of {scales.numel()} scales are NaN or infinity; leave these questions out")
    return scales


def convert_answers(correct: object, scale: object) -> tuple[Tensor, Tensor]:
    """Return which answers are right, bool (T,), and their scales, (T,).

    Raises:
        ValueError: shapes or values are not allowed, or a scale is outside all bins.
    """
    right, scales = as_tensor(correct, "correct").detach(), convert_scales(scale)
    if right.ndim != 1 or scales.ndim != 1 or len(right) != len(scales):
        raise ValueError(
            f"correct of shape {tuple(right.shape)} and scales of shape {tuple(scales.shape)}: pass (T,) and (T,), "
            "one value per question"
        )
    if right.dtype != torch.bool and not ((right == 0) | (right == 1)).all():
        raise ValueError("correct has values other than booleans, or 0 and 1: pass answer == label")
    low, high = SCALE_BINS[0][0], SCALE_BINS[-1][1]
    if outside := _count((scales < low) | (scales > high)):
        raise ValueError(
            f"{outside} of {len(scales)} scales lie outside the bins, {low:g} … {high:g}; leave these questions out"
        )
    return right.bool(), scales.to(right.device)


def _count(flags: Tensor) -> int:
    """Return how many images, or how many numbers of a vector, have any flag."""
    return int((flags.flatten(1).any(dim=1) if flags.ndim > 1 else flags).sum())


def _short(value: object) -> str:
    """Return the beginning of a value's representation, in one line."""
    return " ".join(repr(value).split())[:60]


def _shape(value: object) -> str:
    return str(tuple(value.shape)) if hasattr(value, "shape") else f"of {type(value).__name__}"
