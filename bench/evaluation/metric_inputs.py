"""Check and convert what the functions of `bench.metrics` are given. Pure.

Input that has one meaning is converted. Any other input raises a ValueError that says what to pass instead.
Shapes: B images of H × W pixels, maps of h × w.
"""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.evaluation.output_checks import check_shapes, names_of, unfit_images
from bench.evaluation.plain_tensors import as_tensor, plain
from mnistref.spec import SCALE_BINS

Maps = Sequence[Any] | Tensor | np.ndarray
"""Maps, shallow to deep: (B, 1, h, w) or (B, h, w) each, torch or NumPy; or a single map."""

_FAR = 1e30
"""A map in double precision whose peak is further than this from 1 is scaled before it becomes single precision."""


def check_power(power: Any) -> float:
    """Return the power that a product of maps is raised to: a finite number above 0."""
    if isinstance(power, Tensor | np.ndarray) and power.ndim == 0:
        power = power.item()
    if isinstance(power, bool) or not isinstance(power, Real) or not 0 < float(power) < math.inf:
        raise ValueError(f"power {power!r}: pass a finite number above 0, such as 1.0")
    return float(power)


def check_size(size: Any) -> tuple[int, int]:
    """Return the images' height and width in pixels, 1 or more each."""
    try:
        height, width = (int(side) if side == int(side) else 0 for side in size)
    except (TypeError, ValueError, OverflowError):
        height = width = 0
    if height < 1 or width < 1:
        raise ValueError(f"size {size!r}: pass (height, width) of the images in whole pixels, 1 or more each")
    return height, width


def target_of(target: Any, images: int | None = None) -> Tensor:
    """Return a target as bool (B, H, W).

    Args:
        target: (B, H, W) or (B, 1, H, W), of booleans, of 0 and 1, or of 0 and 255; (H, W) for one image.
        images: B of the maps, if the target belongs to maps.
    """
    mask = as_tensor(target, "the target")
    if mask.ndim == 4 and mask.shape[1] == 1:
        mask = mask.squeeze(1)
    if mask.ndim == 2 and images in (None, 1):
        mask = mask.unsqueeze(0)
    if mask.ndim != 3:
        raise ValueError(f"a target of shape {_shape(target)}: pass one mask an image, (B, H, W)")
    if 0 in mask.shape[1:]:
        raise ValueError(f"a target of shape {_shape(target)} has no pixels; pass (B, H, W) with H and W of 1 or more")
    if images is not None and len(mask) != images:
        raise ValueError(f"{len(mask)} targets for maps of {images} images: pass one target an image")
    return mask if mask.dtype == torch.bool else _as_bool(mask.detach())


def _as_bool(mask: Tensor) -> Tensor:
    """Return a mask of 0 and 1, or of 0 and 255, as booleans."""
    mask = mask.short() if mask.dtype == torch.int8 else _wide(mask)  # in which -1 would equal 255
    if odd := _count(~mask.isfinite()):
        raise ValueError(f"the targets of {odd} of {len(mask)} images hold NaN or infinity; pass booleans")
    inside = mask != 0
    one = 255 if (mask == 255).any() else 1
    if not (mask[inside] == one).all():
        raise ValueError(
            "a target of other values than 0 and 1, or 0 and 255: pass booleans; of an instance map "
            "instance == slot + 1, of a soft mask a threshold such as mask > 0.5"
        )
    return inside


def maps_of(masks: Maps) -> list[Tensor]:
    """Return maps as f4 (B, 1, h, w) each, or f8 if they are given so, finite and not below zero, on one device."""
    given = _listed(masks)
    if not given:
        raise ValueError("no maps: this network has no attention to measure")
    maps = [_with_channel(as_tensor(mask, name), name) for mask, name in zip(given, names_of(given), strict=True)]
    check_shapes(maps)
    for mask, name in zip(maps, names_of(maps), strict=True):
        _check_values(mask, name)
    return [_in_range(mask.to(maps[0].device)) for mask in maps]


def _listed(masks: Maps) -> list[Any]:
    """Return the maps as a list, which a single tensor or array may be one of or stack."""
    if isinstance(masks, Tensor):
        masks = plain(masks, "the maps")
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


def _check_values(mask: Tensor, name: str) -> None:
    odd, below = map(_count, unfit_images([_wide(mask.detach())]))
    if odd:
        raise ValueError(f"{name}: {odd} of {len(mask)} images hold NaN or infinity; leave them out, or repair them")
    if below:
        raise ValueError(
            f"{name}: {below} of {len(mask)} images are below zero somewhere; pass clamp_min(0), which keeps positive "
            "evidence, or abs(), which keeps its size"
        )


def _wide(mask: Tensor) -> Tensor:
    """Return floats in single precision at least, so that every operation knows them."""
    return mask.float() if mask.is_floating_point() and mask.dtype != torch.float64 else mask


def _in_range(mask: Tensor) -> Tensor:
    """Return a map in single precision, or in double if it is given so. What lies outside the range of single precision
    is scaled into it, which changes no measure."""
    if mask.dtype == torch.float64 and len(mask):
        peak = mask.amax(dim=(2, 3), keepdim=True)
        far = (peak > _FAR) | ((peak < 1 / _FAR) & (peak > 0))
        mask = torch.where(far, mask / torch.where(far, peak, 1), mask)
    return (mask if mask.dtype == torch.float64 else mask.float()) + 0.0  # which makes -0.0 a 0.0


def pair_of(masks: Maps, target: Any, power: Any) -> tuple[list[Tensor], Tensor, float]:
    """Return maps, target and power, checked and converted, that belong to each other.

    A target without a pixel is a ValueError, because nothing can be found there.
    """
    maps, power = maps_of(masks), check_power(power)
    mask = target_of(target, len(maps[0])).to(maps[0].device)
    check_shapes(maps, size=(mask.shape[1], mask.shape[2]))
    if empty := _count(~mask.flatten(1).any(dim=1)):
        raise ValueError(
            f"{empty} of {len(mask)} targets have no pixel: nothing can be found there, and there is no recall; "
            "leave these images out"
        )
    return maps, mask, power


def histogram_of(histogram: Any) -> Tensor:
    """Return counts of pixels on the target and elsewhere as i8 (2, N), of which one or more are on the target."""
    counts = as_tensor(histogram, "the histogram").detach()
    if counts.ndim != 2 or len(counts) != 2 or not counts.shape[1]:
        raise ValueError(f"a histogram of shape {tuple(counts.shape)}: pass what score_histogram returns")
    if (
        counts.dtype == torch.bool
        or not counts.isfinite().all()
        or (counts < 0).any()
        or (counts != counts.round()).any()
    ):
        raise ValueError("a histogram of other values than counts, 0 or more: pass what score_histogram returns")
    if not counts[0].any():
        raise ValueError("no pixel lies on a target: there is no recall")
    return counts


def check_points(points: Any) -> int:
    """Return at how many recalls a curve is given, 2 or more."""
    if isinstance(points, bool) or not isinstance(points, int | np.integer) or points < 2:
        raise ValueError(f"points {points!r}: pass a whole number, 2 or more")
    return int(points)


def scales_of(scale: Any) -> Tensor:
    """Return scales as finite floats of any shape."""
    scales = as_tensor(scale, "the scales").detach()
    scales = scales if scales.is_floating_point() else scales.double()
    if odd := _count(~scales.isfinite()):
        raise ValueError(f"{odd} of {scales.numel()} scales are NaN or infinity; leave these questions out")
    return scales


def answers_of(correct: Any, scale: Any) -> tuple[Tensor, Tensor]:
    """Return which answers are right, bool (T,), and the scales, (T,), all of which lie in a bin."""
    right, scales = as_tensor(correct, "correct").detach(), scales_of(scale)
    if right.ndim != 1 or scales.ndim != 1 or len(right) != len(scales):
        raise ValueError(
            f"correct of shape {tuple(right.shape)} and scales of shape {tuple(scales.shape)}: pass (T,) and (T,), "
            "one of each for every question"
        )
    if right.dtype != torch.bool and not ((right == 0) | (right == 1)).all():
        raise ValueError("correct of other values than booleans, or 0 and 1: pass answer == label")
    low, high = SCALE_BINS[0][0], SCALE_BINS[-1][1]
    if outside := _count((scales < low) | (scales > high)):
        raise ValueError(
            f"{outside} of {len(scales)} scales lie outside of the bins, {low:g} … {high:g}; leave these questions out"
        )
    return right.bool(), scales.to(right.device)


def _count(flags: Tensor) -> int:
    """Count the images, or the numbers where there is one dimension, with any flag."""
    return int((flags.flatten(1).any(dim=1) if flags.ndim > 1 else flags).sum())


def _shape(value: Any) -> str:
    return str(tuple(value.shape)) if hasattr(value, "shape") else f"of {type(value).__name__}"
