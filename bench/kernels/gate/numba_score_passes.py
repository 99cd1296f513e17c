"""The compiled passes of a score from the features of an image and an embedding of each question.

Shapes and order as in `numba_passes`: `x` (B, P, C), `embedded_query` (T, C), `weight` (C,), `out` and `grad` (T, P).
No array of size (T, P, C) is in memory: hidden units max(x + embedded_query, 0) are recomputed in the backward pass.
"""

from typing import Any

import numpy as np

from bench.kernels.gate.numba_passes import BLOCK, EIGHT, compiled
from bench.kernels.numba_bf16 import number
from bench.kernels.numba_simd import add_totals, fma, load, splat, store, where_positive


@compiled(forceinline=True)
def _score_position(
    x: np.ndarray, offset: int, embedded_query: np.ndarray, question: int, weight: np.ndarray, channels: int
) -> Any:
    """Return Σ_c weight · max(x + embedded_query, 0) of a position, by lanes."""
    total = splat(EIGHT, np.float32(0))
    for c in range(0, channels, 8):
        value = load(EIGHT, x, offset + c) + load(EIGHT, embedded_query, question + c)
        total = fma(load(EIGHT, weight, c), where_positive(value, value), total)
    return total


@compiled
def score(
    order: np.ndarray,
    starts: np.ndarray,
    first: int,
    last: int,
    places: int,
    channels: int,
    x: np.ndarray,
    embedded_query: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    out: np.ndarray,
) -> None:
    """Write out = Σ_c weight · max(x + embedded_query, 0) + bias, with bias (1,)."""
    four = np.empty(4, np.float32)
    none = splat(EIGHT, np.float32(0))
    fours = places // 4 * 4
    for b in range(first, last):
        for k in range(starts[b], starts[b + 1]):
            t = order[k]
            out[t * places : (t + 1) * places] = bias[0]
            for p in range(0, fours, 4):
                offset = (b * places + p) * channels
                i = _score_position(x, offset, embedded_query, t * channels, weight, channels)
                j = _score_position(x, offset + channels, embedded_query, t * channels, weight, channels)
                u = _score_position(x, offset + 2 * channels, embedded_query, t * channels, weight, channels)
                v = _score_position(x, offset + 3 * channels, embedded_query, t * channels, weight, channels)
                add_totals(out, t * places + p, i, j, u, v)
            for p in range(fours, places):
                four[:] = 0
                i = _score_position(x, (b * places + p) * channels, embedded_query, t * channels, weight, channels)
                add_totals(four, 0, i, none, none, none)
                out[t * places + p] += four[0]


@compiled
def gradients(
    order: np.ndarray,
    starts: np.ndarray,
    first: int,
    last: int,
    places: int,
    channels: int,
    x: np.ndarray,
    embedded_query: np.ndarray,
    grad: np.ndarray,
    weight: np.ndarray,
    d_x: np.ndarray,
    d_embedded_query: np.ndarray,
    d_weight: np.ndarray,
) -> None:
    """Write d_x (B, P, C), d_embedded_query f8 (T, C), and d_weight f8 (B, C), the part of each image.

    With a = grad where the unit is active and 0 elsewhere, they are weight · Σ_t a, weight · Σ_p a, and Σ_p x · Σ_t a +
    Σ_t embedded_query · Σ_p a.
    """
    total = np.empty(channels, np.float32)
    for b in range(first, last):
        d_weight[b] = 0
        d_x[b * places * channels : (b + 1) * places * channels] = 0
        for k in range(starts[b], starts[b + 1]):
            d_embedded_query[order[k]] = 0
        if starts[b] == starts[b + 1]:
            continue
        for start in range(0, places, BLOCK):
            stop = min(start + BLOCK, places)
            for k in range(starts[b], starts[b + 1]):
                t = order[k]
                total[:] = 0
                for p in range(start, stop):
                    g, offset = splat(EIGHT, grad[t * places + p]), (b * places + p) * channels
                    for c in range(0, channels, 8):
                        on = where_positive(
                            load(EIGHT, x, offset + c) + load(EIGHT, embedded_query, t * channels + c), g
                        )
                        store(d_x, offset + c, load(EIGHT, d_x, offset + c) + on)
                        store(total, c, load(EIGHT, total, c) + on)
                for c in range(channels):
                    d_embedded_query[t, c] += total[c]
            for p in range(start, stop):
                offset = (b * places + p) * channels
                for c in range(channels):
                    # a unit that is inactive for every question may be −∞
                    value = np.float64(number(x, offset + c)) if d_x[offset + c] != 0 else 0.0
                    d_weight[b, c] += value * d_x[offset + c]
                    d_x[offset + c] *= weight[c]
        for k in range(starts[b], starts[b + 1]):
            for c in range(channels):
                value = (
                    np.float64(embedded_query[order[k] * channels + c]) if d_embedded_query[order[k], c] != 0 else 0.0
                )
                d_weight[b, c] += value * d_embedded_query[order[k], c]
                d_embedded_query[order[k], c] *= weight[c]
