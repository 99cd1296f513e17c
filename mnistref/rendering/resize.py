"""Bilinear resizing of small square images in fixed point, equal to Pillow's `resize(…, BILINEAR)` in every pixel.

There are two passes, rows and columns, each rounded to bytes. Weights are a triangle filter of radius max(1, source /
target) in units of 2⁻²². The tables are computed once with + − × ÷ only, which all machines round alike. Pure.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mnistref.common.numba_jit import compiled

BITS = 22
_HALF = np.int32(1 << (BITS - 1))
_SHIFT = np.int32(BITS)


class Resizer(NamedTuple):
    """Weights for every target side up to a maximum. S = largest side + 1, O = largest side, K = most taps."""

    source: int  # side of the source image
    first: np.ndarray  # i8 (S, O): first source pixel that contributes to target pixel o
    taps: np.ndarray  # i8 (S, O): number of source pixels that contribute
    weights: np.ndarray  # i4 (S, O, K)


class Scratch(NamedTuple):
    """Work space of `resize`, one for each thread."""

    sums: np.ndarray  # i4 (O,)
    rows: np.ndarray  # u1 (source, O)


def scratch(source: int, largest: int) -> Scratch:
    """Return the work space for resizing source × source to sides up to `largest`."""
    return Scratch(np.zeros(max(source, largest), np.int32), np.zeros((source, largest), np.uint8))


@lru_cache
def resizer(source: int, largest: int) -> Resizer:
    """Return the tables for resizing source × source to any side of 1 … `largest`."""
    most = 2 * source + 1
    first = np.zeros((largest + 1, largest), np.int64)
    taps = np.zeros((largest + 1, largest), np.int64)
    weights = np.zeros((largest + 1, largest, most), np.int32)
    for side in range(1, largest + 1):
        scale = source / side
        radius = max(scale, 1.0)
        for o in range(side):
            center = (o + 0.5) * scale
            lo = max(int(center - radius + 0.5), 0)
            hi = min(int(center + radius + 0.5), source)
            raw = [max(1.0 - abs((x - center + 0.5) * (1.0 / radius)), 0.0) for x in range(lo, hi)]
            total = sum(raw)
            first[side, o], taps[side, o] = lo, hi - lo
            weights[side, o, : hi - lo] = [int(0.5 + w / total * (1 << BITS)) for w in raw]
    return Resizer(source, first, taps, np.ascontiguousarray(weights[:, :, : taps.max()]))


@compiled
def resize(tables: Resizer, image_t: np.ndarray, side: int, scratch: Scratch, out: np.ndarray) -> None:
    """Resize an image to side × side, into the upper left corner of `out`.

    The loops run along memory so that they vectorise. Sums stay below 2³¹.

    Args:
        tables: a `Resizer`.
        image_t: the image, u1 (s, s), transposed.
        side: target side, in pixels.
        scratch: a `Scratch`.
        out: u1 (≥ side, ≥ side).
    """
    first, taps, weights = tables.first[side], tables.taps[side], tables.weights[side]
    source = tables.source
    sums, rows = scratch.sums, scratch.rows
    for o in range(side):
        lo = first[o]
        for y in range(source):
            sums[y] = _HALF
        for k in range(taps[o]):
            w = weights[o, k]
            for y in range(source):
                sums[y] += np.int32(image_t[lo + k, y]) * w
        for y in range(source):
            rows[y, o] = np.uint8(sums[y] >> _SHIFT)
    for o in range(side):
        lo = first[o]
        for x in range(side):
            sums[x] = _HALF
        for k in range(taps[o]):
            w = weights[o, k]
            for x in range(side):
                sums[x] += np.int32(rows[lo + k, x]) * w
        for x in range(side):
            out[o, x] = np.uint8(sums[x] >> _SHIFT)
