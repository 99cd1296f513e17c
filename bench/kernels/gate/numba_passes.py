"""The compiled passes over the maps of a gate.

Shapes: B images, T questions, P positions of a map, C channels, a multiple of eight. Maps are flat and channels last:
`x` (B, P, C) of the images, `mask` (T, P), `out` and `grad` (T, P, C). The questions of image b are `order[k]` for k
from `starts[b]` to `starts[b + 1] − 1`. Each function handles the images `first` … `last` − 1. What it writes does not
depend on how images are divided between calls. `x`, `grad`, and `out` of `normalise` are in fp32, or in bf16 as u2, see
`bench.kernels.numba_bf16`. All else is in fp32.

Only `normalise` and `gather` process (T, P, C) numbers. All else is a sum over the questions of an image: because Σ_t x
· m_t = x · Σ_t m_t, it needs only the sums of m_t and m_t², and (B, P, C) numbers.
"""

from pathlib import Path
from typing import Any

import numpy as np

from bench.kernels.numba_bf16 import number
from bench.kernels.numba_simd import add_totals, fma, load, splat, store
from mnistref.common.numba_jit import compiler

HERE = Path(__file__).parent
compiled = compiler(HERE, *sorted(HERE.glob("*passes.py")), *sorted(HERE.parent.glob("numba_*.py")))

EIGHT = (0,) * 8

BLOCK = 64
"""Number of positions whose features and sums fit the first-level cache; a multiple of four."""


@compiled
def moments(
    order: np.ndarray,
    starts: np.ndarray,
    first: int,
    last: int,
    places: int,
    channels: int,
    x: np.ndarray,
    mask: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write the sums of x · mask and of its square over positions and questions to `out`, f8 (B, 2, C)."""
    for b in range(first, last):
        out[b] = 0
        if starts[b] == starts[b + 1]:
            continue
        for p in range(places):
            once = twice = 0.0
            for k in range(starts[b], starts[b + 1]):
                m = np.float64(mask[order[k] * places + p])
                once += m
                twice += m * m
            offset = (b * places + p) * channels
            for c in range(channels):
                value = np.float64(number(x, offset + c))
                out[b, 0, c] += value * once
                out[b, 1, c] += value * value * twice


@compiled
def normalise(
    order: np.ndarray,
    starts: np.ndarray,
    first: int,
    last: int,
    places: int,
    channels: int,
    x: np.ndarray,
    mask: np.ndarray,
    scale: np.ndarray,
    shift: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write out = x · mask · scale + shift, with scale and shift (C,)."""
    for b in range(first, last):
        for k in range(starts[b], starts[b + 1]):
            for p in range(places):
                m = splat(EIGHT, mask[order[k] * places + p])
                here, to = (b * places + p) * channels, (order[k] * places + p) * channels
                for c in range(0, channels, 8):
                    gated = load(EIGHT, x, here + c) * m
                    store(out, to + c, fma(gated, load(EIGHT, scale, c), load(EIGHT, shift, c)))


@compiled(forceinline=True)
def _position_gradients(
    x: np.ndarray,
    here: int,
    weight: np.ndarray,
    scale: np.ndarray,
    grad: np.ndarray,
    offset: int,
    channels: int,
    d_x: np.ndarray,
    total: Any,
) -> Any:
    """Process one position of one question, and return Σ_c scale · x · grad by lanes.

    Adds grad to `total`, and weight · grad to d_x.
    """
    m, product = splat(EIGHT, weight), splat(EIGHT, np.float32(0))
    for c in range(0, channels, 8):
        g = load(EIGHT, grad, offset + c)
        product = fma(load(EIGHT, x, here + c) * load(EIGHT, scale, c), g, product)
        store(d_x, here + c, fma(m, g, load(EIGHT, d_x, here + c)))
        store(total, c, load(EIGHT, total, c) + g)
    return product


@compiled
def gather(
    order: np.ndarray,
    starts: np.ndarray,
    first: int,
    last: int,
    places: int,
    channels: int,
    x: np.ndarray,
    mask: np.ndarray,
    grad: np.ndarray,
    scale: np.ndarray,
    d_x: np.ndarray,
    d_mask: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write sums over questions and over channels.

    d_x (B, P, C) = Σ_t mask · grad; d_mask (T, P) = Σ_c scale · x · grad; out f8 (B, 2, C) = Σ grad, Σ x · d_x.
    """
    total, four = np.empty(channels, np.float32), np.empty(4, np.float32)
    none = splat(EIGHT, np.float32(0))
    for b in range(first, last):
        out[b] = 0
        d_x[b * places * channels : (b + 1) * places * channels] = 0
        if starts[b] == starts[b + 1]:
            continue
        for start in range(0, places, BLOCK):
            stop = min(start + BLOCK, places)
            fours = start + (stop - start) // 4 * 4
            for k in range(starts[b], starts[b + 1]):
                t = order[k]
                total[:] = 0
                for p in range(start, fours, 4):
                    here, offset, m = (b * places + p) * channels, (t * places + p) * channels, t * places + p
                    i = _position_gradients(x, here, mask[m], scale, grad, offset, channels, d_x, total)
                    here, offset = here + channels, offset + channels
                    j = _position_gradients(x, here, mask[m + 1], scale, grad, offset, channels, d_x, total)
                    here, offset = here + channels, offset + channels
                    u = _position_gradients(x, here, mask[m + 2], scale, grad, offset, channels, d_x, total)
                    here, offset = here + channels, offset + channels
                    v = _position_gradients(x, here, mask[m + 3], scale, grad, offset, channels, d_x, total)
                    d_mask[m : m + 4] = 0
                    add_totals(d_mask, m, i, j, u, v)
                for p in range(fours, stop):
                    here, offset, m = (b * places + p) * channels, (t * places + p) * channels, t * places + p
                    i = _position_gradients(x, here, mask[m], scale, grad, offset, channels, d_x, total)
                    four[:] = 0
                    add_totals(four, 0, i, none, none, none)
                    d_mask[m] = four[0]
                for c in range(channels):
                    out[b, 0, c] += total[c]
            for p in range(start, stop):
                here = (b * places + p) * channels
                for c in range(channels):
                    out[b, 1, c] += np.float64(number(x, here + c)) * d_x[here + c]


@compiled
def centre(
    order: np.ndarray,
    starts: np.ndarray,
    first: int,
    last: int,
    places: int,
    channels: int,
    x: np.ndarray,
    mask: np.ndarray,
    scale: np.ndarray,
    constant: np.ndarray,
    slope: np.ndarray,
    d_x: np.ndarray,
    d_mask: np.ndarray,
) -> None:
    """Turn the results of `gather` into the gradients of x and mask.

    The gradient of the gated features is scale · grad − constant − slope · x · mask, with scale, constant and slope
    (C,).
    """
    four = np.empty(4, np.float32)
    none = splat(EIGHT, np.float32(0))
    for b in range(first, last):
        if starts[b] == starts[b + 1]:
            continue
        for p in range(places):
            once = twice = np.float32(0)
            for k in range(starts[b], starts[b + 1]):
                m = mask[order[k] * places + p]
                once += m
                twice += m * m
            less, square = splat(EIGHT, -once), splat(EIGHT, -twice)
            offset = (b * places + p) * channels
            level, tilt = none, none
            for c in range(0, channels, 8):
                value = load(EIGHT, x, offset + c)
                fixed, sloped = load(EIGHT, constant, c), load(EIGHT, slope, c) * value
                level, tilt = fma(value, fixed, level), fma(value, sloped, tilt)
                inner = fma(fixed, less, sloped * square)
                store(d_x, offset + c, fma(load(EIGHT, scale, c), load(EIGHT, d_x, offset + c), inner))
            four[:] = 0
            add_totals(four, 0, level, tilt, none, none)
            for k in range(starts[b], starts[b + 1]):
                m = order[k] * places + p
                d_mask[m] -= four[0] + mask[m] * four[1]
